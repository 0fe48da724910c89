"""What board and world say to each other once a cycle: one `Command` and one `Sample` per outlet, arrays in JSON."""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE = 65_536
X1, F = 1.0, 0.0


class Command(NamedTuple):
    """`pilot` is a duty 0..1 with X1 = 1.0 and F = 0.0; `lock` and `test` act once, the others hold."""

    pilot: float = X1
    close: bool = False
    lock: int = 0  # +1 engage, -1 release, 0 leave it
    test: bool = False
    lamp: str = ""
    second: bool = False  # the contactor of L2 and L3
    disconnect: bool = False  # the pilot's relay


class Fitting(NamedTuple):
    """What an outlet has beyond what all have."""

    tethered: bool = False  # neither proximity nor lock
    switching: bool = False  # a second contactor for L2 and L3
    relay: bool = False  # one that takes the pilot away from the vehicle


class Sample(NamedTuple):
    """Every input of one outlet at one instant; `ohms` None: nothing between PP and PE; `plug`, `cabinet`: degrees."""

    high: float
    low: float
    duty: float
    ohms: float | None
    closed: bool
    engaged: bool | None
    tripped: bool
    passed: bool | None
    stop: bool
    pen: bool
    shed: bool
    second: bool
    plug: float | None
    cabinet: float | None
    volts: tuple[float, ...]


def bad_path(path: str) -> str | None:
    """Why `path` cannot name a Unix socket, or None."""
    if not path:
        return "no path given"
    return f"path longer than 107 bytes: {path}" if len(path.encode()) > 107 else None
