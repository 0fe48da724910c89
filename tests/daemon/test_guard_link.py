"""The daemon's end of the lease: against a guard of a few lines over a real socket, and against the real one."""

from __future__ import annotations

import asyncio
import math
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.commands import SetPermit, WishLock
from chargerd.core.events import CableIn, Event, Fault, GuardLost, OutletTruth, Power, VehicleIn, VehicleOut
from chargerd.daemon import guard_link
from chargerd.daemon.guard_link import GuardLink, SocketTransport
from chargerd.guard import lease
from chargerd.guard.desk import Guard
from chargerd.guard.lease import Kind
from chargerd.guard.setup import GuardSetup, OutletSetup
from chargerd.lab.near_guard import NearGuard
from chargerd.lab.pace import VirtualLoop, run
from hal.sim.board import SimBoard
from hal.sim.client import Near
from hal.sim.outlet import SimOutlet
from hal.sim.world import World
from tests.guard.test_lease import recorded

TRUTH = lease.Truth(1, 5.0, "B", 41, True, 32.0, 0.0, False, True)


class FakeGuard:
    """Listens, takes words, says what it is told to say."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.setblocking(False)
        self.peer: socket.socket | None = None
        self.heard: list[lease.Word] = []

    async def accept(self) -> None:
        """Take the next connection and its hello."""
        peer, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self._listener), 5)
        peer.setblocking(False)
        self.leave()
        self.peer = peer
        assert isinstance(await self.hear(), lease.Hello)

    async def hear(self) -> lease.Word:
        assert self.peer is not None
        raw = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.peer, 1024), 5)
        word = lease.decode(raw)
        self.heard.append(word)
        return word

    def say(self, *words: lease.Word | bytes) -> None:
        assert self.peer is not None
        for word in words:
            self.peer.send(word if isinstance(word, bytes) else lease.encode(word))

    async def welcome(self, epoch: int = 7, last: int = 0) -> lease.Word:
        self.say(lease.Welcome(lease.LINK_VERSION, "fake", epoch, last, 1))
        return await self.hear()

    def leave(self) -> None:
        if self.peer is not None:
            self.peer.close()

    def close(self) -> None:
        self.leave()
        self._listener.close()


class Rig:
    def __init__(self, guard: FakeGuard, path: Path, position: tuple[int, int]) -> None:
        self.guard = guard
        self.events: list[Event] = []
        self.positions: list[tuple[int, int] | None] = []
        self.take_no_more = False
        self.link = GuardLink(SocketTransport(str(path)), self.take, "test", position)

    def take(self, event: Event, position: tuple[int, int] | None) -> None:
        if self.take_no_more:
            raise LookupError
        self.events.append(event)
        self.positions.append(position)

    async def until(self, what: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not what():  # noqa: ASYNC110 — what is looked at is plain data
                await asyncio.sleep(0.01)


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(guard_link, "RETRY", 0.02)
    monkeypatch.setattr(guard_link, "RENEW_EVERY", 0.05)
    guard = FakeGuard(tmp_path / "guard")
    made = Rig(guard, tmp_path / "guard", (7, 3))
    made.link.start()
    await guard.accept()
    yield made
    await made.link.stop()
    guard.close()


def event(seq: int, kind: Kind, plug: int = 0, detail: str = "") -> lease.Event:
    return lease.Event(seq, 5.0, 1, kind, plug, detail)


async def test_what_was_missed_comes_before_the_truth_of_now(rig: Rig) -> None:
    assert await rig.guard.welcome(last=5) == lease.Replay(7, 3)
    rig.guard.say(TRUTH, event(4, Kind.VEHICLE_OUT, 40), event(5, Kind.VEHICLE_IN, 41))
    await rig.until(lambda: len(rig.events) >= 3)
    assert rig.events[:2] == [VehicleOut(1, 40), VehicleIn(1, 41)]
    assert rig.positions == [(7, 4), (7, 5), None]
    assert isinstance(rig.events[2], OutletTruth) and rig.events[2].plug == 41


async def test_nothing_missed_is_nothing_to_wait_for(rig: Rig) -> None:
    await rig.guard.welcome(last=3)
    rig.guard.say(TRUTH)
    await rig.until(lambda: rig.events)
    assert isinstance(rig.events[0], OutletTruth)


async def test_another_run_of_the_guard_begins_with_a_gap(rig: Rig) -> None:
    await rig.guard.welcome(epoch=8, last=2)
    rig.guard.say(TRUTH, lease.Gap(0), event(1, Kind.CABLE_IN, detail="32"), event(2, Kind.VEHICLE_IN, 41))
    await rig.until(lambda: len(rig.events) >= 3)
    assert rig.events[:2] == [CableIn(1, 32.0), VehicleIn(1, 41)]
    assert rig.positions[1] == (8, 2)
    assert isinstance(rig.events[2], OutletTruth)


async def test_a_guard_that_does_not_let_us_in_is_none_and_says_why(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        rig.guard.say(lease.Refused("connection", "only uid 998 may speak here"))
        await rig.until(lambda: rig.link.refused)
        await rig.guard.accept()
    assert rig.events == [Fault(0, "GuardMismatch", True), GuardLost()]
    assert not rig.link.connected
    assert [r.levelname for r in caplog.records].count("ERROR") == 1, "said once, not twice a second"
    await rig.guard.welcome()
    assert rig.link.connected
    assert not rig.link.refused


async def test_a_fault_of_ours_on_the_way_is_not_the_last_of_the_guard(rig: Rig) -> None:
    await rig.guard.welcome(last=3)
    rig.take_no_more = True
    rig.guard.leave()
    await rig.guard.accept()
    rig.take_no_more = False
    await rig.guard.welcome(last=3)
    rig.guard.say(TRUTH)
    await rig.until(lambda: rig.events)


async def test_a_gap_in_the_middle_makes_void_what_was_believed(rig: Rig) -> None:
    await rig.guard.welcome(last=3)
    rig.guard.say(lease.Gap(300), TRUTH)
    await rig.until(lambda: len(rig.events) >= 2)
    assert rig.events[0] == GuardLost()
    assert isinstance(rig.events[1], OutletTruth)


async def test_permits_are_renewed_and_wishes_are_not(rig: Rig) -> None:
    await rig.guard.welcome(last=3)
    await rig.until(lambda: rig.link.connected)
    rig.link.permit(SetPermit(1, 41, 16.0, 3))
    rig.link.lock(WishLock(1, True))
    await asyncio.sleep(0.3)
    words = [await rig.guard.hear() for _ in range(5)]
    assert words.count(lease.Permit(1, 41, 16.0, 3)) == 4
    assert words.count(lease.Lock(1, True)) == 1


async def test_a_lost_guard_takes_the_permits_with_it_and_is_looked_for_again(rig: Rig) -> None:
    await rig.guard.welcome(last=3)
    await rig.until(lambda: rig.link.connected)
    rig.link.permit(SetPermit(1, 41, 16.0, 3))
    rig.guard.leave()
    await rig.guard.accept()
    assert rig.events == [GuardLost()]
    rig.link.permit(SetPermit(1, 42, 6.0, 3))  # before the welcome nothing is said
    await rig.guard.welcome(last=3)
    assert await rig.guard.hear() == lease.Permit(1, 42, 6.0, 3)
    assert lease.Permit(1, 41, 16.0, 3) not in rig.guard.heard


@pytest.mark.parametrize("packet", [b"{", b"[]", b"\xff", lease.encode(lease.Hello(1, "?")), b'{"t":"event"}'])
async def test_a_packet_that_is_none_is_passed_over(rig: Rig, packet: bytes) -> None:
    await rig.guard.welcome(last=3)
    rig.guard.say(packet, event(4, Kind.POWER_ON))
    await rig.until(lambda: rig.events)
    assert rig.events == [Power(1, True)]


async def test_a_word_that_cannot_be_taken_ends_the_conversation_and_not_the_listening(rig: Rig) -> None:
    """Else permits would be renewed for ever by a daemon that is deaf."""
    await rig.guard.welcome(last=3)
    rig.guard.say(event(4, Kind.CABLE_IN, detail="a lot"))
    await rig.until(lambda: rig.events)
    assert rig.events == [GuardLost()]
    rig.guard.leave()
    await rig.guard.accept()
    await rig.guard.welcome(last=4)
    rig.guard.say(event(5, Kind.FAULT, detail="OverTemperature"))
    await rig.until(lambda: len(rig.events) >= 2)
    assert rig.events[1] == Fault(1, "OverTemperature", True)


async def test_a_guard_that_reads_no_more_is_no_guard(rig: Rig) -> None:
    """What it missed may have been a stop: it is said anew after the next welcome."""
    await rig.guard.welcome(last=3)
    await rig.until(lambda: rig.link.connected)
    for _ in range(5000):
        rig.link.lock(WishLock(1, True))
        if rig.events:
            break
        await asyncio.sleep(0)
    await rig.until(lambda: rig.events)
    assert rig.events == [GuardLost()]


def test_the_real_guard_tells_a_daemon_that_was_away_what_happened() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        world = World([SimOutlet()], loop.time, watchdog=math.inf)
        mint = random.Random(1).getrandbits
        setup = GuardSetup((OutletSetup(evse=1, amps=32),))
        guard = Guard(
            SimBoard.on(world), setup, lambda: mint(40) or 1, 99, "", lambda latched: True, frozenset(), loop.time()
        )
        transport = NearGuard(guard, world)
        events: list[Event] = []
        positions: list[tuple[int, int]] = []

        def take(event: Event, position: tuple[int, int] | None) -> None:
            events.append(event)
            positions.extend([position] if position else [])

        first = GuardLink(transport, take, "test")
        first.start()
        await asyncio.sleep(3)
        await Near(world).call("sim.plug", {"outlet": 1})
        transport.wake()
        await asyncio.sleep(3)
        [plugged] = [event for event in events if isinstance(event, VehicleIn)]
        await first.stop()
        await Near(world).call("sim.unplug", {"outlet": 1})
        transport.wake()
        await asyncio.sleep(5)
        events.clear()
        second = GuardLink(transport, take, "test", positions[-1])
        second.start()
        await asyncio.sleep(3)
        kinds = [type(event) for event in events]
        assert VehicleOut(1, plugged.plug) in events
        assert kinds.index(VehicleOut) < kinds.index(OutletTruth)
        assert second.truths[1].plug == 0
        await second.stop()
        transport.kill()

    run(VirtualLoop(1000.0), scene())


async def test_a_guard_too_far_away_is_a_fault_and_gets_no_permit(rig: Rig) -> None:
    rig.guard.say(lease.Refused("hello", "link version: this guard speaks 9 (and one below)"), TRUTH)
    await rig.guard.accept()
    rig.guard.say(lease.Welcome(lease.LINK_VERSION + 1, "far", 7, 3, 1), TRUTH)
    rig.link.permit(SetPermit(1, 41, 16.0, 3))
    await rig.guard.accept()
    assert rig.events == [Fault(0, "GuardMismatch", True), GuardLost()]
    assert f"link version is {lease.LINK_VERSION + 1}, ours {lease.LINK_VERSION}" in rig.link.refused
    await rig.guard.welcome(last=3)
    await rig.until(lambda: rig.link.connected)
    assert rig.events[-1] == Fault(0, "GuardMismatch", False)
    assert not any(isinstance(word, lease.Permit) for word in rig.guard.heard)


async def test_an_older_guard_is_asked_once_to_make_room(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LINK_VERSION", 2)
    rig.guard.say(lease.Welcome(1, "old", 7, 3, 1))
    assert [await rig.guard.hear(), await rig.guard.hear()] == [lease.Leave(), lease.Replay(7, 3)]
    rig.guard.leave()
    await rig.guard.accept()
    rig.guard.say(lease.Welcome(1, "old", 7, 3, 1))
    assert await rig.guard.hear() == lease.Replay(7, 3)


async def test_how_the_guard_does_is_known_while_it_is_there(rig: Rig) -> None:
    await rig.guard.welcome(last=3)
    vitals, _, notes, _ = recorded(2)
    rig.guard.say(vitals)
    rig.guard.say(notes)
    await rig.until(lambda: rig.link.notes)
    assert rig.link.vitals == lease.decode(vitals)
    assert rig.link.notes == {1: lease.decode(notes)}
    rig.guard.leave()
    await rig.until(lambda: rig.link.vitals is None)
    assert not rig.link.notes
