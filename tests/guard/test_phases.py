"""One phase or three: the second contactor, in injected time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chargerd.guard import rules
from chargerd.guard.lease import Kind, Notes
from chargerd.guard.pilot import X1
from chargerd.guard.setup import Fitted, OutletSetup
from chargerd.guard.state import Outputs
from chargerd.protection import Protection
from tests.guard.bench import PERIOD, SWITCHING, USUAL, Bench, charging

QUICK = replace(SWITCHING, protection=Protection(phase_pause=10.0, phase_rest=60.0, phase_switches=2))
WITHOUT_RELAY = replace(QUICK, fitted=replace(QUICK.fitted, relay=False))


class Watched(Bench):
    """Keeps what must always be so: the second contactor moves only behind an open contactor that is proven open."""

    def cycle(self) -> Outputs:
        before = self.out
        out = super().cycle()
        if out.second is not before.second:
            assert not before.coil and not out.coil and not self.last.closed
            assert before.drive == X1 or self.now < 1.0
        if out.coil and not before.coil:
            assert self.last.second is out.second
            assert not out.disconnect
        return out


def on_phases(phases: int, setup: OutletSetup = QUICK) -> Watched:
    bench = Watched(setup)
    bench.level = "B"
    bench.run(6.0)
    assert bench.permit(16.0, phases=phases) == ""
    bench.run(0.5)
    bench.level = "C"
    bench.until("coil", 1.0)
    bench.run(60.0)
    return bench


@pytest.mark.parametrize("phases", [1, 3])
def test_the_first_choice_needs_no_pause(phases: int) -> None:
    bench = Watched(QUICK)
    bench.level = "C"
    bench.run(6.0)
    assert not bench.out.second
    bench.permit(16.0, phases=phases)
    assert bench.until("coil") <= 0.6
    assert bench.out.second is (phases == 3)
    assert rules.notes(bench.setup, bench.state, 1) == Notes(1, phases, True)


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3)])
def test_the_sequence(before: int, after: int) -> None:
    bench = on_phases(before)
    bench.permit(16.0, phases=after)
    bench.cycle()
    assert (bench.out.drive, bench.out.coil, bench.state.limit) == (X1, True, "phases")
    bench.run(1.0)
    assert bench.out.coil and bench.out.second is (before == 3)
    bench.level = "B"  # the vehicle lets go
    assert bench.until("!coil") <= 0.1
    start = bench.now
    while bench.out.second is (before == 3):
        bench.cycle()
    assert 0.2 - 1e-6 <= bench.now - start <= 0.3
    assert bench.out.disconnect
    bench.run(3.9)
    assert bench.out.disconnect and bench.out.drive == X1
    bench.run(0.2)
    assert not bench.out.disconnect
    assert 5.7 <= bench.until("drive=0.266") <= 6.0  # 10 s after the switching
    bench.level = "C"
    assert 0.5 <= bench.until("coil") <= 0.56  # some vehicles show a C of 250 ms here
    assert bench.state.phases == after
    assert Kind.VEHICLE_OUT not in bench.kinds() and not bench.faults()


def test_a_vehicle_that_never_lets_go_is_switched_after_6_s() -> None:
    bench = on_phases(3)
    bench.permit(16.0, phases=1)
    assert 6.0 - 1e-6 <= bench.until("!coil") <= 6.04
    assert bench.out.second
    bench.run(0.5)
    assert not bench.out.second
    bench.run(12.0)
    assert bench.out.coil and not bench.faults()
    assert bench.details(Kind.POWER_OFF) == ["forced"]


def test_without_a_relay_x1_is_the_pause() -> None:
    bench = on_phases(3, WITHOUT_RELAY)
    bench.permit(16.0, phases=1)
    bench.level = "B"
    bench.run(9.0)
    assert not bench.out.second and not bench.out.disconnect and bench.out.drive == X1
    bench.run(2.0)
    assert bench.out.drive == 0.266


def test_a_board_that_cannot_switch_refuses_and_says_so() -> None:
    bench = charging(USUAL)
    assert "none can be switched off" in bench.permit(16.0, phases=1)
    assert rules.notes(bench.setup, bench.state, 1) == Notes(1, 3, False)
    one = Bench(replace(USUAL, phases=1, fitted=Fitted(second=True)))
    one.level = "B"
    one.run(6.0)
    assert "1 are wired" in one.permit(16.0, phases=3)
    assert one.permit(16.0, phases=1) == ""
    one.level = "C"
    one.until("coil", 2.0)
    assert not one.out.second
    assert on_phases(3).permit(16.0, phases=2) == "phases: 1 or 3"


def settle(bench: Bench, phases: int, seconds: float) -> None:
    """The permit stands, the vehicle is polite."""
    for _ in range(round(seconds / 10)):
        bench.permit(16.0, phases=phases)
        for _ in range(500):
            bench.level = "C" if bench.out.drive != X1 else "B"
            bench.cycle()


def test_switchings_rest_between_each_other() -> None:
    bench = on_phases(1)
    settle(bench, 3, 20.0)
    assert bench.state.phases == 3 and bench.out.coil
    start = bench.state.phases_at
    settle(bench, 1, 40.0)
    assert bench.state.phases == 3 and bench.out.drive == X1  # three phases where one is permitted are none
    settle(bench, 1, 30.0)
    assert bench.state.phases == 1 and bench.out.coil
    assert 60.0 - 1e-6 <= bench.state.phases_at - start <= 60.1
    bench.state = replace(bench.state, moves=1)
    settle(bench, 3, 30.0)
    assert bench.state.phases == 1 and bench.out.coil  # one where three are permitted is one
    settle(bench, 3, 40.0)
    assert bench.state.phases == 3 and bench.out.coil


def test_switchings_are_counted_for_each_vehicle() -> None:
    bench = on_phases(3)
    for phases in (1, 3):
        settle(bench, phases, 100.0)
        assert bench.state.phases == phases and bench.out.coil
    settle(bench, 1, 200.0)
    assert bench.state.phases == 3 and not bench.out.coil and bench.out.drive == X1
    settle(bench, 3, 10.0)
    assert bench.out.coil
    bench.permit(0.0)
    bench.level = "A"
    bench.run(2.0)
    assert not bench.out.second
    bench.level = "B"
    bench.run(2.0)
    settle(bench, 1, 20.0)
    assert bench.state.phases == 1 and bench.out.coil


def test_a_permit_that_flickers_moves_nothing_often() -> None:
    bench = Watched(QUICK)
    bench.level = "B"
    bench.run(6.0)
    moves, was = 0, bench.out.second
    for turn in range(3000):
        bench.permit(16.0, phases=3 if turn % 2 else 1)
        bench.cycle()
        moves, was = moves + (bench.out.second is not was), bench.out.second
    assert moves <= 1


@pytest.mark.parametrize(
    ("mirror", "phases", "fault"), [(True, 1, "SecondContactorWelded"), (False, 3, "SecondContactorNotClosed")]
)
def test_a_second_contactor_that_does_not_follow(mirror: bool, phases: int, fault: str) -> None:
    bench = Watched(QUICK)
    bench.level = "B"
    bench.run(6.0)
    bench.second = mirror
    bench.permit(16.0, phases=phases)
    bench.run(0.5)
    assert bench.faults() == {fault}
    assert bench.out.drive == X1 and not bench.out.coil
    bench.run(5.0)
    assert not bench.out.second  # no coil is fed in vain
    bench.level = "A"
    bench.run(1.0)
    assert bench.faults() == ({fault} if mirror else set())


def test_it_falls_under_load() -> None:
    bench = on_phases(3)
    bench.second = False
    bench.run(0.3)
    assert bench.faults() == {"SecondContactorNotClosed"}
    assert not bench.out.coil


def test_a_board_that_goes_blind_switches_nothing_under_load() -> None:
    bench = on_phases(3)
    bench.fail()
    assert not bench.out.coil and bench.out.second
    bench.state, out = rules.lapse(on_phases(3).state, 10.0)
    assert not out.coil and out.second


def test_the_mirror_must_agree_before_the_contactor_closes() -> None:
    bench = Watched(QUICK)
    bench.level = "C"
    bench.run(6.0)
    bench.second = False
    bench.permit(16.0, phases=3)
    for _ in range(9):
        assert not bench.cycle().coil
        assert bench.out.drive == X1
    bench.second = None
    assert bench.until("coil") <= 0.5


def test_a_cut_shorter_than_the_memory_of_a_vehicle() -> None:
    """The vehicle that is there after the relay has connected again counts as the one before; who left, has left."""
    bench = on_phases(3)
    plug = bench.state.plug
    bench.permit(16.0, phases=1)
    bench.level = "B"
    while not bench.out.disconnect:
        bench.cycle()
    bench.level = "A"  # it drives off unseen
    bench.run(3.5)
    assert bench.state.plug == plug
    bench.run(1.0)
    assert bench.state.plug == 0
    assert bench.kinds()[-2:] == [Kind.VEHICLE_OUT, Kind.CABLE_OUT]


def test_a_fault_meanwhile_connects_the_vehicle_again() -> None:
    bench = on_phases(3)
    bench.permit(16.0, phases=1)
    bench.level = "B"
    while not bench.out.disconnect:
        bench.cycle()
    bench.emergency = True
    bench.run(2 * PERIOD)
    assert not bench.out.disconnect
