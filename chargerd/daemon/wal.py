"""What a write-ahead log says of itself: how long it is, and whether anything that was committed is missing.

The format: sqlite.org/fileformat2.html, §4.

SQLite reads a log up to the first frame whose checksum is wrong and drops the rest without a word. A commit that the
power cut tore ends so, and nobody was promised it. A frame that was damaged later ends so too, and takes all commits
behind it along. What tells them apart: each checksum goes on from the one before, so a frame that goes on from a commit
was written when that commit was on the disk. Where such a pair stands behind the first bad frame, commits are missing.

No such pair stands behind damage of the last commit, nor behind that of a whole frame after which only one commit
follows: both look like a torn commit of several frames. To skip a sequence number after every unclean end, in case it
was that, would leave a gap in the transaction of every power cut, which a backend must take for a lost message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

Sum = tuple[int, int]

HEADER, FRAME = 32, 24  # bytes of the log's header and of each frame's
_VERSION = 3007000
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}  # magic -> byte order of the checksums
_PAGES = tuple(1 << n for n in range(9, 17))


@dataclass(frozen=True, slots=True)
class _Head:
    """`salts` and `sum` are None where the log's own header is damaged: SQLite takes nothing of such a log."""

    magic: int
    page: int
    salts: Sum | None
    sum: Sum | None


@dataclass(frozen=True, slots=True)
class _Frame:
    """`size`: of the database in pages, if it ends a commit. `follows`: its checksum goes on from the one before it."""

    page: int
    size: int
    salts: Sum
    content: bytes
    current: bool
    follows: bool


@dataclass(frozen=True, slots=True)
class Extent:
    """How many frames the log's present round has; its salts name it."""

    salts: bytes = b""
    frames: int = 0


def extent(log: BinaryIO, page: int, before: Extent) -> Extent:
    """Of a log whose extent was `before`, with pages of so many bytes."""
    log.seek(16)
    salts = log.read(8)
    frames = before.frames if salts == before.salts else 0
    while True:
        log.seek(HEADER + frames * (FRAME + page) + 8)
        if len(salts) < 8 or log.read(8) != salts:
            return Extent(salts, frames)
        frames += 1


def first_lost(log: BinaryIO) -> int | None:
    """The first bad frame (from 1; 0 is the header) if commits behind it are missing; None where all is there."""
    for head in _heads(log):
        if (bad := _first_lost(log, head)) is not None:
            return bad
    return None


def mend(log: BinaryIO, out: BinaryIO) -> None:
    """Write the log anew without the frames that are damaged: SQLite takes all that is left of it.

    For a copy that is read row by row: a page without its last version shows the one before.
    """
    heads = _heads(log)
    head = next((each for each in heads if each.sum or _first_lost(log, each) is not None), None)
    if head is None:
        return
    order, salts, sum_, before = _ORDERS[head.magic], head.salts, None, head.sum is not None
    for frame in _frames(log, head):
        if frame.current and (frame.follows or not before):
            if sum_ is None:
                salts = salts or frame.salts
                start = struct.pack(">6I", head.magic, _VERSION, head.page, 0, *salts)
                sum_ = _sum((0, 0), start, order)
                out.write(start + struct.pack(">2I", *sum_))
            about = struct.pack(">2I", frame.page, frame.size)
            sum_ = _sum(sum_, about + frame.content, order)
            out.write(about + struct.pack(">4I", *(salts or frame.salts), *sum_) + frame.content)
        before = frame.follows


def _first_lost(log: BinaryIO, head: _Head) -> int | None:
    bad = None if head.sum else 0
    ends = False
    for number, frame in enumerate(_frames(log, head), 1):
        if bad is None:
            bad = None if frame.follows else number
        elif ends and frame.follows:
            return bad
        ends = frame.size != 0
    return None


def _heads(log: BinaryIO) -> list[_Head]:
    """The header; if that is damaged, all that it may have been. It is on the disk before the first frame."""
    log.seek(0)
    data = log.read(HEADER)
    if len(data) < HEADER:
        return []
    magic, _, page, _, *salts, first, second = struct.unpack(">8I", data)
    if (order := _ORDERS.get(magic)) and page in _PAGES and _sum((0, 0), data[:24], order) == (first, second):
        return [_Head(magic, page, (salts[0], salts[1]), (first, second))]
    return [_Head(each, page, None, None) for page in _PAGES for each in _ORDERS]


def _frames(log: BinaryIO, head: _Head) -> Iterator[_Frame]:
    """One at a time. Frames of the log's last round stand behind those of this one; their salts are not `current`."""
    order = _ORDERS[head.magic]
    log.seek(HEADER)
    before = {head.sum} if head.sum else set()
    while len(data := log.read(FRAME + head.page)) == FRAME + head.page:
        page, size, *salts, first, second = struct.unpack(">6I", data[:FRAME])
        content = data[FRAME:]
        current = head.salts is None or (salts[0], salts[1]) == head.salts
        sums = {_sum(each, data[:8] + content, order) for each in before} if current and page else set()
        follows = (first, second) in sums
        yield _Frame(page, size, (salts[0], salts[1]), content, current, follows)
        before = {(first, second)} if follows else {(first, second), *sums}


def _sum(start: Sum, data: bytes, order: str) -> Sum:
    """Of whole pairs of 32-bit words, in the byte order of the machine that wrote them."""
    first, second = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
