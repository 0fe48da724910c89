"""The daemon's end of the lease: words of the guard become events, commands become words, permits are renewed.

After each connection: hello, then the events missed since the last one processed, then the truth of now; truths that
overtake the replay are held back, so that a vehicle which left while nobody listened is seen leaving. Permits are
renewed every second from the event loop itself: a loop that hangs renews nothing, and the guard lets them run out.

A guard whose link version is one below serves until no vehicle is connected; it is asked once to make room then, and
whoever supervises it starts the new one. With a guard further away there is no lease, and fault GuardMismatch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from chargerd.core.commands import SetPermit, Show, WishLock
from chargerd.core.events import (
    CableIn,
    CableOut,
    Event,
    Fault,
    GuardLost,
    OutletTruth,
    PhasesTold,
    Power,
    VehicleIn,
    VehicleOut,
    VehicleReady,
)
from chargerd.guard import lease
from chargerd.guard.lease import Kind, Mode
from hal.api import MeterReading

log = logging.getLogger(__name__)

RENEW_EVERY = 1.0
RETRY = 0.5
_WITHHELD = ("temperature", "shedding", "phases")  # limits that are no doing of the vehicle
Position = tuple[int, int]  # epoch of the guard, number of its last event that was processed
Feed = Callable[[Event, Position | None], None]


class Transport(Protocol):
    """Packets to and from one guard."""

    async def open(self) -> None:
        """Connect; raises OSError."""

    def send(self, packet: bytes) -> bool: ...
    async def receive(self) -> bytes:
        """The next packet; b"" at the end."""

    def close(self) -> None: ...


class GuardLink:
    """`feed(event, position)` takes what the guard says; `position` is to be persisted with what it causes."""

    def __init__(self, transport: Transport, feed: Feed, build: str, position: Position = (0, 0)) -> None:
        self._transport, self._feed, self._build = transport, feed, build
        self._position = position
        self._permits: dict[int, lease.Permit] = {}
        self._last: int | None = None  # number at which the replay is over; None: over
        self._held: dict[int, lease.Truth] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._asked_to_leave = False
        self.connected = False
        self.refused = ""
        """Why the guard does not let this daemon in; empty where it does, or is not there."""
        self.since = 0.0
        self.truths: dict[int, lease.Truth] = {}
        """The newest word on each outlet, for people to look at."""
        self.notes: dict[int, lease.Notes] = {}
        self.vitals: lease.Vitals | None = None
        """How the guard does; None where it does not say, or is not there."""

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(), name="guard"), asyncio.create_task(self._renew())]

    def abandon(self) -> None:
        """Fall silent in the middle of whatever goes on, as a killed process does."""
        for task in self._tasks:
            task.cancel()
        self._transport.close()

    async def stop(self) -> None:
        """Leave; permits run out by themselves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._transport.close()

    # ---- what the daemon wants

    def permit(self, command: SetPermit) -> None:
        mode = Mode.BASIC if command.available else Mode.UNAVAILABLE
        word = lease.Permit(command.outlet, command.plug, command.amps, command.phases, mode)
        self._permits[command.outlet] = word
        self._say(word)

    def lock(self, command: WishLock) -> None:
        self._say(lease.Lock(command.outlet, command.locked))

    def show(self, command: Show) -> None:
        self._say(lease.Indicate(command.outlet, command.lamp.value))

    def measured(self, outlet: int, reading: MeterReading, age: float) -> None:
        self._say(lease.Measured(outlet, reading.amps, reading.volts, reading.power, round(age, 3)))

    def clear(self, outlet: int, fault: str, who: str) -> None:
        self._say(lease.ClearFault(outlet, fault, who))

    # ---- inside

    def _say(self, word: lease.ToGuard) -> None:
        if self.connected:
            self._transport.send(lease.encode(word))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            for word in self._permits.values():
                if word.amps > 0 or word.mode is not Mode.BASIC:
                    self._say(word)

    async def _run(self) -> None:
        while True:
            absent = False
            try:
                await self._transport.open()
                self._transport.send(lease.encode(lease.Hello(lease.LINK_VERSION, self._build)))
                while packet := await self._transport.receive():
                    self._hear(packet)
            except OSError as e:
                log.debug("guard: %s", e)
                absent = True
            except Exception:  # permits are not renewed for a daemon that no longer listens
                log.exception("guard: its word could not be taken; the conversation begins anew")
            self._transport.close()
            try:
                if absent:
                    self._not_shut_out()
                self._gone()
            except Exception:
                log.exception("guard: that it is gone could not be told")
            await asyncio.sleep(RETRY)

    def _gone(self) -> None:
        """No guard: say so once; the permits given are void for us until the core gives them anew."""
        was, self.connected = self.connected, False
        self._permits.clear()
        self.truths.clear()
        self.notes.clear()
        self.vitals = None
        self._last = None
        if was or not self.since:
            self.since = asyncio.get_running_loop().time()
            self._feed(GuardLost(), None)

    def _hear(self, packet: bytes) -> None:
        try:
            word = lease.decode(packet)
        except lease.BadPacket as e:
            log.warning("guard: %s", e)
            return
        match word:
            case lease.Welcome(version=version) if not 0 <= lease.LINK_VERSION - version <= 1:
                self._shut_out(f"its link version is {version}, ours {lease.LINK_VERSION}")
            case lease.Welcome(version=version, epoch=epoch, last=last):
                log.info("guard: connected, link version %d", version)
                self.connected, self.since = True, asyncio.get_running_loop().time()
                self._not_shut_out()
                self._make_room(version)
                known, after = self._position
                self._held.clear()
                self._last = last
                self._say(lease.Replay(known, after))
                if known == epoch:
                    self._replayed(after)
                else:  # another run of the guard: it begins with a gap
                    self._position = (epoch, 0)
            case lease.Gap() | lease.Event() | lease.Truth() if not self.connected:
                log.warning("guard: %s before it is welcome", word.tag)
            case lease.Gap(until=until):
                if self._last is None:  # in the middle of a conversation: what we believed is void
                    log.warning("guard: events up to number %d are gone", until)
                    self._feed(GuardLost(), None)
                self._position = (self._position[0], max(self._position[1], until))
                self._replayed(until)
            case lease.Event():
                self._position = (self._position[0], word.seq)
                event = event_of(word)
                if event is not None:
                    self._feed(event, self._position)
                self._replayed(word.seq)
            case lease.Truth():
                if self._last is not None:
                    self._held[word.outlet] = word
                else:
                    self._truth(word)
            case lease.Notes():
                before = self.notes.get(word.outlet)
                self.notes[word.outlet] = word
                if before is None or (before.phases, before.switching) != (word.phases, word.switching):
                    self._feed(PhasesTold(word.outlet, word.phases, word.switching), None)
            case lease.Vitals():
                self.vitals = word
            case lease.Refused(what=what, why=why) if self.connected:
                log.warning("guard refused %s: %s", what, why)
            case lease.Refused(why=why):  # of another version, for another user, or it has a daemon: no guard for us
                self._shut_out(why)
            case _:
                log.warning("guard: %s is not for the daemon", word.tag)

    def _shut_out(self, why: str) -> None:
        """Nothing is known, and nothing will be permitted."""
        if why != self.refused:
            log.error("the guard does not let this daemon in: %s", why)
        if not self.refused:
            self._feed(Fault(0, lease.MISMATCH, True), None)
        self.refused = why
        self._transport.close()

    def _not_shut_out(self) -> None:
        if self.refused:
            self.refused = ""
            self._feed(Fault(0, lease.MISMATCH, False), None)

    def _make_room(self, version: int) -> None:
        """Once in a run: if an old guard comes again, there is no newer one."""
        if version < lease.LINK_VERSION and not self._asked_to_leave:
            log.warning("guard: it speaks link version %d; it is asked to make room for a newer one", version)
            self._asked_to_leave = True
            self._say(lease.Leave())

    def _replayed(self, seq: int) -> None:
        if self._last is not None and seq >= self._last:
            self._last = None
            for word in self._held.values():
                self._truth(word)
            self._held.clear()

    def _truth(self, word: lease.Truth) -> None:
        self.truths[word.outlet] = word
        ready = word.pilot in ("C", "D")
        self._feed(
            OutletTruth(
                word.outlet,
                word.plug,
                word.cable,
                word.cable_amps,
                ready,
                word.closed,
                word.locked,
                word.offered,
                word.faults,
                withheld=word.offered == 0.0 and word.limit in _WITHHELD,
            ),
            None,
        )


def event_of(word: lease.Event) -> Event | None:
    """The core's event for a guard's; None where the truth that follows says it all."""
    match word.kind:
        case Kind.CABLE_IN:
            return CableIn(word.outlet, float(word.detail or 0))
        case Kind.CABLE_OUT:
            return CableOut(word.outlet)
        case Kind.VEHICLE_IN:
            return VehicleIn(word.outlet, word.plug)
        case Kind.VEHICLE_OUT:
            return VehicleOut(word.outlet, word.plug)
        case Kind.VEHICLE_READY | Kind.VEHICLE_NOT_READY:
            return VehicleReady(word.outlet, word.plug, word.kind is Kind.VEHICLE_READY)
        case Kind.POWER_ON | Kind.POWER_OFF:
            return Power(word.outlet, word.kind is Kind.POWER_ON)
        case Kind.FAULT | Kind.FAULT_CLEARED:
            return Fault(word.outlet, word.detail, word.kind is Kind.FAULT)
    return None


class SocketTransport:
    """The guard's SEQPACKET socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self._socket, self._path)

    def send(self, packet: bytes) -> bool:
        try:
            return self._socket is not None and self._socket.send(packet) == len(packet)
        except OSError:  # a guard that reads no more is no guard: what it missed must be said anew
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            return False

    async def receive(self) -> bytes:
        if self._socket is None:
            return b""
        return await asyncio.get_running_loop().sock_recv(self._socket, lease.MAX_PACKET)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
