"""The database file: its schema through all versions, how it is opened, what errors of it and of its disk mean."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chargerd.daemon import wal

T = TypeVar("T")

LOG_MOST = 1 << 20  # bytes the log keeps after a large commit
LEAST_FREE = 1 << 16  # bytes; the index of the log alone takes half of it
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


class Damaged(Exception):
    """It opens, but what it holds is not what was written."""


def files(path: Path) -> list[Path]:
    """The file, its log, and the log's index."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def address(path: Path) -> str:
    """The URI by which this process opens it, and no other process meanwhile.

    So the index of the log is in memory. As a file, mapped, it is on the disk half a minute after each commit, which
    costs a card more than the commit; and a disk that fails under a mapped file may end the process.
    """
    return f"{path.absolute().as_uri()}?vfs=unix-excl"


def open_database(path: Path, read: Callable[[sqlite3.Connection], T]) -> tuple[sqlite3.Connection, T]:
    """The database, created or migrated, and what `read` finds in it. Raises `Damaged`, of whatever kind.

    A `ValueError` of `read` means damaged, too: a flipped bit inside a text is seen by nobody else.
    """
    _look_at_log(path)
    db = sqlite3.connect(address(path), uri=True, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {LOG_MOST}")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # the store does it, to know what is written
        if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise Damaged(verdict)
        _migrate(db, path)
        try:
            return db, read(db)
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_ERROR:  # a table or a column is missing
                raise Damaged(str(error)) from error
            raise
    except BaseException as error:
        db.close()
        if isinstance(error, Damaged):
            raise
        if isinstance(error, ValueError) or _is_damage(error):
            raise Damaged(str(error)) from error
        raise


def _look_at_log(path: Path) -> None:
    """Before SQLite takes of it what it can. Raises `Damaged`."""
    if not path.exists():
        return
    with contextlib.suppress(FileNotFoundError), files(path)[1].open("rb") as log:
        if (frame := wal.first_lost(log)) is not None:
            raise Damaged(f"frame {frame} of its log is damaged, and commits stand behind it")
        if not path.stat().st_size and log.seek(0, os.SEEK_END) > wal.HEADER:  # SQLite would remove such a log
            raise Damaged("it is empty, but its log is not")


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


def of_the_row(error: sqlite3.Error) -> bool:
    """A row that does not fit its table; nothing that another row would fare better with is meant."""
    return not of_the_disk(error) or _code(error) == sqlite3.SQLITE_ERROR


_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on this file system",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable again; a card at its end turns read-only",
    sqlite3.SQLITE_IOERR: "check the storage medium",
    sqlite3.SQLITE_BUSY: "stop the other program that has it open",
    sqlite3.SQLITE_CANTOPEN: "create the directory and make it writable for this user",
    sqlite3.SQLITE_CORRUPT: "restart chargerd: it sets the file aside and begins a new one",
    sqlite3.SQLITE_NOTADB: "restart chargerd: it sets the file aside and begins a new one",
}


_SURE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ERRNO = {  # of what we do ourselves with the files
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EACCES: sqlite3.SQLITE_READONLY,
    errno.EPERM: sqlite3.SQLITE_READONLY,
    errno.ENOENT: sqlite3.SQLITE_CANTOPEN,
}


def explain(path: Path, error: Exception) -> str:
    """The error with its file and its remedy."""
    code = _ERRNO.get(error.errno or 0, 0) if isinstance(error, OSError) else _code(error)
    if code not in _SURE:
        code = _state_of_disk(path.parent) or code
    what = error.strerror if isinstance(error, OSError) else error
    return f"{path}: {what}: {_REMEDIES.get(code, 'check the storage medium')}"


def _state_of_disk(folder: Path) -> int:
    """What SQLite calls an I/O error, or does not open, may as well be for want of space, or of the right to write."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return 0
    if disk.f_flag & os.ST_RDONLY:
        return sqlite3.SQLITE_READONLY
    full = disk.f_bavail * disk.f_frsize < LEAST_FREE or (disk.f_files > 0 and disk.f_favail == 0)
    return sqlite3.SQLITE_FULL if full else 0
