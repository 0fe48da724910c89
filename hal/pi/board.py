"""The guard's board on a Raspberry Pi: what was commanded goes to pins and PWM, then every input is sampled once.

One `exchange` is one edge of the monostable: where the loop hangs, or this process dies, the edges end and the hardware
opens the contactors and takes the pilots to X1.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, Protocol

from hal.api import DeviceError, Outlet, PilotReading
from hal.lamps import LAMPS, UNKNOWN
from hal.pi import boardfile, machine
from hal.pi.boardfile import BoardFile, OutletFile
from hal.pi.front import Burst, Scale, by_resistance, estimate
from hal.pi.spi import CHIPS, Adc, Plan

DUTIES = 4
SLOW_SAMPLES = 4  # of each slow channel in a burst; the middle of them counts
RAIL = (11.0, 13.0)  # V; beyond, the levels of the pilot say nothing
OPEN_ENDED = 0.985  # of the pull-up's volts: nothing is connected
CLOSED_TIGHT = 0.002
HOLDS = 0.06  # s between two edges for which the monostable (82 ms, give or take its capacitor) is sure to hold


class Generator(Protocol):
    """What drives a pilot (`pwm.SysfsPwm`)."""

    def set(self, duty: float) -> None: ...
    def close(self) -> None: ...


class Lines(Protocol):
    """What makes digital lines and generators; `Wires` on a Pi, memory in tests."""

    def output(self, pin: int, what: str, high: bool = True) -> Any: ...
    def input(self, pin: int, what: str, pull_up: bool) -> Any: ...
    def generator(self, pin: int) -> Generator: ...


class Wires:
    """The real ones."""

    def __init__(self, soc: str) -> None:
        from hal.pi.pins import factory

        self._soc, self._maker = soc, factory(soc)

    def output(self, pin: int, what: str, high: bool = True) -> Any:
        from hal.pi.pins import Output

        return Output(self._maker, pin, what, high)

    def input(self, pin: int, what: str, pull_up: bool) -> Any:
        from hal.pi.pins import Input

        return Input(self._maker, pin, what, pull_up)

    def generator(self, pin: int) -> Generator:
        from hal.pi.pwm import SysfsPwm

        return SysfsPwm(self._soc, pin)


class _Bay:
    """All devices of one outlet; the names of `hal.api`, whose protocols it fulfils together."""

    def __init__(
        self, board: BoardFile, file: OutletFile, rank: int, lines: Lines, adc: Adc, stack: ExitStack, now: float
    ) -> None:
        self._file, self._rank = file, rank
        name = f"outlet {rank} "
        chip = CHIPS[board.adc.chip]
        self._volts_a_code = board.adc.reference / chip.codes
        divider, point = file.pilot.divider.divider(), file.pilot.calibration
        nominal = Scale.of(divider, chip.codes, board.adc.reference)
        self._scale = nominal if point is None else Scale.calibrated(point.high, point.low)
        self._rail_scale = (
            Scale.of(file.pilot.rail_divider.divider(), chip.codes, board.adc.reference)
            if file.pilot.rail_divider is not None
            else None
        )
        self._slow = [
            c for c in (_channel(file.proximity), _channel(file.temperature), file.pilot.rail) if c is not None
        ]
        channels = [file.pilot.channel] * file.pilot.samples
        self._plan: Plan = adc.plan([*channels, *(c for c in self._slow for _ in range(SLOW_SAMPLES))])

        def line(make: Callable[..., Any], *arguments: Any) -> Any:
            made = make(*arguments)
            stack.callback(made.close)
            return made

        self._enable = line(lines.output, file.contactor.enable, name + "contactor")
        self._pwm = line(lines.generator, file.pilot.pwm)
        # A broken wire to the mirror reads as closed: the circuit is closed while the contactor is open.
        self._mirror = line(
            lines.input, file.contactor.mirror, name + "mirror contact", not file.contactor.mirror_open_high
        )
        self._lock = None if file.lock is None else _Lock(file.lock, name, line, lines)
        self._monitor = None if file.residual is None else _Monitor(file.residual, name, line, lines)
        self._stop = (
            None
            if file.emergency_stop is None
            else line(lines.input, file.emergency_stop, name + "emergency stop", file.emergency_stop_high)
        )
        self._lamp = {
            colour: line(lines.output, pin, f"{name}lamp {colour}")
            for colour, pin in (
                ("r", file.lamp and file.lamp.red),
                ("g", file.lamp and file.lamp.green),
                ("b", file.lamp and file.lamp.blue),
                ("buzzer", file.lamp and file.lamp.buzzer),
            )
            if pin is not None
        }
        self._drive = self._driven = 1.0
        self._duties: deque[float] = deque(maxlen=DUTIES)
        self._close = False
        self._shown, self._shown_at = "", 0.0
        self._now = now
        self._burst = Burst(12.0, 12.0, 1.0, 0.5)
        self._means: dict[int, float] = {}
        self._mirror_high, self._stop_high = file.contactor.mirror_open_high, False

    # ---- the cycle

    @property
    def closing(self) -> bool:
        """Is the contactor to be closed, or kept so?"""
        return self._close

    def switch(self) -> None:
        """The contactor as commanded."""
        self._enable.set(self._close)

    def put_out(self, now: float) -> None:
        """What else was commanded; what may be on for a moment only before what can fail."""
        self._now = now
        if self._lock is not None:
            self._lock.turn(now)
        if self._monitor is not None:
            self._monitor.turn(now)
        self._pwm.set(self._drive)
        if self._drive != self._driven:
            self._driven = self._drive
            self._duties.clear()
        pattern = LAMPS.get(self._shown, UNKNOWN)
        since = now - self._shown_at
        for colour, pin in self._lamp.items():
            pin.set(pattern.sounds(since) if colour == "buzzer" else colour in pattern.lit(since))

    def take_in(self) -> None:
        """One sample of everything; a burst that shows one plateau only is taken once more, and is then a failure."""
        burst = self._sampled()
        if burst.quality is None:
            burst = self._sampled()
        if burst.quality is None:
            raise DeviceError(f"outlet {self._rank}: the pilot shows one plateau only; check its ADC and generator")
        # Of one burst the duty is off by half a per cent, and more where the bus stalled; of four it is not.
        self._duties.append(burst.duty)
        self._burst = replace(burst, duty=sum(self._duties) / len(self._duties))
        self._mirror_high = self._mirror.read()
        if self._stop is not None:
            self._stop_high = self._stop.read()
        if self._lock is not None:
            self._lock.look()
        if self._monitor is not None:
            self._monitor.look(self._now)

    def _sampled(self) -> Burst:
        codes = self._plan.sample()
        pilot = self._file.pilot.samples
        for n, channel in enumerate(self._slow):
            few = sorted(codes[pilot + n * SLOW_SAMPLES : pilot + (n + 1) * SLOW_SAMPLES])
            self._means[channel] = (few[1] + few[2]) / 2
        burst = estimate(codes[:pilot], self._scale)
        if self._rail_scale is None or self._file.pilot.rail is None:
            return burst
        rail = self._rail_scale.volts(self._means[self._file.pilot.rail])
        if not RAIL[0] <= rail <= RAIL[1]:
            raise DeviceError(f"outlet {self._rank}: the pilot's supply is {rail:.1f} V, not 12 V")
        return replace(burst, high=by_resistance(burst.high, rail), low=by_resistance(burst.low, rail))

    # ---- hal.api

    def read(self) -> PilotReading:
        return PilotReading(self._burst.high, self._burst.low, self._burst.duty)

    def pwm(self, duty: float) -> None:
        if not 0.05 <= duty <= 0.96:
            raise ValueError(f"duty {duty}: must be 0.05..0.96")
        self._drive = duty

    def steady(self, positive: bool) -> None:
        self._drive = 1.0 if positive else 0.0

    def ohms(self) -> float:
        assert self._file.proximity is not None
        share = self._share(self._file.proximity.channel, self._file.proximity.volts)
        return math.inf if share >= OPEN_ENDED else self._file.proximity.pull_up * share / (1 - share)

    def close(self) -> None:
        self._close = True

    def open(self) -> None:
        self._close = False

    def closed(self) -> bool:
        return self._mirror_high is not self._file.contactor.mirror_open_high

    def engage(self) -> None:
        assert self._lock is not None
        self._lock.wanted = True

    def release(self) -> None:
        assert self._lock is not None
        self._lock.wanted = False

    def engaged(self) -> bool | None:
        assert self._lock is not None
        return self._lock.engaged

    def tripped(self) -> bool:
        assert self._monitor is not None
        return self._monitor.tripped

    def start_test(self) -> None:
        assert self._monitor is not None
        self._monitor.begin()

    def test_passed(self) -> bool | None:
        assert self._monitor is not None
        return self._monitor.passed

    def emergency_stop(self) -> bool:
        return self._stop is not None and self._stop_high is self._file.emergency_stop_high

    def pen_fault(self) -> bool:
        return False

    def shed(self) -> bool:
        return False

    def celsius(self) -> float | None:
        sensor = self._file.temperature
        assert sensor is not None
        share = self._share(sensor.channel, sensor.volts)
        if share >= OPEN_ENDED:
            return None
        ohms = sensor.pull_up * max(share, CLOSED_TIGHT) / (1 - share)
        return 1 / (1 / 298.15 + math.log(ohms / sensor.ohms) / sensor.beta) - 273.15

    def show(self, lamp: str) -> None:
        if lamp != self._shown:
            self._shown, self._shown_at = lamp, self._now

    def _share(self, channel: int, volts: float) -> float:
        return min(1.0, self._means.get(channel, 0.0) * self._volts_a_code / volts)


class _Lock:
    """A motor that runs for one pulse in the wanted direction."""

    def __init__(self, file: boardfile.LockFile, name: str, line: Callable[..., Any], lines: Lines) -> None:
        self._file = file
        self._pins = {
            True: line(lines.output, file.engage, name + "lock engage"),
            False: line(lines.output, file.release, name + "lock release"),
        }
        # A broken wire reads as not engaged.
        self._feedback = line(lines.input, file.feedback, name + "lock feedback", not file.engaged_high)
        self.wanted: bool | None = None
        self._until: float | None = None
        self._high = not file.engaged_high

    def turn(self, now: float) -> None:
        """Never both ways at once: what ran is off before anything else is on."""
        if self._until is not None and now >= self._until:
            self._off()
        if self.wanted is not None:
            self._off()
            self._pins[self.wanted].set(True)
            self._until, self.wanted = now + self._file.pulse, None

    def _off(self) -> None:
        for pin in self._pins.values():
            pin.set(False)
        self._until = None

    def look(self) -> None:
        self._high = self._feedback.read()

    @property
    def engaged(self) -> bool | None:
        return None if self._until is not None else self._high is self._file.engaged_high


class _Monitor:
    """The residual-current monitor's trip line, and its self-test: it must trip by the pulse, and be content after."""

    def __init__(self, file: boardfile.ResidualFile, name: str, line: Callable[..., Any], lines: Lines) -> None:
        self._file = file
        self._test = line(lines.output, file.test, name + "residual test", file.test_high)
        # A broken wire reads as tripped.
        self._trip = line(lines.input, file.trip, name + "residual trip", file.trip_high)
        self.tripped = False
        self.passed: bool | None = None
        self._wanted = self._seen = False
        self._since: float | None = None

    def begin(self) -> None:
        self._wanted, self.passed = True, None

    def turn(self, now: float) -> None:
        if self._wanted:
            self._wanted, self._since, self._seen = False, now, False
        self._test.set(self._since is not None and now - self._since < self._file.pulse)

    def look(self, now: float) -> None:
        self.tripped = self._trip.read() is self._file.trip_high
        if self._since is None:
            return
        self._seen = self._seen or self.tripped
        if self._seen and not self.tripped and now - self._since > self._file.pulse:
            self.passed, self._since = True, None
        elif now - self._since > self._file.pulse + self._file.within:
            self.passed, self._since = False, None


class PiBoard:
    """A `hal.api.Board`. Made, everything is off and the pilots are at X1."""

    def __init__(self, board: BoardFile, lines: Lines, adc: Adc, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._edge = clock, clock()
        self._stack = ExitStack()
        self._stack.callback(adc.close)
        with self._stack:  # undone as a whole when one device is missing
            self._bays = [
                _Bay(board, file, rank, lines, adc, self._stack, clock()) for rank, file in enumerate(board.outlet, 1)
            ]
            # Last: taking the pin may be an edge, and lines may still stand as a guard that was killed has left them.
            self._alive = None
            if board.alive is not None:
                self._alive = lines.output(board.alive, "monostable")
                self._stack.callback(self._alive.close)
            self._stack = self._stack.pop_all()
        self.outlets: Sequence[Outlet] = tuple(
            Outlet(
                pilot=bay,
                contactor=bay,
                inputs=bay,
                proximity=bay if file.proximity is not None else None,
                lock=bay if file.lock is not None else None,
                residual=bay if file.residual is not None else None,
                indicator=bay if file.lamp is not None else None,
                cabinet_sensor=bay if file.temperature is not None else None,
            )
            for bay, file in zip(self._bays, board.outlet, strict=True)
        )

    @property
    def hold(self) -> float | None:
        return HOLDS if self._alive is not None else None

    def exchange(self) -> None:
        """Raises DeviceError where a line, the PWM or the ADC fails, or a contactor may have let go in a pause."""
        now = self._clock()
        # The next edge would close again what the monostable has opened, whatever happened meanwhile.
        let_go = self._alive is not None and now - self._edge > HOLDS and any(bay.closing for bay in self._bays)
        if let_go:
            for bay in self._bays:
                bay.open()
        with ExitStack() as deeds:  # all of them, whichever fails; the last ones named are the first
            for bay in self._bays:
                deeds.callback(bay.put_out, now)
            for bay in self._bays:
                deeds.callback(bay.switch)
        if self._alive is not None:
            self._alive.toggle()
        paused, self._edge = now - self._edge, now
        if let_go:
            raise DeviceError(f"a pause of {paused * 1000:.0f} ms: the monostable may have opened the contactors")
        for bay in self._bays:
            bay.take_in()

    def close(self) -> None:
        for bay in self._bays:
            bay.open()
            bay.steady(True)
            with suppress(DeviceError):
                bay.switch()
            with suppress(DeviceError):
                bay.put_out(self._clock())
        self._stack.close()


def open_board(name: str) -> PiBoard:
    """The board that this file describes. Raises DeviceError when something of it is not there."""
    board = boardfile.load(name)
    machine.check(board.soc)
    lines = Wires(board.soc)
    chip = CHIPS[board.adc.chip]
    return PiBoard(board, lines, Adc(f"/dev/spidev{board.adc.spi}", chip, board.adc.hertz))


def _channel(part: boardfile.ProximityFile | boardfile.TemperatureFile | None) -> int | None:
    return None if part is None else part.channel
