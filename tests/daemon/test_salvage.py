"""A damaged database: what can be read of it is kept, that something is lost is known, and no crash changes that."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chargerd.daemon import database, salvage
from chargerd.daemon.database import StoreFailed
from chargerd.daemon.store import Batch, Store
from chargerd.ocpp.outbox import Changes
from tests.daemon.stored import SESSION, row


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def damage_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[database.PAGE : 2 * database.PAGE] = b"\xa5" * database.PAGE
    path.write_bytes(content)


def damage_history(path: Path) -> None:
    """A page that nobody reads at start."""
    content = bytearray(path.read_bytes())
    start = content.index(b"04A2") // database.PAGE * database.PAGE
    content[start : start + database.PAGE] = b"\xa5" * database.PAGE
    path.write_bytes(content)


def damage_text(path: Path) -> None:
    """One flipped bit, which the database itself does not see."""
    content = path.read_bytes()
    at = content.index(b'{"needle"')
    path.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])


def damage_encoding(path: Path) -> None:
    content = path.read_bytes()
    at = content.index(b"needle")
    path.write_bytes(content[:at] + bytes([content[at] | 0x80]) + content[at + 1 :])


@pytest.mark.parametrize("damage", [damage_header, damage_page, damage_history, damage_text, damage_encoding])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    opened: Callable[..., Store], path: Path, damage: Callable[[Path], None]
) -> None:
    one = opened()
    one.commit_now(Batch(state={"needle": {"needle": 1}}, sessions=[SESSION]))
    assert one.lost is None
    one.close()
    damage(path)
    bytes_before = path.read_bytes()
    two = opened()
    assert two.lost is not None and two.lost.path == path.with_name("chargerd.db.corrupt-1")
    assert two.lost.path.read_bytes() == bytes_before
    saved = two.load(0.0, 0.0, False).state
    assert saved in ({}, {"needle": {"needle": 1}})
    two.told()
    two.commit_now(Batch(state={"a": 1}))
    two.close()
    three = opened()
    assert three.lost is None and three.load(0.0, 0.0, False).state == {**saved, "a": 1}


def damage_half(path: Path) -> None:
    """Truncated in the middle of what waits."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damage_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE session")


def damage_outbox(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = content.index(b'{"n":150}') // database.PAGE * database.PAGE
    content[start : start + database.PAGE] = b"\xa5" * database.PAGE
    path.write_bytes(content)


def damage_fact(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b'{"n":150}', b'{"n";150}'))


@pytest.mark.parametrize(
    ("damage", "least"), [(damage_half, 50), (damage_schema, 300), (damage_outbox, 280), (damage_fact, 299)]
)
def test_what_can_be_read_of_a_damaged_queue_is_told_and_no_number_comes_again(
    opened: Callable[..., Store], path: Path, damage: Callable[[Path], None], least: int
) -> None:
    one = opened()
    before = one.load(0.0, 0.0, False)
    rows = tuple(row(before.next_row + n, facts={"n": n}) for n in range(300))
    one.commit_now(Batch(outbox=Changes(put=rows)))
    one.close()
    damage(path)
    two = opened()
    assert two.lost is not None and two.lost.salvaged >= least
    after = two.load(0.0, 0.0, False)
    assert all(each in rows for each in after.rows) and len(after.rows) >= least
    assert list(after.rows) == sorted(after.rows, key=lambda each: each.id)
    assert after.next_row > rows[-1].id
    assert not list(path.parent.glob("salvage-*"))


@pytest.mark.parametrize("why", [OSError(errno.ENOSPC, "no space"), SystemExit()])
def test_what_could_not_be_saved_in_one_run_is_saved_in_the_next(
    opened: Callable[..., Store], path: Path, monkeypatch: pytest.MonkeyPatch, why: BaseException
) -> None:
    one = opened()
    first = one.load(0.0, 0.0, False).next_row
    rows = tuple(row(first + n, facts={"n": n}) for n in range(300))
    one.commit_now(Batch(outbox=Changes(put=rows)))
    one.close()
    damage_half(path)

    def broken(*args: object) -> None:
        raise why

    with monkeypatch.context() as patched:
        patched.setattr(salvage, "_lengthen", broken)
        for _ in range(2):
            with pytest.raises((StoreFailed, SystemExit)):
                opened()
    two = opened()
    assert two.lost is not None and two.lost.salvaged >= 50
    assert len(two.load(0.0, 0.0, False).rows) >= 50
    two.told()
    two.close()
    assert opened().lost is None


def test_a_damaged_file_on_a_medium_that_cannot_be_read_is_lost_and_told(
    opened: Callable[..., Store], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().close()
    damage_header(path)

    def unreadable(*args: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(shutil, "copyfile", unreadable)
    two = opened()
    assert two.lost is not None and two.lost.salvaged == 0
    two.told()
    two.close()
    assert opened().lost is None


def test_where_nothing_can_be_read_numbers_go_on_by_the_clock(opened: Callable[..., Store], path: Path) -> None:
    one = opened()
    first = one.load(0.0, 1_800_000_000.0, True).next_row
    one.close()
    damage_header(path)
    assert opened().load(0.0, 1_800_000_600.0, True).next_row > first + (1000 << 32)


@pytest.mark.parametrize("half", [b"no database", None])
def test_a_file_beside_the_damaged_one_that_says_nothing_of_it_is_begun_anew(
    opened: Callable[..., Store], path: Path, half: bytes | None
) -> None:
    one = opened()
    one.commit_now(Batch(state={"a": 1}))
    one.close()
    path.replace(path.with_name("chargerd.db.damaged"))
    if half is None:
        opened().close()
        path.with_name("chargerd.db.corrupt-1").replace(path.with_name("chargerd.db.damaged"))
        with closing(sqlite3.connect(path)) as db:
            db.execute("DROP TABLE lost")
            db.execute("DELETE FROM state")
            db.commit()
    else:
        path.write_bytes(half)
    two = opened()
    assert two.lost is not None and two.load(0.0, 0.0, False).state == {"a": 1}


def test_where_the_boots_are_lost_numbers_go_on_behind_those_of_the_rows(
    opened: Callable[..., Store], path: Path
) -> None:
    one = opened()
    last = row((5000 << 32) + 7)
    one.commit_now(Batch(outbox=Changes(put=(last,))))
    one.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE boot")
    two = opened().load(0.0, 0.0, False)
    assert two.rows == (last,) and two.next_row > last.id


def test_the_log_of_a_damaged_file_does_not_enter_the_new_one(tmp_path: Path, path: Path) -> None:
    Store.open(path, inline=True).close()
    one = Store.open(path, inline=True)
    one.commit_now(Batch(state={"a": 1}))
    copy = tmp_path / "cut.db"
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    one.close()
    damage_header(copy)
    two = Store.open(copy, inline=True)
    assert two.lost is not None and two.load(0.0, 0.0, False).state == {}
    two.close()


def test_what_is_set_aside_is_bounded(opened: Callable[..., Store], path: Path) -> None:
    for _ in range(salvage.SETS_ASIDE + 2):
        damage_header(path)
        opened().close()
    assert len(list(path.parent.glob("*.corrupt-*"))) == salvage.SETS_ASIDE


# ---- a damaged log


def damage_log(path: Path) -> bytes:
    """The log, with one flipped bit in the first of many commits."""
    log = bytearray(path.with_name(path.name + "-wal").read_bytes())
    log[log.index(b'{"n":0}')] ^= 1
    return bytes(log)


def test_a_log_that_would_be_cut_short_in_silence_is_set_aside(tmp_path: Path, path: Path) -> None:
    one = Store.open(path, inline=True)
    first = one.load(0.0, 0.0, False).next_row
    for n in range(10):
        one.commit_now(Batch(state={"n": n}, outbox=Changes(put=(row(first + n, facts={"n": n}),))))
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    copy.with_name("copy.db-wal").write_bytes(damage_log(path))
    one.close()
    two = Store.open(copy, inline=True)
    assert two.lost is not None
    loaded = two.load(0.0, 0.0, False)
    assert len(loaded.rows) == 10 and loaded.state == {"n": 9}, "a later commit has the same pages"
    two.close()


def test_a_file_that_is_empty_beside_its_log_is_damaged(tmp_path: Path, path: Path) -> None:
    one = Store.open(path, inline=True)
    one.commit_now(Batch(state={"a": 1}))
    copy = tmp_path / "copy.db"
    copy.touch()
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    one.close()
    two = Store.open(copy, inline=True)
    assert two.lost is not None and two.load(0.0, 0.0, False).state == {"a": 1}
    two.close()


# ---- cut anywhere in between


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder that costs no disk: those who are cut off here leave their pages to the kernel anyway."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="salvage-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def test_a_cut_at_any_operation_loses_neither_the_old_file_nor_that_something_is_lost(quick: Path) -> None:
    """Each operation on files and each statement in turn is the last of its process; the next goes on from there."""
    path = quick / "chargerd.db"
    one = Store.open(path, inline=True)
    first = one.load(0.0, 0.0, False).next_row
    rows = tuple(row(first + n, facts={"n": n}) for n in range(40))
    for each in rows:
        one.commit_now(Batch(outbox=Changes(put=(each,))))
    image, log = path.read_bytes(), damage_log(path)
    one.close()
    cuts = 0
    while True:
        for old in path.parent.iterdir():
            old.unlink()
        path.write_bytes(image)
        path.with_name("chargerd.db-wal").write_bytes(log)
        finished = _cut(path, after=cuts)
        two = Store.open(path, inline=True)
        aside = path.with_name("chargerd.db.corrupt-1")
        assert two.lost is not None and two.lost.path == aside, f"cut {cuts}"
        assert aside.read_bytes() == image and aside.with_name("chargerd.db.corrupt-1-wal").read_bytes() == log
        loaded = two.load(0.0, 0.0, False)
        assert loaded.next_row > rows[-1].id + (1000 << 32)
        assert loaded.rows == rows
        two.told()
        two.close()
        three = Store.open(path, inline=True)
        assert three.lost is None and three.load(0.0, 0.0, False).next_row > loaded.next_row
        three.close()
        assert {each.name for each in path.parent.iterdir()} == {path.name, aside.name, f"{aside.name}-wal"}
        if finished:
            break
        cuts += 1
    assert cuts > 40


AUDITED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile", "sqlite3.connect"}


def _cut(path: Path, after: int) -> bool:
    """Open it in a process that ends at operation `after`; True if that was not reached."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    try:
        left = after

        def operation(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(1)

        class Counted(sqlite3.Connection):
            def execute(self, *arguments: Any) -> sqlite3.Cursor:
                operation()
                return super().execute(*arguments)

            def close(self) -> None:
                operation()
                super().close()

        def heard(event: str, arguments: tuple[object, ...]) -> None:
            if event in AUDITED:
                operation()

        sqlite3.connect = partial(sqlite3.connect, factory=Counted)  # type: ignore[assignment]
        sys.addaudithook(heard)
        one = Store.open(path, inline=True)
        one.load(0.0, 0.0, False)
        one._db.execute("PRAGMA user_version")  # after the first row of this boot
    except BaseException:
        os._exit(2)
    os._exit(0)
