"""Schedules against an oracle that counts seconds one by one and knows no shortcut."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.core.moment import Moment
from chargerd.core.profiles import Installed, Kind, Period, Profile, Purpose, Recurrency, Schedule, Unit
from chargerd.core.schedule import DAY, WEEK, Force, Laid, due, force, lay, segments

NOW = 1_800_000_000
SPAN = 120  # s that the oracle counts


def moment(wall: float = NOW, mono: float = 5000.0, boot: int = 1, trusted: bool = True) -> Moment:
    return Moment(mono, wall, trusted, boot)


# ---------------------------------------------------------------- the oracle


def oracle(one: Installed, t: int, since: Moment | None, now: Moment) -> float | None:
    """The limit in second `t`, straight from the words of the specification; None: it sets none."""
    profile, schedule = one.profile, one.profile.schedule
    if profile.valid_from is not None and t < profile.valid_from:
        return None
    if profile.valid_to is not None and t >= profile.valid_to:
        return None
    match profile.kind, schedule.start:
        case Kind.ABSOLUTE | Kind.RECURRING, int(start):
            offset = t - start
        case Kind.RECURRING, None:
            at = datetime.fromtimestamp(t, UTC)
            offset = at.hour * 3600 + at.minute * 60 + at.second
            offset += at.weekday() * DAY if profile.recurrency is Recurrency.WEEKLY else 0
        case _:
            base = one.accepted if profile.purpose is Purpose.STATION_MAX else since
            offset = t - floor(now.wall) + (0 if base is None else floor(now.mono - base.mono))
    if offset < 0:
        return None
    if profile.kind is Kind.RECURRING:
        every = DAY if profile.recurrency is Recurrency.DAILY else WEEK
        while offset >= every:
            offset -= every
    if schedule.duration is not None and offset >= schedule.duration:
        return None
    limit = None
    for period in schedule.periods:
        if period.start <= offset:
            limit = period.limit
    return limit


def oracle_chain(chain: list[Installed], t: int, since: Moment | None, now: Moment) -> float | None:
    found = (oracle(one, t, since, now) for one in chain)
    return next((limit for limit in found if limit is not None), None)


# ---------------------------------------------------------------- profiles by chance

near = st.integers(-SPAN // 2, SPAN)
limits = st.integers(0, 400).map(lambda tenths: tenths / 10)


@st.composite
def schedules(draw: st.DrawFn, starts: st.SearchStrategy[int | None]) -> Schedule:
    later = draw(st.sets(st.integers(1, SPAN), max_size=4))
    periods = tuple(Period(start, draw(limits)) for start in (0, *sorted(later)))
    return Schedule(Unit.AMPERES, periods, draw(st.none() | st.integers(1, SPAN)), draw(starts))


@st.composite
def profiles(draw: st.DrawFn, number: int, purpose: Purpose | None = None) -> Installed:
    kind = draw(st.sampled_from(Kind))
    recurrency = draw(st.sampled_from(Recurrency)) if kind is Kind.RECURRING else None
    every = WEEK if recurrency is Recurrency.WEEKLY else DAY
    starts: st.SearchStrategy[int | None] = near.map(lambda at: NOW + at)
    if kind is Kind.RECURRING:
        starts = st.builds(lambda at, n: NOW + at - n * every, near, st.integers(0, 9))
    first, last = draw(st.none() | near), draw(st.none() | near)
    profile = Profile(
        number,
        number,
        purpose or draw(st.sampled_from(Purpose)),
        kind,
        draw(schedules(st.none() | starts)),
        recurrency,
        None if first is None else NOW + first,
        None if last is None else NOW + last,
    )
    return Installed(0, moment(NOW - 99, 5000.0 - draw(st.integers(0, SPAN))), profile)


chains = st.integers(0, 4).flatmap(lambda n: st.tuples(*(profiles(number) for number in range(n)))).map(list)
fractions = st.integers(0, 999).map(lambda milli: milli / 1000)
times = st.builds(lambda wall, mono: moment(NOW + wall, 5000.0 + mono), fractions, fractions)
starts_of_tx = st.none() | st.integers(0, SPAN).map(lambda ago: moment(NOW - ago, 5000.0 - ago))


def laid(chain: list[Installed], now: Moment, since: Moment | None) -> list[Laid]:
    found = (lay(one, now, since) for one in chain)
    return [one for one in found if one is not None]


def limit_of(found: Force) -> float | None:
    return None if found is None else found[1].limit


@settings(deadline=None)
@given(chains, times, starts_of_tx)
def test_the_limit_of_every_second_is_that_of_the_oracle(
    chain: list[Installed], now: Moment, since: Moment | None
) -> None:
    placed = laid(chain, now, since)
    for t in range(NOW, NOW + SPAN):
        assert limit_of(force(placed, t)) == oracle_chain(chain, t, since, now)


@settings(deadline=None)
@given(chains, chains, times, starts_of_tx)
def test_segments_say_the_same_of_every_second_and_change_only_where_something_does(
    one: list[Installed], two: list[Installed], now: Moment, since: Moment | None
) -> None:
    found = list(segments([laid(one, now, since), laid(two, now, since)], NOW, NOW + SPAN, 1000))
    starts = [start for start, _ in found]
    assert starts == sorted(set(starts)) and starts[0] == NOW
    for (start, forces), end in zip(found, [*starts[1:], NOW + SPAN], strict=True):
        for t in range(start, end):
            told = tuple(map(limit_of, forces))
            assert told == (oracle_chain(one, t, since, now), oracle_chain(two, t, since, now))


@settings(deadline=None)
@given(chains, times, starts_of_tx)
def test_nothing_changes_before_it_is_due_and_no_wake_up_is_for_the_past(
    chain: list[Installed], now: Moment, since: Moment | None
) -> None:
    placed = laid(chain, now, since)
    wait = due(placed, now)
    assert wait is None or wait > 0
    before = limit_of(force(placed, floor(now.wall)))
    for hundredths in range(1, int(min(wait or 60.0, 60.0) * 100)):
        later = moment(now.wall + hundredths / 100, now.mono + hundredths / 100)
        if wait is not None and hundredths / 100 > wait - 0.01:
            break
        assert limit_of(force(laid(chain, later, since), floor(later.wall))) == before


def test_a_relative_schedule_is_due_to_the_fraction_of_a_second() -> None:
    since = moment(NOW, 5000.0)
    one = Installed(1, since, Profile(1, 0, Purpose.TX, Kind.RELATIVE, STEPS))
    assert due(laid([one], moment(NOW + 5.2, 5005.9), since), moment(NOW + 5.2, 5005.9)) == pytest.approx(4.1)
    now = moment(NOW + 9.9, 5009.2)
    assert due(laid([one], now, since), now) == pytest.approx(0.1)  # in vain, for it costs nothing
    now = moment(NOW + 10.0, 5009.3)
    assert due(laid([one], now, since), now) == pytest.approx(0.7)


def test_looks_are_bounded_and_the_rest_is_said_to_be_unknown() -> None:
    one = Installed(0, moment(), Profile(1, 0, Purpose.STATION_MAX, Kind.RELATIVE, STEPS))
    placed = laid([one], moment(), None)
    assert list(segments([placed], NOW, NOW + 1000, 2))[-1] == (NOW + 20, ())
    assert [start for start, _ in segments([placed], NOW, NOW + 20, 2)] == [NOW, NOW + 10]


# ---------------------------------------------------------------- clocks

STEPS = Schedule(Unit.AMPERES, (Period(0, 16.0), Period(10, 10.0), Period(20, 8.0)))


def tx_profile(kind: Kind, schedule: Schedule = STEPS, **more: Any) -> Installed:
    return Installed(1, moment(), replace(Profile(1, 0, Purpose.TX, kind, schedule), **more))


def limit_at(one: Installed, now: Moment, since: Moment | None, unknown: bool = True) -> float | None:
    placed = lay(one, now, since, unknown)
    return None if placed is None else limit_of(force([placed], floor(now.wall)))


def test_a_step_of_the_wall_clock_moves_absolute_schedules_and_no_relative_one() -> None:
    since = moment(NOW, 5000.0)
    relative = tx_profile(Kind.RELATIVE)
    absolute = tx_profile(Kind.ABSOLUTE, replace(STEPS, start=NOW))
    stepped = moment(NOW + 3600 + 12, 5012.0)
    assert limit_at(relative, stepped, since) == 10.0
    assert limit_at(absolute, stepped, since) == 8.0
    back = moment(NOW - 3600, 5012.0)
    assert limit_at(relative, back, since) == 10.0
    assert limit_at(absolute, back, since) is None  # it has not begun (K01.FR.30)


def test_after_a_reboot_relative_schedules_go_by_the_wall_clock() -> None:
    since = moment(NOW, 5000.0)
    assert limit_at(tx_profile(Kind.RELATIVE), moment(NOW + 15, 3.0, boot=2), since) == 10.0
    assert limit_at(tx_profile(Kind.RELATIVE), moment(NOW - 15, 3.0, boot=2), since) == 16.0


def test_while_the_clock_is_not_known_what_goes_by_it_counts_with_its_lowest_limit_or_not_at_all() -> None:
    lost = moment(100.0, 3.0, boot=2, trusted=False)
    nightly = tx_profile(Kind.RECURRING, replace(STEPS, start=NOW), recurrency=Recurrency.DAILY)
    assert limit_at(nightly, lost, None) == 8.0
    assert limit_at(nightly, lost, None, unknown=False) is None
    assert limit_at(tx_profile(Kind.RELATIVE), lost, lost) == 16.0
    ended = tx_profile(Kind.RELATIVE, valid_to=NOW - 5)
    assert limit_at(ended, lost, lost) is None


def test_an_absolute_schedule_without_a_start_counts_from_the_start_of_the_transaction() -> None:
    assert limit_at(tx_profile(Kind.ABSOLUTE), moment(NOW + 12, 5012.0), moment(NOW, 5000.0)) == 10.0


def test_a_weekly_schedule_without_a_start_begins_on_monday() -> None:
    monday = 1_800_230_400  # 18 January 2027, 00:00 UTC
    weekly = tx_profile(Kind.RECURRING, recurrency=Recurrency.WEEKLY)
    assert limit_at(weekly, moment(monday + 5), None) == 16.0
    assert limit_at(weekly, moment(monday - 1), None) == 8.0
