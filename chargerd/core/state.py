"""What a station is: the values that `station.step` turns into the next ones.

Three intervals, never merged: a *visit* (from the first sign of a driver or vehicle until all signs are gone), an
*authorisation*, a *transaction*. `Live` is told anew by the guard after every start and is not persisted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType

from chargerd.core.commands import BootCause, Lamp
from chargerd.core.events import BootStatus, ResetKind
from chargerd.core.moment import Moment
from chargerd.core.profiles import NONE, Profile, Profiles
from chargerd.core.records import Cause, ChargingState, Reason
from chargerd.core.token import Token, Verdict
from chargerd.core.variables import Variables
from hal.api import MeterReading


class Switching(StrEnum):
    NEVER = "never"
    PROFILE = "profile"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class OutletSite:
    """What was installed: rank (1.6 connectorId), EVSE and connector number (2.x), fuse amps, phases.

    `least`: amperes below which the vehicles that come here do not charge; `begin`: below which they do not begin.
    `switching`: the phases can be reduced to one - never, where a profile names one phase, or also where a limit in
    watts is too low for three.
    """

    rank: int
    evse: int
    connector: int
    amps: float
    phases: int = 3
    tethered: bool = False
    metered: bool = True
    bay: bool = False  # a detector tells whether its parking bay is taken
    least: float = 6.0
    begin: float = 6.0
    switching: Switching = Switching.NEVER


@dataclass(frozen=True, slots=True)
class TxWindow:
    """Where a transaction begins and ends: it starts when a start point becomes true, ends when a stop point falls.

    Points are the words of OCPP 2.x (TxStartPoint, TxStopPoint).
    """

    start: frozenset[str]
    stop: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the installer says where the specification leaves it open.

    `volts` count for limits in watts (K01.FR.50). `without`: most amperes for a transaction that no profile of its own
    limits; `offline`: most after `offline_after` s without a link. `unknown`: while the time is not known profiles that
    go by it count with their lowest limit. A vehicle's phases are switched at most `switches` times, `switch_rest` s
    apart.
    """

    volts: float = 230.0
    without: float = inf
    offline: float = inf
    offline_after: float = 300.0
    unknown: bool = True
    switches: int = 10
    switch_rest: float = 300.0


@dataclass(frozen=True, slots=True)
class Site:
    """`max_amps` bounds the sum over outlets per phase. `window` None: the variables decide (2.x).

    `waits`: after the history was lost nothing begins until a technician has cleared that fault.
    `allow_unmetered`: the operator lets a session start although its meter gives no register.
    """

    outlets: tuple[OutletSite, ...]
    max_amps: float
    backend: bool = True
    free: bool = False  # without a backend: nobody is asked
    allow_unmetered: bool = False
    window: TxWindow | None = None
    waits: bool = False
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class Authorisation:
    """`remote_id` is the backend's number of the start request; `remote` that it came from there at all.

    `profile`: a TxProfile that waits for the transaction to begin.
    """

    token: Token
    at: Moment
    group: str | None = None
    remote: bool = False
    remote_id: int | None = None
    offline: bool = False  # granted without asking the authority
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class Stopping:
    """The transaction is to end: power goes off first, then the last register is read."""

    reason: Reason
    cause: Cause
    since: Moment
    token: Token | None = None  # the one that stopped it
    reading_by: float | None = None  # monotonic; set once power is off and the last reading was asked for


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction from its start point on. `told` once STARTED was recorded, which waits for the first register."""

    uid: str
    started: Moment
    cause: Cause
    told: bool = False
    reading_by: float | None = None  # monotonic; the first register was asked for
    begin: MeterReading | None = None
    token: Token | None = None  # as told
    state: ChargingState = ChargingState.IDLE  # as told
    unwritten: bool = False  # the disk has failed to take its begin: no energy flows before it has
    stopping: Stopping | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """`plug` is the vehicle it is about (0: none yet). `points` are the transaction points that hold now.

    `evse`: in the lobby, the only EVSE whose cables may take it (None: any).
    """

    opened: Moment
    evse: int | None = None
    plug: int = 0
    auth: Authorisation | None = None
    connect_by: float | None = None  # monotonic: connection timeout
    points: frozenset[str] = frozenset()
    tx: Tx | None = None
    finished: bool = False  # a transaction of this visit has ended, and no vehicle has come since
    doubtful: bool = False  # it has ended, and a vehicle is there: another, or the same after the guard was away
    last: Token | None = None  # whose transaction that was
    parted: bool = False  # the vehicle left the transaction, which went on without it or ended for that
    recalled: bool = False  # from before the power went: its vehicle has yet to be seen again
    held: Token | None = None  # the cable stays locked until this token comes back
    barred_at: float | None = None  # Wh; the authority said no, and the transaction goes on without energy from here


@dataclass(frozen=True, slots=True)
class Unlocking:
    """A question that waits for the lock; "not locked" is its word from `word_at` on; `by`: until then."""

    ask: int
    word_at: float
    by: float


@dataclass(frozen=True, slots=True)
class Manners:
    """What the vehicle of this plug has shown of itself, and what was done with its phases.

    `phases`: those seen carrying current, from 1 on; all that it uses once `surely`. `sated`: it was offered power and
    took none.
    """

    plug: int = 0
    phases: frozenset[int] = frozenset()
    since: float | None = None  # monotonic; current has flowed without a break
    surely: bool = False
    sated: bool = False
    switches: int = 0
    switched_at: float | None = None  # monotonic


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of an outlet at this moment; `known` after the guard's first word."""

    known: bool = False
    plug: int = 0
    cable: bool = False
    cable_amps: float = 0.0
    ready: bool = False
    powered: bool = False
    still_since: float | None = None  # monotonic; the contactor is closed and the vehicle was seen taking nothing
    resting: bool = False  # and that for so long that it has paused
    locked: bool = False
    offered: float = 0.0
    withheld: bool = False  # the guard offers nothing of what is permitted: heat, load shedding, phases that switch
    faults: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()  # those of them that the guard has had no time yet to find anew
    sure_at: float = 0.0  # monotonic; from then on it has
    bay: bool | None = None  # its parking bay is taken; None: no detector has spoken yet
    reading: MeterReading | None = None
    read: bool = False  # the meter has answered since the start
    next_sample: float | None = None  # monotonic; of the running transaction
    settling_until: float | None = None  # monotonic; power was just offered or went off: the last word stands
    permit: tuple[int, float, int, bool] | None = None  # plug, amps, phases, available: as last commanded
    ebb: tuple[float, float] | None = None  # amperes that the vehicle may still take, until then (monotonic)
    switching: bool = False  # the guard can make its phases one, or all that are wired
    phases: int | None = None  # that reach the vehicle, where the guard says so
    limit: tuple[float, int, str] | None = None  # amperes, phases, source: as last told of the transaction
    manners: Manners = Manners()
    lock: bool | None = None  # as last wished
    lamp: Lamp | None = None
    refused_until: float | None = None
    unlock: Unlocking | None = None


@dataclass(frozen=True, slots=True)
class Outlet:
    site: OutletSite
    live: Live = Live()
    visit: Visit | None = None
    operative: bool = True
    reported: frozenset[str] = frozenset()  # faults that records tell of, and not yet of their end


@dataclass(frozen=True, slots=True)
class Boot:
    status: BootStatus = BootStatus.NONE
    cause: BootCause = BootCause.POWER_UP
    next_try: float | None = None  # monotonic
    asked: bool = False
    heartbeat_at: float | None = None  # monotonic


@dataclass(frozen=True, slots=True)
class Reservation:
    """An outlet (0: any) kept for a token, or for whoever is in its `group`; `expires` in unix seconds."""

    id: int
    token: Token
    outlet: int
    expires: float
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An authorisation question on its way: who, where, and what the answer is for.

    `plug`: the vehicle that stood there when it was asked; the answer is for this one and no other.
    `sure`: the group is somebody's word by now, and not only not known yet.
    """

    token: Token
    evse: int | None
    outlet: int | None = None  # a remote start's choice, or where the vehicle waits
    plug: int = 0
    group: str | None = None  # as a remote start names it
    remote_id: int | None = None
    remote: bool = False
    sure: bool = False
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class Resetting:
    """A reset that was asked for and waits until nothing runs; `local`: by the technician."""

    kind: ResetKind
    local: bool = False


@dataclass(frozen=True, slots=True)
class Station:
    site: Site
    outlets: tuple[Outlet, ...]
    variables: Variables
    lobby: Visit | None = None
    online: bool = False
    offline_since: float | None = None  # monotonic
    profiles: Profiles = field(default_factory=lambda: NONE)
    boot: Boot = Boot()
    operative: bool = True
    shut: frozenset[int] = frozenset()  # EVSEs that were set out of service as such (G03)
    cards: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))  # casefolded id → group
    cache: Mapping[str, Verdict] = field(
        default_factory=lambda: MappingProxyType({})
    )  # casefolded id → verdict, oldest first
    local_list: Mapping[str, Verdict] = field(default_factory=lambda: MappingProxyType({}))  # casefolded id → word
    list_version: int = 0  # as the CSMS counts it
    reservations: Mapping[int, Reservation] = field(default_factory=lambda: MappingProxyType({}))  # by their number
    asks: Mapping[int, Asked] = field(default_factory=lambda: MappingProxyType({}))
    next_ask: int = 1
    aligned_at: float | None = None  # wall seconds of the next clock-aligned sample
    reset: Resetting | None = None
    resets: frozenset[int] = frozenset()  # EVSEs that start anew once nothing runs there (B11, B12)
    next_boot: BootCause | None = None  # why the next start will have happened
    reset_tries: int = 0  # hard resets since the one that was asked for, after which the computer had not rebooted
    stopped: bool = False
    faults: frozenset[str] = frozenset()  # of the station as a whole; each outlet has its own in `live`
    reported: frozenset[str] = frozenset()  # those of them that records tell of, and not yet of their end

    def outlet(self, rank: int) -> Outlet:
        return self.outlets[rank - 1]

    def in_service(self, outlet: Outlet) -> bool:
        """Operative: the outlet itself, its EVSE and the station, each of which keeps its own word (G03.FR.07)."""
        return self.operative and outlet.site.evse not in self.shut and outlet.operative

    def siblings(self, rank: int) -> Iterator[Visit]:
        """Visits at the other connectors of the same EVSE, which one vehicle at a time may use (E01.FR.14)."""
        evse = self.outlet(rank).site.evse
        return (o.visit for o in self.outlets if o.site.evse == evse and o.site.rank != rank and o.visit is not None)

    @property
    def storage(self) -> bool:
        """Can what happens be written down?"""
        return "StorageFailure" not in self.faults

    @property
    def window(self) -> TxWindow:
        if self.site.window is not None:
            return self.site.window
        start, stop = (self.variables.get_list(name) for name in ("tx_start_points", "tx_stop_points"))
        return TxWindow(frozenset(start), frozenset(stop))
