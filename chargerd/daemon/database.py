"""The database file: its schema through all versions, how it is opened, what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SETS_ASIDE = 9
LOG_MOST = 1 << 20  # bytes the log keeps after a large commit
PAGE = 1024  # a commit touches a page or two: small pages wear the card least

# One entry per schema version, applied in order; never edited once released: every version is in the field.
_ROW_COLUMNS = (
    "id INTEGER PRIMARY KEY, queue TEXT NOT NULL, tx TEXT, kind TEXT NOT NULL, facts TEXT NOT NULL, mono REAL NOT NULL,"
    " wall REAL NOT NULL, trusted INTEGER NOT NULL, boot INTEGER NOT NULL, seq INTEGER, offline INTEGER NOT NULL,"
    " thin INTEGER NOT NULL, payload TEXT, message_id TEXT, attempts INTEGER NOT NULL"
)
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE state (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
        f"CREATE TABLE outbox ({_ROW_COLUMNS})",
        f"CREATE TABLE dead ({_ROW_COLUMNS})",
        "CREATE TABLE session (uid TEXT PRIMARY KEY, outlet INTEGER, token TEXT NOT NULL, started REAL NOT NULL,"
        " ended REAL NOT NULL, trusted INTEGER NOT NULL, start_wh REAL, end_wh REAL, reason TEXT NOT NULL,"
        " csms_tx TEXT) WITHOUT ROWID",
        "CREATE INDEX session_started ON session (started)",
        "CREATE TABLE boot (number INTEGER PRIMARY KEY, mono REAL NOT NULL, wall REAL NOT NULL,"
        " trusted INTEGER NOT NULL)",
    ),
    (
        # What was told of transactions is a row for each, where one for all grew with every transaction that waits;
        # and the table has a rowid: without one, a body of a quarter page is rewritten with its neighbours.
        "CREATE TABLE bodies (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL)",
        "INSERT INTO bodies SELECT * FROM state WHERE key <> 'fold'",
        "INSERT INTO bodies SELECT 'fold/' || e.key, s.version, e.value FROM state s, json_each(s.body) e"
        " WHERE s.key = 'fold' AND e.key <> 'transactions'",
        "INSERT INTO bodies SELECT 'fold/' || e.key, s.version, e.value"
        " FROM state s, json_each(s.body, '$.transactions') e WHERE s.key = 'fold'",
        "DROP TABLE state",
        "ALTER TABLE bodies RENAME TO state",
    ),
)


class StoreFailed(Exception):
    """The disk did not take it; what was to be written is kept in memory. The text names the file and the remedy."""


class StoreTooNew(StoreFailed):
    """The file was written by a newer chargerd; nothing was touched."""


class _Damaged(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Lost:
    """A damaged file: where it was put, and how many of its rows the new one has."""

    path: Path
    salvaged: int


def open_sound(path: Path, read: Callable[[sqlite3.Connection], T]) -> tuple[sqlite3.Connection, T, Lost | None]:
    """The database, created or migrated, what `read` finds in it, and what became of a damaged one before it.

    A `ValueError` of `read` means damaged, too: a flipped bit inside a text is seen by nobody else.
    """
    damaged = path.with_name(f"{path.name}.damaged")  # its name until what can be read of it is saved
    if not damaged.exists():
        try:
            return *_open(path, read), None
        except _Damaged:
            _remove(damaged)  # a log without its file, if anything
    elif path.exists():  # begun by a run that did not get to the end
        _remove(path)
    _rename(path, damaged)
    salvaged = 0

    def fill(db: sqlite3.Connection) -> T:
        nonlocal salvaged
        try:
            salvaged = _salvage(damaged, db)
        except OSError as error:
            if error.errno == errno.EIO:  # it cannot be read, and never will; a full disk can be mended
                raise _Damaged(str(error)) from error
            raise
        return read(db)

    try:
        db, found = _open(path, fill)
    except _Damaged:  # what was salvaged makes no sense together
        salvaged = 0
        _remove(path)
        db, found = _open(path, read)
    return db, found, Lost(_put_aside(damaged), salvaged)


def _open(path: Path, read: Callable[[sqlite3.Connection], T]) -> tuple[sqlite3.Connection, T]:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {LOG_MOST}")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # the store does it, to know what is written
        if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise _Damaged(verdict)
        _migrate(db, path)
        try:
            return db, read(db)
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_ERROR:  # a table or a column is missing
                raise _Damaged(str(error)) from error
            raise
    except BaseException as error:
        db.close()
        if isinstance(error, _Damaged):
            raise
        if isinstance(error, ValueError) or _is_damage(error):
            raise _Damaged(str(error)) from error
        raise


def _files(path: Path) -> list[Path]:
    """The file, its log, and the log's index."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def _remove(path: Path) -> None:
    """Its log first, which is no other file's."""
    for each in reversed(_files(path)):
        each.unlink(missing_ok=True)


def _rename(path: Path, to: Path) -> None:
    for old, new in zip(_files(path), _files(to), strict=True):
        if old.exists() and not old.name.endswith("-shm"):
            old.replace(new)


def _put_aside(damaged: Path) -> Path:
    """Rename to `<name>.corrupt-<n>`, with its log; the last number is used again when all are taken."""
    names = [damaged.with_suffix(f".corrupt-{n}") for n in range(1, SETS_ASIDE + 1)]
    aside = next((name for name in names if not name.exists()), names[-1])
    _remove(aside)
    _rename(damaged, aside)
    return aside


def _salvage(aside: Path, db: sqlite3.Connection) -> int:
    """Copy what can be read of the damaged file, row by row, from both ends of each table; how many rows it was."""
    saved = 0
    with tempfile.TemporaryDirectory(dir=aside.parent, prefix="salvage-") as folder:
        copy = Path(folder, aside.name)
        for old, new in zip(_files(aside), _files(copy), strict=True):
            if old.exists():
                shutil.copyfile(old, new)
        _lengthen(copy)
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as old_db:
            old_db.text_factory = bytes
            db.execute("BEGIN IMMEDIATE")
            for table in _SALVAGED:
                for row in _readable(old_db, table):
                    places = ", ".join("?" * len(row))
                    with contextlib.suppress(sqlite3.Error):
                        saved += db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row).rowcount
            db.execute("COMMIT")
    return saved


def _lengthen(path: Path) -> None:
    """To the size that its header tells (sqlite.org/fileformat.html, §1.3): SQLite reads nothing of a shorter file."""
    with path.open("r+b") as file:
        page, pages = struct.unpack(">16xH10xI", file.read(32).ljust(32, b"\0"))
        whole = (65536 if page == 1 else page) * pages
        if path.stat().st_size < whole <= _LARGEST:
            file.truncate(whole)


_LARGEST = 1 << 30  # bytes, whatever a damaged header says
# Table -> its key, and the columns that hold JSON.
_SALVAGED: dict[str, tuple[str, tuple[int, ...]]] = {
    "boot": ("number", ()),
    "state": ("key", (2,)),
    "outbox": ("id", (4, 12)),
    "dead": ("id", (4, 12)),
    "session": ("uid", ()),
}


def _readable(db: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """Every row whose texts are whole; some twice."""
    key, documents = _SALVAGED[table]
    for direction in ("ASC", "DESC"):
        try:
            for row in db.execute(f"SELECT * FROM {table} ORDER BY {key} {direction}"):
                with contextlib.suppress(ValueError, TypeError):
                    whole = tuple(value.decode() if isinstance(value, bytes) else value for value in row)
                    for document in (whole[column] for column in documents if whole[column] is not None):
                        json.loads(document)
                    yield whole
        except sqlite3.Error:
            continue
        else:
            return


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreTooNew(
            f"{path}: schema {version}, this chargerd knows up to {len(MIGRATIONS)}: "
            "install the newer version again, or move the file away to begin anew"
        )
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(error: BaseException) -> bool:
    undecodable = isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode")
    return undecodable or _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def of_the_disk(error: Exception) -> bool:
    """Full, read-only, I/O, locked, damaged; not a wrong statement or value, which would fail for ever."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on this file system",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable again; a card at its end turns read-only",
    sqlite3.SQLITE_IOERR: "check the storage medium",
    sqlite3.SQLITE_BUSY: "stop the other program that has it open",
    sqlite3.SQLITE_CANTOPEN: "create the directory and make it writable for this user",
    sqlite3.SQLITE_CORRUPT: "restart chargerd: it sets the file aside and begins a new one",
    sqlite3.SQLITE_NOTADB: "restart chargerd: it sets the file aside and begins a new one",
}


def explain(path: Path, error: Exception) -> str:
    """The error with its file and its remedy."""
    return f"{path}: {error}: {_REMEDIES.get(_code(error), 'check the storage medium')}"
