"""sd_notify: readiness, status and watchdog for systemd, by its own library where installed, else by the protocol.

Light on purpose: the guard uses it too. Without `NOTIFY_SOCKET` (started by hand) nothing happens. It never waits: the
library alone would, with the whole process, for as long as nobody reads a full queue.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache


def notify(text: str, by: Callable[[str], object] | None = None) -> None:
    """Tell systemd, e.g. `READY=1` or `WATCHDOG=1`; several assignments by newlines. A dead or full socket is ignored.

    `by` carries it, or `sender()`.
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
    """What carries the text: systemd's library where it is installed, else `plain`. Both raise OSError."""
    try:
        from systemd.daemon import notify as library
    except ImportError:
        return plain

    def unless_full(text: str) -> None:
        """The library sends on a blocking socket of its own: only when there is room."""
        with _datagrams() as gauge:
            gauge.connect(_address())
            poll = select.poll()
            poll.register(gauge, select.POLLOUT)
            if not poll.poll(0):
                raise BlockingIOError("the queue is full")
        library(text)

    return unless_full


def plain(text: str) -> None:
    """The protocol itself: one datagram to the socket of the environment."""
    with _datagrams() as datagrams:
        datagrams.sendto(text.encode(), _address())


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def _address() -> str:
    """`@` stands for the abstract namespace."""
    path = os.environ["NOTIFY_SOCKET"]
    return "\0" + path[1:] if path.startswith("@") else path
