"""How the station's limit is divided."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.core.sharing import EVERY, Want, share, station_phases

some_phases = st.sampled_from([EVERY, frozenset({1}), frozenset({2}), frozenset({3})])
wants = st.builds(Want, st.floats(0, 80), st.sampled_from((6.0, 8.0, 13.0)), some_phases)


@settings(deadline=None)
@given(st.floats(0, 200), st.dictionaries(st.integers(1, 8), wants, max_size=8))
def test_no_phase_is_ever_overloaded_and_nobody_gets_too_little_to_be_of_use(
    total: float, wanted: dict[int, Want]
) -> None:
    shares = share(total, wanted)
    assert shares.keys() == wanted.keys()
    for phase in EVERY:
        assert sum(shares[rank] for rank, want in wanted.items() if phase in want.phases) <= total + 1e-6
    for rank, want in wanted.items():
        assert shares[rank] == 0 or want.least - 1e-6 <= shares[rank] <= want.amps + 1e-9


@settings(deadline=None)
@given(st.floats(0, 200), st.dictionaries(st.integers(1, 8), wants, max_size=8))
def test_nothing_that_somebody_could_use_is_left(total: float, wanted: dict[int, Want]) -> None:
    """Who gets something less than they want stands on a phase that is full."""
    shares = share(total, wanted)
    for rank, want in wanted.items():
        if 0 < shares[rank] < want.amps - 1e-6:
            loads = [sum(shares[o] for o, w in wanted.items() if phase in w.phases) for phase in want.phases]
            assert max(loads) >= total - 1e-6


@given(st.lists(st.floats(6, 80), min_size=1, max_size=6), st.floats(6, 500))
def test_equals_get_the_same(amps: list[float], total: float) -> None:
    shares = share(total, {rank: Want(most) for rank, most in enumerate(amps)})
    served = {rank: given for rank, given in shares.items() if given}
    if served:
        top = max(served.values())
        assert all(given >= min(amps[rank], top) - 1e-6 for rank, given in served.items())


def test_the_last_pauses_so_that_the_others_can_go_on() -> None:
    assert share(18.0, dict.fromkeys(range(4), Want(16.0))) == {0: 6.0, 1: 6.0, 2: 6.0, 3: 0.0}
    assert share(13.0, {1: Want(16.0), 2: Want(16.0, least=8.0)}) == {1: 13.0, 2: 0.0}


def test_whoever_pauses_is_on_a_phase_that_is_short() -> None:
    one, two = frozenset({1}), frozenset({2})
    assert share(10.0, {1: Want(16.0, phases=one), 2: Want(16.0, phases=one), 3: Want(16.0, phases=two)}) == {
        1: 10.0,
        2: 0.0,
        3: 10.0,
    }


def test_single_phases_beside_each_other_do_not_share() -> None:
    one, two = frozenset({1}), frozenset({2})
    assert share(16.0, {1: Want(16.0, phases=one), 2: Want(16.0, phases=two)}) == {1: 16.0, 2: 16.0}
    assert share(32.0, {1: Want(32.0), 2: Want(32.0, phases=one)}) == {1: 16.0, 2: 16.0}


@pytest.mark.req("1.6 §9.1.21")
@pytest.mark.parametrize(
    ("rotation", "used", "phases"),
    [
        ("0.RST,1.RST,2.STR", {1}, {2}),
        ("2.TRS", {1, 2}, {3, 1}),
        ("2.RTS", {2}, {3}),
        ("2.RST", {1, 2, 3}, {1, 2, 3}),
        ("2.Unknown", {1}, {1, 2, 3}),
        ("2.NotApplicable", {1}, {1, 2, 3}),
        ("1.RST", {1}, {1, 2, 3}),
    ],
)
def test_which_phases_of_the_station_are_loaded(rotation: str, used: set[int], phases: set[int]) -> None:
    assert station_phases(rotation, 2, frozenset(used)) == phases
