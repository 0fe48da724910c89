"""What two measured points say of a channel, and what they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.pi import boardfile
from hal.pi.boardfile import ProximityFile
from hal.pi.calibration import Measured, Unlikely, pilot_point, pull_up
from hal.pi.front import Scale

BOARD = boardfile.load("reference-pi4")
OUTLET = BOARD.outlet[0]
SCALE = Scale.of(OUTLET.pilot.divider.divider(), 4095, 3.3)
PROXIMITY = OUTLET.proximity or ProximityFile(channel=1, pull_up=0.0)


@given(gain=st.floats(0.97, 1.03), shift=st.floats(-20, 20), above=st.floats(11.5, 12.5), below=st.floats(-12.5, -11.5))
def test_whatever_the_divider_is_worth_the_volts_come_out(
    gain: float, shift: float, above: float, below: float
) -> None:
    real = Scale(SCALE.zero + shift, SCALE.step * gain)
    points = (Measured(volts, real.code(volts)) for volts in (above, below))
    made = pilot_point(BOARD, OUTLET, *points)
    mended = Scale.calibrated(made.high, made.low)
    for volts in (-11.9, 0.0, 3.0, 6.0, 9.0, 12.0):
        assert mended.volts(real.code(volts)) == pytest.approx(volts, abs=0.01)


@pytest.mark.parametrize(
    ("above", "below", "told"),
    [
        ((9.0, 3444), (-12.0, 265), r"\+9\.00 V in X1: the driver must give 11\.4 to 12\.6 V"),
        ((12.0, 3898), (12.0, 265), r"\+12\.00 V in F: the driver must give -12\.6 to -11\.4 V"),
        ((12.0, 3898), (-12.0, 3897.5), "does not see the pilot move"),
        ((12.0, 265), (-12.0, 3898), "does not see the pilot move"),
        ((12.0, 3444), (-12.0, 265), r"calibration\.high: 3444 is \+9\.00 V by the resistors.*mend"),
        ((12.0, 3898), (-12.0, 500), r"calibration\.low: 500 is -10\.45 V"),
    ],
)
def test_what_cannot_be_right_of_the_pilot(above: tuple[float, float], below: tuple[float, float], told: str) -> None:
    with pytest.raises(Unlikely, match=told):
        pilot_point(BOARD, OUTLET, Measured(*above), Measured(*below))


def code(ohms: float, pulled: float, volts: float) -> float:
    return ohms / (ohms + pulled) * volts / 3.3 * 4095


@given(pulled=st.floats(950, 1050), volts=st.floats(3.2, 3.4), ohms=st.tuples(st.floats(80, 300), st.floats(600, 3000)))
def test_two_resistors_give_pull_up_and_its_volts(pulled: float, volts: float, ohms: tuple[float, float]) -> None:
    points = [Measured(one, code(one, pulled, volts)) for one in ohms]
    for order in (points, points[::-1]):
        found = pull_up(BOARD, PROXIMITY, *order)
        assert found["pull_up"] == pytest.approx(pulled, rel=1e-3) and found["volts"] == pytest.approx(volts, rel=1e-3)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ((220, 700), (250, 770), "220 and 250 ohms are too alike"),
        ((0, 0), (220, 700), "too alike"),
        ((220, 739), (1500, 742), "do not follow the resistors"),
        ((1500, 739), (220, 2457), "do not follow the resistors"),
        ((220, 1200), (1500, 2457), "board file says"),
        ((220, 739), (680, 2457), "board file says|do not follow"),
    ],
)
def test_what_cannot_be_right_of_resistors(one: tuple[float, float], other: tuple[float, float], told: str) -> None:
    with pytest.raises(Unlikely, match=told):
        pull_up(BOARD, PROXIMITY, Measured(*one), Measured(*other))
