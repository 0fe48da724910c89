from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hal
from hal.api import DeviceError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("opener", [hal.open, hal.open_meter, hal.open_bay, hal.open_reader])
@pytest.mark.parametrize("moniker", ["", "sim", "pie:", "mcu:/dev/ttyACM0", "SIM:/x", "PI:board"])
def test_an_unknown_backend_is_an_error_naming_moniker_and_remedy(opener: Any, moniker: str) -> None:
    with pytest.raises(DeviceError) as failed:
        opener(moniker)
    assert str(failed.value)
    if not moniker.startswith("sim"):
        assert repr(moniker) in str(failed.value) and "no such backend; write one of: sim:" in str(failed.value)


@pytest.mark.parametrize(
    ("opener", "moniker"),
    [
        (hal.open, "sim:/nowhere/world.sock"),
        (hal.open, "modbus:rtu:/dev/null"),
        (hal.open, "pcsc:"),
        (hal.open, "pi:"),
        (hal.open, "pi:no-such-board"),
        (hal.open, "pi:reference-pi4"),  # this machine is no Pi
        (hal.open_meter, "sim:/x.sock"),
        (hal.open_meter, "pcsc:"),
        (hal.open_bay, "sim:/x.sock?outlet=0"),
        (hal.open_reader, "modbus:rtu:/dev/null"),
        (hal.open_reader, "sim:"),
    ],
)
def test_a_missing_device_or_a_wrong_role_is_an_error_never_a_simulation(opener: Any, moniker: str) -> None:
    with pytest.raises(DeviceError):
        opener(moniker)


def test_each_role_opens_its_simulation() -> None:
    assert type(hal.open_meter("sim:/x.sock?outlet=1")).__name__ == "SimMeter"
    assert type(hal.open_bay("sim:/x.sock?outlet=1")).__name__ == "SimBay"
    assert type(hal.open_reader("sim:/x.sock")).__name__ == "SimReader"


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, hal; sys.exit([m for m in sys.modules if m.startswith('hal.') and m != 'hal.api'] or 0)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=20)
    assert ended.stderr.strip() == b"" and ended.returncode == 0


@pytest.mark.parametrize("module", ["modbus.meter:open_meter", "pcsc.reader:open_reader"])
def test_real_backends_get_the_rest_of_the_moniker(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    name, function = module.split(":")
    scheme = name.partition(".")[0]
    got: list[str] = []
    fake: Any = type(sys)(f"hal.{name}")
    setattr(fake, function, got.append)
    monkeypatch.setitem(sys.modules, f"hal.{name}", fake)
    opener: Any = getattr(hal, function)
    opener(f"{scheme}:rtu:/dev/ttyUSB0?model=x")
    assert got == ["rtu:/dev/ttyUSB0?model=x"]
