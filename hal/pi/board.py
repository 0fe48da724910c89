"""The guard's board on a Raspberry Pi: what was commanded goes to pins and PWM, then every input is sampled once.

One `exchange` is one edge of the monostable: where the loop hangs, or this process dies, the edges end and the hardware
opens the contactors, takes the pilots to X1, and stops the motors of the locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from hal.api import DeviceError, Outlet
from hal.pi import boardfile, devices, machine, pins, pwm, spi, wiring
from hal.pi.boardfile import SLOW_SAMPLES, BoardFile, OutletFile
from hal.pi.devices import Generator, Lines
from hal.pi.front import Burst, Front, Scale
from hal.pi.spi import CHIPS, Adc, Plan

REPEATS = 4
"""Bursts equal to the one before, code by code, while the pilot oscillates: the converter, or its bus, repeats itself.

Sampled at other moments of the period each time, two bursts in a thousand are equal at the most, even without noise.
"""


class Wires:
    """The real lines: pins of one gpiozero factory, PWM channels below one root."""

    def __init__(self, soc: str, maker: Any, root: Path) -> None:
        self._soc, self._maker, self._root = soc, maker, root

    def output(self, pin: int, what: str, high: bool = True) -> Any:
        return pins.Output(self._maker, pin, what, high)

    def input(self, pin: int, what: str, pull_up: bool) -> Any:
        return pins.Input(self._maker, pin, what, pull_up)

    def generator(self, pin: int) -> Generator:
        return pwm.SysfsPwm(self._soc, pin, self._root)


class Bay:
    """All devices of one outlet, and the burst that samples its channels."""

    def __init__(
        self,
        board: BoardFile,
        file: OutletFile,
        rank: int,
        lines: Lines,
        adc: Adc,
        line: Callable[..., Any],
        contacts: devices.Contacts,
    ) -> None:
        self._file, self._rank = file, rank
        self.front = front(board, file)
        self.codes = devices.Codes(board.adc.reference / CHIPS[board.adc.chip].codes)
        own = {use.number for use in wiring.channels(board) if use.key.startswith((f"outlet[{rank}].", "cabinet"))}
        self._slow = sorted(own - {file.pilot.channel})
        pilot = [file.pilot.channel] * file.pilot.samples
        self._plan: Plan = adc.plan([*pilot, *(channel for channel in self._slow for _ in range(SLOW_SAMPLES))])
        self.burst: list[int] = []
        """Codes of the last burst on the pilot, as they came."""
        self._codes: list[int] = []
        self._repeats = 0

        def made(kind: Any, part: Any, name: str) -> Any:
            return None if part is None else kind(part, f"outlet {rank} {name}", lines, line)

        def read(kind: Any, part: Any) -> Any:
            return None if part is None else kind(part, self.codes)

        self.contactor: devices.Switch = made(devices.Switch, file.contactor, "contactor")
        self.second: devices.Switch | None = made(devices.Switch, file.second, "second contactor")
        self._relay: devices.Relay | None = made(devices.Relay, file.relay, "pilot relay")
        self.pilot = devices.Pilot(self.front, line(lines.generator, file.pilot.pwm))
        self._lock: devices.Lock | None = made(devices.Lock, file.lock, "lock")
        self._monitor: devices.Monitor | None = made(devices.Monitor, file.residual, "residual-current monitor")
        self._lamp: devices.Lamp | None = made(devices.Lamp, file.lamp, "lamp")
        self.outlet = Outlet(
            pilot=self.pilot,
            contactor=self.contactor,
            inputs=contacts,
            second=self.second,
            relay=self._relay,
            proximity=read(devices.Resistor, file.proximity),
            lock=self._lock,
            residual=self._monitor,
            indicator=self._lamp,
            plug_sensor=read(devices.Sensor, file.plug_sensor),
            cabinet_sensor=read(devices.Sensor, board.cabinet_sensor),
            supply=read(devices.Mains, file.supply),
        )

    @property
    def closing(self) -> bool:
        """Is the contactor to be closed, or kept so?"""
        return self.contactor.wanted

    def open(self) -> None:
        """With the next `switch`, which may fail."""
        for contactor in self._contactors():
            contactor.wanted = False

    def switch(self) -> None:
        """The contactors as commanded; the one that carries all phases first."""
        for contactor in self._contactors():
            contactor.turn()

    def put_out(self, now: float) -> None:
        """What else was commanded; what may be on for a moment only before what can fail."""
        if self._lock is not None:
            self._lock.turn(now)
        if self._monitor is not None:
            self._monitor.turn(now)
        if self._relay is not None:
            self._relay.turn()
        self.pilot.turn()
        if self._lamp is not None:
            self._lamp.turn(now)

    def take_in(self, now: float) -> None:
        """One sample of everything; a burst that shows one plateau only is taken once more, and is then a failure."""
        burst = self._sampled()
        if burst.quality is None:
            burst = self._sampled()
        if burst.quality is None:
            raise DeviceError(f"outlet {self._rank}: the pilot shows one plateau only; check its ADC and generator")
        if self._repeats >= REPEATS and 0.0 < burst.duty < 1.0:
            raise DeviceError(f"outlet {self._rank}: the ADC repeats its last burst; check it and its bus")
        self.pilot.look(burst)
        for contactor in self._contactors():
            contactor.look()
        if self._lock is not None:
            self._lock.look()
        if self._monitor is not None:
            self._monitor.look(now)

    def rest(self) -> None:
        """Before the lines are let go: contactors open, X1, the pilot connected, no motor."""
        self.open()
        self.pilot.steady(True)
        if self._relay is not None:
            self._relay.connect()
        if self._lock is not None:
            with suppress(DeviceError):
                self._lock.rest()

    def _contactors(self) -> Iterator[devices.Switch]:
        yield self.contactor
        if self.second is not None:
            yield self.second

    def _sampled(self) -> Burst:
        codes = self._plan.sample()
        self._repeats = self._repeats + 1 if codes == self._codes else 0
        self._codes = codes
        pilot = self._file.pilot.samples
        means = {}
        for n, channel in enumerate(self._slow):
            few = sorted(codes[pilot + n * SLOW_SAMPLES : pilot + (n + 1) * SLOW_SAMPLES])
            means[channel] = (few[1] + few[2]) / 2
        self.codes.take(means)
        self.burst = codes[:pilot]
        rails = self.codes.code(self._file.pilot.rail), self.codes.code(self._file.pilot.rail_low)
        try:
            return self.front.read(self.burst, *rails)
        except ValueError as e:
            raise DeviceError(f"outlet {self._rank}: {e}; check the driver's converter and its wiring") from None


def front(board: BoardFile, file: OutletFile) -> Front:
    """How the pilot of this outlet is read: by its calibration, or else by its resistors."""
    codes, reference, pilot = CHIPS[board.adc.chip].codes, board.adc.reference, file.pilot
    return Front(
        Scale.of(pilot.divider.divider(), codes, reference)
        if pilot.calibration is None
        else Scale.calibrated(pilot.calibration.high, pilot.calibration.low),
        None if pilot.rail_divider is None else Scale.of(pilot.rail_divider.divider(), codes, reference),
    )


class PiBoard:
    """A `hal.api.Board`. Made, everything is off and the pilots are at X1."""

    opens_at_once = True

    def __init__(self, board: BoardFile, lines: Lines, adc: Adc, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._edge = clock, clock()
        self.hold = None if board.monostable is None else board.monostable.holds
        self._stack = ExitStack()
        self._stack.callback(adc.close)

        def line(make: Callable[..., Any], *arguments: Any) -> Any:
            made = make(*arguments)
            self._stack.callback(made.close)
            return made

        with self._stack:  # undone as a whole when one device is missing
            self._contacts = devices.Contacts(board.inputs, lines, line)
            self.bays = [
                Bay(board, file, rank, lines, adc, line, self._contacts) for rank, file in enumerate(board.outlet, 1)
            ]
            # Last: taking the pin may be an edge, and lines may still stand as a guard that was killed has left them.
            pin = None if board.monostable is None else board.monostable.pin
            self._alive = None if pin is None else line(lines.output, pin, "monostable")
            self._stack = self._stack.pop_all()
        self.outlets: Sequence[Outlet] = tuple(bay.outlet for bay in self.bays)

    def exchange(self) -> None:
        """Raises DeviceError where a line, the PWM or the ADC fails, or a contactor may have let go in a pause."""
        now = self._clock()
        paused = now - self._edge
        let_go = self._open_if_late()
        with ExitStack() as deeds:  # all of them, whichever fails; the last ones named are the first
            for bay in self.bays:
                deeds.callback(bay.put_out, now)
            for bay in self.bays:
                deeds.callback(bay.switch)
        let_go |= self._open_if_late()  # without real-time scheduling this process may stand still here, too
        if self._alive is not None:
            self._alive.toggle()
        let_go |= self._open_if_late()
        self._edge = now
        if let_go:
            raise DeviceError(f"a pause of {paused * 1000:.0f} ms: the monostable may have opened the contactors")
        for bay in self.bays:
            bay.take_in(now)
        self._contacts.look()

    def _open_if_late(self) -> bool:
        """An edge now would close again what the monostable may have opened, whatever happened meanwhile."""
        late = self.hold is not None and self._clock() - self._edge > self.hold
        if not late or not any(bay.closing for bay in self.bays):
            return False
        with ExitStack() as deeds:
            for bay in self.bays:
                bay.open()
                deeds.callback(bay.switch)
        return True

    def close(self) -> None:
        for bay in self.bays:
            bay.rest()
            with suppress(DeviceError):
                bay.switch()
            with suppress(DeviceError):
                bay.put_out(self._clock())
        self._stack.close()


def open_board(name: str) -> PiBoard:
    """The board that this file describes. Raises DeviceError when something of it is not there."""
    board = boardfile.load(name)
    machine.check(board.soc)
    lines = Wires(board.soc, pins.factory(board.soc), pwm.ROOT)
    adc = Adc(f"{spi.DEV}{board.adc.spi}", CHIPS[board.adc.chip], board.adc.hertz)
    return PiBoard(board, lines, adc)
