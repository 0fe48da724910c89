"""What becomes of the codes of slow channels: degrees, ohms, volts of the mains."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.pi import devices
from hal.pi.boardfile import SensorFile, SupplyFile
from hal.pi.devices import Codes

FULL = 4095


def codes(**means: float) -> Codes:
    made = Codes(3.3 / FULL)
    made.take({int(channel[1:]): code for channel, code in means.items()})
    return made


@pytest.mark.parametrize(
    ("degrees", "ohms"), [(-40, 842.71), (0, 1000.0), (25, 1097.35), (100, 1385.06), (130, 1498.3)]
)
def test_platinum_by_the_table_of_its_standard(degrees: float, ohms: float) -> None:
    assert devices.pt1000(ohms) == pytest.approx(degrees, abs=0.1)


@pytest.mark.parametrize("ohms", [0.0, 600.0, 2500.0, 1e9])
def test_what_no_platinum_sensor_has(ohms: float) -> None:
    assert devices.pt1000(ohms) is None


@given(degrees=st.floats(-20, 100))
def test_a_thermistor_and_back(degrees: float) -> None:
    ohms = 10_000 * math.exp(3950 * (1 / (degrees + 273.15) - 1 / 298.15))
    code = ohms / (ohms + 10_000) * FULL
    assert devices.Sensor(SensorFile(channel=2, pull_up=10_000), codes(c2=code)).celsius() == pytest.approx(degrees)


@pytest.mark.parametrize("code", [0, 4, FULL - 20, FULL])
@pytest.mark.parametrize("kind", ["ntc", "pt1000"])
def test_a_sensor_whose_wire_is_broken_or_shorted_is_silent(kind: str, code: int) -> None:
    assert devices.Sensor(SensorFile(channel=2, kind=kind, pull_up=10_000), codes(c2=code)).celsius() is None


def test_the_mains_phase_by_phase() -> None:
    mains = devices.Mains(SupplyFile(channels=(6, 7), ratio=100.0), codes(c6=2854, c7=0))
    assert list(mains.volts()) == pytest.approx([230, 0], abs=0.1)
