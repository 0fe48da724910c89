"""The log on standard error; where that is systemd's journal, each line begins with its priority (sd-daemon(3))."""

from __future__ import annotations

import logging
import os

_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def lines(fd: int = 2) -> logging.Formatter:
    """How a record is written to `fd`."""
    return (
        _Prefixed("%(name)s: %(message)s")
        if _is_journal(fd)
        else logging.Formatter("%(levelname)s %(name)s: %(message)s")
    )


class _Prefixed(logging.Formatter):
    """Every line: a traceback is as grave as what it explains."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def _is_journal(fd: int) -> bool:
    """JOURNAL_STREAM names device and inode of the stream that systemd made; it may be redirected since."""
    try:
        stat = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"
