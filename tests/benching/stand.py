"""What is around a guard on a Raspberry Pi, as near as it gets without one.

Pins of gpiozero's mock factory, the kernel's PWM as a directory tree, an ADC whose bursts take as long as on the bus;
behind them a vehicle that lets go again and again, contactor, monostable, lock and residual-current monitor.
"""

from __future__ import annotations

import ctypes
import math
import random
import struct
import time
from pathlib import Path
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin

from hal.pi import boardfile
from hal.pi.board import PiBoard
from hal.pi.boardfile import SLOW_SAMPLES
from hal.pi.front import Scale
from hal.pi.pins import Input, Output
from hal.pi.pwm import DEVICES, PERIOD, SysfsPwm
from hal.pi.spi import CHIPS, DITHER, FRAME, Adc
from tests.benching.log import Log
from tests.hal.pi.waveform import LEVELS, LOW, burst

BOARD = "reference-pi4"
ARRIVES = 1.0  # s after the start
MOVES = 0.015  # s for a contactor to follow
RATE = 31_000.0  # samples a second on the bus
DUTIES = (266_000, 533_000)  # of 16 and 32 A
SAME = 4  # bursts that are computed once for each level and duty; in turn, since one that comes again is a sick ADC's
SHARES = {1: 220 / 1220, 2: 1097 / 2097}  # cable for 32 A, socket at 25 degrees; other slow channels at half
_TRANSFER = 32  # bytes, of which the second eight are the address for the answer


class Armature:
    """A contactor's: it follows its coil after a while."""

    def __init__(self) -> None:
        self.closed = False
        self._since = math.inf

    def follow(self, now: float, coil: bool) -> None:
        self._since = math.inf if coil is self.closed else min(self._since, now)
        if now - self._since >= MOVES:
            self.closed, self._since = coil, math.inf


class Stand:
    """The outside. Times in monotonic seconds; each log has a number for every time the vehicle let go under load."""

    def __init__(self, most: int) -> None:
        self.file = boardfile.load(BOARD)
        self.outlet = self.file.outlet[0]
        self.command = Log(most)
        """From the burst that first shows it to the edge at the contactor's pin."""
        self.gone = Log(most)
        """From the vehicle itself to that edge."""
        self.dead = Log(most)
        """From the vehicle itself until the coil is without current: by its pin, or by the monostable."""
        self.reclosed = 0
        """Edges that would have closed again what the monostable had opened."""
        self.maker: Any = None
        self.pwm: SysfsPwm | None = None
        self._slow: list[int] = []
        self._known: dict[tuple[str, int], list[bytes]] = {}
        self._high: dict[int, bool] = {}
        self._armatures = [(one, Armature()) for one in (self.outlet.contactor, self.outlet.second) if one is not None]
        self._chance = random.Random(1)
        self._bursts = 0
        now = time.monotonic()
        self._edge = now
        self._level, self._next = "A", now + ARRIVES
        self._lets_go = math.inf  # when the vehicle does
        self._seen: float | None = None  # the burst that shows it
        self._released: float | None = None  # the monostable has let go

    # ---- pins

    def changed(self, pin: int, high: bool) -> None:
        """The guard has changed an output."""
        now = time.monotonic()
        self._high[pin] = high
        for contactor, armature in self._armatures:
            if pin == contactor.enable:
                armature.follow(now, high)
        assert self.file.monostable is not None
        if pin == self.file.monostable.pin:
            self._look_at_monostable(now)
            if now - self._edge > self.file.monostable.holds and self._coil:
                self.reclosed += 1
            self._edge = now
        elif pin == self.outlet.contactor.enable and not high and self._lets_go < now:
            self._look_at_monostable(now)
            if self._seen is not None:
                self.command.add(now - self._seen)
            self.gone.add(now - self._lets_go)
            self.dead.add((self._released or now) - self._lets_go)
            self._lets_go, self._seen, self._released = math.inf, None, None

    @property
    def _coil(self) -> bool:
        return self._high.get(self.outlet.contactor.enable, False)

    def _look_at_monostable(self, now: float) -> None:
        assert self.file.monostable is not None
        ends = self._edge + self.file.monostable.releases
        if ends < now and self._lets_go < now and self._released is None:
            self._released = max(ends, self._lets_go)

    def _drive(self, pin: int | None, high: bool) -> None:
        if pin is not None:
            line = self.maker.pin(f"GPIO{pin}")
            (line.drive_high if high else line.drive_low)()

    # ---- what follows

    def settle(self, now: float) -> None:
        """Whatever moves has moved by now; then the inputs show it."""
        file, one = self.file, self.outlet
        assert file.monostable is not None and one.lock is not None and one.residual is not None
        fed = now - self._edge < file.monostable.releases
        for contactor, armature in self._armatures:
            armature.follow(now, fed and self._high.get(contactor.enable, False))
            self._drive(contactor.mirror, armature.closed is not contactor.mirror_open_high)
        self._vehicle(now)
        if self._high.get(one.lock.engage):
            self._drive(one.lock.feedback, one.lock.engaged_high)
        self._drive(one.residual.trip, self._high.get(one.residual.test, False) is one.residual.trip_high)
        for pin in (file.inputs.emergency_stop, file.inputs.pen_fault, file.inputs.shed):
            self._drive(pin, False)

    def _vehicle(self, now: float) -> None:
        """Plugged in once; then it asks for power, and lets go at any moment of the guard's turns."""
        if self._level == "C" and self._armatures[0][1].closed and self._next == math.inf:
            self._next = now + self._chance.uniform(0.2, 0.6)
        if now < self._next:
            return
        match self._level:
            case "A":
                self._level = "B"
            case "B" if self.pwm is not None and 0 < self.pwm._duty < PERIOD and not self._coil:
                self._level, self._next = "C", math.inf
            case "C":
                self._level, self._lets_go, self._next = "B", self._next, now + 0.3

    # ---- the ADC

    def ioctl(self, _: int, request: int, row: bytearray) -> None:
        """As the kernel's: fills the buffer of the answers, and returns when the last bit would be in."""
        if request & 0xFF:  # mode or speed
            return
        began, count = time.monotonic(), len(row) // _TRANSFER
        self.settle(began)
        if self._level == "B" and self._lets_go < began and self._seen is None:
            self._seen = began
        (address,) = struct.unpack_from("=Q", row, 8)
        self._bursts += 1
        ctypes.memmove(address, self._answers()[self._bursts % SAME], count * FRAME)
        time.sleep(max(0.0, began + count / RATE + sum(DITHER[:count]) * 1e-6 - time.monotonic()))
        self.settle(time.monotonic())

    def prepare(self, slow: list[int]) -> None:
        """Compute what will be needed; `slow` are the channels that a burst samples behind the pilot's."""
        self._slow = slow
        for level in "ABC":
            for duty in (PERIOD, *DUTIES):
                self._said_of(level, duty)

    def _answers(self) -> list[bytes]:
        return self._said_of(self._level, PERIOD if self.pwm is None else self.pwm._duty)

    def _said_of(self, level: str, duty: int) -> list[bytes]:
        if (level, duty) not in self._known:
            pilot, codes = self.outlet.pilot, CHIPS[self.file.adc.chip].codes
            scale = Scale.of(pilot.divider.divider(), codes, self.file.adc.reference)
            volts = {pilot.rail: 12.0, pilot.rail_low: -12.0}
            tail = [
                round(scale.code(volts[channel])) if channel in volts else round(SHARES.get(channel, 0.5) * codes)
                for channel in self._slow
                for _ in range(SLOW_SAMPLES)
            ]
            high = LEVELS[level]
            bursts = [burst(self._chance, high, LOW, duty / PERIOD, samples=pilot.samples) for _ in range(SAME)]
            self._known[level, duty] = [
                b"".join(code.to_bytes(FRAME, "big") for code in (*one, *tail)) for one in bursts
            ]
        return self._known[level, duty]


def board(stand: Stand, folder: Path) -> PiBoard:
    """The guard's board on this stand. `folder` is for the tree of the PWM."""

    class Pin(MockPin):  # type: ignore[misc]
        """Keeps no history, but tells of outputs."""

        _state: bool

        def _change_state(self, value: bool) -> bool:
            if self._state == value:
                return False
            self._state = value
            if self._function == "output":
                stand.changed(int(self.info.name.removeprefix("GPIO")), value)
            return True

    stand.maker = MockFactory(pin_class=Pin)
    _tree(folder, DEVICES[stand.file.soc])
    (folder / "spi").touch()
    adc = Adc(str(folder / "spi"), CHIPS[stand.file.adc.chip], stand.file.adc.hertz, stand.ioctl)
    made = PiBoard(stand.file, Wires(stand, folder), adc)
    stand.prepare(made.bays[0]._slow)
    return made


def _tree(folder: Path, device: str) -> None:
    """`/sys/class/pwm` with one chip and its channels."""
    (folder / "devices" / device).mkdir(parents=True)
    (folder / "pwmchip0").mkdir()
    (folder / "pwmchip0" / "device").symlink_to(folder / "devices" / device)
    for channel in ("pwm0", "pwm1"):
        (folder / "pwmchip0" / channel).mkdir()
        for name, content in (("period", "0"), ("duty_cycle", "0"), ("enable", "0"), ("polarity", "normal")):
            (folder / "pwmchip0" / channel / name).write_text(content)


class Wires:
    """`hal.pi.devices.Lines`: the real ones of `hal.pi`, on mock pins and another tree."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        self._stand, self._folder = stand, folder

    def output(self, pin: int, what: str, high: bool = True) -> Any:
        return Output(self._stand.maker, pin, what, high)

    def input(self, pin: int, what: str, pull_up: bool) -> Any:
        return Input(self._stand.maker, pin, what, pull_up)

    def generator(self, pin: int) -> SysfsPwm:
        self._stand.pwm = SysfsPwm(self._stand.file.soc, pin, self._folder)
        return self._stand.pwm
