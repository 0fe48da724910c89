"""The stage as it is in the field: world, guard and daemon as processes of their own, with sockets between them.

Each has a log file in the run directory. Guard and daemon are started again on exit code 64 or 65, as systemd does it;
any other end that was not asked for is kept in `broken`. No child outlives this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from chargerd.lab.child import Child
from chargerd.lab.csms import Csms
from chargerd.lab.site import configuration
from chargerd.lab.stage import OUTLETS, RESTARTS, SETTINGS

READY, PATIENCE = 20.0, 5.0  # s: to start, to answer
LONGEST = 1 << 20


class Broken(Exception):
    """A process ended, or does not answer, when it should; the text says which and where its log is."""


class Apart:
    """`directory` is for sockets, state and logs; `url` of the backend without the station's id."""

    def __init__(self, directory: Path, version: str, csms: Csms | None, url: str) -> None:
        self.csms = csms
        self.on_news: Callable[[Mapping[str, Any]], None] = lambda news: None
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.socket, self.config = directory / "control.sock", directory / "chargerd.toml"
        self._world_socket = directory / "world.sock"
        text = configuration(
            directory, directory, url=url, version=version, outlets=OUTLETS, world=str(self._world_socket)
        )
        self.config.write_text(text + SETTINGS)
        (directory / "latch").touch()  # as the package does it: a missing one counts as latched
        self.world = self._child(
            "world", "hal.sim.serve", "--socket", str(self._world_socket), "--outlets", str(OUTLETS)
        )
        self.guard = self._child("guard", "chargerd.main", "guard", "--config", str(self.config))
        self.daemon = self._child("daemon", "chargerd.main", "run", "--config", str(self.config))
        self._listening: asyncio.Task[None] | None = None
        self._watching = asyncio.Event()

    @property
    def starts(self) -> int:
        return self.daemon.starts

    async def begin(self) -> None:
        await self.begin_world()
        await self.guard.start()
        self._listening = asyncio.create_task(self._listen())
        await self.start_daemon()

    async def begin_world(self) -> None:
        """For what shall be there before guard and daemon are."""
        if not self.world.starts:
            await self.world.start()
            await self._until_world_answers()

    async def sim(self, method: str, **params: Any) -> Any:
        return await call(self._world_socket, f"sim.{method}", params)

    async def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await call(self.socket, "status", {})
        return found

    async def force_link(self, up: bool) -> None:
        await call(self.socket, "link.force", {"up": up})

    async def kill_daemon(self) -> None:
        await self.daemon.end(signal.SIGKILL)

    async def start_daemon(self) -> None:
        self._watching.clear()
        await self.daemon.start()
        watching = asyncio.create_task(self._watching.wait())
        either: set[asyncio.Future[Any]] = {watching, self.broken}
        await asyncio.wait(either, timeout=READY, return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            watching.cancel()
            self._must_be_whole()
            raise Broken(f"no word from the daemon: see {self.config.parent}/daemon.log")

    async def leave(self) -> int:
        return await self.daemon.end(signal.SIGTERM)

    async def end(self) -> None:
        """Nothing is left running."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        for child in (self.daemon, self.guard, self.world):
            await child.end(signal.SIGTERM)
        self.broken.cancel()

    async def _until_world_answers(self) -> None:
        try:
            async with asyncio.timeout(READY):
                while True:
                    try:
                        await self.sim("state")
                        return
                    except Broken:
                        self._must_be_whole()
                        await asyncio.sleep(0.05)
        except TimeoutError:
            raise Broken(f"no word from the world: see {self.config.parent}/world.log") from None

    def _must_be_whole(self) -> None:
        """Raises Broken when a process has ended."""
        if self.broken.done():
            self.broken.result()

    async def _listen(self) -> None:
        """Hear `watch` of every daemon there is, one after another."""
        while True:
            with contextlib.suppress(OSError):
                async with _connection(self.socket) as (reader, writer):
                    writer.write(_line("watch", {}))
                    while line := await reader.readline():
                        body = json.loads(line)
                        if body.get("method") == "event":
                            self.on_news(body["params"])
                        else:
                            self._watching.set()
            self._watching.clear()
            await asyncio.sleep(0.02)

    def _child(self, name: str, *arguments: str) -> Child:
        directory = self.config.parent

        def ended(code: int) -> bool:
            if code not in RESTARTS and not self.broken.done():
                self.broken.set_exception(Broken(f"{name} ended with exit status {code}: see {directory / name}.log"))
            return code in RESTARTS

        return Child(name, directory, arguments, ended)


async def call(path: Path, method: str, params: Mapping[str, Any]) -> Any:
    """One JSON-RPC call on a connection of its own. Raises Broken, also for an error as answer."""
    try:
        async with asyncio.timeout(PATIENCE), _connection(path) as (reader, writer):
            writer.write(_line(method, params))
            line = await reader.readline()
    except (OSError, TimeoutError) as e:
        raise Broken(f"{path}: {method} is not answered: {e or 'in time'}") from None
    if not line:
        raise Broken(f"{path}: {method} is not answered")
    body = json.loads(line)
    if "result" not in body:
        raise Broken(f"{path}: {method}: {body['error']['message']}")
    return body["result"]


def _line(method: str, params: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


@contextlib.asynccontextmanager
async def _connection(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
