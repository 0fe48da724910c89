"""Faults that outlive the guard: one small file, written by a child process so that the cycle never waits for a disk.

The file holds `outlet fault` lines. Whoever installs the guard creates it empty: a missing file is not an empty one.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from chargerd.faults import GUARD as FAULTS

Latched = frozenset[tuple[int, str]]
_MAX_BYTES = 4000  # one pipe write of this size is atomic
_RETRY = 1.0
FORGOTTEN = "a restart forgets what has changed of the faults that wait for a technician"
REMEDY = "check the contactors, create the file anew, empty, and restart the guard"


class LatchUnreadable(Exception):
    """The latch file is missing or says something we did not write; the text names it and the remedy."""


def read(path: str, outlets: int) -> Latched:
    """The faults in the file as (outlet rank, name)."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode("ascii")
        latched = frozenset((int(outlet), name) for outlet, name in (line.split(" ") for line in text.splitlines()))
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise LatchUnreadable(f"{path}: {why}; {REMEDY}") from None
    wrong = sorted(f"{o} {n}" for o, n in latched if not (1 <= o <= outlets and n in FAULTS and FAULTS[n].latched))
    if wrong or len(text) > _MAX_BYTES:
        raise LatchUnreadable(f"{path}: {wrong[:1] or 'too long'}; {REMEDY}")
    return latched


class Writer:
    """The child and the pipe that feeds it. It ends with the pipe, after its last write."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pipe = self._fork()

    def save(self, latched: Latched) -> bool:
        """Hand the new content over; False when that must be tried again."""
        text = "".join(f"{outlet} {name}\n" for outlet, name in sorted(latched))
        try:
            return os.write(self._pipe, text.encode() + b"\0") > 0
        except BlockingIOError:
            return False
        except BrokenPipeError:
            os.close(self._pipe)
            self._pipe = self._fork()
            return False

    def close(self) -> None:
        os.close(self._pipe)

    def _fork(self) -> int:
        source, pipe = os.pipe()
        os.set_blocking(pipe, False)
        if os.fork() == 0:
            try:
                os.closerange(3, source)  # neither socket nor board may be held open by a child that outlives us
                os.closerange(source + 1, os.sysconf("SC_OPEN_MAX"))
                _write_all(source, self._path)
            finally:
                os._exit(0)
        os.close(source)
        return pipe


def _write_all(source: int, path: str) -> None:
    """In the child: write each content that arrives, newest last, until the pipe ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    waiting, told = b"", ""
    while more := os.read(source, 65536):
        *whole, waiting = (waiting + more).split(b"\0")
        while whole and (trouble := _replace(path, whole[-1])):
            if trouble != told:
                told = trouble
                with suppress(OSError):
                    os.write(2, f"chargerd-guard: {path}: {trouble}; until it can be written, {FORGOTTEN}\n".encode())
            time.sleep(_RETRY)


def _replace(path: str, content: bytes) -> str:
    """Put the content into place as a whole; why the disk would not, else ""."""
    try:
        with Path(f"{path}.new").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(f"{path}.new").replace(path)
        folder = os.open(Path(path).parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as e:
        return e.strerror or str(e)
    return ""
