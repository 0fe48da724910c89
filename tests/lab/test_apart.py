"""The stage of processes: they start, are killed, come back and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chargerd.lab.apart import Apart, Broken, call


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for sockets, which pytest's own is not everywhere."""
    path = Path(tempfile.mkdtemp(prefix="apart-"))
    yield path
    shutil.rmtree(path)


async def until(what: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_processes_come_and_go(directory: Path) -> None:
    stage = Apart(directory, "1.6", None, "none")
    news: list[str] = []
    stage.on_news = lambda body: news.append(body["kind"])
    try:
        await stage.begin()
        await stage.sim("plug", outlet=1)
        await until(lambda: "plug" in news)
        await stage.kill_daemon()
        with pytest.raises(Broken, match="status is not answered"):
            await stage.status()
        await stage.start_daemon()
        assert stage.starts == 2 and not stage.broken.done()
        assert [one["rank"] for one in (await stage.status())["outlets"]] == [1, 2]
        await call(stage.socket, "reset", {"kind": "soft"})
        await until(lambda: stage.starts == 3)
        await until(stage.socket.exists)
        assert await stage.leave() == 0
    finally:
        await stage.end()
    assert running(directory) == []


async def test_a_process_that_ends_by_itself_is_noticed(directory: Path) -> None:
    stage = Apart(directory, "1.6", None, "none")
    try:
        await stage.begin()
        guards = [pid for pid, line in running(directory) if b"chargerd.main\0guard" in line]
        os.kill(guards[0], 9)
        with pytest.raises(Broken, match=r"guard ended with exit status -9: see .*guard\.log"):
            await asyncio.wait_for(stage.broken, 10)
    finally:
        await stage.end()
    assert running(directory) == []


def running(directory: Path) -> list[tuple[int, bytes]]:
    """Processes with this directory on their command line: number and line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # it has just ended
            continue
        if bytes(directory) in line:
            found.append((int(path.parent.name), line))
    return found
