"""Everything of the board but the kernel and the copper: the guard on gpiozero's pins with their timed history, PWM in
a sysfs tree, and every sample asked of the converter bit by bit while a vehicle loads the pilot.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from chargerd.guard.desk import Guard
from chargerd.guard.lease import Hello, Lock, Permit, Truth, decode, encode
from chargerd.guard.setup import GuardSetup, OutletSetup
from hal.pi import boardfile
from hal.pi.board import PiBoard, Wires
from hal.pi.front import Scale
from hal.pi.pwm import DEVICES
from hal.pi.spi import CHIPS, DITHER, Adc
from tests.hal.pi.test_pwm import chip as pwm_chip
from tests.hal.pi.test_spi import Mcp
from tests.hal.pi.waveform import LEVELS, LOW, volts

FILE = boardfile.load("reference-pi4")
OUTLET = FILE.outlet[0]
PERIOD, CONVERSION = 0.02, 32e-6
SWING, STROKE = 0.015, 0.4  # s: what the contactor takes to move, and the lock's motor to its end
ALIVE, ENABLE, SECOND, ENGAGE, RELEASE = 23, 24, 25, 19, 20
MIRROR, MIRROR2, FEEDBACK, TRIP, TEST = 17, 4, 21, 27, 22


REAL_PWRITE = os.pwrite


def as_sysfs(file: int, data: bytes, offset: int) -> int:
    """Each write is the whole value, as it is for an attribute of the kernel."""
    os.ftruncate(file, 0)
    return REAL_PWRITE(file, data, offset)


class Rig:
    """A board in virtual time, and what hangs on it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self._chance = 50.0, random.Random(4)
        self.state = "A"
        self.ohms = 1e9
        self.pins = MockFactory()
        monkeypatch.setattr("gpiozero.pins.mock.monotonic", lambda: self.now)
        monkeypatch.setattr(os, "pwrite", as_sysfs)
        self._duty = pwm_chip(folder, 0, DEVICES[FILE.soc]) / "pwm0" / "duty_cycle"
        self.duties: list[tuple[float, float]] = []
        for pin in (16, 5, 6):
            self.pins.pin(pin)  # contacts to ground, closed below
        self._spi = folder / "spidev0.0"
        self._spi.touch()
        self._scale = Scale.of(OUTLET.pilot.divider.divider(), 4095, 3.3)
        self._moment, self._gaps = 0.0, itertools.cycle(DITHER)
        adc = Adc(str(self._spi), CHIPS["mcp3208"], 1_000_000, Mcp(12, self._code).ioctl)
        wires = Wires(FILE.soc, self.pins, folder)
        self.board = PiBoard(FILE, wires, adc, lambda: self.now)
        self._since: dict[int, tuple[bool, float]] = {}
        self._travel = 0.0
        ids = iter(range(1, 1000))
        setup = GuardSetup((OutletSetup(1, 32.0, 3),))
        self.guard = Guard(self.board, setup, lambda: next(ids), 7, "", lambda latched: True, frozenset(), self.now)
        self.guard.connected(self.now)
        self.say(Hello(1, "test"))
        self.truth: Truth | None = None

    def say(self, word: Any) -> None:
        self.guard.hear(encode(word), self.now)

    def run(self, seconds: float) -> Truth:
        for _ in range(round(seconds / PERIOD)):
            self.now += PERIOD
            self._copper()
            self._moment = self.now
            self.guard.cycle(self.now)
            if not self.duties or self.duties[-1][1] != self.duty:
                self.duties.append((self.now, self.duty))
            for packet in self.guard.say():
                word = decode(packet)
                self.truth = word if isinstance(word, Truth) else self.truth
        assert self.truth is not None
        return self.truth

    @property
    def duty(self) -> float:
        return int(self._duty.read_text()) / 1e6

    # ---- copper and iron

    def _copper(self) -> None:
        """Contacts follow their coils and motors."""
        for coil, contact in ((ENABLE, MIRROR), (SECOND, MIRROR2)):
            drawn = bool(self.pins.pin(coil).state)
            before, since = self._since.get(coil, (False, 0.0))
            if drawn is not before:
                self._since[coil] = drawn, since = drawn, self.now
            self._drive(contact, drawn if self.now - since >= SWING else not drawn)
        way = bool(self.pins.pin(ENGAGE).state) - bool(self.pins.pin(RELEASE).state)
        self._travel = min(1.0, max(0.0, self._travel + way * PERIOD / STROKE))
        self._drive(FEEDBACK, self._travel >= 0.99)
        self._drive(TRIP, bool(self.pins.pin(TEST).state))
        for pin in (16, 5, 6):
            self._drive(pin, False)

    def _drive(self, pin: int, high: bool) -> None:
        made = self.pins.pin(pin)
        (made.drive_high if high else made.drive_low)()

    def _code(self, channel: int) -> int:
        self._moment += CONVERSION + next(self._gaps) * 1e-6
        match channel:
            case OUTLET.pilot.channel:
                low = LOW if self.state != "E" else 0.0
                seen = volts(LEVELS[self.state], low, self.duty, self._moment) + self._chance.gauss(0, 0.1)
                return min(4095, max(0, round(self._scale.code(seen))))
            case OUTLET.pilot.rail:
                return round(self._scale.code(12.0))
            case OUTLET.pilot.rail_low:
                return round(self._scale.code(-12.0))
            case 1:
                return round(4095 * self.ohms / (self.ohms + 1000))
            case 2:
                return round(4095 * 1097 / 2097)
        return 2048


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = Rig(tmp_path, monkeypatch)
    yield made
    made.pins.reset()


def history(rig: Rig, pin: int) -> list[tuple[float, bool]]:
    """When the pin took each level, by gpiozero's own record."""
    at, found = 50.0, []
    for state in rig.pins.pin(pin).states:
        at += state.timestamp
        found.append((at, bool(state.state)))
    return found


def rises(rig: Rig, pin: int) -> list[float]:
    return [at for at, high in history(rig, pin) if high]


def falls(rig: Rig, pin: int) -> list[float]:
    return [at for at, high in history(rig, pin)[1:] if not high]


def charge(rig: Rig) -> None:
    rig.run(1.0)  # with the self-test of the monitor
    rig.ohms, rig.state = 220.0, "B"
    truth = rig.run(0.6)
    assert (truth.pilot, truth.cable_amps, truth.faults) == ("B", 32.0, ())
    rig.say(Permit(1, truth.plug, 16.0, 3, valid_for=60.0))
    rig.say(Lock(1, True))
    rig.run(2.0)
    assert rig.duty == 0.266
    rig.state = "C"
    assert rig.run(1.5).closed


def test_a_session_by_the_history_of_its_pins(rig: Rig) -> None:
    charge(rig)
    rig.state, left = "B", rig.now
    rig.run(0.3)
    rig.say(Permit(1, rig.truth.plug if rig.truth else 0, 0.0, 3, valid_for=60.0))
    rig.say(Lock(1, False))
    rig.run(1.0)

    closed, opened = rises(rig, ENABLE), falls(rig, ENABLE)
    assert len(closed) == 1 and len(opened) == 1
    assert left < opened[0] <= left + 0.1, "after the vehicle leaves C, open within 100 ms"

    edges = [at for at, _ in history(rig, ALIVE)][1:]
    gaps = [after - before for before, after in itertools.pairwise(edges)]
    assert max(gaps) == pytest.approx(PERIOD, abs=1e-6) and min(gaps) == pytest.approx(PERIOD, abs=1e-6)

    (locked,), (let_go,) = rises(rig, ENGAGE), falls(rig, ENGAGE)
    assert let_go - locked == pytest.approx(OUTLET.lock.pulse if OUTLET.lock else 0, abs=PERIOD + 1e-6)
    assert let_go < closed[0], "locked, and the motor at rest, before power"
    (unlocked,) = rises(rig, RELEASE)
    assert unlocked > opened[0] and not overlap(rig, ENGAGE, RELEASE)

    offered = next(at for at, duty in rig.duties if duty == 0.266)
    assert let_go <= offered < closed[0]
    assert len(rises(rig, TEST)) > 0 and max(rises(rig, TEST)) < offered


def test_with_every_wire_broken_all_reads_as_danger(rig: Rig) -> None:
    """Nothing drives the inputs: what they read is their pull."""
    rig.board.exchange()
    (outlet,) = rig.board.outlets
    assert outlet.second is not None and outlet.lock is not None and outlet.residual is not None
    assert outlet.contactor.closed() and outlet.second.closed() and outlet.residual.tripped()
    assert outlet.lock.engaged() is False
    assert outlet.inputs.emergency_stop() and outlet.inputs.pen_fault() and outlet.inputs.shed()


def level(rig: Rig, pin: int, at: float) -> bool:
    """Of a pin just before that moment."""
    return next((high for when, high in reversed(history(rig, pin)) if when < at - 1e-6), False)


def test_the_second_contactor_moves_with_the_first_open_only(rig: Rig) -> None:
    charge(rig)
    rig.state = "A"
    rig.run(0.2)
    rig.ohms = 1e9
    rig.run(1.0)
    moves = history(rig, SECOND)[1:]
    assert [closing for _, closing in moves] == [True, False]
    assert moves[0][0] < rises(rig, ENABLE)[0]
    assert moves[1][0] >= falls(rig, ENABLE)[-1] + SWING, "its contact has shown that it is open"
    assert not any(level(rig, ENABLE, at) for at, _ in moves)


def overlap(rig: Rig, one: int, other: int) -> bool:
    level = {one: False, other: False}
    changes = [(at, high, pin) for pin in level for at, high in history(rig, pin)[1:]]
    for _, high, pin in sorted(changes):
        level[pin] = high
        if all(level.values()):
            return True
    return False


@pytest.mark.parametrize(
    ("doubt", "within"),
    [
        (lambda rig: setattr(rig, "state", "A"), 0.1),
        (lambda rig: setattr(rig, "state", "E"), 0.1),
        (lambda rig: setattr(rig, "ohms", 1e9), 0.15),
    ],
    ids=["unplugged", "shorted", "no-plug"],
)
def test_each_doubt_opens(rig: Rig, doubt: Callable[[Rig], None], within: float) -> None:
    charge(rig)
    doubt(rig)
    since = rig.now
    rig.run(0.4)
    assert falls(rig, ENABLE)[-1] <= since + within
    assert rig.duty == 1.0


def test_closed_down_it_leaves_coil_motor_and_pilot_at_rest(rig: Rig) -> None:
    charge(rig)
    (outlet,) = rig.board.outlets
    assert outlet.lock is not None and outlet.relay is not None
    outlet.relay.disconnect()
    rig.board.exchange()
    assert rig.pins.pin(26).state
    outlet.lock.engage()
    rig.board.close()
    assert rig.duty == 1.0
    for pin in (ENABLE, SECOND, ENGAGE, RELEASE, 26):
        assert not rig.pins.pin(pin).state
    assert rig.pins.pin(ENABLE).function == "input", "the pins are let go"
    assert history(rig, 26)[-1][1] is False
