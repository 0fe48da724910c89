"""What waits to be said to the CSMS, in four classes, and what may leave next.

    transactions   durable rows, in order: over the whole station in 1.6 (1.6 §3.6), per transaction in 2.x, where no
                   start overtakes what an older transaction has still to tell again
    critical       durable rows beside them: security events (A04.FR.02)
    latest         one slot per subject (a connector's status); a newer value replaces a waiting one
    volatile       the rest; forgotten when the link drops

Every entry has a *step*, an increasing number. A row that found the queue empty leaves in the order of steps together
with latest and volatile. A row that had to queue, was written offline, or has seen a failure, a lost link or a restart
is *backlog*: the other classes overtake it, so that nobody stands in front of a charger that is catching up.

One item is out at a time: `next` takes it; `answered`, `failed` or `lost` end it. A row stays in the queue until it is
answered. Its payload is frozen at its first send and repeated ever after; the exception is the 2.x `offline` flag,
which is no part of the frozen payload: the dialect adds it at every send from `Row.offline`.

The queue is bounded by thinning periodic samples. What may not be thinned is kept beyond the bound: who fills it must
begin nothing more once it is `filled`, and what runs may end.

Every change to rows is returned as `Changes`, to be committed by the store before the next frame leaves.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from chargerd.core.moment import Moment

Queue = Literal["transactions", "critical"]
ASKED = "asked"  # the kind of a row that the CSMS asked for with a TriggerMessage
START = "start"  # the kind of the row that opens a transaction: every other row of the transaction needs its answer


class Kept(Mapping[str, Any]):
    """A JSON object as its text: what waits for weeks weighs little, and is read when it is told."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, key: str) -> Any:
        return plain(self)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(plain(self))

    def __len__(self) -> int:
        return len(plain(self))


def kept(facts: Mapping[str, Any]) -> Kept:
    """ValueError for what JSON cannot say."""
    return facts if isinstance(facts, Kept) else Kept(json.dumps(facts, separators=(",", ":"), allow_nan=False))


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(facts.text) if isinstance(facts, Kept) else dict(facts)
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """A fact to be told. `thin`: a periodic sample that may be dropped when the queue is full.

    `facts` and `payload` are JSON objects; `seq` is given when the row is written and never reused (E04.FR.04).
    """

    id: int
    queue: Queue
    tx: str | None
    kind: str
    facts: Mapping[str, Any]
    at: Moment
    seq: int | None = None
    offline: bool = False
    thin: bool = False
    payload: Mapping[str, Any] | None = None
    message_id: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest value of a slot; `facts` decide whether it differs from what was told, `at` does not."""

    slot: str
    facts: Mapping[str, Any]
    at: Moment
    due_at: float
    step: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Volatile:
    """Said now or never; `number` tells two equal ones apart."""

    number: int
    kind: str
    facts: Mapping[str, Any]
    step: int


Item = Row | Latest | Volatile


@dataclass(frozen=True, slots=True)
class Changes:
    """What the store must do: write `put`, forget `delete`, move `dead` to the dead letters. False when empty."""

    put: tuple[Row, ...] = ()
    delete: tuple[int, ...] = ()
    dead: tuple[Row, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.delete or self.dead)

    def then(self, later: Changes) -> Changes:
        """Both in one: the same queue afterwards as one after the other."""
        gone = {*later.delete, *(row.id for row in later.dead)}
        put = {row.id: row for row in (*self.put, *later.put) if row.id not in gone}
        return Changes(tuple(put.values()), self.delete + later.delete, self.dead + later.dead)


_Key = tuple[Queue, str | None]


class _Lane:
    """Rows that must keep their order among themselves; `held_until` is the head's wait after a failure."""

    __slots__ = ("held_until", "rows")

    def __init__(self) -> None:
        self.rows: OrderedDict[int, Row] = OrderedDict()  # a plain dict walks over what was taken from its front
        self.held_until: float | None = None

    @property
    def head(self) -> int:
        return next(iter(self.rows))

    def held(self, now: float) -> bool:
        return self.held_until is not None and now < self.held_until


class Outbox:
    """`rows` and `doomed` (transactions whose start is a dead letter) come from the store; `max_rows`: per queue.

    `chronological`: one order over the whole station (1.6) instead of one per transaction (2.x).
    """

    def __init__(
        self, rows: Iterable[Row] = (), *, chronological: bool, max_rows: int, doomed: Iterable[str] = ()
    ) -> None:
        self._chronological = chronological
        self._max_rows = max_rows
        self._doomed = set(doomed)
        self._lanes: dict[_Key, _Lane] = {}
        self._heads: dict[Queue, list[tuple[int, _Key]]] = {"transactions": [], "critical": []}  # heaps, stale ones too
        self._counts: Counter[Queue] = Counter()
        self._thinnable = 0
        self._by_tx: Counter[str] = Counter()
        self._steps: dict[int, int] = {}  # row id -> step, of rows that are no backlog
        self._slots: dict[str, Latest] = {}
        self._told: dict[str, Mapping[str, Any]] = {}
        self._volatile: deque[Volatile] = deque()
        self._volatiles = 0
        self._last_id = -1
        self._out: Item | None = None
        for row in sorted(rows, key=lambda row: row.id):
            self._append(row)

    # ---- what waits

    @property
    def outstanding(self) -> Item | None:
        """The item taken by `next` and not ended yet. Look again after every wait: the link may have dropped."""
        return self._out

    @property
    def pending(self) -> bool:
        """Does anything wait to be said, whatever its class?"""
        return bool(self._lanes or self._slots or self._volatile or self._out)

    @property
    def telling(self) -> bool:
        """Does any message of a transaction wait?"""
        return self._counts["transactions"] > 0

    @property
    def filled(self) -> float:
        """How full the queue of the transactions is; above 1 where everything in it is too dear to be thinned."""
        return self._counts["transactions"] / self._max_rows

    @property
    def by_transaction(self) -> Mapping[str, int]:
        """How many rows wait of each transaction."""
        return self._by_tx

    @property
    def count(self) -> int:
        """Rows not answered yet."""
        return self._counts.total()

    def rows(self, tx: str | None = None) -> list[Row]:
        """Rows not answered yet, in order of their ids; only those of `tx` when given (E14)."""
        found = (row for lane in self._lanes.values() for row in lane.rows.values() if tx is None or row.tx == tx)
        return sorted(found, key=lambda row: row.id)

    def wake_at(self, now: float) -> float | None:
        """The first time after `now` at which `next` may answer differently by time alone."""
        times = [lane.held_until for lane in self._lanes.values() if lane.held_until is not None]
        times += [latest.due_at for latest in self._slots.values()]
        return min((time for time in times if time > now), default=None)

    # ---- in

    def add(self, rows: Iterable[Row], step: int) -> Changes:
        """Append rows; ids must grow. A full queue is thinned; a row of a doomed one is a dead letter at once."""
        added: list[Row] = []
        dead: list[Row] = []
        waited = any(self._waiting("transactions"))
        for row in rows:
            if row.id <= self._last_id:
                raise ValueError(f"row {row.id} after row {self._last_id}: ids must grow")
            self._last_id = row.id
            if row.tx in self._doomed or (row.queue == "critical" and self._counts["critical"] >= self._max_rows):
                dead.append(row)
                continue
            self._append(row)
            added.append(row)
            if not row.offline and (row.queue == "critical" or not waited):
                self._steps[row.id] = step
        thinned = self._thin()
        ours = {row.id for row in added}
        return Changes(
            put=tuple(row for row in added if row.id not in thinned),
            delete=tuple(sorted(thinned - ours)),
            dead=tuple(dead),
        )

    def latest(self, slot: str, facts: Mapping[str, Any], at: Moment, due_at: float, step: int) -> None:
        """The subject of `slot` is `facts` now; it is said from `due_at` on, unless it is again what was told."""
        if self._told.get(slot) == facts:
            self._slots.pop(slot, None)
        elif slot not in self._slots or self._slots[slot].facts != facts:
            self._slots[slot] = Latest(slot, facts, at, due_at, step)

    def forget_told(self) -> None:
        """The CSMS is not sure to know any slot (boot, OfflineThreshold): whatever is offered next is told."""
        self._told.clear()

    def volatile(self, kind: str, facts: Mapping[str, Any], step: int) -> Volatile | None:
        """Queue it; None when as many as `max_rows` wait already: then it is not taken."""
        if len(self._volatile) >= self._max_rows:
            return None
        self._volatiles += 1
        item = Volatile(self._volatiles, kind, facts, step)
        self._volatile.append(item)
        return item

    # ---- out

    def next(
        self, now: float, can_send_transactions: bool, can_send_other: bool, committing: bool = False
    ) -> Item | None:
        """Take what may leave now; None while an item is out. Critical rows count as other.

        `committing`: rows are on their way to the disk. They wait for it, and a status of a later step waits for them;
        what is volatile does not (a card must not wait for a slow disk).
        """
        if self._out is not None:
            return None
        row = self._first("transactions", now)
        if row is not None and can_send_transactions and committing:
            before = self._steps.get(row.id)
            self._out = (self._other(now, before) or self._first_volatile()) if can_send_other else None
        elif row is None or not can_send_transactions:
            self._out = self._other(now) if can_send_other else None
        else:
            self._out = (self._other(now, before=self._steps.get(row.id)) if can_send_other else None) or row
        match self._out:
            case Latest(slot, facts):
                del self._slots[slot]
                self._told[slot] = facts
            case Volatile():
                self._volatile.popleft()
        return self._out

    def next_volatile(self) -> Volatile | None:
        """Take the first of the volatile and of nothing else; None while an item is out."""
        if self._out is not None or not self._volatile:
            return None
        self._out = item = self._volatile.popleft()
        return item

    def next_asked(self, now: float, committing: bool) -> Volatile | Row | None:
        """Take what they asked for and nothing else: a volatile one, or a row that was asked for and is the next."""
        if self._out is None and not self._volatile and not committing:
            heads = (lane.rows[lane.head] for lane in self._lanes.values() if not lane.held(now))
            asked = (row for row in heads if row.kind == ASKED)
            self._out = min(asked, key=lambda row: row.id, default=None)
            return self._out
        return self.next_volatile()

    def frozen(self, row: Row, payload: Mapping[str, Any], message_id: str) -> tuple[Row, Changes]:
        """The outstanding row as it goes out; to be committed first. A payload once frozen cannot become another."""
        current = self._row_out(row)
        if current.payload is not None and current.payload != payload:
            raise ValueError(f"row {row.id} is frozen with another payload")
        if current.payload is not None and current.message_id == message_id:
            return current, Changes()
        new = self._replace(replace(current, payload=payload, message_id=message_id))
        self._out = new
        return new, Changes(put=(new,))

    def put_back(self) -> None:
        """The outstanding row did not leave, and is the next one again."""
        if not isinstance(self._out, Row):
            raise ValueError("no row is outstanding")
        self._out = None

    def is_out(self, item: Item) -> bool:
        """Is it the outstanding one?"""
        if isinstance(item, Row):
            return isinstance(self._out, Row) and self._out.id == item.id
        return self._out is item

    def waits(self, row: Row) -> bool:
        """Is it still to be answered, outstanding or not?"""
        lane = self._lanes.get(self._key(row))
        return lane is not None and row.id in lane.rows

    def answered(self, item: Item) -> Changes:
        """The CSMS has it."""
        if isinstance(item, Row):
            self._remove(self._row_out(item))
            self._out = None
            return Changes(delete=(item.id,))
        self._end(item)
        return Changes()

    def answered_late(self, row: Row) -> Changes:
        """The answer to an earlier attempt came while the row waits for the next one."""
        if not self.waits(row) or self.is_out(row):
            raise ValueError(f"row {row.id} does not wait for another attempt")
        self._remove(row)
        return Changes(delete=(row.id,))

    def failed(self, item: Item, now: float, attempts_max: int, retry_interval: float) -> Changes:
        """A CALLERROR or a timeout: a row waits `retry_interval` x attempts (1.6 §3.6.1, E13.FR.03), others are over.

        After `attempts_max` the row is a dead letter (E13.FR.04), a start together with its whole transaction.
        """
        if not isinstance(item, Row):
            self._end(item)
            return Changes()
        current = self._row_out(item)
        row = replace(current, attempts=current.attempts + 1)
        self._out = None
        if row.attempts < attempts_max:
            self._replace(row)
            self._steps.pop(row.id, None)
            self._lanes[self._key(row)].held_until = now + retry_interval * row.attempts
            return Changes(put=(row,))
        dead = [row]
        if row.kind == START and row.tx is not None:
            self._doomed.add(row.tx)
            dead += [other for other in self.rows(row.tx) if other.id != row.id]
        for each in dead:
            self._remove(each)
        return Changes(dead=tuple(dead))

    def unheard(self, item: Latest, now: float, attempts_max: int, retry_interval: float) -> None:
        """A timeout: who has not heard it believes something else for long, so it is told again unless it changed."""
        self._end(item)
        again = replace(item, attempts=item.attempts + 1)
        if again.attempts < attempts_max and self._told.get(item.slot) == item.facts:
            del self._told[item.slot]
            self._slots.setdefault(item.slot, replace(again, due_at=now + retry_interval * again.attempts))

    def lost(self) -> tuple[Changes, tuple[Volatile, ...]]:
        """The link dropped: no attempt. Waiting rows turn offline for good (E11.FR.07); the volatile are given back."""
        forgotten = tuple(self._volatile)
        self._volatile.clear()
        match self._out:
            case Volatile() as item:
                forgotten = (item, *forgotten)
            case Latest() as item:
                self._told.pop(item.slot, None)  # it may have arrived or not
                self._slots.setdefault(item.slot, item)
        self._out = None
        self._steps.clear()
        marked = [self._replace(replace(row, offline=True)) for row in self.rows() if not row.offline]
        return Changes(put=tuple(marked)), forgotten

    # ---- inside

    def _key(self, row: Row) -> tuple[Queue, str | None]:
        return row.queue, None if self._chronological else row.tx

    def _append(self, row: Row) -> None:
        self._last_id = row.id
        key = self._key(row)
        if key not in self._lanes:
            self._lanes[key] = _Lane()
            heapq.heappush(self._heads[row.queue], (row.id, key))
        self._lanes[key].rows[row.id] = row
        self._count(row, 1)

    def _count(self, row: Row, by: int) -> None:
        self._counts[row.queue] += by
        self._thinnable += by * row.thin
        if row.tx is not None:
            self._by_tx[row.tx] += by
            if not self._by_tx[row.tx]:
                del self._by_tx[row.tx]

    def _replace(self, row: Row) -> Row:
        self._lanes[self._key(row)].rows[row.id] = row
        return row

    def _remove(self, row: Row) -> None:
        key = self._key(row)
        lane = self._lanes[key]
        first = lane.head == row.id
        del lane.rows[row.id]
        self._count(row, -1)
        self._steps.pop(row.id, None)
        if first:
            lane.held_until = None
        if not lane.rows:
            del self._lanes[key]
        elif first:
            heapq.heappush(self._heads[row.queue], (lane.head, key))

    def _end(self, item: Latest | Volatile) -> None:
        if item is not self._out:
            raise ValueError(f"{item} is not outstanding")
        self._out = None

    def _row_out(self, row: Row) -> Row:
        """The current form of the outstanding row."""
        if not isinstance(self._out, Row) or self._out.id != row.id:
            raise ValueError(f"row {row.id} is not outstanding")
        return self._lanes[self._key(row)].rows[row.id]

    def _waiting(self, queue: Queue) -> Iterator[Row]:
        out = self._out.id if isinstance(self._out, Row) else None
        for key, lane in self._lanes.items():
            if key[0] == queue:
                yield from (row for row in lane.rows.values() if row.id != out)

    def _first(self, queue: Queue, now: float) -> Row | None:
        """The oldest row that is first in its lane, of those that no failure holds back.

        A transaction does not begin while the end of an older one may still have to be told: the CSMS would see two at
        one EVSE (E01.FR.14). What runs is not held up, and nobody for longer than the attempts.
        """
        heads = self._heads[queue]
        held: list[tuple[int, _Key]] = []
        found: Row | None = None
        while heads and found is None:
            id_, key = heads[0]
            lane = self._lanes.get(key)
            if lane is None or lane.head != id_:
                heapq.heappop(heads)
            elif lane.held(now) or (held and lane.rows[id_].kind == START):
                held.append(heapq.heappop(heads))
            else:
                found = lane.rows[id_]
        for each in held:
            heapq.heappush(heads, each)
        return found

    def _other(self, now: float, before: int | None = None) -> Item | None:
        """Latest, volatile or critical: the lowest step, but only one below `before`. Critical backlog is first."""
        found: list[tuple[int, Item]] = [(item.step, item) for item in self._slots.values() if item.due_at <= now]
        found += [(item.step, item) for item in list(self._volatile)[:1]]
        if critical := self._first("critical", now):
            found.append((self._steps.get(critical.id, -1), critical))
        step, first = min(found, key=lambda pair: pair[0], default=(0, None))
        return first if before is None or step < before else None

    def _first_volatile(self) -> Volatile | None:
        return self._volatile[0] if self._volatile else None

    def _thin(self) -> set[int]:
        """Full: drop every second periodic sample of each transaction, again and again while it helps.

        E11.FR.05, E06.FR.13. A frozen row may have arrived, so it stays; so does everything that is no periodic sample.
        """
        dropped: set[int] = set()
        while self._thinnable and self._counts["transactions"] > self._max_rows:
            seen: Counter[str | None] = Counter()
            victims: list[Row] = []
            for row in sorted(self._waiting("transactions"), key=lambda row: row.id):
                if row.thin and row.payload is None:
                    seen[row.tx] += 1
                    if seen[row.tx] % 2 == 0:
                        victims.append(row)
            if not victims:
                break
            for row in victims:
                self._remove(row)
            dropped |= {row.id for row in victims}
        return dropped
