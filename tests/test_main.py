"""`chargerd`: what a person is told before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chargerd.config_reference import reference
from chargerd.main import main


def check(tmp_path: Path, text: str) -> int:
    file = tmp_path / "chargerd.toml"
    file.write_text(text, encoding="utf-8")
    return main(["config", "--check", str(file)])


def test_the_reference_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--reference"]) == 0
    assert capsys.readouterr().out == reference()
    assert check(tmp_path, reference()) == 0
    assert capsys.readouterr().out == f"{tmp_path}/chargerd.toml: good\n"


def test_a_mistake_is_told_with_line_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, reference().replace("\namps = 32", "\namsp = 32")) == 78
    told = capsys.readouterr().err.splitlines()
    assert any(line.endswith("outlet[1].amsp: unknown key; did you mean amps?") for line in told)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("modbus:rtu:/dev/ttyUSB0?model=nosuch", "use one of abb-b23"),
        ("modbus:/dev/ttyUSB0?model=abb-b23", "write rtu:<device>"),
        ("serial:/dev/ttyUSB0", "this build has no such backend"),
    ],
)
def test_a_meter_that_run_would_refuse_is_not_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, told: str
) -> None:
    text = reference().replace("sim:/run/chargerd/world.sock?outlet=1", written)
    assert check(tmp_path, text) == 69
    shown = capsys.readouterr()
    assert told in shown.err
    line = next(n for n, line in enumerate(text.splitlines(), 1) if written in line)
    assert shown.err.startswith(f"{tmp_path / 'chargerd.toml'}:{line}: outlet[1].meter: ")
    assert shown.out == ""


def test_a_second_daemon_touches_nothing_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chargerd.toml"
    places = f'state_dir = "{tmp_path}"\nrun_dir = "{tmp_path}"\n[csms]'
    file.write_text(reference().replace("[csms]", places), encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(str(tmp_path / "control.sock"))
        first.listen()
        assert main(["run", "--config", str(file)]) == 73
    told = capsys.readouterr().err
    assert told.endswith("control.sock: control socket: another chargerd serves it; stop it first\n")
    assert not (tmp_path / "chargerd.db").exists()


def test_what_a_meter_cannot_tell_is_said_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moniker = "modbus:rtu:/dev/ttyUSB0?model=eastron-sdm72"
    assert check(tmp_path, reference().replace("sim:/run/chargerd/world.sock?outlet=1", moniker)) == 0
    assert "outlet[1].meter: Eastron SDM72D-M tells no currents" in capsys.readouterr().out


def test_units_of_a_line_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["meters", "probe", "/dev/ttyUSB0", "--units", "0-300"]) == 64
    assert capsys.readouterr().err == "--units 0-300: from 1 to 247, like 1-10\n"
