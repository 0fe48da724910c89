"""A log in which something is damaged: either nothing that was committed is missing, or it is known."""

from __future__ import annotations

import io
import random
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from chargerd.daemon.wal import FRAME, HEADER, Extent, extent, first_lost, mend

PAGE = 512
WHOLE = FRAME + PAGE
Change = Callable[[bytearray, int], None]  # of the log, at a frame's first byte


@dataclass(frozen=True, slots=True)
class Written:
    """A database whose power went after commit `last`; `ends`: frames of the log after each commit, from 0."""

    image: bytes
    log: bytes
    ends: tuple[int, ...]

    @property
    def last(self) -> int:
        return len(self.ends) - 1

    @property
    def frames(self) -> int:
        return self.ends[-1]

    def commit_of(self, frame: int) -> int:
        """The commit that frame (from 1) belongs to, from 1."""
        return next(n for n, end in enumerate(self.ends) if frame <= end)


def write(folder: Path, commits: int, round_before: bool, chance: random.Random) -> Written:
    """Commit n sets `n` to n, and adds so many rows that one, two or many pages change."""
    path = folder / "written.db"
    log = path.with_name(path.name + "-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in (f"page_size = {PAGE}", "journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE n (n INTEGER)")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        db.execute("INSERT INTO n VALUES (0)")
        if round_before:
            for _ in range(2 * commits):
                db.execute("INSERT INTO t VALUES (NULL, ?)", ("x" * 300,))
        db.execute("PRAGMA wal_checkpoint(RESTART)")
        ends = [0]
        for n in range(1, commits + 1):
            db.execute("BEGIN")
            for _ in range(chance.choice((0, 0, 1, 4))):
                db.execute("INSERT INTO t VALUES (NULL, ?)", ("y" * 200,))
            db.execute("UPDATE n SET n = ?", (n,))
            db.execute("COMMIT")
            ends.append(struct.unpack("=16xI", path.with_name(path.name + "-shm").read_bytes()[:20])[0])
        return Written(path.read_bytes(), log.read_bytes(), tuple(ends))


@pytest.fixture(params=[False, True], ids=["first-round", "over-an-older-round"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return write(tmp_path, 9, request.param, random.Random(1))


def reads(folder: Path, image: bytes, log: bytes) -> int | None:
    """Which commit SQLite shows; None: the file is malformed."""
    path = folder / "read.db"
    path.write_bytes(image)
    path.with_name(path.name + "-wal").write_bytes(log)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        try:
            db.execute("PRAGMA synchronous = OFF")
            if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return None
            return int(db.execute("SELECT n FROM n").fetchone()[0])
        except sqlite3.DatabaseError:
            return None


def lost(log: bytes) -> int | None:
    return first_lost(io.BytesIO(log))


def mended(log: bytes) -> bytes:
    out = io.BytesIO()
    mend(io.BytesIO(log), out)
    return out.getvalue()


def flip(byte: int, bit: int = 0) -> Change:
    def change(log: bytearray, at: int) -> None:
        log[at + byte] ^= 1 << bit

    return change


def wipe(fill: bytes) -> Change:
    def change(log: bytearray, at: int) -> None:
        log[at : at + WHOLE] = fill * WHOLE

    return change


FLIPS = {f"byte {n}": flip(n, n % 8) for n in (*range(FRAME), FRAME, FRAME + 77, WHOLE - 1)}
WIPES = {"zeros": wipe(b"\0"), "ones": wipe(b"\xff"), "garbage": wipe(b"\xa5")}


def damaged(written: Written, change: Change) -> Iterator[tuple[int, bytes]]:
    for frame in range(1, written.frames + 1):
        log = bytearray(written.log)
        change(log, HEADER + (frame - 1) * WHOLE)
        yield frame, bytes(log)


def test_a_sound_log_is_sound(tmp_path: Path, written: Written) -> None:
    assert lost(written.log) is None
    assert reads(tmp_path, written.image, written.log) == written.last
    assert reads(tmp_path, written.image, mended(written.log)) == written.last
    assert lost(b"") is None and mended(b"") == b"" and lost(bytes(4096)) is None


@pytest.mark.parametrize("name", FLIPS)
def test_a_flipped_bit_costs_nothing_or_is_known(tmp_path: Path, written: Written, name: str) -> None:
    """But in the last commit, which may as well be torn; and a length that has become none, two commits before it."""
    for frame, log in damaged(written, FLIPS[name]):
        commit = written.commit_of(frame)
        if lost(log) is None:
            assert commit == written.last or reads(tmp_path, written.image, log) == written.last
        else:
            assert lost(log) == frame


@pytest.mark.parametrize("name", WIPES)
def test_a_frame_that_is_gone_is_known_where_two_commits_follow(written: Written, name: str) -> None:
    for frame, log in damaged(written, WIPES[name]):
        followed = written.commit_of(frame) <= written.last - 2
        assert lost(log) == frame if followed else lost(log) in (None, frame)


def test_a_log_whose_header_is_damaged_is_known(written: Written) -> None:
    for byte in range(HEADER):
        log = bytearray(written.log)
        log[byte] ^= 0x10
        assert lost(bytes(log)) == 0
    assert lost(bytes(HEADER) + written.log[HEADER:]) == 0


def test_what_is_whole_of_a_damaged_log_is_read(tmp_path: Path, written: Written) -> None:
    """A page that a later commit wrote again costs nothing at all."""
    whole = 0
    for change in (flip(FRAME + 100), flip(9), wipe(b"\xa5")):
        for frame, log in damaged(written, change):
            if lost(log) is None:
                continue
            assert len(mended(log)) == HEADER + (written.frames - 1) * WHOLE, "nothing but that frame is left out"
            seen = reads(tmp_path, written.image, mended(log))
            assert seen is None or seen >= written.commit_of(frame) - 1
            whole += seen == written.last
    assert whole > written.frames
    log = bytes(HEADER) + written.log[HEADER : HEADER + written.frames * WHOLE]
    assert reads(tmp_path, written.image, mended(log)) == written.last


def test_a_torn_commit_is_no_damage(tmp_path: Path, written: Written) -> None:
    """Any sectors of the last commit are as they were before: older rounds', or none."""
    before = bytearray(written.log)
    start, end = (HEADER + written.ends[n] * WHOLE for n in (-2, -1))
    chance = random.Random(2)
    for old in (bytes(end - start), bytes(before[end : 2 * end - start]).ljust(end - start, b"\0")):
        for _ in range(60):
            log = bytearray(written.log)
            for sector in range(start // 512 * 512, end, 512):
                if chance.random() < 0.5:
                    since, until = max(sector, start), min(sector + 512, end)
                    log[since:until] = old[since - start : until - start]
            assert lost(bytes(log)) is None
    for length in range(0, len(written.log), 97):
        assert lost(written.log[:length]) is None


def test_what_failed_or_tore_before_and_was_written_over_is_no_damage(tmp_path: Path) -> None:
    """Longer commits that the disk did not take, one over the other in the same round, and a short one over them."""
    path = tmp_path / "chargerd.db"
    log = path.with_name(path.name + "-wal")

    def copy(suffix: str) -> Path:
        other = tmp_path / f"{suffix}.db"
        other.write_bytes(path.read_bytes())
        other.with_name(other.name + "-wal").write_bytes(log.read_bytes())
        return other

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in (f"page_size = {PAGE}", "journal_mode = WAL", "wal_autocheckpoint = 0"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        db.execute("INSERT INTO t VALUES (NULL, 'a')")
        pieces = []
        for name, size in (("long", 4000), ("middle", 2000), ("short", 100)):
            other = copy(name)
            with closing(sqlite3.connect(other, isolation_level=None)) as failing:
                failing.execute("PRAGMA wal_autocheckpoint = 0")
                failing.execute("INSERT INTO t VALUES (NULL, ?)", (name * size,))
                pieces.append(other.with_name(other.name + "-wal").read_bytes())
        kept = pieces[0]
        for piece in pieces[1:]:
            kept = piece + kept[len(piece) :]
        assert kept != pieces[0] and lost(kept) is None


def test_the_extent_is_that_of_the_present_round(written: Written) -> None:
    log = io.BytesIO(written.log)
    now = extent(log, PAGE, Extent())
    assert now.frames == written.frames
    assert extent(log, PAGE, Extent(now.salts, written.ends[3])) == now
    assert extent(log, PAGE, Extent(b"of older", 5000)) == now
    assert extent(io.BytesIO(b""), PAGE, now) == Extent()


def test_memory_is_bounded_by_a_page() -> None:
    class Endless(io.RawIOBase):
        """A log of 100 MB that counts what is asked for at once."""

        most = at = 0

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset
            return offset

        def read(self, size: int = -1) -> bytes:
            self.most = max(self.most, size)
            self.at += size
            return bytes(size) if self.at < 1 << 20 else b""

    log = Endless()
    assert first_lost(log) is None  # type: ignore[arg-type]
    assert log.most <= FRAME + 65536
