"""Transactions whose window, outlet or cable is not the plain one."""

from __future__ import annotations

import pytest

from chargerd.core.commands import Outcome, WishLock
from chargerd.core.events import (
    CableIn,
    CableOut,
    Power,
    RemoteStart,
    RemoteStop,
    TriggerAsked,
    Triggered,
    VehicleIn,
    VehicleOut,
)
from chargerd.core.records import Cause, Reason
from chargerd.core.state import TxWindow
from chargerd.core.status import Joint
from tests.core.desk import Desk
from tests.core.test_flow import ANN, BOB, plug_in, tap, unplug


@pytest.mark.req("E01.FR.16", "E01.FR.17")
def test_a_transaction_that_starts_in_the_lobby_gets_its_evse_with_the_cable() -> None:
    window = TxWindow(frozenset({"Authorized"}), frozenset({"Authorized"}))
    desk = Desk(outlets=2, window=window)
    tap(desk)
    first = desk.transactions()[0]
    assert (first.edge.value, first.outlet, first.reading) == ("started", None, None)
    plug_in(desk, 2, 52)
    second = desk.transactions()[1]
    assert (second.cause.value, second.outlet) == ("plugged", 2)
    assert second.reading is not None
    assert desk.permit(2) == 32


@pytest.mark.req("E01.FR.02")
def test_a_transaction_may_start_with_the_cable() -> None:
    window = TxWindow(frozenset({"EVConnected"}), frozenset({"EVConnected"}))
    desk = Desk(window=window)
    plug_in(desk)
    assert desk.told() == [("started", "plugged")]
    assert desk.transactions()[0].token is None
    tap(desk)
    assert ("updated", "authorized") in desk.told()
    desk.charge()
    tap(desk)
    desk.feed(Power(1, False))
    assert ("updated", "stop-authorized") in desk.told()
    assert "ended" not in [edge for edge, _ in desk.told()]
    unplug(desk)
    assert desk.told()[-1][0] == "ended"


PLUGGED = TxWindow(frozenset({"EVConnected"}), frozenset({"EVConnected"}))


@pytest.mark.req("E02.FR.01", "F01.FR.19")
def test_a_token_that_comes_back_to_the_transaction_it_left_is_told_again() -> None:
    desk = Desk(window=PLUGGED)
    plug_in(desk)
    tap(desk)
    tap(desk)
    desk.drain()
    tap(desk)
    assert [(r.cause, r.token) for r in desk.transactions()] == [(Cause.AUTHORIZED, ANN)]
    tap(desk)
    desk.drain()
    desk.feed(RemoteStart(9, ANN, 1, remote_id=7))
    assert [(r.cause, r.token, r.remote_id) for r in desk.transactions()] == [(Cause.REMOTE_START, ANN, 7)]


@pytest.mark.req("E01.FR.02", "F01.FR.03")
@pytest.mark.parametrize("remote", [False, True])
def test_after_a_transaction_has_ended_an_authorisation_starts_the_next_at_the_same_cable(remote: bool) -> None:
    desk = Desk(window=TxWindow(frozenset({"EVConnected"}), frozenset({"EVConnected", "Authorized"})))
    plug_in(desk)
    tap(desk)
    tap(desk)
    assert desk.told()[-1] == ("ended", "stop-authorized")
    if remote:
        desk.feed(RemoteStart(9, BOB, 1, remote_id=7))
    else:
        tap(desk, BOB)
    assert desk.told()[-1] == ("started", "remote-start" if remote else "authorized")
    assert desk.transactions()[-1].token == BOB
    assert desk.permit() == 32


@pytest.mark.req("F06.FR.07")
def test_a_trigger_for_one_outlet_is_not_about_a_transaction_without_one() -> None:
    desk = Desk(outlets=2, window=TxWindow(frozenset({"Authorized"}), frozenset({"Authorized"})))
    tap(desk)
    desk.feed(TriggerAsked(5, Triggered.TRANSACTION, 2))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    desk.feed(TriggerAsked(6, Triggered.TRANSACTION))
    assert (desk.answers()[-1].outcome, desk.told()[-1]) == (Outcome.ACCEPTED, ("updated", "trigger"))


@pytest.mark.req("F03.FR.02", "F03.FR.03")
@pytest.mark.parametrize(
    ("stops", "told"), [("Authorized", ("ended", "remote-stop")), ("EVConnected", ("updated", "remote-stop"))]
)
def test_a_transaction_that_nobody_is_authorised_for_hears_a_remote_stop(stops: str, told: tuple[str, str]) -> None:
    desk = Desk(window=TxWindow(frozenset({"EVConnected"}), frozenset({stops})))
    plug_in(desk)
    desk.feed(RemoteStop(9, desk.transactions()[0].tx))
    assert (desk.answers()[-1].outcome, desk.told()[-1]) == (Outcome.ACCEPTED, told)


@pytest.mark.req("E03.FR.05", "F02.FR.07")
@pytest.mark.parametrize("outlets", [1, 2])
def test_a_transaction_whose_vehicle_never_comes_ends_whatever_the_stop_points(outlets: int) -> None:
    desk = Desk(outlets=outlets, window=TxWindow(frozenset({"Authorized"}), frozenset({"EVConnected"})))
    tap(desk)
    desk.after(61)
    ended = desk.transactions()[-1]
    assert (ended.edge.value, ended.cause, ended.reason) == ("ended", Cause.CONNECT_TIMEOUT, Reason.TIMEOUT)
    tap(desk, BOB)
    assert (desk.told()[-1], desk.transactions()[-1].token) == (("started", "authorized"), BOB)
    assert desk.transactions()[-1].tx != ended.tx


@pytest.mark.req("E07.FR.07", "F04.FR.02")
def test_a_transaction_that_goes_on_without_authorisation_gives_the_cable_back() -> None:
    desk = Desk(window=PLUGGED)
    plug_in(desk)
    tap(desk)
    desk.charge()
    tap(desk)
    assert desk.state.outlet(1).live.lock is True
    desk.feed(Power(1, False))
    assert desk.sent(WishLock)[-1] == WishLock(1, False)


@pytest.mark.req("E06.FR.02")
def test_a_vehicle_that_leaves_ends_the_transaction_with_one_record() -> None:
    window = TxWindow(frozenset({"PowerPathClosed"}), frozenset({"EVConnected", "Authorized"}))
    desk = Desk(window=window, stop_on_ev_disconnect="false")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.drain()
    desk.feed(VehicleOut(1, 41))
    desk.feed(Power(1, False))
    assert desk.told() == [("ended", "vehicle-out")]


@pytest.mark.req("1.6 §4.9")
def test_a_vehicle_that_comes_back_to_its_transaction_does_not_prepare() -> None:
    desk = Desk(stop_on_ev_disconnect="false")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(Power(1, False))
    desk.feed(VehicleOut(1, 41))
    assert desk.status() is Joint.SUSPENDED_EV
    desk.feed(VehicleIn(1, 42))
    assert desk.status() is Joint.SUSPENDED_EV
    desk.charge()
    assert desk.status() is Joint.CHARGING


def test_a_stranger_does_not_join_a_transaction_that_goes_on_without_its_card() -> None:
    window = TxWindow(frozenset({"EVConnected"}), frozenset({"EVConnected"}))
    desk = Desk(window=window)
    plug_in(desk)
    tap(desk, ANN)
    tap(desk, ANN)
    tap(desk, BOB)
    assert desk.permit() == 0
    tap(desk, ANN)
    assert desk.permit() == 32


@pytest.mark.req("F01.FR.06", "F02.FR.14", "F02.FR.22")
def test_a_remote_start_for_an_evse_waits_for_a_cable_at_any_of_its_connectors_and_no_other() -> None:
    desk = Desk(outlets=4, connectors=2, window=None)
    desk.feed(RemoteStart(7, ANN, None, 99, evse=2))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    plug_in(desk, 1, 51)
    assert desk.told() == []
    plug_in(desk, 4, 54)
    assert [(r.outlet, r.token, r.remote_id) for r in desk.transactions()] == [(4, ANN, 99)]
    assert (desk.permit(1), desk.permit(4)) == (0, 32)


@pytest.mark.req("F01.FR.06")
def test_of_several_connectors_a_remote_start_is_for_the_one_where_somebody_waits() -> None:
    desk = Desk(outlets=4, connectors=2)
    desk.feed(CableIn(3, 32.0))
    plug_in(desk, 4, 54)
    desk.feed(RemoteStart(7, ANN, evse=2))
    assert desk.transactions()[0].outlet == 4


@pytest.mark.req("E01.FR.14")
def test_one_evse_has_one_transaction_and_the_other_connector_waits_for_its_end() -> None:
    desk = Desk(outlets=2, connectors=2, window=TxWindow(frozenset({"EVConnected"}), frozenset({"EVConnected"})))
    plug_in(desk, 1, 51)
    plug_in(desk, 2, 52)
    assert [(r.edge.value, r.outlet) for r in desk.transactions()] == [("started", 1)]
    tap(desk, ANN)
    tap(desk, BOB)
    assert (desk.permit(1), desk.permit(2)) == (32, 0)
    unplug(desk, 1, 51)
    desk.truth(2, 52, True)
    assert [(r.edge.value, r.outlet) for r in desk.transactions()][-1] == ("started", 2)
    assert desk.permit(2) == 0


def test_a_card_at_the_reader_of_one_evse_is_for_no_other() -> None:
    desk = Desk(outlets=4, connectors=2)
    tap(desk, ANN, evse=1)
    plug_in(desk, 3, 53)
    assert desk.permit(3) == 0
    plug_in(desk, 2, 52)
    assert desk.permit(2) == 32


@pytest.mark.req("E10.FR.01", "E09.FR.03")
def test_a_cable_drawn_out_of_a_waiting_transaction_leaves_nothing_to_wait_for_long() -> None:
    desk = Desk(stop_on_ev_disconnect="false", sample_interval="0")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(Power(1, False))
    desk.feed(VehicleOut(1, 41))
    desk.after(3600)
    assert desk.told()[-1] == ("updated", "vehicle-out")
    desk.feed(CableOut(1))  # no lock, or a broken one
    desk.after(59)
    assert desk.told()[-1] == ("updated", "vehicle-out")
    desk.after(2)
    assert (desk.told()[-1], desk.transactions()[-1].reason) == (("ended", "vehicle-out"), Reason.VEHICLE_OUT)


def test_a_remote_start_takes_no_cable_that_waits_for_its_owner() -> None:
    desk = Desk(unlock_on_ev_disconnect="false")
    plug_in(desk)
    tap(desk, ANN)
    desk.feed(Power(1, False))
    desk.feed(VehicleOut(1, 41))
    desk.feed(RemoteStart(7, BOB, 1))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    desk.feed(RemoteStart(8, ANN, 1))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
