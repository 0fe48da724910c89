"""The told registers of all outlets: what the meters show goes through `core.register` before anybody hears of it.

Kept in the store: beside what a transaction's first or last register is about to write, and in between now and then,
so that after a restart a leap can be told from what has flowed even where no clock has run meanwhile. `MeterReplaced`
waits for a technician, `MeterImplausible` ends by itself; neither stops charging.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from chargerd.core.events import Event, Fault
from chargerd.core.register import Mark, Register
from chargerd.core.status import METER_IMPLAUSIBLE, METER_REPLACED
from chargerd.faults import FAULTS
from hal.api import Meter, MeterReading

log = logging.getLogger(__name__)

Keep = Callable[[Mapping[str, Any], bool], None]


class Registers:
    """`watts`: what each outlet's fuse carries; `kept`: the rows of the last run; `keep` writes rows, at once or with
    what is written next; `powered`: the outlet's contactor, None while unknown; `now` and `wall` are clocks."""

    def __init__(
        self,
        meters: Mapping[int, Meter],
        watts: Mapping[int, float],
        kept: Mapping[str, Any],
        keep: Keep,
        powered: Callable[[int], bool | None],
        feed: Callable[[Event], None],
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._keep, self._powered, self._feed, self._wall = keep, powered, feed, wall
        self._registers = {rank: Register(watts[rank], meter.kind.wraps_at) for rank, meter in meters.items()}
        self._told: dict[int, frozenset[str]] = dict.fromkeys(meters, frozenset())
        for rank, register in self._registers.items():
            if row := kept.get(_key(rank)):
                register.recall(Mark.of(row), now(), wall())

    def take(self, rank: int, reading: MeterReading, *, edge: bool) -> MeterReading | None:
        """The reading as it is told; None: it does not count. `edge`: a transaction's first or last register."""
        register = self._registers[rank]
        told = register.take(reading, self._powered(rank))
        if told is not None:
            self._write(rank, edge)
            self._tell(rank)
        return told

    def recall(self) -> dict[int, MeterReading]:
        """Tell what the last run left; its last registers, by outlet, whose age is in `at`."""
        for rank in self._registers:
            self._tell(rank)
        return {rank: last for rank, one in self._registers.items() if (last := one.recalled()) is not None}

    def why(self, rank: int) -> str:
        """Why the last reading did not count."""
        return self._registers[rank].why

    def note(self, rank: int) -> str:
        """What is wrong with a meter that answers; empty for nothing."""
        return self._registers[rank].note

    def shown(self, rank: int, told: float) -> float:
        """Wh that the meter itself shows for this told register."""
        return told - self._registers[rank].offset()

    def acknowledge(self, rank: int) -> None:
        """Somebody knows of the other register: the warning ends."""
        self._registers[rank].acknowledge()
        self._write(rank, False)
        self._tell(rank)

    def _write(self, rank: int, edge: bool) -> None:
        if mark := self._registers[rank].mark(self._wall(), edge=edge):
            self._keep({_key(rank): asdict(mark)}, not edge)

    def _tell(self, rank: int) -> None:
        register = self._registers[rank]
        holds = {METER_REPLACED: register.replaced, METER_IMPLAUSIBLE: bool(register.odd)}
        active = frozenset(name for name, held in holds.items() if held)
        for name in sorted(active ^ self._told[rank]):
            if name in active:
                log.warning("meter of outlet %d: %s", rank, register.note or FAULTS[name].meaning)
            else:
                log.info("meter of outlet %d: %s is over", rank, name)
            self._feed(Fault(rank, name, name in active))
        self._told[rank] = active


def _key(rank: int) -> str:
    return f"meter/{rank}"
