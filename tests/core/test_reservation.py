"""What is reserved is for whom it is reserved, until it is used, over, out of order or cancelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.commands import AskAuthorize, Lamp, Outcome, Show
from chargerd.core.durable import restore, rows
from chargerd.core.events import (
    AuthorizeAnswered,
    AvailabilityAsked,
    CableIn,
    CancelReservationAsked,
    GuardLost,
    LinkDown,
    PowerRestored,
    RemoteStart,
    ReserveAsked,
    ResetAsked,
    ResetKind,
    Scope,
    TokenSeen,
    VehicleIn,
    VehicleOut,
)
from chargerd.core.records import Edge
from chargerd.core.status import Joint, joint
from chargerd.core.token import Standing, Token, Verdict
from chargerd.core.variables import Variables
from tests.core.desk import Desk

ANN, BOB, CAT = Token("04A1B2C3"), Token("04D4E5F6"), Token("04CCCCCC")
HOUR = 3600.0


def reserve(
    desk: Desk, id_: int = 1, rank: int = 1, token: Token = ANN, group: str | None = None, lasts: float = HOUR
) -> Outcome:
    desk.feed(ReserveAsked(9, id_, token, rank, desk.wall + lasts, group))
    return desk.answers()[-1].outcome


def tap(desk: Desk, token: Token, group: str | None = None) -> None:
    """A card, and the backend's yes where it is asked."""
    desk.drain()
    desk.feed(TokenSeen(token))
    for ask in desk.sent(AskAuthorize):
        desk.feed(AuthorizeAnswered(ask.ask, Verdict(Standing.ACCEPTED, group)))


def plug(desk: Desk, rank: int = 1, number: int = 41) -> None:
    desk.feed(CableIn(rank, 32.0))
    desk.feed(VehicleIn(rank, number))


def starts(desk: Desk) -> list[tuple[int | None, int | None]]:
    """(outlet, reservation) of the transactions that began since the last drain."""
    return [(r.outlet, r.reservation) for r in desk.transactions() if r.edge is Edge.STARTED]


def charges(desk: Desk, rank: int = 1) -> bool:
    visit = desk.state.outlet(rank).visit
    return visit is not None and visit.tx is not None


@pytest.mark.req("1.6 §5.13", "1.6 §4.9")
def test_an_outlet_is_kept_for_its_card_and_the_number_is_told_with_the_start() -> None:
    desk = Desk()
    assert reserve(desk, 17) is Outcome.ACCEPTED
    assert joint(desk.state, 1) is Joint.RESERVED
    assert [show.lamp for show in desk.sent(Show)][-1] is Lamp.RESERVED
    plug(desk)
    assert joint(desk.state, 1) is Joint.RESERVED  # a cable shows no identity
    tap(desk, BOB)
    assert not charges(desk)
    tap(desk, Token(ANN.id.lower()))
    assert starts(desk) == [(1, 17)]
    assert not desk.state.reservations
    assert joint(desk.state, 1) is not Joint.RESERVED


@pytest.mark.req("1.6 §5.13")
def test_a_group_may_use_what_is_reserved_for_it_once_its_group_is_known() -> None:
    desk = Desk()
    reserve(desk, 17, group="FAMILY")
    plug(desk)
    tap(desk, BOB, "OTHERS")
    tap(desk, BOB)
    assert not charges(desk)
    tap(desk, CAT, "family")
    assert starts(desk) == [(1, 17)]


@pytest.mark.req("1.6 §5.13")
def test_for_a_card_that_might_belong_to_the_group_the_backend_is_asked() -> None:
    desk = Desk()
    reserve(desk, 17, group="FAMILY")
    plug(desk)
    desk.drain()
    desk.feed(TokenSeen(CAT))
    assert desk.sent(AskAuthorize)


@pytest.mark.req("1.6 §5.13")
def test_its_time_ends_it_to_the_second() -> None:
    desk = Desk()
    reserve(desk, lasts=600.0)
    desk.after(599.0)
    assert joint(desk.state, 1) is Joint.RESERVED
    desk.after(1.0)
    assert joint(desk.state, 1) is Joint.AVAILABLE
    assert reserve(desk, lasts=0.0) is Outcome.REJECTED


@pytest.mark.req("1.6 §5.13", "1.6 §7.40")
def test_what_cannot_be_reserved_says_why() -> None:
    desk = Desk()
    desk.truth(faults=("EmergencyStop",))
    assert reserve(desk) is Outcome.FAULTED
    assert reserve(desk, rank=0) is Outcome.FAULTED
    desk.truth()
    desk.feed(AvailabilityAsked(3, Scope.OUTLET, 1, False, every=True))
    assert reserve(desk) is Outcome.UNAVAILABLE
    assert reserve(desk, rank=0) is Outcome.UNAVAILABLE
    desk.feed(AvailabilityAsked(3, Scope.OUTLET, 1, True, every=True))
    plug(desk)
    assert reserve(desk) is Outcome.OCCUPIED
    assert reserve(desk, rank=0) is Outcome.OCCUPIED


@pytest.mark.req("1.6 §5.13")
def test_what_is_reserved_already_is_occupied_and_the_same_number_replaces() -> None:
    desk = Desk(2)
    reserve(desk, 1, 1)
    assert reserve(desk, 2, 1) is Outcome.OCCUPIED  # for the same or another token
    assert reserve(desk, 2, 1, BOB) is Outcome.OCCUPIED
    assert reserve(desk, 1, 2, BOB) is Outcome.ACCEPTED
    assert (joint(desk.state, 1), joint(desk.state, 2)) == (Joint.AVAILABLE, Joint.RESERVED)
    plug(desk, 1)
    assert reserve(desk, 1, 1, BOB) is Outcome.OCCUPIED
    assert joint(desk.state, 2) is Joint.RESERVED  # the old one stays


@pytest.mark.req("1.6 §5.1")
def test_cancelled_it_is_over_and_an_unknown_one_is_rejected() -> None:
    desk = Desk()
    reserve(desk, 5)
    desk.feed(CancelReservationAsked(1, 6))
    assert (desk.answers()[-1].outcome, joint(desk.state, 1)) == (Outcome.REJECTED, Joint.RESERVED)
    desk.feed(CancelReservationAsked(1, 5))
    assert (desk.answers()[-1].outcome, joint(desk.state, 1)) == (Outcome.ACCEPTED, Joint.AVAILABLE)


@pytest.mark.req("1.6 §5.13")
def test_out_of_order_or_out_of_service_ends_it() -> None:
    desk = Desk(2)
    reserve(desk, 1, 1)
    reserve(desk, 2, 2, BOB)
    desk.truth(1, faults=("EmergencyStop",))
    desk.feed(AvailabilityAsked(3, Scope.OUTLET, 2, False, every=True))
    assert not desk.state.reservations
    desk.truth(1)
    assert joint(desk.state, 1) is Joint.AVAILABLE


@pytest.mark.req("1.6 §5.13", "1.6 §9.3.1")
def test_one_for_the_station_keeps_one_outlet_free_whichever() -> None:
    desk = Desk(3)
    assert reserve(desk, 1, 0) is Outcome.ACCEPTED
    assert [joint(desk.state, n) for n in (1, 2, 3)] == [Joint.AVAILABLE] * 3
    plug(desk, 1)
    tap(desk, BOB)
    plug(desk, 2, 42)
    tap(desk, CAT)
    assert starts(desk) == [(2, None)]
    plug(desk, 3, 43)
    tap(desk, Token("04EEEEEE"))  # the last one is for Ann
    assert not charges(desk, 3)
    tap(desk, ANN)
    assert starts(desk) == [(3, 1)]
    assert not desk.state.reservations


@pytest.mark.req("1.6 §5.13")
def test_more_promises_than_outlets_are_not_made() -> None:
    desk = Desk(2)
    assert reserve(desk, 1, 0) is Outcome.ACCEPTED
    assert reserve(desk, 2, 0, BOB) is Outcome.ACCEPTED
    assert reserve(desk, 3, 0, CAT) is Outcome.OCCUPIED
    assert reserve(desk, 3, 2, CAT) is Outcome.OCCUPIED
    desk.feed(CancelReservationAsked(1, 1))
    assert reserve(desk, 3, 2, CAT) is Outcome.ACCEPTED
    plug(desk, 1)
    tap(desk, CAT)  # hers is the other one
    assert not charges(desk, 1)
    tap(desk, BOB)
    assert starts(desk) == [(1, 2)]


def test_whoever_has_tapped_and_not_plugged_in_yet_counts() -> None:
    desk = Desk(2)
    tap(desk, BOB)
    assert desk.state.lobby is not None
    assert reserve(desk, 1, 0) is Outcome.ACCEPTED
    assert reserve(desk, 2, 0, CAT) is Outcome.OCCUPIED
    plug(desk, 2)
    assert starts(desk) == [(2, None)]


def test_the_reserved_outlet_waits_for_its_card_where_several_are_free() -> None:
    desk = Desk(3)
    reserve(desk, 1, 2)
    plug(desk, 1)  # somebody who has not shown a card
    tap(desk, ANN)
    plug(desk, 2, 42)
    assert starts(desk) == [(2, 1)]
    assert not charges(desk, 1)


@pytest.mark.req("1.6 §5.11", "1.6 §5.13")
@pytest.mark.parametrize("asks_first", ["true", "false"])
def test_remote_starts_keep_to_it_too(asks_first: str) -> None:
    desk = Desk(2, authorize_remote_start=asks_first)
    reserve(desk, 1, 1)
    plug(desk, 1)
    desk.feed(RemoteStart(4, BOB, 1))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    desk.drain()
    desk.feed(RemoteStart(4, ANN))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    for ask in desk.sent(AskAuthorize):
        desk.feed(AuthorizeAnswered(ask.ask, Verdict(Standing.ACCEPTED)))
    assert starts(desk) == [(1, 1)]


def test_who_shows_the_card_and_does_not_come_has_it_still() -> None:
    desk = Desk(connection_timeout="60")
    reserve(desk, 1, 1)
    tap(desk, ANN)
    assert joint(desk.state, 1) is Joint.PREPARING
    desk.after(61.0)
    assert joint(desk.state, 1) is Joint.RESERVED


@pytest.mark.req("1.6 §5.13")
def test_offline_an_unknown_card_does_not_get_it() -> None:
    desk = Desk(offline_unknown_ids="true")
    reserve(desk, 1, 1, group="FAMILY")
    plug(desk)
    desk.feed(LinkDown())
    tap(desk, BOB)
    assert not charges(desk)
    tap(desk, ANN)
    assert charges(desk)


def test_it_survives_a_restart_and_a_guard_that_is_not_there_yet() -> None:
    desk = Desk()
    reserve(desk, 5, group="FAMILY")
    again = Desk()
    again.state = restore(desk.state.site, rows(desk.state), Variables())
    again.feed(PowerRestored(True, 10.0))
    again.feed(GuardLost())
    again.truth()
    assert again.state.reservations == desk.state.reservations
    assert joint(again.state, 1) is Joint.RESERVED


def test_nothing_is_promised_by_a_station_that_is_about_to_leave() -> None:
    desk = Desk(2)
    plug(desk, 1)
    tap(desk, BOB)
    desk.feed(ResetAsked(1, ResetKind.ON_IDLE))
    assert reserve(desk, 1, 2) is Outcome.REJECTED


DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(1, 3), st.integers(0, 2), st.sampled_from([ANN, BOB])),
        st.tuples(st.just("cancel"), st.integers(1, 3), st.just(0), st.just(ANN)),
        st.tuples(st.just("plug"), st.integers(1, 2), st.just(0), st.just(ANN)),
        st.tuples(st.just("out"), st.integers(1, 2), st.just(0), st.just(ANN)),
        st.tuples(st.just("tap"), st.just(1), st.just(0), st.sampled_from([ANN, BOB, CAT])),
        st.tuples(st.just("wait"), st.sampled_from([1, 70, 4000]), st.just(0), st.just(ANN)),
    ),
    max_size=25,
)


@given(DEEDS)
def test_nobody_charges_on_what_is_reserved_for_another(deeds: list[tuple[str, int, int, Token]]) -> None:
    desk, plugs = Desk(2), 100
    for deed, number, rank, token in deeds:
        before = desk.state.reservations
        match deed:
            case "reserve":
                reserve(desk, number, rank, token)
            case "cancel":
                desk.feed(CancelReservationAsked(1, number))
            case "plug" if not desk.state.outlet(number).live.plug:
                plugs += 1
                plug(desk, number, plugs)
            case "out":
                desk.feed(VehicleOut(number, desk.state.outlet(number).live.plug))
                desk.truth(number)
            case "tap":
                tap(desk, token)
            case "wait":
                desk.after(float(number))
        for start in (r for r in desk.transactions() if r.edge is Edge.STARTED):
            own = [
                one
                for one in before.values()  # but what this very deed, or the time that it took, has ended
                if one.outlet == start.outlet
                and (deed not in ("cancel", "reserve") or one.id != number)
                and one.expires > desk.wall
            ]
            assert all(start.token is not None and start.token.same(one.token) for one in own)
            if start.reservation is not None:
                assert start.token is not None and start.token.same(before[start.reservation].token)
        desk.drain()
        kept = [one.outlet for one in desk.state.reservations.values() if one.outlet]
        assert len(kept) == len(set(kept)) <= 2
        assert all(one.expires > desk.wall for one in desk.state.reservations.values())


@pytest.mark.req("1.6 §5.13")
def test_the_same_number_at_the_same_outlet_replaces_whom_it_is_for() -> None:
    desk = Desk()
    reserve(desk, 1, 1, ANN)
    assert reserve(desk, 1, 1, BOB) is Outcome.ACCEPTED
    plug(desk)
    tap(desk, ANN)
    assert not charges(desk)
    tap(desk, BOB)
    assert starts(desk) == [(1, 1)]


@pytest.mark.req("1.6 §5.13")
def test_connectors_of_one_evse_are_kept_together() -> None:
    desk = Desk(2, connectors=2)
    assert reserve(desk, 5, 1, ANN) is Outcome.ACCEPTED
    assert reserve(desk, 6, 2, BOB) is reserve(desk, 6, 0, BOB) is Outcome.OCCUPIED
    plug(desk, 2)
    tap(desk, BOB)
    assert not charges(desk, 2)
    tap(desk, ANN)
    assert starts(desk) == [(2, 5)]
    assert not desk.state.reservations


@pytest.mark.req("1.6 §5.13")
def test_an_evse_with_two_connectors_keeps_one_promise() -> None:
    desk = Desk(4, connectors=2)
    assert [reserve(desk, n, 0, token) for n, token in enumerate((ANN, BOB, CAT))] == [
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.OCCUPIED,
    ]
    plug(desk, 3)
    tap(desk, CAT)
    assert not charges(desk, 3)


def test_what_was_kept_at_an_outlet_that_is_there_no_more_is_over() -> None:
    desk = Desk(2)
    reserve(desk, 5, 2)
    reserve(desk, 6, 1, BOB)
    less = Desk(1)
    less.state = restore(less.state.site, rows(desk.state), Variables())
    less.feed(PowerRestored(True, 10.0))
    less.truth()
    assert set(less.state.reservations) == {6}
