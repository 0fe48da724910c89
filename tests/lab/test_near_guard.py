"""The guard without a process: what its death means to the world."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import Whole


def test_a_guard_killed_before_its_first_turn_brings_no_other_back_to_life(tmp_path: Path) -> None:
    """The hardware has given the one before it up; its last word must not count again."""

    async def scene() -> None:
        whole = Whole(tmp_path, mode="free")
        await whole.start()
        await whole.plug()
        outlet = whole.world.outlets[0]
        await whole.until(lambda: outlet.closed)
        await whole.kill_daemon()
        whole.kill_guard()
        await asyncio.sleep(1.0)
        whole.start_guard()
        whole.kill_guard()
        await asyncio.sleep(1.0)
        audit = (await whole.sim("audit"))["outlets"][0]
        assert (audit["closed"], audit["opened"], audit["unsafe"]) == (1, 1, 0)

    run(VirtualLoop(), scene())
