"""Lines for systemd's journal, and for a terminal."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from chargerd.daemon.journal import lines


def record(level: int, text: str, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("chargerd.daemon.csms", level, "csms.py", 1, text, (), info)


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A file that systemd would have named as its journal's."""
    fd = os.open(tmp_path / "stream", os.O_WRONLY | os.O_CREAT)
    stat = os.fstat(fd)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
    return fd


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
    ],
)
def test_the_journal_is_told_how_grave_it_is(stream: int, level: int, prefix: str) -> None:
    assert lines(stream).format(record(level, "link lost")) == f"{prefix}chargerd.daemon.csms: link lost"


def test_every_line_of_a_traceback_is_as_grave(stream: int) -> None:
    text = lines(stream).format(record(logging.ERROR, "two\nlines", ValueError("why")))
    assert [line[:3] for line in text.splitlines()] == ["<3>"] * 3
    assert text.endswith("ValueError: why")


def test_a_terminal_or_a_file_gets_words(stream: int, tmp_path: Path) -> None:
    with (tmp_path / "elsewhere").open("w") as redirected:
        shown = lines(redirected.fileno()).format(record(logging.WARNING, "link lost"))
    assert shown == "WARNING chargerd.daemon.csms: link lost"
