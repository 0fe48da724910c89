"""The conversation with the backend: one dialect, one RPC engine, one outbox, one link, and what ties them.

Frames come in through `frame` and become events for the station or answers from its state; what the station wants to
say goes through the outbox, in its classes, one CALL at a time. A queued row leaves only when it is on the disk, and
its payload is on the disk before its first frame leaves. Nothing here decides anything about charging.

A CALL without an answer is followed by a Heartbeat. If that is answered, the backend lives and the message is at fault:
a failed attempt. If not, the connection works one way at best: it is dropped, and nothing of it counts as an attempt,
since no failure was reported (1.6 §3.6.1). So neither a mute backend nor one poisonous message costs a transaction.
An answer that comes too late is still an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Protocol

from chargerd.core.commands import Answer, AskAuthorize, SendBoot, SendHeartbeat, SendStatus
from chargerd.core.events import (
    AuthorizeAnswered,
    BootAnswered,
    BootStatus,
    Event,
    LinkDown,
    LinkUp,
)
from chargerd.core.records import Record
from chargerd.core.state import Station
from chargerd.core.token import Standing, Verdict
from chargerd.daemon.clock import Clock
from chargerd.ocpp.dialect import Ask, Dialect, Draft, Fold, Identity, Json, Learned, Outgoing, Refuse, Reply
from chargerd.ocpp.outbox import Changes, Latest, Outbox, Row, Volatile, kept, plain
from chargerd.ocpp.rpc import Call, Disputed, Error, Result, Rpc, Unsendable

log = logging.getLogger(__name__)

Question = SendBoot | SendHeartbeat | AskAuthorize
MUTE = 2  # CALLs in a row without an answer
STATUS_ATTEMPTS, STATUS_RETRY = 3, 60.0  # s times attempts: a status that was not heard stays untrue for long
_PROBE = "probe"


class Wire(Protocol):
    """What carries frames: `csms.Link`, or a memory in simulations."""

    def send(self, frame: str) -> bool: ...
    def drop(self, reason: str, cause: str) -> None: ...


class Host(Protocol):
    """What the conversation needs of the charger around it."""

    @property
    def state(self) -> Station: ...
    def feed(self, event: Event) -> None: ...
    def save(self, changes: Changes, lazy: bool = False) -> None:
        """Commit queue and fold together; `pump` is called once they are on the disk. `lazy`: when it costs nothing."""

    def settle(self) -> None:
        """Commit what was lazy."""

    @property
    def uncommitted(self) -> bool:
        """Does anything wait for the disk, or does the disk fail?"""

    def facts(self) -> Mapping[str, str]: ...
    def next_ask(self) -> int: ...
    def next_row(self) -> int: ...


class Conversation:
    """One subprotocol's worth of talking; replaced as a whole when another version is negotiated."""

    def __init__(
        self,
        host: Host,
        dialect: Dialect,
        rpc: Rpc,
        outbox: Outbox,
        wire: Wire,
        clock: Clock,
        identity: Identity,
        fold: Fold,
    ) -> None:
        self._host, self.dialect, self._rpc, self.outbox = host, dialect, rpc, outbox
        self._wire, self._clock, self._identity = wire, clock, identity
        self.fold = fold
        self._boot: SendBoot | None = None
        self._words: dict[int, Question | Outgoing] = {}  # volatile number -> what it is
        self._asks: dict[
            int, tuple[str, str, Json, Json]
        ] = {}  # ask -> call id, …; bounded by the engine's `unanswered`
        self._step = 0
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._accepted = False
        self._closed_at: float | None = None
        self._unanswered = 0
        self._called_at = 0.0  # monotonic; our last CALL
        self._probing = False
        self._suspect: Row | Latest | None = None  # stays outstanding until it is known whose fault it was
        self._quiet = asyncio.Event()  # set whenever something may have been said to the end

    def speak(self, dialect: Dialect, rpc: Rpc) -> None:
        """Go on in another version that may finish what was begun in the last; not while the link is open."""
        self.dialect, self._rpc = dialect, rpc

    async def said_all(self) -> None:
        """Wait until nothing is left that could be said on this link."""
        while self._open and (self._rpc.busy or self._host.uncommitted or self.outbox.pending):
            if self._host.state.boot.status is not BootStatus.ACCEPTED and not self._rpc.busy:
                return
            self._quiet.clear()
            await self._quiet.wait()

    # ---- what the station did

    def project(self, state: Station, records: Sequence[Record]) -> Changes:
        """Rows for these records, added to the queue; to be committed with the step that made them."""
        self._step += 1
        fold, drafts = self.dialect.project(self.fold, state, records)
        statuses = self.dialect.statuses(state)  # all that may fail comes before anything is changed
        asked = [self.dialect.render(d, fold, state, self._clock.stamp, False) for d in drafts if d.queue == "volatile"]
        self.fold = fold
        online = self._open
        rows = [
            Row(
                self._host.next_row(),
                "critical" if d.queue == "critical" else "transactions",
                d.tx,
                d.kind,
                kept(d.facts),
                d.at,
                seq=d.seq,
                offline=not online,
                thin=d.thin,
            )
            for d in drafts
            if d.queue != "volatile"
        ]
        changes = Changes()
        if rows:
            changes = self.outbox.add(rows, self._step)
        self._forget_dead(changes)
        for out in asked:
            self._volatile(out)
        self._offer_statuses(state, statuses)
        return changes

    def say(self, command: Question | SendStatus) -> None:
        """Say it when it is its turn; a question is always answered, with nothing if need be."""
        match command:
            case SendBoot():
                self._boot = command
            case SendStatus(outlet=rank):
                slots = self.dialect.statuses(self._host.state)
                for slot in slots if rank is None else (self.dialect.slot(self._host.state, rank),):
                    if slot in slots:  # else the guard has not spoken of it yet
                        self._volatile(self._status(slot, slots[slot]))
            case SendHeartbeat():
                if not any(isinstance(word, SendHeartbeat) for word in self._words.values()):
                    self._volatile(command)
            case AskAuthorize():
                self._volatile(command)
        self.pump()

    def answer(self, command: Answer) -> bool:
        """The station's answer to a question of theirs; False: it was not theirs."""
        asked = self._asks.pop(command.ask, None)
        if asked is None:
            return False
        id_, action, request, context = asked
        self._reply(id_, self.dialect.answer(action, request, context, command, self.fold, self._host.state))
        return True

    def refuse(self, ask: int, why: str) -> None:
        """The station cannot answer this question of theirs."""
        asked = self._asks.pop(ask, None)
        if asked is not None:
            self._rpc.refuse(asked[0], "InternalError", why)
            self._flush()

    # ---- the link

    def opened(self, anew: bool = False) -> None:
        """The link is there; `anew`: in another version than before."""
        self._open = True
        self._host.settle()  # what has a number must be on the disk before it is told
        away = 0.0 if self._closed_at is None else self._clock.now().mono - self._closed_at
        if away > self._host.state.variables.get_int("offline_threshold") and not self.dialect.chronological:
            self.outbox.forget_told()  # B04.FR.01: after a long absence every status is told anew
        self._host.feed(LinkUp(anew))
        self.pump()

    def closed(self) -> None:
        self._open = False
        self._closed_at = self._clock.now().mono
        contexts = self._rpc.lost()
        self._unanswered, self._probing, self._suspect = 0, False, None
        self._asks.clear()
        changes, forgotten = self.outbox.lost()
        self._host.save(changes)
        self._host.feed(LinkDown())
        boot, self._boot = self._boot, None
        unsaid: list[Any] = [self._words.pop(item.number) for item in forgotten]
        for word in [*unsaid, boot, *(c for c in contexts if isinstance(c, SendBoot))]:
            if isinstance(word, SendBoot | AskAuthorize):
                self._feed_failure(word)

    def frame(self, frame: str | bytes) -> bool:
        """One frame of theirs; True when it was a valid CALL or CALLRESULT."""
        useful = False
        for got in self._rpc.receive(frame, self._clock.now().mono):
            match got:
                case Call():
                    useful = True
                    self._called(got)
                case Result():
                    useful = True
                    self._unanswered = 0
                    self._late(got) if got.late else self._result(got)
                case Error():
                    log.warning("backend: %s failed: %s %s", got.action, got.code, got.description)
                    self._unanswered = 0
                    self._failed(got.context)
                case Disputed(action, code, text):
                    log.error("backend: cannot read our answer to %s: %s %s", action, code, text)
        self._flush()
        self.pump()
        return useful

    # ---- out

    def pump(self) -> None:
        """Send what may leave now, and come back when something becomes due."""
        now = self._clock.now().mono
        for timeout in self._rpc.timeouts(now):
            log.warning("backend: no answer to %s", timeout.action)
            self._not_answered(timeout.context)
        if self._open and not self._rpc.busy:
            self._next(now)
        self._flush()
        self._schedule(now)
        self._quiet.set()

    def _next(self, now: float) -> None:
        if self._boot is not None:
            boot, self._boot = self._boot, None
            self._tell(boot, lambda: self.dialect.request(boot, self._identity))
            return
        if self._probing:
            self._probing = False
            self._call(self.dialect.request(SendHeartbeat(), self._identity), _PROBE)
            return
        item: Row | Latest | Volatile | None = None
        match self._host.state.boot.status:
            case BootStatus.ACCEPTED if self._promising:
                item = self.outbox.next_volatile()
            case BootStatus.ACCEPTED:
                item = self.outbox.next(now, True, True, committing=self._host.uncommitted)
            case BootStatus.PENDING:  # only what they asked for (1.6 §4.2, B02.FR.02)
                item = self.outbox.next_asked(now, self._host.uncommitted)
        match item:
            case Row():
                self._send_row(item)
            case Latest(slot, facts, at):
                state, stamp = self._host.state, self._clock.stamp
                self._tell(item, lambda: self.dialect.render_status(slot, dict(facts), at, state, stamp))
            case Volatile():
                self._send_word(item)

    def _tell(self, item: Latest | SendBoot, words: Callable[[], Outgoing]) -> None:
        """What has no words is a fault of ours and over: it must not stand in the way of all that follows."""
        try:
            out = words()
        except Exception:
            log.exception("backend: there are no words for %r", item)
            self._failed(item)
            asyncio.get_running_loop().call_soon(self.pump)
            return
        self._call(out, item)

    @property
    def _promising(self) -> bool:
        """Does an answer wait for the disk? Then the status that it causes waits for it (1.6 §5.2, G03.FR.01)."""
        return bool(self._asks) and self._host.state.storage and self._host.uncommitted

    def _send_row(self, row: Row) -> None:
        """The first time the payload is written down, and the row comes again when that is done."""
        try:
            out = self.dialect.render(_draft(row), self.fold, self._host.state, self._clock.stamp, row.offline)
        except Exception:
            log.exception("backend: %s of transaction %s has no words", row.kind, row.tx)
            self._failed(row)
            return
        if row.payload is None:
            stored = {key: value for key, value in out.payload.items() if key != "offline"}
            row, changes = self.outbox.frozen(row, stored, row.message_id or self._rpc.new_id())
            if not row.thin:
                self.outbox.put_back()
                self._host.save(changes)
                return
            # A periodic sample would be rendered from the same row again: the disk is spared one write for each.
        payload = dict(row.payload or {})
        if "offline" in out.payload:
            payload["offline"] = out.payload["offline"]  # the only member that may still turn true
        # 1.6 ocppj §4.1.4 has no exception for a retry, 2.0.1 part 4 §4.1.4 has
        again = row.attempts > 0 and self.dialect.chronological
        self._call(Outgoing(out.action, payload), row, None if again else row.message_id)

    def _send_word(self, item: Volatile) -> None:
        word = self._words[item.number]
        if isinstance(word, Outgoing):
            self._call(word, item)
            return
        if isinstance(word, AskAuthorize) and self._host.state.boot.status is not BootStatus.ACCEPTED:
            self._unasked(word, item, None)  # it was accepted when the card was tapped, and is no more (B02.FR.02)
            return
        try:
            out = self.dialect.request(word, self._identity)
        except ValueError as e:
            log.warning("%s", e)
            self._unasked(word, item, Verdict(Standing.INVALID))
            return
        self._call(out, item)

    def _unasked(self, word: Question, item: Volatile, verdict: Verdict | None) -> None:
        """Answered here, in the backend's place."""
        del self._words[item.number]
        self.outbox.answered(item)
        if isinstance(word, AskAuthorize):
            self._host.feed(AuthorizeAnswered(word.ask, verdict))

    def _call(
        self, out: Outgoing, context: Row | Latest | Volatile | SendBoot | str, message_id: str | None = None
    ) -> None:
        timeout = self._host.state.variables.get_int("message_timeout")
        try:
            self._called_at = self._clock.now().mono
            self._rpc.call(out.action, out.payload, context, self._called_at, timeout, message_id)
        except Unsendable as e:
            log.error("not sent, a fault of ours: %s", e)
            self._failed(context)

    def _volatile(self, word: Question | Outgoing) -> None:
        item = self.outbox.volatile(type(word).__name__, {}, self._step)
        if item is not None:
            self._words[item.number] = word
        elif isinstance(word, AskAuthorize):
            self._host.feed(AuthorizeAnswered(word.ask, None))

    def _status(self, slot: str, facts: Json) -> Outgoing:
        return self.dialect.render_status(slot, facts, self._clock.now(), self._host.state, self._clock.stamp)

    def _offer_statuses(self, state: Station, statuses: Mapping[str, Json]) -> None:
        """Statuses are told once the backend wants to hear anything, and the guard has said what is true."""
        accepted = state.boot.status is BootStatus.ACCEPTED
        if accepted and not self._accepted:
            self.outbox.forget_told()  # after its word to the boot the backend is told everything (1.6 §4.2, B01.FR.05)
        self._accepted = accepted
        unknown = any(not o.live.known and not o.live.faults for o in state.outlets)
        if unknown or not accepted:
            return
        now = self._clock.now()
        due = now.mono + state.variables.get_int("minimum_status_duration")
        for slot, facts in statuses.items():
            self.outbox.latest(slot, facts, now, due, self._step)

    # ---- answers to ours

    def _result(self, got: Result) -> None:
        item = got.context
        if item == _PROBE:
            learned = self.dialect.answered(
                Outgoing(got.action, {}), got.payload, self.fold, self._host.state, SendHeartbeat()
            )
            self._learn(got, learned, Changes())
            self._blame()
            return
        if isinstance(item, Row) and not self.outbox.waits(item):
            return  # the answer to an earlier attempt was faster
        about = self._words.get(item.number) if isinstance(item, Volatile) else item
        about = _draft(about) if isinstance(about, Row) else about
        try:
            learned = self.dialect.answered(Outgoing(got.action, {}), got.payload, self.fold, self._host.state, about)
        except Exception:
            log.exception("backend: its answer to %s could not be understood", got.action)
            self._failed(item)
            return
        changes = Changes()
        if isinstance(item, Row) and not self.outbox.is_out(item):
            changes = self.outbox.answered_late(item)
        elif isinstance(item, Row | Latest | Volatile):
            changes = self.outbox.answered(item)
        if isinstance(item, Volatile):
            del self._words[item.number]
        # an answered sample goes with the next write: at worst it is told twice, alike
        self._learn(got, learned, changes, lazy=isinstance(item, Row) and item.thin)

    def _late(self, got: Result) -> None:
        """What they had heard after all. A question whose answer was given up has had its consequences."""
        match got.context:
            case SendBoot():
                self._result(got)
            case Row() | Latest() as item:
                if self._suspect is not None and self.outbox.is_out(item):
                    self._suspect = None
                elif not isinstance(item, Row):
                    return
                self._result(got)

    def _not_answered(self, context: object) -> None:
        self._unanswered += 1
        if isinstance(context, Row | Latest) and self.outbox.is_out(context):
            self._suspect = context
        elif context != _PROBE:
            self._failed(context)
        if self._unanswered >= MUTE:
            self._wire.drop(
                f"the backend is there but leaves {MUTE} messages in a row unanswered: look into its log and load",
                "mute",
            )
        else:
            self._probing = self._host.state.boot.status is BootStatus.ACCEPTED

    def _blame(self) -> None:
        """They answer, so it was the message. In 2.x it is told again at once, before those of later transactions;
        E13.FR.03 lets only those wait that were refused."""
        suspect, self._suspect = self._suspect, None
        if isinstance(suspect, Latest):
            self.outbox.unheard(suspect, self._clock.now().mono, STATUS_ATTEMPTS, STATUS_RETRY)
        elif suspect is not None:
            self._failed(suspect, refused=self.dialect.chronological)

    def _learn(self, got: Result, learned: Learned, changes: Changes, lazy: bool = False) -> None:
        heeded = "Heartbeat" in self._host.state.variables.get_list("time_sources")
        took = inf if got.late else self._clock.now().mono - self._called_at
        if learned.clock is not None and heeded and not self._clock.learn(learned.clock, took):
            log.warning("backend: its time %.40r is no time", learned.clock)
        if learned.fold is not None:
            self.fold = learned.fold
        if learned.fold is not None or changes:
            self._host.save(changes, lazy)
        for event in learned.events:
            self._host.feed(event)

    def _failed(self, context: object, refused: bool = True) -> None:
        """CALLERROR, an unusable answer, or none at all."""
        match context:
            case str():
                self._blame()
            case Row() as row if self.outbox.is_out(row):
                variables = self._host.state.variables
                changes = self.outbox.failed(
                    row,
                    self._clock.now().mono,
                    variables.get_int("transaction_attempts"),
                    variables.get_int("transaction_retry_interval") if refused else 0,
                )
                self._forget_dead(changes)
                self._host.save(changes)
            case Latest() as item:
                self.outbox.failed(item, 0.0, 0, 0.0)
            case Volatile() as item:
                self.outbox.failed(item, 0.0, 0, 0.0)
                self._feed_failure(self._words.pop(item.number))
            case SendBoot() as boot:
                self._feed_failure(boot)

    def _feed_failure(self, word: Question | Outgoing) -> None:
        match word:
            case SendBoot():
                self._host.feed(BootAnswered(BootStatus.NONE))
            case AskAuthorize(ask=ask):
                self._host.feed(AuthorizeAnswered(ask, None))

    def _forget_dead(self, changes: Changes) -> None:
        for row in changes.dead:
            log.error("gave up telling %s of transaction %s: see the dead letters", row.kind, row.tx)
            learned = self.dialect.answered(Outgoing("", {}), None, self.fold, self._host.state, _draft(row))
            self.fold = self.fold if learned.fold is None else learned.fold

    # ---- questions of theirs

    def _called(self, call: Call) -> None:
        ask = self._host.next_ask()
        if self._host.state.boot.status is BootStatus.REJECTED:
            if self.dialect.version == "1.6":
                self._rpc.ignore(call.id)  # 1.6 §4.2
            else:
                self._rpc.refuse(call.id, "SecurityError", "the boot was rejected: nothing is done before")  # B03.FR.08
            return
        try:
            handled = self.dialect.handle(
                ask, call.action, call.payload, self.fold, self._host.state, self._host.facts()
            )
        except Exception:
            log.exception("backend: %s could not be handled", call.action)
            self._rpc.refuse(call.id, "InternalError", "the request met a fault of the station")
            return
        match handled:
            case Reply():
                self._reply(call.id, handled)
            case Refuse(code, text):
                self._rpc.refuse(call.id, code, text)
            case Ask(event, context):
                self._asks[ask] = (call.id, call.action, call.payload, context)
                self._host.feed(event)

    def _reply(self, id_: str, reply: Reply) -> None:
        try:
            self._rpc.reply(id_, reply.payload)
        except Unsendable as e:
            log.error("not answered, a fault of ours: %s", e)
            self._rpc.refuse(id_, "InternalError", "the answer met a fault of the station")
        for out in reply.then:
            self._volatile(out)
        self._flush()

    # ---- inside

    def _flush(self) -> None:
        for frame in self._rpc.send():
            self._wire.send(frame)

    def _schedule(self, now: float) -> None:
        times = [t for t in (self._rpc.wake_at, self.outbox.wake_at(now) if self._open else None) if t is not None]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if times:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, min(times) - now), self.pump)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _draft(row: Row) -> Draft:
    return Draft(row.queue, row.kind, plain(row.facts), row.at, row.tx, row.seq, row.thin)
