"""What has happened, in neutral words: the facts from which all protocol versions are projected.

A record is true for ever: it carries the moment it became true and is written down before anybody is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chargerd.core.moment import Moment
from chargerd.core.token import Token
from hal.api import MeterReading


class Cause(StrEnum):
    """Why a transaction record exists. Where two causes fall together, two records are made."""

    PLUGGED = "plugged"
    AUTHORIZED = "authorized"
    REMOTE_START = "remote-start"
    CHARGING_STATE = "charging-state"
    PERIODIC = "periodic"  # sampled meter values
    CLOCK = "clock"  # clock-aligned meter values
    TRIGGER = "trigger"  # the backend asked for it
    STOP_AUTHORIZED = "stop-authorized"  # a second tap, or the same group
    REMOTE_STOP = "remote-stop"
    DEAUTHORIZED = "deauthorized"  # the backend's answer took it back
    VEHICLE_OUT = "vehicle-out"
    DETECTED = "detected"  # somebody parks in the bay
    DEPARTED = "departed"  # and has left it
    CONNECT_TIMEOUT = "connect-timeout"
    FAULT = "fault"
    POWER_LOSS = "power-loss"
    RESUMED = "resumed"  # after a power cut
    RETURNED = "returned"  # the program was away, and the power was not
    RESET = "reset"
    UNLOCK = "unlock"


class Reason(StrEnum):
    """Why a transaction ended; each dialect has its own word for it."""

    LOCAL = "local"
    REMOTE = "remote"
    VEHICLE_OUT = "vehicle-out"
    STOPPED_BY_VEHICLE = "stopped-by-vehicle"  # it takes no more energy, where that is the end
    DEAUTHORIZED = "deauthorized"
    TIMEOUT = "timeout"
    EMERGENCY_STOP = "emergency-stop"
    GROUND_FAULT = "ground-fault"
    OVERCURRENT = "overcurrent"
    POWER_LOSS = "power-loss"
    REBOOT = "reboot"  # the guard or the program restarted by itself
    SOFT_RESET = "soft-reset"
    HARD_RESET = "hard-reset"
    UNLOCK = "unlock"
    OTHER = "other"


class ChargingState(StrEnum):
    IDLE = "idle"
    CONNECTED = "connected"
    CHARGING = "charging"
    SUSPENDED_EV = "suspended-ev"
    SUSPENDED_EVSE = "suspended-evse"


class Edge(StrEnum):
    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One thing to tell about one transaction.

    `outlet` is None while the visit is not bound. `token` is set where this record tells a token (the one that
    started, joined or stopped); `reservation` is the number of the one that ended with the start. `reading` is the
    register now; on ENDED `begin` repeats the first one.
    """

    at: Moment
    tx: str
    edge: Edge
    cause: Cause
    outlet: int | None
    state: ChargingState
    token: Token | None = None
    group: str | None = None
    remote_id: int | None = None
    reservation: int | None = None
    reading: MeterReading | None = None
    begin: MeterReading | None = None
    reason: Reason | None = None
    started: Moment | None = None
    phases: int = 3


@dataclass(frozen=True, slots=True)
class Sampled:
    """Meter values on their own: clock-aligned outside a transaction, or asked for (`tx`: the one that runs)."""

    at: Moment
    outlet: int
    cause: Cause
    reading: MeterReading
    tx: str | None = None


@dataclass(frozen=True, slots=True)
class Faulted:
    """A fault came or went on an outlet (0: the station)."""

    at: Moment
    outlet: int
    name: str
    active: bool


@dataclass(frozen=True, slots=True)
class Security:
    """A security event (OCPP security events list); `critical` ones are queued durably."""

    at: Moment
    name: str
    info: str = ""
    critical: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """A closed transaction for the local history; `energy` Wh or None where no register was readable."""

    tx: str
    outlet: int | None
    token: str
    started: Moment
    ended: Moment
    begin_wh: float | None
    end_wh: float | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class LimitChanged:
    """What an outlet may give to its transaction has changed: amperes per phase on so many phases, and why."""

    at: Moment
    outlet: int
    tx: str
    amps: float
    phases: int
    source: str


Record = Transaction | Sampled | Faulted | Security | Session | LimitChanged
