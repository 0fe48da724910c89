"""Board files: those that ship, and every mistake that must not reach a pin."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.guard import lock
from hal.api import DeviceError
from hal.pi import boardfile, wiring
from hal.tables import Mistake

HERE = Path(__file__).parents[3] / "hardware" / "boards"


@pytest.fixture
def raw() -> dict[str, Any]:
    return tomllib.loads((HERE / "reference-pi4.toml").read_text())


@pytest.mark.parametrize("name", ["reference-pi4", "reference-pi5", "bench"])
def test_those_that_ship(name: str) -> None:
    assert name in boardfile.names()
    assert boardfile.load(name).outlet


@pytest.mark.parametrize("key", ["contactor.enable", "second.enable", "relay.disconnect", "lock.engage"])
def test_no_power_on_the_serial_line_which_the_firmware_holds_high(raw: dict[str, Any], key: str) -> None:
    raw["reserved"] = []
    put(raw, f"outlet.0.{key}", 14)
    with pytest.raises(Mistake, match=rf"{key}: is 14; the firmware's serial line holds it high"):
        boardfile.parse(raw)


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
        ("alive", 23, r"alive: unknown key; known are name, soc"),
        ("outlet.0.pilot.pwm", 16, "hardware PWM on GPIO 12, 18, 13, 19 only, and a software PWM is off by more"),
        ("outlet.0.pilot.pwm", None, r"pilot\.pwm: is missing"),
        ("outlet.0.pilot.pwm", "12", "a whole number is needed"),
        ("outlet.0.contactor.enable", 7, r"taken by adc\.spi \(SPI CE1, which the kernel takes as well\)"),
        ("outlet.0.contactor.enable", 24.0, "a whole number is needed"),
        ("monostable.pin", 8, r"monostable\.pin: is 8; taken by adc\.spi \(SPI CE0\)"),
        ("outlet.0.contactor.mirror", 24, r"is 24; taken by outlet\[1\]\.contactor\.enable \(contactor: coil"),
        ("reserved", [25], r"outlet\[1\]\.second\.enable: is 25; taken by reserved\[1\]"),
        ("outlet.0.contactor.mirror", 14, r"taken by reserved\[1\]"),
        ("outlet.0.contactor.mirror", 40, "GPIO numbers are 2 to 27"),
        ("inputs.shed", 16, r"inputs\.shed: is 16; taken by inputs\.emergency_stop"),
        ("outlet.0.proximity.channel", 0, r"proximity\.channel: is 0; taken by outlet\[1\]\.pilot\.channel"),
        ("cabinet_sensor.channel", 5, r"taken by cabinet_sensor\.channel|taken by outlet\[1\]\.pilot\.rail_low"),
        ("outlet.0.proximity.channel", 8, "between 0 and 7"),
        ("outlet.0.lock", None, "proximity and lock belong together"),
        ("outlet.0.pilot.rail_divider", None, "belong together"),
        ("outlet.0.pilot.codes.b", 3500, r"pilot\.codes\.b: is 3500; \+9 V through this divider is 3444"),
        ("outlet.0.pilot.codes.g", 1, "states are"),
        ("outlet.0.pilot.divider.top", 50000, "through this divider"),
        ("outlet.0.pilot.rail_divider.top", 50000, r"rail_divider: \+12\.6 V before it is beyond the ADC"),
        ("outlet.0.pilot.samples", 20, "between 90"),
        ("outlet.0.pilot.calibration", {"high": 3600, "low": 265}, "mend the supply or the divider"),
        ("outlet.0.plug_sensor.kind", "ptc", "one of ntc, pt1000"),
        (
            "outlet.0.supply",
            {"channels": [6, 6], "ratio": 100},
            r"channels\[2\]: is 6; taken by .*channels\[1\]",
        ),
        ("outlet.0.supply", {"channels": [], "ratio": 100}, "one channel for each phase"),
        ("outlet.0.supply", {"channels": [9], "ratio": 100}, r"channels\[1\]: is 9; choose between 0 and 7"),
        ("adc.hertz", 1300000, "at most 1000000"),
        ("adc.chip", "ads1115", "one of mcp3208, mcp3008"),
        ("adc.spi", "2.0", r"one of 0\.0, 0\.1"),
        ("adc.reference", 24, "between 2 and 5.5"),
        ("soc", "bcm9999", "one of bcm2837"),
        ("monostable", None, "software_only = true"),
        ("software_only", True, "software_only = true"),
        ("monostable.farads", 220e-9, r"monostable\.holds: is 0\.06; with this R and C it may let go after 0\.031 s"),
        ("monostable.ohms", 560000, r"monostable\.releases: is 0\.11; with this R and C it may take 0\.148 s"),
        ("outlet", [], "at least one"),
        ("outlet", {}, "a list is needed"),
        ("outlet.0.lock.pulse", 3.0, "between 0.1 and 1"),
        ("name", 7, "a text is needed"),
    ],
)
def test_a_mistake_is_named(raw: dict[str, Any], path: str, value: Any, words: str) -> None:
    put(raw, path, value)
    with pytest.raises(Mistake, match=words):
        boardfile.parse(raw)


POWERS = ("monostable.pin", *(f"outlet.0.{key}" for key in ("contactor.enable", "second.enable", "relay.disconnect")))
FREED: dict[str, Any] = {"outlet.0.lamp": None, "inputs": {}, "outlet.0.second.mirror": 18}


@pytest.mark.parametrize("pin", [2, 4, 6])
@pytest.mark.parametrize("path", [*POWERS, "outlet.0.lock.engage", "outlet.0.lock.release"])
def test_what_switches_power_is_low_at_boot(raw: dict[str, Any], path: str, pin: int) -> None:
    for key, value in FREED.items():
        put(raw, key, value)
    put(raw, path, pin)
    with pytest.raises(Mistake, match=f"is {pin}; it is high while the machine boots: use GPIO 9 to 27"):
        boardfile.parse(raw)


@pytest.mark.parametrize(
    ("level", "path"),
    [
        ("inputs.emergency_stop_high", "inputs.emergency_stop"),
        ("inputs.pen_fault_high", "inputs.pen_fault"),
        ("inputs.shed_high", "inputs.shed"),
        ("outlet.0.residual.trip_high", "outlet.0.residual.trip"),
        ("outlet.0.contactor.mirror_open_high", "outlet.0.contactor.mirror"),
        ("outlet.0.second.mirror_open_high", "outlet.0.second.mirror"),
        ("outlet.0.lock.engaged_high", "outlet.0.lock.feedback"),
    ],
)
def test_an_input_whose_broken_wire_would_go_unseen(raw: dict[str, Any], level: str, path: str) -> None:
    """GPIO 2 and 3 are pulled up by resistors on the machine."""
    put(raw, "outlet.0.lamp", None)
    put(raw, path, 2)
    safe_high = level.endswith(("mirror_open_high", "engaged_high"))
    put(raw, level, not safe_high)
    boardfile.parse(raw)
    put(raw, level, safe_high)
    with pytest.raises(Mistake, match="is 2; the machine pulls it up, so that a broken wire would go unseen"):
        boardfile.parse(raw)


def test_a_divider_beyond_the_adc_is_refused(raw: dict[str, Any]) -> None:
    del raw["outlet"][0]["pilot"]["codes"]
    raw["outlet"][0]["pilot"]["divider"]["top"] = 50_000
    with pytest.raises(ValueError, match="beyond the ADC's range"):
        boardfile.parse(raw)


def test_two_outlets_on_one_pwm_channel_are_refused(raw: dict[str, Any]) -> None:
    pilot = raw["outlet"][0]["pilot"] | {"pwm": 18}
    raw["outlet"].append({"pilot": pilot, "contactor": {"enable": 9, "mirror": 4}})
    with pytest.raises(ValueError, match="that is the same PWM channel as outlet 1"):
        boardfile.parse(raw)


TWO = """
name = "two fixed cables"
soc = "rp1"

[adc]
chip = "mcp3208"
spi = "0.0"
hertz = 1000000

[monostable]
pin = 23
ohms = 390000
farads = 470e-9
holds = 0.06
releases = 0.11

[inputs]
emergency_stop = 16

[cabinet_sensor]
channel = 7
pull_up = 10000

[[outlet]]
[outlet.pilot]
pwm = 12
channel = 0
divider = { top = 100000, ground = 33000, bias = 24000 }
[outlet.contactor]
enable = 24
mirror = 17

[[outlet]]
[outlet.pilot]
pwm = 13
channel = 1
divider = { top = 100000, ground = 33000, bias = 24000 }
[outlet.contactor]
enable = 25
mirror = 27
"""


def test_two_outlets_share_what_the_board_has_once() -> None:
    board = boardfile.parse(tomllib.loads(TWO))
    assert [outlet.pilot.pwm for outlet in board.outlet] == [12, 13] and board.inputs.emergency_stop == 16
    keys = {use.number: use.key for use in wiring.pins(board)}
    assert (keys[24], keys[25]) == ("outlet[1].contactor.enable", "outlet[2].contactor.enable")
    assert {use.number: use.key for use in wiring.channels(board)}[7] == "cabinet_sensor.channel"


def test_a_mistake_in_the_second_outlet_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(TWO.replace("mirror = 27", "mirror = 17"))
    line = TWO.splitlines().index("mirror = 27") + 1
    with pytest.raises(DeviceError, match=rf"two\.toml:{line}: outlet\[2\]\.contactor\.mirror: is 17; taken by"):
        boardfile.load(str(tmp_path / "two.toml"))


def places(raw: Any, where: str = "") -> list[str]:
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    found = [f"{where}.{key}".removeprefix(".") for key, _ in items]
    return found + [place for key, value in items for place in places(value, f"{where}.{key}".removeprefix("."))]


GOOD = tomllib.loads((HERE / "reference-pi4.toml").read_text())
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just([[{}]])
)


@given(place=st.sampled_from(places(GOOD)), junk=JUNK)
def test_whatever_stands_there_is_taken_or_refused_by_its_key(place: str, junk: Any) -> None:
    raw = deepcopy(GOOD)
    holder, _, last = place.rpartition(".")
    target: Any = raw
    for step in holder.split(".") if holder else ():
        target = target[int(step)] if isinstance(target, list) else target[step]
    target[int(last) if isinstance(target, list) else last] = junk
    try:
        boardfile.parse(raw)
    except Mistake as e:
        assert e.key and str(e).startswith(e.key)


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


def test_a_motor_is_not_turned_round_within_the_longest_pulse_of_a_board() -> None:
    (pulse,) = (one for one in fields(boardfile.LockFile) if one.name == "pulse")
    assert pulse.metadata["high"] <= lock.PULSE < lock.TRY
