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


def test_turns_that_change_nothing_are_left_out(tmp_path: Path) -> None:
    """Else every hour in virtual time takes minutes."""

    async def scene() -> None:
        whole = Whole(tmp_path, mode="free")
        await whole.start()
        await whole.plug()
        await whole.until(lambda: whole.world.outlets[0].closed)
        await asyncio.sleep(60.0)
        assert whole.guard is not None
        cycle, turns = whole.guard.cycle, 0

        def counted(now: float) -> None:
            nonlocal turns
            turns += 1
            cycle(now)

        whole.guard.cycle = counted  # type: ignore[method-assign]
        await asyncio.sleep(600.0)
        assert turns < 600 * 50 / 5, turns

    run(VirtualLoop(), scene())
