"""A sequence diagram that grows while it is played: one line an event, four lifelines, 100 columns."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

WIDTH = 100


class Lane(IntEnum):
    """Who acts; the value is the column of the lifeline."""

    DRIVER = 9
    VEHICLE = 25
    EVSE = 44
    CSMS = 95


_COLOURS = {Lane.DRIVER: 36, Lane.VEHICLE: 33, Lane.EVSE: 32, Lane.CSMS: 35}
_NAMES = {Lane.DRIVER: "driver", Lane.VEHICLE: "vehicle", Lane.EVSE: "EVSE", Lane.CSMS: "CSMS"}
_NEXT = {Lane.DRIVER: Lane.VEHICLE, Lane.VEHICLE: Lane.EVSE, Lane.EVSE: Lane.CSMS}
_BOLD, _DIM = 1, 2


class Screen:
    """`write` takes whole lines; `now` gives the seconds that stand before each."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float], colour: bool = False) -> None:
        self._write, self._now, self._colour = write, now, colour

    def head(self) -> None:
        """The names above the lifelines."""
        line = [" "] * WIDTH
        for lane, name in _NAMES.items():
            start = min(lane - len(name) // 2, WIDTH - len(name))
            line[start : start + len(name)] = name
        self._write(self._painted("".join(line).rstrip(), _BOLD))

    def title(self, text: str) -> None:
        """A new act begins."""
        self._write(self._painted(f"── {text} ".ljust(WIDTH, "─"), _BOLD))

    def arrow(self, source: Lane, to: Lane, text: str) -> None:
        """Something passes from one to another."""
        left, right = min(source, to), max(source, to)
        room = right - left - 5
        body = f" {cut(text, room)} ".center(right - left - 1, "─")
        arrow = "├" + body[:-1] + "▶" if source < to else "◀" + body[1:] + "┤"
        drawn = arrow + "│" if source < to else "│" + arrow
        self._line(left, drawn[: right - left + 1], source)

    def note(self, lane: Lane, text: str) -> None:
        """Something happens to one of them."""
        room = _NEXT[lane] - lane - 2
        self._line(lane, f"│ {cut(text, room)}", lane)

    def plain(self, text: str = "") -> None:
        self._write(text)

    def _line(self, at: int, drawn: str, who: Lane) -> None:
        base = [" "] * WIDTH
        for lane in Lane:
            base[lane] = "│"
        seconds = self._now()
        base[:7] = f"{int(seconds // 60):02}:{seconds % 60:04.1f}"
        before, after = "".join(base[:at]), "".join(base[at + len(drawn) :]).rstrip()
        self._write(self._painted(before, _DIM) + self._painted(drawn, _COLOURS[who]) + self._painted(after, _DIM))

    def _painted(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text


def cut(text: str, room: int) -> str:
    """Printable and no longer than `room`."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= room else clean[: room - 1] + "…"
