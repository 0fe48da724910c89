"""Whatever happens, in whatever order: the promises that hold after every single step of the station.

The machine plays driver, vehicle, guard, meter, backend and clock at random, each of them only as far as it may go
(the guard's words fit together; a frame may be late or never come); `Ledger` keeps the books of what was told.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chargerd.core import events as ev
from chargerd.core.commands import AskAuthorize, BootCause, ReadMeter, Restart, SendBoot, SetPermit, WishLock
from chargerd.core.durable import changed, restore, rows
from chargerd.core.limits import least, of_outlet, of_station
from chargerd.core.moment import Moment
from chargerd.core.permits import entitled
from chargerd.core.profiles import Kind, Period, Profile, Purpose, Schedule, Unit
from chargerd.core.records import Edge, Faulted, Reason, Record, Session, Transaction
from chargerd.core.state import OutletSite, Site, Station, TxWindow, Visit
from chargerd.core.station import initial, step, wake_at
from chargerd.core.status import Joint, blocking, joint
from chargerd.core.token import Standing, Token, Verdict
from chargerd.core.variables import Variables
from hal.api import MeterReading
from tests.core.desk import Desk
from tests.core.test_flow import ANN, plug_in, tap

V16 = TxWindow(frozenset({"PowerPathClosed"}), frozenset({"Authorized"}))
POINTS = ("ParkingBayOccupancy", "EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer")
TOKENS = (Token("04AABBCC"), Token("04DDEEFF"), Token("04112233"))
FAULTS = ("OverTemperature", "EmergencyStop", "ConnectorLockFailure", "DiodeFault")
VERDICTS = (
    Verdict(Standing.ACCEPTED),
    Verdict(Standing.ACCEPTED, "family"),
    Verdict(Standing.INVALID),
    None,
)
OUTLETS = 2
ranks = st.integers(1, OUTLETS)
tokens = st.sampled_from(TOKENS)


class Ledger:
    """The books of the transactions told: each begins once, before all else, and ends once, after all else."""

    def __init__(self) -> None:
        self.open: dict[str, Transaction] = {}
        self.over: set[str] = set()
        self.faults: set[tuple[int, str]] = set()

    def take(self, records: tuple[Record, ...]) -> None:
        for record in records:
            match record:
                case Transaction(tx=tx, edge=Edge.STARTED):
                    assert tx not in self.open and tx not in self.over, "started twice"
                    self.open[tx] = record
                case Transaction(tx=tx, edge=Edge.UPDATED):
                    assert tx in self.open, "told of before its start or after its end"
                case Transaction(tx=tx, edge=Edge.ENDED):
                    started = self.open.pop(tx)
                    self.over.add(tx)
                    self.ended = record
                    assert record.reason is not None and record.started == started.at
                    assert record.at.mono >= started.at.mono
                case Session(tx=tx):
                    assert tx == self.ended.tx, "a session is the balance of the transaction that just ended"
                    assert (record.started, record.ended) == (self.ended.started, self.ended.at)
                    first, last = self.ended.begin, self.ended.reading
                    assert record.begin_wh == (first.energy if first else None)
                    assert record.end_wh == (last.energy if last else None)
                    assert first is None or last is None or last.energy >= first.energy
                case Faulted(outlet=rank, name=name, active=active):
                    assert active != ((rank, name) in self.faults), "a fault comes once and goes once"
                    self.faults ^= {(rank, name)}


class Bay:
    """One outlet as the guard sees it. Power flows only on a permit for the vehicle that is there."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.plug = 0
        self.cable = False
        self.powered = False
        self.locked = False
        self.ready = False
        self.faults: set[str] = set()
        self.permit: SetPermit | None = None
        self.register = 1000.0
        self.asked = 0

    def truth(self) -> ev.OutletTruth:
        offered = self.permit.amps if self.permit and self.permit.plug == self.plug else 0.0
        return ev.OutletTruth(
            self.rank,
            self.plug,
            self.cable,
            32.0 if self.cable else 0.0,
            self.ready,
            self.powered,
            self.locked,
            offered,
            tuple(sorted(self.faults)),
        )


class StationMachine(RuleBasedStateMachine):
    window: TxWindow | None = V16

    @initialize(
        free=st.booleans(),
        backend=st.booleans(),
        metered=st.booleans(),
        tethered=st.booleans(),
        bays=st.booleans(),
        one_evse=st.booleans(),
        max_amps=st.sampled_from((5.0, 10.0, 20.0, 64.0)),
        data=st.data(),
    )
    def begin(
        self,
        free: bool,
        backend: bool,
        metered: bool,
        tethered: bool,
        bays: bool,
        one_evse: bool,
        max_amps: float,
        data: st.DataObject,
    ) -> None:
        places = {n: (1, n) if one_evse else (n, 1) for n in range(1, OUTLETS + 1)}
        sites = tuple(
            OutletSite(n, *place, 32.0, tethered=tethered, metered=metered, bay=bays) for n, place in places.items()
        )
        self.max_amps = max_amps
        self.base = self.variables(data)
        self.now, self.wall = 1000.0, 1_800_000_000.0
        self.ids = map("tx-{}".format, itertools.count(1))
        self.handles = itertools.count(1)
        self.ledger = Ledger()
        self.bays = [Bay(n) for n in range(1, OUTLETS + 1)]
        self.plugs = itertools.count(1)
        self.asks: list[AskAuthorize] = []
        self.boots = 0
        self.guard = False
        self.left = False
        self.state: Station = initial(
            Site(sites, max_amps, backend, free and not backend, window=self.window), self.base
        )
        self.feed(ev.PowerRestored(True))

    def variables(self, data: st.DataObject) -> Variables:
        made = Variables()
        choices = {
            "connection_timeout": ("10", "90"),
            "sample_interval": ("0", "7"),
            "aligned_interval": ("0", "60"),
            "stop_on_ev_disconnect": ("true", "false"),
            "unlock_on_ev_disconnect": ("true", "false"),
            "stop_on_invalid_id": ("true", "false"),
            "local_pre_authorize": ("true", "false"),
            "offline_unknown_ids": ("true", "false"),
            "authorize_remote_start": ("true", "false"),
            "resumption_timeout": ("0", "60"),
        }
        for name, words in choices.items():
            made = made.with_(name, data.draw(st.sampled_from(words), label=name))
        return made

    # ---- the machinery

    def moment(self) -> Moment:
        return Moment(self.now, self.wall, True, 1)

    def feed(self, event: ev.Event) -> None:
        if self.left:
            return
        old = self.state
        done = step(old, event, self.moment(), lambda: next(self.ids))
        self.state = done.state
        self.ledger.take(done.records)
        self.heard(done.records)
        assert {k: v for k, v in rows(done.state).items() if rows(old).get(k) != v}.items() <= changed(
            old, done.state
        ).items(), "a durable change that would not be written"
        for command in done.commands:
            match command:
                case SetPermit(outlet=rank):
                    self.bays[rank - 1].permit = command
                case WishLock(outlet=rank, locked=locked):
                    bay = self.bays[rank - 1]
                    bay.locked = locked or bay.powered
                case ReadMeter(outlet=rank):
                    self.bays[rank - 1].asked += 1
                case AskAuthorize():
                    self.asks.append(command)
                case SendBoot():
                    self.boots += 1
                case Restart():
                    self.left = True

    def heard(self, records: tuple[Record, ...]) -> None:
        """What one step has told, for machines that look closer."""

    def say(self, bay: Bay, *words: ev.Event) -> None:
        """The guard's events and the truth after them, as far as somebody listens."""
        if self.guard:
            for word in (*words, bay.truth()):
                self.feed(word)

    def reading(self, bay: Bay) -> MeterReading:
        return MeterReading(self.now, bay.register, 0.0)

    # ---- the driver and the vehicle

    @rule(token=tokens, evse=st.none() | ranks)
    def tap(self, token: Token, evse: int | None) -> None:
        self.feed(ev.TokenSeen(token, evse))

    @rule(rank=ranks)
    def plug_in(self, rank: int) -> None:
        bay = self.bays[rank - 1]
        if bay.plug:
            return
        bay.cable, bay.plug = True, next(self.plugs)
        self.say(bay, ev.CableIn(rank, 32.0), ev.VehicleIn(rank, bay.plug))

    @rule(rank=ranks)
    def cable_only(self, rank: int) -> None:
        bay = self.bays[rank - 1]
        if not bay.plug and not bay.locked:
            bay.cable = not bay.cable
            self.say(bay, ev.CableIn(rank, 32.0) if bay.cable else ev.CableOut(rank))

    @rule(rank=ranks, taken=st.booleans())
    def park(self, rank: int, taken: bool) -> None:
        if self.state.site.outlets[rank - 1].bay:
            self.feed(ev.Bay(rank, taken))

    @rule(rank=ranks, cable_too=st.booleans())
    def unplug(self, rank: int, cable_too: bool) -> None:
        bay = self.bays[rank - 1]
        if not bay.plug:
            return
        words: list[ev.Event] = [ev.Power(rank, False)] if bay.powered else []
        words.append(ev.VehicleOut(rank, bay.plug))
        bay.plug, bay.powered, bay.ready = 0, False, False
        if cable_too:
            bay.cable = False
            words.append(ev.CableOut(rank))
        self.say(bay, *words)

    @rule(rank=ranks)
    def take_power(self, rank: int) -> None:
        """The vehicle closes S2; where a permit for it is there, the guard closes the contactor."""
        bay = self.bays[rank - 1]
        permit = bay.permit
        if permit and bay.plug == permit.plug != 0 and permit.amps >= 6 and not bay.faults and not bay.powered:
            bay.powered = bay.ready = True
            self.say(bay, ev.VehicleReady(rank, bay.plug, True), ev.Power(rank, True))

    @rule(rank=ranks)
    def power_off(self, rank: int) -> None:
        bay = self.bays[rank - 1]
        if bay.powered:
            bay.powered = False
            self.say(bay, ev.Power(rank, False))

    @rule(rank=ranks, wh=st.integers(1, 900))
    def energy(self, rank: int, wh: int) -> None:
        bay = self.bays[rank - 1]
        if bay.powered:
            bay.register += wh
            self.feed(ev.Metered(rank, self.reading(bay)))

    @rule(rank=ranks, works=st.booleans())
    def meter_answers(self, rank: int, works: bool) -> None:
        bay = self.bays[rank - 1]
        if bay.asked:
            bay.asked -= 1
            self.feed(ev.Metered(rank, self.reading(bay) if works else None, asked=True))

    @rule(rank=ranks, active=st.booleans())
    def meter_fault(self, rank: int, active: bool) -> None:
        self.feed(ev.Fault(rank, "PowerMeterFailure", active))

    @rule(rank=ranks, token=tokens, steps=st.integers(1, 6))
    def charge(self, rank: int, token: Token, steps: int) -> None:
        """What mostly happens, so that the rest happens in the middle of it too."""
        flow: tuple[Callable[[], object], ...] = (
            self.guard_comes,
            lambda: self.feed(ev.RemoteStart(next(self.handles), token, rank, local=True)),
            lambda: self.plug_in(rank),
            lambda: self.meter_answers(rank, True),
            lambda: self.take_power(rank),
            lambda: self.energy(rank, 100),
        )
        for act in flow[:steps]:
            act()

    # ---- the guard

    @rule(rank=ranks, name=st.sampled_from(FAULTS))
    def fault(self, rank: int, name: str) -> None:
        bay = self.bays[rank - 1]
        bay.faults ^= {name}
        words: list[ev.Event] = [ev.Fault(rank, name, name in bay.faults)]
        if bay.powered and bay.faults:
            bay.powered = False
            words.append(ev.Power(rank, False))
        self.say(bay, *words)

    @rule()
    def guard_comes(self) -> None:
        self.guard = True
        for bay in self.bays:
            self.say(bay)

    @rule(dies=st.booleans())
    def guard_goes(self, dies: bool) -> None:
        """The lease socket is gone; the guard itself may have died and forgotten its plug numbers."""
        self.guard = False
        self.feed(ev.GuardLost())
        if dies:
            for bay in self.bays:
                bay.powered, bay.permit = False, None
                if bay.plug:
                    bay.plug = next(self.plugs)

    # ---- the backend

    @precondition(lambda self: self.state.site.backend)
    @rule(up=st.booleans())
    def link(self, up: bool) -> None:
        if up == self.state.online:
            return
        if up:
            self.feed(ev.LinkUp())
            return
        self.feed(ev.LinkDown())
        for _ in range(self.boots):
            self.feed(ev.BootAnswered(ev.BootStatus.NONE))
        self.boots = 0
        for asked in self.asks:
            self.feed(ev.AuthorizeAnswered(asked.ask, None))
        self.asks.clear()

    @precondition(lambda self: self.boots)
    @rule(status=st.sampled_from(ev.BootStatus), interval=st.integers(0, 100))
    def boot_answered(self, status: ev.BootStatus, interval: int) -> None:
        self.boots -= 1
        self.feed(ev.BootAnswered(status, interval))

    @precondition(lambda self: self.asks)
    @rule(verdict=st.sampled_from(VERDICTS))
    def authorize_answered(self, verdict: Verdict | None) -> None:
        self.feed(ev.AuthorizeAnswered(self.asks.pop(0).ask, verdict))

    @precondition(lambda self: self.ledger.open)
    @rule(token=tokens, verdict=st.sampled_from([v for v in VERDICTS if v]), data=st.data())
    def transaction_answered(self, token: Token, verdict: Verdict, data: st.DataObject) -> None:
        tx = data.draw(st.sampled_from(sorted(self.ledger.open)))
        self.feed(ev.TransactionAnswered(tx, token, verdict))

    @rule(token=tokens, outlet=st.none() | ranks, local=st.booleans())
    def remote_start(self, token: Token, outlet: int | None, local: bool) -> None:
        self.feed(ev.RemoteStart(next(self.handles), token, outlet, 7, None, local))

    @rule(local=st.booleans(), data=st.data())
    def remote_stop(self, local: bool, data: st.DataObject) -> None:
        tx = data.draw(st.sampled_from([*sorted(self.ledger.open), "never heard of", None]))
        self.feed(ev.RemoteStop(next(self.handles), tx, local))

    @rule(scope=st.sampled_from(ev.Scope), number=ranks, operative=st.booleans(), every=st.booleans())
    def availability(self, scope: ev.Scope, number: int, operative: bool, every: bool) -> None:
        self.feed(ev.AvailabilityAsked(next(self.handles), scope, number, operative, every))

    @rule(rank=ranks, stop=st.booleans())
    def unlock(self, rank: int, stop: bool) -> None:
        self.feed(ev.UnlockAsked(next(self.handles), rank, stop))

    @rule(kind=st.sampled_from(ev.ResetKind), evse=st.none() | ranks)
    def reset(self, kind: ev.ResetKind, evse: int | None) -> None:
        self.feed(ev.ResetAsked(next(self.handles), kind, evse))

    @rule(what=st.sampled_from(ev.Triggered), outlet=st.none() | ranks)
    def trigger(self, what: ev.Triggered, outlet: int | None) -> None:
        self.feed(ev.TriggerAsked(next(self.handles), what, outlet))

    @rule(name=st.sampled_from(("sample_interval", "aligned_interval")), text=st.sampled_from(("0", "5", "60")))
    def set_interval(self, name: str, text: str) -> None:
        self.feed(ev.SetAsked(next(self.handles), ((name, text),)))

    @rule(cards=st.lists(tokens, unique_by=lambda t: t.id))
    def cards_changed(self, cards: list[Token]) -> None:
        self.feed(ev.CardsChanged(tuple((card.id, None) for card in cards)))

    # ---- disk, process, time

    @rule(works=st.booleans())
    def storage(self, works: bool) -> None:
        self.feed(ev.Storage(works))

    @rule()
    def stop_in_order(self) -> None:
        self.feed(ev.Stop())

    @rule(rebooted=st.booleans(), away=st.sampled_from((None, 3.0, 1000.0)))
    def restart(self, rebooted: bool, away: float | None) -> None:
        body = json.loads(json.dumps(rows(self.state)))
        again = restore(self.state.site, body, self.base)
        assert rows(again) == rows(self.state)
        self.state, self.left = again, False
        self.guard, self.boots = False, 0
        self.asks.clear()
        self.now += 3
        self.wall += 3
        for bay in self.bays:
            bay.asked = 0
            if rebooted:
                bay.powered, bay.permit = False, None
                bay.plug = next(self.plugs) if bay.plug else 0
        self.feed(ev.PowerRestored(rebooted, away))

    @rule(seconds=st.floats(0.1, 200.0))
    def time_passes(self, seconds: float) -> None:
        """As the shell does it: awake whenever something is due; a wake-up that moves nothing on would spin."""
        end = self.now + seconds
        for _ in range(500):
            at = wake_at(self.state, self.moment())
            if self.left or at is None or at > end:
                break
            self.wall += max(0.0, at - self.now)
            self.now = max(self.now, at)
            self.feed(ev.Wake())
            after = wake_at(self.state, self.moment())
            assert self.left or after is None or after > self.now, "due again at once"
        else:
            raise AssertionError("more than 500 wake-ups")
        self.wall += max(0.0, end - self.now)
        self.now = max(self.now, end)

    # ---- the backend's limits

    @rule(
        place=st.integers(0, OUTLETS),
        purpose=st.sampled_from(Purpose),
        level=st.integers(0, 2),
        later=st.sampled_from((None, 0.0, 8.0, 20.0)),
        limit=st.sampled_from((0.0, 7.5, 16.0)),
        unit=st.sampled_from(Unit),
    )
    def limited(self, place: int, purpose: Purpose, level: int, later: float | None, limit: float, unit: Unit) -> None:
        scale = 690.0 if unit is Unit.WATTS else 1.0
        periods = (Period(0, limit * scale), *(() if later is None else (Period(20, later * scale),)))
        profile = Profile(next(self.handles), level, purpose, Kind.RELATIVE, Schedule(unit, periods, 60))
        self.feed(ev.ProfileSet(next(self.handles), place, profile))

    @rule()
    def unlimited(self) -> None:
        self.feed(ev.ProfilesCleared(next(self.handles)))

    # ---- what always holds

    @invariant()
    def nobody_has_power_without_a_right(self) -> None:
        total = 0.0
        for outlet in self.state.outlets:
            live, visit = outlet.live, outlet.visit
            if live.permit is None:
                continue
            plug, amps, _, _ = live.permit
            total += amps
            if amps == 0 or self.left:
                continue
            assert live.known and entitled(self.state, outlet)
            assert visit is not None and visit.auth is not None and visit.barred_at is None
            assert plug == visit.plug == live.plug != 0
            assert not blocking(self.state, outlet)
            assert amps <= outlet.site.amps and amps >= 6
            if self.state.window.start != {"EnergyTransfer"}:
                assert visit.tx is not None and visit.tx.told and visit.tx.stopping is None
        assert total <= self.max_amps + 1e-6

    @invariant()
    def nobody_has_more_than_any_limit_allows(self) -> None:
        """Once it has been woken for what is due."""
        at = wake_at(self.state, self.moment())
        if self.left or (at is not None and at <= self.now):
            return
        station = least(of_station(self.state, self.moment(), 3)).amps
        for outlet in self.state.outlets:
            permit = outlet.live.permit
            if permit is not None and permit[1]:
                own = least(of_outlet(self.state, outlet, self.moment(), outlet.site.phases)).amps
                assert permit[1] <= min(own, station) + 1e-6
        running = {visit.tx.uid for visit in self._visits() if visit.tx is not None}
        assert {one.profile.tx for one in self.state.profiles.values()} <= running | {None}

    def _visits(self) -> list[Visit]:
        return [v for v in (self.state.lobby, *(o.visit for o in self.state.outlets)) if v is not None]

    @invariant()
    def what_runs_is_in_the_books_and_nothing_else(self) -> None:
        running = [v.tx.uid for v in self._visits() if v.tx is not None and v.tx.told]
        assert sorted(running) == sorted(self.ledger.open)
        assert len(self.state.asks) <= 16

    @invariant()
    def no_transaction_outlives_every_sign_of_its_driver(self) -> None:
        for outlet in self.state.outlets:
            visit, live = outlet.visit, outlet.live
            if visit is None or visit.tx is None or visit.tx.stopping is not None or not live.known:
                continue
            assert visit.auth or visit.plug or live.cable or live.bay or (outlet.site.bay and live.bay is None)

    @invariant()
    def an_evse_has_one_driver(self) -> None:
        for outlet in self.state.outlets:
            if outlet.visit is not None and outlet.visit.tx is not None:
                assert not any(sibling.tx for sibling in self.state.siblings(outlet.site.rank))

    @invariant()
    def every_fault_that_is_there_was_told_and_no_other_for_long(self) -> None:
        for outlet in self.state.outlets:
            live, rank = outlet.live, outlet.site.rank
            told = {name for at, name in self.ledger.faults if at == rank}
            assert told == outlet.reported and told >= live.faults
            if live.known:
                assert told - {"PowerMeterFailure"} == live.faults - {"PowerMeterFailure"}
            if live.reading is not None or not outlet.site.metered:
                assert ("PowerMeterFailure" in told) == ("PowerMeterFailure" in live.faults)

    @invariant()
    def a_reset_of_an_evse_waits_for_somebody(self) -> None:
        lobby = self.state.lobby
        for evse in self.state.resets:
            visits = [o.visit for o in self.state.outlets if o.site.evse == evse and o.visit is not None]
            visits += [lobby] if lobby is not None and lobby.evse == evse else []
            assert any(visit.tx or visit.auth or visit.held for visit in visits)

    @invariant()
    def a_station_that_is_left_alone_sleeps(self) -> None:
        at = wake_at(self.state, self.moment())
        assert self.left or at is None or at > self.now - 1e-6 or self._moves_on()

    def _moves_on(self) -> bool:
        woken = step(self.state, ev.Wake(), self.moment(), lambda: "tx-woken").state
        after = wake_at(woken, self.moment())
        return after is None or after > self.now or replace(woken) != self.state

    @invariant()
    def the_status_fits(self) -> None:
        for outlet in self.state.outlets:
            word = joint(self.state, outlet.site.rank)
            assert (word is Joint.FAULTED) == bool(blocking(self.state, outlet))
            assert word is not Joint.AVAILABLE or (outlet.visit is None and outlet.operative)


class FreeWindowMachine(StationMachine):
    """The same under windows of 2.x, whatever their points."""

    window = None

    def variables(self, data: st.DataObject) -> Variables:
        made = super().variables(data)
        for name in ("tx_start_points", "tx_stop_points"):
            words = data.draw(st.lists(st.sampled_from(POINTS), min_size=1, unique=True), label=name)
            made = made.with_(name, ",".join(words))
        return made


_EFFORT = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestWindow16 = StationMachine.TestCase
TestWindow16.settings = _EFFORT
TestWindow2x = FreeWindowMachine.TestCase
TestWindow2x.settings = _EFFORT


# ---- roads that chance takes too seldom


def authorised_in_the_lobby(**variables: Any) -> Desk:
    """Two free outlets, one tap: with the start point Authorized a transaction runs before any cable is in."""
    desk = Desk(outlets=2, window=None, tx_start_points="Authorized", tx_stop_points="Authorized", **variables)
    tap(desk, ANN)
    assert desk.told() == [("started", "authorized")]
    return desk


def reborn(desk: Desk, rebooted: bool = False, away: float | None = None) -> None:
    desk.state = restore(desk.state.site, json.loads(json.dumps(rows(desk.state))), Variables())
    desk.feed(ev.PowerRestored(rebooted, away))


def test_a_transaction_in_the_lobby_has_nothing_to_sample_yet() -> None:
    desk = authorised_in_the_lobby(sample_interval="7", connection_timeout="60")
    desk.after(50)  # asserts that nothing spins
    assert desk.told() == [("started", "authorized")]
    plug_in(desk)
    desk.charge()
    desk.after(8)
    assert desk.told()[-1] == ("updated", "periodic")


def test_a_meter_that_stays_silent_ends_what_was_told_in_the_lobby() -> None:
    desk = authorised_in_the_lobby()
    desk.meter = False
    plug_in(desk)
    desk.after(5)
    assert desk.told()[-1][0] == "ended"
    assert desk.permit() == 0


@pytest.mark.parametrize("rebooted", [False, True])
def test_a_restart_between_power_off_and_the_last_register_does_not_lose_it(rebooted: bool) -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge(energy=2500)
    desk.meter = False
    tap(desk)
    desk.feed(ev.Power(1, False))
    desk.now += 60
    desk.meter = True
    reborn(desk, rebooted)
    desk.truth(1, 41, True)
    sessions = [record for record in desk.records if isinstance(record, Session)]
    assert [(s.begin_wh, s.end_wh) for s in sessions] == [(5000, 7500)]


def test_a_restart_before_the_first_register_asks_for_it_again() -> None:
    desk = Desk()
    plug_in(desk)
    desk.meter = False
    tap(desk)
    desk.now += 60
    desk.meter = True
    reborn(desk)
    desk.truth(1, 41, True)
    assert [edge for edge, _ in desk.told()].count("started") == 1
    assert desk.permit() == 32


@pytest.mark.parametrize("why", [ev.Stop(), ev.Storage(False)])
def test_a_cable_that_comes_too_late_starts_nothing_and_gets_nothing(why: ev.Event) -> None:
    desk = Desk()
    tap(desk)
    desk.feed(why)
    plug_in(desk)
    assert desk.told() == []
    assert desk.permit() == 0
    if isinstance(why, ev.Stop):
        reborn(desk)
        desk.truth(1, 41, True)
    else:
        desk.feed(ev.Storage(True))
    assert [edge for edge, _ in desk.told()].count("started") == 1
    assert desk.permit() == 32


def test_free_charging_without_a_register_gives_no_power_until_the_meter_answers() -> None:
    desk = Desk(backend=False, free=True)
    desk.meter = False
    plug_in(desk)
    desk.after(3)
    assert desk.permit() == 0
    desk.feed(ev.Fault(1, "PowerMeterFailure", True))
    desk.after(30)
    assert desk.permit() == 0
    desk.meter = True
    desk.feed(ev.Fault(1, "PowerMeterFailure", False))
    desk.after(3)
    assert desk.permit() == 32
    assert [edge for edge, _ in desk.told()] == ["started"]


def test_where_only_energy_starts_a_transaction_its_first_register_does_not_take_the_power_away() -> None:
    desk = Desk(window=None, tx_start_points="EnergyTransfer", tx_stop_points="Authorized")
    plug_in(desk)
    tap(desk)
    assert (desk.permit(), desk.told()) == (32, [])
    desk.meter = False
    desk.charge()
    assert desk.permit() == 32
    desk.feed(ev.Metered(1, desk.reading(), asked=True))
    assert [edge for edge, _ in desk.told()] == ["started"]
    assert desk.permit() == 32


@pytest.mark.parametrize(
    ("events", "rebooted", "cause"),
    [
        ((), False, BootCause.WATCHDOG),
        ((), True, BootCause.POWER_UP),
        ((ev.Stop(),), False, BootCause.UNKNOWN),
        ((ev.Stop(),), True, BootCause.POWER_UP),
        ((ev.ResetAsked(1, ev.ResetKind.SOFT), ev.Stop()), False, BootCause.SOFT_RESET),
    ],
)
def test_the_next_boot_says_why_it_happened(events: tuple[ev.Event, ...], rebooted: bool, cause: BootCause) -> None:
    desk = Desk()
    for event in events:
        desk.feed(event)
    desk.drain()
    reborn(desk, rebooted)
    desk.feed(ev.LinkUp())
    assert desk.sent(SendBoot) == [SendBoot(cause)]


def test_a_boot_that_was_lost_with_its_link_is_said_again_with_the_next() -> None:
    desk = Desk(accepted=False)
    desk.drain()
    desk.feed(ev.LinkDown())
    desk.feed(ev.BootAnswered(ev.BootStatus.NONE))
    desk.after(1)
    desk.feed(ev.LinkUp())
    assert len(desk.sent(SendBoot)) == 1


def test_where_a_transaction_ends_with_its_energy_a_power_cut_is_why() -> None:
    desk = Desk(window=None, tx_start_points="EnergyTransfer", tx_stop_points="EnergyTransfer")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.state = replace(desk.state, variables=desk.state.variables.with_("resumption_timeout", "60"))
    reborn(desk, rebooted=True, away=5.0)
    desk.truth(1, 55, True)
    assert desk.transactions()[-1].reason is Reason.POWER_LOSS
