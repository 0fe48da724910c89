"""The day at the charger, in virtual time: every row of its table is seen, and what is missing is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from chargerd.lab.csms import Csms
from chargerd.lab.day import HOME, Day
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.peer import Script
from chargerd.lab.roaming import Token
from chargerd.lab.rows import ROWS, table
from chargerd.lab.screen import WIDTH, Screen
from chargerd.lab.together import Together
from chargerd.lab.whole import EPOCH


def play(
    state_dir: Path,
    version: str,
    prepare: Callable[[Csms], None] = lambda csms: None,
    *,
    foreign: bool = False,
) -> tuple[Day, list[str]]:
    """`foreign`: the backend is there, but the day does not know it for the small CSMS."""
    lines: list[str] = []

    async def whole_day() -> Day:
        loop = asyncio.get_running_loop()
        began = loop.time()
        csms = Csms(clock=lambda: EPOCH + loop.time())
        stage = Together(state_dir, version, csms, None)
        if foreign:
            stage.csms = None
        day = Day(stage, Screen(lines.append, lambda: loop.time() - began))
        prepare(csms)
        try:
            await day.play()
        finally:
            await stage.end()
        return day

    return run(VirtualLoop(1000.0), whole_day()), lines


def verdicts(day: Day, yes: bool | None) -> set[str]:
    return {name for name, one in day.seen.items() if one.yes is yes}


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_everything_is_seen(tmp_path: Path, version: str) -> None:
    day, lines = play(tmp_path, version)
    there = {name for name, row in ROWS.items() if version == "1.6" or not row.old}
    assert verdicts(day, True) == there, "\n".join([*lines, *table(day.seen)])
    assert day.good
    assert max(map(len, [*lines, *table(day.seen)])) <= WIDTH


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_any_backend_is_good_enough_for_what_needs_no_small_csms(tmp_path: Path, version: str) -> None:
    day, _ = play(tmp_path, version, lambda csms: csms.tokens.update({HOME: Token()}), foreign=True)
    assert verdicts(day, None) == {name for name, row in ROWS.items() if row.small}
    assert verdicts(day, True) == {name for name, row in ROWS.items() if not row.small}
    assert day.good


def test_a_backend_that_does_not_want_the_driver_fails_nothing(tmp_path: Path) -> None:
    day, _ = play(tmp_path, "1.6", foreign=True)
    assert verdicts(day, True) == {"boot", "plug", "closed", "safe"}
    assert day.good


def test_what_is_missing_is_seen(tmp_path: Path) -> None:
    day, _ = play(
        tmp_path, "1.6", lambda csms: csms.script("Authorize", Script(error=("InternalError", "")), times=None)
    )
    assert {"card", "start", "energy", "killed"} <= verdicts(day, False)
    assert {"boot", "plug", "closed"} <= verdicts(day, True)
    assert not day.good
