"""Guard and daemon of neighbouring link versions, as real processes: one serves the other until it can be replaced."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from chargerd.lab.apart import Apart


@pytest.fixture
async def stage() -> AsyncIterator[Apart]:
    """Short enough for sockets, which pytest's own directory is not everywhere; nothing is started yet."""
    directory = Path(tempfile.mkdtemp(prefix="next-"))
    made = Apart(directory, "1.6", None, "none")
    text = made.config.read_text()
    made.config.write_text(text.replace('mode = "cards"', 'mode = "free"'))
    yield made
    await made.end()
    shutil.rmtree(directory)


def of_version(stage: Apart, guard: int, daemon: int) -> None:
    config = ("--config", str(stage.config))
    stage.guard.arguments = ("tests.guard.neighbour", str(guard), "guard", *config)
    stage.daemon.arguments = ("tests.guard.neighbour", str(daemon), "run", *config)


async def until(what: Callable[[], Awaitable[bool]], within: float = 25.0) -> None:
    async with asyncio.timeout(within):
        while not await what():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def draws(stage: Apart) -> bool:
    return bool((await stage.sim("state"))["outlets"][0]["watts"] > 0)


async def connected(stage: Apart) -> bool:
    return bool((await stage.status())["guard"]["connected"])


async def test_an_old_guard_serves_until_no_vehicle_is_connected(stage: Apart) -> None:
    of_version(stage, guard=1, daemon=2)
    await stage.begin_world()
    await stage.sim("plug", outlet=1)  # before guard and daemon: an upgrade in the middle of a visit
    await stage.begin()
    await until(lambda: draws(stage))
    assert stage.guard.starts == 1
    of_version(stage, guard=2, daemon=2)  # what is installed now
    await stage.sim("unplug", outlet=1)
    await until(lambda: asyncio.sleep(0, stage.guard.starts == 2))
    await until(lambda: connected(stage))
    await stage.sim("plug", outlet=1)
    await until(lambda: draws(stage))
    assert stage.guard.starts == 2 and stage.daemon.starts == 1


async def test_an_old_guard_with_no_newer_one_is_asked_only_once(stage: Apart) -> None:
    of_version(stage, guard=1, daemon=2)
    await stage.begin()
    await until(lambda: asyncio.sleep(0, stage.guard.starts == 2))
    await until(lambda: connected(stage))
    await stage.sim("plug", outlet=1)
    await until(lambda: draws(stage))
    await stage.sim("unplug", outlet=1)
    await asyncio.sleep(2.0)
    assert stage.guard.starts == 2


async def test_a_new_guard_serves_an_old_daemon(stage: Apart) -> None:
    of_version(stage, guard=2, daemon=1)
    await stage.begin()
    await stage.sim("plug", outlet=1)
    await until(lambda: draws(stage))
    assert stage.guard.starts == 1


@pytest.mark.parametrize(("guard", "daemon"), [(1, 3), (3, 1)])
async def test_versions_further_apart_share_no_lease(stage: Apart, guard: int, daemon: int) -> None:
    of_version(stage, guard, daemon)
    await stage.begin()
    await stage.sim("plug", outlet=1)

    async def said() -> bool:
        return {"outlet": 0, "fault": "GuardMismatch"} in (await stage.status())["faults"]

    await until(said)
    await asyncio.sleep(2.0)
    [outlet, _] = (await stage.sim("state"))["outlets"]
    assert not outlet["contactor"] and outlet["generator"] == "X1"
    of_version(stage, daemon, daemon)
    await stage.guard.end(signal.SIGTERM)
    await stage.guard.start()
    await until(lambda: draws(stage))
    assert not await said()
