"""The import register of one outlet as it is told: it never falls, whatever becomes of the meter.

What the meter shows is told with an *offset*, 0 at first. A counter that begins anew adds its range to it. A register
that goes back, leaps further than the fuse could have carried in the time, or belongs to another serial number is
another register: three readings that follow each other prove it (until then none of them counts), and from the first of
them on the told register goes on where it stood. So a transaction's energy is what two meters have counted, less what
flowed between the last reading of the one and the first of the other. The offset is kept for good: what is told and
what the meter shows then differ, and both are shown.

Readings that cannot be right and do not say what would be are marked: `odd`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hal.api import MeterReading

SLACK = 200.0
"""Wh by which a register may be off: two steps of the coarsest meters."""
PROOFS = 3
VOLTS = 230.0
MARGIN = 1.2
KEEP_EVERY = 2000.0  # Wh that may be told before it is kept anew: each time is a write

SETTLED = 10.0  # s after the contactor has moved
IDLE_WATTS = 50.0  # what a meter before the contactor sees of the charger itself
LEAK_WATTS = 500.0
LEAKS = 3  # readings in a row
PROOF_WH = 500.0  # energy by currents and time, against which the register is judged
DUMB_PART = 0.1


@dataclass(frozen=True, slots=True)
class Mark:
    """What is kept over restarts. `shown`: Wh on the meter; `wall`: unix seconds of that reading."""

    offset: float
    shown: float
    wall: float
    serial: str | None = None
    replaced: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Mark:
        return cls(row["offset"], row["shown"], row["wall"], row["serial"], row["replaced"])


class Register:
    """`watts`: what the outlet's fuse carries; `wraps_at`: Wh at which the meter begins anew, None: never.

    `take` each reading; then `why` one was refused, `replaced` and `odd` hold, `note` says in words what is wrong.
    """

    def __init__(self, watts: float, wraps_at: float | None = None) -> None:
        self._watts, self._wraps_at = watts, wraps_at
        self._offset = self._told = 0.0
        self._last: MeterReading | None = None  # the last that counted; its energy is the highest shown
        self._spare = 0.0  # Wh that may have gone by unseen
        self._doubted: list[MeterReading] = []
        self.kept: Mark | None = None
        self.why = self.note = self.odd = ""
        self.replaced = False
        self._powered: bool | None = None
        self._since = 0.0  # the contactor is as it is
        self._base = 0.0  # told when that had settled
        self._leaks = 0
        self._expected = self._proven = 0.0

    def recall(self, mark: Mark, now: float, wall: float) -> None:
        """What the last run kept; `now` is monotonic."""
        age = max(0.0, wall - mark.wall)
        self._offset, self._told = mark.offset, mark.shown + mark.offset
        self._last = MeterReading(now - age, mark.shown, serial=mark.serial)
        self._spare = 2 * KEEP_EVERY
        self.kept, self.replaced = mark, mark.replaced

    def recalled(self) -> MeterReading | None:
        """The last register as it was told, before anything else is read."""
        return None if self._last is None else replace(self._last, energy=self._told)

    def acknowledge(self) -> None:
        """Somebody knows that it is another register."""
        self.replaced = False
        self._say()

    def offset(self) -> float:
        """Wh told beyond what the meter shows."""
        return self._offset

    def mark(self, wall: float, *, edge: bool) -> Mark | None:
        """What is to be kept now, None where nothing is; `edge`: a transaction begins or ends with this register."""
        last, kept = self._last, self.kept
        if last is None:
            return None
        new = Mark(self._offset, last.energy, wall, last.serial, self.replaced)
        same = kept is not None and replace(kept, shown=new.shown, wall=new.wall) == new
        if same and kept is not None and new.shown - kept.shown < (1.0 if edge else KEEP_EVERY):
            return None
        self.kept = new
        return new

    # ---- readings

    def take(self, reading: MeterReading, powered: bool | None) -> MeterReading | None:
        """The reading as it is told; None: it does not count (`why`). `powered`: the contactor, None: unknown."""
        self.why = ""
        last = self._last
        if last is not None and not self._follows(last, reading, self._spare):
            return self._doubt(last, reading, powered)
        if last is not None and reading.energy < last.energy - SLACK:
            assert self._wraps_at is not None
            self._offset += self._wraps_at
            last = None
        return self._count(last, reading, powered)

    def _follows(self, last: MeterReading, reading: MeterReading, spare: float) -> bool:
        if last.serial and reading.serial and last.serial != reading.serial:
            return False
        grown = reading.energy - last.energy
        if grown < -SLACK and self._wraps_at is not None:
            grown += self._wraps_at
        return -SLACK <= grown <= self._carried(reading.at - last.at) + spare

    def _carried(self, seconds: float) -> float:
        return self._watts * MARGIN * max(0.0, seconds) / 3600 + SLACK

    def _count(self, last: MeterReading | None, reading: MeterReading, powered: bool | None) -> MeterReading:
        shown = reading.energy if last is None else max(last.energy, reading.energy)
        serial = reading.serial or (self._last.serial if self._last is not None else None)
        self._last, self._spare, self._doubted = replace(reading, energy=shown, serial=serial), 0.0, []
        before, self._told = self._told, max(self._told, shown + self._offset)
        self._judge(reading, self._told - before if last is not None else 0.0, powered)
        return replace(reading, energy=self._told)

    def _doubt(self, last: MeterReading, reading: MeterReading, powered: bool | None) -> MeterReading | None:
        if not self._doubted or not self._follows(self._doubted[-1], reading, 0.0):
            self._doubted = []
        self._doubted.append(reading)
        if len(self._doubted) < PROOFS:
            kwh, then = f"{reading.energy / 1000:.3f} kWh", f"{last.energy / 1000:.3f} kWh"
            self.why = f"it shows {kwh} after {then}: not counted until it is clear which register that is"
            return None
        self._offset = self._told - self._doubted[0].energy
        self.replaced = True
        return self._count(None, reading, powered)

    # ---- doubts about what is told

    def _judge(self, reading: MeterReading, grown: float, powered: bool | None) -> None:
        if powered is not self._powered:
            self._powered, self._since, self._leaks = powered, reading.at, 0
            self._base = self._told
            self._expected = self._proven = 0.0
            if powered:
                self.odd = ""
        elif powered is False:
            self._judge_open(reading)
        elif powered:
            self._judge_closed(reading, grown)
        self._say()

    def _judge_open(self, reading: MeterReading) -> None:
        open_for = reading.at - self._since
        if open_for < SETTLED:
            self._base = self._told
            return
        self._leaks = self._leaks + 1 if _watts(reading) > LEAK_WATTS else 0
        risen = self._told - self._base
        if self._leaks >= LEAKS:
            self.odd = f"it shows {_watts(reading):.0f} W with the contactor open: is it this outlet's meter?"
        elif risen > SLACK + IDLE_WATTS * open_for / 3600:
            self.odd = f"it counted {risen:.0f} Wh with the contactor open: is it this outlet's meter?"
        elif "W with" in self.odd and not self._leaks:
            self.odd = ""

    def _judge_closed(self, reading: MeterReading, grown: float) -> None:
        assert self._last is not None
        self._proven += grown
        self._expected += _watts(reading) * min(reading.at - self._since, 10.0) / 3600
        self._since = reading.at
        if self._expected < PROOF_WH:
            return
        backwards = self._proven < self._expected * DUMB_PART
        self.odd = (
            "current flows, and its import register stands still: mounted backwards? See invert" if backwards else ""
        )
        self._expected = self._proven = 0.0

    def _say(self) -> None:
        replaced = "another meter, or one that was reset: its register is told on from where the last one stood"
        self.note = "; ".join(filter(None, (replaced if self.replaced else "", self.odd)))


def _watts(reading: MeterReading) -> float:
    """What flows, either way round; 0 where the meter does not tell."""
    if reading.power is not None:
        return abs(reading.power)
    return sum(map(abs, reading.amps or ())) * VOLTS
