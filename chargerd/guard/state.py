"""The values that one turn of the guard works on: what was sampled, what is known, what is put out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import NamedTuple

from chargerd.guard.lease import Kind, Measured, Permit
from chargerd.guard.pilot import X1, Level

GRAIN = 1e-6  # s, of times that are compared
SWING = 0.2  # s, what a contactor may take to obey, and its mirror contact to show it
Said = tuple[Kind, int, str]
"""An event before it is numbered: kind, plug, detail."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Every input of one outlet at one instant; None: not fitted, and of a temperature also that its sensor is silent.

    `second`: the mirror contact of the second contactor.
    """

    high: float
    low: float
    duty: float
    ohms: float | None
    closed: bool
    locked: bool | None
    tripped: bool
    test_passed: bool | None
    emergency: bool
    pen: bool = False
    shed: bool = False
    second: bool | None = None
    plug: float | None = None
    cabinet: float | None = None
    volts: tuple[float, ...] | None = None
    late: bool = False  # the guard itself: pauses in which the hardware lets go come too often
    slow: bool = False  # ... and: a turn takes too long to keep the period


@dataclass(frozen=True, slots=True)
class Outputs:
    """Commands of one turn. `drive` as in `pilot`; `lock` True engages, False releases, None leaves the motor alone."""

    drive: float = X1
    coil: bool = False
    lock: bool | None = None
    start_test: bool = False
    lamp: str = ""
    second: bool = False
    disconnect: bool = False


class Doubt(NamedTuple):
    """Evidence in seconds that something is wrong: `level` at that time, from then on changing by `slope` a second."""

    level: float
    at: float
    slope: float


class Test(Enum):
    """The residual-current self-test belongs to one vehicle."""

    DUE = "due"
    STARTED = "started"  # the last result may still be shown
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


@dataclass
class State:
    """All that one outlet remembers. `rules` never alters the one it is given; times are monotonic seconds."""

    began: float
    # pilot
    raw: Level | None = None  # the last defined sample ...
    raw_since: float = 0.0  # ... and since when it has been that
    steady: int = 0  # equal samples in a row
    seen: Level | None = None  # two in a row
    known_at: float = 0.0  # a level that tells of a vehicle was last seen
    odd: int = 0  # grows with samples that do not ask for power, shrinks slower with those that do
    asking_since: float = inf
    asked_at: float = -inf  # the last sample that asked
    # presence
    plug: int = 0
    ready: bool = False
    cable: float | None = None
    cable_raw: float | None = None
    cable_since: float = 0.0
    # the daemon's words
    permit: Permit | None = None
    until: float = 0.0
    wish: bool | None = None
    lamp: str = ""
    measured: Measured | None = None
    measured_at: float = 0.0
    measured_before: float = 0.0  # amperes, the highest of the reading before
    # pilot generator
    drive: float = X1
    drive_at: float = 0.0
    before: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the reading when the drive last changed
    pwm_since: float = inf
    paused_at: float = -inf  # an offer to this vehicle was last taken away
    answered: bool = False  # C was seen since the oscillator started
    offered: float = 0.0
    limit: str = ""
    offers: tuple[tuple[float, float], ...] = ()  # when it ended to be offered, amperes
    woken: bool = False  # in this offer ...
    wakes: int = 0  # ... and how often this vehicle
    wake_at: float | None = None
    cut: bool = False  # the relay has taken the pilot from the vehicle
    cut_at: float = -inf  # it was last moved
    # contactor
    coil: bool = False
    coil_at: float = 0.0
    served: bool = True  # the contactor was closed for this vehicle, or may have been before the guard began
    power: bool = False  # told on and not yet off
    why: str = ""
    stop_at: float | None = None  # X1 commanded with the contactor closed ...
    stopped: float = 0.0  # ... and how long it was before, since an offer has stood for a while
    # phases
    phases: int = 1  # 3: the second contactor is to be closed
    phases_at: float = -inf
    chosen: bool = False  # phases were chosen for this vehicle
    moves: int = 0  # of the second contactor since then
    courted: bool = False  # this vehicle has been offered current
    pause_until: float = -inf  # its pause after phases were switched
    # protection
    cool: dict[str, float] = field(default_factory=dict)  # sensor: amperes that it leaves
    shed_until: float = -inf
    diode: int = 0
    test: Test = Test.DUE
    test_at: float = 0.0
    locked: bool | None = None
    lock_goal: bool | None = None
    lock_at: float = -inf
    lock_tries: int = 0
    lock_failed: bool | None = None  # the goal that was given up
    warnings: frozenset[str] = frozenset()
    faults: dict[str, int] = field(default_factory=dict)  # name: plug at which it was raised
    doubt: dict[str, Doubt] = field(default_factory=dict)  # of what is no fault yet
    since: dict[str, float] = field(default_factory=dict)  # faults whose cause is gone: since when
    pardoned: tuple[str, ...] = ()

    def copy(self) -> State:
        """Another one to alter. Fifty times a second, so not by `replace`, which takes ten times as long."""
        made = object.__new__(State)
        made.__dict__.update(self.__dict__)
        return made
