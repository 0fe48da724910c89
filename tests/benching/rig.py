"""World, guard and daemon as processes of their own, a CSMS in this one, and clocks at every wire between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from chargerd.lab.csms import Csms
from chargerd.lab.peer import Frame, StationView
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION, configuration
from hal.sim.client import Far

ROOT = Path(__file__).parents[2]
CARD = "04A1B2C3"
PATIENCE = 30.0
LEAVING = 10.0
LOOK = 0.001  # s between two tries at a socket that is not there yet
HURRY = -15
T = TypeVar("T")

SETTINGS = "[ocpp16]\nLocalPreAuthorize = true\nMeterValueSampleInterval = {interval}\n"  # 2.x has other names for it


class Trouble(Exception):
    """Something that is to be measured did not happen; the text says what, and what the processes said."""


class Process:
    """One process; what it writes on standard error goes to memory, so that it costs no disk."""

    def __init__(
        self, name: str, arguments: list[str], notify: Path | None = None, prefix: tuple[str, ...] = ()
    ) -> None:
        """Python with these arguments; `prefix` is a command that starts it."""
        self.name = name
        self._words = os.memfd_create(name)
        self._ready: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._socket = self._listen(notify) if notify is not None else None
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"NOTIFY_SOCKET": str(notify)} if notify else {})
        self.began = time.monotonic()
        self._popen = subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            cwd=ROOT,
        )
        self.pid = self._popen.pid

    def _listen(self, path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.bind(str(path))
        asyncio.get_running_loop().add_reader(listener, self._told, listener)
        return listener

    def _told(self, listener: socket.socket) -> None:
        now = time.monotonic()
        if b"READY=1" in listener.recv(4096).split(b"\n") and not self._ready.done():
            self._ready.set_result(now)

    async def ready(self) -> float:
        """Seconds from the start of the process to its READY."""
        return await within(self._ready, f"READY of the {self.name}") - self.began

    @property
    def words(self) -> str:
        return os.pread(self._words, 1 << 16, 0).decode(errors="replace")

    @property
    def gone(self) -> bool:
        return self._popen.poll() is not None

    async def stop(self) -> None:
        """In order, and by force where that takes too long."""
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._popen.wait, LEAVING)
        self._popen.kill()
        self._popen.wait()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        os.close(self._words)


class Wire:
    """The frames at the CSMS, with the monotonic time at which each was there."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[Frame], bool], asyncio.Future[float]]] = []

    def __call__(self, station: StationView, frame: Frame) -> None:
        now = time.monotonic()
        for what, seen in list(self._waiting):
            if not seen.done() and what(frame):
                seen.set_result(now)
        self._waiting = [(what, seen) for what, seen in self._waiting if not seen.done()]

    def next(self, what: Callable[[Frame], bool]) -> asyncio.Future[float]:
        """When the next frame comes for which `what` is so."""
        seen: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((what, seen))
        return seen


class Rig:
    """A world and a CSMS that stay; guards and daemons come and go. Times in seconds of the monotonic clock."""

    def __init__(self, folder: Path, version: str, csms: Csms, world: Process) -> None:
        self.version, self.csms, self.world = version, csms, world
        self.wire = Wire()
        csms.watchers.append(self.wire)
        self.guard: Process | None = None
        self.daemon: Process | None = None
        self._folder = folder
        self._far = Far(str(folder / "world.sock"))
        self._lives = 0
        self._state = folder
        self.config = folder / "chargerd.toml"

    # ---- processes

    def fresh(self, interval: int = 60) -> None:
        """A new installation: nothing remembered, an empty latch file, samples every `interval` seconds."""
        self._lives += 1
        self._state = self._folder / str(self._lives)
        self._state.mkdir()
        (self._state / "latch").touch()
        site = configuration(
            self._state, self._folder, url=self.csms.url, version=self.version, world=str(self._folder / "world.sock")
        )
        self.config.write_text(site + SETTINGS.format(interval=interval))
        self.csms.stations.pop(STATION, None)

    @property
    def state(self) -> Path:
        """The state directory of the present installation."""
        return self._state

    def start_guard(self) -> Process:
        self.guard = self._start("guard", ["guard"])
        return self.guard

    def start_daemon(self) -> Process:
        self.daemon = self._start("daemon", ["run"])
        return self.daemon

    def _start(self, name: str, command: list[str]) -> Process:
        arguments = ["-m", "chargerd.main", *command, "--config", str(self.config)]
        return Process(name, arguments, self._folder / f"{name}.notify")

    async def stop(self) -> None:
        """Daemon and guard."""
        for process in (self.daemon, self.guard):
            if process is not None:
                await process.stop()
        self.guard = self.daemon = None

    async def close(self) -> None:
        await self.stop()
        await self._far.close()
        await self.world.stop()
        await self.csms.stop()

    @contextlib.asynccontextmanager
    async def charging_station(self, interval: int = 60) -> AsyncIterator[None]:
        """A fresh one with its backend's acceptance, and gone in the end."""
        self.fresh(interval)
        told = self.wire.next(said("StatusNotification"))
        await self.start_guard().ready()
        await self.start_daemon().ready()
        await within(told, "the first StatusNotification")
        await asyncio.sleep(0.5)
        try:
            yield
        finally:
            await self.stop()

    def complaints(self) -> str:
        """What the processes said, and what the CSMS found wrong."""
        parts = [f"{p.name}:\n{p.words}" for p in (self.world, self.guard, self.daemon) if p is not None]
        return "\n".join([*parts, *self.csms.violations()])

    # ---- around the charger

    async def sim(self, method: str, **params: Any) -> Any:
        return await self._far.call(f"sim.{method}", params)

    async def outlet(self) -> dict[str, Any]:
        seen: dict[str, Any] = (await self.sim("state"))["outlets"][0]
        return seen

    async def until(self, name: str, value: object) -> None:
        """Wait until the world's outlet shows it."""
        end = time.monotonic() + PATIENCE
        while (seen := await self.outlet())[name] != value:
            if time.monotonic() > end:
                raise Trouble(f"{name} did not become {value} within {PATIENCE:g} s: {seen}\n{self.complaints()}")
            await asyncio.sleep(0.05)

    async def control(self) -> float:
        """When the daemon has answered `hello` on its control socket."""
        return await asyncio.wait_for(self._hello(), PATIENCE)

    async def _hello(self) -> float:
        while True:
            try:
                await self.ask("hello")
                return time.monotonic()
            except OSError:
                await asyncio.sleep(LOOK)

    async def ask(self, method: str) -> Any:
        """One call on the control socket; OSError where nobody answers."""
        reader, writer = await asyncio.open_unix_connection(str(self._folder / "control.sock"))
        try:
            writer.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise ConnectionResetError("the control socket was closed")
        return json.loads(line)["result"]


@contextlib.asynccontextmanager
async def rig(folder: Path, version: str) -> AsyncIterator[Rig]:
    """A rig in an empty folder on a real disk, whose path must be short enough for sockets."""
    csms = Csms()
    csms.tokens = {CARD: Token()}
    await csms.start()
    world = Process("world", ["-m", "hal.sim.serve", "--socket", str(folder / "world.sock")])
    hurry(world.pid)  # it stands for hardware, which does not wait for a core
    made = Rig(folder, version, csms, world)
    try:
        end = time.monotonic() + PATIENCE
        while not (folder / "world.sock").exists():
            if world.gone or time.monotonic() > end:
                raise Trouble(f"the world did not begin\n{made.complaints()}")
            await asyncio.sleep(LOOK)
        yield made
    finally:
        await made.close()


def said(action: str, **members: object) -> Callable[[Frame], bool]:
    """A CALL of the station with these members."""

    def is_it(frame: Frame) -> bool:
        told = (frame.direction, frame.kind, frame.action) == ("<", "call", action)
        return told and all(frame.payload.get(name) == value for name, value in members.items())

    return is_it


async def within(seen: asyncio.Future[T], what: str) -> T:
    try:
        return await asyncio.wait_for(seen, PATIENCE)
    except TimeoutError:
        raise Trouble(f"{what} did not come within {PATIENCE:g} s") from None


def hurry(pid: int) -> bool:
    """Let a process go first where the cores are busy; False: we may not. Its children start as usual."""
    try:
        os.sched_setscheduler(pid, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, pid, HURRY)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def hogs(count: int, longest: float = 1800.0) -> Iterator[None]:
    """So many processes that do nothing but compute, for `longest` seconds at most."""
    program = f"import time\nend = time.monotonic() + {longest}\nwhile time.monotonic() < end: pass"
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in running:
            hog.kill()
            hog.wait()
