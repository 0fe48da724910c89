"""The only words between daemon and guard, and how they travel.

One Unix SEQPACKET socket, one daemon at a time, checked by uid; one JSON object a packet, at most 512 bytes.
The daemon never switches power: it holds a `Permit` that runs out by itself. The guard answers with numbered
`Event`s (kept: the last 256) and with `Truth`, at 1 Hz and whenever it changes. Link versions N and N-1 are spoken: of
two that are one apart, both speak the older (`common`); further apart, there are no leases.

Faults go by the names of `chargerd.faults`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from math import isfinite
from typing import Any, ClassVar

LINK_VERSION = 2
MAX_PACKET = 512
KEPT_EVENTS = 256
VALID_MIN, VALID_MAX, VALID_DEFAULT = 10.0, 300.0, 60.0
MISMATCH = "GuardMismatch"  # the fault of a daemon that the guard does not let in: versions further apart, another user
DAEMON_LOST = "DaemonLost"  # the fault that only those see who look from outside: no daemon to be told of it


class Mode(StrEnum):
    BASIC = "basic"
    DIGITAL = "digital"  # 5 % duty, ISO 15118
    UNAVAILABLE = "unavailable"  # state F


class Kind(StrEnum):
    """What an `Event` can say. `detail` is given in brackets."""

    CABLE_IN = "cable-in"  # [amps the cable may carry, 0 for an unknown coding; nothing when tethered]
    CABLE_OUT = "cable-out"
    VEHICLE_IN = "vehicle-in"  # plug is the new number
    VEHICLE_OUT = "vehicle-out"  # plug is the number that ended
    VEHICLE_READY = "vehicle-ready"  # pilot C or D: it asks for power
    VEHICLE_NOT_READY = "vehicle-not-ready"  # back to B
    POWER_ON = "power-on"  # contactor proven closed
    POWER_OFF = (
        "power-off"  # [why: fault name, unplugged, vehicle-not-ready, stopped, forced, guard-paused] proven open
    )
    FAULT = "fault"  # [fault name]
    FAULT_CLEARED = "fault-cleared"  # [fault name]
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    LEASE_ENDED = "lease-ended"  # the permit ran out without the daemon saying so


# ---- daemon -> guard


@dataclass(frozen=True, slots=True)
class Hello:
    version: int
    build: str
    tag: ClassVar[str] = "hello"


@dataclass(frozen=True, slots=True)
class Permit:
    """`amps` below 6 means: paused (X1). `plug` must be the vehicle that is there now. Absent permit = 0 A.

    `phases` are 1 or 3: those that are wired, or either where a second contactor is fitted (`Notes.switching`).
    """

    outlet: int
    plug: int
    amps: float
    phases: int = 3
    mode: Mode = Mode.BASIC
    valid_for: float = VALID_DEFAULT
    tag: ClassVar[str] = "permit"


@dataclass(frozen=True, slots=True)
class Lock:
    """A wish: the guard never releases while the contactor is closed, and engages before it closes."""

    outlet: int
    locked: bool
    tag: ClassVar[str] = "lock"


@dataclass(frozen=True, slots=True)
class Measured:
    """A meter reading passed on for the second layer of checks; `age` in seconds."""

    outlet: int
    amps: tuple[float, float, float] | None
    volts: tuple[float, float, float] | None
    watts: float | None
    age: float
    tag: ClassVar[str] = "measured"


@dataclass(frozen=True, slots=True)
class Indicate:
    outlet: int
    lamp: str
    tag: ClassVar[str] = "indicate"


@dataclass(frozen=True, slots=True)
class ClearFault:
    outlet: int
    fault: str
    who: str
    tag: ClassVar[str] = "clear-fault"


@dataclass(frozen=True, slots=True)
class Service:
    """`step` is one of lock, unlock, self-test; only with no vehicle, or as a confirmed technician step."""

    outlet: int
    step: str
    confirmed: bool = False
    tag: ClassVar[str] = "service"


@dataclass(frozen=True, slots=True)
class Replay:
    """Send the kept events numbered above `after` of this epoch, then go on live."""

    epoch: int
    after: int
    tag: ClassVar[str] = "replay"


@dataclass(frozen=True, slots=True)
class Leave:
    """A newer guard is installed: end as soon as no vehicle is connected, to be started again."""

    tag: ClassVar[str] = "leave"


# ---- guard -> daemon


@dataclass(frozen=True, slots=True)
class Welcome:
    """`epoch` is new at each guard start; `last` is the newest event number; `outlets` how many there are."""

    version: int
    build: str
    epoch: int
    last: int
    outlets: int
    tag: ClassVar[str] = "welcome"


@dataclass(frozen=True, slots=True)
class Event:
    """`at` is CLOCK_MONOTONIC seconds; `plug` 0 where no vehicle is meant."""

    seq: int
    at: float
    outlet: int
    kind: Kind
    plug: int = 0
    detail: str = ""
    tag: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class Gap:
    """Events up to `until` are no longer kept, or belong to another epoch: treat every plug as new."""

    until: int
    tag: ClassVar[str] = "gap"


@dataclass(frozen=True, slots=True)
class Truth:
    """What one outlet is now. `pilot` A..F, "" before it is known; `offered` amperes on the pilot (0 = X1).

    `limit` says what bounds the offer: lease, board, cable, temperature, shedding, or what keeps it at 0: fault, evse,
    pause, self-test, lock, wake-up, phases, digital, unavailable. `metered`: readings are fresh enough for the
    over-current check.
    """

    outlet: int
    at: float
    pilot: str
    plug: int
    cable: bool
    cable_amps: float
    offered: float
    closed: bool
    locked: bool
    faults: tuple[str, ...] = ()
    limit: str = ""
    lease: float = 0.0
    celsius: float | None = None
    metered: bool = False
    tag: ClassVar[str] = "truth"


@dataclass(frozen=True, slots=True)
class Notes:
    """What there is to know beside the truth of an outlet, since link version 2; with each truth.

    `phases` reach the vehicle when the contactor closes; `switching`: one can, and three. `warnings` stop nothing.
    """

    outlet: int
    phases: int
    switching: bool
    warnings: tuple[str, ...] = ()
    tag: ClassVar[str] = "notes"


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the guard keeps its time, since link version 2; every 5 s. Times in seconds, each as p50, p99 and worst.

    Of the last minute or two: how far periods are off (`jitter`), how `late` turns begin, the board's `exchange`, the
    whole `turn`.
    Since the start: `ever` (late), and of the `opened` times that a vehicle left C: `command` and `mirror`, from the
    first such sample to the command, and to the contact that shows the contactor open. `missed` turns; `pauses` in
    which the hardware let go; `cpu` of a core; `memory` resident, bytes; `modules` loaded, `grown` of them since READY.
    """

    at: float
    up: float
    turns: int
    missed: int
    pauses: int
    jitter: tuple[float, float, float] | None
    late: tuple[float, float, float] | None
    ever: tuple[float, float, float] | None
    exchange: tuple[float, float, float] | None
    turn: tuple[float, float, float] | None
    opened: int
    command: tuple[float, float, float] | None
    mirror: tuple[float, float, float] | None
    cpu: float
    memory: int
    fifo: bool
    locked: bool
    modules: int
    grown: int
    tag: ClassVar[str] = "vitals"


@dataclass(frozen=True, slots=True)
class Refused:
    what: str
    why: str
    tag: ClassVar[str] = "refused"


ToGuard = Hello | Permit | Lock | Measured | Indicate | ClearFault | Service | Replay | Leave
ToDaemon = Welcome | Event | Gap | Truth | Notes | Vitals | Refused
Word = ToGuard | ToDaemon


def common(ours: int, theirs: int) -> int | None:
    """The link version that both sides speak; None: there is none."""
    return min(ours, theirs) if theirs >= 1 and abs(ours - theirs) <= 1 else None


class BadPacket(ValueError):
    """The packet is not one of our words; the sender is told `Refused` and nothing else happens."""


_WORDS: dict[str, Any] = {w.tag: w for w in (*ToGuard.__args__, *ToDaemon.__args__)}
_MEMBERS = {tag: tuple((f.name, str(f.type)) for f in fields(word)) for tag, word in _WORDS.items()}


def encode(word: Word) -> bytes:
    """One packet. Raises BadPacket when it would not fit."""
    body = {"t": word.tag, **{name: getattr(word, name) for name, _ in _MEMBERS[word.tag]}}
    raw = json.dumps(body, separators=(",", ":")).encode()
    if len(raw) > MAX_PACKET:
        raise BadPacket(f"{word.tag}: {len(raw)} bytes, at most {MAX_PACKET}")
    return raw


def decode(raw: bytes) -> Word:
    """The word in a packet; raises BadPacket on anything else. Unknown members are ignored (link version N+1)."""
    if len(raw) > MAX_PACKET:
        raise BadPacket(f"{len(raw)} bytes, at most {MAX_PACKET}")
    try:
        body = json.loads(raw)
        word = _WORDS[body["t"]]
        values = {name: _typed(name, hint, body[name]) for name, hint in _MEMBERS[word.tag] if name in body}
        made: Word = word(**values)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
        raise BadPacket(f"not one of our words: {type(e).__name__} {e}"[:120]) from None
    return made


def _typed(name: str, hint: str, value: Any) -> Any:
    """`value` as the annotation `hint` (a string: annotations are postponed) demands, or ValueError."""
    match hint:
        case "int" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "float" if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
        case "bool" | "str" if type(value).__name__ == hint:
            return value
        case "float | None":
            return None if value is None else _typed(name, "float", value)
        case "tuple[float, float, float] | None" if value is None or (isinstance(value, list) and len(value) == 3):
            return None if value is None else tuple(_typed(name, "float", v) for v in value)
        case "tuple[str, ...]" if isinstance(value, list):
            return tuple(_typed(name, "str", v) for v in value)
        case "Mode":
            return Mode(value)
        case "Kind":
            return Kind(value)
    raise ValueError(f"{name} is not {hint}")
