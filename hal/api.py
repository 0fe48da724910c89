"""What chargerd asks of hardware: small protocols, plain values, no behaviour.

Units are SI unless the name says otherwise: volts, amperes, watts, ohms, degrees Celsius, watt-hours, seconds.
Every method may raise `DeviceError`; nothing here ever falls back to a simulation by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

PerPhase = tuple[float, float, float]


class DeviceError(Exception):
    """A device is missing, refused or answered nonsense; the text names the device and the remedy."""


class MissingExtra(DeviceError):
    """A configured device needs an optional package that is not installed; the text names the command."""


class CardRefused(DeviceError):
    """The reader is well, but this card cannot identify anybody; the text says why, and never its number."""


# ---------------------------------------------------------------- the guard's hardware: one outlet


@dataclass(frozen=True, slots=True)
class PilotReading:
    """The last burst on the control pilot: plateau volts and the duty seen (0..1; 1.0 or 0.0 when steady)."""

    high: float
    low: float
    duty: float


class Pilot(Protocol):
    """Control pilot generator and its measurement (IEC 61851-1 annex A)."""

    def read(self) -> PilotReading: ...
    def pwm(self, duty: float) -> None:
        """Oscillate at 1 kHz with this fraction (0.05..0.96)."""

    def steady(self, positive: bool) -> None:
        """+12 V steady (X1) or -12 V steady (F)."""


class Proximity(Protocol):
    def ohms(self) -> float:
        """Coding resistance PP-PE; `inf` with no plug."""


class PilotRelay(Protocol):
    """Takes the pilot away from the vehicle. At rest, and whenever the guard is dead, the relay connects."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...


class Contactor(Protocol):
    def close(self) -> None: ...
    def open(self) -> None:
        """At once where the board `opens_at_once`; everything else waits for the next exchange."""

    def closed(self) -> bool:
        """What the mirror contact says, not what was commanded."""


class Lock(Protocol):
    def engage(self) -> None: ...
    def release(self) -> None: ...
    def engaged(self) -> bool | None:
        """Feedback; None while the motor moves."""


class ResidualCurrent(Protocol):
    def tripped(self) -> bool: ...
    def start_test(self) -> None: ...
    def test_passed(self) -> bool | None:
        """Result of the last self-test; None while it runs or when none ran."""


class Inputs(Protocol):
    """Contacts. What is not fitted is never active; where one is, its broken wire reads as active."""

    def emergency_stop(self) -> bool: ...
    def pen_fault(self) -> bool:
        """The supply's PEN conductor is broken, says the device that watches it (BS 7671 722.411.4.1)."""

    def shed(self) -> bool:
        """Load shedding: grid or house ask for less power."""


class Thermometer(Protocol):
    def celsius(self) -> float | None:
        """None: the sensor that is fitted is silent."""


class Supply(Protocol):
    def volts(self) -> tuple[float, ...]:
        """RMS volts of the phases that the board measures, L1 first; one at least."""


class Indicator(Protocol):
    def show(self, lamp: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Outlet:
    """The devices of one outlet: one pilot, one contactor; None is not fitted, as proximity and lock on a fixed cable.

    `second` lies in series with `contactor` and passes L2 and L3 on; it is switched only while `contactor` is open.
    """

    pilot: Pilot
    contactor: Contactor
    inputs: Inputs
    second: Contactor | None = None
    relay: PilotRelay | None = None
    proximity: Proximity | None = None
    lock: Lock | None = None
    residual: ResidualCurrent | None = None
    indicator: Indicator | None = None
    plug_sensor: Thermometer | None = None  # at the contacts of socket or plug
    cabinet_sensor: Thermometer | None = None
    supply: Supply | None = None


class Board(Protocol):
    """All outlets of one board, in rank order (outlet 1 is `outlets[0]`)."""

    @property
    def outlets(self) -> Sequence[Outlet]: ...

    @property
    def hold(self) -> float | None:
        """Seconds between two exchanges through which the hardware surely keeps what was commanded.

        After a longer pause it may have opened the contactors. None: it never does, and this board says so.
        """

    @property
    def opens_at_once(self) -> bool:
        """Contactors open with the call: a period earlier than with the next exchange."""

    def exchange(self) -> None:
        """Once a cycle: carry out what was commanded since the last call, then take one new sample of every input."""

    def close(self) -> None:
        """Leave everything safe: contactors open, pilots X1 and connected."""


# ---------------------------------------------------------------- the daemon's devices


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One reading. `energy` is the import register in Wh; `at` is monotonic seconds of the moment it was taken.

    `serial`: the meter's own number, where it tells it.
    """

    at: float
    energy: float
    power: float | None = None
    amps: PerPhase | None = None
    volts: PerPhase | None = None
    frequency: float | None = None
    export: float | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class MeterKind:
    """What a kind of meter can tell: `gives` names fields of MeterReading.

    `wraps_at`: Wh at which its import register begins anew; None: in no lifetime.
    """

    name: str
    gives: frozenset[str] = frozenset({"energy", "power", "amps", "volts", "frequency", "export"})
    wraps_at: float | None = None


class Meter(Protocol):
    @property
    def kind(self) -> MeterKind: ...
    async def read(self) -> MeterReading: ...
    async def close(self) -> None: ...


class BayDetector(Protocol):
    async def occupied(self) -> bool:
        """Is the parking bay of the outlet taken?"""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Card:
    """One tap. `uid` is upper-case hex, first byte on the wire first; `kind` an idToken type of OCPP 2.x."""

    uid: str
    kind: str = "ISO14443"


class CardReader(Protocol):
    async def next(self) -> Card | None:
        """The next tap; one tap is one tap however long the card is held.

        `CardRefused`: a card was held that cannot be used. Any other DeviceError: the reader does not work, ask again;
        None: it works again.
        """

    def answered(self, accepted: bool) -> None:
        """Show this to whoever holds the card still, where the reader can; returns at once and never raises."""

    async def close(self) -> None: ...
