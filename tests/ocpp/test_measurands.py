from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.variables import Variables
from chargerd.core.variables_table import MEASURANDS
from chargerd.ocpp.measurands import Sample, lacks, samples, text
from hal.api import MeterKind, MeterReading

FULL = MeterReading(
    at=5.0,
    energy=123456.5,
    power=11040.04,
    amps=(16.04, 15.96, 0.0),
    volts=(230.0, 231.26, 229.5),
    frequency=50.012,
    export=7.5,
)


def said(*wanted: str, reading: MeterReading = FULL, offered: float | None = 16.0, phases: int = 3) -> list[Sample]:
    return samples(reading, wanted, offered, phases)


@pytest.mark.req("1.6 §7.31", "1.6 §7.34", "1.6 §7.45")
@pytest.mark.parametrize(
    ("measurand", "expected"),
    [
        ("Energy.Active.Import.Register", [(None, "123456", "Wh")]),
        ("Energy.Active.Export.Register", [(None, "8", "Wh")]),
        ("Power.Active.Import", [(None, "11040.0", "W")]),
        ("Current.Import", [("L1", "16.0", "A"), ("L2", "16.0", "A"), ("L3", "0.0", "A")]),
        ("Current.Offered", [(None, "16.0", "A")]),
        ("Voltage", [("L1-N", "230.0", "V"), ("L2-N", "231.3", "V"), ("L3-N", "229.5", "V")]),
        ("Frequency", [(None, "50.01", "Hz")]),
    ],
)
def test_each_measurand(measurand: str, expected: list[tuple[str | None, str, str]]) -> None:
    assert said(measurand) == [Sample(measurand, phase, value, unit) for phase, value, unit in expected]


@pytest.mark.req("1.6 §9.1.15", "1.6 §7.34")
def test_one_phase_of_a_measurand_may_be_wanted() -> None:
    assert said("Voltage.L2", "Current.Import.L1") == [
        Sample("Voltage", "L2-N", "231.3", "V"),
        Sample("Current.Import", "L1", "16.0", "A"),
    ]
    assert [s.phase for s in said("Current.Import.L1", "Current.Import")] == ["L1", "L2", "L3"]
    assert said("Current.Import.L2", phases=1) == []


def test_the_order_asked_is_kept() -> None:
    assert [s.measurand for s in said("Frequency", "Power.Active.Import")] == ["Frequency", "Power.Active.Import"]


def test_every_measurand_that_can_be_configured_is_known() -> None:
    assert {sample.measurand for sample in said(*MEASURANDS)} == set(MEASURANDS)


def test_a_single_phase_outlet_tells_one_phase() -> None:
    assert [s.phase for s in said("Current.Import", "Voltage", phases=1)] == ["L1", "L1-N"]


def test_what_the_reading_lacks_is_left_out() -> None:
    bare = MeterReading(at=5.0, energy=3.0)
    assert said(*MEASURANDS, reading=bare, offered=None) == [Sample("Energy.Active.Import.Register", None, "3", "Wh")]


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_left_out(figure: float) -> None:
    broken = MeterReading(at=5.0, energy=figure, power=1.0, amps=(figure, 1.0, figure))
    wanted = ("Energy.Active.Import.Register", "Power.Active.Import", "Current.Import")
    assert [(s.measurand, s.phase) for s in said(*wanted, reading=broken)] == [
        ("Power.Active.Import", None),
        ("Current.Import", "L2"),
    ]


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(0.5, 0, "0"), (1.5, 0, "2"), (2.5, 0, "2"), (-0.04, 1, "0.0"), (-1.25, 1, "-1.2"), (1e21, 0, "1" + "0" * 21)],
)
def test_text(value: float, decimals: int, expected: str) -> None:
    assert text(value, decimals) == expected


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
def test_text_is_plain_and_close(value: float, decimals: int) -> None:
    shown = text(value, decimals)
    assert set(shown) <= set("-0123456789.")
    assert shown.strip("-0.") or not shown.startswith("-")
    assert abs(float(shown) - value) <= 0.5 * 10**-decimals + abs(value) * 1e-12


def test_what_a_meter_cannot_tell_is_said_by_the_key_that_asks_for_it() -> None:
    variables = Variables().with_("sampled_measurands", "Energy.Active.Import.Register,Voltage,Current.Offered")
    bare = MeterKind("a counter", frozenset({"energy"}))
    voltage, currents = lacks(bare, variables)
    assert voltage == "a counter cannot tell Voltage, which MeterValuesSampledData asks for"
    assert currents.startswith("a counter tells no currents")
    assert lacks(MeterKind("everything"), variables) == []
