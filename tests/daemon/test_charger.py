"""From a step to deeds: what acts at once, what waits for the disk, and what happens when the disk fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargerd.core import station
from chargerd.core.commands import Answer, AskAuthorize, Outcome, SetPermit, Show, WishLock
from chargerd.core.events import (
    AvailabilityAsked,
    CableIn,
    CardsChanged,
    ClearCacheAsked,
    Event,
    Fault,
    GuardLost,
    Metered,
    OutletTruth,
    Power,
    RemoteStart,
    ResetAsked,
    ResetKind,
    Scope,
    TokenSeen,
    VehicleIn,
    VehicleOut,
    Wake,
)
from chargerd.core.records import ChargingState
from chargerd.core.state import OutletSite, Site
from chargerd.core.status import charging_state
from chargerd.core.token import Token
from chargerd.core.variables import Variables
from chargerd.daemon.charger import LAZY, Charger
from chargerd.daemon.clock import Clock, text_of
from chargerd.daemon.conversation import Conversation
from chargerd.daemon.store import Batch, Store
from chargerd.lab.pace import VirtualLoop, run
from chargerd.ocpp.dialect import Identity
from chargerd.ocpp.outbox import Outbox
from chargerd.ocpp.rpc import Rpc
from chargerd.ocpp.schemas import Version
from chargerd.ocpp.versions import dialect_of
from hal.api import MeterReading

ANN = Token("04AABBCC")
EPOCH = 1_800_000_000.0


class Disk(Store):
    """A store whose disk stalls and fails on request."""

    stalled = False
    waiting: list[tuple[Batch, asyncio.Future[None]]]

    def submit(self, batch: Batch) -> asyncio.Future[None]:
        if not self.stalled:
            return super().submit(batch)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((batch, future))
        return future

    def go_on(self) -> None:
        self.stalled = False
        for batch, future in self.waiting:
            done = super().submit(batch)
            error = done.exception()
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        self.waiting.clear()


class Rig:
    """A charger with one outlet, its guard and meter played by the test, and a conversation when asked for."""

    def __init__(self, path: Path, version: Version | None = None, outlets: int = 1, **variables: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.meter_takes = 0.0
        self.broken = False
        self.commits = 0
        disk = Disk.open(path / "chargerd.db", inline=True, gate=self._gate)
        assert isinstance(disk, Disk)
        self.disk = disk
        self.disk.waiting = []
        self.clock = Clock(self.loop.time, lambda: EPOCH + self.loop.time(), lambda: True)
        loaded = self.disk.load(self.loop.time(), EPOCH, True)
        self.clock.begin(loaded.boot, loaded.boots)
        base = Variables()
        for name, text in variables.items():
            base = base.with_(name, text)
        sites = tuple(OutletSite(n, n, 1, 32.0) for n in range(1, outlets + 1))
        ids = itertools.count(1)
        self.codes: list[int] = []
        self.charger = Charger(
            station.initial(Site(sites, 64.0, version is not None), base),
            self.disk,
            self.clock,
            lambda: f"tx-{next(ids)}",
            lambda state: {},
            self.codes.append,
            loaded.next_row,
        )
        self.charger.guard = self
        self.charger.meters = self
        self.said: list[SetPermit | WishLock] = []
        self.register = 1000.0
        self.wire: list[list[Any]] = []
        self.dropped: list[str] = []
        if version is not None:
            self.charger.conversation = Conversation(
                self.charger,
                dialect_of(version),
                Rpc(version, lambda: f"id-{next(ids)}"),
                Outbox(chronological=version == "1.6", max_rows=1000),
                self,
                self.clock,
                Identity("CS-1", "Acme", "One"),
                {},
            )
            self.charger.use_window(self.charger.conversation.dialect.window)
        self.charger.begin(True)

    def _gate(self, point: str) -> None:
        self.commits += point == "after-commit"
        if self.broken and point == "before-commit":
            raise sqlite3.OperationalError("database or disk is full")

    # the guard's and the meter's part

    def permit(self, command: SetPermit) -> None:
        self.said.append(command)

    def lock(self, command: WishLock) -> None:
        self.said.append(command)

    def show(self, command: Show) -> None: ...

    def ask(self, rank: int) -> None:
        reading = Metered(rank, MeterReading(self.loop.time(), self.register), True)
        self.loop.call_later(self.meter_takes, self.feed, reading)

    def send(self, frame: str) -> bool:
        self.wire.append(json.loads(frame))
        return True

    def drop(self, reason: str, cause: str) -> None:
        self.dropped.append(cause)

    # what the test does

    @property
    def conversation(self) -> Conversation:
        assert self.charger.conversation is not None
        return self.charger.conversation

    def feed(self, event: Event) -> None:
        self.charger.feed(event)

    def truth(self, rank: int = 1, plug: int = 0, **rest: Any) -> None:
        values: dict[str, Any] = {
            "cable": plug > 0, "cable_amps": 32.0, "ready": False, "powered": False, "locked": False, "offered": 0.0,
            "faults": (),
        }  # fmt: skip
        self.feed(OutletTruth(rank, plug, **(values | rest)))

    def plug(self, rank: int = 1, plug: int = 41) -> None:
        self.feed(CableIn(rank, 32.0))
        self.feed(VehicleIn(rank, plug))

    def tap(self) -> None:
        """Without a backend the tap needs a card kept here, so it is a start from the command line."""
        self.feed(RemoteStart(self.charger.next_ask(), ANN, None, local=True))

    async def charge(self) -> None:
        self.truth()
        self.plug()
        self.tap()
        await asyncio.sleep(0.1)
        assert self.amps == 32
        self.feed(Power(1, True))
        await asyncio.sleep(0.1)

    @property
    def amps(self) -> float:
        permits = [word for word in self.said if isinstance(word, SetPermit)]
        return permits[-1].amps if permits else 0.0

    def calls(self, action: str | None = None) -> list[dict[str, Any]]:
        return [frame[3] for frame in self.wire if frame[0] == 2 and action in (None, frame[2])]

    def answers(self) -> dict[str, Any]:
        """Our answers by message id: a payload, or the code of a CALLERROR."""
        return {frame[1]: frame[2] for frame in self.wire if frame[0] in (3, 4)}


def in_virtual_time(job: Coroutine[Any, Any, None]) -> None:
    run(VirtualLoop(1000.0), job)


def scene(play: Callable[[Rig], Coroutine[Any, Any, None]], path: Path, **given: Any) -> None:
    async def played() -> None:
        rig = Rig(path, **given)
        await play(rig)
        rig.charger.stop()

    in_virtual_time(played())


@pytest.mark.parametrize("alone", [False, True])
def test_a_rise_waits_for_the_disk_and_a_stop_does_not(tmp_path: Path, alone: bool) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()
        rig.disk.stalled = not alone
        rig.plug()
        rig.tap()
        rig.disk.stalled = True  # alone: the register's step is the first that has to wait
        await asyncio.sleep(5)
        assert rig.amps == 0
        rig.disk.go_on()
        await asyncio.sleep(0)
        assert rig.amps == 32
        rig.feed(Power(1, True))
        rig.disk.stalled = True
        rig.feed(Fault(1, "EmergencyStop", True))
        assert rig.amps == 0

    scene(play, tmp_path)


def test_a_reduction_of_what_is_not_on_the_disk_yet_is_a_rise_like_any_other(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        rig.truth(1)
        rig.truth(2)
        rig.disk.stalled = True
        rig.plug(1, 41)
        rig.feed(RemoteStart(rig.charger.next_ask(), ANN, 1, local=True))
        await asyncio.sleep(0.1)
        rig.charger.state = _with_max(rig, 20.0)
        rig.feed(Fault(2, "OverTemperature", True))  # any step: the share falls from 32 to 20 A
        assert [permit.amps for permit in rig.said if isinstance(permit, SetPermit)][-1] == 0
        rig.disk.go_on()
        await asyncio.sleep(0.1)
        permits = [permit.amps for permit in rig.said if isinstance(permit, SetPermit) and permit.outlet == 1]
        assert permits[-1] == 20 and 32 not in permits

    scene(play, tmp_path, outlets=2)


def _with_max(rig: Rig, amps: float) -> Any:
    state = rig.charger.state
    return replace(state, site=replace(state.site, max_amps=amps))


def test_a_rise_that_comes_after_the_vehicle_left_is_void(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()
        rig.disk.stalled = True
        rig.plug()
        rig.tap()
        await asyncio.sleep(0.1)
        rig.feed(VehicleOut(1, 41))
        rig.disk.go_on()
        await asyncio.sleep(0.1)
        assert all(permit.amps == 0 for permit in rig.said if isinstance(permit, SetPermit))

    scene(play, tmp_path)


@pytest.mark.parametrize("stalled", [False, True])
def test_after_the_guard_was_away_what_it_offers_is_never_taken_down_first(tmp_path: Path, stalled: bool) -> None:
    async def play(rig: Rig) -> None:
        await rig.charge()
        rig.feed(GuardLost())
        rig.said.clear()
        rig.disk.stalled = stalled
        rig.feed(AvailabilityAsked(rig.charger.next_ask(), Scope.STATION, 0, False))  # something to write down
        rig.truth(1, 41, powered=True, offered=32.0)
        await asyncio.sleep(0.1)
        assert [permit.amps for permit in rig.said if isinstance(permit, SetPermit)] == [32]

    scene(play, tmp_path)


def test_without_the_disk_what_runs_goes_on_and_nothing_new_starts(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        await rig.charge()
        rig.truth(2)
        rig.broken = True
        rig.feed(ClearCacheAsked(rig.charger.next_ask()))
        rig.feed(AvailabilityAsked(rig.charger.next_ask(), Scope.STATION, 0, True))
        rig.feed(AvailabilityAsked(rig.charger.next_ask(), Scope.EVSE, 2, False))
        await asyncio.sleep(0.1)
        assert not rig.charger.state.storage
        rig.feed(AvailabilityAsked(rig.charger.next_ask(), Scope.EVSE, 2, True))
        rig.plug(2, 42)
        answer = await rig.charger.ask(lambda ask: RemoteStart(ask, ANN, 2, local=True))
        assert answer.outcome is Outcome.REJECTED
        rig.feed(Fault(1, "OverTemperature", True))
        rig.feed(Fault(1, "OverTemperature", False))
        await asyncio.sleep(1)
        assert [p.amps for p in rig.said if isinstance(p, SetPermit) and p.outlet == 1][-1] == 32
        assert [p.amps for p in rig.said if isinstance(p, SetPermit) and p.outlet == 2][-1] == 0

    scene(play, tmp_path, outlets=2)


@pytest.mark.parametrize("meter_takes", [0.0, 0.05])
def test_what_waited_for_the_disk_is_done_when_it_works_again(tmp_path: Path, meter_takes: float) -> None:
    """The disk fails with the begin, or while its register is read."""

    async def play(rig: Rig) -> None:
        rig.meter_takes = meter_takes
        rig.truth()
        rig.plug()
        rig.broken = True
        asked = asyncio.create_task(rig.charger.ask(lambda ask: RemoteStart(ask, ANN, 1, local=True)))
        await asyncio.sleep(0.1)
        assert asked.done() and asked.result().why == "it could not be stored"
        assert not rig.charger.state.storage and rig.amps == 0
        await asyncio.sleep(10)
        assert rig.amps == 0
        assert charging_state(rig.charger.state.outlet(1)) is ChargingState.SUSPENDED_EVSE
        rig.broken = False
        rig.disk.submit(Batch({"any": 1}))
        await asyncio.sleep(2)
        assert rig.charger.state.storage
        assert rig.amps == 32

    scene(play, tmp_path)


def test_a_question_of_our_own_is_answered_when_it_is_on_the_disk(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()
        rig.disk.stalled = True
        asked = asyncio.create_task(rig.charger.ask(lambda ask: AvailabilityAsked(ask, Scope.EVSE, 1, False)))
        await asyncio.sleep(3)
        assert not asked.done()
        rig.disk.go_on()
        assert (await asked).outcome is Outcome.ACCEPTED

    scene(play, tmp_path)


@pytest.mark.parametrize(
    ("version", "online", "waits"), [("1.6", True, True), ("2.0.1", True, False), ("2.0.1", False, True)]
)
def test_a_sample_waits_for_company_unless_it_has_a_number_and_is_told(
    tmp_path: Path, version: Version, online: bool, waits: bool
) -> None:
    async def play(rig: Rig) -> None:
        rig.conversation.opened()
        if not online:
            rig.conversation.closed()
        await rig.charge()
        commits = rig.commits
        await asyncio.sleep(10.0)
        rig.feed(Metered(1, MeterReading(rig.loop.time(), 1002.0)))
        await asyncio.sleep(50.5)
        assert [row.kind for row in rig.conversation.outbox.rows() if row.thin]
        assert (rig.commits == commits) is waits
        await asyncio.sleep(LAZY)
        assert rig.commits > commits

    scene(play, tmp_path, version=version)


def test_a_truth_that_says_nothing_new_writes_nothing(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        await rig.charge()
        rig.truth(1, 41, powered=True)
        rig.disk.stalled = True
        for _ in range(10):
            rig.truth(1, 41, powered=True)
        assert rig.disk.waiting == []

    scene(play, tmp_path)


class Poison(Exception):
    pass


def poisoned(monkeypatch: pytest.MonkeyPatch, kind: type[Event]) -> None:
    step = station.step

    def bitten(state: Any, event: Event, *rest: Any) -> Any:
        if isinstance(event, kind):
            raise Poison
        return step(state, event, *rest)

    monkeypatch.setattr(station, "step", bitten)


def test_what_cannot_be_said_is_set_aside_and_ends_a_process_that_can_say_nothing(tmp_path: Path) -> None:
    def mute() -> None:
        raise Poison

    async def play(rig: Rig) -> None:
        pump = rig.conversation.pump
        rig.conversation.pump = mute  # type: ignore[method-assign]
        rig.feed(Wake())  # which nobody who feeds us notices
        rig.conversation.pump = pump  # type: ignore[method-assign]
        rig.feed(Wake())
        assert rig.charger.state.faults == {"EventSetAside"}
        assert rig.codes == []
        rig.conversation.pump = mute  # type: ignore[method-assign]
        for _ in range(4):
            rig.feed(Wake())
        assert rig.codes == [70]

    scene(play, tmp_path, version="2.0.1")


def test_an_event_that_cannot_be_digested_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        await rig.charge()
        poisoned(monkeypatch, TokenSeen)
        before = rig.charger.state
        rig.feed(TokenSeen(ANN))
        aside = frozenset({"EventSetAside"})
        assert rig.charger.state == replace(before, faults=aside, reported=aside)
        assert rig.codes == []
        rig.feed(Power(1, False))
        assert rig.charger.state.outlets != before.outlets

    scene(play, tmp_path)


def test_the_fault_that_tells_of_it_is_no_reason_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(rig: Rig) -> None:
        poisoned(monkeypatch, Fault)
        rig.feed(Fault(1, "DiodeFault", True))
        assert rig.codes == []
        assert sum("set aside" in line.message for line in caplog.records) == 2

    scene(play, tmp_path)


def test_its_question_is_refused_and_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        poisoned(monkeypatch, ClearCacheAsked)
        answer = await rig.charger.ask(ClearCacheAsked)
        assert answer == Answer(answer.ask, Outcome.REJECTED, why="the request met a fault of the station")

    scene(play, tmp_path)


@pytest.mark.parametrize(("pause", "codes"), [(1.0, [70]), (20.0, [])])
def test_five_such_events_in_a_minute_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float, codes: list[int]
) -> None:
    async def play(rig: Rig) -> None:
        poisoned(monkeypatch, TokenSeen)
        for _ in range(5):
            rig.feed(TokenSeen(ANN))
            await asyncio.sleep(pause)
        assert rig.codes == codes

    scene(play, tmp_path)


def test_records_that_have_no_words_change_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()

        def speechless(*args: Any) -> Any:
            raise Poison

        monkeypatch.setattr(rig.conversation.dialect, "statuses", speechless)
        before = rig.charger.state
        rig.plug()
        assert rig.charger.state is before

    scene(play, tmp_path, version="1.6")


def test_a_deed_that_fails_takes_neither_the_stop_nor_the_books_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(rig: Rig) -> None:
        await rig.charge()
        commits = rig.commits

        def broken(command: Answer) -> None:
            raise Poison

        monkeypatch.setattr(rig.charger, "_answer", broken)
        rig.feed(ResetAsked(rig.charger.next_ask(), ResetKind.SOFT))
        assert rig.amps == 0
        assert rig.commits > commits
        assert "EventSetAside" in rig.charger.state.faults

    scene(play, tmp_path)


def test_a_card_that_could_not_be_asked_about_is_refused_and_may_be_tapped_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()
        rig.conversation.opened()
        id_ = rig.wire[-1][1]
        accepted = {"status": "Accepted", "interval": 300, "currentTime": "2027-01-15T08:00:00Z"}
        rig.conversation.frame(json.dumps([3, id_, accepted]))

        def broken(command: AskAuthorize) -> None:
            raise Poison

        monkeypatch.setattr(rig.conversation, "say", broken)
        rig.feed(TokenSeen(ANN))
        assert rig.charger.state.next_ask > 1
        assert rig.charger.state.asks == {}

    scene(play, tmp_path, version="1.6")


def test_a_store_that_has_ended_ends_the_process(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()
        rig.disk.stalled = True
        rig.plug()
        for _, future in rig.disk.waiting:
            future.set_exception(ZeroDivisionError())
        await asyncio.sleep(0.1)
        assert 70 in rig.codes
        assert rig.charger.state.storage

    scene(play, tmp_path)


def test_the_dead_do_nothing(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        rig.truth()
        rig.disk.stalled = True
        rig.plug()
        rig.tap()
        await asyncio.sleep(0.1)
        rig.charger.die()
        rig.said.clear()
        rig.disk.go_on()
        rig.feed(Power(1, True))
        await asyncio.sleep(300)
        assert rig.said == []

    scene(play, tmp_path)


def test_the_history_is_put_right_when_the_time_becomes_known(tmp_path: Path) -> None:
    """A session that began in good time and ends after a restart, with the clock a day behind and nobody to ask yet."""

    def clock(rig: Rig, sure: bool, wall: float) -> None:
        rig.clock = rig.charger._clock = Clock(rig.loop.time, lambda: wall + rig.loop.time(), lambda: sure)
        rig.clock.begin(1, ())
        rig.clock.on_known = lambda at: rig.charger.time_known()

    async def play(rig: Rig) -> None:
        clock(rig, True, EPOCH)
        rig.charger.feed(CardsChanged(((ANN.id.casefold(), None),)))
        rig.truth()
        rig.plug()
        rig.tap()
        await asyncio.sleep(0.1)
        clock(rig, False, EPOCH - 86_400)
        await asyncio.sleep(60)
        rig.truth(1, 0)
        await asyncio.sleep(3)
        [before] = rig.disk.sessions()
        assert (before.trusted, before.ended - before.started) == (False, 0.0)
        assert rig.clock.learn(text_of(EPOCH + rig.loop.time()))
        [after] = rig.disk.sessions()
        assert after.trusted
        assert 59 < after.ended - after.started < 64

    scene(play, tmp_path)
