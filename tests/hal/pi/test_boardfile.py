"""Board files: those that ship, and every mistake that must not reach a pin."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hal.api import DeviceError
from hal.pi import boardfile
from hal.tables import Mistake

HERE = Path(__file__).parents[3] / "hardware" / "boards"


@pytest.fixture
def raw() -> dict[str, Any]:
    return tomllib.loads((HERE / "reference-pi4.toml").read_text())


@pytest.mark.parametrize("name", ["reference-pi4", "reference-pi5", "bench"])
def test_those_that_ship(name: str) -> None:
    assert name in boardfile.names()
    assert boardfile.load(name).outlet


def put(raw: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split(".")
    for folder in folders:
        raw = raw[int(folder)] if isinstance(raw, list) else raw[folder]
    if value is None:
        del raw[last]
    else:
        raw[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("outlet.0.pilot.pwmm", 12, r"outlet\[1\]\.pilot\.pwmm: unknown key; did you mean pwm\?"),
        ("outlet.0.pilot.pwm", 16, "hardware PWM on GPIO 12, 18, 13, 19 only"),
        ("outlet.0.pilot.pwm", None, r"pilot\.pwm: is missing"),
        ("outlet.0.pilot.pwm", "12", "a whole number is needed"),
        ("outlet.0.contactor.enable", 5, "high while the machine boots"),
        ("alive", 8, r"taken by adc\.spi"),
        ("outlet.0.contactor.mirror", 24, r"taken by outlet\[1\]\.contactor\.enable"),
        ("outlet.0.contactor.mirror", 14, "taken by reserved"),
        ("outlet.0.contactor.mirror", 40, "GPIO numbers are"),
        ("outlet.0.proximity.channel", 0, r"taken by outlet\[1\]\.pilot\.channel"),
        ("outlet.0.lock", None, "proximity and lock belong together"),
        ("outlet.0.pilot.rail_divider", None, "belong together"),
        ("outlet.0.pilot.codes.b", 3500, "through this divider is 3444"),
        ("outlet.0.pilot.codes.g", 1, "states are"),
        ("outlet.0.pilot.divider.top", 50000, "through this divider"),
        ("outlet.0.pilot.samples", 20, "between 90"),
        ("outlet.0.pilot.calibration", {"high": 3600, "low": 265}, "mend the supply or the divider"),
        ("adc.hertz", 1300000, "at most 1000000"),
        ("adc.chip", "ads1115", "one of mcp3208, mcp3008"),
        ("soc", "bcm9999", "one of bcm2837"),
        ("alive", None, "software_only = true"),
        ("software_only", True, "software_only = true"),
        ("outlet", [], "at least one"),
        ("outlet.0.lock.pulse", 3.0, "between 0.1 and 1"),
    ],
)
def test_a_mistake_is_named(raw: dict[str, Any], path: str, value: Any, words: str) -> None:
    put(raw, path, value)
    with pytest.raises(Mistake, match=words):
        boardfile.parse(raw)


def test_a_divider_beyond_the_adc_is_refused(raw: dict[str, Any]) -> None:
    del raw["outlet"][0]["pilot"]["codes"]
    raw["outlet"][0]["pilot"]["divider"]["top"] = 50_000
    with pytest.raises(ValueError, match="beyond the ADC's range"):
        boardfile.parse(raw)


def test_two_outlets_on_one_pwm_channel_are_refused(raw: dict[str, Any]) -> None:
    pilot = raw["outlet"][0]["pilot"] | {"pwm": 18}
    raw["outlet"].append({"pilot": pilot, "contactor": {"enable": 9, "mirror": 4}})
    with pytest.raises(ValueError, match="the same PWM channel as outlet 1"):
        boardfile.parse(raw)


def test_a_calibration_is_taken(raw: dict[str, Any]) -> None:
    raw["outlet"][0]["pilot"]["calibration"] = {"high": 3920, "low": 250}
    assert boardfile.parse(raw).outlet[0].pilot.calibration is not None


def test_files_by_path_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text((HERE / "bench.toml").read_text())
    assert boardfile.load(str(tmp_path / "mine.toml")).software_only
    (tmp_path / "broken.toml").write_text("name = ")
    for name, words in ((str(tmp_path / "broken.toml"), "broken"), ("nope", "use one of"), ("/none.toml", "cannot be")):
        with pytest.raises(DeviceError, match=words):
            boardfile.load(name)
