"""The devices of one outlet on pins and channels: what was commanded goes out by `turn`, what is there comes in by
`look`; between them everything is remembered.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

from hal import lamps
from hal.api import PilotReading
from hal.pi import boardfile
from hal.pi.front import Burst, Front

DUTIES = 5
OPEN_ENDED = 0.985  # of the pull-up's volts: nothing is connected
CLOSED_TIGHT = 0.002
KELVIN = 273.15


class Generator(Protocol):
    """What drives a pilot (`pwm.SysfsPwm`)."""

    def set(self, duty: float) -> None: ...
    def close(self) -> None: ...


class Lines(Protocol):
    """What makes digital lines and generators; `board.Wires` on a Pi, memory in tests."""

    def output(self, pin: int, what: str, high: bool = True) -> Any: ...
    def input(self, pin: int, what: str, pull_up: bool) -> Any: ...
    def generator(self, pin: int) -> Generator: ...


class Codes:
    """The last codes of the slow channels, as shares of a voltage; 0 before the first burst."""

    def __init__(self, volts_a_code: float) -> None:
        self._volts_a_code = volts_a_code
        self._means: Mapping[int, float] = {}

    def take(self, means: Mapping[int, float]) -> None:
        self._means = means

    def code(self, channel: int | None) -> float | None:
        return None if channel is None else self._means.get(channel)

    def volts(self, channel: int) -> float:
        return self._means.get(channel, 0.0) * self._volts_a_code

    def ohms(self, channel: int, pull_up: float, volts: float) -> float:
        """The resistor between channel and ground; `inf` with nothing there."""
        share = min(1.0, self.volts(channel) / volts)
        return math.inf if share >= OPEN_ENDED else pull_up * share / (1 - share)


class Pilot:
    """Generator and front of one control pilot."""

    def __init__(self, front: Front, generator: Generator) -> None:
        self._front, self._generator = front, generator
        self._drive = self._driven = 1.0
        self._duties: deque[float] = deque(maxlen=DUTIES)
        self._burst = Burst(12.0, 12.0, 1.0, 0.5)

    def turn(self) -> None:
        self._generator.set(self._drive)
        if self._drive != self._driven:
            self._driven = self._drive
            self._duties.clear()

    def look(self, burst: Burst) -> None:
        # Of one burst the duty is off by half a per cent, and more where the bus stalled; the middle of five is not.
        self._duties.append(burst.duty)
        self._burst = replace(burst, duty=middle(self._duties))

    def read(self) -> PilotReading:
        return PilotReading(self._burst.high, self._burst.low, self._burst.duty)

    def pwm(self, duty: float) -> None:
        if not 0.05 <= duty <= 0.96:
            raise ValueError(f"duty {duty}: must be 0.05..0.96")
        self._drive = duty

    def steady(self, positive: bool) -> None:
        self._drive = 1.0 if positive else 0.0


def middle(numbers: Collection[float]) -> float:
    """The one in the middle, the lower one of two."""
    return sorted(numbers)[(len(numbers) - 1) // 2]


class Switch:
    """A contactor: coil and mirror contact."""

    def __init__(self, file: boardfile.ContactorFile, name: str, lines: Lines, line: Callable[..., Any]) -> None:
        self._open_high = file.mirror_open_high
        self._enable = line(lines.output, file.enable, name)
        # A broken wire to the mirror reads as closed: the circuit is closed while the contactor is open.
        self._mirror = line(lines.input, file.mirror, f"{name}'s mirror contact", not file.mirror_open_high)
        self.wanted = False
        self._high = self._open_high

    def turn(self) -> None:
        self._enable.set(self.wanted)

    def look(self) -> None:
        self._high = self._mirror.read()

    def close(self) -> None:
        self.wanted = True

    def open(self) -> None:
        self.wanted = False
        self.turn()

    def closed(self) -> bool:
        return self._high is not self._open_high


class Relay:
    """Takes the pilot from the vehicle while its coil is drawn."""

    def __init__(self, file: boardfile.RelayFile, name: str, lines: Lines, line: Callable[..., Any]) -> None:
        self._coil = line(lines.output, file.disconnect, name)
        self._wanted = False

    def turn(self) -> None:
        self._coil.set(self._wanted)

    def connect(self) -> None:
        self._wanted = False

    def disconnect(self) -> None:
        self._wanted = True


class Contact:
    """An input that is active at one level, and with its wire broken; one that is not fitted never is."""

    def __init__(self, pin: int | None, active_high: bool, name: str, lines: Lines, line: Callable[..., Any]) -> None:
        self._active_high = active_high
        self._pin = None if pin is None else line(lines.input, pin, name, active_high)
        self.active = False

    def look(self) -> None:
        self.active = self._pin is not None and self._pin.read() is self._active_high


class Contacts:
    """The contacts of the whole board."""

    def __init__(self, file: boardfile.InputsFile, lines: Lines, line: Callable[..., Any]) -> None:
        self._stop = Contact(file.emergency_stop, file.emergency_stop_high, "emergency stop", lines, line)
        self._pen = Contact(file.pen_fault, file.pen_fault_high, "PEN fault", lines, line)
        self._shed = Contact(file.shed, file.shed_high, "load shedding", lines, line)

    def look(self) -> None:
        for contact in (self._stop, self._pen, self._shed):
            contact.look()

    def emergency_stop(self) -> bool:
        return self._stop.active

    def pen_fault(self) -> bool:
        return self._pen.active

    def shed(self) -> bool:
        return self._shed.active


class Resistor:
    """The coding resistor of a plug."""

    def __init__(self, file: boardfile.ProximityFile, codes: Codes) -> None:
        self._file, self._codes = file, codes

    def ohms(self) -> float:
        return self._codes.ohms(self._file.channel, self._file.pull_up, self._file.volts)


class Sensor:
    """A thermistor or a PT1000."""

    def __init__(self, file: boardfile.SensorFile, codes: Codes) -> None:
        self._file, self._codes = file, codes

    def celsius(self) -> float | None:
        """None where its wire is broken or shorted."""
        file = self._file
        ohms = self._codes.ohms(file.channel, file.pull_up, file.volts)
        if ohms == math.inf or ohms < CLOSED_TIGHT * file.pull_up:
            return None
        if file.kind == "pt1000":
            return pt1000(ohms)
        return 1 / (1 / (25 + KELVIN) + math.log(ohms / file.ohms) / file.beta) - KELVIN


def pt1000(ohms: float) -> float | None:
    """Degrees of a platinum sensor (IEC 60751, used below zero as well: off by 0.1 K at -40); None: no such ohms."""
    a, b = 3.9083e-3, -5.775e-7
    root = a * a - 4 * b * (1 - ohms / 1000.0)
    return (-a + math.sqrt(root)) / (2 * b) if 700.0 <= ohms <= 2000.0 else None


class Mains:
    """Volts of the mains, by converters that give direct voltage in proportion."""

    def __init__(self, file: boardfile.SupplyFile, codes: Codes) -> None:
        self._file, self._codes = file, codes

    def volts(self) -> tuple[float, ...]:
        return tuple(self._codes.volts(channel) * self._file.ratio for channel in self._file.channels)


class Lock:
    """A motor that runs for one pulse in the wanted direction."""

    def __init__(self, file: boardfile.LockFile, name: str, lines: Lines, line: Callable[..., Any]) -> None:
        self._file = file
        self._pins = {
            True: line(lines.output, file.engage, f"{name} engage"),
            False: line(lines.output, file.release, f"{name} release"),
        }
        # A broken wire reads as not engaged.
        self._feedback = line(lines.input, file.feedback, f"{name} feedback", not file.engaged_high)
        self._wanted: bool | None = None
        self._until: float | None = None
        self._high = not file.engaged_high

    def turn(self, now: float) -> None:
        """Never both ways at once: what ran is off before anything else is on."""
        if self._until is not None and now >= self._until:
            self._off()
        if self._wanted is not None:
            self._off()
            self._pins[self._wanted].set(True)
            self._until, self._wanted = now + self._file.pulse, None

    def _off(self) -> None:
        for pin in self._pins.values():
            pin.set(False)
        self._until = None

    def look(self) -> None:
        self._high = self._feedback.read()

    def rest(self) -> None:
        """No motor runs, and none starts."""
        self._wanted = None
        self._off()

    def engage(self) -> None:
        self._wanted = True

    def release(self) -> None:
        self._wanted = False

    def engaged(self) -> bool | None:
        return None if self._until is not None else self._high is self._file.engaged_high


class Monitor:
    """The residual-current monitor's trip line, and its self-test: it must trip by the pulse, and be content after."""

    def __init__(self, file: boardfile.ResidualFile, name: str, lines: Lines, line: Callable[..., Any]) -> None:
        self._file = file
        self._test = line(lines.output, file.test, f"{name} test", file.test_high)
        # A broken wire reads as tripped.
        self._trip = line(lines.input, file.trip, f"{name} trip", file.trip_high)
        self._tripped = False
        self._passed: bool | None = None
        self._wanted = self._seen = False
        self._since: float | None = None

    def turn(self, now: float) -> None:
        if self._wanted:
            self._wanted, self._since, self._seen = False, now, False
        self._test.set(self._since is not None and now - self._since < self._file.pulse)

    def look(self, now: float) -> None:
        self._tripped = self._trip.read() is self._file.trip_high
        if self._since is None:
            return
        self._seen = self._seen or self._tripped
        if self._seen and not self._tripped and now - self._since > self._file.pulse:
            self._passed, self._since = True, None
        elif now - self._since > self._file.pulse + self._file.within:
            self._passed, self._since = False, None

    def tripped(self) -> bool:
        return self._tripped

    def start_test(self) -> None:
        self._wanted, self._passed = True, None

    def test_passed(self) -> bool | None:
        return self._passed


class Lamp:
    """Three colours and a buzzer, by the patterns of `hal.lamps`."""

    def __init__(self, file: boardfile.LampFile, name: str, lines: Lines, line: Callable[..., Any]) -> None:
        pins = {"r": file.red, "g": file.green, "b": file.blue, "buzzer": file.buzzer}
        self._pins = {at: line(lines.output, pin, f"{name} {at}") for at, pin in pins.items() if pin is not None}
        self._shown = ""
        self._since: float | None = None  # since when it shows this; None: from the next turn on

    def turn(self, now: float) -> None:
        self._since = now if self._since is None else self._since
        pattern, since = lamps.of(self._shown), now - self._since
        for at, pin in self._pins.items():
            pin.set(pattern.sounds(since) if at == "buzzer" else at in pattern.lit(since))

    def show(self, lamp: str) -> None:
        if lamp != self._shown:
            self._shown, self._since = lamp, None
