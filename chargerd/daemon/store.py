"""What survives a power cut: one SQLite file, one writer, one transaction for all that waits together.

WAL with `synchronous=FULL`: a commit that returned is on the disk. Batches are applied in the order of `submit`; those
that wait while the disk is busy share a transaction, in which only the last word per key is written. What did not
change is not written at all, and what may be lost in a power cut (`put_by`) goes along with the next that may not.

A card wears by the block: the log is kept at its size and written over, since a file that grows costs the file system's
own journal more than the commit itself. And its index is no file (`database.address`), so nobody else can read along.

A disk that fails (full, read-only, I/O) costs nobody the data: whoever waits gets `StoreFailed` once, the writes stay
in memory and go out as soon as the disk takes them, `failed` says why meanwhile. A file found damaged when it is opened
is set aside (`lost`), and a new one begun with what can be read of it. Any other exception ends the store: it is an
error of the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from chargerd.core.moment import Moment
from chargerd.daemon import wal
from chargerd.daemon.database import StoreFailed, StoreTooNew, address, explain, of_the_disk
from chargerd.daemon.salvage import FORGET, Lost, open_sound
from chargerd.ocpp.outbox import START, Changes, Kept, Row, kept

Gate = Callable[[str], None]
Writes = dict[tuple[str, str | int], tuple[str, Sequence[Any]]]  # (table, key) -> the last word on it

MEMORY_MAX = 20_000  # writes kept in memory while the disk fails
DEAD_MAX = 10_000  # dead letters kept; the oldest go
HISTORY_MOST = 10_000  # sessions kept; the oldest go
BOOTS_KEPT = 256
BOOTS_LOST = 1000  # more than may have been since the last one that can be read
CHECKPOINT_FRAMES = 256


@dataclass(frozen=True, slots=True)
class Session:
    """A closed transaction for the history: unix seconds, Wh of the register; `trusted`: both stamps were good."""

    uid: str
    outlet: int | None
    token: str
    started: float
    ended: float
    trusted: bool
    start_wh: float | None
    end_wh: float | None
    reason: str
    csms_tx: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """All of one step, together or not at all. `state`: key -> JSON, None deletes; `anchor`: this boot's clock."""

    state: Mapping[str, Any] = field(default_factory=dict)
    outbox: Changes = field(default_factory=Changes)
    sessions: Sequence[Session] = ()
    anchor: Moment | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the last boot left. `boots`: one anchor each, oldest first, this one last; row ids go on at `next_row`.

    `versions`: state key -> version it was written with; `doomed`: transactions whose start is a dead letter.
    """

    state: Mapping[str, Any]
    versions: Mapping[str, int]
    rows: tuple[Row, ...]
    boot: int
    boots: tuple[Moment, ...]
    next_row: int
    doomed: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """The contents at opening; `bodies` is the state as the text it is kept in."""

    bodies: Mapping[str, str]
    state: Mapping[str, Any]
    versions: Mapping[str, int]
    rows: tuple[Row, ...]
    boots: tuple[Moment, ...]
    doomed: frozenset[str]
    last_boot: int


class Store:
    """Use `Store.open`. One event loop submits; a thread of our own writes, or with `inline` the caller itself."""

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        found: _Found,
        lost: Lost | None,
        *,
        state_version: int,
        inline: bool,
        gate: Gate | None,
        retry_after: float,
        history: int,
    ) -> None:
        self.lost = lost
        """What became of a damaged file, if there was one, until `told`."""
        self.bytes_written = 0
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._history = history
        self._db = db
        self._found: _Found | None = found
        self._state_version = state_version
        self._gate = gate or (lambda point: None)
        self._retry_after = retry_after
        self._page: int = db.execute("PRAGMA page_size").fetchone()[0]
        self._extent = self._extent_now(wal.Extent())
        self._dead: int = db.execute("SELECT count(*) FROM dead").fetchone()[0]
        self._said: dict[str, str] = {}  # state key -> text submitted last
        self._by: Writes = {}  # waits for company
        self._unwritten: Writes = {}
        self._failed: str | None = None
        self._ended: Exception | None = None
        self._queue: list[tuple[Writes, asyncio.Future[None] | None]] = []
        self._wake = threading.Condition()
        self._closing = False
        self._thread = None if inline else threading.Thread(target=self._run, name="store", daemon=True)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        state_version: int = 1,
        inline: bool = False,
        gate: Gate | None = None,
        retry_after: float = 5.0,
        history: int = HISTORY_MOST,
    ) -> Store:
        """Open or create, migrate, and begin to write. Raises `StoreFailed`, `StoreTooNew`.

        `gate` is called with "before-commit" and "after-commit" around each commit; what it raises ends the store,
        but `sqlite3.OperationalError` before a commit passes for a failing disk. `history`: sessions kept.
        """
        try:
            db, found, lost = open_sound(path, _read)
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(explain(path, error)) from error
        if (newest := max(found.versions.values(), default=0)) > state_version:
            db.close()
            raise StoreTooNew(
                f"{path}: state of version {newest}, this chargerd knows up to {state_version}: "
                "install the newer version again, or move the file away to begin anew"
            )
        store = cls(
            path,
            db,
            found,
            lost,
            state_version=state_version,
            inline=inline,
            gate=gate,
            retry_after=retry_after,
            history=history,
        )
        if store._thread:
            store._thread.start()
        return store

    @property
    def failed(self) -> str | None:
        """Why nothing reaches the disk at present, with the remedy; None while all is well."""
        return self._failed

    @property
    def dead_count(self) -> int:
        """How many dead letters there are, without a look at the disk."""
        return self._dead

    # ---- reading

    def told(self) -> None:
        """All that is to be done about what was lost has been submitted: the next start knows nothing of it."""
        self._enqueue({("lost", 0): (FORGET, ())}, None)

    def load(self, mono: float, wall: float, trusted: bool) -> Loaded:
        """Begin a boot with this clock and give what the last one left; once, before the first `submit`."""
        found, self._found = self._found, None
        if found is None:
            raise RuntimeError("load is called once")
        boot = found.last_boot + 1
        if self.lost is not None:  # the last boots may be lost, and no number of theirs may come again
            boot = max(boot + BOOTS_LOST, int(wall) // 60)
        anchor = Moment(mono, wall, trusted, boot)
        self._said = dict(found.bodies)
        writes = self._prepare(Batch(anchor=anchor))
        writes["boots", 0] = ("DELETE FROM boot WHERE number <= ?", (boot - BOOTS_KEPT,))
        self._enqueue(writes, None)
        return Loaded(
            state=found.state,
            versions=found.versions,
            rows=found.rows,
            boot=boot,
            boots=(*found.boots, anchor),
            next_row=(boot << 32) + 1,  # never reused, without a counter to write
            doomed=found.doomed,
        )

    def sessions(self, limit: int = 1000, since: float = 0.0) -> list[Session]:
        """The newest `limit` sessions that started at or after `since` (unix seconds), newest first."""
        query = "SELECT * FROM session WHERE started >= ? ORDER BY started DESC, uid LIMIT ?"
        with self._reader() as db:
            found = db.execute(query, (since, limit)).fetchall()
        return [
            Session(uid, outlet, token, started, ended, bool(trusted), start_wh, end_wh, reason, csms_tx)
            for uid, outlet, token, started, ended, trusted, start_wh, end_wh, reason, csms_tx in found
        ]

    def dead(self) -> list[Row]:
        """The dead letters, in order of their ids."""
        with self._reader() as db:
            return [_row(values) for values in db.execute("SELECT * FROM dead ORDER BY id")]

    # ---- writing

    def submit(self, batch: Batch) -> asyncio.Future[None]:
        """Queue `batch` at once; the future ends when it is on the disk, or with `StoreFailed`. May be left alone."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody need look at it
        self._enqueue(self._with_company(batch), future)
        return future

    def put_by(self, batch: Batch) -> None:
        """Write it together with the next batch that is submitted; a power cut before that takes it."""
        _merge(self._by, self._prepare(batch))

    async def commit(self, batch: Batch) -> None:
        """Return when `batch` and all before it are on the disk. `StoreFailed`: kept in memory, do not repeat it."""
        await self.submit(batch)

    def retry(self) -> None:
        """Try now what an earlier failure left; but for a store that is `inline`, it is tried after a while anyway."""
        if not self._thread:
            with contextlib.suppress(StoreFailed):
                self._write({})
            return
        with self._wake:
            self._wake.notify()

    def commit_now(self, batch: Batch) -> None:
        """`commit` without a loop; only for a store opened with `inline`."""
        if self._thread:
            raise RuntimeError("commit_now needs a store opened with inline=True")
        if error := self._write(self._with_company(batch)):
            raise error

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for at most `timeout` seconds, and close."""
        if self._thread:
            self._enqueue(self._with_company(Batch()), None)
            with self._wake:
                self._closing = True
                self._wake.notify()
            self._thread.join(timeout)
        elif not self._ended:
            self._write(self._with_company(Batch()))
            self._end(StoreFailed(f"{self._path}: closed"))

    # ---- inside: the submitting side

    def _with_company(self, batch: Batch) -> Writes:
        writes, self._by = self._by, {}
        _merge(writes, self._prepare(batch))
        return writes

    def _prepare(self, batch: Batch) -> Writes:
        """The statements of a batch as text, so that what the caller changes later cannot reach the disk."""
        writes: Writes = {}
        bodies = {key: None if value is None else _text(value) for key, value in batch.state.items()}
        for key, body in bodies.items():
            if self._said.get(key) == body:
                continue
            if body is None:
                writes["state", key] = ("DELETE FROM state WHERE key = ?", (key,))
            else:
                writes["state", key] = (_SET, (key, self._state_version, body))
        changes = batch.outbox
        for row in changes.put:
            writes["outbox", row.id] = (_insert("outbox", 15), _values(row))
        for id_ in (*changes.delete, *(row.id for row in changes.dead)):
            writes["outbox", id_] = ("DELETE FROM outbox WHERE id = ?", (id_,))
        for row in changes.dead:
            writes["dead", row.id] = (_insert("dead", 15), _values(row))
        self._dead = min(self._dead + len(changes.dead), DEAD_MAX)
        if changes.dead:
            oldest = "SELECT id FROM dead ORDER BY id DESC LIMIT -1 OFFSET ?"
            writes["dead-limit", 0] = (f"DELETE FROM dead WHERE id IN ({oldest})", (DEAD_MAX,))
        for session in batch.sessions:
            writes["session", session.uid] = (_insert("session", 10), astuple(session))
        if batch.sessions:
            oldest = "SELECT uid FROM session ORDER BY started DESC LIMIT -1 OFFSET ?"
            writes["session-limit", 0] = (f"DELETE FROM session WHERE uid IN ({oldest})", (self._history,))
        if at := batch.anchor:
            writes["boot", at.boot] = (_insert("boot", 4), (at.boot, at.mono, at.wall, at.trusted))
        for _, values in writes.values():
            for value in values:
                if isinstance(value, str):
                    value.encode()  # a lone surrogate must fail here, for its sender, not for the whole transaction
        for key, body in bodies.items():
            if body is None:
                self._said.pop(key, None)
            else:
                self._said[key] = body
        return writes

    def _enqueue(self, writes: Writes, future: asyncio.Future[None] | None) -> None:
        if not self._thread:
            _settle(future, self._write(writes))
            return
        with self._wake:
            if self._ended:
                _settle(future, self._ended)
                return
            self._queue.append((writes, future))
            self._wake.notify()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own: reading neither waits for the writer nor disturbs it."""
        try:
            with contextlib.closing(sqlite3.connect(f"{address(self._path)}&mode=ro", uri=True)) as db:
                yield db
        except sqlite3.Error as error:
            raise StoreFailed(explain(self._path, error)) from error

    # ---- inside: the writing side

    def _run(self) -> None:
        while not self._ended:
            with self._wake:
                if not self._queue and not self._closing:
                    self._wake.wait(self._retry_after if self._unwritten else None)
                taken, self._queue = self._queue, []
                closing = self._closing
            writes: Writes = {}
            for each, _ in taken:
                _merge(writes, each)
            error: Exception | None
            try:
                error = self._write(writes)
            except Exception as fatal:
                error = fatal
            if closing and not self._ended:
                self._end(StoreFailed(f"{self._path}: closed"))
            for _, future in taken:
                if future:
                    with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                        future.get_loop().call_soon_threadsafe(_settle, future, error)

    def _write(self, writes: Writes) -> StoreFailed | None:
        """One transaction for `writes` and for all that an earlier failure left; what is returned is what to raise."""
        if self._ended:
            raise self._ended
        _merge(self._unwritten, writes)
        if not self._unwritten:
            return None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for sql, values in self._unwritten.values():
                self._db.execute(sql, values)
            self._gate("before-commit")
            self._db.execute("COMMIT")
        except Exception as error:
            if not of_the_disk(error):
                self._end(error)
                raise
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._failed = explain(self._path, error)
            _bound(self._unwritten)
            return StoreFailed(self._failed)
        self._unwritten = {}
        self._failed = None
        self._count_bytes()
        try:
            self._gate("after-commit")
        except Exception as error:
            self._end(error)
            raise
        return None

    def _end(self, why: Exception) -> None:
        """No write after this one; an open transaction is gone, as with a power cut."""
        with self._wake:
            self._ended = why
            left, self._queue = self._queue, []
        self._db.close()
        for _, future in left:
            if future:
                with contextlib.suppress(RuntimeError):
                    future.get_loop().call_soon_threadsafe(_settle, future, why)

    def _count_bytes(self) -> None:
        """What the last commit appended to the log, and what a checkpoint then copied (its upper bound)."""
        before, now = self._extent, self._extent_now(self._extent)
        appended = now.frames - (before.frames if now.salts == before.salts else 0)
        self.bytes_written += appended * (self._page + wal.FRAME)
        self._extent = now
        if now.frames < CHECKPOINT_FRAMES:
            return
        with contextlib.suppress(sqlite3.Error):  # the log keeps what the file did not take; the next commit says why
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if not busy:
                pages: int = self._db.execute("PRAGMA page_count").fetchone()[0]
                self.bytes_written += min(now.frames, pages) * self._page

    def _extent_now(self, before: wal.Extent) -> wal.Extent:
        try:
            with self._log.open("rb") as log:
                return wal.extent(log, self._page, before)
        except OSError:  # none yet; or a disk so broken that the next commit says it
            return before


def opens(path: Path) -> bool:
    """Can the store be opened now?"""
    try:
        Store.open(path, inline=True).close()
    except StoreFailed:
        return False
    return True


# ---- rows and writes


def _read(db: sqlite3.Connection) -> _Found:
    state = {key: (version, body) for key, version, body in db.execute("SELECT * FROM state")}
    doomed = db.execute("SELECT tx FROM dead WHERE kind = ? AND tx IS NOT NULL", (START,))
    db.execute("SELECT uid FROM session LIMIT 1").fetchone()
    broken = "SELECT id FROM outbox WHERE NOT json_valid(facts) OR json_type(facts) <> 'object' LIMIT 1"
    if row := db.execute(broken).fetchone():
        raise ValueError(f"row {row[0]} of the outbox")
    boots = [
        Moment(mono, wall, bool(trusted), number)
        for number, mono, wall, trusted in db.execute("SELECT number, mono, wall, trusted FROM boot ORDER BY number")
    ]
    ids = db.execute("SELECT coalesce(max(id), 0) FROM outbox UNION SELECT coalesce(max(id), 0) FROM dead")
    return _Found(
        bodies={key: body for key, (_, body) in state.items()},
        state={key: json.loads(body) for key, (_, body) in state.items()},
        versions={key: version for key, (version, _) in state.items()},
        rows=tuple(_row(values) for values in db.execute("SELECT * FROM outbox ORDER BY id")),
        boots=tuple(boots),
        doomed=frozenset(tx for (tx,) in doomed),
        last_boot=max([*(id_ >> 32 for (id_,) in ids), *(each.boot for each in boots)]),
    )


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


_SET = (  # in its place: a REPLACE would touch the index as well
    "INSERT INTO state VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET version = excluded.version, body = excluded.body"
)


def _insert(table: str, columns: int) -> str:
    return f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})"


def _values(row: Row) -> tuple[Any, ...]:
    at = row.at
    payload = None if row.payload is None else _text(row.payload)
    head = (row.id, row.queue, row.tx, row.kind, kept(row.facts).text, at.mono, at.wall, at.trusted, at.boot, row.seq)
    return (*head, row.offline, row.thin, payload, row.message_id, row.attempts)


def _row(values: Sequence[Any]) -> Row:
    id_, queue, tx, kind, facts, mono, wall, trusted, boot, seq, offline, thin, payload, message_id, attempts = values
    return Row(
        id=id_,
        queue=queue,
        tx=tx,
        kind=kind,
        facts=Kept(facts),
        at=Moment(mono, wall, bool(trusted), boot),
        seq=seq,
        offline=bool(offline),
        thin=bool(thin),
        payload=None if payload is None else json.loads(payload),
        message_id=message_id,
        attempts=attempts,
    )


def _merge(into: Writes, later: Writes) -> None:
    """The last word per key wins, and keeps the place of the last."""
    for key, write in later.items():
        into.pop(key, None)
        into[key] = write


def _bound(writes: Writes) -> None:
    """Memory is bounded too: what can be missed most easily goes first; state and waiting rows stay.

    A forgotten deletion sends a row once more after a restart, with the same payload.
    """
    excess = len(writes) - MEMORY_MAX
    if excess > 0:
        spare = [
            (table, key)
            for (table, key), (sql, _) in writes.items()
            if table in ("dead", "session") or (table == "outbox" and sql.startswith("DELETE"))
        ]
        for each in spare[:excess]:
            del writes[each]


def _settle(future: asyncio.Future[None] | None, error: Exception | None) -> None:
    if future is None or future.done():
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(None)
