"""A damaged database is set aside, and a new one begun with what can be read of it.

A crash at any point in between loses neither the old file nor the knowledge that something is lost:

1. `NAME` becomes `NAME.damaged`, then its log follows: from here on it is known that there is damage.
2. `NAME.new` is made of what can be read, with a table `lost` in it, and becomes `NAME` when it is whole.
3. `NAME.damaged` gets the name that `lost` says; that table stays until what is lost is written elsewhere.

Whoever finds `NAME.damaged` at the start goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chargerd.daemon import wal
from chargerd.daemon.database import Damaged, files, of_the_row, open_database

T = TypeVar("T")
log = logging.getLogger(__name__)

SETS_ASIDE = 9
FORGET = "DROP TABLE IF EXISTS lost"


@dataclass(frozen=True, slots=True)
class Lost:
    """A damaged file: where it was put, and how many of its rows the new one has."""

    path: Path
    salvaged: int


def open_sound(path: Path, read: Callable[[sqlite3.Connection], T]) -> tuple[sqlite3.Connection, T, Lost | None]:
    """The database, what `read` finds in it, and what became of a damaged one, each time until `FORGET` is written."""
    damaged = path.with_name(f"{path.name}.damaged")
    if not damaged.exists():
        try:
            return _open(path, read)
        except Damaged as why:
            log.error("%s is damaged: %s", path, why)
            _remove(damaged)  # a log without its file, if anything
            path.replace(damaged)
            _sync(path.parent)
    elif path.exists():
        with contextlib.suppress(Damaged):
            db, found, lost = _open(path, read)
            if lost is not None:
                _put_aside(damaged, lost.path)
                return db, found, lost
            db.close()
        _remove(path)  # nobody has written to it yet
    _move(files(path)[1], files(damaged)[1])
    files(path)[2].unlink(missing_ok=True)
    _begin_anew(path, damaged, read)
    db, found, lost = _open(path, read)
    if lost is not None:
        _put_aside(damaged, lost.path)
    return db, found, lost


def _open(path: Path, read: Callable[[sqlite3.Connection], T]) -> tuple[sqlite3.Connection, T, Lost | None]:
    db, found = open_database(path, read)
    lost = None
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'lost'").fetchone():
        name, salvaged = db.execute("SELECT name, salvaged FROM lost").fetchone()
        lost = Lost(path.with_name(name), salvaged)
    return db, found, lost


def _begin_anew(path: Path, damaged: Path, read: Callable[[sqlite3.Connection], T]) -> None:
    new, name = path.with_name(f"{path.name}.new"), _free(path).name

    def fill(db: sqlite3.Connection) -> T:
        db.execute("BEGIN IMMEDIATE")
        try:
            saved = _salvage(damaged, db)
        except OSError as error:
            if error.errno == errno.EIO:  # it cannot be read, and never will; a full disk can be mended
                raise Damaged(str(error)) from error
            raise
        _note(db, name, saved)
        return read(db)

    def leave_empty(db: sqlite3.Connection) -> T:
        db.execute("BEGIN IMMEDIATE")
        _note(db, name, 0)
        return read(db)

    _remove(new)
    try:
        db, _ = open_database(new, fill)
    except Damaged:  # what was salvaged makes no sense together
        _remove(new)
        db, _ = open_database(new, leave_empty)
    with contextlib.closing(db):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it is in the one file, and on the disk
    new.replace(path)
    _sync(path.parent)


def _note(db: sqlite3.Connection, name: str, salvaged: int) -> None:
    """Commit it, with all that was salvaged."""
    db.execute("CREATE TABLE lost (name TEXT NOT NULL, salvaged INTEGER NOT NULL)")
    db.execute("INSERT INTO lost VALUES (?, ?)", (name, salvaged))
    db.execute("COMMIT")


# ---- files


def _remove(path: Path) -> None:
    """Its log first, which is no other file's."""
    for each in reversed(files(path)):
        each.unlink(missing_ok=True)


def _free(path: Path) -> Path:
    """`<name>.corrupt-<n>`; the last number is used again when all are taken."""
    names = [path.with_name(f"{path.name}.corrupt-{n}") for n in range(1, SETS_ASIDE + 1)]
    return next((name for name in names if not name.exists()), names[-1])


def _put_aside(damaged: Path, aside: Path) -> None:
    """Its log first: as long as the file itself has its name, this is done again."""
    if aside.exists():
        _remove(aside)
    for old, new in list(zip(files(damaged), files(aside), strict=True))[1::-1]:
        _move(old, new)
    _sync(aside.parent)


def _move(old: Path, new: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        old.replace(new)


def _sync(folder: Path) -> None:
    """The names in it are on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# ---- rows


def _salvage(damaged: Path, db: sqlite3.Connection) -> int:
    """Copy what can be read of the damaged file, row by row, from both ends of each table; how many rows it was."""
    saved = 0
    folder = damaged.with_suffix(".salvage")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with contextlib.closing(_copy(damaged, folder)) as old:
            for table in _SALVAGED:
                for row in _readable(old, table):
                    places = ", ".join("?" * len(row))
                    try:
                        saved += db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row).rowcount
                    except sqlite3.Error as error:
                        if not of_the_row(error):
                            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return saved


def _copy(damaged: Path, folder: Path) -> sqlite3.Connection:
    """Of the file and of what is whole of its log: reading changes both."""
    copy = folder / "copy"
    (_, old_log, _), (_, new_log, _) = files(damaged), files(copy)
    shutil.copyfile(damaged, copy)
    _lengthen(copy)
    with contextlib.suppress(FileNotFoundError), old_log.open("rb") as old, new_log.open("wb") as new:
        wal.mend(old, new)
    db = sqlite3.connect(copy, isolation_level=None)
    db.text_factory = bytes
    return db


def _lengthen(path: Path) -> None:
    """To the size that its header tells (sqlite.org/fileformat.html, §1.3): SQLite reads nothing of a shorter file.

    Nor of the log of an empty one.
    """
    with path.open("r+b") as file:
        page, pages = struct.unpack(">16xH10xI", file.read(32).ljust(32, b"\0"))
        whole = (65536 if page == 1 else page) * pages or 512
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
