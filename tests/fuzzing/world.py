"""One world played from its plan, in virtual time: everything is done, then everybody calms down, then it is judged."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargerd.core.events import Metered, OutletTruth, Wake
from chargerd.daemon.charger import Happened
from chargerd.daemon.run import Daemon
from chargerd.lab.csms import Csms
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.peer import CallFailed, Frame, StationView
from chargerd.lab.whole import EPOCH, Whole
from tests.crashing.judge import gather
from tests.fuzzing.calm import Unrest, calm_down, serve
from tests.fuzzing.deeds import Disk, Hands, NotNow, Undo
from tests.fuzzing.judge import judge
from tests.fuzzing.life import Life
from tests.fuzzing.plan import HOUR, Act, Plan
from tests.fuzzing.sentry import Sentry
from tests.fuzzing.watch import StatusWatch

START = 1000.0
MEMORY = Path("/dev/shm")  # disks fail here on purpose only
COMPLAINTS_MOST = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """`digest` of the whole log, which is a function of the plan; `log` where it was asked for."""

    plan: Plan
    complaints: tuple[str, ...]
    digest: str
    log: tuple[str, ...]
    ledger: Counter[str]
    seconds: float


def perform(plan: Plan, *, keep: bool = False, leap: bool = True) -> Outcome:
    """Play it and judge it. `keep` the log; without `leap` every turn of the guard is made."""
    with tempfile.TemporaryDirectory(prefix="world-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        return run(VirtualLoop(START), _Play(Path(folder), plan, keep, leap).play())


class _Play:
    def __init__(self, folder: Path, plan: Plan, keep: bool, leap: bool) -> None:
        self._folder, self._plan, self._keep, self._leap = folder, plan, keep, leap
        self._complaints: list[str] = []
        self._hash = hashlib.sha256()
        self._log: list[str] = []
        self._ledger = Counter[str]()
        self._undo: dict[int, Undo] = {}
        self._numbers = itertools.count()
        self._doing: dict[asyncio.Task[None], None] = {}
        self._watch = StatusWatch(plan.version, self._complain)

    async def play(self) -> Outcome:
        plan, self._loop = self._plan, asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unhandled)
        log, ear = logging.getLogger("chargerd"), _Ear(self)
        log.propagate = False
        log.addHandler(ear)
        await asyncio.sleep(plan.phase)
        csms = Csms(clock=lambda: EPOCH + self._loop.time())
        csms.watchers.append(self._frame)
        disk = Disk()
        self._whole = whole = Whole(
            self._folder,
            csms=csms,
            version=plan.version,
            outlets=plan.outlets,
            tethered=plan.tethered,
            settings=plan.settings,
            seed=plan.seed,
            gate=disk.gate,
            leap=self._leap,
            max_amps=plan.max_amps,
            metered=plan.metered,
            readers=plan.readers,
        )
        self._sentry = Sentry(whole.world, self._folder / "chargerd.db", self._complain, self.say)
        whole.on_turn = self._sentry.turn
        times = itertools.chain(plan.times, itertools.repeat(plan.times[-1]))
        life = Life(whole, times, self._born, self._complain, self.say)
        self._hands = Hands(whole, csms, life, disk)
        self._hands.fresh()
        try:
            await life.begin()
            await self._do_everything()
            await self._take_everything_back()
            await calm_down(self._hands)
            await serve(self._hands)
            await calm_down(self._hands)
        except Unrest as e:
            self._complain(f"no rest: {e}")
        finally:
            await life.end()
            log.removeHandler(ear)
        evidence = gather(csms, await whole.sim("state"), await whole.sim("audit"), self._folder / "chargerd.db")
        for complaint in judge(plan, evidence, self._hands.touched):
            self._complain(complaint)
        self._ledger["sessions"] = len(evidence.history)
        self._ledger["closings"] = self._sentry.closings
        self._ledger["dead letters"] = evidence.dead
        self._ledger.update(f"ended {one.reason}" for one in evidence.history)
        self._ledger.update(life.restarts)
        return Outcome(
            plan,
            tuple(self._complaints),
            self._hash.hexdigest(),
            tuple(self._log),
            self._ledger,
            self._loop.time() - START,
        )

    # ---- acts

    async def _do_everything(self) -> None:
        for act in self._plan.acts:
            await self._until(START + act.at)
            self._start(self._do(act))
        await self._until(START + self._plan.hours * HOUR)

    async def _take_everything_back(self) -> None:
        """What still lasts ends here; who still waits for an answer waits no more."""
        self.say("life", "calm")
        for task in list(self._doing):
            task.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)
        while self._undo:
            await self._take_back(next(iter(self._undo)))

    async def _do(self, act: Act) -> None:
        try:
            undo = await self._hands.do(act)
        except NotNow as e:
            self.say("act", f"{act}: not now, {e}")
            return
        self.say("act", str(act))
        self._ledger[act.what] += 1
        if undo is None:
            return
        number = next(self._numbers)
        self._undo[number] = undo
        await asyncio.sleep(act.lasts or 0.0)
        await self._take_back(number)

    async def _take_back(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            with contextlib.suppress(CallFailed):  # it is said again when all has calmed down
                await undo()

    def _start(self, doing: Any) -> None:
        task = asyncio.create_task(doing)
        self._doing[task] = None
        task.add_done_callback(self._doing.pop)

    async def _until(self, at: float) -> None:
        if at > self._loop.time():
            await asyncio.sleep(at - self._loop.time())

    # ---- seeing

    def say(self, kind: str, text: str) -> None:
        line = f"{self._loop.time():.6f} {kind} {text}".replace(str(self._folder), "")
        self._hash.update(line.encode() + b"\n")
        if self._keep:
            self._log.append(line)

    def _complain(self, text: str) -> None:
        self.say("COMPLAINT", text)
        if len(self._complaints) < COMPLAINTS_MOST:
            self._complaints.append(f"{self._loop.time() - START:.2f}: {text}")

    def _born(self, daemon: Daemon | None) -> None:
        if daemon is None:
            assert self._whole.guard is not None
            self._sentry.watch(self._whole.guard)
            return
        watch = self._watch = StatusWatch(self._plan.version, self._complain)

        def happened(what: Happened) -> None:
            event, conversation = what.event, daemon.charger.conversation
            if what.records or not isinstance(event, OutletTruth | Metered | Wake):
                self.say("step", f"{event!r} {what.records!r}")
            assert conversation is not None
            watch.step(what.state, conversation.dialect, event)

        daemon.charger.watchers.add(happened)

    def _frame(self, station: StationView, frame: Frame) -> None:
        self.say("wire", f"{frame.direction} {frame.kind} {frame.action} {frame.id} {frame.payload!r}")
        self._ledger["frames"] += 1
        self._watch.frame(frame)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._complain(f"unhandled: {context.get('message')}: {context.get('exception')!r}")


class _Ear(logging.Handler):
    """What the daemon logs is in the log; an exception there is a fault of its own."""

    def __init__(self, play: _Play) -> None:
        super().__init__(logging.WARNING)
        self._play = play

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            self._play._complain(f"logged: {text}: {record.exc_info[1]!r}")
        else:
            self._play.say("log", text)
