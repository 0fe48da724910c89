from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.sim.outlet import SimOutlet
from hal.sim.vehicle import Vehicle
from hal.sim.world import World
from tests.hal.sim.rig import PROMPT, Rig


def test_the_register_integrates_exactly() -> None:
    rig = Rig()
    rig.charge(max_amps=16)
    before = rig.world.read_meter(1).energy
    for _ in range(3600 * 10):
        rig.time += 0.1
        rig.board.exchange()
    assert rig.world.read_meter(1).energy - before == pytest.approx(11040.0, rel=1e-6)


def test_a_ramp_is_integrated_exactly_in_one_leap() -> None:
    rig = Rig()
    rig.charge(max_amps=16, abrupt=False, ramp=1.6, phases=1)
    rig.world._alive_until = rig.time + 1000  # the leap is the test's, not a dead guard
    started, before = rig.time, rig.physical.energy
    amps = rig.amps()[0]
    rig.time += 10
    rising = (16 - amps) / 1.6
    expected = 230 * ((amps + 16) / 2 * rising + 16 * (10 - rising)) / 3600
    assert rig.world.read_meter(1).energy - before == pytest.approx(expected)
    assert rig.world.now == started + 10


@pytest.mark.req("IEC 61851-1 A.6 #6")
def test_it_follows_a_new_duty_after_its_reaction_along_its_ramp() -> None:
    rig = Rig()
    rig.charge(duty=0.533, reaction=2.0, abrupt=False, ramp=4.0, max_amps=80)
    rig.run(20)
    assert rig.amps()[0] == pytest.approx(31.98)
    rig.outlet.pilot.pwm(0.266)
    rig.run(1.9)
    assert rig.amps()[0] == pytest.approx(31.98)
    rig.run(0.6)
    assert 15.96 < rig.amps()[0] < 31.9
    rig.run(4.0)
    assert rig.amps()[0] == pytest.approx(15.96)


@pytest.mark.req("IEC 61851-1 A.6 #10.1")
def test_it_stops_within_three_seconds_of_x1_and_opens_s2_without_current() -> None:
    rig = Rig()
    rig.charge()
    rig.sim("sim.vehicle", outlet=1, reaction=5.0)
    rig.outlet.pilot.steady(True)
    rig.run(0.98)
    assert rig.physical.car is not None and rig.physical.car.s2 and rig.amps()[0] > 0
    rig.run(2.0)
    assert rig.outlet.pilot.read().high == pytest.approx(8.98, abs=0.01)
    rig.outlet.contactor.open()
    rig.run(0.1)
    assert rig.physical.audit.opened == 1 and rig.physical.audit.opened_under_load == 0


def test_it_keeps_s2_open_below_its_minimum_current() -> None:
    rig = Rig()
    rig.sim("sim.plug", outlet=1, min_amps=10, **PROMPT)
    rig.outlet.pilot.pwm(0.15)
    rig.run(0.1)
    assert rig.outlet.pilot.read().high > 8
    rig.outlet.pilot.pwm(0.2)
    rig.run(0.1)
    assert 5 < rig.outlet.pilot.read().high < 7


def test_it_asks_for_nothing_in_digital_mode() -> None:
    rig = Rig()
    rig.sim("sim.plug", outlet=1, **PROMPT)
    rig.outlet.pilot.pwm(0.05)
    rig.run(1)
    assert rig.outlet.pilot.read().high > 8


def test_ventilation_asks_with_state_d() -> None:
    rig = Rig()
    rig.sim("sim.plug", outlet=1, ventilation=True, **PROMPT)
    rig.outlet.pilot.pwm(0.2)
    rig.run(0.1)
    assert 2.6 < rig.outlet.pilot.read().high < 3.3


@pytest.mark.parametrize("abrupt", [True, False])
def test_it_stops_at_the_energy_it_wanted(abrupt: bool) -> None:
    rig = Rig()
    rig.charge(energy=20.0, max_amps=16, abrupt=abrupt, ramp=2.0)
    rig.run(30)
    assert rig.physical.car is not None and not rig.physical.car.s2
    stopping = 16 / 16 / 2 * 16 * 690 / 3600  # the ramp down that follows takes a second
    assert 20.0 <= rig.physical.energy <= 20.0 + stopping + 1e-3


def test_it_asks_for_nothing_after_its_departure() -> None:
    rig = Rig()
    rig.charge(departure=10.0)
    rig.run(8.8)
    assert rig.amps()[0] > 0
    rig.run(1.5)
    assert rig.amps() == (0, 0, 0) and rig.outlet.pilot.read().high > 8


@pytest.mark.parametrize(("phases", "wired", "carrying"), [(1, 3, 1), (2, 3, 2), (3, 3, 3), (3, 1, 1)])
def test_it_draws_on_its_phases_as_far_as_they_are_wired(phases: int, wired: int, carrying: int) -> None:
    rig = Rig(SimOutlet(phases=wired))
    rig.charge(max_amps=10, phases=phases)
    assert rig.amps() == tuple(10.0 if p < carrying else 0.0 for p in range(3))
    reading = rig.world.read_meter(1)
    assert reading.power == pytest.approx(carrying * 2300)
    assert reading.volts == tuple(230.0 if p < wired else 0.0 for p in range(3))


class TestManners:
    def test_ignoring_the_pilot_it_draws_on_after_x1(self) -> None:
        rig = Rig()
        rig.charge(ignores_pwm=True, max_amps=16)
        rig.outlet.pilot.steady(True)
        rig.run(8)
        assert rig.amps() == (16, 16, 16)
        rig.outlet.contactor.open()
        rig.run(0.1)
        assert rig.amps() == (0, 0, 0) and rig.physical.audit.opened_under_load == 1

    @pytest.mark.parametrize(("pulse", "wakes"), [(1.0, False), (4.0, True)])
    def test_asleep_it_needs_a_pulse(self, pulse: float, wakes: bool) -> None:
        rig = Rig()
        rig.sim("sim.plug", outlet=1, sleeps=True, **PROMPT)
        rig.outlet.pilot.pwm(0.2)
        rig.run(5)
        assert rig.outlet.pilot.read().high > 8
        rig.outlet.pilot.steady(False)
        rig.run(pulse)
        rig.outlet.pilot.steady(True)
        rig.run(0.75)
        rig.outlet.pilot.pwm(0.2)
        rig.run(0.2)
        assert (rig.outlet.pilot.read().high < 7) is wakes

    def test_it_draws_too_much(self) -> None:
        rig = Rig()
        rig.charge(max_amps=16, factor=1.5)
        assert rig.amps() == (24, 24, 24)

    def test_it_chatters(self) -> None:
        rig = Rig()
        rig.sim("sim.plug", outlet=1, chatter=0.4, **PROMPT)
        rig.outlet.pilot.pwm(0.2)
        seen = []
        for _ in range(100):
            rig.run(0.02)
            seen.append(rig.outlet.pilot.read().high < 7)
        edges = sum(a != b for a, b in pairwise(seen))
        assert edges in (9, 10)

    @pytest.mark.parametrize(("abrupt", "amps"), [(True, 32), (False, 0.32)])
    def test_it_starts_at_full_power_or_slowly(self, abrupt: bool, amps: float) -> None:
        rig = Rig()
        rig.charge(duty=0.9, abrupt=abrupt, ramp=8)
        assert rig.amps()[0] == pytest.approx(amps, abs=0.2)

    def test_it_has_no_diode(self) -> None:
        rig = Rig()
        rig.sim("sim.plug", outlet=1, diode=False, **PROMPT)
        rig.outlet.pilot.pwm(0.2)
        rig.run(0.1)
        assert rig.outlet.pilot.read().low == pytest.approx(-5.6, abs=0.05)


class TestScript:
    def test_not_ready_and_ready(self) -> None:
        rig = Rig()
        rig.charge()
        rig.sim("sim.vehicle", outlet=1, step="not_ready")
        rig.run(1.2)
        assert rig.outlet.pilot.read().high > 8
        rig.sim("sim.vehicle", outlet=1, step="ready")
        rig.run(0.1)
        assert rig.outlet.pilot.read().high < 7

    def test_draw_pause_and_resume(self) -> None:
        rig = Rig()
        rig.charge(max_amps=16)
        rig.sim("sim.vehicle", outlet=1, step="draw", amps=10, phases=2)
        rig.run(1)
        assert rig.amps() == (10, 10, 0)
        rig.sim("sim.vehicle", outlet=1, step="pause")
        rig.run(2)
        assert rig.amps() == (0, 0, 0) and rig.outlet.pilot.read().high < 7
        rig.sim("sim.vehicle", outlet=1, step="resume")
        rig.run(0.1)
        assert rig.amps() == (16, 16, 16)

    def test_draw_never_exceeds_what_is_offered(self) -> None:
        rig = Rig()
        rig.charge(duty=0.2)
        rig.sim("sim.vehicle", outlet=1, step="draw", amps=30)
        rig.run(1)
        assert rig.amps()[0] == pytest.approx(12)

    def test_sleep_and_wake(self) -> None:
        rig = Rig()
        rig.charge()
        rig.sim("sim.vehicle", outlet=1, step="sleep")
        rig.run(1.2)
        assert rig.outlet.pilot.read().high > 8
        rig.sim("sim.vehicle", outlet=1, step="wake")
        rig.run(0.1)
        assert rig.outlet.pilot.read().high < 7

    def test_leave_takes_the_vehicle_and_leaves_the_cable(self) -> None:
        rig = Rig()
        rig.charge()
        rig.sim("sim.vehicle", outlet=1, step="leave")
        rig.run(0.02)
        assert rig.outlet.pilot.read().high == 12 and rig.physical.cable_amps == 32


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("phases", 4, "phases: must be a whole number 1..3"),
        ("phases", 1.5, "phases"),
        ("max_amps", -1, "max_amps: must be a number 0..200"),
        ("ramp", 0, "ramp"),
        ("factor", "2", "factor"),
        ("ready", 1, "ready: must be true or false"),
        ("chatter", 0.001, "chatter"),
        ("max_amps", float("nan"), "max_amps"),
    ],
)
def test_an_impossible_vehicle_is_an_error_that_names_the_option(option: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Vehicle(**{option: value})


STEP = st.one_of(
    st.tuples(st.just("pilot"), st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.533, 0.9, 1.0])),
    st.tuples(st.just("close"), st.booleans()),
    st.tuples(st.just("step"), st.sampled_from(["ready", "not_ready", "pause", "resume", "sleep", "wake"])),
)
MANNERS = st.fixed_dictionaries(
    {
        "ramp": st.floats(0.5, 50),
        "reaction": st.floats(0, 5),
        "start_delay": st.floats(0, 2),
        "abrupt": st.booleans(),
        "ignores_pwm": st.booleans(),
        "chatter": st.sampled_from([0.0, 0.3]),
        "energy": st.none() | st.floats(1, 100),
        "departure": st.none() | st.floats(0, 60),
    }
)


@settings(max_examples=60, deadline=None)
@given(MANNERS, st.lists(st.tuples(STEP, st.floats(0.001, 20)), max_size=12), st.integers(2, 37))
def test_the_world_does_not_depend_on_how_often_it_is_asked(
    manners: dict[str, Any], script: list[tuple[tuple[str, Any], float]], pieces: int
) -> None:
    whole, cut = (_played(manners, script, n) for n in (1, pieces))
    assert cut.outlets[0].energy == pytest.approx(whole.outlets[0].energy, rel=1e-6, abs=1e-6)
    assert cut.outlets[0].audit.closed == whole.outlets[0].audit.closed
    assert cut.outlets[0].pilot() == whole.outlets[0].pilot()


def _played(manners: dict[str, Any], script: list[tuple[tuple[str, Any], float]], pieces: int) -> World:
    rig = Rig(SimOutlet(tethered=True))
    rig.world._watchdog = 1e9
    rig.sim("sim.plug", outlet=1, **manners)
    for (kind, value), seconds in script:
        if kind == "step":
            rig.sim("sim.vehicle", outlet=1, step=value)
        elif kind == "close":
            (rig.outlet.contactor.close if value else rig.outlet.contactor.open)()
        elif value in (0.0, 1.0):
            rig.outlet.pilot.steady(value == 1.0)
        else:
            rig.outlet.pilot.pwm(value)
        rig.board.exchange()
        start = rig.time
        for piece in range(1, pieces + 1):
            rig.time = start + seconds * piece / pieces
            rig.world.catch_up()
    return rig.world
