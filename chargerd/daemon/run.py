"""The daemon put together: every part made, connected and started, and all of it stopped again in seconds.

`Daemon` takes its surroundings as arguments - clock, store, the way to the guard, devices, the link - so that the same
assembly runs as a service, in one process with the simulated world, and in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

import hal
from chargerd import __version__
from chargerd.config_schema import MOST_AMPS, NO_BAY, NO_METER, Config, security_profile
from chargerd.core import durable
from chargerd.core.events import Fault, SecurityNoticed, Stop
from chargerd.core.limits import switches
from chargerd.core.moment import Moment
from chargerd.core.register import VOLTS
from chargerd.core.state import OutletSite, Policy, Site, Station, Switching, TxWindow
from chargerd.core.status import HISTORY_LOST, Joint, joint
from chargerd.daemon.backend import Backend, LinkMaker
from chargerd.daemon.charger import Charger
from chargerd.daemon.clock import Clock, battery_backed, synchronised, text_of
from chargerd.daemon.control import ControlServer, must_be_free
from chargerd.daemon.csms import Link
from chargerd.daemon.devices import Devices, Reader
from chargerd.daemon.guard_link import GuardLink, SocketTransport, Transport
from chargerd.daemon.operator import Operator
from chargerd.daemon.registers import Registers
from chargerd.daemon.store import Batch, Loaded, Store
from chargerd.ocpp.dialect import Fold
from chargerd.ocpp.measurands import lacks
from hal.api import BayDetector, Meter

log = logging.getLogger(__name__)

DRAIN = 3.0  # s for what is still to be said when the process leaves
LOCAL_WINDOW = TxWindow(frozenset({"PowerPathClosed"}), frozenset({"Authorized"}))  # without a backend


_RANDOM = random.SystemRandom()


class Daemon:
    """One run. `exit` gives the code to leave with, once `leave` was called.

    `written`: unix seconds of the last write before this run; None: not known, or no clock runs without power here.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        transport: Transport,
        *,
        meters: Mapping[int, Meter],
        readers: Sequence[Reader],
        bays: Mapping[int, BayDetector] = MappingProxyType({}),
        link: LinkMaker = Link,
        boot_id: str,
        written: float | None = None,
        reboots: bool = False,
        mint: Callable[[], str] = lambda: str(uuid.uuid4()),
        message_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        chance: Callable[[], float] = _RANDOM.random,
        control: bool = True,
        sim: Callable[[str, dict[str, Any]], Awaitable[Any]] | None = None,
    ) -> None:
        self.config, self.store, self.clock = config, store, clock
        now = clock.now()
        loaded = store.load(now.mono, now.wall, now.trusted)
        clock.begin(loaded.boot, loaded.boots)
        clock.on_known = self._time_known
        self._rebooted = loaded.state.get("boot_id") != boot_id
        self._boot_id = boot_id
        self._reboots = reboots
        self._away = None if written is None else now.wall - written
        self.exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._static_facts = config.facts()
        fold = _fold(loaded)
        self.charger = Charger(
            durable.restore(_site(config), loaded.state, config.variables()),
            store,
            clock,
            mint,
            self._facts,
            self.leave,
            loaded.next_row,
            fold,
        )
        position = loaded.state.get("guard", [0, 0])
        self.guard = GuardLink(transport, self.charger.feed, __version__, (position[0], position[1]))
        self._meters = meters
        self.registers = Registers(
            meters,
            {rank: outlet.amps * outlet.phases * VOLTS for rank, outlet in enumerate(config.outlets, 1)},
            loaded.state,
            self._keep_register,
            self._contactor,
            self.charger.feed,
            asyncio.get_running_loop().time,
            lambda: clock.now().wall,
        )
        self.devices = Devices(meters, readers, self.charger.feed, self.guard.measured, bays, self.registers)
        self.charger.guard, self.charger.meters = self.guard, self.devices
        self._backend: Backend | None = None
        if config.backend:
            self._backend = Backend(config, self.charger, store, clock, loaded, fold, link, message_id, chance)
        self.link = None if self._backend is None else self._backend.link
        self.charger.on_variables = self._configure
        self.charger.on_tap = self.devices.answer_tap
        self.operator = Operator(
            charger=self.charger,
            store=store,
            clock=clock,
            guard=self.guard,
            devices=self.devices,
            link=self.link,
            config=config,
            sim=sim,
            stop=self.leave,
        )
        self.control = ControlServer(str(config.control_socket), self.operator) if control else None

    # ---- life

    async def start(self) -> None:
        """Everything runs after this; no backend is needed for it."""
        self.store.submit(Batch({"boot_id": self._boot_id}))
        self.charger.begin(self._rebooted, self._away, self._reboots)
        if lost := self.store.lost:
            log.error(
                "the database was damaged: it is %s now, and %d rows of it were saved. Check the storage medium, "
                "then: chargerctl clear 0 %s",
                lost.path,
                lost.salvaged,
                HISTORY_LOST,
            )
            self.charger.feed(Fault(0, HISTORY_LOST, True))
            self.charger.feed(SecurityNoticed("SecurityLogWasCleared", "the database was damaged and set aside"))
            self.store.told()
        for rank, meter in self._meters.items():
            for text in lacks(meter.kind, self.charger.state.variables):
                log.warning("outlet %d: %s", rank, text)
        self.guard.start()
        self.devices.start()
        if self.link is not None:
            self.link.start()
        if self.control is not None:
            await self.control.start()

    def leave(self, code: int) -> None:
        """End the process with this code, in order."""
        if not self.exit.done():
            self.exit.set_result(code)

    async def stop(self) -> None:
        """Say what there is to say, for at most 3 s, and let go; what runs goes on by its lease."""
        self.charger.feed(Stop())
        conversation = self.charger.conversation
        if conversation is not None and self.link is not None and self.link.state.phase == "open":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN):
                    await conversation.said_all()
        self.charger.stop()
        if self.control is not None:
            await self.control.stop()
        if self.link is not None:
            await self.link.stop()
        await self.devices.stop()
        await self.guard.stop()
        self.charger.stop()
        self.store.close()

    async def abandon(self) -> None:
        """Fall silent as a killed process does: nothing more is said, written or closed. For simulations only."""
        self.charger.die()
        self.guard.abandon()
        self.devices.abandon()
        if self.link is not None:
            self.link.kill()
        if self.control is not None:
            await self.control.stop()
        await asyncio.sleep(0)

    def _keep_register(self, row: Mapping[str, Any], at_once: bool) -> None:
        (self.store.submit if at_once else self.store.put_by)(Batch(row))

    def _contactor(self, rank: int) -> bool | None:
        live = self.charger.state.outlet(rank).live
        return live.powered if live.known else None

    def _time_known(self, at: Moment) -> None:
        self.store.submit(Batch(anchor=at))
        self.charger.time_known()

    def _configure(self) -> None:
        """Variables were changed: what lives outside the station follows them."""
        self.clock.heeds_ntp = "NTP" in self.charger.state.variables.get_list("time_sources")
        if self._backend is not None:
            self._backend.configure()

    # ---- what only the whole knows

    def _facts(self, state: Station) -> dict[str, str]:
        """The facts of `core.variables`, those of this moment included."""
        facts = self._static_facts | {"now": text_of(self.clock.now().wall)}
        password = self.config.csms.password if self._backend is None else self._backend.password
        facts["security_profile"] = security_profile(self.config.csms.url, password)
        words = {o.site.rank: _word(state, o.site.rank) for o in state.outlets}
        facts["phase_switching"] = _bool(any(switches(outlet) for outlet in state.outlets))
        facts["station_state"] = "Available" if state.operative else "Unavailable"
        facts["station_problem"] = _bool(bool(state.faults) or all(o.live.faults for o in state.outlets))
        for outlet in state.outlets:
            site = outlet.site
            reading = outlet.live.reading
            name = f"{site.evse}.{site.connector}"
            facts[f"connector_state.{name}"] = words[site.rank]
            facts[f"connector_problem.{name}"] = _bool(bool(outlet.live.faults))
            facts[f"evse_state.{site.evse}"] = words[site.rank]
            facts[f"evse_problem.{site.evse}"] = _bool(bool(outlet.live.faults))
            facts[f"evse_power.{site.evse}"] = f"{reading.power if reading and reading.power else 0.0:.0f}"
        if self._backend is not None:
            facts |= self._backend.facts()
        return facts


async def serve(config: Config, boot_id: str, notify: Callable[[str], None], watchdog: float | None) -> int:
    """Run as a service until told to leave; the exit code.

    Raises StoreFailed, DeviceError for what is misnamed, OSError for the control socket.
    """
    loop = asyncio.get_running_loop()
    must_be_free(config.control_socket)  # before the store: its books are the other one's
    database = Path(config.station.state_dir, "chargerd.db")
    written = last_written(database)
    store = Store.open(database, history=config.station.history)
    daemon = Daemon(
        config,
        store,
        Clock(loop.time, time.time, synchronised),
        SocketTransport(str(config.guard_socket)),
        meters={n: hal.open_meter(o.meter) for n, o in enumerate(config.outlets, 1) if o.meter != NO_METER},
        readers=[Reader(r.device, hal.open_reader(r.device), r.evse) for r in config.readers],
        bays={n: hal.open_bay(o.bay) for n, o in enumerate(config.outlets, 1) if o.bay != NO_BAY},
        boot_id=boot_id,
        written=written,
        reboots=watchdog is not None,  # by the unit that has a watchdog for us (deploy/systemd)
        sim=_simulation(config),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.leave, 0)
    await daemon.start()
    gc.collect()
    gc.freeze()
    notify("READY=1")
    feeding = asyncio.create_task(_feed_watchdog(notify, watchdog)) if watchdog else None
    code = await daemon.exit
    notify("STOPPING=1")
    if feeding is not None:
        feeding.cancel()
    await daemon.stop()
    return code


def last_written(database: Path) -> float | None:
    """Unix seconds of the last write, where the clock is one that goes on without power (`Daemon`)."""
    if not (synchronised() or battery_backed()):
        return None
    files = (database, database.with_name(database.name + "-wal"))
    return max((file.stat().st_mtime for file in files if file.exists()), default=None)


async def _feed_watchdog(notify: Callable[[str], None], interval: float) -> None:
    """Fed from the loop itself: a loop that hangs feeds nothing."""
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval / 3)


def _simulation(config: Config) -> Callable[[str, dict[str, Any]], Awaitable[Any]] | None:
    """The way to the simulated world, where the board is one."""
    scheme, _, path = config.guard.board.partition(":")
    if scheme != "sim":
        return None
    from hal.sim.client import Far

    return Far(path).call


def _site(config: Config) -> Site:
    outlets = tuple(
        OutletSite(
            rank,
            o.evse,
            o.connector,
            o.amps,
            o.phases,
            o.tethered,
            o.meter != NO_METER,
            o.bay != NO_BAY,
            o.min_amps,
            o.begin_amps,
            Switching(o.phase_switch),
        )
        for rank, o in enumerate(config.outlets, 1)
    )
    free = not config.backend and config.authorization.mode == "free"
    local = None if config.backend else LOCAL_WINDOW
    waits = config.station.after_loss == "wait"
    rules = config.charging
    policy = Policy(
        volts=rules.volts,
        without=_most(rules.without_profile),
        offline=_most(rules.offline_amps),
        offline_after=rules.offline_after,
        unknown=rules.unknown_time == "lowest",
        switches=config.protection.phase_switches,
        switch_rest=config.protection.phase_rest,
    )
    return Site(outlets, config.station.max_amps, config.backend, free, window=local, waits=waits, policy=policy)


def _most(amps: float) -> float:
    """No limit at all, where it is what no outlet exceeds."""
    return amps if amps < MOST_AMPS else inf


def _fold(loaded: Loaded) -> Fold:
    prefix = "fold/"
    return {key.removeprefix(prefix): body for key, body in loaded.state.items() if key.startswith(prefix)}


def _word(state: Station, rank: int) -> str:
    """The AvailabilityState of 2.x."""
    word = joint(state, rank)
    if word in (Joint.AVAILABLE, Joint.RESERVED, Joint.UNAVAILABLE, Joint.FAULTED):
        return word.value
    return "Occupied"


def _bool(value: bool) -> str:
    return "true" if value else "false"
