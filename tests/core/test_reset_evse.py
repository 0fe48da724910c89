"""One EVSE starts anew: at once, or once it is idle (B11, B12)."""

from __future__ import annotations

import json

import pytest

from chargerd.core.commands import Outcome, Restart, SetPermit, WishLock
from chargerd.core.durable import restore, rows
from chargerd.core.events import (
    AuthorizeAnswered,
    AvailabilityAsked,
    Power,
    PowerRestored,
    RemoteStart,
    ResetAsked,
    ResetKind,
    Scope,
    TokenSeen,
)
from chargerd.core.records import Cause, Edge, Reason
from chargerd.core.state import TxWindow
from chargerd.core.status import Joint
from chargerd.core.token import Standing, Verdict
from chargerd.core.variables import Variables
from tests.core.desk import Desk
from tests.core.test_flow import ANN, BOB, plug_in, tap, unplug

IDLE, NOW = ResetKind.ON_IDLE, ResetKind.IMMEDIATE


def charging(outlets: int = 2, connectors: int = 1, resumption: int = 0) -> Desk:
    """ANN charges at outlet 1, and nothing of it is new any more."""
    desk = Desk(outlets, connectors=connectors, resumption_timeout=str(resumption))
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.drain()
    return desk


def reset(desk: Desk, kind: ResetKind, evse: int | None = 1) -> Outcome:
    desk.feed(ResetAsked(5, kind, evse))
    return desk.answers()[-1].outcome


def anew(desk: Desk, rank: int = 1) -> bool:
    """Was the guard told everything about this outlet again?"""
    locks = [wish for wish in desk.sent(WishLock) if wish.outlet == rank]
    return bool([p for p in desk.sent(SetPermit) if p.outlet == rank]) and locks[-1:] == [WishLock(rank, False)]


@pytest.mark.req("B11.FR.01", "B11.FR.08")
@pytest.mark.parametrize("kind", [IDLE, NOW])
def test_an_idle_evse_starts_anew_at_once_and_no_other_does(kind: ResetKind) -> None:
    desk = Desk(outlets=2)
    assert reset(desk, kind) is Outcome.ACCEPTED
    assert anew(desk)
    assert not anew(desk, 2)
    assert desk.sent(Restart) == []
    assert (desk.state.resets, desk.state.reset, desk.status()) == (frozenset(), None, Joint.AVAILABLE)


@pytest.mark.req("B12.FR.01", "B12.FR.07", "B12.FR.14")
def test_on_idle_waits_for_the_driver_and_is_carried_out_then() -> None:
    desk = charging()
    assert reset(desk, IDLE) is Outcome.SCHEDULED
    desk.after(3600)
    assert (desk.status(), desk.permit()) == (Joint.CHARGING, 32)
    desk.feed(TokenSeen(ANN))
    desk.drain()
    desk.feed(Power(1, False))
    assert [(r.edge, r.reason) for r in desk.transactions()] == [(Edge.ENDED, Reason.LOCAL)]
    assert anew(desk)
    assert desk.state.resets == frozenset()
    assert desk.sent(Restart) == []


@pytest.mark.req("B12.FR.08")
def test_immediate_ends_what_runs_there_and_only_there() -> None:
    desk = charging()
    plug_in(desk, 2, 42)
    tap(desk, BOB)
    desk.charge(2)
    desk.drain()
    assert reset(desk, NOW) is Outcome.ACCEPTED
    assert not anew(desk)  # the contactor is still closed
    desk.drain()
    desk.feed(Power(1, False))
    last = desk.transactions()[-1]
    assert (last.edge, last.cause, last.reason) == (Edge.ENDED, Cause.RESET, Reason.HARD_RESET)
    assert anew(desk)
    assert (desk.status(2), desk.state.resets) == (Joint.CHARGING, frozenset())


@pytest.mark.req("B12.FR.02", "B12.FR.08")
def test_immediate_overtakes_on_idle_and_not_the_other_way_round() -> None:
    desk = charging()
    reset(desk, IDLE)
    assert reset(desk, NOW) is Outcome.ACCEPTED
    assert desk.permit() == 0
    assert reset(desk, IDLE) is Outcome.SCHEDULED
    desk.feed(Power(1, False))
    assert desk.transactions()[-1].reason is Reason.HARD_RESET
    assert desk.state.resets == frozenset()


@pytest.mark.req("B12.FR.03", "B12.FR.04")
@pytest.mark.parametrize("kind", [IDLE, NOW])
def test_a_reset_of_the_station_makes_good_for_it(kind: ResetKind) -> None:
    desk = charging()
    reset(desk, IDLE)
    reset(desk, kind, None)
    desk.feed(TokenSeen(ANN))
    desk.feed(Power(1, False))
    assert desk.sent(Restart) == [Restart(kind)]
    assert desk.state.resets == frozenset()


@pytest.mark.req("B12.FR.01")
def test_meanwhile_the_rest_of_the_evse_is_unavailable_and_nobody_new_is_served() -> None:
    desk = charging(outlets=3, connectors=2)
    assert desk.status(2) is Joint.AVAILABLE
    reset(desk, IDLE)
    assert (desk.status(2), desk.status(3)) == (Joint.UNAVAILABLE, Joint.AVAILABLE)
    desk.feed(RemoteStart(6, BOB, evse=1))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    desk.feed(RemoteStart(7, BOB, evse=2))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    unplug(desk)
    assert (desk.status(1), desk.status(2)) == (Joint.AVAILABLE, Joint.AVAILABLE)


@pytest.mark.req("B12.FR.01")
def test_nobody_begins_at_a_cable_that_a_reset_waits_for() -> None:
    points = frozenset({"EVConnected"})
    desk = Desk(window=TxWindow(points, points), unlock_on_ev_disconnect="false")
    plug_in(desk)
    tap(desk)
    desk.feed(Power(1, True))
    desk.feed(Power(1, False))
    desk.truth(1, 0, True, locked=True)
    assert desk.transactions()[-1].edge is Edge.ENDED
    desk.drain()
    assert reset(desk, IDLE) is Outcome.SCHEDULED  # the owner has yet to come for it (B11 remarks)
    desk.truth(1, 42, True, locked=True)
    assert desk.transactions() == []
    desk.truth(1, 0, False)
    assert desk.state.resets == frozenset()
    plug_in(desk, 1, 43)
    assert desk.told() == [("started", "plugged")]


@pytest.mark.req("B12.FR.01")
def test_it_waits_for_whoever_is_expected_there() -> None:
    desk = Desk(outlets=2, connectors=2)
    tap(desk, evse=1)
    assert desk.state.lobby is not None
    assert reset(desk, IDLE) is Outcome.SCHEDULED
    desk.feed(RemoteStart(6, BOB, 1))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    plug_in(desk, 2)
    assert (desk.told(), desk.permit(2)) == ([("started", "plugged")], 32)
    desk.feed(Power(2, True))
    unplug(desk, 2)
    assert desk.state.resets == frozenset()


@pytest.mark.req("B12.FR.03")
def test_a_transaction_that_waits_for_its_cable_finds_it_though_the_station_waits_for_idle() -> None:
    desk = Desk(outlets=2, window=TxWindow(frozenset({"Authorized"}), frozenset({"Authorized"})))
    tap(desk)
    assert reset(desk, IDLE, None) is Outcome.SCHEDULED
    plug_in(desk, 2)
    assert desk.permit(2) == 32


@pytest.mark.req("B11.FR.08")
def test_immediate_drops_whoever_is_expected_and_every_question() -> None:
    desk = Desk(outlets=2)
    desk.feed(RemoteStart(4, ANN, outlet=1))
    desk.feed(TokenSeen(BOB, 1))
    asked = dict(desk.state.asks)
    assert asked
    assert reset(desk, NOW) is Outcome.ACCEPTED
    for ask in asked:
        desk.feed(AuthorizeAnswered(ask, Verdict(Standing.ACCEPTED)))
    plug_in(desk)
    assert desk.transactions() == []
    tap(desk)
    assert desk.told() == [("started", "authorized")]


@pytest.mark.req("B12.FR.06")
def test_what_the_backend_took_out_of_service_stays_so() -> None:
    desk = charging()
    desk.feed(AvailabilityAsked(4, Scope.EVSE, 1, operative=False))
    reset(desk, IDLE)
    unplug(desk)
    assert (desk.status(), desk.state.resets) == (Joint.UNAVAILABLE, frozenset())


@pytest.mark.req("B12.FR.01", "B12.FR.14")
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_start_in_between_does_not_forget_it(rebooted: bool) -> None:
    desk = charging(resumption=60)
    reset(desk, IDLE)
    assert [answer.lasting for answer in desk.answers()] == [True]
    new = Desk(2)
    new.state = restore(desk.state.site, json.loads(json.dumps(rows(desk.state))), Variables())
    new.now, new.wall, new.register = desk.now + 5, desk.wall + 5, desk.register
    new.drain()
    new.feed(PowerRestored(rebooted, 5.0))
    new.truth(1, 41, True)
    new.truth(2)
    assert new.state.resets == {1}
    new.drain()
    unplug(new)
    assert new.transactions()[-1].edge is Edge.ENDED
    assert anew(new)
    assert "resets" not in rows(new.state)["station"]
