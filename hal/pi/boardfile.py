"""Board files `boards/*.toml`: what is wired to which pin, read and doubted before anything is touched.

Refused are unknown keys, two uses of one pin, pins that the machine's own buses need, a PWM pin that has no hardware
PWM, outputs that switch power on pins that are high while the machine boots, and codes beside the resistors that do not
follow from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hal.pi.front import Divider, Scale
from hal.pi.pwm import CHANNELS
from hal.pi.spi import CHIPS, MOST
from hal.tables import Mistake, Shelf, bounded, choice, made

LOW_AT_BOOT = range(9, 28)  # BCM numbers that are pulled down until somebody configures them
HEADER = range(2, 28)
SPI_PINS = {"0.0": (8, 9, 10, 11), "0.1": (7, 9, 10, 11), "1.0": (18, 19, 20, 21), "1.1": (17, 19, 20, 21)}
SAMPLES_FEWEST = 90  # 3 ms at 31 ksps: below, some bursts at 5 and 96 % duty show one plateau only
CODES_OFF = 2.0
CHECKED = {"a": 12.0, "b": 9.0, "c": 6.0, "d": 3.0, "e": 0.0, "f": -12.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdcFile:
    """The ADC, its reference volts, and the clock of its bus."""

    chip: str = choice(*CHIPS)
    spi: str = choice(*SPI_PINS)
    hertz: int = bounded(100_000, 1_350_000)
    reference: float = bounded(2.0, 5.5, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class DividerFile:
    """Ohms from the pilot, to ground and to the bias, whose volts are given."""

    top: float = bounded(10_000, 2_000_000)
    ground: float = bounded(1_000, 2_000_000)
    bias: float = bounded(1_000, 2_000_000)
    bias_volts: float = bounded(1.0, 5.5, 3.3)

    def divider(self) -> Divider:
        return Divider(self.top, self.ground, self.bias, self.bias_volts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Calibration: codes of +12 V (X1, nothing plugged) and of -12 V (state F), as the ADC gives them."""

    high: float = bounded(0, 4095)
    low: float = bounded(0, 4095)


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotFile:
    """Generator pin, ADC channel, divider. `codes`: what the divider gives for the states a to f, for the reader."""

    pwm: int
    channel: int = bounded(0, 7)
    samples: int = bounded(SAMPLES_FEWEST, MOST - 16, 160)
    divider: DividerFile
    codes: dict[str, float] = field(default_factory=dict)
    calibration: Point | None = None
    rail: int | None = bounded(0, 7, None)
    rail_divider: DividerFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProximityFile:
    """ADC channel, and the pull-up with its volts."""

    channel: int = bounded(0, 7)
    pull_up: float = bounded(100, 10_000)
    volts: float = bounded(2.0, 5.5, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactorFile:
    """Coil enable, and the mirror contact, whose circuit is closed while the contactor is open."""

    enable: int
    mirror: int
    mirror_open_high: bool = False  # level of the mirror's pin while the contactor is open


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """H-bridge of the lock's motor, its feedback, and how long a pulse drives it (seconds)."""

    engage: int
    release: int
    feedback: int
    engaged_high: bool = True
    pulse: float = bounded(0.1, 1.0, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualFile:
    """Monitor: trip line, test line, and how the self-test goes (seconds)."""

    trip: int
    test: int
    trip_high: bool = True
    test_high: bool = True
    pulse: float = bounded(0.03, 1.2, 0.25)
    within: float = bounded(0.1, 4.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureFile:
    """NTC from the ADC to ground, with a pull-up: ohms at 25 °C, beta in kelvin."""

    channel: int = bounded(0, 7)
    pull_up: float = bounded(100, 1_000_000)
    ohms: float = bounded(100, 1_000_000, 10_000.0)
    beta: float = bounded(1_000, 6_000, 3_950.0)
    volts: float = bounded(2.0, 5.5, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class LampFile:
    """Three pins of a lamp, one of a buzzer."""

    red: int | None = None
    green: int | None = None
    blue: int | None = None
    buzzer: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletFile:
    """One pilot, one contactor. Without `proximity` and `lock` it has a fixed cable."""

    pilot: PilotFile
    contactor: ContactorFile
    proximity: ProximityFile | None = None
    lock: LockFile | None = None
    residual: ResidualFile | None = None
    temperature: TemperatureFile | None = None
    lamp: LampFile | None = None
    emergency_stop: int | None = None
    emergency_stop_high: bool = True  # level while it is pressed: a broken wire must read as pressed


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFile:
    """A whole board. `alive`: the pin that feeds the monostable; without one nothing opens when the guard dies."""

    name: str
    soc: str = choice(*CHANNELS)
    adc: AdcFile
    outlet: tuple[OutletFile, ...]
    alive: int | None = None
    software_only: bool = False  # says that there is no monostable, and that this is known
    reserved: tuple[int, ...] = ()  # pins of other things on this board: UARTs, HATs


SHELF = Shelf("board", __package__, "boards")


def load(name: str) -> BoardFile:
    """A board by the name of its file in `boards/` or /etc/chargerd/boards, or by an absolute path. DeviceError."""
    return SHELF.load(name, parse)


def names() -> list[str]:
    """The boards that come with the package, and those in /etc."""
    return SHELF.names()


def parse(raw: Mapping[str, Any]) -> BoardFile:
    """A board from a parsed file. Mistake names what is wrong, where, and why."""
    board = made(BoardFile, raw)
    if not board.outlet:
        raise Mistake("outlet", "at least one [[outlet]]")
    _check_generators(board)
    _check_pins(board)
    if (board.alive is None) is not board.software_only:
        raise Mistake(
            "alive",
            "the pin of the monostable that opens the contactors when the guard dies; "
            "a board without one must say software_only = true, and is for the bench",
        )
    chip = CHIPS[board.adc.chip]
    if board.adc.hertz > chip.fastest:
        raise Mistake("adc.hertz", f"is {board.adc.hertz}; {board.adc.chip} takes at most {chip.fastest} at 3.3 V")
    for n, outlet in enumerate(board.outlet, 1):
        _check_outlet(board, outlet, f"outlet[{n}]")
    return board


# ---------------------------------------------------------------- what must hold


def _check_outlet(board: BoardFile, outlet: OutletFile, where: str) -> None:
    pilot = outlet.pilot
    if (outlet.proximity is None) is not (outlet.lock is None):
        raise Mistake(where, "proximity and lock belong together: a socket has both, a fixed cable neither")
    if (pilot.rail is None) is not (pilot.rail_divider is None):
        raise Mistake(f"{where}.pilot", "rail and rail_divider belong together")
    nominal = Scale.of(pilot.divider.divider(), CHIPS[board.adc.chip].codes, board.adc.reference)
    for state, told in pilot.codes.items():
        if state not in CHECKED:
            raise Mistake(f"{where}.pilot.codes.{state}", f"states are {', '.join(CHECKED)}")
        right = nominal.code(CHECKED[state])
        if abs(told - right) > CODES_OFF:
            raise Mistake(
                f"{where}.pilot.codes.{state}",
                f"is {told:g}; {CHECKED[state]:+g} V through this divider is {right:.0f}",
            )
    for volts in (12.6, -12.6):
        if not 0 <= nominal.code(volts) <= CHIPS[board.adc.chip].codes:
            raise Mistake(f"{where}.pilot.divider", f"{volts:+g} V on the pilot is beyond the ADC's range")
    if pilot.calibration is not None:
        _check_calibration(pilot.calibration, nominal, where)


def _check_calibration(point: Point, nominal: Scale, where: str) -> None:
    """A calibration mends tolerances of some per cent; more is a fault that it must not hide."""
    for name, code, volts in (("high", point.high, 12.0), ("low", point.low, -12.0)):
        if abs(nominal.volts(code) - volts) > 0.8:
            raise Mistake(
                f"{where}.pilot.calibration.{name}",
                f"{code:g} is {nominal.volts(code):+.2f} V by the resistors, "
                f"not {volts:+g} V: mend the supply or the divider",
            )


def _check_generators(board: BoardFile) -> None:
    """Each pilot has a hardware PWM of its own: on BCM chips two pins share a channel."""
    channels, taken = CHANNELS[board.soc], dict[int, int]()
    for n, outlet in enumerate(board.outlet, 1):
        where = f"outlet[{n}].pilot.pwm"
        if outlet.pilot.pwm not in channels:
            raise Mistake(
                where,
                f"is {outlet.pilot.pwm}; {board.soc} has hardware PWM on GPIO {', '.join(map(str, channels))} only, "
                "and a software PWM is off by more than the 5 µs that IEC 61851-1 allows",
            )
        first = taken.setdefault(channels[outlet.pilot.pwm], n)
        if first != n:
            raise Mistake(where, f"is {outlet.pilot.pwm}; that is the same PWM channel as outlet {first}")


def _check_pins(board: BoardFile) -> None:
    used: dict[int, str] = {}
    for pin, where, powers in _pins(board):
        if pin not in HEADER:
            raise Mistake(where, f"is {pin}; GPIO numbers are {HEADER.start} to {HEADER.stop - 1}")
        if pin in used:
            raise Mistake(where, f"is {pin}; taken by {used[pin]}")
        if powers and pin not in LOW_AT_BOOT:
            raise Mistake(
                where,
                f"is {pin}; it is high while the machine boots: use GPIO {LOW_AT_BOOT.start} to {LOW_AT_BOOT.stop - 1}",
            )
        used[pin] = where
    channels: dict[int, str] = {}
    for channel, where in _channels(board):
        if channel in channels:
            raise Mistake(where, f"is {channel}; taken by {channels[channel]}")
        channels[channel] = where


def _pins(board: BoardFile) -> Iterator[tuple[int, str, bool]]:
    """Each pin, what for, and whether it switches power or the pilot."""
    yield from ((pin, f"adc.spi {board.adc.spi}", False) for pin in SPI_PINS[board.adc.spi])
    yield from ((pin, "reserved", False) for pin in board.reserved)
    if board.alive is not None:
        yield board.alive, "alive", True
    for n, outlet in enumerate(board.outlet, 1):
        where = f"outlet[{n}]."
        yield outlet.pilot.pwm, f"{where}pilot.pwm", True
        yield outlet.contactor.enable, f"{where}contactor.enable", True
        yield outlet.contactor.mirror, f"{where}contactor.mirror", False
        for pin, name, powers in (
            (outlet.emergency_stop, "emergency_stop", False),
            *((getattr(outlet.lock, name, None), f"lock.{name}", name != "feedback") for name in _LOCK),
            *((getattr(outlet.residual, name, None), f"residual.{name}", False) for name in ("trip", "test")),
            *((getattr(outlet.lamp, name, None), f"lamp.{name}", False) for name in _LAMP),
        ):
            if pin is not None:
                yield pin, where + name, powers


_LOCK = ("engage", "release", "feedback")
_LAMP = ("red", "green", "blue", "buzzer")


def _channels(board: BoardFile) -> Iterator[tuple[int, str]]:
    for n, outlet in enumerate(board.outlet, 1):
        yield outlet.pilot.channel, f"outlet[{n}].pilot.channel"
        if outlet.pilot.rail is not None:
            yield outlet.pilot.rail, f"outlet[{n}].pilot.rail"
        if outlet.proximity is not None:
            yield outlet.proximity.channel, f"outlet[{n}].proximity.channel"
        if outlet.temperature is not None:
            yield outlet.temperature.channel, f"outlet[{n}].temperature.channel"
