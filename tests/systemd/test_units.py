"""What the units and the packaged configuration promise, read as files; how they behave: `tests/system systemd`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chargerd.config import parse
from chargerd.errors import ConfigInvalid
from chargerd.guard import loop

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"


def unit(name: str) -> list[tuple[str, str]]:
    lines = (UNITS / name).read_text().splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines if line[:1].isalpha())]


def configuration(*options: str) -> str:
    script = ROOT / "deploy" / "debian" / "configuration.py"
    return subprocess.run([sys.executable, script, *options], capture_output=True, text=True, check=True).stdout


def test_the_daemon_goes_on_without_a_guard() -> None:
    daemon = unit("chargerd.service")
    assert ("Wants", "chargerd-guard.service") in daemon
    assert not {key for key, _ in daemon} & {"Requires", "BindsTo", "Requisite", "PartOf"}


@pytest.mark.parametrize(("name", "seconds"), [("chargerd.service", "30"), ("chargerd-guard.service", "2")])
def test_both_are_watched_started_again_and_given_up_at_last(name: str, seconds: str) -> None:
    found = unit(name)
    assert {("Type", "notify"), ("NotifyAccess", "main"), ("WatchdogSec", seconds), ("Restart", "always")} <= set(found)
    assert {"StartLimitIntervalSec", "StartLimitBurst", "OnFailure"} <= {key for key, _ in found}


@pytest.mark.parametrize("name", ["chargerd.service", "chargerd-guard.service"])
def test_one_that_hangs_at_each_start_meets_its_start_limit(name: str) -> None:
    found = dict(unit(name))
    minutes, burst = int(found["StartLimitIntervalSec"].removesuffix("min")), int(found["StartLimitBurst"])
    assert burst * (int(found["WatchdogSec"]) + int(found["RestartSec"])) < minutes * 60


def test_only_the_guard_may_be_urgent() -> None:
    guard, daemon = unit("chargerd-guard.service"), unit("chargerd.service")
    assert {("LimitRTPRIO", str(loop.PRIORITY)), ("LimitMEMLOCK", "infinity")} <= set(guard)
    assert ("RestrictRealtime", "yes") in daemon
    assert ("RestrictRealtime", "yes") not in guard


def test_a_charger_as_installed_has_no_board_and_says_so() -> None:
    text = configuration()
    assert "sim:" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, "chargerd.toml")
    (told,) = str(caught.value).splitlines()
    assert "guard.board: is missing" in told
    assert told.index("moniker of what is fitted") < told.index("sim:"), "a simulation is not the remedy"


def test_with_a_board_it_is_whole() -> None:
    config = parse(configuration().replace("#board =", "board ="), "chargerd.toml")
    assert (config.guard.board, config.backend, config.readers) == ("pi:reference-pi4", False, ())


def test_a_simulated_one_stands_in_the_world_of_its_unit() -> None:
    config = parse(configuration("--simulated"), "chargerd.toml")
    assert config.guard.board.removeprefix("sim:") in dict(unit("chargerd-world.service"))["ExecStart"]
