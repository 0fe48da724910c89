"""What board and world say to each other once a cycle: one `Command` and one `Sample` per outlet, arrays in JSON."""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE = 65_536
X1, F = 1.0, 0.0


class Command(NamedTuple):
    """`pilot` is a duty 0..1 with X1 = 1.0 and F = 0.0; `close` and `lamp` hold, `lock` and `test` act once."""

    pilot: float = X1
    close: bool = False
    lock: int = 0  # +1 engage, -1 release, 0 leave it
    test: bool = False
    lamp: str = ""


class Sample(NamedTuple):
    """Every input of one outlet at one instant; `ohms` None: nothing between PP and PE."""

    high: float
    low: float
    duty: float
    ohms: float | None
    closed: bool
    engaged: bool | None
    tripped: bool
    passed: bool | None
    stop: bool
    celsius: float | None


def bad_path(path: str) -> str | None:
    """Why `path` cannot name a Unix socket, or None."""
    if not path:
        return "no path given"
    return f"path longer than 107 bytes: {path}" if len(path.encode()) > 107 else None
