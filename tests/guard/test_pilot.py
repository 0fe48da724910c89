from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.guard import pilot
from chargerd.guard.pilot import X1, F, Level


@pytest.mark.req("IEC 61851-1 A.3")
@pytest.mark.parametrize(
    ("amps", "percent"),
    [(6, 10.0), (10, 16.6), (13, 21.6), (16, 26.6), (20, 33.3), (25, 41.6), (32, 53.3), (51, 85.0), (52, 85.0),
     (52.4, 85.0), (52.5, 85.0), (63, 89.2), (80, 96.0), (200, 96.0), (18, 30.0), (31.2, 52.0)],
)  # fmt: skip
def test_duty_of_amps(amps: float, percent: float) -> None:
    assert pilot.duty(amps) == pytest.approx(percent / 100, abs=1e-12)


@pytest.mark.parametrize("amps", [5.999, 0.0, -1.0, nan])
def test_below_six_amps_there_is_no_code(amps: float) -> None:
    assert pilot.duty(amps) is None


@given(st.floats(6, 80))
def test_a_vehicle_never_reads_more_than_was_meant(amps: float) -> None:
    duty = pilot.duty(amps)
    assert duty is not None
    assert 0.1 <= duty <= 0.96
    percent = duty * 100
    assert (0.6 * percent if percent <= 85 else 2.5 * (percent - 64)) <= amps + 1e-9


@pytest.mark.req("IEC 61851-1 A.4")
@pytest.mark.parametrize(
    ("volts", "level"),
    [(12, "A"), (12.6, "A"), (11.4, "A"), (9.56, "B"), (8.36, "B"), (6.49, "C"), (5.48, "C"), (3.25, "D"), (2.62, "D"),
     (0, "E"), (-1, "E"), (-12, "F"), (-11.4, "F"), (13.5, None), (-5, None), (-13.5, None), (7.5, None), (nan, None)],
)  # fmt: skip
def test_levels(volts: float, level: str | None) -> None:
    assert pilot.classify(volts, -13.0 if volts != -13.5 else -14.0, None) == level


def test_hysteresis_keeps_a_neighbour_only() -> None:
    assert pilot.classify(7.7, -12, Level.C) is Level.C
    assert pilot.classify(7.7, -12, Level.B) is Level.B
    assert pilot.classify(7.7, -12, Level.A) is None
    assert pilot.classify(7.76, -12, Level.C) is Level.B
    assert pilot.classify(7.24, -12, Level.B) is Level.C


def test_a_low_above_the_high_is_no_level() -> None:
    assert pilot.classify(-12, 9, None) is None


@given(st.floats(allow_nan=True), st.floats(allow_nan=True), st.sampled_from([None, *Level]))
def test_any_volts_are_classified(high: float, low: float, previous: Level | None) -> None:
    assert pilot.classify(high, low, previous) in (None, *Level)


@pytest.mark.parametrize(
    ("drive", "high", "duty", "wrong"),
    [(0.266, 6, 0.266, False), (0.266, 6, 0.285, False), (0.266, 6, 0.29, True), (0.266, 6, X1, True),
     (0.266, -12, 0.266, True), (X1, 12, X1, False), (X1, -12, F, True), (X1, 9, 0.3, True), (F, -12, F, False),
     (F, 12, X1, True), (0.266, 0, X1, False)],
)  # fmt: skip
def test_mismatch(drive: float, high: float, duty: float, wrong: bool) -> None:
    assert pilot.mismatch(drive, high, -12, duty) is wrong


@pytest.mark.req("IEC 61851-1 A.2.3")
def test_a_loaded_negative_half_wave_is_no_diode() -> None:
    assert [pilot.diode(low) for low in (-12.6, -11.0, -10.9, -5.6)] == [True, True, False, False]


@pytest.mark.req("IEC 61851-1 B.2")
@pytest.mark.parametrize(
    ("ohms", "amps"),
    [(1500, 13), (1100, 13), (2460, 13), (680, 20), (400, 20), (936, 20), (220, 32), (164, 32), (308, 32), (100, 63),
     (80, 63), (140, 63), (inf, None), (4500, None), (79, 0), (150, 0), (350, 0), (1000, 0), (3000, 0), (nan, 0)],
)  # fmt: skip
def test_cable(ohms: float, amps: float | None) -> None:
    assert pilot.cable(ohms) == amps
