"""Bad disks under a whole charger: full, failing, stalling, damaged. What charges goes on, stops act at once, and what
was to be written is written when the disk takes it again."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chargerd.config import Config
from chargerd.daemon.database import StoreFailed
from chargerd.daemon.store import opens
from chargerd.lab.csms import Csms
from chargerd.lab.pace import ScaledLoop, VirtualLoop, run
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION
from chargerd.lab.whole import EPOCH, Whole
from hal.api import DeviceError
from tests.crashing.judge import gather, judge_books

CARD, OTHER = "04A1B2C3", "04D4E5F6"
VERSIONS = ("1.6", "2.0.1", "2.1")
LEASE = 60.0
CLONE_NEWNS = 0x20000
SETTINGS = """
[ocpp16]
MeterValueSampleInterval = 10
AllowOfflineTxForUnknownId = true
[ocpp2]
"SampledDataCtrlr.TxUpdatedInterval" = 10
"AuthCtrlr.OfflineTxForUnknownIdEnabled" = true
"""


class Scene:
    """Two outlets, a backend, and a disk that the test holds in its hand."""

    def __init__(self, folder: Path, version: str, inline: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.csms = Csms(clock=lambda: EPOCH + loop.time())
        self.csms.tokens = {CARD: Token(), OTHER: Token()}
        self.gate: Callable[[str], None] = lambda point: None
        self.folder = folder
        self.whole = Whole(
            folder,
            csms=self.csms,
            version=version,
            outlets=2,
            settings=SETTINGS,
            inline=inline,
            gate=lambda point: self.gate(point),
            watchdog=0.15 if inline else math.inf,
        )

    async def begin(self) -> None:
        await self.whole.start()
        await self.whole.until(lambda: any(v.registration == "Accepted" for v in self.csms.stations.values()))
        await asyncio.sleep(5.0)

    async def charge(self, outlet: int = 1, card: str = CARD) -> None:
        await self.whole.plug(outlet, ramp=100.0)
        await asyncio.sleep(1.0)
        await self.whole.tap(card)
        await asyncio.sleep(5.0)

    @property
    def faults(self) -> frozenset[str]:
        assert self.whole.daemon is not None
        return self.whole.daemon.charger.state.faults

    def closed(self, outlet: int = 1) -> bool:
        assert self.whole.guard is not None
        return self.whole.world.outlets[outlet - 1].closed

    async def leave(self) -> None:
        for outlet in (1, 2):
            with contextlib.suppress(DeviceError):  # nothing is plugged in there
                await self.whole.unplug(outlet)
        await asyncio.sleep(30.0)

    async def books(self) -> list[str]:
        """In the end everything is told and written, once."""
        state = await self.whole.sim("state")
        await self.whole.stop()
        return judge_books(gather(self.csms, state, {"outlets": []}, self.folder / "chargerd.db"))


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    run(VirtualLoop(1000.0), scene())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 kB, in a mount namespace of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip("a file system of its own needs root and mount namespaces")
    folder = tmp_path / "disk"
    folder.mkdir()
    quiet = {"capture_output": True, "text": True}
    subprocess.run(["mount", "--make-rprivate", "/"], check=False, **quiet)  # type: ignore[call-overload]
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder], **quiet)  # type: ignore[call-overload]
    if made.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


def contents(folder: Path) -> list[bytes]:
    return [content for file in folder.glob("chargerd.db*") if (content := file.read_bytes())]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_disk(small_disk: Path, version: str) -> None:
    async def scene() -> None:
        one = Scene(small_disk, version)
        await one.begin()
        await one.charge()
        assert one.closed()
        ballast = fill(small_disk)
        await one.whole.until(lambda: "StorageFailure" in one.faults, 3600.0)
        await asyncio.sleep(120.0)
        assert one.closed(), "what charges goes on"
        await one.charge(2, OTHER)
        assert not one.closed(2), "nothing begins"
        await one.whole.tap(CARD)
        await asyncio.sleep(3.0)
        assert not one.closed(), "a stop needs no disk"
        ballast.unlink()
        await one.whole.until(lambda: "StorageFailure" not in one.faults, 30.0)
        await one.whole.unplug(2)
        await asyncio.sleep(10.0)
        await one.charge(2, OTHER)
        assert one.closed(2)
        await one.leave()
        assert len(one.csms.books.sessions) == 2
        assert await one.books() == []

    play(scene)


@pytest.mark.req("1.6 §5.14", "B12.FR.01", "B12.FR.02", "B12.FR.03")
@pytest.mark.parametrize(
    ("version", "hard", "leaves"),
    [("1.6", False, True), ("1.6", True, False), ("2.0.1", False, False), ("2.1", True, False)],
)
def test_a_reset_while_the_disk_is_full(small_disk: Path, version: str, hard: bool, leaves: bool) -> None:
    """It is what may help, so it is done: within a minute, and what had begun before has its end in the books after."""

    async def scene() -> None:
        one = Scene(small_disk, version)
        await one.begin()
        await one.charge()
        assert one.closed() and one.whole.daemon is not None
        ballast = fill(small_disk)
        await one.whole.until(lambda: "StorageFailure" in one.faults, 3600.0)
        if leaves:  # which is in memory only
            await one.whole.unplug(1)
            await asyncio.sleep(10.0)
        waits = version != "1.6" and not hard and not leaves
        assert await one.csms.desk(STATION).reset(hard=hard) == ("Scheduled" if waits else "Accepted")
        if waits:
            await asyncio.sleep(300.0)
            assert one.closed() and not one.whole.daemon.exit.done(), "on idle is when the driver has gone"
            await one.whole.unplug(1)
        code = await asyncio.wait_for(one.whole.daemon.exit, 60.0)
        assert code == (65 if hard and version == "1.6" else 64)
        assert not one.closed()
        await one.whole.stop_daemon()
        with contextlib.suppress(StoreFailed):  # then a service waits with its outlets off (`daemon.invalid`)
            await one.whole.start_daemon()
            await asyncio.sleep(30.0)
            assert one.faults == {"StorageFailure"}
            await one.whole.stop_daemon()
        ballast.unlink()
        await one.whole.start_daemon()
        await asyncio.sleep(30.0)
        assert one.faults == frozenset()
        await one.leave()
        await one.charge(2, OTHER)
        assert one.closed(2)
        await one.leave()
        assert [each.open for each in one.csms.books.sessions] == [False, False]
        assert await one.books() == []

    play(scene)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("error", ["disk I/O error", "attempt to write a readonly database"])
def test_a_disk_that_takes_nothing(tmp_path: Path, version: str, error: str) -> None:
    async def scene() -> None:
        one = Scene(tmp_path, version)
        broken = False

        def gate(point: str) -> None:
            if broken and point == "before-commit":
                raise sqlite3.OperationalError(error)

        one.gate = gate
        await one.begin()
        await one.charge()
        broken = True
        await one.whole.unplug(1)
        await asyncio.sleep(5.0)
        assert not one.closed() and "StorageFailure" in one.faults
        ended = [each for each in one.csms.books.sessions if not each.open]
        assert ended == [], "an end that is not on the disk is not told"
        broken = False
        await one.leave()
        assert [each.open for each in one.csms.books.sessions] == [False]
        assert await one.books() == []

    play(scene)


def test_a_disk_that_stalls(tmp_path: Path) -> None:
    """Leases are renewed and stops act while a commit hangs; what rises waits. In scaled time, for the thread."""

    async def scene() -> None:
        one = Scene(tmp_path, "1.6", inline=False)
        moving = threading.Event()
        moving.set()

        def gate(point: str) -> None:
            if point == "before-commit":
                moving.wait(60.0)

        one.gate = gate
        await one.begin()
        await one.charge()
        await one.whole.until(one.closed)
        moving.clear()
        await one.charge(2, OTHER)
        assert not one.closed(2), "a permit that rises waits for the disk"
        await asyncio.sleep(LEASE * 1.5)
        assert one.closed(), "its lease is renewed"
        await one.whole.tap(CARD)
        await asyncio.sleep(3.0)
        assert not one.closed(), "a stop does not wait"
        moving.set()
        await one.whole.until(lambda: one.closed(2), 30.0)
        await one.leave()
        assert await one.books() == []

    run(ScaledLoop(8.0), scene())


@pytest.mark.parametrize("policy", ["charge", "wait"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_damaged_database(tmp_path: Path, version: str, policy: str) -> None:
    """Found at the start after a crash: what can be read of it is told, the rest is a fault with a remedy."""

    async def scene() -> None:
        one = Scene(tmp_path, version)
        one.whole.config = _with(one.whole.config, policy)
        await one.begin()
        await one.csms.away()
        await one.charge()
        await one.leave()
        await one.whole.kill_daemon()
        damage(tmp_path / "chargerd.db")
        await one.whole.start_daemon()
        await asyncio.sleep(2.0)
        assert "HistoryLost" in one.faults
        await one.csms.back()
        await asyncio.sleep(30.0)
        (told,) = one.csms.books.sessions
        assert not told.open and one.csms.books.judge() == [] and one.csms.violations() == []
        await one.charge()
        assert one.closed() is (policy == "charge")
        assert one.whole.daemon is not None
        one.whole.daemon.operator._clear_own("HistoryLost", "test")
        await one.leave()
        await one.charge(2, OTHER)
        assert one.closed(2)
        await one.whole.stop()

    play(scene)


@pytest.mark.parametrize(
    ("why", "remedy"), [("full", "free space on this file system"), ("read-only", "make the file and its directory")]
)
def test_a_damaged_database_on_a_disk_that_takes_nothing(small_disk: Path, why: str, remedy: str) -> None:
    """It is not set aside before it can be saved; each start says why; then it is known that something is lost."""

    async def scene() -> None:
        one = Scene(small_disk, "2.0.1")
        await one.begin()
        await one.csms.away()
        await one.charge()
        await one.leave()
        await one.whole.stop_daemon()
        database = small_disk / "chargerd.db"
        damage(database)
        content = database.read_bytes()
        ballast = fill(small_disk)
        if why == "read-only":
            remount(small_disk, "ro")
        for _ in range(3):
            with pytest.raises(StoreFailed, match=remedy):
                await one.whole.start_daemon()
            assert not opens(database)
        kept = contents(small_disk)
        assert content in kept and sum(map(len, kept)) < 2 * len(content), "nothing piles up"
        if why == "read-only":
            remount(small_disk, "rw")
        ballast.unlink()
        assert opens(database), "as the one that waits for it looks"
        await one.whole.start_daemon()
        await asyncio.sleep(2.0)
        assert "HistoryLost" in one.faults
        await one.csms.back()
        await asyncio.sleep(30.0)
        (told,) = one.csms.books.sessions
        assert not told.open and one.csms.books.judge() == [] and one.csms.violations() == []
        await one.charge()
        assert one.closed()
        await one.leave()
        await one.whole.stop()

    play(scene)


class CutHere(Exception):
    """Nothing is written after this."""


def test_that_something_is_lost_is_known_whenever_the_first_start_is_cut_off(tmp_path: Path) -> None:
    async def scene() -> None:
        one = Scene(tmp_path, "2.0.1")
        await one.begin()
        cuts, reached = 0, True
        while reached:
            await one.whole.stop_daemon()
            await asyncio.to_thread(damage, tmp_path / "chargerd.db")
            left, reached = cuts, False

            def gate(point: str) -> None:
                nonlocal left, reached
                left, reached = left - 1, reached or left == 0
                if reached:
                    raise CutHere

            one.gate = gate
            with contextlib.suppress(CutHere):
                await one.whole.start_daemon()
            one.gate = lambda point: None
            await one.whole.kill_daemon()
            await one.whole.start_daemon()
            assert "HistoryLost" in one.faults, f"cut {cuts}"
            assert one.whole.daemon is not None
            one.whole.daemon.operator._clear_own("HistoryLost", "test")
            cuts += 1
        assert cuts > 5
        await one.whole.stop()

    play(scene)


def damage(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute("DROP TABLE session")


def _with(config: Config, policy: str) -> Config:
    return replace(config, station=replace(config.station, after_loss=policy))
