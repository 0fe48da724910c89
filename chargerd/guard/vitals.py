"""What the guard measures of itself, in every turn and in memory that does not grow.

due ──late──► begins ──exchange──► decides, talks ──► ends          turn: from begins to ends; jitter: what is
                                                                    amiss from begins to begins
the burst that shows a vehicle leaving C ──command──► the exchange that opens ──mirror──► the sample that shows it
                                                      (or the decision, where the board opens at once)
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from math import ceil, inf
from typing import Protocol

from chargerd.guard.lease import Vitals
from chargerd.guard.setup import TimingSetup
from chargerd.guard.state import Sample, State
from hal.api import Board, Outlet

WINDOW = 60.0  # s: what is shown as lately is one to two of them old at most
RENEW = 5.0  # s between two vitals
MEMORY = 500  # turns over which the mean of a turn is taken, ten seconds
AGAIN = 0.9  # of the limit, under which the mean must fall to be good again
Triple = tuple[float, float, float]  # p50, p99 and worst in seconds
_STEPS = 16  # bins an octave: a figure is at most 6 % too high
_OCTAVES = 23  # beyond the first _STEPS microseconds: up to 134 s
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Spread:
    """How often which time was taken, in bins that are there from the start."""

    def __init__(self) -> None:
        self._bins = array("Q", bytes(8 * _STEPS * (_OCTAVES + 1)))
        self.count = 0
        self.worst = 0.0

    def add(self, seconds: float) -> None:
        micros = max(0, int(seconds * 1e6))
        octave = max(0, micros.bit_length() - _STEPS.bit_length() + 1)
        at = micros if not octave else octave * _STEPS + (micros >> (octave - 1)) - _STEPS
        self._bins[min(at, len(self._bins) - 1)] += 1
        self.count += 1
        if seconds > self.worst:
            self.worst = seconds

    def clear(self) -> None:
        for at in range(len(self._bins)):
            self._bins[at] = 0
        self.count, self.worst = 0, 0.0

    def triple(self, *others: Spread) -> Triple | None:
        """p50, p99 and worst in seconds, of this and others together; None without a single one."""
        spreads = (self, *others)
        total, worst = sum(one.count for one in spreads), max(one.worst for one in spreads)
        if not total:
            return None
        found, seen = [], 0
        wanted = [ceil(total * 0.50), ceil(total * 0.99)]
        for at, counts in enumerate(zip(*[one._bins for one in spreads], strict=True)):
            seen += sum(counts)
            while wanted and seen >= wanted[0]:
                found.append(min(worst, _edge(at)))
                del wanted[0]
            if not wanted:
                break
        return found[0], found[1], worst


def _edge(at: int) -> float:
    """The upper end of a bin in seconds."""
    octave, step = divmod(at, _STEPS)
    micros = at + 1 if not octave else (_STEPS + step + 1) << (octave - 1)
    return micros / 1e6


class Kept:
    """One kind of time: lately, and since the start."""

    def __init__(self) -> None:
        self.ever, self._now, self._before = Spread(), Spread(), Spread()

    def add(self, seconds: float) -> None:
        self.ever.add(seconds)
        self._now.add(seconds)

    def slide(self) -> None:
        self._now, self._before = self._before, self._now
        self._now.clear()

    def lately(self) -> Triple | None:
        return self._now.triple(self._before)


class TimedBoard:
    """A board that notes when its last exchange began and ended."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self._board, self._clock = board, clock
        self.outlets: Sequence[Outlet] = board.outlets
        self.hold = board.hold
        self.opens_at_once = board.opens_at_once
        self.close = board.close
        self.began = self.ended = clock()

    def exchange(self) -> None:
        self.began = self._clock()
        try:
            self._board.exchange()
        finally:
            self.ended = self._clock()


class Bay(Protocol):
    """What is looked at of an outlet after each turn."""

    state: State
    sample: Sample | None


_VEHICLE_LEFT = ("unplugged", "vehicle-not-ready", "stopped")


class _Leaving:
    """One outlet: from the sample in which the vehicle asks no more to the command, and to the open contactor."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._coil = self._opening = self._waiting = False

    def look(self, bay: Bay, board: TimedBoard, now: float, command: Spread, mirror: Spread) -> None:
        """After a turn that ends now."""
        s, was = bay.state, self._coil
        self._coil, carried_out = s.coil, board.began
        if (was or s.coil) and s.asking_since < inf and not s.odd:
            self._left = None
        elif (was or s.coil) and s.asking_since == inf and self._left is None:
            self._left = board.began
        if was and not s.coil:
            self._opening, carried_out = s.why in _VEHICLE_LEFT, now
            if not board.opens_at_once:
                return
        if self._left is None or s.coil:
            return
        if self._opening:
            self._opening, self._waiting = False, True
            command.add(carried_out - self._left)
        if self._waiting and bay.sample is not None and not bay.sample.closed:
            mirror.add(board.ended - self._left)
            self._left, self._waiting = None, False
        elif not self._waiting:
            self._left = None


class Stopwatch:
    """Told of every turn; says how it goes. Its own cost is a few microseconds a turn."""

    def __init__(
        self, board: TimedBoard, bays: Sequence[Bay], timing: TimingSetup, locked: bool, clock: Callable[[], float]
    ) -> None:
        """`locked`: memory is."""
        self._board, self._bays, self._timing, self._locked, self._clock = board, bays, timing, locked, clock
        self._jitter, self._late, self._exchange, self._turn = Kept(), Kept(), Kept(), Kept()
        self._command, self._mirror = Spread(), Spread()
        self._leaving = tuple(_Leaving() for _ in bays)
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._began = self._slid = self._at = self._renewed = clock()
        self._turns = self._missed = self._pauses = 0
        self._recent: list[float] = []  # when the last pauses were, at most as many as are bad
        self._mean = 0.0  # of a turn, over some ten seconds
        self._modules = 0
        self._used = time.process_time()
        self.late = False
        """Too many pauses: from the last one on for a minute."""
        self.slow = False
        """The turns take too long in the mean: they cannot keep the period."""

    def ready(self) -> None:
        """From here on nothing is to be imported."""
        self._modules = len(sys.modules)

    def begin(self, now: float, due: float, period: float) -> None:
        """A turn begins that was due then."""
        self._late.add(now - due)
        if self._turns:
            self._jitter.add(abs(now - self._at - period))
        self._missed += max(0, int((now - due) / period))
        self._turns += 1
        self._at = now

    def paused(self, now: float) -> None:
        """Before this turn was a pause in which the hardware may have let go."""
        self._pauses += 1
        self._recent = [*self._recent, now][-self._timing.pauses :]

    def end(self) -> None:
        """The turn is over."""
        now, board = self._clock(), self._board
        self._exchange.add(board.ended - board.began)
        self._turn.add(now - self._at)
        for bay, leaving in zip(self._bays, self._leaving, strict=True):
            leaving.look(bay, board, now, self._command, self._mirror)
        self._mean += (now - self._at - self._mean) / MEMORY
        self.slow = self._mean > self._timing.turn * (AGAIN if self.slow else 1.0)
        self._recent = [at for at in self._recent if now - at <= WINDOW]
        self.late = bool(self._recent) and (self.late or len(self._recent) >= self._timing.pauses)
        if now - self._slid >= WINDOW:
            self._slid = now
            for kept in (self._jitter, self._late, self._exchange, self._turn):
                kept.slide()

    def due(self, now: float) -> bool:
        """Is it time for new vitals?"""
        return now - self._renewed >= RENEW

    def vitals(self, now: float) -> Vitals:
        """How it goes."""
        used = time.process_time()
        cpu = (used - self._used) / max(1e-6, now - self._renewed)
        self._used, self._renewed = used, now
        return Vitals(
            at=round(now, 3),
            up=round(now - self._began, 1),
            turns=self._turns,
            missed=self._missed,
            pauses=self._pauses,
            jitter=_short(self._jitter.lately()),
            late=_short(self._late.lately()),
            ever=_short(self._late.ever.triple()),
            exchange=_short(self._exchange.lately()),
            turn=_short(self._turn.lately()),
            opened=self._command.count,
            command=_short(self._command.triple()),
            mirror=_short(self._mirror.triple()),
            cpu=round(cpu, 4),
            memory=int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE,
            fifo=os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO,
            locked=self._locked,
            modules=len(sys.modules),
            grown=len(sys.modules) - self._modules if self._modules else 0,
        )


def _short(triple: Triple | None) -> Triple | None:
    """Microseconds are enough, and a minute and a half is bad enough: a packet is small."""
    if triple is None:
        return None
    median, high, worst = (min(99.0, round(seconds, 6)) for seconds in triple)
    return median, high, worst
