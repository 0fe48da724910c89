"""What the guard measures of itself: right within the width of a bin, for ever in the same memory, and small."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.guard import rules
from chargerd.guard.lease import MAX_PACKET, Vitals, encode
from chargerd.guard.setup import TimingSetup
from chargerd.guard.state import Sample, State
from chargerd.guard.vitals import WINDOW, Spread, Stopwatch, TimedBoard

PERIOD = 0.02
SAMPLE = Sample(9.0, -12.0, 0.5, None, True, None, False, None, False)
OPEN = Sample(9.0, -12.0, 0.5, None, False, None, False, None, False)


@given(st.lists(st.floats(0, 120), min_size=1, max_size=60))
def test_quantiles_are_never_too_low_and_at_most_a_bin_too_high(times: list[float]) -> None:
    spread = Spread()
    for seconds in times:
        spread.add(seconds)
    median, high, worst = spread.triple() or (0.0, 0.0, 0.0)
    ordered = sorted(times)
    exact = ordered[-(-len(times) // 2) - 1]
    assert exact <= median <= exact * 17 / 16 + 1e-6
    assert median <= high <= worst == max(times)


def test_two_spreads_are_read_as_one() -> None:
    low, high = Spread(), Spread()
    for _ in range(99):
        low.add(0.001)
    high.add(1.0)
    assert low.triple(high) == pytest.approx((0.001, 0.001, 1.0), rel=0.07)
    low.clear()
    assert low.triple() is None and low.triple(high) == (1.0, 1.0, 1.0)


def test_what_cannot_be_is_put_at_the_ends() -> None:
    spread = Spread()
    spread.add(-0.5)
    spread.add(1e6)
    assert spread.triple() == pytest.approx((1e-6, 134.2, 1e6), rel=0.001)


class Board:
    """Takes 2 ms for an exchange."""

    outlets = ()
    hold = None
    opens_at_once = False

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def exchange(self) -> None:
        self._rig.now += 0.002

    def close(self) -> None: ...


@dataclass
class Bay:
    state: State
    sample: Sample | None = SAMPLE


class Rig:
    """Turns of 3 ms every 20 ms."""

    def __init__(self, **timing: float) -> None:
        self.now = self.due = 1000.0
        self.bay = Bay(rules.initial(0.0))
        self.board = TimedBoard(Board(self), lambda: self.now)
        self.watch = Stopwatch(self.board, (self.bay,), TimingSetup(**timing), True, lambda: self.now)  # type: ignore[arg-type]

    def turn(self, late: float = 0.0, takes: float = 0.003, pause: bool = False) -> None:
        self.now = self.due + late
        self.watch.begin(self.now, self.due, PERIOD)
        if pause:
            self.watch.paused(self.now)
        self.board.exchange()
        self.now += takes - 0.002
        self.watch.end()
        self.due = max(self.due + PERIOD, self.now)

    def turns(self, number: int, **more: float) -> None:
        for _ in range(number):
            self.turn(**more)  # type: ignore[arg-type]

    def vitals(self) -> Vitals:
        return self.watch.vitals(self.now)


def test_times_of_a_turn() -> None:
    rig = Rig()
    rig.turns(98, late=0.0001)
    rig.turn(late=0.05)
    rig.turn(late=0.0001)
    seen = rig.vitals()
    assert seen.late == pytest.approx((0.0001, 0.0001, 0.05), rel=0.07)
    assert seen.exchange == pytest.approx((0.002, 0.002, 0.002), rel=0.07)
    assert seen.turn == pytest.approx((0.003, 0.003, 0.003), rel=0.07)
    assert seen.jitter is not None and seen.jitter[2] == pytest.approx(0.0499)
    assert (seen.turns, seen.missed, seen.pauses, seen.locked) == (100, 2, 0, True)
    assert seen.memory > 1 << 20


def test_lately_forgets_what_ever_keeps() -> None:
    rig = Rig()
    rig.turn(late=0.4)
    rig.turns(round(2 * WINDOW / PERIOD) + 60)
    seen = rig.vitals()
    assert seen.late is not None and seen.late[2] == pytest.approx(0, abs=1e-6)
    assert seen.ever is not None and seen.ever[2] == pytest.approx(0.4)


def test_pauses_that_come_too_often_are_bad_for_a_minute() -> None:
    rig = Rig(pauses=3)
    for _ in range(2):
        rig.turn(pause=True)
        rig.turns(round(WINDOW / PERIOD) - 60)
    assert not rig.watch.late, "too far apart"
    rig.turn(pause=True)
    rig.turn(pause=True)
    assert rig.watch.late
    rig.turns(round(WINDOW / PERIOD) - 10)
    assert rig.watch.late
    rig.turns(20)
    assert not rig.watch.late


def test_turns_that_fill_their_period_are_bad_until_they_clearly_do_not() -> None:
    rig = Rig(turn=0.015)
    rig.turn(takes=0.5)
    assert not rig.watch.slow, "one is not the mean"
    rig.turns(3000, takes=0.0145)
    assert not rig.watch.slow
    rig.turns(3000, takes=0.016)
    assert rig.watch.slow
    rig.turns(3000, takes=0.014)
    assert rig.watch.slow
    rig.turns(3000, takes=0.012)
    assert not rig.watch.slow


@pytest.mark.parametrize(("at_once", "command", "mirror"), [(False, 0.040, 0.062), (True, 0.023, 0.062)])
def test_from_the_sample_that_leaves_to_command_and_contact(at_once: bool, command: float, mirror: float) -> None:
    rig = Rig()
    rig.board.opens_at_once = at_once
    s = rig.bay.state
    s.coil, s.asking_since = True, 1.0
    rig.turns(3)
    s.asking_since, s.odd = inf, 2  # first
    rig.turn()
    s.odd = 4  # second: decided
    s.coil, s.why = False, "unplugged"
    rig.turn()
    rig.turn()
    rig.bay.sample = OPEN
    rig.turn()
    seen = rig.vitals()
    assert seen.opened == 1
    assert seen.command is not None and seen.command[2] == pytest.approx(command)
    assert seen.mirror is not None and seen.mirror[2] == pytest.approx(mirror)


def test_one_late_sample_that_leaves_counts_from_itself() -> None:
    rig = Rig()
    rig.board.opens_at_once = True
    s = rig.bay.state
    s.coil, s.asking_since = True, 1.0
    rig.turns(3)
    s.asking_since, s.odd, s.coil, s.why = inf, 4, False, "unplugged"
    rig.turn(late=0.03)
    assert rig.vitals().command == pytest.approx((0.003, 0.003, 0.003))


def test_a_vehicle_that_asks_again_has_not_left_and_a_fault_is_no_leaving() -> None:
    rig = Rig()
    s = rig.bay.state
    s.coil, s.asking_since = True, 1.0
    rig.turn()
    s.asking_since, s.odd = inf, 2
    rig.turn()
    s.asking_since, s.odd = 1.0, 0
    rig.turns(50)
    s.asking_since, s.odd = inf, 2
    rig.turn()
    s.coil, s.why = False, "EmergencyStop"
    rig.bay.sample = OPEN
    rig.turns(5)
    assert (rig.vitals().opened, rig.vitals().command) == (0, None)


def test_the_worst_of_all_guards_fits_a_packet() -> None:
    rig = Rig()
    rig.turn(late=1e9)
    seen = rig.vitals()
    assert seen.late == (99.0, 99.0, 99.0)
    bad = (98.123456, 98.123456, 98.123456)
    ten_years = 10 * 366 * 86_400 * 50
    assert len(encode(Vitals(
        1234567890.123, 1234567890.1, ten_years, ten_years, ten_years, bad, bad, bad, bad, bad, ten_years // 1000, bad,
        bad, 1.0001, 1 << 33, False, False, 12345, -12345,
    ))) <= MAX_PACKET  # fmt: skip


def test_modules_loaded_since_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.watch.ready()
    assert rig.vitals().grown == 0
    monkeypatch.setitem(sys.modules, "chargerd.guard.late_comer", sys)
    assert rig.vitals().grown == 1


def test_it_does_not_grow() -> None:
    rig = Rig()
    rig.turns(4000)
    before = sys.getallocatedblocks()
    rig.turns(20_000)
    rig.vitals()
    assert sys.getallocatedblocks() - before < 100
