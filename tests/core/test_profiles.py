"""Which profiles are taken, and which of those installed they replace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chargerd.core.moment import Moment
from chargerd.core.profiles import (
    NONE,
    Bounds,
    Installed,
    Kind,
    Period,
    Profile,
    Profiles,
    Purpose,
    Recurrency,
    Schedule,
    Unit,
    cleared,
    flaw,
    installed,
    running,
)

BOUNDS = Bounds(level=3, units=frozenset(Unit), periods=4, profiles=5)
NOW = Moment(10.0, 1_800_000_000.0, True, 1)
GOOD = Profile(1, 0, Purpose.TX_DEFAULT, Kind.RELATIVE, Schedule(Unit.AMPERES, (Period(0, 16.0), Period(9, 6.1))))


def periods(*starts: int) -> dict[str, Any]:
    return {"periods": tuple(Period(start, 6.0) for start in starts)}


@pytest.mark.parametrize(
    ("changes", "schedule"),
    [
        ({"level": -1}, {}),
        ({"level": 4}, {}),
        ({}, periods()),
        ({}, periods(1)),
        ({}, periods(-1, 0)),
        ({}, periods(0, 5, 5)),
        ({}, periods(0, 7, 6)),
        ({}, periods(0, 2**40)),
        ({}, periods(0, 1, 2, 3, 4)),
        ({}, {"periods": (Period(0, -0.1),)}),
        ({}, {"periods": (Period(0, float("inf")),)}),
        ({}, {"periods": (Period(0, 1e9),)}),
        ({}, {"periods": (Period(0, 6.0, 0),)}),
        ({}, {"periods": (Period(0, 6.0, 4),)}),
        ({}, {"duration": 0}),
        ({}, {"duration": -5}),
        ({}, {"duration": 2**40}),
        ({}, {"least": -1.0}),
        ({"kind": Kind.RECURRING}, {}),
        ({"valid_from": 5, "valid_to": 5}, {}),
    ],
)
def test_what_is_wrong_with_a_profile(changes: dict[str, Any], schedule: dict[str, Any]) -> None:
    assert flaw(GOOD, BOUNDS) is None
    assert flaw(replace(GOOD, **changes, schedule=replace(GOOD.schedule, **schedule)), BOUNDS)


def test_a_unit_that_is_not_announced_is_not_taken() -> None:
    assert flaw(GOOD, replace(BOUNDS, units=frozenset({Unit.WATTS}))) == "limits in A are not taken"


def test_what_recurs_and_says_how_often_is_taken() -> None:
    assert flaw(replace(GOOD, kind=Kind.RECURRING, recurrency=Recurrency.DAILY), BOUNDS) is None


def put(profiles: Profiles, number: int, place: int = 1, **more: Any) -> Profiles:
    found = installed(profiles, Installed(place, NOW, replace(GOOD, id=number, **more)), BOUNDS.profiles)
    assert found is not None
    return found


def numbers(profiles: Profiles) -> list[int]:
    return sorted(one.profile.id for one in profiles.values())


@pytest.mark.req("1.6 §5.16.4", "1.6 §3.12.2", "K01.FR.05")
def test_the_same_id_or_the_same_purpose_and_level_is_replaced() -> None:
    profiles = put(put(NONE, 1), 2, level=1)
    assert numbers(put(profiles, 3, level=1)) == [1, 3]
    moved = put(profiles, 1, place=2, level=3)
    assert numbers(moved) == [1, 2]
    assert moved["1"].place == 2
    assert numbers(put(profiles, 3, place=2)) == [1, 2, 3]
    assert numbers(put(profiles, 3, purpose=Purpose.TX, tx="tx-1")) == [1, 2, 3]


def test_profiles_of_two_transactions_do_not_replace_one_another() -> None:
    profiles = put(NONE, 1, purpose=Purpose.TX, tx="tx-1")
    assert numbers(put(profiles, 2, purpose=Purpose.TX, tx="tx-2")) == [1, 2]
    assert numbers(put(profiles, 2, purpose=Purpose.TX, tx="tx-1")) == [2]


@pytest.mark.req("1.6 §9.4.5")
def test_there_is_room_for_so_many_and_what_is_over_makes_room() -> None:
    profiles = NONE
    for number in range(5):
        profiles = put(profiles, number, place=number, valid_to=1_800_000_000 if number == 3 else None)
    assert numbers(put(profiles, 9, place=9)) == [0, 1, 2, 4, 9]
    full = put(profiles, 9, place=9)
    assert installed(full, Installed(8, NOW, replace(GOOD, id=10)), 5) is None
    assert numbers(put(full, 4, place=4)) == [0, 1, 2, 4, 9]  # in the place of another it needs no room


@pytest.mark.req("1.6 §5.5", "1.6 §6.13", "K10.FR.03", "K10.FR.04")
def test_clearing() -> None:
    profiles = put(put(put(NONE, 1, place=0), 2), 3, place=2, level=1)
    assert numbers(cleared(profiles, id=2, place=0)) == [1, 3]
    assert numbers(cleared(profiles, place=0)) == [2, 3]
    assert numbers(cleared(profiles, level=0)) == [3]
    assert numbers(cleared(profiles, level=0, place=1)) == [1, 3]
    assert numbers(cleared(profiles, purpose=Purpose.TX_DEFAULT)) == []
    assert numbers(cleared(profiles)) == []
    assert cleared(profiles, purpose=Purpose.STATION_MAX) is profiles
    assert cleared(profiles, id=9) is profiles


def test_profiles_end_with_their_transactions() -> None:
    profiles = put(put(NONE, 1), 2, purpose=Purpose.TX, tx="tx-1")
    assert running(profiles, frozenset({"tx-1"})) is profiles
    assert numbers(running(profiles, frozenset({"tx-2"}))) == [1]
