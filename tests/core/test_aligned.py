"""Clock-aligned samples while the wall clock steps: neither none for years, nor many at once (J01, 1.6 §4.7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.events import Metered, Wake
from chargerd.core.records import Cause, Sampled
from chargerd.core.station import wake_at
from hal.api import MeterReading
from tests.core.desk import Desk

GRID = 900
NEVER_OLD = 1e12  # monotonic seconds
HOUR, YEAR = 3600.0, 365 * 86_400.0
STEPS = st.floats(-60 * YEAR, 60 * YEAR) | st.floats(-5.0, 5.0)


def idle() -> Desk:
    desk = Desk(aligned_interval=str(GRID))
    desk.feed(Metered(1, MeterReading(NEVER_OLD, desk.register, 0.0)))
    desk.feed(Wake())
    desk.drain()
    return desk


def step(desk: Desk, by: float) -> None:
    """The clock is set; the next word of the guard is what makes us see it."""
    desk.wall += by
    desk.feed(Wake())


def taken(desk: Desk) -> list[float]:
    """Wall seconds of the clock-aligned samples since the last look."""
    records, _ = desk.drain()
    return [r.at.wall for r in records if isinstance(r, Sampled) and r.cause is Cause.CLOCK]


@pytest.mark.req("J01.FR.04", "1.6 §4.7", "1.6 §9.1.5")
@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR, 57 * YEAR, -57 * YEAR, 100.0, -100.0])
def test_the_clock_steps(by: float) -> None:
    desk = idle()
    desk.after(3 * GRID)
    assert len(taken(desk)) == 3
    step(desk, by)
    assert taken(desk) == []  # no moment of the grid is now
    desk.after(GRID)
    (at,) = taken(desk)
    assert at % GRID == 0
    desk.after(10 * GRID)
    assert len(taken(desk)) == 10


@pytest.mark.req("J01.FR.04", "1.6 §4.7")
def test_a_clock_that_jitters_about_a_moment_takes_it_once() -> None:
    desk = idle()
    desk.after(2 * GRID)
    first = taken(desk)[-1]
    for _ in range(5):
        step(desk, -1.5)
        step(desk, 1.5)
    assert taken(desk) == []
    step(desk, -1.5)
    desk.after(1.5)
    assert taken(desk) == []
    desk.after(GRID)
    assert taken(desk) == [first + GRID]


@pytest.mark.req("J01.FR.04", "1.6 §4.7")
@given(st.lists(st.tuples(st.floats(0.0, 5000.0), STEPS), max_size=20))
def test_whatever_the_clock_does_samples_are_on_the_grid_and_never_far_apart(steps: list[tuple[float, float]]) -> None:
    desk = idle()
    desk.wall = 100 * YEAR + desk.wall % GRID
    desk.feed(Wake())
    taken(desk)
    for quiet, by in steps:
        desk.after(quiet)
        seen = taken(desk)
        assert all(at % GRID < 0.01 or at % GRID > GRID - 0.01 for at in seen)
        assert len(seen) <= quiet / GRID + 1
        step(desk, by)
        assert len(taken(desk)) <= 1
        at = wake_at(desk.state, desk.moment())
        assert at is not None and at - desk.now <= GRID + 10.0
