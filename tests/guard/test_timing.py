"""The guard's loop in time that only sleep lets pass: late turns, pauses, and what months of it would add up to."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from math import inf
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chargerd.guard import loop, rules
from chargerd.guard.desk import Guard
from chargerd.guard.lease import (
    MAX_PACKET,
    Event,
    Hello,
    Kind,
    Lock,
    Measured,
    Permit,
    Replay,
    ToGuard,
    Vitals,
    decode,
    encode,
)
from chargerd.guard.setup import GuardSetup, OutletSetup, TimingSetup
from chargerd.guard.vitals import Stopwatch, TimedBoard
from tests.guard.fake import FakeBoard, FakeOutlet
from tests.guard.place import Place


class Clock:
    """Time that passes only in sleep; one of them is a long `pause`."""

    def __init__(self, sleeps: int, pause_in: int, told: loop.Told, pause: float = 1.0) -> None:
        self.now, self.left, self.pause_in, self.told = 1000.0, sleeps, sleeps - pause_in, told
        self.pause = pause

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.left -= 1
        self.now += self.pause if self.left == self.pause_in else seconds
        if not self.left:
            self.told.stop(signal.SIGTERM, None)


class Mute:
    """No daemon and no visitor."""

    def listen(self, guard: object, now: float) -> None: ...
    def speak(self, guard: object, now: float) -> None: ...
    def show(self, guard: object) -> None: ...


class Turned:
    """Notes its turns and the pauses before them."""

    leaving = late = slow = False
    trouble = ""
    bays = ()
    outlets = ()
    hold: float | None = None
    opens_at_once = False
    board: TimedBoard

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def cycle(self, now: float) -> None:
        self.seen.append(("cycle", round(now, 3)))
        self.board.exchange()

    def lapse(self, now: float) -> None:
        self.seen.append(("lapse", round(now, 3)))

    def feel(self, vitals: Vitals) -> None:
        self.vitals = vitals

    def exchange(self) -> None: ...
    def close(self) -> None: ...


def keep_time(monkeypatch: pytest.MonkeyPatch, pause: float, hold: float | None) -> tuple[Turned, Vitals]:
    """Five turns, of which the fourth comes after a pause."""
    told = loop.Told()
    clock = Clock(5, 3, told, pause)
    monkeypatch.setattr(loop, "time", clock)
    turned, mute = Turned(), Mute()
    turned.hold = hold
    turned.board = board = TimedBoard(turned, clock.monotonic)
    watch = Stopwatch(board, (), TimingSetup(), False, clock.monotonic)
    try:
        loop._keep_time(turned, board, mute, mute, watch, lambda text: None, told)  # type: ignore[arg-type]
    finally:
        gc.enable()
        gc.unfreeze()
    return turned, watch.vitals(clock.now)


def test_a_late_turn_begins_with_a_lapse(monkeypatch: pytest.MonkeyPatch) -> None:
    turned, seen = keep_time(monkeypatch, 1.0, None)
    times = [1000.0, 1000.0, 1000.02, 1000.04, 1001.04, 1001.06]
    assert turned.seen == [
        *(("cycle", at) for at in times[:4]),
        ("lapse", 1001.04),
        *(("cycle", at) for at in times[4:]),
    ]
    assert (seen.turns, seen.missed, seen.pauses) == (5, 49, 1)
    assert seen.late is not None and seen.late[2] == pytest.approx(0.98)


@pytest.mark.parametrize(
    ("hold", "pause", "lapses", "let_go"),
    [
        (None, 0.09, 0, 0),
        (None, 0.11, 1, 1),
        (0.06, 0.05, 0, 0),
        (0.06, 0.07, 1, 1),
        (0.15, 0.09, 0, 0),
        (0.15, 0.11, 1, 0),
        (0.15, 0.16, 1, 1),
    ],
)
def test_a_turn_is_late_once_the_hardware_may_have_let_go(
    monkeypatch: pytest.MonkeyPatch, hold: float | None, pause: float, lapses: int, let_go: int
) -> None:
    turned, seen = keep_time(monkeypatch, pause, hold)
    assert ([what for what, _ in turned.seen].count("lapse"), seen.pauses) == (lapses, let_go)


class Days:
    """Time that passes in sleep only; drivers who come and go in it, and a daemon that permits whoever comes."""

    VISIT = 200  # turns

    def __init__(self, place: Place, told: loop.Told, line: FakeOutlet, turns: int) -> None:
        self.now, self.turn, self._turns = 1000.0, 0, turns
        self._place, self._told, self._line = place, told, line
        self._peer: socket.socket | None = None
        self.plugs: set[int] = set()
        self.objects: list[int] = []  # made since READY and still there, by the end of each visit
        self.blocks: list[int] = []  # of memory in use

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.turn += 1
        if self._peer is None:
            self._peer = self._place.connect()
            self._peer.setblocking(False)
            self._say(Hello(2, "d"), Replay(0, 0))
        self._listen()
        match self.turn % self.VISIT:
            case 1 | 120:
                self._line.level = "B"
                self._place.connect("truth.sock").close()
            case 60:
                self._line.level = "C"
                self._say(Permit(1, 7, 16.0))  # stale: refused
            case 140:
                self._line.level = "A"
            case 0:
                self.objects.append(len(gc.get_objects()))
                self.blocks.append(sys.getallocatedblocks())
        if self.turn == self._turns:
            self._told.stop(signal.SIGTERM, None)

    def _listen(self) -> None:
        assert self._peer is not None
        with contextlib.suppress(BlockingIOError):
            while packet := self._peer.recv(MAX_PACKET):
                word = decode(packet)
                if isinstance(word, Event) and word.kind is Kind.VEHICLE_IN:
                    self.plugs.add(word.plug)
                    self._say(Permit(1, word.plug, 16.0), Measured(1, (9.0, 9.0, 9.0), None, None, 0.1), Lock(1, True))

    def _say(self, *words: ToGuard) -> None:
        assert self._peer is not None
        for word in words:
            self._peer.send(encode(word))

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()


def test_its_memory_does_not_grow_although_nothing_is_collected(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Visits over real sockets; a reference cycle in a turn, or a list without a bound, would add up."""
    monkeypatch.setattr(rules, "RECLOSE", rules.REST)
    told, fake = loop.Told(), FakeBoard(False)
    days = Days(place, told, fake.lines[0], turns=70 * Days.VISIT)
    monkeypatch.setattr(loop, "time", days)
    board = TimedBoard(fake, days.monotonic)
    setup = GuardSetup((OutletSetup(evse=1),))
    guard = Guard(board, setup, loop._random, 1, "b7", lambda latched: True, frozenset(), days.now)
    watch = Stopwatch(board, guard.bays, setup.timing, False, days.monotonic)
    try:
        with (
            loop.Daemon(str(place.folder / "guard.sock"), os.getuid()) as daemon,
            loop.Window(str(place.folder / "truth.sock"), lambda caller: True) as window,
        ):
            loop._keep_time(guard, board, daemon, window, watch, lambda text: None, told)
    finally:
        gc.enable()
        gc.unfreeze()
        days.close()
    assert len(days.plugs) == 70 and watch.vitals(days.now).opened == 70
    objects, blocks = days.objects[40:], days.blocks[40:]  # once as many events have been as are kept
    assert max(objects) - min(objects) < 20, objects
    # Freed tuples are kept by Python for later, up to 2000 of a size: some blocks a visit, but not one a turn.
    assert max(blocks) - min(blocks) < len(blocks) * Days.VISIT / 4, blocks


class Monostable(FakeBoard):
    """A board whose contactors open with the call, and once the edges of its exchanges are 110 ms apart."""

    hold = 0.060
    RELEASES = 0.110
    opens_at_once = True

    def __init__(self, now: float) -> None:
        super().__init__(True)
        self.clock = self.edge = now
        self.again = 0  # edges that may have closed again what was open

    def exchange(self) -> None:
        if self.clock - self.edge > self.hold and self.lines[0].coil:
            self.again += 1
        self.edge = self.clock
        super().exchange()


class Rough:
    """A scheduler that gives the processor late: `pauses` are added to sleeps, again and again."""

    guard: Guard

    def __init__(self, told: loop.Told, board: Monostable, pauses: list[float], leaves: float) -> None:
        self.now = board.clock
        self._told, self._board, self._pauses = told, board, pauses
        self._turn, self._leaves_after, self._closed_at = 0, leaves, 0.0
        self.took: float | None = None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        line = self._board.lines[0]
        self._turn += 1
        wakes = self.now + seconds
        if self._closed_at:  # until then all is well
            wakes += self._pauses[self._turn % len(self._pauses)]
        elif line.coil:
            self._closed_at = self.now
        leaves = self._closed_at + self._leaves_after if self._closed_at else inf
        if leaves <= wakes:
            line.level = "A"
            if (dead := self._dead(wakes)) is not None:
                self.took = max(0.0, dead - leaves)
                self._told.stop(signal.SIGTERM, None)
        if self._turn == 3:
            line.level = "B"
        if self._turn == 40:
            self.guard.hear(encode(Hello(2, "d")), self.now)
            self.guard.hear(encode(Permit(1, 7, 16.0)), self.now)
        if self._turn == 45:
            line.level = "C"
        assert self._turn < 1000
        self._board.clock = self.now = wakes

    def _dead(self, wakes: float) -> float | None:
        """By the guard's command before this sleep, or by the monostable in the middle of it."""
        if not self._board.lines[0].coil:
            return self.now
        released = self._board.edge + self._board.RELEASES
        return released if released < wakes else None


@settings(max_examples=150, deadline=None)
@given(
    pauses=st.lists(st.floats(0, 0.2) | st.floats(0, 0.045), min_size=1, max_size=12),
    leaves=st.floats(0.05, 1.0),
)
@example([0.039, 0.2], 0.0201)  # leaves just after a sample; the next comes late, the one after that far too late
@example([0.2, 0.039], 0.0201)
def test_however_late_its_turns_the_coil_is_dead_in_time_and_stays_so(pauses: list[float], leaves: float) -> None:
    """Without real-time scheduling beside hogs: what is late is opened by rule, and what is later by the hardware."""
    told, board = loop.Told(), Monostable(1000.0)
    setup = GuardSetup((OutletSetup(evse=1, tethered=True, wake_up="off"),))
    rough = Rough(told, board, pauses, leaves)
    timed = TimedBoard(board, rough.monotonic)
    guard = Guard(timed, setup, lambda: 7, 1, "b7", lambda latched: True, frozenset(), rough.now)
    rough.guard = guard
    watch = Stopwatch(timed, guard.bays, setup.timing, False, rough.monotonic)
    mute = Mute()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "RECLOSE", rules.REST)
        patch.setattr(loop, "time", rough)
        patch.setattr(loop, "gc", SimpleNamespace(collect=int, freeze=int, disable=int))  # a second of a hundred tries
        loop._keep_time(guard, timed, mute, mute, watch, lambda text: None, told)  # type: ignore[arg-type]
    # At worst it leaves just after a sample, the next one is not yet enough, and then the guard stands still.
    assert rough.took is not None and rough.took <= rules.BRISK + Monostable.RELEASES + 1e-9
    assert board.again == 0
