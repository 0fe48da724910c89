"""sd_notify: readiness, status and watchdog for systemd, by its own library where installed, else by the protocol.

Light on purpose: the guard uses it too. Without `NOTIFY_SOCKET` (started by hand) nothing happens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache


def notify(text: str, by: Callable[[str], object] | None = None) -> None:
    """Tell systemd, e.g. `READY=1` or `WATCHDOG=1`; several assignments by newlines. A dead socket is ignored.

    `by` carries it, or `sender()`; only `plain` never waits, where the library waits for room in a full queue.
    """
    if os.environ.get("NOTIFY_SOCKET"):
        with suppress(OSError):  # a full or vanished socket is no reason to stop charging
            (by or sender())(text)


def watchdog_interval() -> float | None:
    """Seconds within which systemd wants `WATCHDOG=1` from this process; None when it watches another one or none."""
    try:
        interval = int(os.environ["WATCHDOG_USEC"]) / 1_000_000
        watched = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return interval if interval > 0 and watched == os.getpid() else None


@cache
def sender() -> Callable[[str], object]:
    """What carries the text: systemd's library where it is installed, else `plain`."""
    try:
        from systemd.daemon import notify as library
    except ImportError:
        return plain
    return library  # type: ignore[no-any-return]


def plain(text: str) -> None:
    """The protocol itself: one datagram to the socket of the environment; `@` stands for the abstract namespace."""
    path = os.environ["NOTIFY_SOCKET"]
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as datagrams:
        datagrams.sendto(text.encode(), address)
