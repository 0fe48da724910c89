from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import pytest

from hal.api import Card, DeviceError, PilotReading
from hal.sim.outlet import FAULTS, SimOutlet
from hal.sim.wire import Command
from hal.sim.world import Refused, World
from tests.hal.sim.rig import PROMPT, Rig


class TestContactor:
    def test_its_mirror_follows_the_armature_not_the_coil(self) -> None:
        rig = Rig()
        rig.outlet.contactor.close()
        rig.board.exchange()
        rig.time += 0.0199
        rig.board.exchange()
        assert not rig.outlet.contactor.closed()
        rig.time += 0.0002
        rig.board.exchange()
        assert rig.outlet.contactor.closed()
        rig.outlet.contactor.open()
        rig.board.exchange()
        rig.time += 0.0149
        rig.board.exchange()
        assert rig.outlet.contactor.closed()
        rig.time += 0.0002
        rig.board.exchange()
        assert not rig.outlet.contactor.closed()

    def test_a_coil_let_go_at_once_moves_nothing(self) -> None:
        rig = Rig()
        rig.outlet.contactor.close()
        rig.board.exchange()
        rig.outlet.contactor.open()
        rig.time += 0.01
        rig.run(0.1)
        assert rig.physical.audit.closed == 0

    def test_no_current_without_it(self) -> None:
        rig = Rig()
        rig.sim("sim.plug", outlet=1, **PROMPT)
        rig.outlet.pilot.pwm(0.3)
        rig.run(1)
        assert rig.physical.car is not None and rig.physical.car.s2 and rig.amps() == (0, 0, 0)

    @pytest.mark.parametrize("bad", ["plugged", "s2", "diode", "pwm", "locked", "tested"])
    def test_the_audit_names_what_was_wrong_when_it_closed(self, bad: str) -> None:
        rig = Rig()
        if bad != "plugged":
            rig.sim("sim.plug", outlet=1, **PROMPT, ready=bad != "s2", diode=bad != "diode", ignores_pwm=True)
        rig.outlet.pilot.pwm(0.3)
        assert rig.outlet.lock is not None and rig.outlet.residual is not None
        if bad != "locked":
            rig.outlet.lock.engage()
        if bad != "tested":
            rig.outlet.residual.start_test()
        rig.run(1)
        if bad == "pwm":
            rig.outlet.pilot.steady(True)
        rig.outlet.contactor.close()
        rig.run(0.1)
        audit = rig.physical.audit
        assert (audit.closed, audit.unsafe) == (1, 1) and audit.offences == audit.closings
        wrong = {name for name, good in asdict(audit.closings[0]).items() if not good}
        assert wrong == ({"plugged", "s2"} if bad == "plugged" else {bad})

    def test_a_careful_closing_is_safe(self) -> None:
        rig = Rig()
        rig.charge()
        assert rig.physical.audit.closings[0].safe and rig.physical.audit.unsafe == 0

    def test_the_audit_measures_how_long_it_stays_closed_with_nobody_asking(self) -> None:
        rig = Rig()
        rig.charge()
        rig.sim("sim.unplug", outlet=1)
        rig.run(0.04)
        rig.outlet.contactor.open()
        rig.run(0.1)
        assert rig.physical.audit.longest_unasked == pytest.approx(0.055, abs=1e-6)

    def test_energy_is_booked_per_vehicle(self) -> None:
        rig = Rig()
        for minutes in (1, 2):
            rig.charge(max_amps=10, phases=1)
            rig.run(60 * minutes)
            rig.outlet.contactor.open()
            rig.run(0.1)
            rig.sim("sim.unplug", outlet=1)
        one, two = rig.physical.audit.connections
        assert one.ended is not None and two.energy > 1.9 * one.energy
        assert one.energy + two.energy == pytest.approx(rig.physical.energy)


class TestFaults:
    """Each is raised, seen through the board as a guard would, and cleared."""

    def test_welded(self) -> None:
        rig = Rig()
        rig.charge()
        rig.fault("contactor-welded")
        rig.outlet.contactor.open()
        rig.run(1)
        assert rig.outlet.contactor.closed()
        rig.fault("contactor-welded", False)
        rig.run(0.1)
        assert not rig.outlet.contactor.closed()

    def test_stuck_open(self) -> None:
        rig = Rig()
        rig.fault("contactor-stuck-open")
        rig.outlet.contactor.close()
        rig.run(1)
        assert not rig.outlet.contactor.closed()
        rig.fault("contactor-stuck-open", False)
        rig.run(0.1)
        assert rig.outlet.contactor.closed()

    def test_missing_diode(self) -> None:
        rig = Rig()
        rig.charge()
        rig.fault("missing-diode")
        rig.run(0.02)
        assert rig.outlet.pilot.read().low > -6
        rig.fault("missing-diode", False)
        rig.run(0.02)
        assert rig.outlet.pilot.read().low == -12

    def test_pilot_short_stops_the_vehicle_too(self) -> None:
        rig = Rig()
        rig.charge()
        rig.fault("pilot-short")
        rig.run(3)
        assert abs(rig.outlet.pilot.read().high) < 0.1 and rig.amps() == (0, 0, 0)
        rig.fault("pilot-short", False)
        rig.run(0.1)
        assert rig.outlet.pilot.read().high > 5

    @pytest.mark.parametrize("duty", [0.05, 0.3, 0.9])
    def test_driver_mismatch_in_pwm(self, duty: float) -> None:
        rig = Rig()
        rig.outlet.pilot.pwm(duty)
        rig.fault("pilot-driver-mismatch")
        rig.run(0.02)
        assert abs(rig.outlet.pilot.read().duty - duty) > 0.02
        rig.fault("pilot-driver-mismatch", False)
        rig.run(0.02)
        assert rig.outlet.pilot.read().duty == duty

    @pytest.mark.parametrize("positive", [True, False])
    def test_driver_mismatch_when_steady(self, positive: bool) -> None:
        rig = Rig()
        rig.outlet.pilot.steady(positive)
        rig.fault("pilot-driver-mismatch")
        rig.run(0.02)
        assert rig.outlet.pilot.read().duty != (1.0 if positive else 0.0)

    def test_stuck_pilot(self) -> None:
        rig = Rig()
        rig.charge()
        before = rig.outlet.pilot.read()
        rig.fault("pilot-stuck")
        rig.sim("sim.unplug", outlet=1)
        rig.outlet.pilot.steady(True)
        rig.run(1)
        assert rig.outlet.pilot.read() == before
        rig.fault("pilot-stuck", False)
        rig.run(0.02)
        assert rig.outlet.pilot.read() == PilotReading(12, 12, 1)

    def test_undefined_pilot(self) -> None:
        rig = Rig()
        rig.fault("pilot-undefined")
        rig.run(0.02)
        assert 7.25 < rig.outlet.pilot.read().high < 7.75

    def test_proximity(self) -> None:
        rig = Rig()
        proximity = rig.outlet.proximity
        assert proximity is not None
        rig.run(0.02)
        assert proximity.ohms() == math.inf
        rig.sim("sim.plug", outlet=1, cable_amps=20)
        rig.run(0.02)
        assert proximity.ohms() == 680
        rig.fault("proximity-change")
        rig.run(0.02)
        assert proximity.ohms() == 1500
        rig.fault("proximity-fault")
        rig.run(0.02)
        assert proximity.ohms() < 80

    @pytest.mark.parametrize("fault", ["residual-trip", "emergency-stop"])
    def test_hardware_opens_by_itself(self, fault: str) -> None:
        rig = Rig()
        rig.charge()
        rig.fault(fault)
        rig.run(0.04)
        assert rig.outlet.residual is not None
        assert rig.outlet.residual.tripped() is (fault == "residual-trip")
        assert rig.outlet.inputs.emergency_stop() is (fault == "emergency-stop")
        assert not rig.outlet.contactor.closed() and rig.physical.command.close

    @pytest.mark.parametrize("passes", [True, False])
    def test_self_test(self, passes: bool) -> None:
        rig = Rig()
        monitor = rig.outlet.residual
        assert monitor is not None and monitor.test_passed() is None
        rig.fault("self-test-fails", not passes)
        monitor.start_test()
        rig.run(0.66)
        assert monitor.test_passed() is None
        rig.run(0.06)
        assert monitor.test_passed() is passes
        monitor.start_test()
        assert monitor.test_passed() is None, "the old result must not pass for the new one"

    def test_lock_travels_then_shows_its_end(self) -> None:
        rig = Rig()
        lock = rig.outlet.lock
        assert lock is not None and lock.engaged() is False
        lock.engage()
        rig.run(0.3)
        assert lock.engaged() is None
        rig.run(0.14)
        assert lock.engaged() is True
        lock.release()
        rig.run(0.5)
        assert lock.engaged() is False

    def test_lock_stuck_and_jammed(self) -> None:
        rig = Rig()
        lock = rig.outlet.lock
        assert lock is not None
        rig.fault("lock-stuck")
        lock.engage()
        rig.run(0.5)
        assert lock.engaged() is False
        rig.fault("lock-jammed")
        rig.run(0.02)
        assert lock.engaged() is None
        rig.fault("lock-stuck", False)
        rig.fault("lock-jammed", False)
        lock.engage()
        rig.run(0.5)
        assert lock.engaged() is True

    def test_temperatures(self) -> None:
        rig = Rig()
        plug, cabinet = rig.outlet.plug_sensor, rig.outlet.cabinet_sensor
        assert plug is not None and cabinet is not None
        rig.sim("sim.temperature", outlet=1, celsius=61.5)
        rig.sim("sim.temperature", outlet=1, celsius=70, sensor="plug")
        rig.run(0.02)
        assert (plug.celsius(), cabinet.celsius()) == (70, 61.5)
        rig.fault("over-temperature")
        rig.fault("plug-over-temperature")
        rig.run(0.02)
        assert (plug.celsius(), cabinet.celsius()) == (95, 85)
        rig.fault("over-temperature", False)
        rig.sim("sim.temperature", outlet=1, celsius=None)
        rig.run(0.02)
        assert (plug.celsius(), cabinet.celsius()) == (95, None)

    def test_contacts_and_mains(self) -> None:
        rig = Rig(SimOutlet(phases=1))
        assert rig.outlet.supply is not None
        seen = [(rig.outlet.inputs.pen_fault(), rig.outlet.inputs.shed(), rig.outlet.supply.volts())]
        rig.fault("pen-fault")
        rig.fault("load-shedding")
        rig.sim("sim.supply", volts=[190, 230, 230])
        rig.run(0.02)
        seen.append((rig.outlet.inputs.pen_fault(), rig.outlet.inputs.shed(), rig.outlet.supply.volts()))
        assert seen == [(False, False, (230,)), (True, True, (190,))]

    def test_silent_meter(self) -> None:
        rig = Rig()
        rig.fault("meter-silent")
        with pytest.raises(DeviceError, match="outlet 1 does not answer"):
            rig.world.read_meter(1)
        rig.fault("meter-silent", False)
        assert rig.world.read_meter(1).energy == 0

    @pytest.mark.parametrize("fault", FAULTS)
    def test_reset_clears_them_all(self, fault: str) -> None:
        rig = Rig()
        rig.fault(fault)
        assert rig.sim("sim.state")["outlets"][0]["faults"] == [fault]
        rig.sim("sim.reset")
        assert rig.sim("sim.state")["outlets"][0]["faults"] == []


class TestPhases:
    def test_one_or_three(self) -> None:
        rig = Rig(SimOutlet(switching=True))
        assert rig.outlet.second is not None
        rig.charge(max_amps=16)
        assert rig.amps() == (16, 0, 0)
        rig.outlet.contactor.open()
        rig.run(0.1)
        rig.outlet.second.close()
        rig.run(0.1)
        assert rig.outlet.second.closed()
        rig.outlet.contactor.close()
        rig.run(0.1)
        assert rig.amps() == (16, 16, 16)
        (audit,) = rig.world.audit()
        assert (audit.switched, audit.switched_live) == (1, 0)
        rig.outlet.second.open()
        rig.run(0.1)
        assert rig.amps() == (16, 0, 0)
        assert (audit.switched, audit.switched_live) == (2, 1)

    @pytest.mark.parametrize(("fault", "closed"), [("second-welded", True), ("second-stuck-open", False)])
    def test_a_contactor_that_does_not_follow(self, fault: str, closed: bool) -> None:
        rig = Rig(SimOutlet(switching=True))
        assert rig.outlet.second is not None
        rig.fault(fault)
        rig.outlet.second.close()
        rig.run(0.1)
        rig.outlet.second.open()
        rig.run(0.1)
        assert rig.outlet.second.closed() is closed

    def test_none_where_none_is_fitted(self) -> None:
        rig = Rig()
        assert (rig.outlet.second, rig.outlet.relay) == (None, None)


class TestRelay:
    def test_the_board_sees_nothing_and_the_vehicle_no_pilot(self) -> None:
        rig = Rig(SimOutlet(relay=True))
        assert rig.outlet.relay is not None
        rig.sim("sim.plug", outlet=1, **PROMPT, sleeps=True)
        rig.outlet.pilot.pwm(0.3)
        rig.run(1.0)
        assert rig.outlet.pilot.read().high == pytest.approx(9, abs=0.1)
        rig.outlet.relay.disconnect()
        rig.run(4.0)
        assert rig.outlet.pilot.read() == PilotReading(12, -12, 0.3)
        rig.outlet.relay.connect()
        rig.run(1.0)
        assert rig.outlet.pilot.read().high == pytest.approx(6, abs=0.1)  # it woke

    def test_without_a_guard_it_connects(self) -> None:
        rig = Rig(SimOutlet(relay=True))
        assert rig.outlet.relay is not None
        rig.sim("sim.plug", outlet=1, **PROMPT)
        rig.outlet.relay.disconnect()
        rig.run(0.1)
        rig.time += 1.0
        rig.world.catch_up()
        assert rig.physical.pilot().high == pytest.approx(9, abs=0.1)


class TestWatchdog:
    def test_hardware_opens_and_says_x1_when_the_guard_falls_silent(self) -> None:
        rig = Rig()
        rig.charge(max_amps=16)
        rig.time += 0.149
        rig.world.catch_up()
        assert rig.world.guarded and rig.physical.closed and rig.physical.generator() == 0.533
        rig.time += 0.017
        rig.world.catch_up()
        assert not rig.world.guarded and not rig.physical.closed and rig.physical.generator() == 1.0
        rig.time += 10
        energy = rig.world.read_meter(1).energy
        rig.time += 10
        assert rig.world.read_meter(1).energy == energy

    def test_a_guard_that_returns_starts_with_its_own_commands(self) -> None:
        rig = Rig()
        rig.charge()
        rig.time += 60
        rig.world.exchange([Command()], rig.time)
        rig.time += 0.1
        rig.world.catch_up()
        assert not rig.physical.closed and rig.physical.generator() == 1.0

    def test_a_command_acts_at_the_time_it_was_sent(self) -> None:
        """A world that was not scheduled for a while must not blame the guard that waited for it."""
        rig = Rig()
        rig.charge()
        sent = rig.time + 0.02
        rig.time += 0.5
        rig.world.exchange([rig.physical.command], sent)
        assert rig.physical.closed and rig.physical.audit.opened == 0

    def test_it_counts_for_all_outlets(self) -> None:
        rig = Rig(SimOutlet(), SimOutlet(tethered=True))
        for outlet in rig.board.outlets:
            outlet.contactor.close()
        rig.run(0.1)
        assert [outlet.closed for outlet in rig.world.outlets] == [True, True]
        rig.time += 0.2
        rig.world.catch_up()
        assert [outlet.closed for outlet in rig.world.outlets] == [False, False]


class TestPlug:
    def test_a_locked_cable_stays_until_the_lock_lets_go(self) -> None:
        rig = Rig()
        rig.charge()
        assert rig.sim("sim.unplug", outlet=1) == {"cable": True}
        rig.run(0.1)
        assert rig.outlet.pilot.read().high == 12 and rig.outlet.proximity is not None and rig.outlet.lock is not None
        assert rig.outlet.proximity.ohms() == 220
        rig.outlet.contactor.open()
        rig.outlet.lock.release()
        rig.run(0.5)
        assert rig.outlet.proximity.ohms() == math.inf

    def test_the_plug_cannot_be_drawn_from_a_locked_socket(self) -> None:
        rig = Rig()
        rig.charge()
        with pytest.raises(Refused, match="locked"):
            rig.sim("sim.unplug", outlet=1, end="cable")
        assert rig.physical.car is not None

    def test_drawn_from_an_unlocked_socket_both_are_gone_at_once(self) -> None:
        rig = Rig()
        rig.sim("sim.plug", outlet=1)
        assert rig.sim("sim.unplug", outlet=1, end="cable") == {"cable": False}
        assert rig.physical.car is None and rig.physical.ohms() == math.inf

    def test_no_plug_goes_into_a_socket_whose_pin_is_out(self) -> None:
        rig = Rig()
        assert rig.outlet.lock is not None
        rig.outlet.lock.engage()
        rig.run(0.5)
        with pytest.raises(Refused, match="pin is out"):
            rig.sim("sim.plug", outlet=1)
        rig.outlet.lock.release()
        rig.run(0.5)
        rig.sim("sim.plug", outlet=1)

    def test_a_cable_alone_then_a_vehicle(self) -> None:
        rig = Rig()
        rig.sim("sim.plug", outlet=1, cable_only=True, cable_amps=13)
        rig.run(0.02)
        assert rig.physical.ohms() == 1500 and rig.outlet.pilot.read().high == 12
        rig.sim("sim.plug", outlet=1)
        rig.run(0.02)
        assert rig.physical.ohms() == 1500 and rig.outlet.pilot.read().high < 10

    def test_a_tethered_outlet_has_no_proximity_and_no_lock(self) -> None:
        rig = Rig(SimOutlet(tethered=True))
        assert rig.outlet.proximity is None and rig.outlet.lock is None
        rig.charge()
        assert rig.physical.audit.closings[0].safe
        assert rig.sim("sim.unplug", outlet=1) == {"cable": False}


def taking(got: list[Card]) -> Callable[[Card], bool]:
    def take(card: Card) -> bool:
        got.append(card)
        return True

    return take


class TestCards:
    def test_one_tap_is_one_tap_however_long_the_card_is_held(self) -> None:
        rig, got = Rig(), list[Card]()
        card = Card("04A1B2C3")
        assert rig.world.tap("station", card, 10)
        rig.time += 5
        assert not rig.world.tap("station", card, 10)
        for _ in range(2):
            rig.world.next_tap("station", taking(got))
        assert got == [card]
        rig.time += 11
        assert rig.world.tap("station", card, 0)
        assert got == [card, card]

    def test_another_card_behind_a_held_one_is_refused_until_it_is_withdrawn(self) -> None:
        rig = Rig()
        rig.world.tap("station", Card("04A1B2C3"), 10)
        with pytest.raises(Refused, match="withdraw"):
            rig.world.tap("station", Card("04FFFFFF"), 0)
        rig.world.withdraw("station")
        assert rig.world.tap("station", Card("04FFFFFF"), 0)

    def test_a_tap_nobody_reads_while_the_card_is_there_is_lost(self) -> None:
        rig, got = Rig(), list[Card]()
        rig.world.tap("station", Card("04A1B2C3"), 0)
        rig.time += 1.5
        rig.world.next_tap("station", taking(got))
        assert got == []

    def test_a_listener_that_went_away_leaves_the_tap_to_the_next(self) -> None:
        rig, got = Rig(), list[Card]()
        rig.world.next_tap("station", lambda c: False)
        cancel = rig.world.next_tap("station", taking(got))
        rig.world.tap("station", Card("04A1B2C3"), 0)
        assert len(got) == 1
        cancel()
        cancel = rig.world.next_tap("station", taking(got))
        cancel()
        rig.world.tap("station", Card("04A1B2C3"), 0)
        assert len(got) == 1

    def test_readers_are_the_stations_and_one_per_evse(self) -> None:
        world = World([SimOutlet(), SimOutlet()], lambda: 0.0)
        assert set(world.readers) == {"station", "evse1", "evse2"}


def test_noise_is_seeded_and_of_the_size_asked_for() -> None:
    def highs(seed: int) -> list[float]:
        world = World([SimOutlet()], lambda: 0.0, noise=0.1, seed=seed)
        return [world.exchange([Command()], 0.0)[0].high for _ in range(400)]

    assert highs(1) == highs(1) != highs(2)
    spread = math.sqrt(sum((high - 12) ** 2 for high in highs(1)) / 400)
    assert spread == pytest.approx(0.1, rel=0.15)


def test_time_never_runs_backwards() -> None:
    rig = Rig()
    rig.time -= 100
    rig.world.catch_up()
    assert rig.world.now == 1000.0


def test_a_phase_without_mains_carries_nothing() -> None:
    rig = Rig()
    rig.charge(max_amps=10)
    rig.sim("sim.supply", volts=[230, 0, 240])
    assert rig.amps() == (10, 0, 10) and rig.world.read_meter(1).power == pytest.approx(4700)
    rig.sim("sim.supply", volts=0)
    assert rig.amps() == (0, 0, 0)


@pytest.mark.parametrize("count", [0, 65])
def test_a_world_has_1_to_64_outlets(count: int) -> None:
    with pytest.raises(ValueError, match=r"must be 1\.\.64"):
        World([SimOutlet()] * count, lambda: 0.0)


def test_the_board_refuses_a_duty_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"0\.05"):
        Rig().outlet.pilot.pwm(1.0)


def test_a_closed_board_is_safe() -> None:
    rig = Rig()
    rig.charge()
    rig.board.close()
    rig.time += 0.1
    rig.world.catch_up()
    assert not rig.physical.closed and rig.physical.generator() == 1.0
