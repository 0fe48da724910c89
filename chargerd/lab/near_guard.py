"""A guard without a process of its own, for a daemon in the same loop: turned every 20 ms of the loop's time.

With `leap`, turns in which nothing can happen are left out. The guard's step is a pure function of what it samples, of
what it was told and of the time, and what time alone decides stays decided. So while the inputs are what they were, a
step tried far ahead that decides nothing proves that none before it does; the first one that might is found by halving.
Whoever does something to the world calls `wake`: the next turn is then the next one of the 20 ms grid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import fields
from math import ceil, floor
from operator import attrgetter

from chargerd.guard import rules
from chargerd.guard.desk import TRUTH_EVERY, Bay, Guard
from chargerd.guard.state import Outputs, Sample, State
from hal.sim.world import World

PERIOD = 0.020
_GRID = 1e-6  # turns, of rounding


class NearGuard:
    """A `daemon.guard_link.Transport` to `guard`, which turns until it is killed; `on_turn` is told the time of each.

    The world's own watchdog must be off: it knows nothing of turns that are left out. `kill` does its work.
    """

    def __init__(
        self,
        guard: Guard,
        world: World,
        *,
        watchdog: float = 0.150,
        leap: bool = True,
        on_turn: Callable[[float], None] = lambda now: None,
    ) -> None:
        self._guard, self._world, self._watchdog, self._leap, self._on_turn = guard, world, watchdog, leap, on_turn
        self._loop = asyncio.get_running_loop()
        self._packets: asyncio.Queue[bytes] | None = None
        self._began = self._loop.time()
        self._last = -1  # number of the last turn
        self._planned = 0  # of the next
        self._seen: list[tuple[Sample | None, Outputs]] = []  # by the last turn
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(self._began, self._turn)

    # ---- Transport

    async def open(self) -> None:
        if self._timer is None:
            raise OSError("the guard is dead")
        self._packets = asyncio.Queue()
        self._guard.connected(self._loop.time())

    def send(self, packet: bytes) -> bool:
        if self._packets is None:
            return False
        before = [bay.state for bay in self._guard.bays]
        self._guard.hear(packet, self._loop.time())
        if self._guard.pending or self._planned <= self._last + 1:
            self.wake()
            return True
        touched = [n for n, bay in enumerate(self._guard.bays, 1) if bay.state is not before[n - 1]]
        if not self._calm(self._planned - 1 - self._last, touched):
            self.wake()
        return True

    async def receive(self) -> bytes:
        return b"" if self._packets is None else await self._packets.get()

    def close(self) -> None:
        if self._packets is not None:
            self._packets = None
            self._guard.disconnected(self._loop.time())

    # ---- life

    def wake(self) -> None:
        """Something was done to the guard or to its world."""
        if self._timer is not None:
            due = ceil((self._loop.time() - self._began) / PERIOD - _GRID)
            self._plan(max(due, self._last + 1))

    def kill(self) -> None:
        """The guard's process ends: no more turns, the hardware gives it up, and the peer sees the end."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._last >= 0:  # else it has never spoken, and the hardware believes in nobody
            turned = floor((self._loop.time() - self._began) / PERIOD + _GRID)
            self._world.forsake(self._at(turned) + self._watchdog)
        if self._packets is not None:
            self._packets.put_nowait(b"")

    # ---- turns

    def _at(self, turn: int) -> float:
        return self._began + turn * PERIOD

    def _plan(self, turn: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._planned = turn
        self._timer = self._loop.call_at(self._at(turn), self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        turn = max(self._last + 1, floor((now - self._began) / PERIOD + _GRID))
        if now - self._at(turn) < _GRID * PERIOD:
            now = self._at(turn)  # whatever the loop's clock adds to a jump
        if turn > self._last + 1:
            self._watched(turn - 1)
        self._last = turn
        self._guard.cycle(now)
        for packet in self._guard.say():
            if self._packets is not None:
                self._packets.put_nowait(packet)
        self._plan(turn + 1 + (self._idle(now) if self._leap else 0))
        self._on_turn(now)

    def _watched(self, until: int) -> None:
        """The turns that were left out would have seen what the last one saw."""
        for bay in self._guard.bays:
            state, last = bay.state.copy(), self._at(self._last)
            for stamp in _STAMPS:
                if getattr(state, stamp) == last:
                    setattr(state, stamp, self._at(until))
            bay.state = state

    def _idle(self, now: float) -> int:
        """How many turns from here on change nothing, if nobody does anything."""
        bays = self._guard.bays
        before, self._seen = self._seen, [(bay.sample, bay.outputs) for bay in bays]
        if self._seen != before or not all(bay.settled for bay in bays):
            return 0
        event = min(
            *(bay.truth.at + TRUTH_EVERY for bay in bays), *(o.next_event(self._world.now) for o in self._world.outlets)
        )
        most = ceil((event - now) / PERIOD - _GRID) - 1
        ranks = range(1, len(bays) + 1)
        if most <= 0 or self._calm(most, ranks):
            return max(0, most)
        calm, stir = 0, most
        while stir - calm > 1:
            middle = (calm + stir) // 2
            calm, stir = (middle, stir) if self._calm(middle, ranks) else (calm, middle)
        return calm

    def _calm(self, turns: int, ranks: Sequence[int]) -> bool:
        now = self._at(self._last + turns)
        return all(self._rests(rank, self._guard.bays[rank - 1], now) for rank in ranks)

    def _rests(self, rank: int, bay: Bay, now: float) -> bool:
        if bay.sample is None:
            return False
        blocked = any(rules.holds(other.state) for other in self._guard.bays if other.excludes(bay))
        state, outputs, said = rules.step(bay.setup, bay.state, bay.sample, now, 1, blocked)
        if said or outputs != bay.outputs or _settled(state) != _settled(bay.state):
            return False
        return not bay.news(rules.truth(bay.setup, state, bay.sample, rank, now))


def _settled(state: State) -> tuple[object, ...]:
    """Without what counts on for ever and has long been enough."""
    return (min(state.steady, 2), min(state.diode, 3), *_OTHERS(state))


_STAMPS = ("known_at", "asked_at")  # of the last turn that saw something so
_OTHERS = attrgetter(*(f.name for f in fields(State) if f.name not in (*_STAMPS, "steady", "diode")))
