"""The whole board on lines of memory and an ADC that sees waveforms - and the guard on it, with a simulated vehicle."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargerd.guard.desk import Guard
from chargerd.guard.lease import Hello, Lock, Permit, Truth, decode, encode
from chargerd.guard.setup import GuardSetup, OutletSetup
from hal.api import DeviceError
from hal.pi import boardfile
from hal.pi.board import PiBoard
from hal.pi.boardfile import BoardFile
from hal.pi.front import Scale
from hal.pi.spi import CHIPS
from tests.hal.pi.test_boardfile import TWO
from tests.hal.pi.waveform import LOW, burst

HERE = Path(__file__).parents[3] / "hardware" / "boards"
TURN = 0.02
NEIGHBOUR_ENABLE = 7


class Line:
    def __init__(self, wires: Bench, pin: int, high: bool) -> None:
        self._wires, self._pin, self.on = wires, pin, False
        self.stalls = 0.0  # s that the next command takes
        self._high = high

    def set(self, on: bool) -> None:
        self._wires.now += self.stalls
        self.stalls = 0.0
        if on is not self.on:
            self._wires.history.append((self._wires.now, self._pin, on))
        self.on = on

    def toggle(self) -> None:
        self.set(not self.on)

    def read(self) -> bool:
        return self._wires.levels[self._pin]

    def close(self) -> None:
        self._wires.closed.append(self._pin)


class Generator:
    def __init__(self, wires: Bench) -> None:
        self._wires = wires
        self.duty = 1.0
        self.failing = False
        self.stalls = 0.0  # s that the next command takes

    def set(self, duty: float) -> None:
        self._wires.now += self.stalls
        self.stalls = 0.0
        if self.failing:
            raise DeviceError("PWM: gone")
        self.duty = duty

    def close(self) -> None:
        self.duty = 1.0


class Bench:
    """Wires, ADC and clock of one board: `plateau` is the vehicle's, `slow` codes of the other channels."""

    def __init__(self, board: BoardFile) -> None:
        self.file = board.outlet[0]
        self.now = 100.0
        self.levels: dict[int, bool] = {17: False, 4: False, 21: False, 27: False, 16: False, 5: False, 6: False}
        self.history: list[tuple[float, int, bool]] = []
        self.closed: list[int] = []
        self.lines: dict[int, Line] = {}
        self.generators: list[Generator] = []
        self.plateau, self.low = 11.9, LOW
        self.supply, self.below = 12.0, -12.0
        self.ohms, self.celsius, self.socket = math.inf, 25.0, 25.0
        self.failing = False
        self.lonely = 0  # bursts that show one plateau only
        self.repeating = False
        self._last: list[int] = []
        self.chip = CHIPS[board.adc.chip]
        self.scale = Scale.of(self.file.pilot.divider.divider(), self.chip.codes, board.adc.reference)
        self._chance = random.Random(1)

    # Lines

    def output(self, pin: int, what: str, high: bool = True) -> Line:
        return self.lines.setdefault(pin, Line(self, pin, high))

    input = output

    def generator(self, pin: int) -> Generator:
        self.generators.append(Generator(self))
        return self.generators[-1]

    # Adc

    def plan(self, channels: Sequence[int]) -> Bench:
        self._channels = channels
        return self

    def sample(self) -> list[int]:
        if self.failing:
            raise DeviceError("ADC: gone")
        pilot = self.file.pilot.samples
        codes = self._last = self._last if self.repeating else self.pilot()
        if self.lonely:
            self.lonely -= 1
            codes = [round(self.scale.code(9.0))] * (pilot - 2) + [265] * 2
        return [*codes, *(self._slow(channel) for channel in self._channels[pilot:])]

    def pilot(self) -> list[int]:
        duty = self.generators[0].duty
        samples = self.file.pilot.samples
        return burst(self._chance, self.plateau, self.low, duty, samples=samples, scale=self.scale)

    def _slow(self, channel: int) -> int:
        match channel:
            case self.file.pilot.rail:
                return round(self.scale.code(self.supply))
            case self.file.pilot.rail_low:
                return round(self.scale.code(self.below))
            case 1:
                share = 1.0 if self.ohms == math.inf else self.ohms / (self.ohms + 1_000)
            case 2:
                platinum = 1000 * (1 + 3.9083e-3 * self.socket - 5.775e-7 * self.socket**2)
                share = 1.0 if self.socket == math.inf else platinum / (platinum + 1_000)
            case _:
                hot = 10_000 * math.exp(3950 * (1 / (self.celsius + 273.15) - 1 / 298.15))
                share = hot / (hot + 10_000)
        return round(share * self.chip.codes)

    def close(self) -> None: ...


def made(neighbour: bool = False) -> tuple[PiBoard, Bench]:
    file = boardfile.parse(tomllib.loads((HERE / "reference-pi4.toml").read_text()))
    if neighbour:
        (outlet,) = file.outlet
        beside = replace(outlet, contactor=replace(outlet.contactor, enable=NEIGHBOUR_ENABLE), second=None, lamp=None)
        file = replace(file, outlet=(outlet, beside))
    bench = Bench(file)
    return PiBoard(file, bench, bench, lambda: bench.now), bench  # type: ignore[arg-type]


def turn(board: PiBoard, bench: Bench, seconds: float = TURN) -> None:
    end = bench.now + seconds
    while bench.now < end - 1e-9:
        bench.now += TURN
        board.exchange()


def test_every_input_in_its_unit() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    bench.plateau, bench.ohms, bench.celsius, bench.socket = 8.9, 220.0, 61.0, 74.0
    turn(board, bench)
    assert outlet.pilot.read().high == pytest.approx(8.95, abs=0.15)
    assert outlet.proximity is not None and outlet.proximity.ohms() == pytest.approx(220, rel=0.01)
    assert outlet.cabinet_sensor is not None and outlet.cabinet_sensor.celsius() == pytest.approx(61.0, abs=0.3)
    assert outlet.plug_sensor is not None and outlet.plug_sensor.celsius() == pytest.approx(74.0, abs=0.4)
    bench.ohms = bench.socket = math.inf
    turn(board, bench)
    assert outlet.proximity.ohms() == math.inf and outlet.plug_sensor.celsius() is None
    bench.socket = -250.0  # its wires touch
    turn(board, bench)
    assert outlet.plug_sensor.celsius() is None


@pytest.mark.parametrize("supply", [11.45, 12.5])
def test_the_measured_supply_is_taken_out(supply: float) -> None:
    board, bench = made()
    bench.supply = supply
    bench.plateau = 0.7 + (supply - 0.7) * 2740 / 3740
    turn(board, bench)
    assert board.outlets[0].pilot.read().high == pytest.approx(0.7 + 11.3 * 2740 / 3740, abs=0.12)


def test_a_supply_out_of_range_is_a_failure() -> None:
    board, bench = made()
    bench.supply = 9.5
    with pytest.raises(DeviceError, match=r"outlet 1: the pilot's supply of \+12 V is 9\.5 V; check the driver"):
        turn(board, bench)


def test_one_doubtful_burst_is_repeated_two_are_a_failure() -> None:
    board, bench = made()
    bench.lonely = 1
    turn(board, bench)
    bench.lonely = 2
    with pytest.raises(DeviceError, match="one plateau only"):
        turn(board, bench)


def test_an_adc_that_repeats_itself_is_a_failure_while_the_pilot_oscillates() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    turn(board, bench)
    bench.repeating = True
    turn(board, bench, 1.0)  # X1 without noise: no proof
    bench.repeating = False
    outlet.pilot.pwm(0.266)
    turn(board, bench, 0.1)
    bench.repeating = True
    turn(board, bench, 3 * TURN)
    for _ in range(3):
        with pytest.raises(DeviceError, match="outlet 1: the ADC repeats its last burst"):
            turn(board, bench)
    outlet.pilot.steady(True)
    with pytest.raises(DeviceError, match="repeats"):
        turn(board, bench)
    bench.repeating = False
    turn(board, bench)
    assert outlet.pilot.read().duty == 1.0


def test_one_edge_for_the_monostable_in_each_turn() -> None:
    board, bench = made()
    turn(board, bench, 10 * TURN)
    edges = [at for at, pin, _ in bench.history if pin == 23]
    assert len(edges) == 10
    bench.failing = True
    with pytest.raises(DeviceError):
        turn(board, bench)


def test_broken_wires_read_as_danger() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    inputs = outlet.inputs
    assert not (inputs.emergency_stop() or inputs.pen_fault() or inputs.shed() or outlet.contactor.closed())
    bench.levels |= dict.fromkeys(bench.levels, True)  # where the pulls take them
    turn(board, bench)
    assert outlet.contactor.closed() and outlet.second is not None and outlet.second.closed()
    assert inputs.emergency_stop() and inputs.pen_fault() and inputs.shed()
    assert outlet.residual is not None and outlet.residual.tripped()


def test_the_second_contactor_and_the_relay_have_pins_of_their_own() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    assert outlet.second is not None and outlet.relay is not None
    outlet.second.close()
    turn(board, bench)
    outlet.contactor.close()
    outlet.relay.disconnect()
    turn(board, bench)
    assert (bench.lines[24].on, bench.lines[25].on, bench.lines[26].on) == (True, True, True)
    bench.history.clear()
    outlet.contactor.open()
    outlet.second.open()
    outlet.relay.connect()
    turn(board, bench)
    switched = [(pin, on) for _, pin, on in bench.history if pin in (24, 25, 26)]
    assert switched == [(24, False), (25, False), (26, False)]  # what carries all phases first


def test_two_outlets_see_the_same_contacts_and_cabinet_and_each_its_own_pilot() -> None:
    file = boardfile.parse(tomllib.loads(TWO))
    bench = Bench(file)
    bench.levels |= {27: False}
    board = PiBoard(file, bench, bench, lambda: bench.now)  # type: ignore[arg-type]
    first, second = board.outlets
    bench.celsius = 55.0
    bench.levels[16] = True
    second.pilot.pwm(0.266)
    turn(board, bench)
    assert first.inputs.emergency_stop() and second.inputs.emergency_stop()
    for outlet in (first, second):
        assert outlet.cabinet_sensor is not None and outlet.cabinet_sensor.celsius() == pytest.approx(55, abs=0.5)
    assert [generator.duty for generator in bench.generators] == [1.0, 0.266]
    second.contactor.close()
    turn(board, bench)
    assert (bench.lines[24].on, bench.lines[25].on) == (False, True)


def test_each_half_wave_by_its_own_rail() -> None:
    """Within the standard both may be off, each its own way: that is neither a missing diode nor another state."""
    board, bench = made()
    (outlet,) = board.outlets
    bench.supply, bench.below = 12.6, -11.4
    bench.plateau, bench.low = 0.7 + 11.9 * 2740 / 3740, -11.28
    outlet.pilot.pwm(0.5)
    turn(board, bench)
    seen = outlet.pilot.read()
    assert seen.high == pytest.approx(0.7 + 11.3 * 2740 / 3740, abs=0.15) and seen.low == pytest.approx(
        -11.87, abs=0.15
    )
    bench.below = -10.4
    with pytest.raises(DeviceError, match=r"supply of -12 V is -10\.4 V"):
        turn(board, bench)


def test_the_lock_is_driven_for_one_pulse_and_never_both_ways() -> None:
    board, bench = made()
    lock = board.outlets[0].lock
    assert lock is not None
    lock.engage()
    turn(board, bench)
    assert bench.lines[19].on and lock.engaged() is None
    lock.release()
    turn(board, bench)
    assert bench.lines[20].on and not bench.lines[19].on
    turn(board, bench, 0.7)
    assert not bench.lines[20].on and lock.engaged() is False


def test_a_neighbour_that_fails_keeps_no_motor_running() -> None:
    board, bench = made(neighbour=True)
    lock = board.outlets[1].lock
    assert lock is not None
    lock.engage()
    turn(board, bench)
    assert bench.lines[19].on
    bench.generators[0].failing = True
    for _ in range(35):
        with pytest.raises(DeviceError, match="PWM: gone"):
            turn(board, bench)
    assert not bench.lines[19].on


@pytest.mark.parametrize("sound", [True, False])
def test_the_self_test_of_the_monitor(sound: bool) -> None:
    board, bench = made()
    monitor = board.outlets[0].residual
    assert monitor is not None and monitor.test_passed() is None
    monitor.start_test()
    for _ in range(200):
        turn(board, bench)
        bench.levels[27] = sound and bench.lines[22].on
        if monitor.test_passed() is not None:
            break
    assert monitor.test_passed() is sound
    assert not bench.lines[22].on


def test_the_lamp_blinks_and_the_buzzer_sounds() -> None:
    board, bench = made()
    lamp = board.outlets[0].indicator
    assert lamp is not None
    lamp.show("refused")
    turn(board, bench, 2.0)
    flashes = [on for _, pin, on in bench.history if pin == 2]
    tones = [on for _, pin, on in bench.history if pin == 13]
    assert flashes[:4] == [True, False, True, False] and tones == [True, False, True, False]


def test_closed_it_leaves_everything_safe() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    outlet.contactor.close()
    assert outlet.second is not None
    outlet.second.close()
    outlet.pilot.pwm(0.266)
    turn(board, bench)
    assert bench.lines[24].on and bench.generators[0].duty == 0.266
    bench.failing = True
    bench.history.clear()
    board.close()
    assert [pin for _, pin, on in bench.history if pin in (24, 25) and not on] == [24, 25]
    assert not bench.lines[24].on and bench.generators[0].duty == 1.0
    assert {23, 24, 17, 19, 20, 21, 27, 22} <= set(bench.closed)


# ---- the guard on this board


class Street:
    """A guard, its board, and a vehicle with its contactor, in the vehicle's own words."""

    def __init__(self) -> None:
        self.board, self.bench = made()
        ids = iter(range(1, 1000))
        setup = GuardSetup((OutletSetup(1, 32.0, 3),))
        self.guard = Guard(
            self.board, setup, lambda: next(ids), 7, "", lambda latched: True, frozenset(), self.bench.now
        )
        self.guard.connected(self.bench.now)
        self.say(Hello(1, "test"))
        self.truth: Truth | None = None

    def say(self, word: Any) -> None:
        self.guard.hear(encode(word), self.bench.now)

    def run(self, seconds: float) -> Truth:
        """The contactor's mirror, the lock's feedback and the monitor follow what the board drives."""
        bench = self.bench
        end = bench.now + seconds
        while bench.now < end:
            bench.now += TURN
            self.guard.cycle(bench.now)
            bench.levels[17], bench.levels[4] = bench.lines[24].on, bench.lines[25].on
            bench.levels[27] = bench.lines[22].on
            bench.levels[21] = (bench.levels[21] or bench.lines[19].on) and not bench.lines[20].on
            for packet in self.guard.say():
                word = decode(packet)
                self.truth = word if isinstance(word, Truth) else self.truth
        assert self.truth is not None
        return self.truth


def test_a_vehicle_is_charged_through_the_pins() -> None:
    street = Street()
    bench = street.bench
    street.run(5.0)
    bench.ohms, bench.plateau = 220.0, 8.92
    truth = street.run(1.0)
    assert (truth.pilot, truth.cable_amps, truth.faults) == ("B", 32.0, ())
    street.say(Permit(1, truth.plug, 16.0, 3, valid_for=60.0))
    street.say(Lock(1, True))
    street.run(3.0)
    assert bench.generators[0].duty == 0.266
    bench.plateau = 5.96
    truth = street.run(6.0)
    assert truth.closed and bench.lines[24].on and not truth.faults
    bench.plateau, left = 8.92, bench.now
    street.run(0.2)
    opened = [at for at, pin, on in bench.history if pin == 24 and not on]
    assert opened[-1] - left <= 0.1


def test_a_generator_that_fails_keeps_no_other_contactor_closed() -> None:
    """Not even on a bench, where there is no monostable that would open it."""
    board, bench = made(neighbour=True)
    first, second = board.outlets
    second.contactor.close()
    turn(board, bench)
    enable = bench.lines[NEIGHBOUR_ENABLE]
    assert enable.on
    bench.generators[0].failing = True
    first.pilot.pwm(0.5)
    second.contactor.open()
    with pytest.raises(DeviceError):
        turn(board, bench)
    assert not enable.on


def test_the_contactor_is_off_before_the_first_edge_can_be() -> None:
    """After a kill the kernel may keep the levels of both lines."""
    _, bench = made()
    taken = list(bench.lines)
    assert taken.index(24) < taken.index(23)


def test_a_generator_that_fails_leaves_no_motor_running() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    assert outlet.lock is not None
    outlet.lock.engage()
    turn(board, bench)
    assert bench.lines[19].on
    bench.generators[0].failing = True
    outlet.pilot.pwm(0.5)
    for _ in range(50):
        with pytest.raises(DeviceError):
            turn(board, bench)
    assert not bench.lines[19].on


@pytest.mark.parametrize(("pause", "kept"), [(0.05, True), (0.09, False)])
def test_after_a_pause_no_edge_closes_again_what_the_monostable_opened(pause: float, kept: bool) -> None:
    street = Street()
    bench = street.bench
    street.run(5.0)
    bench.ohms, bench.plateau = 220.0, 8.92
    street.say(Permit(1, street.run(1.0).plug, 16.0, 3, valid_for=60.0))
    street.say(Lock(1, True))
    street.run(3.0)
    bench.plateau = 5.96
    assert street.run(6.0).closed
    bench.history.clear()
    bench.now += pause - TURN
    street.run(0.1)
    assert bench.lines[24].on is kept
    if not kept:
        switched = [pin for _, pin, _ in bench.history if pin in (23, 24)]
        assert switched[0] == 24  # before the first edge
        assert street.truth is not None and "DeviceFailure" in street.truth.faults
        assert street.run(15.0).closed


@pytest.mark.parametrize("where", ["before the edge", "at the edge"])
def test_a_pause_in_the_middle_of_an_exchange_is_one_too(where: str) -> None:
    board, bench = made()
    turn(board, bench)
    board.outlets[0].contactor.close()
    turn(board, bench)
    assert bench.lines[24].on
    bench.history.clear()
    if where == "before the edge":
        bench.generators[0].stalls = 0.05
    else:
        bench.lines[23].stalls = 0.05
    bench.now += TURN
    with pytest.raises(DeviceError, match="monostable may have opened"):
        board.exchange()
    switched = [pin for _, pin, _ in bench.history if pin in (23, 24)]
    assert switched == ([24, 23] if where == "before the edge" else [23, 24])
    turn(board, bench)
    assert not bench.lines[24].on


def test_a_contactor_opens_with_the_call_and_closes_with_the_exchange() -> None:
    board, bench = made()
    (outlet,) = board.outlets
    outlet.contactor.close()
    assert not bench.lines[24].on
    turn(board, bench)
    assert bench.lines[24].on
    outlet.contactor.open()
    assert not bench.lines[24].on
    turn(board, bench)
    assert not bench.lines[24].on


def test_a_sensor_that_is_silent_from_the_start_costs_power() -> None:
    board, bench = made()
    bench.celsius = -100.0  # so high a resistance that it could be a broken wire
    turn(board, bench)
    (outlet,) = board.outlets
    assert outlet.cabinet_sensor is not None and outlet.cabinet_sensor.celsius() is None
    guard = Guard(board, GuardSetup((OutletSetup(1),)), lambda: 7, 1, "test", lambda latched: True, frozenset(), 0.0)
    assert guard.bays[0].setup.fitted.cabinet_sensor


@pytest.mark.parametrize("how", ["failing", "repeating"])
def test_an_adc_that_dies_under_load_opens(how: str) -> None:
    """Gone, or with the last burst again and again, whatever the vehicle does meanwhile."""
    street = Street()
    street.run(5.0)
    street.bench.ohms, street.bench.plateau = 220.0, 8.92
    street.say(Permit(1, street.run(1.0).plug, 16.0, 3, valid_for=60.0))
    street.run(3.0)
    street.bench.plateau = 5.96
    assert street.run(6.0).closed
    setattr(street.bench, how, True)
    street.bench.plateau = 8.92
    street.run(0.1)
    assert not street.bench.lines[24].on
    street.bench.history.clear()
    told = street.run(3.0)
    assert told.faults == ("DeviceFailure",) and street.bench.generators[0].duty == 1.0
    assert [pin for _, pin, on in street.bench.history if on and pin != 23] == [2, 2, 2]  # needs a technician, in red
