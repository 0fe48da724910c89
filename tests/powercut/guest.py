"""Inside the machine, as its first program: a whole charger in virtual time, whose books are on a real ext4 disk.

It says one line of JSON over the second serial port and waits for one in return: at every commit, before and after,
and for every frame. While it waits nothing happens, so whoever is outside knows all that was promised. World, guard and
the daemon's own assembly are the true ones; only the backend is outside. Drivers come and go until the power does.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import sys
import tempfile
import termios
import tty
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from chargerd.daemon.csms import LinkSettings, LinkState
from chargerd.daemon.database import address
from chargerd.daemon.store import Store
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import Whole
from chargerd.ocpp import schemas
from chargerd.ocpp.versions import VERSIONS, dialect_of

PORT, DISK, MOUNT = "/dev/ttyS1", "/dev/vda", "/mnt"
DATABASE = Path(MOUNT, "chargerd.db")
BALLAST = Path(MOUNT, "ballast")
TABLES = ("state", "outbox", "dead", "session", "boot")
TOKEN = "04A1B2C3"
SETTINGS = "[ocpp16]\nMeterValueSampleInterval = 2\nAllowOfflineTxForUnknownId = true\n"
_BLKFLSBUF, _FINIT_MODULE = 0x1261, 313
_LIBC = ctypes.CDLL(None, use_errno=True)


class Port:
    """The line to the outside. `about` is added to everything that is said; `ballast` in an answer fills the disk."""

    def __init__(self, number: int) -> None:
        self._number, self._waiting = number, b""
        self.about: Callable[[], dict[str, Any]] = dict

    def say(self, **message: Any) -> None:
        line = json.dumps(self.about() | message).encode() + b"\n"
        while line:
            line = line[os.write(self._number, line) :]

    def ask(self, **message: Any) -> Any:
        """Say it and wait for the answer."""
        self.say(**message)
        answer = self.listen()
        if (ballast := answer.get("ballast")) is not None:
            _fill() if ballast else BALLAST.unlink()
        return answer

    def listen(self) -> Any:
        while b"\n" not in self._waiting:
            self._waiting += os.read(self._number, 65536)
        line, _, self._waiting = self._waiting.partition(b"\n")
        return json.loads(line)


class FarLink:
    """A link whose other end is outside: a frame has arrived, and its answer with it, when `send` returns."""

    def __init__(
        self,
        port: Port,
        settings: LinkSettings,
        *,
        on_open: Callable[[str], None],
        on_frame: Callable[[str | bytes], bool],
        on_closed: Callable[[str], None],
        **_: Any,
    ) -> None:
        self._port, self._settings = port, settings
        self._on_open, self._on_frame, self._on_closed = on_open, on_frame, on_closed
        self._task: asyncio.Task[None] | None = None
        self.state = LinkState("off", 0.0)
        self.wanted = True

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def send(self, frame: str) -> bool:
        if self.state.phase != "open":
            return False
        for answer in self._port.ask(frame=frame)["frames"]:
            asyncio.get_running_loop().call_soon(self._on_frame, answer)
        return True

    def configure(self, settings: LinkSettings) -> None:
        self._settings = settings

    def force(self, up: bool) -> None:
        self.wanted = up

    def drop(self, reason: str, cause: str) -> None: ...

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.5)
            endpoint = self._settings.endpoint
            if self.wanted and self.state.phase != "open" and endpoint is not None:
                subprotocol = endpoint.subprotocols[0]
                self._port.ask(open=subprotocol)
                self.state = LinkState("open", loop.time(), subprotocol=subprotocol)
                self._on_open(subprotocol)
            elif not self.wanted and self.state.phase == "open":
                self._port.ask(closed=True)
                self.state = LinkState("waiting", loop.time(), 1, "the backend is away", loop.time() + 0.5)
                self._on_closed("the connection broke")


class _Ear(logging.Handler):
    """What the charger calls an error is one."""

    def __init__(self, port: Port) -> None:
        super().__init__(logging.ERROR)
        self._port = port

    def emit(self, record: logging.LogRecord) -> None:
        self._port.ask(error=self.format(record)[-2000:])


async def drive(order: dict[str, Any], port: Port) -> None:
    """One run of the machine: begin on the disk as it is, and let drivers come; in the end, to rest and to account."""
    loop = asyncio.get_running_loop()
    kept = sqlite3.connect(
        address(DATABASE), uri=True, isolation_level=None
    )  # held open: nothing tidies up behind our back
    port.ask(disk=_look(kept), aside=[name for name in os.listdir(MOUNT) if ".corrupt-" in name])  # noqa: PTH208

    def gate(point: str) -> None:
        port.ask(point=point, **({"disk": _digest(kept)} if point == "after-commit" else {}))

    links: list[FarLink] = []

    def link(settings: LinkSettings, **more: Any) -> FarLink:
        links.append(FarLink(port, settings, **more))
        return links[-1]

    whole = Whole(
        Path(MOUNT),
        version=order["version"],
        settings=SETTINGS,
        link=link,
        seed=order["chance"],  # the saved machine draws the same from its own
        gate=gate,
        boots=order["boot"],
    )
    outlet = whole.world.outlets[0]
    outlet.energy = order["energy"]
    port.about = lambda: {
        "now": loop.time(),
        "energy": outlet.energy,
        "plugged": outlet.car is not None,
        **_storage(whole),
    }
    if order["plugged"]:  # it has waited for the power to come back
        await whole.plug()
    logging.getLogger("chargerd").addHandler(_Ear(port))
    await whole.start()
    await asyncio.sleep(3.0)
    if order["plugged"]:
        await whole.unplug()
        await asyncio.sleep(3.0)
    for number in range(order["cars"]):
        await _car(whole, links[0], offline=number % 3 == 2)
    daemon = whole.daemon
    assert daemon is not None and daemon.charger.conversation is not None
    conversation = daemon.charger.conversation
    await whole.until(lambda: not conversation.outbox.rows(), 60.0)
    await whole.stop()
    port.ask(end=_account())


async def _car(whole: Whole, link: FarLink, offline: bool) -> None:
    """Card, cable, energy; then card or simply gone. Offline, the backend hears of it afterwards."""
    if offline:
        link.force(False)
        await asyncio.sleep(1.0)
    await whole.tap(TOKEN)
    await asyncio.sleep(0.5)
    await whole.plug()
    await asyncio.sleep(9.0)
    if offline:
        await whole.tap(TOKEN)
        await asyncio.sleep(3.0)
        link.force(True)
    await whole.unplug()
    await asyncio.sleep(3.0)


def _storage(whole: Whole) -> dict[str, bool]:
    """Does the charger think that it can store; where not, is the file system read-only? (`statvfs` need not know.)"""
    if whole.daemon is None or whole.daemon.charger.state.storage:
        return {"storage": True}
    try:
        Path(tempfile.mkdtemp(dir=MOUNT)).rmdir()
    except OSError as e:
        return {"storage": False, "readonly": e.errno == errno.EROFS}
    return {"storage": False}


def _look(db: sqlite3.Connection) -> str:
    """What is on the disk, or how it is damaged."""
    try:
        verdict = str(db.execute("PRAGMA integrity_check").fetchone()[0])
        return _digest(db) if verdict == "ok" else f"damaged: {verdict[:200]}"
    except sqlite3.DatabaseError as e:
        return f"damaged: {e}"


def _digest(db: sqlite3.Connection) -> str:
    """Of everything that the store keeps; "" for a file that is still empty."""
    found = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not found:
        return ""
    rows = [db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in TABLES]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def _account() -> dict[str, Any]:
    store = Store.open(DATABASE, inline=True)
    rows = store.load(0.0, 0.0, False).rows
    sessions = [{name: getattr(one, name) for name in one.__slots__ if name != "csms_tx"} for one in store.sessions()]
    return {
        "sessions": sessions,
        "waiting": [f"{row.kind} of {row.tx}" for row in rows],
        "dead": store.dead_count,
    }


# ---- the machine


def _fill() -> None:
    """Not a block is left."""
    number = os.open(BALLAST, os.O_RDWR | os.O_CREAT)
    size, step = 0, 1 << 24
    while step >= 1024:
        try:
            os.posix_fallocate(number, size, step)
            size += step
        except OSError:
            step //= 2
    os.close(number)


class _Careless(sqlite3.Connection):
    """Believes that a disk keeps what it was merely told."""

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *more)


def _mount(source: str, target: str, kind: str, options: str = "") -> None:
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"mount {source} {options}: {os.strerror(ctypes.get_errno())}")


def _prepare() -> int:
    """The least that a machine needs; the number of the open port."""
    _mount("proc", "/proc", "proc")
    _mount("sys", "/sys", "sysfs")
    _mount("dev", "/dev", "devtmpfs")
    console = os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY)
    for number in range(3):
        os.dup2(console, number)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
    for module in sorted(Path("/modules").iterdir()):
        number = os.open(module, os.O_RDONLY)
        if _LIBC.syscall(_FINIT_MODULE, number, b"", 0):
            raise OSError(ctypes.get_errno(), f"{module}: {os.strerror(ctypes.get_errno())}")
        os.close(number)
    port = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    speed = termios.tcgetattr(port)
    speed[4] = speed[5] = termios.B115200
    termios.tcsetattr(port, termios.TCSANOW, speed)
    return port


def main() -> None:
    for version in VERSIONS:  # all that is loaded late, so that the saved machine has it
        dialect_of(version)
        schemas.actions(cast(Any, version))
    if sys.argv[1:] == ["--packages"]:
        tops = {
            name.partition(".")[0]
            for name, module in sys.modules.items()
            if "site-packages" in _file(module) and name[0] != "_"
        }
        files = {Path(_file(sys.modules[top])) for top in tops if top in sys.modules}
        names = {file.parent.name if file.name == "__init__.py" else file.name for file in files if file.name}
        sys.stdout.write(" ".join(sorted(names)))
        return
    port = Port(_prepare())
    port.say(up=True)
    order = port.listen()  # here the machine is saved, and restored for each run
    disk = os.open(DISK, os.O_RDONLY)
    fcntl.ioctl(disk, _BLKFLSBUF)  # what was read of it before was another one
    os.close(disk)
    _mount(DISK, MOUNT, "ext4", order["mount"])
    if order["careless"]:
        sqlite3.connect = partial(sqlite3.connect, factory=_Careless)  # type: ignore[assignment]
    try:
        run(VirtualLoop(order["now"]), drive(order, port))
    except BaseException as e:
        port.ask(error=f"{type(e).__name__}: {e}")
        raise


def _file(module: Any) -> str:
    return getattr(module, "__file__", None) or ""


if __name__ == "__main__":
    main()
