"""A charger as it is installed: world, guard and daemon as processes of their own, looked at with `chargerctl`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from chargerd.lab.site import configuration
from hal.api import DeviceError
from hal.sim.client import Far

ROOT = Path(__file__).parents[2]
PATIENCE = 25.0
LOOK = 0.1
RIGHTS = "-dac_override,-dac_read_search"  # of root, which a container may also hand down
UNPRIVILEGED = [f"--{kind}={RIGHTS}" for kind in ("ambient-caps", "inh-caps", "bounding-set")]


class Installed:
    """`start` it, break it, look at it. Everything is in `folder`; `close` it in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "chargerd.toml"
        self.parts: dict[str, Any] = {"plateau": 11.9}
        self.memory = False
        """Whether the board is one of memory (`tests.trouble.memory`) and not the simulated world's."""
        self.environment: dict[str, str] = {}
        self.field = 0
        """TCP port before which cards are held, where there is a virtual reader."""
        self.later = contextlib.ExitStack()
        """What is to be undone in the end."""
        self._world = Far(str(folder / "world.sock"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "latch").touch()
        self.settings = configuration(
            folder, folder, url="none", version="1.6", mode="free", world=f"{folder}/world.sock"
        )

    def change(self, old: str, new: str) -> None:
        """Of the configuration, before the start."""
        assert re.search(old, self.settings), old
        self.settings = re.sub(old, new, self.settings)

    def on_memory(self, name: str = "reference-pi4") -> None:
        self.memory = True
        self.change(r'board = ".*"', f'board = "pi:{name}"')

    # ---- processes

    async def start(self) -> None:
        self.config.write_text(self.settings, encoding="utf-8")
        self.put()
        self._run("world", "hal.sim.serve", "--socket", str(self.folder / "world.sock"))
        await until(self._there, "the world")
        place = ["tests.trouble.memory", str(self.folder)] if self.memory else ["chargerd.main"]
        self._run("guard", *place, "guard", "--config", str(self.config))
        self._run("daemon", "chargerd.main", "run", "--config", str(self.config))

    def _run(self, name: str, module: str, *arguments: str) -> None:
        """Modes of files count for the process, though the test may be root's."""
        drop = ["setpriv", *UNPRIVILEGED] if os.geteuid() == 0 and shutil.which("setpriv") else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*drop, sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | self.environment,
                stdout=log,
                stderr=log,
            )

    async def close(self) -> float:
        """How long the slowest took to leave, in seconds."""
        began = time.monotonic()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                await asyncio.to_thread(process.wait, PATIENCE)
            finally:
                process.kill()
        took = time.monotonic() - began
        await self._world.close()
        self.later.close()
        return took

    def left(self, name: str) -> int | None:
        """The exit code of a process that has ended by itself."""
        return self._processes[name].poll()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    # ---- from outside

    async def world(self, method: str, **params: Any) -> Any:
        return await self._world.call(f"sim.{method}", params)

    async def _there(self) -> bool:
        with contextlib.suppress(DeviceError):
            await self.world("state")
            return True
        return False

    def put(self, **parts: Any) -> None:
        """Change the parts of a board of memory."""
        self.parts |= parts
        written = self.folder / "parts.new"
        written.write_text(json.dumps(self.parts))
        written.rename(self.folder / "parts.json")

    async def energised(self) -> bool:
        if self.memory:
            return bool(self._pins()["coil"])
        (outlet,) = (await self.world("state"))["outlets"]
        return bool(outlet["contactor"])

    async def safe(self) -> bool:
        """The contactor is open and the pilot says nothing (X1), or there is no guard that has touched it."""
        if self.memory:
            pins = self._pins()
            return not pins["coil"] and pins["duty"] in (1.0, None)
        (outlet,) = (await self.world("state"))["outlets"]
        return not outlet["contactor"] and outlet["generator"] == "X1"

    def _pins(self) -> dict[str, Any]:
        try:
            pins: dict[str, Any] = json.loads((self.folder / "pins.json").read_text())
        except FileNotFoundError:
            return {"coil": False, "duty": None}
        return pins

    async def chargerctl(self, *arguments: str) -> str:
        """What a technician sees."""
        socket = str(self.folder / "control.sock")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chargerd.cli", "--socket", socket, *arguments,
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return out.decode()

    async def offered(self) -> bool:
        return self._pins()["duty"] not in (1.0, None)

    async def connected(self) -> bool:
        return "connected, link version" in self.log("daemon")

    async def faults(self) -> set[str] | None:
        """Quicker than by `chargerctl`; None: no daemon answers yet."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.folder / "control.sock"))
        except OSError:
            return None
        try:
            writer.write(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n')
            status = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE))["result"]
        finally:
            writer.close()
        return {fault["fault"] for fault in status["faults"]}


async def until(what: Callable[[], Awaitable[bool]], words: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < end, f"not within {seconds} s: {words}"
        await asyncio.sleep(LOOK)
