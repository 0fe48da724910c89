"""`chargerd board`: a technician at a board of memory, whose parts are not quite what its file says."""

from __future__ import annotations

import io
import os
import re
import socket
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chargerd import board as command
from chargerd.board import Bench, Hands, Stopped
from chargerd.config import load
from chargerd.main import main
from hal.pi import boardfile
from hal.pi.board import front
from hal.pi.boardfile import Point
from hal.pi.calibration import Unlikely
from hal.pi.front import Scale
from tests.hal.pi.test_board import Bench as Parts
from tests.hal.pi.test_board import made

FILE = boardfile.load("reference-pi4")


class Technician:
    """Answers each question by doing something to the parts and saying a number."""

    def __init__(self, deeds: list[tuple[Callable[[Parts], Any], str]]) -> None:
        self.board, self.parts = made()
        self._deeds = iter(deeds)
        self._line: str | None = None
        self.heard: list[str] = []
        self.bench = Bench(FILE, self.board, Hands(self.heard.append, self._ask, self._answer), self._now, self._pass)

    def _now(self) -> float:
        return self.parts.now

    def _pass(self, seconds: float) -> None:
        self.parts.now += seconds

    def _ask(self, question: str) -> None:
        self.heard.append(question)
        deed, self._line = next(self._deeds)
        deed(self.parts)

    def _answer(self) -> str | None:
        line, self._line = self._line, None
        return line


def nothing(parts: Parts) -> None: ...


def test_a_calibration_makes_the_readings_right() -> None:
    technician = Technician([(nothing, "11,91\n"), (nothing, "-11.88\n")])
    parts = technician.parts
    nominal = parts.scale
    parts.scale = Scale(nominal.zero + 15, nominal.step * 1.01)
    parts.plateau, parts.low = 11.91, -11.88
    lines = technician.bench.calibrate("pilot", 1)
    assert lines[0] == "[outlet.pilot.calibration]"
    point = Point(**tomllib.loads("\n".join(lines[1:])))
    (outlet,) = FILE.outlet
    mended = replace(FILE, outlet=(replace(outlet, pilot=replace(outlet.pilot, calibration=point)),))
    for volts in (8.92, 5.96, 2.92):
        code = parts.scale.code(volts)
        assert front(mended, mended.outlet[0]).pilot.volts(code) == pytest.approx(volts, abs=0.02)
    assert abs(front(FILE, outlet).pilot.volts(parts.scale.code(2.92)) - 2.92) > 0.05
    boardfile.check_calibration(point, nominal, "")


def test_the_monostable_is_kept_alive_and_the_contactor_open() -> None:
    technician = Technician([(nothing, "12\n"), (nothing, "-12\n")])
    technician.bench.calibrate("pilot", 1)
    history = technician.parts.history
    edges = [at for at, pin, _ in history if pin == 23]
    assert max(after - before for before, after in pairwise(edges)) < 0.021 and len(edges) > 100
    assert not [1 for _, pin, on in history if pin in (24, 25, 19, 20) and on]
    assert technician.parts.generators[0].duty == 1.0


def put(ohms: float) -> Callable[[Parts], None]:
    def deed(parts: Parts) -> None:
        parts.ohms = ohms

    return deed


def test_proximity_by_two_resistors() -> None:
    technician = Technician([(put(220.0), "218.9\n"), (put(1500.0), "nonsense\n"), (nothing, "1492.5\n")])
    lines = technician.bench.calibrate("proximity", 1)
    assert lines[0] == "[outlet.proximity]" and tomllib.loads("\n".join(lines[1:])) == {
        "pull_up": pytest.approx(995, abs=2),
        "volts": pytest.approx(3.3, abs=0.005),
    }
    assert any("'nonsense' is no number" in line for line in technician.heard)


def vehicle(parts: Parts) -> None:
    parts.plateau = 8.92


def shaking(parts: Parts) -> None:
    """A contact that comes and goes."""
    turns = iter(range(10**6))
    real = parts.sample

    def sample() -> list[int]:
        parts.ohms = 220.0 if next(turns) % 7 else 240.0
        return real()

    parts.sample = sample  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("channel", "rank", "before", "deeds", "error", "told"),
    [
        ("pilot", 1, vehicle, [], Stopped, r"reads \+[89]\.\d V in X1: unplug what is there"),
        ("pilot", 2, nothing, [], Stopped, "the board has 1"),
        ("pilot", 1, nothing, [(nothing, "")], Stopped, "nothing was changed"),
        ("pilot", 1, nothing, [(nothing, "6\n"), (nothing, "-12\n")], Unlikely, "must give 11.4 to 12.6 V"),
        ("pilot", 1, nothing, [(nothing, "12\n"), (nothing, "12\n")], Unlikely, "in F"),
        ("proximity", 1, nothing, [(put(220.0), "220\n"), (nothing, "680\n")], Unlikely, "do not follow"),
        (
            "proximity",
            1,
            nothing,
            [(put(220.0), "250\n"), (put(1500.0), "1500\n")],
            Unlikely,
            "check the two resistors",
        ),
        ("proximity", 1, nothing, [(shaking, "220\n")], Stopped, "moves by .* codes: hold the contacts still"),
    ],
)
def test_nonsense_is_refused(
    channel: str, rank: int, before: Callable[[Parts], None], deeds: list[Any], error: type[Exception], told: str
) -> None:
    technician = Technician(deeds)
    before(technician.parts)
    with pytest.raises(error, match=told):
        technician.bench.calibrate(channel, rank)


def test_a_channel_that_is_not_fitted() -> None:
    technician = Technician([])
    bare = replace(FILE, cabinet_sensor=None)
    bench = Bench(bare, technician.board, Hands(print, print, lambda: None), lambda: 0.0, lambda seconds: None)
    with pytest.raises(Stopped, match="this board has no cabinet-sensor"):
        bench.calibrate("cabinet-sensor", 1)


def test_every_input_in_words() -> None:
    technician = Technician([])
    technician.parts.ohms = 220.0
    technician.parts.levels[16] = True
    technician.bench.watch(2.5)
    assert len(technician.heard) == 3
    first, *rest = technician.heard[0].splitlines()
    assert all(len(line) <= 100 for line in (first, *rest))
    second = " ".join(map(str.strip, rest))
    assert first.startswith(("outlet 1  pilot +11.9", "outlet 1  pilot +12.0"))
    for words in (
        "rails +12.00 V and -12.00 V",
        "proximity 220 ohm",
        "contactor open",
        "emergency stop pressed",
        "PEN good",
        "cabinet 25.0 °C",
    ):
        assert words in second


# ---- at the command line


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    text = Path("deploy/chargerd.toml").read_text()
    text = text.replace('board = "sim:/run/chargerd/world.sock"', 'board = "pi:reference-pi4"')
    file = tmp_path / "chargerd.toml"
    file.write_text(text.replace("[station]\n", f'[station]\nrun_dir = "{tmp_path}"\n'))
    yield file


def test_it_never_fights_a_running_guard(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(config, secrets=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
        guard.bind(str(loaded.guard_socket))
        guard.listen()
        assert main(["board", "calibrate", "pilot", "--config", str(config)]) == os.EX_UNAVAILABLE
    assert "stop it first: systemctl stop chargerd-guard" in capsys.readouterr().err


def test_without_a_pi_it_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", "inputs", "--config", str(config)]) == os.EX_UNAVAILABLE
    assert "no Raspberry Pi" in capsys.readouterr().err


def test_a_simulated_board_has_nothing_to_calibrate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", "inputs", "--config", "deploy/chargerd.toml"]) == os.EX_UNAVAILABLE
    assert "this is for boards pi:" in capsys.readouterr().err


def test_a_whole_calibration_at_a_terminal(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board, parts = made()
    parts.plateau, parts.low = 11.9, -11.9
    monkeypatch.setattr(command, "open_board", lambda name: board)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    read, write = os.pipe()
    os.write(write, b"11.9\n-11.9\n")
    os.close(write)
    with io.TextIOWrapper(io.FileIO(read)) as answers:
        monkeypatch.setattr("sys.stdin", answers)
        assert main(["board", "calibrate", "pilot", "--config", str(config)]) == 0
    told = capsys.readouterr().out
    assert "[outlet.pilot.calibration]\nhigh = " in told and "For the board file, instead" in told
    assert 24 in parts.closed


def test_show_draws_the_wiring_or_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", "show", "bench"]) == 0
    told = capsys.readouterr().out
    assert "| 18         | 24   | contactor: coil enable" in told and "For the bench only" in told
    text = Path("hardware/boards/bench.toml").read_text().replace("enable = 24", "enable = 5")
    (tmp_path / "mine.toml").write_text(text)
    assert main(["board", "show", str(tmp_path / "mine.toml")]) == os.EX_UNAVAILABLE
    line = text.splitlines().index("enable = 5") + 1
    assert f"mine.toml:{line}: outlet[1].contactor.enable: is 5; it is high" in capsys.readouterr().err


def test_config_check_reads_the_board_file_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("pi:reference-pi4", "pi:reference-pi6"))
    assert main(["config", "--check", str(config)]) == os.EX_UNAVAILABLE
    assert "guard.board: board 'reference-pi6' is not known: use one of bench" in capsys.readouterr().err


def test_config_check_says_what_the_board_lacks(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "poor.toml"
    text = Path("hardware/boards/reference-pi4.toml").read_text()
    board.write_text(re.sub(r"\[outlet\.(residual|lock|proximity|relay)\][^\[]*", "", text))
    wanted = config.read_text().replace("pi:reference-pi4", f"pi:{board}")
    config.write_text(wanted.replace("[[outlet]]", '[[outlet]]\nwake_up = "disconnect"'))
    assert main(["config", "--check", str(config)]) == os.EX_UNAVAILABLE
    told = capsys.readouterr().err
    assert "guard.board: outlet 1: a socket needs proximity and lock; set tethered = true" in told
    assert "no residual-current monitor; set residual = false" in told and "set wake_up to auto" in told
    config.write_text(wanted.replace("[[outlet]]", "[[outlet]]\nevse = 2\namps = 16\ntethered = true\n\n[[outlet]]", 1))
    assert main(["config", "--check", str(config)]) == os.EX_UNAVAILABLE
    assert "guard.board: the board has 1 outlets, 2 are configured" in capsys.readouterr().err
