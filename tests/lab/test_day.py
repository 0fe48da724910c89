"""The day at the charger, in virtual time: every row of its table is seen, in both versions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chargerd.lab.csms import Csms
from chargerd.lab.day import Day, Seen, table
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.screen import WIDTH, Screen
from chargerd.lab.together import Together
from chargerd.lab.whole import EPOCH


async def play(state_dir: Path, version: str, lines: list[str]) -> tuple[dict[str, Seen], Csms]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    csms = Csms(clock=lambda: EPOCH + loop.time())
    stage = Together(state_dir, version, csms, None)
    day = Day(stage, Screen(lines.append, lambda: loop.time() - began))
    try:
        await day.play()
    finally:
        await stage.end()
    return day.seen, csms


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_everything_is_seen(tmp_path: Path, version: str) -> None:
    lines: list[str] = []
    seen, csms = run(VirtualLoop(1000.0), play(tmp_path, version, lines))
    assert {name: one for name, one in seen.items() if one.yes is not True} == {}, "\n".join(lines)
    assert csms.books.judge() == [] and csms.violations() == []
    assert max(map(len, [*lines, *table(seen)])) <= WIDTH
