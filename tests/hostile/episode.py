"""One episode: a charger charges a car while its backend throws frames at it; then the backend comes to its senses.

Everything but the enemy is the real thing, in virtual time: guard, daemon, store, world. Judged are each answer (see
`backend`), the charger's own history against the world's meter, the contactor, the bounds of what is kept in memory,
whatever is logged as an error - and that a driver can charge again afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargerd.daemon.store import Store
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import Whole
from hal.api import DeviceError
from tests.hostile.backend import Account, Backend, Log
from tests.hostile.corpus import Corpus, Memory
from tests.hostile.reading import read
from tests.hostile.speech import Speech, written

OUTLETS = 2
TYPES = (3, 4, 3, 4, 5, 6, 7)  # that are no CALL; the last three mean something to nobody, or only in 2.1
SPACE = 0.03  # s between two frames in the mean: below what the engine allows for long
SETTINGS = """
[ocpp2]
"OCPPCommCtrlr.RetryBackOffWaitMinimum" = 1
"OCPPCommCtrlr.RetryBackOffRandomRange" = 0
"OCPPCommCtrlr.RetryBackOffRepeatTimes" = 0
"OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]" = 1
"SampledDataCtrlr.TxUpdatedInterval" = 5
"""
NAMES = """\
CS-0001 HeartbeatInterval MeterValueSampleInterval AuthCtrlr TxCtrlr StopTransactionOnInvalidId EVConnectionTimeOut
Enabled true false 0 16 en OCPPCommCtrlr SampledDataCtrlr TxUpdatedMeasurands Energy.Active.Import.Register EVSE
Connector"""
CARD = "04A1B2C3D4E5F6"
KNOWN = (0, 1, 2, 3, 7, 1795354736, 60, 300, CARD, *NAMES.split())
SLACK = 20.0  # Wh a session may miss where the backend has put its start behind the first energy
MOST_ASKS, MOST_WORDS, MOST_ROWS = 16, 64, 400
RESTARTS = (64, 65)
# A backend may order all this; afterwards the charger is rightly not what a driver expects.
ORDERS = frozenset({"SetVariables", "ChangeConfiguration", "ChangeAvailability", "SetNetworkProfile"})


@dataclass(frozen=True, slots=True)
class Plan:
    """`lawless`: only frames that no station may heed, so that the car must not notice anything at all."""

    version: str
    seed: int
    frames: int
    lawless: bool = False

    def __str__(self) -> str:
        return f"OCPP {self.version}, seed {self.seed}, {self.frames} frames{', lawless' if self.lawless else ''}"


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    account: Account
    log: Log
    """Of the wire: the same for the same plan."""


def perform(plan: Plan, corpus: Corpus | None = None, thrown: Callable[[int], None] = lambda n: None) -> Outcome:
    """`thrown` is told the number of frames after each of them."""
    with tempfile.TemporaryDirectory(prefix="hostile-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as at:
        return run(VirtualLoop(1000.0), Episode(Path(at), plan, corpus or Corpus(), thrown).play())


class Episode:
    def __init__(self, folder: Path, plan: Plan, corpus: Corpus, thrown: Callable[[int], None]) -> None:
        self._folder, self._plan, self._thrown = folder, plan, thrown
        self._memory = Memory(corpus, plan.version)
        self._chance = random.Random(f"{plan.version}{plan.seed}{plan.lawless}")
        self.account = Account()
        subprotocol = f"ocpp{plan.version}"
        self._speech = Speech(subprotocol, self._chance, KNOWN)
        self.backend = Backend(subprotocol, self._chance, self._speech, self.account)
        self._ordered = False

    async def play(self) -> Outcome:
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        self.whole = Whole(
            self._folder,
            version=self._plan.version,
            outlets=OUTLETS,
            settings=SETTINGS,
            link=self.backend.link,
            seed=self._plan.seed,
        )
        ear = _Ear(self.account)
        log = logging.getLogger("chargerd")
        log.addHandler(ear)
        propagate, log.propagate = log.propagate, False
        try:
            await self._begin()
            await self._storm()
            await self._calm()
        except TimeoutError as e:
            self._complain(f"stuck: {e}")
        finally:
            log.removeHandler(ear)
            log.propagate = propagate
            await self.whole.stop()
        return Outcome(self._plan, self.account, self.backend.log)

    # ---- the story

    async def _begin(self) -> None:
        if not self._plan.lawless:
            self.backend.boot = self._chance.choice(("Accepted", "Accepted", "Accepted", "Pending", "Rejected"))
        await self.whole.start()
        await self.whole.until(lambda: self.backend.open)
        await self._arrive(1)
        await asyncio.sleep(5.0)

    async def _storm(self) -> None:
        self.backend.kind = self._plan.lawless
        while self.account.thrown < self._plan.frames:
            await self._restart_if_wanted()
            if not self._plan.lawless and self._chance.random() < 0.01:
                await self._happen()
            await self._throw()
            self._thrown(self.account.thrown)
            self._bounds()
            self.backend.look()
            await asyncio.sleep(self._chance.expovariate(1 / SPACE) if self._chance.random() < 0.98 else 3.0)

    async def _calm(self) -> None:
        """Kind again: what was begun ends, what is owed comes, and the next driver is served."""
        backend, whole = self.backend, self.whole
        backend.kind, backend.boot = True, "Accepted"
        await asyncio.sleep(130.0)
        backend.look()
        if not backend.registered:  # told to wait for years, it asks again after a restart
            await whole.stop_daemon()
            await whole.start_daemon()
        await self._restart_if_wanted()
        await whole.until(lambda: backend.open and backend.registered, 400.0)
        if self._plan.lawless:
            self._undisturbed()
        for outlet in range(1, OUTLETS + 1):
            await self._try_sim("unplug", outlet=outlet)
        await asyncio.sleep(30.0)
        beats = backend.heard["Heartbeat"]
        backend.ask("TriggerMessage", {"requestedMessage": "Heartbeat"})
        await whole.until(lambda: backend.heard["Heartbeat"] > beats, 90.0)
        if not self._ordered:
            await self._serve()
        await asyncio.sleep(10.0)
        await self._books()

    def _undisturbed(self) -> None:
        told = self.backend.heard
        started = told["StartTransaction"] or told["TransactionEvent"]
        audit = self.whole.world.audit()[0]
        if not started or audit.closed != 1 or not self.whole.world.outlets[0].closed:
            self._complain(f"the car noticed: {audit}, told {dict(told)}")

    async def _serve(self) -> None:
        """A driver comes and gets energy."""
        before = self.whole.world.audit()[1].closed
        await self._arrive(2)
        await self.whole.until(lambda: self.whole.world.audit()[1].closed > before, 60.0)
        await asyncio.sleep(20.0)
        await self.whole.unplug(2)
        await asyncio.sleep(20.0)

    async def _arrive(self, outlet: int) -> None:
        await self.whole.plug(outlet, max_amps=16)
        await asyncio.sleep(1.0)
        await self.whole.tap(CARD)

    async def _happen(self) -> None:
        """The world goes on: drivers come and go, the link breaks."""
        match self._chance.randrange(4):
            case 0:
                self.backend.down()
            case 1:
                await self._try_sim("tap", uid=self._chance.choice((CARD, "DEADBEEF")))
            case 2:
                await self._try_sim("plug", outlet=self._chance.randint(1, OUTLETS))
            case 3:
                await self._try_sim("unplug", outlet=self._chance.randint(1, OUTLETS))

    async def _try_sim(self, method: str, **params: Any) -> None:
        try:
            await self.whole.sim(method, **params)
        except DeviceError:
            return  # there is a car already, or none

    async def _restart_if_wanted(self) -> None:
        assert self.whole.daemon is not None
        if not self.whole.daemon.exit.done():
            return
        code = self.whole.daemon.exit.result()
        if code not in RESTARTS:
            self._complain(f"the daemon has left with {code}")
        await self.whole.stop_daemon()
        await self.whole.start_daemon()
        await self.whole.until(lambda: self.backend.open)

    # ---- one frame

    async def _throw(self) -> None:
        """Throw one frame; now and then a flood, and silence after it."""
        chance, backend = self._chance, self.backend
        if not self._plan.lawless and chance.random() < 0.0005:
            backend.flood(400)
            await asyncio.sleep(10.0)
            return
        raw = self._frame()
        found = read(raw, backend.subprotocol)
        if found is not None and found.lawful:
            if self._plan.lawless:
                return
            self._ordered = self._ordered or found.action in ORDERS
        backend.throw(raw)
        self._memory.learn(raw, self.account.news)

    def _frame(self) -> bytes:
        chance, speech = self._chance, self._speech
        action = chance.choice(speech.actions)
        frame = [2, self.backend.fresh(), action, speech.request(action)]
        match chance.randrange(10):
            case 0 | 1 | 2:
                return written(frame)
            case 3 | 4 | 5:
                return written([*frame[:3], speech.twisted(frame[3])])
            case 6:
                return written(speech.bent(frame))
            case 7:
                return speech.spoiled(written(frame))
            case 8:
                known = () if self._plan.lawless else (id_ for id_, _ in self.backend.calls)
                return written([chance.choice(TYPES), chance.choice(("stray", "", *known)), speech.response(action)])
        if chance.random() < 0.2:
            return chance.randbytes(chance.choice((0, 1, 60)))
        kept = self._memory.choose(chance)
        return speech.spoiled(kept) if chance.random() < 0.5 else kept

    # ---- what must hold

    def _bounds(self) -> None:
        assert self.whole.daemon is not None
        talk = self.whole.daemon.charger.conversation
        assert talk is not None
        asks, words, rows = len(talk._asks), len(talk._words), len(talk.outbox.rows())
        if asks > MOST_ASKS or words > MOST_WORDS or rows > MOST_ROWS:
            self._complain(f"kept in memory: {asks} questions, {words} words, {rows} rows")

    async def _books(self) -> None:
        """The history against the meters, and the contactor against its conditions."""
        await self.whole.stop_daemon()
        store = Store.open(self._folder / "chargerd.db", inline=True)
        sessions = store.sessions()
        store.close()
        for outlet, audit in enumerate(self.whole.world.audit(), 1):
            mine = [one for one in sessions if one.outlet == outlet]
            known = sum((one.end_wh or 0.0) - (one.start_wh or 0.0) for one in mine)
            flowed = self.whole.world.outlets[outlet - 1].energy
            if abs(flowed - known) > SLACK * len(mine) + 0.5:
                self._complain(f"outlet {outlet}: {flowed:.1f} Wh flowed, the history knows {known:.1f}")
            if audit.unsafe:
                self._complain(f"outlet {outlet}: contactor closed without its conditions: {audit}")

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._complain(f"unhandled: {context.get('message')}: {context.get('exception')!r}")

    def _complain(self, what: str) -> None:
        self.account.complaints.append(what)


class _Ear(logging.Handler):
    """What the daemon logs as an error is a fault of its own."""

    def __init__(self, account: Account) -> None:
        super().__init__(logging.ERROR)
        self._account = account

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if record.getMessage().startswith("gave up telling"):
            return  # the backend has refused it as often as it may
        self._account.complaints.append(f"logged: {record.getMessage()}{f': {error!r}' if error else ''}")
