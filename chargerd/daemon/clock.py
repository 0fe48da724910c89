"""The two clocks: monotonic for durations, the wall clock only for stamps, and each stamp knows whether to trust it.

The operating system's clock is never set from here. Where it is not synchronised (no NTP, no battery-backed clock) an
offset is learned from the CSMS; what was stamped before that is put right when it is first told.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from chargerd.core.moment import Moment

log = logging.getLogger(__name__)

_TIME_ERROR = 5  # adjtimex: the clock is not synchronised
_TIMEX_BYTES = 256
_LIBC = ctypes.CDLL(None, use_errno=True)  # opened once: the clock is read at every step
_DAY = 86_400.0
JITTER = 2.0  # s by which answers of a CSMS differ: whole seconds, and a slow network
_SANE = (datetime(2024, 1, 1, tzinfo=UTC).timestamp(), datetime(2200, 1, 1, tzinfo=UTC).timestamp())


def synchronised() -> bool:
    """Does the kernel call its clock synchronised (adjtimex, as NTP daemons tell it)?"""
    state = _LIBC.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == -1:
        _tell_once(os.strerror(ctypes.get_errno()))
    return state not in (-1, _TIME_ERROR)


@cache
def _tell_once(why: str) -> None:
    """A sandbox that forbids the question looks like a clock that is never right."""
    log.error("the kernel does not say whether its clock is synchronised (adjtimex: %s)", why)


def battery_backed(rtc: Path = Path("/sys/class/rtc")) -> bool:
    """Did the kernel take its time from a clock that runs on without power (rtc-class, hctosys)?"""
    try:
        return any((each / "hctosys").read_text().strip() == "1" for each in rtc.iterdir())
    except OSError:
        return False


class Clock:
    """`mono` and `wall` in seconds; `trusted()` says whether the wall clock is right by itself.

    Once the time was known, it goes on by the monotonic clock: whatever happens to the wall clock afterwards, unless
    that is right by itself, touches no stamp.
    """

    def __init__(self, mono: Callable[[], float], wall: Callable[[], float], trusted: Callable[[], bool]) -> None:
        self._mono, self._wall, self._trusted = mono, wall, trusted
        self.heeds_ntp = True  # ClockCtrlr.TimeSource names it
        self._good: tuple[float, float] | None = None  # both clocks when the time was known last
        self._boot = 0
        self._began = 0.0  # of this boot, monotonic
        self._anchors: Sequence[Moment] = ()
        self._known = True
        self._placed = 0.0  # the last stamp of an earlier boot: what can only be guessed is not before it
        self.on_known: Callable[[Moment], None] = lambda at: None
        """The time became known in the middle of this boot: its beginning, to be written down for what was stamped."""

    def begin(self, boot: int, anchors: Sequence[Moment]) -> None:
        """This is boot `boot`; `anchors` are one moment each of the boots before it, oldest first."""
        self._boot, self._anchors = boot, tuple(a for a in anchors if a.boot != boot)
        self._began = next((a.mono for a in anchors if a.boot == boot), self._mono())
        self._known = any(a.boot == boot and a.trusted for a in anchors)

    def now(self) -> Moment:
        mono, wall = self._mono(), self._wall()
        if self._right(wall):
            self._good = mono, wall
        if self._good is None:
            return Moment(mono, wall, False, self._boot)
        at = Moment(mono, self._good[1] + mono - self._good[0], True, self._boot)
        if not self._known:
            self._known = True
            self.on_known(Moment(self._began, at.wall - (mono - self._began), True, self._boot))
        return at

    def _right(self, wall: float) -> bool:
        """By itself. A clock that says 1970 is not, whoever has synchronised it."""
        return self.heeds_ntp and self._trusted() and _SANE[0] <= wall <= _SANE[1]

    @property
    def offset(self) -> float:
        """What is added to the wall clock, in seconds."""
        now = self.now()
        return now.wall - self._wall() if now.trusted else 0.0

    def learn(self, text: str, took: float = 0.0) -> bool:
        """Take the CSMS's time (RFC 3339) where our own is not to be trusted; False: it is no time.

        What is known already does not follow every answer: stamps would step back and forth. One that `took` so many
        seconds may have been true as long ago.
        """
        told = parse(text)
        if told is None:
            return False
        if not self._right(self._wall()):
            now = self.now()
            if not now.trusted or not -JITTER - took < told - now.wall < JITTER:
                self._good = self._mono(), told
        self.now()
        return True

    def stamp(self, at: Moment) -> str:
        """RFC 3339 of a moment, as well as it is known now."""
        return text_of(self.wall_of(at))

    def knows(self, at: Moment) -> bool:
        """Was that moment's time good, or has it become so since?"""
        now = self.now()
        return at.trusted or (at.boot == now.boot and now.trusted)

    def wall_of(self, at: Moment) -> float:
        """Unix seconds of a moment, as well as they are known now: exact in a boot whose clock was learned later.

        All of one boot by the same reckoning, so that none goes back behind another when the clock is put right.
        """
        now = self.now()
        if at.boot == now.boot:
            return now.wall - (now.mono - at.mono) if now.trusted else at.wall
        own = next((a for a in self._anchors if a.boot == at.boot), at)
        if at.trusted:
            wall = at.wall
        elif own.trusted:  # that boot learned the time later
            wall = own.wall + at.mono - own.mono
        else:
            wall = self._guessed(at, own, now)
        if at.boot != now.boot:
            self._placed = max(self._placed, wall)
        return wall

    def _guessed(self, at: Moment, own: Moment, now: Moment) -> float:
        """Of a boot that ended without knowing the time: between those around it that knew, in order."""
        before = [a.wall for a in self._anchors if a.trusted and a.boot < at.boot]
        after = [a.wall for a in self._anchors if a.trusted and a.boot > at.boot]
        if now.trusted:
            after.append(now.wall - (now.mono - self._began))
        if not before and not after:
            return at.wall
        low, high = max(before, default=_SANE[0]), min(after, default=_SANE[1])
        since = max(0.0, at.mono - own.mono)
        guess = low + since if before else high - _DAY + min(since, _DAY)
        if at.wall >= low:
            guess = max(at.wall, guess) if before else at.wall
        return min(max(guess, low, self._placed), high)


def text_of(wall: float) -> str:
    """`2026-11-22T18:30:00.000Z`."""
    sane = min(max(wall, 0.0), _SANE[1])
    return datetime.fromtimestamp(sane, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> float | None:
    """Unix seconds of an RFC 3339 text of our century, or None."""
    try:
        at = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = at.timestamp()
    return seconds if _SANE[0] <= seconds <= _SANE[1] else None
