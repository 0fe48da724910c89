"""The charger: where a step of the pure station becomes deeds.

One event after the other: step, write down what became true, and do what is wanted. Stops and reductions, locks, lamps,
questions and readings act at once. What rises or promises - a higher permit, an answer, a queued message - waits until
its step is on the disk, in order; while the disk fails it waits for the disk.

An event that the station cannot digest changes nothing: it is set aside, in the log and in the store, and a fault of
the station says so until a technician clears it; five of them in a minute end the process. A deed that fails is set
aside likewise, and the others of its step are done.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from chargerd.core import durable, station
from chargerd.core.commands import (
    Answer,
    AnswerTap,
    AskAuthorize,
    Command,
    Outcome,
    ReadMeter,
    Restart,
    SendBoot,
    SendHeartbeat,
    SendStatus,
    SetPermit,
    Show,
    WishLock,
)
from chargerd.core.events import AuthorizeAnswered, Event, Fault, GuardLost, PowerRestored, ResetKind, Storage, Wake
from chargerd.core.records import Edge, Faulted, Record, Session, Transaction
from chargerd.core.state import Station, TxWindow
from chargerd.core.status import QUEUE_FULL, SET_ASIDE
from chargerd.daemon.clock import Clock
from chargerd.daemon.conversation import Conversation
from chargerd.daemon.database import StoreFailed
from chargerd.daemon.store import Batch, Store
from chargerd.daemon.store import Session as StoredSession
from chargerd.ocpp.dialect import Fold
from chargerd.ocpp.outbox import Changes

log = logging.getLogger(__name__)

POISON_MOST, POISON_WITHIN = 5, 60.0
ROOM = 0.9  # of a queue that was full, until there is enough of it again
LAZY = 300.0  # s that periodic samples wait for company on their way to the disk
UNSURE_MOST = 64
STORAGE_LOOK = 1.0  # s between looks whether the disk works again
EXIT_POISON = 70
RESTART_WAIT = 30.0  # s that a reset waits for the disk
ASK_WAIT = 30.0  # s for the station's answer to a question of our own
Position = tuple[int, int]


class GuardPort(Protocol):
    """The lease, as the charger uses it (`guard_link.GuardLink`)."""

    def permit(self, command: SetPermit) -> None: ...
    def lock(self, command: WishLock) -> None: ...
    def show(self, command: Show) -> None: ...


class MeterPort(Protocol):
    def ask(self, rank: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Happened:
    """One step, for those who watch."""

    event: Event
    records: tuple[Record, ...]
    state: Station


class Charger:
    """Feed it events. `guard`, `meters` and `conversation` are set before `begin`; `leave(code)` ends the process."""

    guard: GuardPort
    meters: MeterPort
    conversation: Conversation | None = None

    def __init__(
        self,
        state: Station,
        store: Store,
        clock: Clock,
        mint: Callable[[], str],
        facts: Callable[[Station], Mapping[str, str]],
        leave: Callable[[int], None],
        next_row: int = 1,
        fold: Fold | None = None,
    ) -> None:
        self.state = state
        self._store, self._clock, self._mint, self._facts, self._leave = store, clock, mint, facts, leave
        self._events: deque[tuple[Event, Position | None]] = deque()
        self._stepping = False
        self._dead = False
        self._uncommitted = 0
        self._begun: set[str] = set()  # transactions whose begin is not on the disk yet
        self._held: deque[Command] = deque()  # deeds whose step is in memory only: the disk fails
        self._given: dict[int, SetPermit] = {}  # what the guard was told last; nothing after it was lost
        self._asks = 0
        self._local: dict[int, asyncio.Future[Answer]] = {}
        self._row = next_row
        self._fold: Fold = fold or {}  # as it was written last
        self._lazy: asyncio.TimerHandle | None = None
        self._unsure: deque[Session] = deque(maxlen=UNSURE_MOST)  # of the history, with stamps that are no good
        self._wake: asyncio.TimerHandle | None = None
        self._poison: deque[float] = deque(maxlen=POISON_MOST)
        self._poisoned = 0
        self._speechless = False
        self.on_variables: Callable[[], None] = lambda: None
        self.on_tap: Callable[[AnswerTap], None] = lambda command: None
        self.watchers: set[Callable[[Happened], None]] = set()

    def begin(self, rebooted: bool, away: float | None = None, reboots: bool = False) -> None:
        """The first event after loading."""
        self.feed(PowerRestored(rebooted, away, reboots))

    # ---- in

    def feed(self, event: Event, position: Position | None = None) -> None:
        """Take an event; `position` of the guard's events is written down with what it causes."""
        if self._dead:
            return
        self._events.append((event, position))
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._events:
                self._step(*self._events.popleft())
                self._mind_queue()
        finally:
            self._stepping = False
        self._sleep()
        self._pump()

    def _mind_queue(self) -> None:
        """Begins and ends are kept, however long nobody takes them: so nothing more begins when the queue is full."""
        full = QUEUE_FULL in self.state.faults
        if self.conversation is None or self._events:
            return
        if (self.conversation.outbox.filled >= (ROOM if full else 1.0)) != full:
            self._events.append((Fault(0, QUEUE_FULL, not full), None))

    async def ask(self, event: Callable[[int], Event]) -> Answer:
        """Put a question of our own to the station (`event` is given the handle) and wait for its answer."""
        number = self.next_ask()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._local[number] = future
        self.feed(event(number))
        try:
            async with asyncio.timeout(ASK_WAIT):
                return await future
        finally:
            self._local.pop(number, None)

    # ---- what the conversation needs

    @property
    def uncommitted(self) -> bool:
        return self._uncommitted > 0 or not self.state.storage

    def facts(self) -> Mapping[str, str]:
        return self._facts(self.state)

    def next_ask(self) -> int:
        self._asks += 1
        return self._asks

    def next_row(self) -> int:
        self._row += 1
        return self._row

    def save(self, changes: Changes, lazy: bool = False) -> None:
        rows = self._fold_rows()
        if lazy and not rows:
            self._put_by(Batch(outbox=changes))
        elif changes or rows:
            self._commit(Batch(rows, changes))

    def settle(self) -> None:
        """Write down what waits for company."""
        if self._lazy is not None:
            self._commit(Batch())

    def use_window(self, window: TxWindow | None) -> None:
        """Another version was negotiated: its transactions begin and end elsewhere."""
        self.state = replace(self.state, site=replace(self.state.site, window=window))

    def tell_faults(self) -> None:
        """Tell anew what is wrong now: another version has other words for it."""
        assert self.conversation is not None
        now, state = self._clock.now(), self.state
        places = [(0, state.reported), *((outlet.site.rank, outlet.reported) for outlet in state.outlets)]
        records = [Faulted(now, rank, name, True) for rank, names in places for name in sorted(names)]
        self.save(self.conversation.project(state, records))

    # ---- one step

    def _step(self, event: Event, position: Position | None) -> None:
        now = self._clock.now()
        old = self.state
        try:
            done = station.step(old, event, now, self._mint)
            rows = durable.changed(old, done.state)
            changes = Changes()
            if self.conversation is not None:
                changes = self.conversation.project(done.state, done.records)
        except Exception:
            self._set_aside(event)
            return
        self.state = done.state
        if isinstance(event, GuardLost):
            self._given.clear()
        ended = [record for record in done.records if isinstance(record, Session)]
        self._unsure.extend(record for record in ended if not self._timed(record))
        sessions = [self._session(record) for record in ended]
        lazy = not (rows or sessions) and _may_be_lost(changes)
        rows |= self._fold_rows()
        writes = bool(rows or changes or sessions)
        if position is not None and writes:
            rows["guard"] = list(position)
        later = self._act_now(done.commands, writes and not lazy)
        if lazy and not later:
            self._put_by(Batch(rows, changes))
        elif writes or later:  # an empty batch waits for those before it
            begun = {r.tx for r in done.records if isinstance(r, Transaction) and r.edge is Edge.STARTED}
            self._begun |= begun
            self._commit(Batch(rows, changes, sessions), later, begun)
        if done.state.variables is not old.variables:
            self.on_variables()
        for watch in list(self.watchers):
            watch(Happened(event, done.records, done.state))

    def _act_now(self, commands: tuple[Command, ...], writes: bool) -> list[Command]:
        """Do what may not wait; return what must."""
        later: list[Command] = []
        for command in commands:
            match command:
                case SetPermit() if command.amps > self._granted(command) and self._waits(command, writes):
                    self._give(replace(command, amps=self._granted(command)))
                    later.append(command)
                case Restart():
                    asyncio.get_running_loop().call_later(RESTART_WAIT, self._leave_unwritten, command)
                    later.append(command)
                case Answer(lasting=True) | SendStatus() if writes:
                    later.append(command)
                case _:
                    self._act([command])
        return later

    def _waits(self, command: SetPermit, writes: bool) -> bool:
        """Is its step, or anything before it, not on the disk? While the disk fails nothing begins, and what runs goes
        on: unless its own begin was not written either.
        """
        if self.state.storage:
            return writes or self._uncommitted > 0
        return any(isinstance(held, SetPermit) and held.outlet == command.outlet for held in self._held)

    def _act(self, commands: Sequence[Command]) -> None:
        """All of them: one that fails takes neither a stop nor the books of its step along."""
        for command in commands:
            try:
                self._do(command)
            except Exception:
                self._set_aside(command)

    def _do(self, command: Command) -> None:
        match command:
            case SetPermit():
                self._permit(command)
            case WishLock():
                self.guard.lock(command)
            case Show():
                self.guard.show(command)
            case AnswerTap():
                self.on_tap(command)
            case ReadMeter(rank):
                self.meters.ask(rank)
            case Answer():
                self._answer(command)
            case SendBoot() | SendHeartbeat() | AskAuthorize() | SendStatus():
                if self.conversation is not None:
                    self.conversation.say(command)
                elif isinstance(command, AskAuthorize):
                    self.feed(AuthorizeAnswered(command.ask, None))
            case Restart(kind):
                log.info("restart: %s", kind.value)
                self._leave(_exit_code(command))

    def _permit(self, command: SetPermit) -> None:
        """A rise that waited for the disk is void when the station has thought again meanwhile."""
        latest = self.state.outlet(command.outlet).live.permit
        if (command.plug, command.amps, command.phases, command.available) == latest:
            self._give(command)

    def _give(self, command: SetPermit) -> None:
        self._given[command.outlet] = command
        self.guard.permit(command)

    def _granted(self, command: SetPermit) -> float:
        """What the guard was told for this plug, not what waits for the disk; after a restart, what it still offers."""
        given = self._given.get(command.outlet)
        if given is None:
            live = self.state.outlet(command.outlet).live
            return min(command.amps, live.offered) if live.plug == command.plug else 0.0
        return given.amps if given.plug == command.plug else 0.0

    def _answer(self, command: Answer) -> None:
        future = self._local.pop(command.ask, None)
        if future is not None:
            if not future.done():
                future.set_result(command)
        elif self.conversation is not None:
            self.conversation.answer(command)

    def _pump(self) -> None:
        """What cannot be said is nobody's fault who feeds us: it counts as an event that cannot be digested."""
        if self.conversation is None or self._speechless:
            return
        try:
            self.conversation.pump()
        except Exception:
            self._speechless = True  # that it is set aside is to be said, too
            try:
                self._set_aside("what was to be said")
            finally:
                self._speechless = False

    def _refuse(self, ask: int, why: str) -> None:
        future = self._local.pop(ask, None)
        if future is not None:
            if not future.done():
                future.set_result(Answer(ask, Outcome.REJECTED, why=why))
        elif self.conversation is not None:
            self.conversation.refuse(ask, why)

    # ---- the disk

    def _commit(self, batch: Batch, later: Sequence[Command] = (), begun: Collection[str] = ()) -> None:
        if self._lazy is not None:  # it has company now
            self._lazy.cancel()
            self._lazy = None
        self._uncommitted += 1
        future = self._store.submit(batch)
        future.add_done_callback(lambda done: self._committed(done, later, begun))

    def _put_by(self, batch: Batch) -> None:
        self._store.put_by(batch)
        if self._lazy is None:
            self._lazy = asyncio.get_running_loop().call_later(LAZY, self.settle)

    def _fold_rows(self) -> dict[str, Any]:
        """What the conversation has told, where it is not written so yet."""
        if self.conversation is None:
            return {}
        before, self._fold = self._fold, self.conversation.fold
        return durable.entries("fold", before, self._fold, lambda entry: entry)

    def _committed(self, done: asyncio.Future[None], later: Sequence[Command], begun: Collection[str]) -> None:
        if done.cancelled() or self._dead:
            return
        self._uncommitted -= 1
        error = done.exception()
        if error is None:
            self._begun.difference_update(begun)
            self._act_held()
            self._act(later)
        elif isinstance(error, StoreFailed):
            self._unstored(later)
            if self.state.storage:
                log.error("storage: %s", error)
                self.feed(Storage(False, frozenset(self._begun)))
                asyncio.get_running_loop().call_later(STORAGE_LOOK, self._look_at_disk)
        else:
            log.critical("the store has ended, and the process with it", exc_info=error)
            self._leave(EXIT_POISON)
        if not self.uncommitted:
            self._pump()

    def _unstored(self, later: Sequence[Command]) -> None:
        """Whoever asked is told so at once; what else was to come waits until it is on the disk after all."""
        for command in later:
            if isinstance(command, Answer):
                self._refuse(command.ask, "it could not be stored")
            else:
                self._held.append(command)

    def _act_held(self) -> None:
        while self._held:
            self._act([self._held.popleft()])

    def _look_at_disk(self) -> None:
        if self._dead:
            return
        if self._store.failed is not None:
            self._store.retry()
            asyncio.get_running_loop().call_later(STORAGE_LOOK, self._look_at_disk)
            return
        log.info("storage works again")
        self._begun.clear()
        self._act_held()
        self.feed(Storage(True))

    def _session(self, record: Session) -> StoredSession:
        ended, began = record.ended, self._clock.wall_of(record.started)
        return StoredSession(
            uid=record.tx,
            outlet=record.outlet,
            token=record.token,
            started=began,
            ended=max(began, self._clock.wall_of(ended)),
            trusted=self._timed(record),
            start_wh=record.begin_wh,
            end_wh=record.end_wh,
            reason=record.reason.value,
        )

    def _leave_unwritten(self, command: Restart) -> None:
        """A reset is what may mend a failing disk. After it all is as last written: nothing has begun since, what
        had ended runs once more and ends anew, and the meter has kept its register.
        """
        if not self._dead and self.uncommitted:
            log.error("restart: %s, although the disk does not take what happened", command.kind.value)
            self._leave(_exit_code(command))

    def _timed(self, record: Session) -> bool:
        return self._clock.knows(record.started) and self._clock.knows(record.ended)

    def time_known(self) -> None:
        """What the history was told before that is put right."""
        sessions = [self._session(record) for record in self._unsure]
        self._unsure.clear()
        if sessions:
            self._commit(Batch(sessions=sessions))

    # ---- time and poison

    def _sleep(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        now = self._clock.now()
        at = station.wake_at(self.state, now)
        if at is not None:
            loop = asyncio.get_running_loop()
            self._wake = loop.call_later(max(0.0, at - now.mono), self.feed, Wake())

    def _set_aside(self, event: Event | Command | str) -> None:
        log.exception("not digested and set aside: %r", event)
        # what is asked of the backend counts its questions by itself
        if not isinstance(event, AuthorizeAnswered | AskAuthorize) and (ask := getattr(event, "ask", None)) is not None:
            self._refuse(ask, "the request met a fault of the station")
        if isinstance(event, AskAuthorize):  # nobody will answer that
            self.feed(AuthorizeAnswered(event.ask, None))
        self._poisoned += 1
        note: dict[str, Any] = {"event": repr(event)[:2000], "at": self._clock.now().wall}
        self._store.submit(Batch(state={f"poison/{self._poisoned % 16}": note}))
        now = self._clock.now().mono
        self._poison.append(now)
        if not (isinstance(event, Fault) and event.name == SET_ASIDE):
            self.feed(Fault(0, SET_ASIDE, True))
        if len(self._poison) == POISON_MOST and now - self._poison[0] <= POISON_WITHIN:
            log.critical("%d such events within %d s: the process ends", POISON_MOST, POISON_WITHIN)
            self._leave(EXIT_POISON)

    def die(self) -> None:
        """Take and do nothing any more, as a killed process: for simulations only."""
        self._dead = True
        self._events.clear()
        self.stop()

    def stop(self) -> None:
        for timer in (self._wake, self._lazy):
            if timer is not None:
                timer.cancel()
        self._wake = self._lazy = None
        if self.conversation is not None:
            self.conversation.stop()


def _may_be_lost(changes: Changes) -> bool:
    """Periodic samples alone, without a number that the backend may already know: the only rows that may be thinned."""
    return bool(changes.put) and not changes.dead and all(r.thin and (r.offline or r.seq is None) for r in changes.put)


def _exit_code(command: Restart) -> int:
    return 65 if command.kind is ResetKind.HARD else 64
