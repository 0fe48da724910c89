"""Event loops that keep another time: `VirtualLoop` jumps to the next timer, `ScaledLoop` runs faster than the clock.

Both are ordinary asyncio loops in every other respect; code that reads `loop.time()` and nothing else cannot tell.
Virtual time is for simulations without sockets: it is deterministic, and a day costs what is done in it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
TURN = 1e-9  # s of virtual time that a turn of the loop takes, see `_Jumping`


class _Jumping(selectors.SelectSelector):
    """Where the loop would sleep, its clock goes on at once.

    No turn takes no time: a timer that rounding lets fire a hair too early would be set again for ever.
    """

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is None:
            # Without a timer only another thread or a socket could go on: wait for it in real time.
            return ready or super().select(None)
        self.now += max(TURN, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is something to do, and jumps when there is not."""

    def __init__(self, start: float = 0.0) -> None:
        self._jumping = _Jumping()
        self._jumping.now = start
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class _Hurried(selectors.DefaultSelector):
    factor = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None or timeout <= 0 else timeout / self.factor)


class ScaledLoop(asyncio.SelectorEventLoop):
    """Time runs `factor` times as fast; sockets are real."""

    def __init__(self, factor: float) -> None:
        hurried = _Hurried()
        hurried.factor = self._factor = factor
        self._began = time.monotonic()
        super().__init__(hurried)

    def time(self) -> float:
        return self._began + (time.monotonic() - self._began) * self._factor


def run(loop: asyncio.AbstractEventLoop, job: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on this loop: the job, then whatever is left is cancelled and the loop closed."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(job)
