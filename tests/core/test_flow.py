"""The flow a charger lives for, in the order a driver makes it happen."""

from __future__ import annotations

import pytest

from chargerd.core.commands import AnswerTap, AskAuthorize, Lamp, Outcome, WishLock
from chargerd.core.events import (
    AuthorizeAnswered,
    CableIn,
    CableOut,
    CardUnusable,
    LinkDown,
    Metered,
    Power,
    RemoteStart,
    RemoteStop,
    SetAsked,
    TokenSeen,
    TransactionAnswered,
    VehicleIn,
    VehicleOut,
)
from chargerd.core.power import lamp_of
from chargerd.core.records import Cause, Reason, Sampled, Session, Transaction
from chargerd.core.status import Joint
from chargerd.core.token import Standing, Token, Verdict
from hal.api import MeterReading
from tests.core.desk import Desk

ANN = Token("04AABBCC")
BOB = Token("04DDEEFF")
YES = Verdict(Standing.ACCEPTED)
NO = Verdict(Standing.INVALID)


def plug_in(desk: Desk, rank: int = 1, plug: int = 41) -> None:
    desk.feed(CableIn(rank, 32.0))
    desk.feed(VehicleIn(rank, plug))


def unplug(desk: Desk, rank: int = 1, plug: int = 41) -> None:
    desk.feed(Power(rank, False))
    desk.feed(VehicleOut(rank, plug))
    desk.feed(CableOut(rank))


def tap(desk: Desk, token: Token = ANN, verdict: Verdict | None = YES, evse: int | None = None) -> None:
    desk.feed(TokenSeen(token, evse))
    asked = desk.sent(AskAuthorize)
    if asked and asked[-1].ask in desk.state.asks:
        desk.feed(AuthorizeAnswered(asked[-1].ask, verdict))


@pytest.mark.req("1.6 §4.8", "E03.FR.01")
def test_card_first() -> None:
    desk = Desk()
    tap(desk)
    assert desk.status() is Joint.PREPARING
    assert desk.told() == []
    plug_in(desk)
    assert desk.told() == [("started", "plugged")]
    assert desk.transactions()[0].token == ANN
    assert desk.transactions()[0].reading is not None
    assert desk.permit() == 32.0
    assert desk.status() is Joint.PREPARING  # no flicker through SuspendedEV
    desk.charge(energy=2500)
    assert desk.status() is Joint.CHARGING
    tap(desk)
    assert desk.permit() == 0
    assert desk.told()[-1][0] != "ended"  # not while the contactor is closed
    desk.feed(Power(1, False))
    assert desk.told()[-1] == ("ended", "stop-authorized")
    assert desk.status() is Joint.FINISHING
    session = next(r for r in desk.records if isinstance(r, Session))
    assert (session.begin_wh, session.end_wh, session.reason) == (5000, 7500, Reason.LOCAL)
    unplug(desk)
    assert desk.status() is Joint.AVAILABLE


@pytest.mark.req("E02.FR.01")
def test_cable_first() -> None:
    desk = Desk()
    plug_in(desk)
    assert desk.status() is Joint.PREPARING
    assert desk.permit() == 0
    tap(desk)
    assert desk.told() == [("started", "authorized")]
    desk.charge()
    unplug(desk)
    assert desk.told()[-1] == ("ended", "vehicle-out")
    assert desk.transactions()[-1].reason is Reason.VEHICLE_OUT
    assert desk.status() is Joint.AVAILABLE


def test_refused_card_leaves_only_the_lamp() -> None:
    desk = Desk()
    tap(desk, verdict=NO)
    assert desk.records == []
    assert desk.status() is Joint.AVAILABLE
    assert desk.state.outlet(1).live.refused_until is not None
    desk.after(5)
    assert desk.state.outlet(1).live.refused_until is None


@pytest.mark.req("E03.FR.05", "1.6 §9.1.6")
def test_connection_timeout() -> None:
    desk = Desk(connection_timeout="30")
    tap(desk)
    desk.after(29)
    assert desk.status() is Joint.PREPARING
    desk.after(2)
    assert desk.status() is Joint.AVAILABLE
    plug_in(desk)
    assert desk.permit() == 0


def test_a_group_member_stops_and_a_stranger_does_not() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk, ANN, Verdict(Standing.ACCEPTED, "family"))
    desk.charge()
    tap(desk, Token("04999999"), Verdict(Standing.ACCEPTED, "others"))
    assert desk.permit() == 32
    tap(desk, BOB, Verdict(Standing.ACCEPTED, "family"))
    assert desk.permit() == 0
    desk.feed(Power(1, False))
    assert desk.transactions()[-1].token == BOB


@pytest.mark.req("1.6 §4.8", "E05.FR.10")
def test_a_refused_token_in_the_start_answer_ends_the_transaction() -> None:
    desk = Desk(local_pre_authorize="true")
    tap(desk)
    plug_in(desk)
    desk.charge()
    desk.feed(TransactionAnswered("tx-1", ANN, NO))
    assert desk.permit() == 0
    desk.feed(Power(1, False))
    assert desk.transactions()[-1].reason is Reason.DEAUTHORIZED


@pytest.mark.req("E05.FR.02")
def test_a_refused_token_may_keep_the_transaction_without_energy() -> None:
    desk = Desk(stop_on_invalid_id="false")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(TransactionAnswered("tx-1", ANN, NO))
    assert desk.permit() == 0
    desk.feed(Power(1, False))
    assert desk.status() is Joint.CHARGING  # for a moment, until it is clear that the vehicle is still there
    desk.after(1)
    assert desk.told()[-1][0] == "updated"
    assert desk.status() is Joint.SUSPENDED_EVSE


@pytest.mark.req("E05.FR.03", "1.6 §9.1.12")
def test_a_refused_token_may_still_get_a_little_energy() -> None:
    desk = Desk(stop_on_invalid_id="false", max_energy_on_invalid_id="500")
    plug_in(desk)
    tap(desk)
    desk.charge(energy=100)
    desk.feed(TransactionAnswered("tx-1", ANN, NO))
    desk.charge(energy=399)
    desk.feed(TransactionAnswered("tx-1", ANN, NO))  # said again: counted from the start all the same
    assert desk.permit() == 32
    desk.charge(energy=1)
    assert desk.permit() == 0
    desk.feed(TransactionAnswered("tx-1", ANN, YES))
    assert desk.permit() == 32


@pytest.mark.req("E05.FR.11")
def test_the_cable_of_a_refused_token_waits_for_its_owner() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.feed(TransactionAnswered("tx-1", ANN, NO))
    desk.feed(Power(1, False))
    assert desk.sent(WishLock)[-1] == WishLock(1, True)
    desk.feed(TokenSeen(ANN))
    assert desk.sent(WishLock)[-1] == WishLock(1, False)


@pytest.mark.parametrize("local", [True, False])
def test_a_cable_is_never_held_for_a_token_that_is_no_card(local: bool) -> None:
    desk = Desk()
    plug_in(desk)
    token = Token("LOCAL", "Local") if local else Token("APP-1")
    desk.feed(RemoteStart(7, token, 1, local=local))
    desk.charge()
    desk.feed(TransactionAnswered("tx-1", token, NO))
    desk.feed(Power(1, False))
    assert desk.sent(WishLock)[-1] == WishLock(1, False)


@pytest.mark.req("B02.FR.03", "B03.FR.01")
@pytest.mark.parametrize(("allowed", "charges"), [("true", True), ("false", False)])
def test_before_the_boot_is_accepted_only_by_policy(allowed: str, charges: bool) -> None:
    desk = Desk(accepted=False, tx_before_accepted=allowed, offline_unknown_ids="true")
    plug_in(desk)
    desk.feed(TokenSeen(ANN))
    assert (desk.permit() == 32) is charges


@pytest.mark.req("1.6 §5.11", "1.6 §5.12", "F01.FR.02", "F03.FR.07")
def test_remote_start_and_stop() -> None:
    desk = Desk()
    desk.feed(RemoteStart(7, ANN, 1, remote_id=99))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    plug_in(desk)
    assert desk.transactions()[0].remote_id == 99
    desk.charge()
    desk.feed(RemoteStop(8, "tx-1"))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    desk.feed(Power(1, False))
    assert desk.transactions()[-1].reason is Reason.REMOTE
    desk.feed(RemoteStop(9, "tx-1"))
    assert desk.answers()[-1].outcome is Outcome.REJECTED


@pytest.mark.req("1.6 §9.1.3", "1.6 §5.11")
def test_remote_start_asks_the_authority_when_told_to() -> None:
    desk = Desk(authorize_remote_start="true")
    plug_in(desk)
    desk.feed(RemoteStart(7, ANN, 1))
    asked = desk.sent(AskAuthorize)
    assert [a.token for a in asked] == [ANN]
    assert desk.permit() == 0
    desk.feed(AuthorizeAnswered(asked[0].ask, YES))
    assert desk.permit() == 32


@pytest.mark.req("1.6 §9.1.3", "1.6 §5.11")
def test_remote_start_asks_nobody_when_told_not_to() -> None:
    desk = Desk(authorize_remote_start="false")
    plug_in(desk)
    desk.feed(RemoteStart(7, ANN, 1))
    assert desk.sent(AskAuthorize) == []
    assert desk.permit() == 32


@pytest.mark.parametrize(
    ("known", "unknown_allowed", "charges"), [(True, "false", True), (False, "false", False), (False, "true", True)]
)
@pytest.mark.req("1.6 §3.4.4", "C15.FR.01")
def test_offline_policy(known: bool, unknown_allowed: str, charges: bool) -> None:
    desk = Desk(offline_unknown_ids=unknown_allowed)
    if known:
        tap(desk)
        tap(desk)  # and off again
    desk.feed(LinkDown())
    plug_in(desk)
    desk.feed(TokenSeen(ANN))
    assert (desk.permit() == 32) is charges


def test_two_evses_with_one_reader() -> None:
    desk = Desk(outlets=2)
    tap(desk)
    assert desk.state.lobby is not None
    assert (desk.status(1), desk.status(2)) == (Joint.AVAILABLE, Joint.AVAILABLE)
    plug_in(desk, 2, 52)
    assert desk.state.lobby is None
    assert desk.transactions()[0].outlet == 2
    plug_in(desk, 1, 51)
    tap(desk, BOB)
    assert desk.transactions()[1].outlet == 1
    assert (desk.permit(1), desk.permit(2)) == (32, 32)


def test_the_station_limit_is_shared_and_the_youngest_pauses() -> None:
    desk = Desk(outlets=2, max_amps=10)
    plug_in(desk, 1, 51)
    tap(desk, ANN)
    plug_in(desk, 2, 52)
    tap(desk, BOB)
    assert (desk.permit(1), desk.permit(2)) == (10, 0)


def test_free_charging_without_a_backend() -> None:
    desk = Desk(backend=False, free=True)
    plug_in(desk)
    assert desk.permit() == 32
    desk.charge()
    unplug(desk)
    assert [r.reason for r in desk.records if isinstance(r, Session)] == [Reason.VEHICLE_OUT]
    assert desk.status() is Joint.AVAILABLE


def test_no_register_no_start() -> None:
    desk = Desk()
    desk.meter = False
    plug_in(desk)
    tap(desk)
    desk.after(1.9)
    assert desk.permit() == 0
    desk.after(0.2)
    assert desk.told() == []
    assert desk.permit() == 0
    assert desk.status() is Joint.PREPARING


def test_a_silent_meter_at_the_end_gives_the_last_good_register() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge(energy=700)
    desk.meter = False
    tap(desk)
    desk.feed(Power(1, False))
    assert desk.told()[-1][0] != "ended"
    desk.after(2.1)
    end = desk.transactions()[-1]
    assert end.reading is not None
    assert end.reading.energy == 5700


@pytest.mark.req("1.6 §9.1.17")
def test_sampled_values_keep_an_absolute_schedule() -> None:
    desk = Desk(sample_interval="10")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.drain()
    desk.after(35)
    assert [r.at.mono for r in desk.transactions()] == [1010.0, 1020.0, 1030.0]


@pytest.mark.req("1.6 §9.1.17")
def test_they_count_from_the_start_whenever_the_interval_was_set() -> None:
    desk = Desk(sample_interval="0")
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.after(34)
    desk.feed(SetAsked(9, (("sample_interval", "10"),)))
    desk.drain()
    desk.after(20)
    assert [r.at.mono for r in desk.transactions()] == [1040.0, 1050.0]


@pytest.mark.req("J01.FR.14", "1.6 §9.1.5")
def test_clock_aligned_values_come_for_idle_outlets_too() -> None:
    desk = Desk(outlets=2, aligned_interval="900")
    for rank in (1, 2):
        desk.charge(rank)
        desk.feed(Power(rank, False))
    plug_in(desk)
    tap(desk)
    desk.drain()
    desk.after(890)
    for rank in (1, 2):  # as a meter does now and then, whose register stands still
        desk.feed(Metered(rank, desk.reading()))
    desk.after(11)
    aligned = [r for r in desk.records if isinstance(r, Transaction | Sampled) and r.cause is Cause.CLOCK]
    assert [type(r) for r in aligned] == [Transaction, Sampled]
    assert all(r.at.wall % 900 == 0 for r in aligned)
    desk.drain()
    desk.after(900)
    assert [r for r in desk.records if isinstance(r, Transaction | Sampled) and r.cause is Cause.CLOCK] == [], (
        "what was read a quarter of an hour ago is not told as of now"
    )


def test_freely_every_vehicle_at_a_cable_that_hangs_there_is_served_once() -> None:
    desk = Desk(backend=False, free=True, unlock_on_ev_disconnect="false")
    plug_in(desk)
    desk.charge()
    desk.feed(Power(1, False))
    desk.feed(VehicleOut(1, 41))
    assert desk.sent(WishLock)[-1] == WishLock(1, False)  # nobody has a card that could free it
    assert desk.status() is Joint.FINISHING
    desk.feed(VehicleIn(1, 42))
    assert desk.permit() == 32


@pytest.mark.req("1.6 §3.4.4", "C10.FR.13")
def test_an_expired_card_is_not_an_unknown_one() -> None:
    desk = Desk(offline_unknown_ids="true")
    tap(desk, ANN, Verdict(Standing.ACCEPTED, expires=desk.wall + 100))
    tap(desk, ANN)
    desk.feed(LinkDown())
    plug_in(desk)
    desk.after(101)
    desk.feed(TokenSeen(ANN))
    assert desk.permit() == 0
    desk.feed(TokenSeen(BOB))
    assert desk.permit() == 32


@pytest.mark.req("E01.FR.19")
@pytest.mark.parametrize(
    ("amps", "power", "rests"),
    [(0.4, None, True), (None, 60.0, True), (None, None, False), (-16.0, None, False), (None, -3680.0, False)],
)
def test_a_vehicle_rests_when_the_meter_says_so(amps: float | None, power: float | None, rests: bool) -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    desk.charge()
    for _ in range(3):
        desk.after(10)
        three = None if amps is None else (amps, 0.0, 0.0)
        desk.feed(Metered(1, MeterReading(desk.now, desk.register, power, three)))
    assert (desk.status() is Joint.SUSPENDED_EV) is rests
    desk.feed(Metered(1, MeterReading(desk.now, desk.register, 11_000.0, (16.0, 16.0, 16.0))))
    assert desk.status() is Joint.CHARGING


def test_each_tap_is_answered_once_at_its_reader() -> None:
    desk = Desk()
    tap(desk, BOB, NO)
    tap(desk, ANN)
    plug_in(desk)
    desk.charge()
    tap(desk, BOB, YES)  # another one's vehicle charges here
    tap(desk, ANN)
    assert desk.sent(AnswerTap) == [
        AnswerTap(BOB, False),
        AnswerTap(ANN, True),
        AnswerTap(BOB, False),
        AnswerTap(ANN, True),
    ]


def test_what_no_card_was_held_for_answers_no_tap() -> None:
    desk = Desk()
    desk.feed(RemoteStart(1, ANN))
    assert desk.sent(AnswerTap) == []


def test_a_card_that_identifies_nobody_is_refused_by_the_lamp_of_its_evse() -> None:
    desk = Desk(2)
    desk.feed(CardUnusable(2))
    assert [lamp_of(desk.state, outlet) for outlet in desk.state.outlets] == [Lamp.READY, Lamp.REFUSED]
    desk.after(5.0)
    assert lamp_of(desk.state, desk.state.outlet(2)) is Lamp.READY
    assert desk.sent(AskAuthorize) == [] and desk.told() == []
