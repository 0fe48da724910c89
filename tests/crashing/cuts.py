"""Simulated cuts: a whole charger in one process and in virtual time, stopped dead at a chosen write or send.

Points are counted where something becomes durable or leaves: before and after each commit, before and after each
frame. What is stopped there does nothing more: no write, no frame, no word to the guard. A frame that was sent
arrives; a commit that returned is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargerd.daemon.run import Daemon
from chargerd.daemon.store import Batch
from chargerd.lab.csms import Csms
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION
from chargerd.lab.whole import EPOCH, Whole
from tests.crashing.judge import gather, judge
from tests.crashing.stories import OUTLETS, SETTINGS, STORIES, TOKENS, Broken, Scene

KINDS = ("power", "daemon", "both")  # mains; the daemon; daemon and guard, but not the machine
DOUBLE, RECOVERY = 4, 20  # each so many cuts a double one, and points within which the second falls
MOST = 300.0  # virtual seconds that a story may take
START = 1000.0
SUPERVISED = 0.5  # s between two looks whether the daemon has left
MEMORY = Path("/dev/shm")  # cuts are simulated, so a disk has nothing to add but its slowness


class CutHere(Exception):
    """Nothing happens after this point."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The `points` are counted from the start of the story; after the first cut the recovery's points count on."""

    number: int
    version: str
    story: str
    kind: str
    points: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"cut {self.number}: OCPP {self.version}, {self.story}, {self.kind} at {', '.join(map(str, self.points))}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """`where`: phase and kind of each point that was cut at; `points`: those that were passed, for planning."""

    cut: Cut
    where: tuple[tuple[str, str], ...]
    points: tuple[tuple[str, str], ...]
    complaints: tuple[str, ...]


Mapper = Callable[[Callable[[Cut], Outcome], Iterable[Cut]], Iterable[Outcome]]


def perform(cut: Cut) -> Outcome:
    """Tell the story, cut it, let it recover, judge it."""
    with tempfile.TemporaryDirectory(prefix="crash-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        return run(VirtualLoop(START), _Simulation(Path(folder), cut).play())


class _Simulation:
    def __init__(self, folder: Path, cut: Cut) -> None:
        self._cut, self._folder, self._story = cut, folder, STORIES[cut.story]
        self._pending = list(cut.points)
        self._where: list[tuple[str, str]] = []
        self._points: list[tuple[str, str]] = []
        self._complaints: list[str] = []
        self._random = random.Random(f"{cut.story}{cut.kind}{cut.points}")
        self._dead = False
        self._fell = asyncio.Event()
        self._turn = asyncio.Lock()  # to stop, or to bury: not both at once
        self._leaving: Daemon | None = None
        self._disk_works = True

    async def play(self) -> Outcome:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        csms = Csms(clock=lambda: EPOCH + loop.time())
        csms.tokens = {token: Token() for token in TOKENS}
        self._whole = Whole(
            self._folder,
            csms=csms,
            version=self._cut.version,
            outlets=OUTLETS,
            settings=SETTINGS + self._story.settings,
            gate=self._gate,
        )
        self._scene = Scene(self._whole.sim, csms, STATION, disk=self._switch_disk, clock=self._switch_clock)
        log, ear = logging.getLogger("chargerd"), _Ear(self._complaints, self._story.expects)
        log.propagate = False
        log.addHandler(ear)
        try:
            async with asyncio.timeout(MOST):
                await self._tell()
        except (Broken, TimeoutError) as e:
            self._complaints.append(f"{type(e).__name__}: {e}; {self._whole.picture()}")
        finally:
            log.removeHandler(ear)
        evidence = gather(
            csms, await self._whole.sim("state"), await self._whole.sim("audit"), self._folder / "chargerd.db"
        )
        endings = 0 if self._cut.kind == "daemon" else len(self._where)
        self._complaints += judge(evidence, self._story.cars, endings)
        if self._cut.points and not self._where:
            self._complaints.append(f"point {self._cut.points[0]} was never reached")
        return Outcome(self._cut, tuple(self._where), tuple(self._points), tuple(self._complaints))

    async def _tell(self) -> None:
        tasks = [asyncio.create_task(self._bury_and_raise()), asyncio.create_task(self._restart())]
        try:
            with contextlib.suppress(CutHere):
                await self._whole.start()
            await self._scene.until(self._scene.accepted, 60.0)
            await self._story.tell(self._scene)
            while not await self._leave():
                pass
        finally:
            for task in tasks:
                task.cancel()
            self._whole.kill_guard()

    async def _leave(self) -> bool:
        """Come to rest and stop the daemon in order; False when that was cut."""
        await self._scene.at_rest()
        self._scene.phase = "shutdown"
        cuts, self._leaving = len(self._where), self._whole.daemon
        async with self._turn:
            with contextlib.suppress(CutHere):
                await self._whole.stop_daemon()
        return len(self._where) == cuts

    # ---- the cut

    def _gate(self, point: str) -> None:
        if self._dead:
            raise CutHere
        self._points.append((self._scene.where, point))
        if not self._pending or len(self._points) - 1 != self._pending[0]:
            if point == "before-commit" and not self._disk_works:
                raise sqlite3.OperationalError("disk I/O error")
            return
        del self._pending[0]
        self._where.append(self._points[-1])
        self._dead = True
        self._silence()
        self._fell.set()
        raise CutHere

    def _silence(self) -> None:
        """At this very instant, as it must happen within a call of the daemon's own."""
        daemon = self._whole.daemon or self._leaving
        if daemon is not None:
            daemon.charger.die()
            daemon.guard.abandon()
            daemon.devices.abandon()
            if daemon.link is not None:
                daemon.link.kill()
        if self._cut.kind != "daemon":
            self._whole.kill_guard()

    async def _bury_and_raise(self) -> None:
        while True:
            await self._fell.wait()
            self._fell.clear()
            async with self._turn:
                if self._cut.kind == "power":
                    await self._whole.power_cut()
                else:
                    await self._whole.kill_daemon()
                    await asyncio.sleep(self._random.choice((0.05, 0.5, 2.0)))
                self._dead = False
                with contextlib.suppress(CutHere):
                    if self._cut.kind != "daemon":
                        self._whole.start_guard()
                    await self._whole.start_daemon()

    async def _restart(self) -> None:
        """As systemd does it after a reset."""
        while True:
            await asyncio.sleep(SUPERVISED)
            async with self._turn:
                daemon = self._whole.daemon
                if daemon is None or self._dead or not daemon.exit.done():
                    continue
                self._leaving = daemon
                with contextlib.suppress(CutHere):
                    await self._whole.stop_daemon()
                    await self._whole.start_daemon()

    def _switch_disk(self, works: bool) -> None:
        self._disk_works = works
        if works and self._whole.daemon is not None:  # the store's thread would try again, but there is none here
            with contextlib.suppress(CutHere):
                self._whole.daemon.store.submit(Batch())

    def _switch_clock(self, known: bool) -> None:
        self._whole.trusted = lambda: known

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Whatever ends in the loop's hands, but for our own cut, is a fault of the daemon's."""
        error = context.get("exception")
        if not isinstance(error, CutHere):
            self._complaints.append(f"unhandled: {context.get('message')}: {error!r}")


class _Ear(logging.Handler):
    """Errors that are logged are faults too."""

    def __init__(self, complaints: list[str], expected: tuple[str, ...]) -> None:
        super().__init__(logging.ERROR)
        self._complaints, self._expected = complaints, expected

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, CutHere) and not record.getMessage().startswith(self._expected or ("\0",)):
            self._complaints.append(f"logged: {record.getMessage()}{f': {error!r}' if error else ''}")


# ---- which cuts


def plan(count: int, versions: Sequence[str], seed: int, mapper: Mapper = map) -> tuple[list[Cut], list[Outcome]]:
    """`count` cuts, and the uncut stories they were planned from, told through `mapper` (`map`, or a pool's).

    Every kind of point in every story has its turn, each with all kinds of death, before a point of a kind that was
    tried comes again. Every fourth is a double cut: the second falls into the recovery from the first.
    """
    chance = random.Random(seed)
    uncut = list(mapper(perform, [Cut(0, version, story, "none", ()) for version in versions for story in STORIES]))
    strata: dict[tuple[str, ...], list[tuple[str, str, str, int]]] = defaultdict(list)
    for outcome in uncut:
        version, story = outcome.cut.version, outcome.cut.story
        for at, (phase, point) in enumerate(outcome.points):
            for kind in KINDS:
                strata[version, story, kind, phase, point].append((version, story, kind, at))
    for stratum in strata.values():
        chance.shuffle(stratum)
    order = list(strata.values())
    chance.shuffle(order)
    single = [stratum[n] for n in range(max(map(len, order))) for stratum in order if n < len(stratum)]
    following = iter(single)
    cuts: list[Cut] = []
    while len(cuts) < count:
        number = len(cuts) + 1
        found = next(following, None) if number % DOUBLE else None
        version, story, kind, at = found or chance.choice(single)
        second = () if found else (at + chance.randint(1, RECOVERY),)
        cuts.append(Cut(number, version, story, kind, (at, *second)))
    return cuts, uncut
