"""What can happen to a station: everything that `station.step` accepts. Values only.

`outlet` is the outlet's rank (1…); `ask` is a handle that the shell gave the question, returned in `Answer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from chargerd.core.profiles import Profile, Purpose, Unit
from chargerd.core.token import Token, Verdict
from hal.api import MeterReading

# ---------------------------------------------------------------- the guard says


@dataclass(frozen=True, slots=True)
class CableIn:
    outlet: int
    amps: float


@dataclass(frozen=True, slots=True)
class CableOut:
    outlet: int


@dataclass(frozen=True, slots=True)
class VehicleIn:
    outlet: int
    plug: int


@dataclass(frozen=True, slots=True)
class VehicleOut:
    outlet: int
    plug: int


@dataclass(frozen=True, slots=True)
class VehicleReady:
    outlet: int
    plug: int
    ready: bool


@dataclass(frozen=True, slots=True)
class Power:
    """The contactor is proven closed or open."""

    outlet: int
    on: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """`outlet` 0: of the station as a whole."""

    outlet: int
    name: str
    active: bool


@dataclass(frozen=True, slots=True)
class OutletTruth:
    """The guard's picture of one outlet, at 1 Hz and on change; the first one after a start makes it known."""

    outlet: int
    plug: int
    cable: bool
    cable_amps: float
    ready: bool
    powered: bool
    locked: bool
    offered: float
    faults: tuple[str, ...]
    withheld: bool = False  # the guard offers nothing of what is permitted, for a while and for reasons of its own


@dataclass(frozen=True, slots=True)
class PhasesTold:
    """So many phases reach the vehicle; `switching`: the guard can make them one, or all that are wired."""

    outlet: int
    phases: int
    switching: bool


@dataclass(frozen=True, slots=True)
class GuardLost:
    """No guard on the lease socket: nothing is known of any outlet."""


# ---------------------------------------------------------------- the devices say


@dataclass(frozen=True, slots=True)
class TokenSeen:
    """A card was tapped at a reader of one EVSE, or of the whole station (`evse` None)."""

    token: Token
    evse: int | None = None


@dataclass(frozen=True, slots=True)
class CardUnusable:
    """A card was held at a reader of one EVSE, or of the whole station, that can identify nobody."""

    evse: int | None = None


@dataclass(frozen=True, slots=True)
class Metered:
    """A reading was taken; `asked`: it answers `ReadMeter`. `reading` None: the meter did not answer in time."""

    outlet: int
    reading: MeterReading | None
    asked: bool = False
    recalled: bool = False  # of an earlier run: it says nothing of the meter's health


@dataclass(frozen=True, slots=True)
class Bay:
    """The detector in the parking bay of an outlet sees a vehicle, or sees none any more."""

    outlet: int
    occupied: bool


# ---------------------------------------------------------------- the backend says


@dataclass(frozen=True, slots=True)
class LinkUp:
    """`anew`: the backend speaks another version than the one that accepted our boot, so it does not know us."""

    anew: bool = False


@dataclass(frozen=True, slots=True)
class LinkDown:
    pass


@dataclass(frozen=True, slots=True)
class SecurityNoticed:
    """A security event outside the station, by its name in 2.x (part 2 appendix 1); critical ones are told (A04)."""

    name: str
    info: str


class BootStatus(StrEnum):
    NONE = "none"  # nobody asked yet, or the question was lost
    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class BootAnswered:
    """`status` NONE: no usable answer. `interval` in seconds: heartbeat when accepted, else until the next try."""

    status: BootStatus
    interval: int = 0


@dataclass(frozen=True, slots=True)
class AuthorizeAnswered:
    """The answer to `AskAuthorize`; `verdict` None: refused with an error, timed out, or the link is gone."""

    ask: int
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class TransactionAnswered:
    """The CSMS answered a transaction message with a word about its token."""

    tx: str
    token: Token
    verdict: Verdict


class Scope(StrEnum):
    STATION = "station"
    EVSE = "evse"
    OUTLET = "outlet"


@dataclass(frozen=True, slots=True)
class RemoteStart:
    """`outlet` None: any of `evse`, or of the station. `local`: from the local command line, no authority is asked.

    `profile`: a sound TxProfile for the transaction that begins with it.
    """

    ask: int
    token: Token
    outlet: int | None = None
    remote_id: int | None = None
    group: str | None = None
    local: bool = False
    evse: int | None = None
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class RemoteStop:
    """`tx` None: a transaction that the dialect does not know. `local`: from the local command line."""

    ask: int
    tx: str | None
    local: bool = False


@dataclass(frozen=True, slots=True)
class UnlockAsked:
    """`stop`: a running transaction is ended first (1.6 §5.18); else it keeps the cable locked (F05.FR.02)."""

    ask: int
    outlet: int
    stop: bool = False


@dataclass(frozen=True, slots=True)
class AvailabilityAsked:
    """`number` is the EVSE or the outlet, 0 for the station.

    `every`: as 1.6 means it (§5.2, §4.9) - the station and each of its outlets; an outlet that is made operative does
    not stay behind a station that is not.
    """

    ask: int
    scope: Scope
    number: int
    operative: bool
    every: bool = False


class ResetKind(StrEnum):
    SOFT = "soft"  # 1.6: stop what runs, then restart the program
    HARD = "hard"  # 1.6: the same, then the operating system
    IMMEDIATE = "immediate"  # 2.x
    ON_IDLE = "on-idle"  # 2.x: when no transaction runs
    RESUME = "resume"  # 2.1: at once, and what runs goes on afterwards


@dataclass(frozen=True, slots=True)
class ResetAsked:
    """`evse` given: only this EVSE's transaction is ended and its outlets start anew (2.x, B11/B12).

    `local`: from the local command line.
    """

    ask: int
    kind: ResetKind
    evse: int | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class ClearCacheAsked:
    ask: int


@dataclass(frozen=True, slots=True)
class CachePut:
    """A technician's word about a token, as if the authority had said it."""

    token: Token
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ListSent:
    """The CSMS's local list as a whole (`full`), or changes to it: id → word, None takes it off the list."""

    ask: int
    version: int
    full: bool
    entries: tuple[tuple[str, Verdict | None], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReserveAsked:
    """`outlet` 0: any one; `expires` in unix seconds; `group`: whoever shares the reservation."""

    ask: int
    id: int
    token: Token
    outlet: int
    expires: float
    group: str | None = None


@dataclass(frozen=True, slots=True)
class CancelReservationAsked:
    ask: int
    id: int


class Triggered(StrEnum):
    BOOT = "boot"
    HEARTBEAT = "heartbeat"
    STATUS = "status"
    METER_VALUES = "meter-values"
    TRANSACTION = "transaction"  # 2.x TransactionEvent with trigger reason Trigger


@dataclass(frozen=True, slots=True)
class TriggerAsked:
    """`outlet` None: every outlet. The answer leaves before the message that was asked for (F06.FR.04, 1.6 §5.17)."""

    ask: int
    what: Triggered
    outlet: int | None = None


@dataclass(frozen=True, slots=True)
class SetAsked:
    """Values accepted by `variables.check`: internal name → text. Applied and persisted together."""

    ask: int
    values: tuple[tuple[str, str], ...] = field(repr=False)  # a password may be among them (A01.FR.12)


@dataclass(frozen=True, slots=True)
class ProfileSet:
    """`place` is the outlet, 0 the station; it need not exist. A TxProfile without `tx` is for what runs there."""

    ask: int
    place: int
    profile: Profile


@dataclass(frozen=True, slots=True)
class ProfilesCleared:
    """By its id, or all that fit what is given (`profiles.cleared`)."""

    ask: int
    id: int | None = None
    place: int | None = None
    purpose: Purpose | None = None
    level: int | None = None


@dataclass(frozen=True, slots=True)
class CompositeAsked:
    """What the limits of an outlet, or of the station (0), come to for `duration` s; `unit` None: ours to choose."""

    ask: int
    place: int
    duration: int
    unit: Unit | None = None


# ---------------------------------------------------------------- the technician, the system and time say


@dataclass(frozen=True, slots=True)
class CardsChanged:
    """The local cards as they are now: (id, group or None)."""

    cards: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class PowerRestored:
    """First event after loading. `rebooted`: another OS boot than the one that wrote the state.

    `away`: seconds since anything was written before, None: nobody can say. `reboots`: whoever started this reboots the
    computer after a hard reset, so one without another boot has failed.
    """

    rebooted: bool
    away: float | None = None
    reboots: bool = False


@dataclass(frozen=True, slots=True)
class Storage:
    """The store works, or does not: then what runs goes on, and nothing new starts.

    `unwritten`: transactions whose begin is not on the disk, either.
    """

    works: bool
    unwritten: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stop:
    """Orderly shutdown of the program: nothing new starts; what runs goes on by its lease until we are back."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Time has come: `now` reached `wake_at`."""


Event = (
    CableIn | CableOut | VehicleIn | VehicleOut | VehicleReady | Power | Fault | OutletTruth | PhasesTold | GuardLost
    | TokenSeen | CardUnusable | Metered | Bay
    | LinkUp | LinkDown | BootAnswered | AuthorizeAnswered | TransactionAnswered
    | RemoteStart | RemoteStop | UnlockAsked | AvailabilityAsked | ResetAsked
    | ClearCacheAsked | CachePut | ListSent | ReserveAsked | CancelReservationAsked | TriggerAsked | SetAsked
    | ProfileSet | ProfilesCleared | CompositeAsked
    | SecurityNoticed | CardsChanged | PowerRestored | Storage | Stop | Wake
)  # fmt: skip
