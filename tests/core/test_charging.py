"""Charging profiles at a station: taken, refused, in force, shared, added up, and over."""

from __future__ import annotations

import json
from dataclasses import replace
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.core import charging
from chargerd.core import events as ev
from chargerd.core.commands import Answer, Composite, Outcome
from chargerd.core.durable import restore, rows
from chargerd.core.profiles import Installed, Kind, Period, Profile, Purpose, Recurrency, Schedule, Unit
from chargerd.core.records import LimitChanged
from chargerd.core.state import Policy, Site
from chargerd.core.status import Joint
from chargerd.core.variables import Variables
from tests.core.desk import Desk
from tests.core.test_flow import ANN, BOB, plug_in, tap
from tests.core.test_schedule import profiles as any_profile

WATTS = Unit.WATTS


def profile(limit: float = 10.0, purpose: Purpose = Purpose.TX_DEFAULT, number: int = 8, **more: Any) -> Profile:
    schedule = Schedule(more.pop("unit", Unit.AMPERES), more.pop("periods", (Period(0, limit),)))
    schedule = replace(schedule, **{name: more.pop(name) for name in ("duration", "start", "least") if name in more})
    return Profile(number, more.pop("level", 0), purpose, more.pop("kind", Kind.RELATIVE), schedule, **more)


def put(desk: Desk, place: int, sent: Profile) -> Outcome:
    desk.feed(ev.ProfileSet(1, place, sent))
    return desk.answers()[-1].outcome


def policy(desk: Desk, **values: Any) -> None:
    site: Site = replace(desk.state.site, policy=Policy(**values))
    desk.state = replace(desk.state, site=site)


def charge(outlets: int = 1, **options: Any) -> Desk:
    """A car charges at outlet 1."""
    desk = Desk(outlets, **options)
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.drain()
    return desk


# ---------------------------------------------------------------- taken and refused


@pytest.mark.req("1.6 §5.16", "1.6 §3.12.1")
@pytest.mark.parametrize(
    ("place", "sent"),
    [
        (1, profile(purpose=Purpose.STATION_MAX)),
        (0, profile(purpose=Purpose.TX)),
        (2, profile(purpose=Purpose.TX)),
        (1, profile(purpose=Purpose.TX, tx="tx-7")),
        (3, profile()),
        (-1, profile()),
        (1, profile(periods=(Period(5, 6.0),))),
        (1, profile(level=10)),
        (1, profile(periods=tuple(Period(n, 6.0) for n in range(1001)))),
    ],
)
def test_refused(place: int, sent: Profile) -> None:
    desk = charge(2)
    assert put(desk, place, sent) is Outcome.REJECTED
    assert desk.answers()[-1].why
    assert not desk.state.profiles
    assert desk.permit() == 32


@pytest.mark.req("1.6 §5.16")
def test_a_profile_for_a_transaction_that_is_about_to_end_is_refused() -> None:
    desk = charge()
    tap(desk)
    assert put(desk, 1, profile(purpose=Purpose.TX)) is Outcome.REJECTED


@pytest.mark.req("1.6 §9.4.5")
def test_one_too_many_is_refused() -> None:
    desk = Desk(3)
    for number in range(20):
        place, level = divmod(number, 10)
        assert put(desk, place, profile(number=number, level=level)) is Outcome.ACCEPTED
    assert put(desk, 2, profile(number=20)) is Outcome.REJECTED
    assert put(desk, 1, profile(number=19, level=9)) is Outcome.ACCEPTED


@pytest.mark.req("1.6 §5.16", "1.6 §3.12.1", "1.6 §3.12.3")
def test_every_purpose_counts_and_the_least_of_station_and_transaction_wins() -> None:
    desk = charge()
    assert put(desk, 0, profile(20.0)) is Outcome.ACCEPTED
    assert desk.permit() == 20
    put(desk, 1, profile(24.5, Purpose.TX, 9))
    assert desk.permit() == 24.5
    put(desk, 0, profile(14.3, Purpose.STATION_MAX, 10))
    assert desk.permit() == 14.3
    desk.feed(ev.ProfilesCleared(1, id=10))
    assert desk.permit() == 24.5
    desk.feed(ev.ProfilesCleared(1, purpose=Purpose.TX))
    assert desk.permit() == 20
    desk.feed(ev.ProfilesCleared(1))
    assert desk.permit() == 32
    assert [answer.outcome for answer in desk.answers()] == [Outcome.ACCEPTED] * 6
    desk.feed(ev.ProfilesCleared(1))
    assert desk.answers()[-1].outcome is Outcome.REJECTED


@pytest.mark.req("1.6 §3.12.2")
def test_the_highest_level_that_is_valid_prevails() -> None:
    desk = charge()
    put(desk, 1, profile(20.0, number=1))
    put(desk, 1, profile(10.0, number=2, level=3, valid_to=int(desk.wall) + 60))
    put(desk, 1, profile(8.0, number=3, level=5, valid_from=int(desk.wall) + 30, valid_to=int(desk.wall) + 45))
    seen = []
    for _ in range(7):
        seen.append(desk.permit())
        desk.after(10)
    assert seen == [10, 10, 10, 8, 8, 10, 20]


@pytest.mark.req("1.6 §5.16.4", "1.6 §7.9")
@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([Kind.RELATIVE, Kind.ABSOLUTE]), st.integers(1, 99))
def test_a_period_begins_with_its_second_however_the_clocks_stand(
    mono: float, wall: float, kind: Kind, after: int
) -> None:
    desk = Desk()
    desk.now += mono
    desk.wall += wall
    plug_in(desk)
    tap(desk)
    desk.charge()
    desk.after(0.3)
    start = {} if kind is Kind.RELATIVE else {"start": floor(desk.wall)}
    begun = desk.now if kind is Kind.RELATIVE else desk.now - desk.wall % 1.0
    sent = profile(purpose=Purpose.STATION_MAX, periods=(Period(0, 16.0), Period(after, 0.0)), kind=kind, **start)
    assert put(desk, 0, sent) is Outcome.ACCEPTED
    desk.after(begun + after - desk.now - 1e-3)
    assert desk.permit() == 16
    desk.after(2e-3)
    assert desk.permit() == 0


@pytest.mark.req("1.6 §3.12.1")
def test_the_default_of_an_outlet_replaces_that_of_the_station_there_only() -> None:
    desk = charge(2, max_amps=200.0)
    plug_in(desk, 2, 42)
    tap(desk, BOB)
    put(desk, 0, profile(10.0, number=1))
    put(desk, 1, profile(16.0, number=2))
    assert (desk.permit(1), desk.permit(2)) == (16, 10)


@pytest.mark.req("1.6 §5.16.4", "K01.FR.11", "K01.FR.12", "K01.FR.13")
def test_after_its_duration_the_default_takes_over() -> None:
    desk = charge()
    put(desk, 0, profile(20.0, number=1))
    put(
        desk,
        1,
        profile(number=2, purpose=Purpose.TX, duration=50, periods=(Period(0, 16.0), Period(30, 8.0), Period(60, 6.0))),
    )
    desk.after(20)  # it counts from the start of the transaction
    assert desk.permit() == 16
    desk.after(10)
    assert desk.permit() == 8
    desk.after(20)
    assert desk.permit() == 20


@pytest.mark.req("1.6 §5.16.1", "1.6 §5.16.3")
def test_a_profile_at_the_start_of_a_transaction_and_another_during_it() -> None:
    desk = Desk()
    plug_in(desk)
    tap(desk)
    assert put(desk, 1, profile(20.0, Purpose.TX, 1)) is Outcome.ACCEPTED
    desk.charge()
    assert desk.permit() == 20
    assert put(desk, 1, profile(10.0, Purpose.TX, 2)) is Outcome.ACCEPTED
    assert desk.permit() == 10
    assert [one.profile.id for one in desk.state.profiles.values()] == [2]


@pytest.mark.req("1.6 §3.12.7", "1.6 §7.13")
def test_six_kilowatts_by_day() -> None:
    """The specification's own example: every day from 8 to 20 h, on a charger of 11 kW."""
    desk = charge()
    kilowatts = (Period(0, 11_000.0, 3), Period(28_800, 6_000.0, 3), Period(72_000, 11_000.0, 3))
    daily: dict[str, Any] = {
        "kind": Kind.RECURRING,
        "recurrency": Recurrency.DAILY,
        "duration": 86_400,
        "start": 1_356_998_400,
    }
    put(desk, 0, profile(unit=WATTS, periods=kilowatts, **daily))
    desk.after(1_800_057_600 - 3600 - desk.wall)  # 23 h
    seen = []
    for _ in range(24):
        seen.append(desk.permit())
        desk.after(3600)
    assert seen == [15.9] * 9 + [8.6] * 12 + [15.9] * 3


@pytest.mark.req("1.6 §7.10", "1.6 §3.12.1")
def test_a_profile_ends_with_its_transaction() -> None:
    desk = charge()
    put(desk, 1, profile(10.0, Purpose.TX))
    tap(desk)
    desk.feed(ev.Power(1, False))
    assert not desk.state.profiles
    tap(desk)
    assert desk.permit() == 32


@pytest.mark.req("1.6 §5.11", "1.6 §5.16.2", "K05.FR.03")
def test_a_profile_that_comes_with_a_remote_start_counts_from_the_first_ampere_on() -> None:
    desk = Desk()
    sent = profile(10.0, Purpose.TX, periods=(Period(0, 10.0), Period(60, 16.0)))
    desk.feed(ev.RemoteStart(1, ANN, 1, profile=sent))
    assert not desk.state.profiles
    desk.after(30)
    plug_in(desk)
    assert desk.permit() == 10
    assert [one.profile.tx for one in desk.state.profiles.values()] == ["tx-1"]
    desk.charge()
    desk.after(61)
    assert desk.permit() == 16
    tap(desk)
    desk.feed(ev.Power(1, False))
    assert not desk.state.profiles


@pytest.mark.req("1.6 §5.11")
def test_a_remote_start_that_nobody_follows_leaves_no_profile() -> None:
    desk = Desk()
    desk.feed(ev.RemoteStart(1, ANN, 1, profile=profile(10.0, Purpose.TX)))
    desk.after(100)
    plug_in(desk)
    tap(desk)
    assert desk.permit() == 32


@pytest.mark.req("1.6 §5.11", "1.6 §9.4.5")
def test_a_remote_start_is_taken_only_with_room_for_its_profile_which_then_counts_in_any_case() -> None:
    desk = Desk(3)
    for number in range(20):
        place, level = divmod(number, 10)
        put(desk, place, profile(number=number, level=level))
    desk.feed(ev.RemoteStart(1, ANN, 1, profile=profile(10.0, Purpose.TX, 99)))
    assert desk.answers()[-1].outcome is Outcome.REJECTED
    desk.feed(ev.ProfilesCleared(1, id=0))
    desk.feed(ev.RemoteStart(1, ANN, 1, profile=profile(10.0, Purpose.TX, 99)))
    assert desk.answers()[-1].outcome is Outcome.ACCEPTED
    put(desk, 0, profile(number=0))
    plug_in(desk)
    assert desk.permit() == 10


@pytest.mark.req("1.6 §7.9")
def test_a_relative_profile_of_the_station_counts_from_its_acceptance() -> None:
    desk = charge()
    desk.after(100)
    put(desk, 0, profile(purpose=Purpose.STATION_MAX, periods=(Period(0, 10.0), Period(60, 16.0))))
    assert desk.permit() == 10
    desk.after(59)
    assert desk.permit() == 10
    desk.after(1)
    assert desk.permit() == 16


@pytest.mark.req("1.6 §5.7", "1.6 §7.13")
def test_what_is_told_has_one_decimal_and_is_never_more_than_what_is_in_force() -> None:
    desk = charge()
    put(desk, 1, profile(5000.0, unit=WATTS))
    assert desk.permit() == 7.2
    desk.feed(ev.CompositeAsked(1, 1, 60, Unit.AMPERES))
    told = desk.answers()[-1].composite
    assert told is not None
    assert told.periods == ((0, 7.2, 3),)


# ---------------------------------------------------------------- what lasts


@pytest.mark.req("1.6 §3.12.6", "K01.FR.27")
@pytest.mark.parametrize("rebooted", [False, True])
def test_profiles_survive_a_restart_and_go_on_without_a_backend(rebooted: bool) -> None:
    desk = charge(resumption_timeout="60")
    put(desk, 0, profile(14.0, Purpose.STATION_MAX, 1))
    put(desk, 1, profile(number=2, purpose=Purpose.TX, periods=(Period(0, 10.0), Period(40, 8.0))))
    desk.feed(ev.LinkDown())
    body = json.loads(json.dumps(rows(desk.state)))
    new = Desk()
    new.state = restore(desk.state.site, body, Variables())
    assert rows(new.state) == rows(desk.state)
    new.now, new.wall, new.register = desk.now + 10, desk.wall + 10, desk.register
    new.feed(ev.PowerRestored(rebooted, 10.0))
    new.truth(1, 41, True, powered=not rebooted)
    assert new.permit() == 10
    new.after(30)
    assert new.permit() == 8


@pytest.mark.req("1.6 §3.12.6", "K06.FR.02")
def test_offline_without_profiles_nothing_constrains_but_the_installer_may() -> None:
    desk = charge()
    policy(desk, offline=13.0, offline_after=120.0)
    desk.feed(ev.LinkDown())
    desk.after(119)
    assert desk.permit() == 32
    desk.after(1)
    assert desk.permit() == 13
    desk.feed(ev.LinkUp())
    assert desk.permit() == 32


def test_without_a_profile_of_its_own_a_transaction_has_what_the_installer_allows() -> None:
    desk = charge()
    policy(desk, without=12.0)
    desk.feed(ev.Wake())
    assert desk.permit() == 12
    put(desk, 1, profile(20.0, Purpose.TX))
    assert desk.permit() == 20


# ---------------------------------------------------------------- units, phases, pauses


@pytest.mark.req("K01.FR.50", "K01.FR.51")
@pytest.mark.parametrize(
    ("limit", "phases", "amps"), [(11_040.0, None, 16.0), (11_040.0, 3, 16.0), (4_150.0, 3, 6.0), (11_040.0, 1, 16.0)]
)
def test_watts_become_amperes_by_the_phases_on_which_they_may_flow(
    limit: float, phases: int | None, amps: float
) -> None:
    desk = charge()
    put(desk, 1, profile(unit=WATTS, periods=(Period(0, limit, phases),)))
    assert desk.permit() == amps


@pytest.mark.req("1.6 §3.12.3", "1.6 §9.1.21")
@pytest.mark.parametrize(
    ("rotation", "amps"), [("0.Unknown", 16.0), ("1.RST,2.RST", 16.0), ("1.RST,2.STR", 16.0), ("1.RST", 16.0)]
)
def test_watts_of_the_station_over_outlets_with_one_phase_each(rotation: str, amps: float) -> None:
    desk = Desk(2, phase_rotation=rotation)
    site = replace(desk.state.site, outlets=tuple(replace(each, phases=1) for each in desk.state.site.outlets))
    outlets = tuple(replace(o, site=s) for o, s in zip(desk.state.outlets, site.outlets, strict=True))
    desk.state = replace(desk.state, site=site, outlets=outlets)
    plug_in(desk)
    tap(desk)
    desk.charge(1)
    plug_in(desk, 2, 42)
    tap(desk, BOB)
    desk.charge(2)
    put(desk, 0, profile(7360.0, Purpose.STATION_MAX, unit=WATTS))
    assert (desk.permit(1), desk.permit(2)) == (amps, amps)


def test_watts_of_an_outlet_with_one_phase() -> None:
    desk = Desk()
    site = replace(desk.state.site.outlets[0], phases=1)
    desk.state = replace(desk.state, outlets=(replace(desk.state.outlets[0], site=site),))
    plug_in(desk)
    tap(desk)
    put(desk, 1, profile(3680.0, unit=WATTS))
    assert desk.permit() == 16


@pytest.mark.req("1.6 §4.9")
def test_below_6_a_it_pauses_and_goes_on_when_there_is_enough() -> None:
    desk = charge()
    put(desk, 1, profile(5.9, Purpose.TX))
    assert desk.permit() == 0
    desk.feed(ev.Power(1, False))
    desk.after(1)
    assert desk.status() is Joint.SUSPENDED_EVSE
    put(desk, 1, profile(6.0, Purpose.TX))
    assert desk.permit() == 6
    desk.feed(ev.Power(1, True))
    assert desk.status() is Joint.CHARGING


def test_limits_that_change_are_told_with_their_source() -> None:
    desk = charge()
    put(desk, 1, profile(10.0, Purpose.TX))
    put(desk, 0, profile(8.0, Purpose.STATION_MAX, 9))
    desk.feed(ev.ProfilesCleared(1))
    told = [(r.amps, r.source) for r in desk.records if isinstance(r, LimitChanged)]
    assert told == [(10, "profile"), (8, "station-profile"), (32, "outlet")]


# ---------------------------------------------------------------- the composite schedule


def ask(desk: Desk, place: int, duration: int = 100, unit: Unit | None = None) -> Composite | None:
    desk.feed(ev.CompositeAsked(1, place, duration, unit))
    answer = desk.answers()[-1]
    assert (answer.outcome is Outcome.ACCEPTED) is (answer.composite is not None)
    assert not answer.lasting
    return answer.composite


@pytest.mark.req("1.6 §5.7", "K08.FR.05")
@pytest.mark.parametrize(("place", "duration"), [(2, 60), (-1, 60), (1, 0), (1, -5)])
def test_no_schedule_of_what_is_not_there(place: int, duration: int) -> None:
    assert ask(Desk(), place, duration) is None


@pytest.mark.req("1.6 §5.7", "K08.FR.02", "K08.FR.06")
def test_a_composite_schedule_without_a_transaction_is_as_if_one_began_now() -> None:
    desk = Desk()
    put(desk, 0, profile(periods=(Period(0, 16.0), Period(30, 10.0, 1)), duration=60))
    assert ask(desk, 1) == Composite(1_800_000_000, 100, Unit.AMPERES, ((0, 16.0, 3), (30, 10.0, 1), (60, 32.0, 3)))


@pytest.mark.req("1.6 §5.7", "K08.FR.03")
def test_the_schedule_of_the_station_is_the_sum_within_its_own_limits() -> None:
    desk = Desk(2, max_amps=50.0)
    put(desk, 1, profile(10.0, number=1))
    put(desk, 0, profile(number=2, purpose=Purpose.STATION_MAX, periods=(Period(0, 60.0), Period(40, 12.5))))
    assert ask(desk, 0) == Composite(1_800_000_000, 100, Unit.AMPERES, ((0, 42.0, 3), (40, 12.5, 3)))
    assert ask(desk, 0, unit=WATTS) == Composite(1_800_000_000, 100, WATTS, ((0, 28_980.0, 3), (40, 8_625.0, 3)))
    assert ask(desk, 2) == Composite(1_800_000_000, 100, Unit.AMPERES, ((0, 32.0, 3), (40, 12.5, 3)))


def test_watts_come_back_as_they_were_said() -> None:
    desk = Desk()
    put(desk, 1, profile(7_000.1, unit=WATTS))
    assert ask(desk, 1, unit=WATTS) == Composite(1_800_000_000, 100, WATTS, ((0, 7_000.1, 3),))
    assert ask(desk, 1) == Composite(1_800_000_000, 100, Unit.AMPERES, ((0, 10.1, 3),))


def test_a_schedule_of_more_periods_than_may_be_told_ends_before() -> None:
    desk = Desk()
    many = tuple(Period(n, 6.0 + n % 2) for n in range(1000))
    put(desk, 1, profile(kind=Kind.RECURRING, recurrency=Recurrency.DAILY, periods=many, start=1_800_000_000))
    found = ask(desk, 1, 2_000_000)
    assert found is not None
    assert len(found.periods) == 1000
    assert found.duration == 86_400


def test_a_schedule_that_is_asked_for_for_ever_is_bounded() -> None:
    desk = Desk()
    put(desk, 1, profile(kind=Kind.RECURRING, recurrency=Recurrency.DAILY))
    found = ask(desk, 1, 2**62)
    assert found is not None
    assert found.duration == charging.LONGEST_COMPOSITE
    assert found.periods == ((0, 10.0, 3),)


installed_ones = st.integers(0, 5).flatmap(lambda n: st.tuples(*(any_profile(number) for number in range(n))))


@settings(deadline=None, max_examples=150)
@given(installed_ones, st.lists(st.integers(0, 2), min_size=6, max_size=6), st.floats(0, 0.999), st.booleans())
def test_every_second_of_a_composite_schedule_is_what_the_permit_would_be(
    sent: tuple[Installed, ...], places: list[int], fraction: float, runs: bool
) -> None:
    """The schedule against the station itself, which is woken in every second of it."""
    desk = Desk(2, max_amps=300.0)
    desk.wall += fraction
    if runs:
        plug_in(desk)
        tap(desk)
        desk.charge()
    for place, one in zip(places, sent, strict=False):
        at = 0 if one.profile.purpose is Purpose.STATION_MAX else place
        put(desk, at, one.profile)
    if not runs:
        plug_in(desk)
        tap(desk)
        desk.charge()
    span = 130
    found = ask(desk, 1, span)
    assert found is not None and found.start == floor(desk.wall)
    limits = [next(limit for start, limit, _ in reversed(found.periods) if start <= n) for n in range(span)]
    for n in range(span):
        permit = desk.permit()
        expected = limits[n] if limits[n] >= 6 else 0
        assert (permit if permit >= 6 else 0) == expected, n
        desk.after(1)


def test_an_answer_that_promises_waits_for_the_disk() -> None:
    desk = Desk()
    desk.feed(ev.ProfileSet(7, 1, profile()))
    assert desk.answers() == [Answer(7, Outcome.ACCEPTED, lasting=True)]
