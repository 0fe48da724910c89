"""The local list goes before the cache, is taken whole or not at all, and says so when the CSMS contradicts it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.commands import AskAuthorize, Outcome
from chargerd.core.durable import restore, rows
from chargerd.core.events import AuthorizeAnswered, CachePut, LinkDown, ListSent, SetAsked, TokenSeen
from chargerd.core.known import CACHE_SIZE
from chargerd.core.local_list import CONFLICT, version
from chargerd.core.records import Faulted
from chargerd.core.token import Standing, Token, Verdict
from chargerd.core.variables import Variables
from tests.core.desk import Desk

ANN, BOB = Token("04A1B2C3"), Token("04D4E5F6")
YES = Verdict(Standing.ACCEPTED)
NO = Verdict(Standing.BLOCKED)
Entries = tuple[tuple[str, Verdict | None], ...]


def send(desk: Desk, version: int, *entries: tuple[str, Verdict | None], full: bool = True) -> Outcome:
    desk.feed(ListSent(7, version, full, entries))
    return desk.answers()[-1].outcome


def let_in(desk: Desk, token: Token = ANN) -> bool:
    """Is the card let in without a question?"""
    desk.truth(plug=3, cable=True)
    desk.drain()
    desk.feed(TokenSeen(token))
    visit = desk.state.outlet(1).visit
    return not desk.sent(AskAuthorize) and visit is not None and visit.auth is not None


@pytest.mark.req("1.6 §5.15", "1.6 §5.10")
def test_a_full_list_replaces_the_old_one_and_brings_its_version() -> None:
    desk = Desk()
    assert version(desk.state) == 0
    assert send(desk, 5, (ANN.id, YES)) is Outcome.ACCEPTED
    assert send(desk, 3, (BOB.id, YES)) is Outcome.ACCEPTED  # a full one may count anew
    assert (version(desk.state), set(desk.state.local_list)) == (3, {BOB.id.casefold()})
    assert send(desk, 9) is Outcome.ACCEPTED
    assert version(desk.state) == 0  # empty, whatever was sent


@pytest.mark.req("1.6 §5.15", "1.6 §7.1")
def test_changes_add_replace_and_take_away() -> None:
    desk = Desk()
    send(desk, 5, (ANN.id, YES), (BOB.id, YES))
    changes = (ANN.id.lower(), NO), (BOB.id, None), ("NEW", YES), ("NEVER", None)
    assert send(desk, 6, *changes, full=False) is Outcome.ACCEPTED
    assert dict(desk.state.local_list) == {ANN.id.casefold(): NO, "new": YES}
    for old in (6, 5, 0, -1):
        assert send(desk, old, ("X", YES), full=False) is Outcome.VERSION_MISMATCH
    assert "x" not in desk.state.local_list


@pytest.mark.req("1.6 §5.15", "1.6 §9.2.3")
@pytest.mark.parametrize(
    "entries",
    [
        ((ANN.id, YES), (ANN.id.lower(), NO)),  # twice the same
        ((ANN.id, None),),  # nothing to take it away from
        tuple((f"{n:04}", YES) for n in range(1001)),  # SendLocalListMaxLength
    ],
)
def test_a_list_that_cannot_be_taken_leaves_the_old_one(entries: Entries) -> None:
    desk = Desk()
    send(desk, 5, (BOB.id, YES))
    before = desk.state
    assert send(desk, 6, *entries) is Outcome.FAILED
    assert (desk.state.local_list, desk.state.list_version) == (before.local_list, 5)


@pytest.mark.req("1.6 §9.2.2")
def test_the_list_has_a_bound() -> None:
    desk = Desk()
    for n in range(5):
        part = tuple((f"{n}-{k}", YES) for k in range(1000))
        assert send(desk, n + 1, *part, full=False) is Outcome.ACCEPTED
    assert send(desk, 6, ("ONE MORE", YES), full=False) is Outcome.FAILED
    assert (len(desk.state.local_list), desk.state.list_version) == (5000, 5)
    assert send(desk, 6, ("ONE MORE", YES), ("0-0", None), full=False) is Outcome.ACCEPTED


@pytest.mark.req("1.6 §9.2.1", "1.6 §7.47")
def test_switched_off_it_is_neither_taken_nor_used_and_comes_back() -> None:
    desk = Desk(local_pre_authorize="true")
    send(desk, 5, (ANN.id, YES))
    desk.feed(SetAsked(1, (("local_list_enabled", "false"),)))
    assert send(desk, 6) is Outcome.NOT_SUPPORTED
    assert version(desk.state) == -1
    assert not let_in(desk)
    desk.feed(SetAsked(1, (("local_list_enabled", "true"),)))
    assert version(desk.state) == 5


@pytest.mark.req("1.6 §3.4.3", "1.6 §9.1.11")
def test_the_list_is_asked_before_the_cache() -> None:
    desk = Desk(local_pre_authorize="true")
    desk.feed(CachePut(ANN, YES))
    assert let_in(desk)
    desk = Desk(local_pre_authorize="true")
    desk.feed(CachePut(ANN, YES))
    send(desk, 1, (ANN.id, NO))
    assert not let_in(desk)  # online the backend is asked (1.6 §3.4.1)
    assert desk.sent(AskAuthorize)


@pytest.mark.req("1.6 §9.1.11")
def test_a_known_card_is_asked_about_where_the_key_does_not_let_it_in_at_once() -> None:
    desk = Desk(local_pre_authorize="false")
    desk.feed(CachePut(ANN, YES))
    assert not let_in(desk)
    assert desk.sent(AskAuthorize)


@pytest.mark.req("1.6 §3.4.2", "1.6 §3.4.4")
@pytest.mark.parametrize(
    ("entry", "comes_in"),
    [
        (YES, True),
        (Verdict(Standing.CONCURRENT), True),
        (NO, False),
        (Verdict(Standing.EXPIRED), False),
        (Verdict(Standing.INVALID), False),
        (Verdict(Standing.ACCEPTED, expires=1_800_000_001.0), True),
        (Verdict(Standing.ACCEPTED, expires=1_800_000_000.0), False),  # by now
    ],
)
def test_offline_the_list_decides_and_what_it_refuses_is_not_unknown(entry: Verdict, comes_in: bool) -> None:
    desk = Desk(offline_unknown_ids="true")
    send(desk, 1, (ANN.id, entry))
    desk.feed(LinkDown())
    assert let_in(desk) is comes_in


@pytest.mark.req("1.6 §9.1.10")
def test_offline_it_may_be_switched_off() -> None:
    desk = Desk(local_authorize_offline="false")
    send(desk, 1, (ANN.id, YES))
    desk.feed(LinkDown())
    assert not let_in(desk)


@pytest.mark.req("1.6 §3.4.3")
@pytest.mark.parametrize(("listed", "said"), [(YES, NO), (NO, YES)])
def test_a_contradiction_is_told_until_a_new_list_comes_and_does_not_reach_the_cache(
    listed: Verdict, said: Verdict
) -> None:
    desk = Desk()
    send(desk, 1, (ANN.id, listed))
    let_in(desk)
    ask = desk.sent(AskAuthorize)[-1].ask
    desk.feed(AuthorizeAnswered(ask, said))
    assert CONFLICT in desk.state.faults
    assert ANN.id.casefold() not in desk.state.cache
    assert desk.state.local_list[ANN.id.casefold()] == listed
    assert [(r.name, r.active) for r in desk.records if isinstance(r, Faulted)] == [(CONFLICT, True)]
    send(desk, 2, (ANN.id, said))
    assert CONFLICT not in desk.state.faults


@pytest.mark.req("1.6 §3.4.3")
def test_agreement_is_not_told() -> None:
    desk = Desk()
    send(desk, 1, (ANN.id, Verdict(Standing.CONCURRENT)))
    let_in(desk)
    desk.feed(AuthorizeAnswered(desk.sent(AskAuthorize)[-1].ask, YES))
    assert not desk.state.faults


@pytest.mark.req("1.6 §3.4.2", "1.6 §3.4.1")
def test_it_survives_a_restart() -> None:
    desk = Desk()
    send(desk, 8, (ANN.id, Verdict(Standing.BLOCKED, "FAMILY", 1.9e9)), (BOB.id, YES))
    again = restore(desk.state.site, rows(desk.state), Variables())
    assert (again.local_list, again.list_version) == (desk.state.local_list, 8)


@pytest.mark.req("1.6 §3.4.1")
def test_a_full_cache_gives_up_what_is_not_valid_first_and_then_the_oldest() -> None:
    desk = Desk()
    for n in range(CACHE_SIZE):
        worth = NO if n == 500 else Verdict(Standing.ACCEPTED, expires=1_800_000_000.0) if n == 600 else YES
        desk.feed(CachePut(Token(f"{n:05}"), worth))
    desk.feed(CachePut(ANN, YES))
    assert {"00500", "00600"}.isdisjoint(desk.state.cache)
    assert "00000" in desk.state.cache
    desk.feed(CachePut(BOB, NO))
    assert (len(desk.state.cache), "00000" in desk.state.cache) == (CACHE_SIZE, True)
    desk.feed(CachePut(Token("LAST"), YES))
    assert BOB.id.casefold() not in desk.state.cache
    desk.feed(CachePut(Token("VERY LAST"), YES))
    assert "00000" not in desk.state.cache and len(desk.state.cache) == CACHE_SIZE


IDS = st.sampled_from(["a", "A", "b", "c", "d"])
Updates = list[tuple[int, bool, list[tuple[str, Verdict | None]]]]
UPDATES = st.lists(
    st.tuples(
        st.integers(-1, 6), st.booleans(), st.lists(st.tuples(IDS, st.sampled_from([YES, NO, None])), max_size=4)
    ),
    max_size=8,
)


@given(UPDATES)
def test_any_updates_leave_what_a_plain_model_says(updates: Updates) -> None:
    desk, model, at = Desk(), dict[str, Verdict](), 0
    for number, full, entries in updates:
        outcome = send(desk, number, *entries, full=full)
        lower = [id_.lower() for id_, _ in entries]
        twice = len(set(lower)) < len(lower)
        if twice or (full and (any(word is None for _, word in entries) or (entries and number < 1))):
            assert outcome is Outcome.FAILED
        elif not full and number <= (max(at, 0) if model else 0):
            assert outcome is Outcome.VERSION_MISMATCH
        else:
            assert outcome is Outcome.ACCEPTED
            model = {} if full else model
            model |= {id_.lower(): word for id_, word in entries if word is not None}
            model = {k: v for k, v in model.items() if (k, None) not in [(i.lower(), w) for i, w in entries]}
            at = number
        assert dict(desk.state.local_list) == model
        assert version(desk.state) == (at if model else 0)


@pytest.mark.req("1.6 §9.1.2")
def test_a_cache_that_is_switched_off_is_empty_takes_nothing_and_lets_nobody_in() -> None:
    desk = Desk(local_pre_authorize="true")
    desk.feed(CachePut(ANN, YES))
    desk.feed(SetAsked(1, (("auth_cache_enabled", "false"),)))
    assert not desk.state.cache
    assert not let_in(desk)
    desk.feed(AuthorizeAnswered(desk.sent(AskAuthorize)[-1].ask, YES))
    assert not desk.state.cache


@pytest.mark.req("1.6 §9.1.2")
def test_what_a_cache_held_before_it_was_switched_off_lets_nobody_in() -> None:
    desk = Desk(auth_cache_enabled="false", local_pre_authorize="true")
    desk.state = replace(desk.state, cache=MappingProxyType({ANN.id.casefold(): YES}))
    assert not let_in(desk)


@pytest.mark.req("1.6 §9.1.1", "1.6 §3.4.4")
@pytest.mark.parametrize("allowed", ["true", "false"])
def test_an_unknown_card_comes_in_offline_where_that_is_allowed(allowed: str) -> None:
    desk = Desk(offline_unknown_ids=allowed)
    desk.feed(LinkDown())
    assert let_in(desk) is (allowed == "true")
