"""What is written down comes back the same, and power cuts end what they must."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from chargerd.core.durable import restore, rows
from chargerd.core.events import Fault, GuardLost, LinkDown, Power, PowerRestored
from chargerd.core.records import Cause, Edge, Faulted, Reason, Session
from chargerd.core.state import Live
from chargerd.core.status import Joint, beginning
from chargerd.core.variables import Variables
from tests.core.desk import Desk
from tests.core.test_flow import ANN, BOB, plug_in, tap


def reborn(desk: Desk, rebooted: bool) -> Desk:
    body = json.loads(json.dumps(rows(desk.state)))
    new = Desk(len(desk.state.outlets))
    new.state = restore(desk.state.site, body, Variables())
    new.now, new.wall, new.register = desk.now + 5, desk.wall + 5, desk.register
    assert rows(new.state) == rows(desk.state)
    new.drain()
    new.feed(PowerRestored(rebooted))
    return new


def test_a_restart_of_the_daemon_goes_on_as_if_nothing_had_happened() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(LinkDown())
    new = reborn(desk, rebooted=False)
    new.truth(1, 41, True, powered=True)
    assert new.permit() == 32
    assert new.status() is Joint.CHARGING
    assert [(r.edge, r.cause) for r in new.transactions()] == [(Edge.UPDATED, Cause.RETURNED)]
    new.feed(Power(1, False))
    new.truth(1, 0, False)
    assert [r.reason for r in new.records if isinstance(r, Session)] == [Reason.VEHICLE_OUT]


def test_a_power_cut_ends_the_transaction_with_the_register_of_now() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge(energy=800)
    new = reborn(desk, rebooted=True)
    new.truth(1, 77, True)
    session = next(r for r in new.records if isinstance(r, Session))
    assert (session.reason, session.end_wh) == (Reason.POWER_LOSS, 5800)
    assert new.permit() == 0


def test_another_plug_number_is_another_vehicle() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(GuardLost())
    desk.truth(1, 99, True)
    assert desk.transactions()[-1].reason is Reason.REBOOT
    assert desk.status() is Joint.FINISHING  # from charging no way leads to Preparing (1.6 §4.9)
    assert desk.permit() == 0
    tap(desk)
    assert desk.transactions()[-1].edge is Edge.STARTED


def test_a_guard_that_did_not_let_us_in_still_may_not() -> None:
    desk = Desk()
    desk.feed(Fault(0, "GuardMismatch", True))
    new = reborn(desk, rebooted=False)
    assert [r for r in new.records if isinstance(r, Faulted)] == []
    new.feed(Fault(0, "GuardMismatch", True))
    assert [r for r in new.records if isinstance(r, Faulted)] == []
    new.feed(Fault(0, "GuardMismatch", False))
    new.truth(1)
    assert [(r.name, r.active) for r in new.records if isinstance(r, Faulted)] == [("GuardMismatch", False)]


def test_a_fault_suspends_or_ends() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(Fault(1, "OverTemperature", True))
    desk.feed(Power(1, False))
    assert (desk.status(), desk.permit()) == (Joint.FAULTED, 0)
    assert desk.told()[-1][0] == "updated"
    desk.feed(Fault(1, "OverTemperature", False))
    assert desk.permit() == 32
    desk.feed(Fault(1, "EmergencyStop", True))
    assert desk.transactions()[-1].reason is Reason.EMERGENCY_STOP


def test_the_lobby_cache_and_cards_survive() -> None:
    desk = Desk(outlets=2)
    tap(desk, ANN)
    new = reborn(desk, rebooted=False)
    assert new.state.lobby is not None
    for rank in (1, 2):
        new.truth(rank)
    plug_in(new, 2, 5)
    assert new.permit(2) == 32
    assert new.state.cache.keys() == {ANN.id.casefold()}
    assert new.state.outlet(1).live != Live()
    assert BOB.id.casefold() not in new.state.cache


def test_what_only_a_backend_can_end_ends_without_one() -> None:
    names = frozenset({"QueueFull", "LocalListConflict", "ReaderFailure"})
    state = replace(Desk().state, faults=names, reported=names)
    kept = rows(state)
    assert restore(state.site, kept, Variables()).faults == names
    alone = restore(replace(state.site, backend=False), kept, Variables())
    assert alone.faults == {"ReaderFailure"}
    assert beginning(alone)


@pytest.mark.parametrize("powered", [False, True])
def test_a_fault_from_before_counts_until_the_guard_has_looked_unless_power_flows(powered: bool) -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(Fault(1, "OverTemperature", True))
    new = reborn(desk, rebooted=False)
    new.truth(1, 41, True, powered=powered)
    assert (new.status() is Joint.FAULTED) is not powered
    new.after(5)
    new.truth(1, 41, True, powered=powered)
    assert (new.status() is Joint.FAULTED) is not powered
    assert [r.active for r in new.records if isinstance(r, Faulted)] == ([False] if powered else [])
    new.after(5)
    new.truth(1, 41, True, powered=powered)
    assert new.status() is not Joint.FAULTED and new.permit() == 32
    assert [r.active for r in new.records if isinstance(r, Faulted)] == [False]
