"""A whole charger in one process: world, guard and daemon, on whatever loop runs; parts may die and come back.

The world outlives the others, as the real one does. A daemon that is killed leaves its files as they are on the disk
and nothing else; a guard that is killed leaves the contactor to the hardware's watchdog.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chargerd.config import NO_METER, parse
from chargerd.config_schema import NO_BAY
from chargerd.daemon.backend import LinkMaker
from chargerd.daemon.clock import Clock
from chargerd.daemon.csms import LinkSettings, LinkState
from chargerd.daemon.devices import Reader
from chargerd.daemon.run import Daemon
from chargerd.daemon.store import Gate, Store
from chargerd.guard.desk import Guard
from chargerd.guard.setup import GuardSetup, OutletSetup
from chargerd.lab.csms import Csms
from chargerd.lab.near_guard import NearGuard
from chargerd.lab.peer import Peer
from chargerd.lab.site import configuration
from chargerd.protection import Protection
from hal.sim.bay import SimBay
from hal.sim.board import SimBoard
from hal.sim.cards import SimReader
from hal.sim.client import TIMEOUT, Near
from hal.sim.meter import SimMeter
from hal.sim.outlet import SimOutlet
from hal.sim.world import World

EPOCH = 1_800_000_000.0  # unix seconds at loop time 0


class MemoryLink:
    """A link without a socket, to a CSMS in this process: connects in a moment, breaks when the CSMS closes."""

    def __init__(
        self,
        csms: Csms,
        settings: LinkSettings,
        *,
        on_open: Callable[[str], None],
        on_frame: Callable[[str | bytes], bool],
        on_closed: Callable[[str], None],
        on_refused: Callable[[], None],
        on_security: Callable[[str, str], None],
        chance: Callable[[], float],
        watch: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._csms, self._settings, self._watch = csms, settings, watch
        self._on_open, self._on_frame, self._on_closed = on_open, on_frame, on_closed
        self._on_refused = on_refused
        self._peer: Peer | None = None
        self._task: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self._held_down = False
        self._state = LinkState("off", 0.0)

    @property
    def state(self) -> LinkState:
        return self._state

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        await asyncio.sleep(0.05)  # what was sent arrives
        self.kill()

    def kill(self) -> None:
        """The process is gone: the other side sees the connection end, this one sees nothing."""
        if self._task is not None:
            self._task.cancel()
        peer, self._peer = self._peer, None
        if peer is not None:
            asyncio.get_running_loop().call_soon(peer.close)  # after what was sent has arrived

    def send(self, frame: str) -> bool:
        if self._peer is None:
            return False
        self._watch("before-send")
        asyncio.get_running_loop().call_soon(self._peer.receive, frame)
        self._watch("after-send")
        return True

    def configure(self, settings: LinkSettings) -> None:
        self._settings = settings

    def force(self, up: bool) -> None:
        self._held_down = not up
        self._broken.set()

    def drop(self, reason: str, cause: str) -> None:
        self._broken.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.5)
            endpoint = self._settings.endpoint
            if self._held_down or self._csms.absent or endpoint is None:
                self._state = LinkState("waiting", loop.time(), 1, "the backend is away", loop.time() + 0.5)
                continue
            self._broken.clear()
            subprotocol = next((name for name in endpoint.subprotocols if name in self._csms.versions), None)
            if subprotocol is None:
                self._state = LinkState("waiting", loop.time(), 1, "no common version", loop.time() + 0.5)
                self._on_refused()
                continue
            self._peer = self._csms.attach(endpoint.station, subprotocol, self._arrives, self._broken.set)
            self._state = LinkState("open", loop.time(), subprotocol=subprotocol)
            self._on_open(subprotocol)
            await self._broken.wait()
            peer, self._peer = self._peer, None
            if peer is not None:
                peer.close()
            self._on_closed("the connection broke")

    def _arrives(self, text: str) -> None:
        asyncio.get_running_loop().call_soon(self._deliver, text)

    def _deliver(self, text: str) -> None:
        if self._peer is not None:
            self._on_frame(text)


class Whole:
    """`state_dir` holds the database. `link` None: a memory link to `csms`; no `csms`: a charger without a backend.

    `switching`: with second contactors. `each`: more keys of every outlet's table. `boots`: number of this boot of the
    machine, where the directory has seen others.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        csms: Csms | None = None,
        version: str = "1.6",
        outlets: int = 1,
        tethered: bool = False,
        bays: bool = False,
        settings: str = "",
        mode: str = "cards",
        link: LinkMaker | None = None,
        url: str = "ws://127.0.0.1:1/ocpp",
        watchdog: float = 0.15,
        seed: int = 0,
        gate: Gate | None = None,
        inline: bool = True,
        control: bool = False,
        leap: bool = True,
        max_amps: float | None = None,
        metered: bool = True,
        readers: Sequence[int | None] = (None,),
        boots: int = 1,
        switching: bool = False,
        each: str = "",
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.csms, self._link, self._gate, self._inline, self._control = csms, link, gate, inline, control
        site = configuration(
            state_dir,
            state_dir,
            url=url if csms or link else "none",
            version=version,
            outlets=outlets,
            tethered=tethered,
            bays=bays,
            mode=mode,
            max_amps=max_amps,
            metered=metered,
            readers=readers,
            each=each,
        )
        self.config = parse(site + settings)
        self._setup = GuardSetup(
            tuple(
                OutletSetup(o.evse, o.amps, o.phases, tethered, protection=Protection(**asdict(self.config.protection)))
                for o in self.config.outlets
            )
        )
        fitted = [SimOutlet(tethered=tethered, switching=switching)] * outlets
        self.world = World(fitted, self.loop.time, watchdog=math.inf)
        self.wall: Callable[[], float] = lambda: EPOCH + self.loop.time()
        self.trusted: Callable[[], bool] = lambda: True
        self.on_turn: Callable[[float], None] = lambda now: None
        """Called after each turn of the guard, with its time."""
        self.latched: frozenset[tuple[int, str]] = frozenset()
        self._watchdog, self._leap = watchdog, leap
        self._random = random.Random(seed)
        self._ids = itertools.count(1)
        self._boots = boots
        self._booted = 0.0
        self._fell: float | None = None  # when the last power cut was
        self._guard: NearGuard | None = None
        self.guard: Guard | None = None
        self.daemon: Daemon | None = None
        self.deaths = 0

    # ---- life and death

    async def start(self) -> None:
        self.start_guard()
        await self.start_daemon()

    def start_guard(self) -> None:
        def save(latched: frozenset[tuple[int, str]]) -> bool:
            self.latched = latched
            return True

        def mint() -> int:
            return self._random.getrandbits(48) or 1

        self.guard = Guard(SimBoard.on(self.world), self._setup, mint, mint(), "", save, self.latched, self.loop.time())
        self._guard = NearGuard(
            self.guard,
            self.world,
            watchdog=self._watchdog,
            leap=self._leap,
            on_turn=lambda now: self.on_turn(now),
        )

    async def start_daemon(self) -> None:
        state_dir = Path(self.config.station.state_dir)
        near = _Touch(self.world, self._touched)
        watch = self._gate or (lambda point: None)
        memory: LinkMaker = lambda settings, **rest: MemoryLink(_present(self.csms), settings, watch=watch, **rest)  # noqa: E731
        loop, booted = self.loop, self._booted
        self.daemon = Daemon(
            self.config,
            Store.open(state_dir / "chargerd.db", inline=self._inline, gate=self._gate),
            Clock(lambda: loop.time() - booted, lambda: self.wall(), lambda: self.trusted()),
            _WayToGuard(lambda: self._guard),
            meters={n: SimMeter(near, n) for n, o in enumerate(self.config.outlets, 1) if o.meter != NO_METER},
            readers=[
                Reader(r.device, SimReader(near, "station" if r.evse is None else f"evse{r.evse}"), r.evse)
                for r in self.config.readers
            ],
            bays={n: SimBay(near, n) for n, o in enumerate(self.config.outlets, 1) if o.bay != NO_BAY},
            link=self._link or memory,
            boot_id=f"boot-{self._boots}",
            written=None if self._fell is None else EPOCH + self._fell,
            mint=lambda: f"tx-{self._boots}-{self.deaths}-{next(self._ids)}",
            message_id=lambda: f"m-{self._boots}-{next(self._ids)}",
            chance=self._random.random,
            control=self._control,
            sim=near.call,
        )
        await self.daemon.start()

    async def kill_daemon(self) -> None:
        """As SIGKILL does it: nothing is said and nothing is written any more."""
        daemon, self.daemon = self.daemon, None
        self.deaths += 1
        if daemon is not None:
            await daemon.abandon()

    def kill_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()

    async def power_cut(self) -> None:
        """Everything but the world and the disk is gone; `start` is the next boot."""
        await self.kill_daemon()
        self.kill_guard()
        await asyncio.sleep(1.0)
        self.boot()

    def boot(self) -> None:
        """The machine comes back: another boot, and monotonic clocks begin anew."""
        self._boots += 1
        self._fell = self.loop.time()
        self._booted = self.loop.time()

    async def stop_daemon(self) -> None:
        """In order, as on SIGTERM."""
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            await daemon.stop()

    async def stop(self) -> None:
        await self.stop_daemon()
        self.kill_guard()

    # ---- what happens outside

    async def sim(self, method: str, **params: Any) -> Any:
        """A `sim.*` method of the world."""
        return await _Touch(self.world, self._touched).call(f"sim.{method}", params)

    async def plug(self, outlet: int = 1, **vehicle: Any) -> None:
        await self.sim("plug", outlet=outlet, **vehicle)

    async def unplug(self, outlet: int = 1) -> None:
        await self.sim("unplug", outlet=outlet)

    async def tap(self, uid: str) -> None:
        await self.sim("tap", uid=uid)

    async def until(self, what: Callable[[], bool], within: float = 30.0) -> None:
        """Wait until it is so; TimeoutError with what is so instead."""
        end = self.loop.time() + within
        while not what():
            if self.loop.time() > end:
                raise TimeoutError(f"not within {within:g} s: {json.dumps(self.picture())}")
            await asyncio.sleep(0.05)

    def _touched(self) -> None:
        if self._guard is not None:
            self._guard.wake()

    def picture(self) -> dict[str, Any]:
        """What is where, for a person who wonders why."""
        if self.daemon is None:
            return {"daemon": "dead"}
        state = self.daemon.charger.state
        return {
            "at": self.loop.time(),
            "boot": state.boot.status.value,
            "online": state.online,
            "outlets": [repr(o) for o in state.outlets],
        }


class _WayToGuard:
    """As a socket's path: whichever guard serves it when it is opened."""

    def __init__(self, guard: Callable[[], NearGuard | None]) -> None:
        self._guard = guard
        self._opened: NearGuard | None = None

    async def open(self) -> None:
        guard = self._guard()
        if guard is None:
            raise OSError("there is no guard")
        await guard.open()
        self._opened = guard

    def send(self, packet: bytes) -> bool:
        return self._opened is not None and self._opened.send(packet)

    async def receive(self) -> bytes:
        return b"" if self._opened is None else await self._opened.receive()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class _Touch(Near):
    """Whoever does something to the world lets the guard see it in its next turn."""

    def __init__(self, world: World, touched: Callable[[], None]) -> None:
        super().__init__(world)
        self._touched = touched

    async def call(self, method: str, params: dict[str, Any], timeout: float | None = TIMEOUT) -> Any:
        result = await super().call(method, params, timeout)
        if method.startswith("sim."):
            self._touched()
        return result


def _present(csms: Csms | None) -> Csms:
    assert csms is not None
    return csms
