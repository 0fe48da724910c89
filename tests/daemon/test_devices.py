"""Meters and readers that answer, fall silent, hang and come back; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import pytest

from chargerd.core.commands import AnswerTap
from chargerd.core.events import Bay, CardUnusable, Event, Fault, Metered, TokenSeen
from chargerd.core.token import Token
from chargerd.daemon.devices import READER_GRACE, READER_RETRY, Devices, Reader
from chargerd.daemon.registers import Registers
from chargerd.lab.pace import VirtualLoop, run
from hal.api import Card, CardRefused, DeviceError, MeterKind, MeterReading


class OneMeter:
    kind = MeterKind("a meter")

    def __init__(self) -> None:
        self.works, self.takes, self.energy, self.closed = True, 0.05, 1000.0, False
        self.surprise: Exception | None = None

    async def read(self) -> MeterReading:
        await asyncio.sleep(self.takes)
        if self.surprise is not None:
            raise self.surprise
        if not self.works:
            raise DeviceError("no answer")
        return MeterReading(asyncio.get_running_loop().time(), self.energy)

    async def close(self) -> None:
        self.closed = True


class Shelf:
    """Registers of one meter, with what they keep and what is told."""

    def __init__(self, kept: dict[str, Any] | None = None, powered: bool | None = True) -> None:
        self.events: list[Event] = []
        self.rows: dict[str, Any] = kept or {}
        self.at_once: list[bool] = []
        self.powered = powered
        self.meter = OneMeter()
        loop = asyncio.get_running_loop()
        self.registers = Registers(
            {1: self.meter},
            {1: 22_000.0},
            dict(self.rows),
            self._keep,
            lambda rank: self.powered,
            self.events.append,
            loop.time,
            lambda: 1e9 + loop.time(),
        )
        self.devices = Devices({1: self.meter}, [], self.events.append, lambda *_: None, registers=self.registers)
        self.devices.start()

    def _keep(self, rows: Mapping[str, Any], at_once: bool) -> None:
        self.rows |= rows
        self.at_once.append(at_once)

    def faults(self) -> list[tuple[str, bool]]:
        found = (event for event in self.events if isinstance(event, Fault) and event.name.startswith("Meter"))
        return [(event.name, event.active) for event in found]

    def told(self) -> list[float]:
        return [event.reading.energy for event in self.events if isinstance(event, Metered) and event.reading]


class OneReader:
    def __init__(self) -> None:
        self.cards: asyncio.Queue[Card | Exception | None] = asyncio.Queue()
        self.tries = 0
        self.shown: list[bool] = []

    async def next(self) -> Card | None:
        self.tries += 1
        found = await self.cards.get()
        if isinstance(found, Exception):
            raise found
        return found

    def answered(self, accepted: bool) -> None:
        self.shown.append(accepted)

    async def close(self) -> None:
        raise DeviceError("already gone")


class Rig:
    def __init__(self) -> None:
        self.meter, self.reader = OneMeter(), OneReader()
        self.events: list[Event] = []
        self.passed_on: list[tuple[int, float]] = []
        self.devices = Devices(
            {1: self.meter},
            [Reader("door", self.reader, 1)],
            self.events.append,
            lambda rank, reading, age: self.passed_on.append((rank, age)),
        )
        self.devices.start()

    def metered(self) -> list[Metered]:
        return [event for event in self.events if isinstance(event, Metered)]

    def faults(self, outlet: int | None = None) -> list[Fault]:
        return [e for e in self.events if isinstance(e, Fault) and outlet in (None, e.outlet)]


def in_virtual_time(job: Coroutine[Any, Any, None]) -> None:
    run(VirtualLoop(1000.0), job)


def test_every_reading_goes_to_the_guard_and_the_core_hears_what_is_new() -> None:
    async def scene() -> None:
        rig = Rig()
        await asyncio.sleep(9.5)
        assert len(rig.passed_on) >= 9
        assert len(rig.metered()) == 1
        rig.meter.energy += 1
        await asyncio.sleep(1.1)
        assert len(rig.metered()) == 2
        await asyncio.sleep(10.5)  # the register stands still: still told now and then
        assert len(rig.metered()) == 3
        await rig.devices.stop()
        assert rig.meter.closed

    in_virtual_time(scene())


def test_three_misses_are_a_fault_until_it_answers_again() -> None:
    async def scene() -> None:
        rig = Rig()
        await asyncio.sleep(0.5)
        rig.meter.works = False
        await asyncio.sleep(2)
        assert rig.faults() == []
        await asyncio.sleep(5)
        assert rig.faults() == [Fault(1, "PowerMeterFailure", True)]
        assert rig.devices.errors == {"meter 1": "no answer"}
        rig.meter.works = True
        await asyncio.sleep(2)
        assert rig.faults()[1:] == [Fault(1, "PowerMeterFailure", False)]
        assert rig.devices.errors == {}
        await rig.devices.stop()

    in_virtual_time(scene())


def test_what_a_driver_did_not_foresee_ends_nothing_for_good() -> None:
    async def scene() -> None:
        rig = Rig()
        await asyncio.sleep(0.5)
        rig.meter.surprise = ZeroDivisionError("division by zero")
        rig.reader.cards.put_nowait(IndexError("short answer"))
        await asyncio.sleep(5.0)
        assert rig.faults() == [Fault(1, "PowerMeterFailure", True)]
        assert rig.devices.errors == {"meter 1": "division by zero", "door": "short answer"}
        rig.meter.surprise = None
        rig.reader.cards.put_nowait(Card("04AA"))
        await asyncio.sleep(2.0)
        assert rig.faults()[1:] == [Fault(1, "PowerMeterFailure", False)]
        assert any(isinstance(event, TokenSeen) for event in rig.events)
        assert rig.devices.errors == {}
        await rig.devices.stop()

    in_virtual_time(scene())


def test_what_is_asked_for_comes_within_two_seconds_even_from_a_meter_that_hangs() -> None:
    async def scene() -> None:
        rig = Rig()
        await asyncio.sleep(0.5)
        rig.events.clear()
        rig.devices.ask(1)
        await asyncio.sleep(0.1)
        [fresh] = rig.metered()
        assert fresh.asked and fresh.reading is not None and fresh.reading.at > 1000.5
        rig.meter.takes = 1e6
        await asyncio.sleep(2)
        rig.events.clear()
        rig.devices.ask(1)
        await asyncio.sleep(1.99)
        assert rig.metered() == [Metered(1, None, asked=True)]
        await rig.devices.stop()

    in_virtual_time(scene())


def test_a_meter_that_hangs_for_ever_is_a_fault_too() -> None:
    async def scene() -> None:
        rig = Rig()
        await asyncio.sleep(0.5)
        rig.meter.takes = 1e6
        await asyncio.sleep(60)
        assert rig.faults(1) == [Fault(1, "PowerMeterFailure", True)]
        rig.meter.takes = 0.05
        await asyncio.sleep(20)
        assert rig.faults(1)[1:] == [Fault(1, "PowerMeterFailure", False)]
        await rig.devices.stop()

    in_virtual_time(scene())


def test_a_reader_that_fails_is_tried_again_after_a_while() -> None:
    async def scene() -> None:
        rig = Rig()
        rig.reader.cards.put_nowait(DeviceError("unplugged"))
        await asyncio.sleep(READER_RETRY - 0.1)
        assert (rig.reader.tries, rig.devices.errors) == (1, {"door": "unplugged"})
        rig.reader.cards.put_nowait(Card("04AA", "ISO15693"))
        await asyncio.sleep(0.2)
        assert rig.reader.tries == 3
        assert rig.devices.errors == {}
        assert [e for e in rig.events if isinstance(e, TokenSeen)] == [TokenSeen(Token("04AA", "ISO15693"), 1)]
        assert rig.faults() == []
        await rig.devices.stop()

    in_virtual_time(scene())


def test_a_reader_that_is_away_for_long_is_a_fault_until_it_works_again() -> None:
    async def scene() -> None:
        rig = Rig()
        rig.reader.cards.put_nowait(DeviceError("unplugged"))
        await asyncio.sleep(READER_GRACE - 1)
        rig.reader.cards.put_nowait(DeviceError("held by the kernel"))
        await asyncio.sleep(0.5)
        assert (rig.faults(), rig.devices.errors) == ([], {"door": "held by the kernel"})
        await asyncio.sleep(1)
        assert rig.faults() == [Fault(0, "ReaderFailure", True)]
        rig.reader.cards.put_nowait(None)
        await asyncio.sleep(1)
        assert rig.faults()[1:] == [Fault(0, "ReaderFailure", False)]
        assert rig.devices.errors == {}
        await rig.devices.stop()

    in_virtual_time(scene())


@pytest.mark.parametrize("works", [False, True])
def test_a_reader_that_failed_before_the_start_is_well_when_it_did_not_fail_again(works: bool) -> None:
    async def scene() -> None:
        rig = Rig()
        if not works:
            rig.reader.cards.put_nowait(DeviceError("unplugged"))
        await asyncio.sleep(READER_GRACE + 3)
        assert rig.faults() == [Fault(0, "ReaderFailure", not works)]
        await rig.devices.stop()

    in_virtual_time(scene())


def test_a_card_that_cannot_be_used_is_refused_at_once_and_the_next_is_heard() -> None:
    async def scene() -> None:
        rig = Rig()
        rig.reader.cards.put_nowait(CardRefused("a random number"))
        rig.reader.cards.put_nowait(Card("04AA"))
        await asyncio.sleep(0.1)
        assert [e for e in rig.events if not isinstance(e, Metered)] == [CardUnusable(1), TokenSeen(Token("04AA"), 1)]
        assert (rig.reader.shown, rig.devices.errors) == ([False], {})
        await rig.devices.stop()

    in_virtual_time(scene())


def test_an_answer_is_shown_at_the_reader_that_had_the_card_and_once() -> None:
    async def scene() -> None:
        rig = Rig()
        other = OneReader()
        rig.devices._readers = [*rig.devices._readers, Reader("gate", other)]
        rig.reader.cards.put_nowait(Card("04AA"))
        await asyncio.sleep(0.1)
        rig.devices.answer_tap(AnswerTap(Token("04BB"), True))
        rig.devices.answer_tap(AnswerTap(Token("04aa"), True))
        rig.devices.answer_tap(AnswerTap(Token("04AA"), False))
        assert (rig.reader.shown, other.shown) == ([True], [])
        await rig.devices.stop()

    in_virtual_time(scene())


class OneBay:
    def __init__(self) -> None:
        self.taken: bool | Exception = False

    async def occupied(self) -> bool:
        if isinstance(self.taken, Exception):
            raise self.taken
        return self.taken

    async def close(self) -> None:
        pass


def test_a_bay_is_told_when_it_changes_and_a_detector_that_is_gone_detects_nothing() -> None:
    async def watch() -> None:
        bay, events = OneBay(), list[Event]()
        devices = Devices({}, [], events.append, lambda rank, reading, age: None, {2: bay})
        devices.start()
        await asyncio.sleep(3.5)
        assert events == [Bay(2, False)]
        bay.taken = True
        await asyncio.sleep(2.0)
        bay.taken = DeviceError("no answer")
        await asyncio.sleep(1.5)
        assert events == [Bay(2, False), Bay(2, True)]
        assert devices.errors == {"bay 2": "no answer"}
        await asyncio.sleep(3.0)
        assert events[-1] == Bay(2, False)
        bay.taken = True
        await asyncio.sleep(2.0)
        assert (events[-1], devices.errors) == (Bay(2, True), {})
        bay.taken = IndexError("short answer")
        await asyncio.sleep(4.0)
        assert events[-1] == Bay(2, False)
        bay.taken = True
        await asyncio.sleep(2.0)
        assert events[-1] == Bay(2, True)
        await devices.stop()

    run(VirtualLoop(), watch())


def test_another_meter_is_told_and_kept_until_somebody_knows() -> None:
    async def scene() -> None:
        shelf = Shelf()
        await asyncio.sleep(2.5)
        shelf.meter.energy = 5.0
        await asyncio.sleep(1.5)
        assert "it shows 0.005 kWh after 1.000 kWh" in shelf.devices.errors["meter 1"]
        await asyncio.sleep(2.0)
        assert shelf.faults() == [("MeterReplaced", True)]
        assert "another meter" in shelf.devices.errors["meter 1"], "for people to look at"
        assert set(shelf.told()) == {1000.0}
        assert shelf.at_once[-1], "where it begins anew must survive what comes next"
        await shelf.devices.stop()
        again = Shelf(shelf.rows)
        assert again.faults() == [("MeterReplaced", True)]
        assert [e.reading.energy for e in again.events if isinstance(e, Metered) and e.reading] == [1000.0]
        again.meter.energy = 6.0
        await asyncio.sleep(2.0)
        assert again.told()[-1] == 1001.0
        assert again.registers.shown(1, 1001.0) == 6.0
        again.registers.acknowledge(1)
        assert again.faults()[-1] == ("MeterReplaced", False)
        await again.devices.stop()
        assert Shelf(again.rows).faults() == []

    in_virtual_time(scene())


def test_what_a_meter_counts_without_a_vehicle_is_a_warning_that_ends_by_itself() -> None:
    async def scene() -> None:
        shelf = Shelf(powered=False)
        for _ in range(60):
            shelf.meter.energy += 6.0
            await asyncio.sleep(1.0)
        assert shelf.faults() == [("MeterImplausible", True)]
        shelf.powered = True
        await asyncio.sleep(3.0)
        assert shelf.faults()[1:] == [("MeterImplausible", False)]
        await shelf.devices.stop()

    in_virtual_time(scene())


def test_the_register_of_an_edge_is_written_with_what_it_belongs_to() -> None:
    async def scene() -> None:
        shelf = Shelf()
        await asyncio.sleep(1.5)
        assert shelf.at_once == [True]
        shelf.meter.energy += 10.0
        shelf.devices.ask(1)
        await asyncio.sleep(0.2)
        assert (shelf.at_once, shelf.rows["meter/1"]["shown"]) == ([True, False], 1010.0)
        await shelf.devices.stop()

    in_virtual_time(scene())


def test_an_end_without_a_fresh_register_says_how_old_the_last_one_is(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        rig = Rig()
        await asyncio.sleep(0.5)
        rig.meter.works = False
        await asyncio.sleep(30.0)
        rig.devices.ask(1)
        await asyncio.sleep(2.0)
        assert any("no fresh register; the last good one is 31 s old" in text for text in caplog.messages)
        await rig.devices.stop()

    in_virtual_time(scene())
