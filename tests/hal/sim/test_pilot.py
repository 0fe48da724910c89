from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.sim import pilot
from hal.sim.wire import X1, F

BANDS = {"A": (11.4, 12.6), "B": (8.36, 9.56), "C": (5.48, 6.49), "D": (2.62, 3.25), "E": (-1.0, 2.0)}


@pytest.mark.req("IEC 61851-1 A.4")
@pytest.mark.parametrize("state", BANDS)
@pytest.mark.parametrize("generator", [X1, 0.05, 0.1, 0.5, 0.96])
def test_every_state_lies_in_its_band(state: str, generator: float) -> None:
    low, high = BANDS[state]
    assert low <= pilot.reading(generator, pilot.LEVELS[state], True).high <= high


def test_the_diode_blocks_the_negative_half_and_its_absence_shows() -> None:
    assert pilot.reading(0.5, pilot.LOAD_C, True).low == -12.0
    without = pilot.reading(0.5, pilot.LOAD_C, False)
    assert (without.high, without.low) == pytest.approx((5.6, -5.6), abs=0.05)


def test_a_short_shows_neither_level_nor_duty() -> None:
    seen = pilot.reading(0.5, pilot.SHORT, True)
    assert abs(seen.high) < 0.1 and abs(seen.low) < 0.1 and seen.duty == X1


@pytest.mark.parametrize("load", [pilot.OPEN, pilot.LOAD_B, pilot.LOAD_C])
def test_steady_levels_have_one_plateau(load: float) -> None:
    off, on = pilot.reading(F, load, True), pilot.reading(X1, load, True)
    assert (off.high, off.low, off.duty) == (-12.0, -12.0, 0.0)
    assert on.high == on.low > 0 and on.duty == 1.0


def test_the_undefined_load_lies_between_b_and_c() -> None:
    assert pilot.reading(0.5, pilot.UNDEFINED, True).high == pytest.approx(7.5, abs=0.01)


@pytest.mark.req("IEC 61851-1 A.3")
@pytest.mark.parametrize(
    ("duty", "amps"),
    [
        (0.0, 0), (0.05, 0), (0.079, 0), (0.08, 6), (0.1, 6), (0.266, 15.96), (0.533, 31.98), (0.85, 51),
        (0.892, 63), (0.96, 80), (0.97, 80), (0.975, 0), (1.0, 0),
    ],
)  # fmt: skip
def test_the_vehicle_reads_the_duty_table(duty: float, amps: float) -> None:
    assert pilot.offered(duty) == pytest.approx(amps)


@given(st.floats(0, 1))
def test_no_duty_offers_more_than_the_table_holds(duty: float) -> None:
    assert pilot.offered(duty) == 0 or 6 <= pilot.offered(duty) <= 80


def test_cable_codes_fall_with_the_amperes() -> None:
    ohms = [pilot.CABLES[amps] for amps in sorted(pilot.CABLES)]
    assert ohms == sorted(ohms, reverse=True) and math.inf not in ohms
