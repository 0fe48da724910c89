"""What ails the board, in the log: when it begins, when it changes, when it is over, and never as a flood.

It never waits: where the log does not take a line now, the line is tried again later. The contactor is open by then.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from math import inf
from typing import TextIO

SILENCE = 10.0  # s between two lines
OVER = 0.5  # s without trouble


class TroubleLog:
    """Hears in every turn what the board said; `tell` puts a line into the log, `ready` is whether it takes one."""

    def __init__(self, tell: Callable[[str], None], ready: Callable[[], bool]) -> None:
        self._tell, self._ready = tell, ready
        self._said, self._said_at, self._well_since = "", -inf, -inf

    def hear(self, trouble: str, now: float) -> None:
        """`trouble`: what a DeviceError of this turn says, "" when all is well."""
        if not trouble and not self._said:
            return
        if trouble:
            self._well_since = inf
            line, kept = trouble, trouble
        else:
            self._well_since = min(self._well_since, now)
            line, kept = "the board answers again", ""
            if now - self._well_since < OVER:
                return
        quiet = now - self._said_at < SILENCE
        if trouble == self._said or (trouble and quiet) or not self._ready():
            return
        self._tell(line)
        self._said, self._said_at = kept, now


def takes(stream: TextIO) -> Callable[[], bool]:
    """Whether a line may be written there without waiting."""
    poll = select.poll()
    try:
        poll.register(stream, select.POLLOUT)
    except (OSError, ValueError):  # no file behind it
        return lambda: True

    def ready() -> bool:
        return any(event & select.POLLOUT for _, event in poll.poll(0))

    return ready
