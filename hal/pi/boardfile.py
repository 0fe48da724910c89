"""Board files `boards/*.toml`: what is wired to which pin, read and doubted before anything is touched.

Refused are unknown keys, two uses of one pin, pins that the machine's own buses need, a PWM pin that has no hardware
PWM, outputs that switch power on pins that are high while the machine boots, inputs whose broken wire could not be
seen, and numbers that do not follow from the resistors and capacitors beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hal.pi import wiring
from hal.pi.front import Divider, Scale
from hal.pi.pwm import CHANNELS
from hal.pi.spi import CHIPS, MOST
from hal.pi.wiring import FIXED_UP, HEADER_PINS, LOW_AT_BOOT, SERIAL, SPI_PINS, drives, measures, senses
from hal.tables import Mistake, Shelf, bounded, choice, made

SLOW_SAMPLES = 4  # of each slow channel in a burst; the middle of them counts
SAMPLES_FEWEST = 90  # 3 ms at 31 ksps: below, some bursts at 5 and 96 % duty show one plateau only
CODES_OFF = 2.0
CHECKED = {"a": 12.0, "b": 9.0, "c": 6.0, "d": 3.0, "e": 0.0, "f": -12.0}
CALIBRATION_OFF = 0.8  # V; more than tolerances make is a fault that a calibration must not hide
MONOSTABLE = 0.45  # of R times C, for a 74HC123
SURE = 0.8, 1.25  # of that: what parts of 10 % may make of it, with room


@dataclass(frozen=True, slots=True, kw_only=True)
class AdcFile:
    """The ADC, its reference volts, and the clock of its bus."""

    chip: str = choice(*CHIPS)
    spi: str = choice(*SPI_PINS)
    hertz: int = bounded(100_000, 1_350_000)
    reference: float = bounded(2.0, 5.5, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonostableFile:
    """What lives by the guard's edges: ohms and farads, and within which seconds after the last edge it lets go."""

    pin: int = drives("monostable: one edge for each turn of the guard", powers=True)
    ohms: float = bounded(10_000, 2_000_000)
    farads: float = bounded(1e-9, 10e-6)
    holds: float = bounded(0.045, 0.2)  # until then surely not
    releases: float = bounded(0.05, 0.2)  # by then surely


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsFile:
    """Contacts of the whole board. `_high`: the pin's level while active, which a broken wire must read as."""

    emergency_stop: int | None = senses("emergency stop, second contact", default=None)
    emergency_stop_high: bool = True
    pen_fault: int | None = senses("PEN-fault device", default=None)
    pen_fault_high: bool = True
    shed: int | None = senses("load-shedding contact", default=None)
    shed_high: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFile:
    """A thermistor (NTC: ohms at 25 °C, beta in kelvin) or PT1000 from the ADC to ground, with a pull-up."""

    channel: int = measures("temperature sensor")
    kind: str = choice("ntc", "pt1000", default="ntc")
    pull_up: float = bounded(100, 1_000_000)
    ohms: float = bounded(100, 1_000_000, 10_000.0)
    beta: float = bounded(1_000, 6_000, 3_950.0)
    volts: float = bounded(2.0, 5.5, 3.3)


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
    """Calibration: codes of +12 V and of -12 V at the plug, as the ADC gives them (`chargerd board calibrate`)."""

    high: float = bounded(0, 4095)
    low: float = bounded(0, 4095)


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotFile:
    """Generator, ADC, divider. `codes`: what the divider gives for the states a to f, for whoever measures."""

    pwm: int = drives("control pilot: input of its driver", powers=True)
    channel: int = measures("control pilot, behind its divider")
    samples: int = bounded(SAMPLES_FEWEST, MOST - 8 * SLOW_SAMPLES, 160)
    divider: DividerFile
    codes: dict[str, float] = field(default_factory=dict)
    calibration: Point | None = None
    rail: int | None = measures("+12 V of the pilot's driver, behind a divider", default=None)
    rail_low: int | None = measures("-12 V of the pilot's driver, behind a divider", default=None)
    rail_divider: DividerFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProximityFile:
    """ADC channel, and the pull-up with its volts."""

    channel: int = measures("proximity (PP), with its pull-up")
    pull_up: float = bounded(100, 10_000)
    volts: float = bounded(2.0, 5.5, 3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactorFile:
    """Coil enable, and the mirror contact, whose circuit is closed while the contactor is open."""

    enable: int = drives("contactor: coil enable", powers=True)
    mirror: int = senses("contactor: mirror contact")
    mirror_open_high: bool = False  # level of the mirror's pin while the contactor is open


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFile(ContactorFile):
    """The same for the contactor of L2 and L3, in series behind the first."""

    enable: int = drives("second contactor (L2, L3): coil enable", powers=True)
    mirror: int = senses("second contactor: mirror contact")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayFile:
    """Relay in the pilot's line to the vehicle: drawn, it disconnects."""

    disconnect: int = drives("relay that takes the pilot from the vehicle", powers=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """H-bridge of the lock's motor, its feedback, and how long a pulse drives it (seconds)."""

    engage: int = drives("lock: motor forward", powers=True)
    release: int = drives("lock: motor back", powers=True)
    feedback: int = senses("lock: feedback")
    engaged_high: bool = True
    pulse: float = bounded(0.1, 1.0, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualFile:
    """Monitor: trip line, test line, and how the self-test goes (seconds)."""

    trip: int = senses("residual-current monitor: trip")
    test: int = drives("residual-current monitor: test")
    trip_high: bool = True
    test_high: bool = True
    pulse: float = bounded(0.03, 1.2, 0.25)
    within: float = bounded(0.1, 4.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyFile:
    """Converters whose direct voltage follows the mains, L1 first: volts of the mains for each volt at the ADC."""

    channels: tuple[int, ...] = measures("mains, by an isolating converter")
    ratio: float = bounded(20, 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LampFile:
    """Three pins of a lamp, one of a buzzer."""

    red: int | None = drives("lamp: red", default=None)
    green: int | None = drives("lamp: green", default=None)
    blue: int | None = drives("lamp: blue", default=None)
    buzzer: int | None = drives("buzzer", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletFile:
    """One pilot, one contactor. Without `proximity` and `lock` it has a fixed cable. `second` passes L2 and L3 on."""

    pilot: PilotFile
    contactor: ContactorFile
    second: SecondFile | None = None
    relay: RelayFile | None = None
    proximity: ProximityFile | None = None
    lock: LockFile | None = None
    residual: ResidualFile | None = None
    plug_sensor: SensorFile | None = None
    supply: SupplyFile | None = None
    lamp: LampFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFile:
    """A whole board. Without a monostable nothing opens when the guard dies, and `software_only` must say so."""

    name: str
    soc: str = choice(*CHANNELS)
    adc: AdcFile
    outlet: tuple[OutletFile, ...]
    monostable: MonostableFile | None = None
    software_only: bool = False
    inputs: InputsFile = InputsFile()
    cabinet_sensor: SensorFile | None = None
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
    _check_channels(board)
    _check_monostable(board)
    chip = CHIPS[board.adc.chip]
    if board.adc.hertz > chip.fastest:
        raise Mistake("adc.hertz", f"is {board.adc.hertz}; {board.adc.chip} takes at most {chip.fastest} at 3.3 V")
    for n, outlet in enumerate(board.outlet, 1):
        _check_outlet(board, outlet, f"outlet[{n}]")
    return board


# ---------------------------------------------------------------- what must hold


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
    used: dict[int, wiring.Use] = {}
    for use in wiring.pins(board):
        if use.number not in HEADER_PINS:
            raise Mistake(use.key, f"is {use.number}; GPIO numbers are {min(HEADER_PINS)} to {max(HEADER_PINS)}")
        if use.number in used:
            other = used[use.number]
            raise Mistake(use.key, f"is {use.number}; taken by {other.key} ({other.role.what})")
        if use.role.powers and use.number not in LOW_AT_BOOT:
            low = f"{LOW_AT_BOOT.start} to {LOW_AT_BOOT.stop - 1}"
            raise Mistake(use.key, f"is {use.number}; it is high while the machine boots: use GPIO {low}")
        if use.role.powers and use.number == SERIAL:
            raise Mistake(use.key, f"is {use.number}; the firmware's serial line holds it high: use another")
        used[use.number] = use
    for key, pin, danger_high in _dangers(board):
        if pin in FIXED_UP and not danger_high:
            raise Mistake(key, f"is {pin}; the machine pulls it up, so that a broken wire would go unseen: use another")


def _dangers(board: BoardFile) -> list[tuple[str, int | None, bool]]:
    """Inputs, and whether high is what a broken wire must read as."""
    contacts = board.inputs
    found = [
        (f"inputs.{name}", getattr(contacts, name), getattr(contacts, f"{name}_high"))
        for name in ("emergency_stop", "pen_fault", "shed")
    ]
    for n, outlet in enumerate(board.outlet, 1):
        for name in ("contactor", "second"):
            if (contactor := getattr(outlet, name)) is not None:
                found.append((f"outlet[{n}].{name}.mirror", contactor.mirror, not contactor.mirror_open_high))
        if outlet.lock is not None:
            found.append((f"outlet[{n}].lock.feedback", outlet.lock.feedback, not outlet.lock.engaged_high))
        if outlet.residual is not None:
            found.append((f"outlet[{n}].residual.trip", outlet.residual.trip, outlet.residual.trip_high))
    return found


def _check_channels(board: BoardFile) -> None:
    used: dict[int, str] = {}
    for use in wiring.channels(board):
        if use.number in used:
            raise Mistake(use.key, f"is {use.number}; taken by {used[use.number]}")
        used[use.number] = use.key


def _check_monostable(board: BoardFile) -> None:
    file = board.monostable
    if (file is None) is not board.software_only:
        raise Mistake(
            "monostable",
            "[monostable] is what opens the contactors when the guard dies; "
            "a board without one must say software_only = true, and is for the bench",
        )
    if file is None:
        return
    early, late = (share * MONOSTABLE * file.ohms * file.farads for share in SURE)
    if file.holds > early:
        raise Mistake("monostable.holds", f"is {file.holds:g}; with this R and C it may let go after {early:.3f} s")
    if file.releases < late:
        raise Mistake("monostable.releases", f"is {file.releases:g}; with this R and C it may take {late:.3f} s")


def _check_outlet(board: BoardFile, outlet: OutletFile, where: str) -> None:
    pilot = outlet.pilot
    if (outlet.proximity is None) is not (outlet.lock is None):
        raise Mistake(where, "proximity and lock belong together: a socket has both, a fixed cable neither")
    if (pilot.rail is None) is not (pilot.rail_divider is None):
        raise Mistake(f"{where}.pilot", "rail and rail_divider belong together")
    if pilot.rail is None and pilot.rail_low is not None:
        raise Mistake(f"{where}.pilot.rail_low", "needs rail as well, and a rail_divider that is used twice")
    if outlet.supply is not None and not 1 <= len(outlet.supply.channels) <= 3:
        raise Mistake(f"{where}.supply.channels", "one channel for each phase: one to three")
    codes = CHIPS[board.adc.chip].codes
    nominal = Scale.of(pilot.divider.divider(), codes, board.adc.reference)
    for state, told in pilot.codes.items():
        if state not in CHECKED:
            raise Mistake(f"{where}.pilot.codes.{state}", f"states are {', '.join(CHECKED)}")
        right = nominal.code(CHECKED[state])
        if abs(told - right) > CODES_OFF:
            wanted = f"{CHECKED[state]:+g} V through this divider is {right:.0f}"
            raise Mistake(f"{where}.pilot.codes.{state}", f"is {told:g}; {wanted}")
    for name in ("divider", "rail_divider"):
        if (file := getattr(pilot, name)) is None:
            continue
        scale = Scale.of(file.divider(), codes, board.adc.reference)
        for volts in (12.6, -12.6):
            if not 0 <= scale.code(volts) <= codes:
                raise Mistake(f"{where}.pilot.{name}", f"{volts:+g} V before it is beyond the ADC's range")
    if pilot.calibration is not None:
        check_calibration(pilot.calibration, nominal, f"{where}.pilot.calibration")


def check_calibration(point: Point, nominal: Scale, where: str) -> None:
    """A calibration mends tolerances of some per cent; Mistake where it would hide a fault."""
    for name, code, volts in (("high", point.high, 12.0), ("low", point.low, -12.0)):
        if abs(nominal.volts(code) - volts) > CALIBRATION_OFF:
            raise Mistake(
                f"{where}.{name}",
                f"{code:g} is {nominal.volts(code):+.2f} V by the resistors, not {volts:+g} V: "
                "mend the supply or the divider",
            )
