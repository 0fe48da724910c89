"""What is up and what is down: mains, guard and daemon die and come back, alone, together, one over the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from chargerd.daemon.run import Daemon
from chargerd.daemon.store import Batch
from chargerd.lab.whole import EPOCH, Whole
from tests.fuzzing.plan import Time

RESTARTS = (64, 65)  # soft, hard
DISK_RETRY = 5.0  # as the store's own thread does it
MAINS = (230.0, 230.0, 230.0)


class Life:
    """`born` is told of each new daemon and, with None, of each new guard; `died` of an exit code that is a fault."""

    def __init__(
        self,
        whole: Whole,
        times: Iterator[Time],
        born: Callable[[Daemon | None], None],
        died: Callable[[str], None],
        say: Callable[[str, str], None],
    ) -> None:
        self._whole, self._times, self._born, self._died, self._say = whole, times, born, died, say
        self._down = Counter[str]()
        self._guard = False
        self._dark = False
        self._turn = asyncio.Lock()
        self._minding: asyncio.Task[None] | None = None
        self._retrying: asyncio.Task[None] | None = None
        self.restarts = Counter[str]()

    async def begin(self) -> None:
        self._tell_time()
        self._retrying = asyncio.create_task(self._retry_disk())
        async with self._turn:
            await self._settle()

    async def take(self, part: str) -> None:
        """`mains`, `guard` or `daemon` is no longer there."""
        self._down[part] += 1
        async with self._turn:
            await self._settle()

    async def give_back(self, part: str) -> None:
        self._down[part] -= 1
        async with self._turn:
            await self._settle()

    async def leave(self) -> None:
        """The daemon is stopped in order, and stays away until it is given back."""
        self._down["daemon"] += 1
        async with self._turn:
            self._unmind()
            await self._whole.stop_daemon()
            self._say("life", "daemon left")

    async def end(self) -> None:
        async with self._turn:
            self._unmind()
            if self._retrying is not None:
                self._retrying.cancel()
            await self._whole.stop()

    # ---- inside

    async def _settle(self) -> None:
        whole, dark = self._whole, self._down["mains"] > 0
        if dark and not self._dark:
            self._dark = True
            await self._kill_daemon()
            self._kill_guard()
            whole.world.catch_up()
            whole.world.volts = (0.0, 0.0, 0.0)
            whole.world.settle()
            self._say("life", "dark")
        elif self._dark and not dark:
            self._dark = False
            whole.world.catch_up()
            whole.world.volts = MAINS
            whole.world.settle()
            self._boot()
        if dark:
            return
        if self._down["guard"]:
            self._kill_guard()
        elif not self._guard:
            self._start_guard()
        if self._down["daemon"]:
            await self._kill_daemon()
        elif whole.daemon is None:
            await self._start_daemon()

    def _boot(self) -> None:
        self._whole.boot()
        self.restarts["boot"] += 1
        self._tell_time()

    def _tell_time(self) -> None:
        time, loop, began = next(self._times), self._whole.loop, self._whole.loop.time()
        known = None if time.known_after is None else began + time.known_after

        def trusted() -> bool:
            return known is not None and loop.time() >= known

        self._whole.trusted = trusted
        self._whole.wall = lambda: EPOCH + loop.time() + (0.0 if trusted() else time.off)
        self._say("life", f"boot, clock off by {time.off:g} s until {time.known_after}")

    def _start_guard(self) -> None:
        self._whole.start_guard()
        self._guard = True
        self._say("life", "guard up")
        self._born(None)

    def _kill_guard(self) -> None:
        if self._guard:
            self._whole.kill_guard()
            self._guard = False
            self.restarts["guard"] += 1
            self._say("life", "guard dead")

    async def _start_daemon(self) -> None:
        await self._whole.start_daemon()
        daemon = self._whole.daemon
        assert daemon is not None
        self._say("life", "daemon up")
        self._born(daemon)
        self._minding = asyncio.create_task(self._mind(daemon))

    async def _kill_daemon(self) -> None:
        if self._whole.daemon is not None:
            self._unmind()
            await self._whole.kill_daemon()
            self.restarts["daemon"] += 1
            self._say("life", "daemon dead")

    async def _mind(self, daemon: Daemon) -> None:
        """Who asks for a restart gets it."""
        code = await asyncio.shield(daemon.exit)
        self._say("life", f"exit {code}")
        self.restarts[f"exit {code}"] += 1
        if code not in RESTARTS:
            self._died(f"the daemon left with exit code {code}")
        async with self._turn:
            if self._whole.daemon is not daemon:
                return
            self._minding = None
            await self._whole.stop_daemon()
            if code == 65:
                self._kill_guard()
                self._boot()
            await self._settle()

    def _unmind(self) -> None:
        if self._minding is not None:
            self._minding.cancel()
            self._minding = None

    async def _retry_disk(self) -> None:
        while True:
            await asyncio.sleep(DISK_RETRY)
            daemon = self._whole.daemon
            if daemon is not None and daemon.store.failed is not None:
                daemon.store.submit(Batch())
