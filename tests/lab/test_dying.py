"""Processes that die again and again: what they leave behind is off, and somebody says why."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chargerd.guard.desk import ALONE
from chargerd.guard.lease import DAEMON_LOST, VALID_DEFAULT, Truth, decode
from chargerd.guard.rules import STOP_PATIENCE
from chargerd.lab.apart import Apart, Broken
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import Whole
from tests.lab.poisoned import POISON

# ---- in virtual time


async def charging(folder: Path) -> Whole:
    whole = Whole(folder, mode="free")
    await whole.start()
    await whole.plug()
    await whole.until(lambda: whole.world.outlets[0].closed)
    return whole


@pytest.mark.parametrize("lives", [0.01, 0.7, 2.0])
def test_a_daemon_that_dies_again_and_again_ends_with_the_outlet_off(tmp_path: Path, lives: float) -> None:
    """Until its supervisor gives up; power is not taken from the car meanwhile, and never given again after."""

    async def scene() -> None:
        whole = await charging(tmp_path)
        outlet = whole.world.outlets[0]
        for _ in range(5):
            await whole.kill_daemon()
            await asyncio.sleep(1.0)
            await whole.start_daemon()
            await asyncio.sleep(lives)
        await whole.kill_daemon()
        assert outlet.closed
        await asyncio.sleep(VALID_DEFAULT + STOP_PATIENCE + 1.0)
        assert not outlet.closed
        await asyncio.sleep(ALONE)
        audit = (await whole.sim("audit"))["outlets"][0]
        assert (audit["closed"], audit["opened"], audit["unsafe"]) == (1, 1, 0)
        assert whole.guard is not None
        [truth] = [word for word in map(decode, whole.guard.observe()) if isinstance(word, Truth)]
        assert (truth.closed, truth.offered, DAEMON_LOST in truth.faults) == (False, 0.0, True)
        whole.kill_guard()

    run(VirtualLoop(), scene())


@pytest.mark.parametrize("seed", range(5))
def test_a_guard_that_dies_again_and_again_ends_with_the_outlet_off(tmp_path: Path, seed: int) -> None:
    async def scene() -> None:
        chance = random.Random(seed)
        whole = await charging(tmp_path)
        outlet, daemon = whole.world.outlets[0], whole.daemon
        assert daemon is not None
        for _ in range(6):
            whole.kill_guard()
            await asyncio.sleep(0.3)
            whole.world.catch_up()
            assert not outlet.closed
            whole.start_guard()
            daemon.guard._transport = whole._guard  # type: ignore[assignment]
            await asyncio.sleep(chance.choice((0.0, 0.1, 3.0, 8.0)))
        whole.kill_guard()
        await asyncio.sleep(5.0)
        audit = (await whole.sim("audit"))["outlets"][0]
        assert (audit["unsafe"], audit["closed"]) == (0, audit["opened"])
        assert "GuardLost" in daemon.charger.state.outlet(1).live.faults
        await whole.stop()

    run(VirtualLoop(), scene())


# ---- as processes


@pytest.fixture
async def stage() -> AsyncIterator[Apart]:
    """Short enough for sockets, which pytest's own directory is not everywhere."""
    directory = Path(tempfile.mkdtemp(prefix="dying-"))
    made = Apart(directory, "1.6", None, "none")
    made.config.write_text(made.config.read_text().replace('mode = "cards"', 'mode = "free"'))
    yield made
    await made.end()
    shutil.rmtree(directory)


async def until(what: Callable[[], Awaitable[bool]], within: float = 25.0) -> None:
    async with asyncio.timeout(within):
        while not await what():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def outlet(stage: Apart) -> dict[str, Any]:
    found: dict[str, Any] = (await stage.sim("state"))["outlets"][0]
    return found


async def draws(stage: Apart) -> bool:
    return bool((await outlet(stage))["watts"] > 0)


async def test_a_poisonous_event_is_set_aside_and_five_end_the_process(stage: Apart) -> None:
    stage.daemon.arguments = ("tests.lab.poisoned", "run", "--config", str(stage.config))
    await stage.begin()
    await stage.sim("plug", outlet=1)
    await until(lambda: draws(stage))
    await stage.sim("tap", uid=f"{POISON}0000")

    async def said() -> bool:
        return {"outlet": 0, "fault": "EventSetAside"} in (await stage.status())["faults"]

    await until(said)
    assert await draws(stage)
    await stage.sim("tap", uid="04A1B2C3")
    for number in range(1, 5):
        assert not stage.broken.done()
        await stage.sim("withdraw")
        await stage.sim("tap", uid=f"{POISON}000{number}")
        await asyncio.sleep(0.3)
    with pytest.raises(Broken, match="daemon ended with exit status 70"):
        await asyncio.wait_for(stage.broken, 15)
    assert await draws(stage), "the lease runs on"
    db = sqlite3.connect(stage.config.parent / "chargerd.db")
    notes = [json.loads(body) for (body,) in db.execute("SELECT body FROM state WHERE key LIKE 'poison/%'")]
    db.close()
    assert len(notes) == 5 and all("TokenSeen" in note["event"] for note in notes)
    assert stage.daemon.log.read_text().count("not digested and set aside") == 5


async def test_without_a_daemon_chargerctl_asks_the_guard(stage: Apart) -> None:
    await stage.begin()
    await stage.sim("plug", outlet=1)
    await until(lambda: draws(stage))
    await stage.kill_daemon()
    told = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "chargerd.cli", "--socket", str(stage.socket), "status"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert told.returncode != 0
    assert "chargerd does not answer" in told.stdout and "journalctl -u chargerd" in told.stdout, told
    assert "limited by chargerd's permit" in told.stdout, told.stdout


async def test_without_a_guard_the_outlet_is_off_and_the_daemon_says_so(stage: Apart) -> None:
    await stage.begin()
    await stage.sim("plug", outlet=1)
    await until(lambda: draws(stage))
    await stage.guard.end(signal.SIGKILL)
    await asyncio.sleep(0.5)
    assert not (await outlet(stage))["contactor"]

    async def said() -> bool:
        return {"outlet": 1, "fault": "GuardLost"} in (await stage.status())["faults"]

    await until(said)
    await stage.sim("tap", uid="04A1B2C3")
    await asyncio.sleep(1.0)
    assert (await outlet(stage))["watts"] == 0
