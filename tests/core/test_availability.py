"""Out of service and back, unlock, reset."""

from __future__ import annotations

import json

import pytest

from chargerd.core.commands import BootCause, Outcome, Restart, WishLock
from chargerd.core.durable import restore, rows
from chargerd.core.events import (
    AvailabilityAsked,
    Power,
    PowerRestored,
    RemoteStart,
    ResetAsked,
    ResetKind,
    Scope,
    TokenSeen,
    UnlockAsked,
)
from chargerd.core.records import Cause, Edge, Reason
from chargerd.core.state import TxWindow
from chargerd.core.status import Joint
from chargerd.core.token import Token
from chargerd.core.variables import Variables
from tests.core.desk import Desk
from tests.core.test_flow import ANN, BOB, plug_in, tap, unplug


@pytest.mark.req("1.6 §5.2", "G03.FR.05")
def test_what_runs_goes_on_and_the_change_is_scheduled() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(AvailabilityAsked(5, Scope.OUTLET, 1, operative=False))
    assert desk.answers()[-1].outcome is Outcome.SCHEDULED
    assert (desk.status(), desk.permit()) == (Joint.CHARGING, 32)
    unplug(desk)
    assert desk.status() is Joint.UNAVAILABLE
    tap(desk)
    assert desk.status() is Joint.UNAVAILABLE
    desk.feed(AvailabilityAsked(6, Scope.OUTLET, 1, operative=True))
    assert desk.status() is Joint.AVAILABLE


def test_an_idle_outlet_changes_at_once_and_a_card_is_refused() -> None:
    desk = Desk(outlets=2)
    desk.feed(AvailabilityAsked(5, Scope.STATION, 0, operative=False, every=True))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    assert (desk.status(1), desk.status(2)) == (Joint.UNAVAILABLE, Joint.UNAVAILABLE)
    tap(desk)
    assert desk.state.lobby is None
    desk.feed(AvailabilityAsked(6, Scope.EVSE, 2, operative=True))
    assert desk.status(2) is Joint.UNAVAILABLE  # the station itself is still out of service


@pytest.mark.req("1.6 §5.18", "F05.FR.01")
def test_unlock_ends_what_runs_and_answers_with_the_locks_word() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.truth(1, 41, True, locked=True)
    desk.charge()
    desk.feed(UnlockAsked(5, 1, stop=True))
    assert desk.answers() == []
    desk.feed(Power(1, False))
    assert desk.sent(WishLock)[-1] == WishLock(1, False)
    desk.truth(1, 41, True, locked=False)
    assert desk.answers()[-1].outcome is Outcome.UNLOCKED
    assert desk.transactions()[-1].reason is Reason.UNLOCK


def test_unlock_that_never_opens_fails_in_time() -> None:
    desk = Desk()
    desk.truth(1, 0, True, locked=True)
    desk.feed(UnlockAsked(5, 1))
    desk.after(25)
    assert desk.answers()[-1].outcome is Outcome.UNLOCK_FAILED


@pytest.mark.req("F05.FR.02")
def test_an_authorised_transaction_keeps_its_cable() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.feed(UnlockAsked(5, 1))
    assert desk.answers()[-1].outcome is Outcome.ONGOING_TRANSACTION


@pytest.mark.req("1.6 §5.14")
@pytest.mark.parametrize(("kind", "reason"), [(ResetKind.SOFT, Reason.SOFT_RESET), (ResetKind.HARD, Reason.HARD_RESET)])
def test_reset_ends_transactions_first(kind: ResetKind, reason: Reason) -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(ResetAsked(5, kind))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    assert desk.sent(Restart) == []
    desk.feed(Power(1, False))
    assert desk.transactions()[-1].reason is reason
    assert desk.sent(Restart) == [Restart(kind)]
    desk.feed(TokenSeen(ANN))
    assert desk.permit() == 0


@pytest.mark.req("B12.FR.01")
def test_reset_on_idle_waits_for_the_transaction() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(ResetAsked(5, ResetKind.ON_IDLE))
    assert desk.answers()[-1].outcome is Outcome.SCHEDULED
    assert desk.permit() == 32
    unplug(desk)
    assert desk.sent(Restart) == [Restart(ResetKind.ON_IDLE)]


def test_a_reset_that_resumes_leaves_the_power_on() -> None:
    desk = Desk(resumption_timeout="60")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(ResetAsked(5, ResetKind.RESUME))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    assert desk.sent(Restart) == [Restart(ResetKind.RESUME)]
    assert desk.permit() == 32
    last = desk.transactions()[-1]
    assert (last.edge, last.cause) == (Edge.UPDATED, Cause.RESET)


def test_a_reset_that_resumes_needs_leave_to_resume() -> None:
    desk = Desk()
    desk.feed(ResetAsked(5, ResetKind.RESUME))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    assert desk.state.reset is None


@pytest.mark.req("1.6 §4.10", "E09.FR.01")
def test_the_cable_stays_locked_after_the_vehicle_left_until_its_card_returns() -> None:
    desk = Desk(unlock_on_ev_disconnect="false")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(Power(1, False))
    desk.truth(1, 0, True, locked=True)
    assert desk.transactions()[-1].reason is Reason.VEHICLE_OUT
    assert desk.sent(WishLock)[-1] == WishLock(1, True)
    desk.feed(TokenSeen(ANN))
    assert desk.sent(WishLock)[-1] == WishLock(1, False)


@pytest.mark.req("1.6 §4.10")
@pytest.mark.parametrize("kind", ["Local", "Central"])
def test_no_cable_is_held_for_a_token_that_nobody_can_bring_back(kind: str) -> None:
    desk = Desk(unlock_on_ev_disconnect="false")
    plug_in(desk)
    desk.feed(RemoteStart(4, Token("APP", kind), 1, local=kind == "Local"))
    desk.charge()
    desk.feed(Power(1, False))
    desk.truth(1, 0, True, locked=True)
    assert desk.transactions()[-1].reason is Reason.VEHICLE_OUT
    assert desk.sent(WishLock)[-1] == WishLock(1, False)


@pytest.mark.req("1.6 §4.10")
def test_no_stranger_takes_a_cable_that_is_held_for_its_owner() -> None:
    desk = Desk(unlock_on_ev_disconnect="false")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(Power(1, False))
    desk.truth(1, 0, True, locked=True)
    tap(desk, BOB)
    desk.after(200)
    assert desk.sent(WishLock)[-1] == WishLock(1, True)


@pytest.mark.req("B12.FR.03")
def test_while_a_reset_waits_for_idle_the_card_still_stops_and_nothing_new_starts() -> None:
    desk = Desk(outlets=2)
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(ResetAsked(5, ResetKind.ON_IDLE))
    tap(desk, BOB)
    assert desk.state.lobby is None
    tap(desk)
    desk.feed(Power(1, False))
    assert desk.transactions()[-1].reason is Reason.LOCAL
    assert desk.sent(Restart) == [Restart(ResetKind.ON_IDLE)]


@pytest.mark.req("F05.FR.02", "F05.FR.04")
def test_a_transaction_nobody_is_authorised_for_does_not_keep_the_lock() -> None:
    desk = Desk(window=TxWindow(frozenset({"EVConnected"}), frozenset({"EVConnected"})))
    plug_in(desk)
    desk.feed(UnlockAsked(5, 1))
    desk.after(6)
    assert desk.answers()[-1].outcome is Outcome.UNLOCKED
    assert desk.told() == [("started", "plugged")]


@pytest.mark.req("1.6 §9.1.20")
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_hard_reset_after_which_the_computer_has_not_rebooted_is_tried_again_so_often(retries: int) -> None:
    desk = Desk(reset_retries=str(retries))
    desk.feed(ResetAsked(1, ResetKind.HARD))
    for _ in range(retries):
        desk = returned(desk, rebooted=False, reboots=True)
        assert desk.sent(Restart) == [Restart(ResetKind.HARD)]
        assert desk.state.stopped
    desk = returned(desk, rebooted=False, reboots=True)
    assert desk.sent(Restart) == []
    assert desk.state.boot.cause is BootCause.HARD_RESET
    assert desk.state.reset_tries == 0


@pytest.mark.parametrize(
    ("kind", "rebooted", "reboots"),
    [(ResetKind.HARD, True, True), (ResetKind.HARD, False, False), (ResetKind.SOFT, False, True)],
)
def test_any_other_reset_has_done_what_it_should(kind: ResetKind, rebooted: bool, reboots: bool) -> None:
    desk = Desk()
    desk.feed(ResetAsked(1, kind))
    desk = returned(desk, rebooted, reboots)
    assert desk.sent(Restart) == []
    assert not desk.state.stopped


def returned(old: Desk, rebooted: bool, reboots: bool) -> Desk:
    """The station that starts on the other's state."""
    desk = Desk()
    desk.state = restore(old.state.site, json.loads(json.dumps(rows(old.state))), Variables())
    desk.drain()
    desk.feed(PowerRestored(rebooted, 5.0, reboots))
    return desk
