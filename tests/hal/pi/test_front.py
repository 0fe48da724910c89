"""The estimator on bursts as the ADC gives them, up to the state that the guard reads from them."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.guard import pilot
from hal.pi.front import Scale, by_resistance, estimate
from tests.hal.pi.waveform import DIVIDER, LEVELS, LOW, SCALE, burst

DUTIES = (0.05, 0.10, 0.266, 0.533, 0.80, 0.96)
TRIES = 60


def test_the_divider() -> None:
    assert DIVIDER.gain == pytest.approx(0.1220, abs=1e-4)
    assert DIVIDER.zero == pytest.approx(1.6774, abs=1e-4)
    for volts in (-12.6, -12.0, 0.0, 3.0, 12.6):
        assert SCALE.volts(SCALE.code(volts)) == pytest.approx(volts)


@pytest.mark.parametrize("rate", [30_000, 31_000, 32_500])
@pytest.mark.parametrize("duty", DUTIES)
@pytest.mark.parametrize("state", LEVELS)
def test_no_burst_tells_another_state(state: str, duty: float, rate: float) -> None:
    chance = random.Random(f"{state}{duty}")
    low = LOW if state != "E" else -0.01
    duties = deque[float](maxlen=4)
    for _ in range(TRIES):
        stalled = estimate(burst(chance, LEVELS[state], low, duty, rate=rate, stalls=0.01), SCALE)
        seen = estimate(burst(chance, LEVELS[state], low, duty, rate=rate), SCALE)
        for one in (stalled, seen):
            assert pilot.classify(one.high, one.low, None) == state
            assert one.quality is not None
            assert state == "E" or pilot.diode(one.low)
        duties.append(seen.duty)
        if len(duties) == duties.maxlen and state != "E":
            assert sum(duties) / len(duties) == pytest.approx(duty, abs=pilot.DUTY_TOLERANCE)


@pytest.mark.parametrize("state", LEVELS)
def test_steady_levels(state: str) -> None:
    chance = random.Random(state)
    seen = estimate(burst(chance, LEVELS[state], LOW, 1.0), SCALE)
    assert (pilot.classify(seen.high, seen.low, None), seen.duty) == (state, 1.0)


def test_state_f() -> None:
    seen = estimate(burst(random.Random(1), 12.0, LOW, 0.0), SCALE)
    assert (pilot.classify(seen.high, seen.low, None), seen.duty) == (pilot.Level.F, 0.0)


@pytest.mark.parametrize("duty", DUTIES)
def test_a_missing_diode_is_seen(duty: float) -> None:
    chance = random.Random(duty)
    for _ in range(TRIES):
        seen = estimate(burst(chance, 5.61, -5.59, duty), SCALE)
        assert pilot.classify(seen.high, seen.low, None) == "C" and not pilot.diode(seen.low)


def test_a_burst_with_one_plateau_says_so() -> None:
    lonely = [3000] * 158 + [265, 265]
    assert estimate(lonely, SCALE).quality is None
    assert estimate([*lonely, 265], SCALE).quality is not None


def test_calibration_takes_the_tolerance_away() -> None:
    wrong = Scale(SCALE.zero + 40, SCALE.step * 1.02)
    mended = Scale.calibrated(wrong.code(12.0), wrong.code(-12.0))
    assert mended.volts(wrong.code(7.4)) == pytest.approx(7.4)
    with pytest.raises(ValueError, match="must rise"):
        Scale.calibrated(300, 3900)


@given(ohms=st.floats(200, 3000), rail=st.floats(11.0, 13.0))
def test_the_supply_does_not_move_the_borders(ohms: float, rail: float) -> None:
    def plateau(supply: float) -> float:
        return 0.7 + (supply - 0.7) * ohms / (ohms + 1000.0)

    assert by_resistance(plateau(rail), rail) == pytest.approx(plateau(12.0), abs=1e-6)


@given(codes=st.lists(st.integers(0, 4095), min_size=6, max_size=300))
def test_whatever_the_adc_says(codes: list[int]) -> None:
    seen = estimate(codes, SCALE)
    assert seen.low <= seen.high and 0.0 <= seen.duty <= 1.0
