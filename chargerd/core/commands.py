"""What the station wants done. The shell carries these out; it waits for the commit where `waits` says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chargerd.core.events import ResetKind
from chargerd.core.profiles import Unit
from chargerd.core.token import Token


@dataclass(frozen=True, slots=True)
class SetPermit:
    """What the outlet may have from now on: renewed every second by the shell until the next one. 0 A: stop now.

    A rise waits for the commit; a reduction or a stop acts at once.
    """

    outlet: int
    plug: int
    amps: float
    phases: int
    available: bool = True  # False: pilot state F


@dataclass(frozen=True, slots=True)
class WishLock:
    outlet: int
    locked: bool


class Lamp(StrEnum):
    """What the driver sees; `chargerd.faults` has the fault lamps, which go first."""

    READY = "ready"
    OFFLINE_READY = "offline-ready"
    WAITING = "waiting"  # for the vehicle, the card, or the backend's word
    CHARGING = "charging"
    PAUSED = "paused"
    FINISHED = "finished"
    REFUSED = "refused"  # shown for a moment
    RESERVED = "reserved"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Show:
    outlet: int
    lamp: Lamp


@dataclass(frozen=True, slots=True)
class AnswerTap:
    """What became of this card: for the reader at which it is held still."""

    token: Token
    accepted: bool


@dataclass(frozen=True, slots=True)
class ReadMeter:
    """Take a fresh reading; `Metered(asked=True)` follows within 2 s."""

    outlet: int


@dataclass(frozen=True, slots=True)
class AskAuthorize:
    """`AuthorizeAnswered(ask)` follows, whatever happens."""

    ask: int
    token: Token


class BootCause(StrEnum):
    POWER_UP = "power-up"
    SOFT_RESET = "soft-reset"
    HARD_RESET = "hard-reset"
    SCHEDULED_RESET = "scheduled-reset"  # asked for, and carried out once idle
    LOCAL_RESET = "local-reset"
    TRIGGERED = "triggered"
    WATCHDOG = "watchdog"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SendBoot:
    """`BootAnswered` follows, whatever happens."""

    cause: BootCause


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    pass


@dataclass(frozen=True, slots=True)
class SendStatus:
    """Tell the status of this outlet (None: all, and the station itself in 1.6) even if it was told before."""

    outlet: int | None = None


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SCHEDULED = "scheduled"
    UNLOCKED = "unlocked"
    UNLOCK_FAILED = "unlock-failed"
    ONGOING_TRANSACTION = "ongoing-transaction"
    UNKNOWN_OUTLET = "unknown-outlet"
    NOT_SUPPORTED = "not-supported"
    FAILED = "failed"
    VERSION_MISMATCH = "version-mismatch"
    FAULTED = "faulted"
    OCCUPIED = "occupied"
    UNAVAILABLE = "unavailable"
    NOT_IMPLEMENTED = "not-implemented"


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite schedule: from unix second `start` for `duration` s, periods as (second, limit, phases).

    Limits are amperes per phase or watts of all phases, with one decimal, rounded down.
    """

    start: int
    duration: int
    unit: Unit
    periods: tuple[tuple[int, float, int], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the question `ask`. `tx`: the transaction already running.

    `lasting`: it promises what must be on the disk, so it waits for the commit of its step.
    """

    ask: int
    outcome: Outcome
    tx: str | None = None
    why: str = ""
    lasting: bool = True
    composite: Composite | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """Nothing runs any more: leave the process once that is written down, or the disk has had its time."""

    kind: ResetKind


Command = (
    SetPermit | WishLock | Show | AnswerTap | ReadMeter
    | AskAuthorize | SendBoot | SendHeartbeat | SendStatus | Answer | Restart
)  # fmt: skip
