"""Faults that outlive the guard, in a real file, written by a real child."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from chargerd.guard.latch import LatchUnreadable, Writer, read

WELD = frozenset({(1, "ContactorWelded")})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "latch"
    path.touch()
    assert read(str(path), 2) == frozenset()
    writer = Writer(str(path))
    assert writer.save(WELD | {(2, "ContactorWelded")})
    assert writer.save(WELD)
    writer.close()
    os.wait()
    assert path.read_text() == "1 ContactorWelded\n"
    assert read(str(path), 2) == WELD
    assert [file.name for file in tmp_path.iterdir()] == ["latch"]


def test_cleared_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "latch"
    path.write_text("1 ContactorWelded\n")
    writer = Writer(str(path))
    writer.save(frozenset())
    writer.close()
    os.wait()
    assert read(str(path), 1) == frozenset()


@pytest.mark.parametrize(
    "content",
    ["ContactorWelded", "1 ContactorWelded x", "x ContactorWelded", "3 ContactorWelded", "0 ContactorWelded",
     "1 Tired", "1 DiodeFault", "\x00", "é", "1 ContactorWelded\n" * 300],
)  # fmt: skip
def test_what_we_did_not_write_is_unreadable(tmp_path: Path, content: str) -> None:
    path = tmp_path / "latch"
    path.write_text(content)
    with pytest.raises(LatchUnreadable, match="latch"):
        read(str(path), 2)


def test_missing_is_not_empty(tmp_path: Path) -> None:
    with pytest.raises(LatchUnreadable, match="create"):
        read(str(tmp_path / "latch"), 1)


def test_a_dead_child_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "latch"
    writer = Writer(str(path))
    os.kill(int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1]), 9)
    os.wait()
    assert not writer.save(WELD)
    assert writer.save(WELD)
    writer.close()
    os.wait()
    assert read(str(path), 1) == WELD


def test_a_new_child_holds_nothing_else_open(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    writer = Writer(str(tmp_path / "latch"))
    os.kill(int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1]), 9)
    os.wait()
    assert not writer.save(WELD)
    theirs.close()
    ours.settimeout(5)
    assert ours.recv(1) == b""  # the end is seen, though the child was made while the other side was open
    ours.close()
    writer.close()
    os.wait()


def test_a_disk_that_refuses_is_named_and_tried_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "later"
    writer = Writer(str(folder / "latch"))
    assert writer.save(WELD)
    time.sleep(0.2)
    folder.mkdir()
    writer.close()
    os.wait()
    assert read(str(folder / "latch"), 1) == WELD
    (told,) = capfd.readouterr().err.splitlines()
    assert f"{folder}/latch: No such file or directory; until it can be written, a restart forgets" in told
