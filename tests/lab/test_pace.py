"""Loops with a time of their own."""

from __future__ import annotations

import asyncio
import time

import pytest

from chargerd.lab.pace import ScaledLoop, VirtualLoop, run


def test_virtual_time_jumps_over_a_day_and_keeps_the_order() -> None:
    seen: list[tuple[str, float]] = []

    async def ticker(name: str, every: float, times: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(times):
            await asyncio.sleep(every)
            seen.append((name, loop.time()))

    async def day() -> None:
        await asyncio.gather(ticker("hour", 3600, 24), ticker("shift", 8 * 3600 + 1, 3))

    began = time.monotonic()
    run(VirtualLoop(1000.0), day())
    assert time.monotonic() - began < 5
    assert len(seen) == 27
    assert [at for _, at in seen] == sorted(at for _, at in seen)
    name, at = seen[-1]
    assert name == "shift" and at == pytest.approx(1000.0 + 3 * (8 * 3600 + 1), abs=1e-6)


def test_virtual_time_never_stands_still_for_a_timer_that_rounding_lets_fire_early() -> None:
    async def late_riser() -> None:
        loop = asyncio.get_running_loop()
        goal = loop.time() + 1e-11  # within the loop's resolution: the timer fires at once
        for _ in range(10):
            await asyncio.sleep(max(1e-12, goal - loop.time()))
        assert loop.time() >= goal

    run(VirtualLoop(1000.0), late_riser())


def test_virtual_timeouts_fire() -> None:
    async def stuck() -> bool:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 3600)
        except TimeoutError:
            return True
        return False

    assert run(VirtualLoop(), stuck())


def test_scaled_time_runs_faster() -> None:
    async def nap() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(10)
        return loop.time() - began

    began = time.monotonic()
    assert run(ScaledLoop(100), nap()) >= 10
    assert time.monotonic() - began < 5
