"""One simulated outlet: pilot generator, contactor, lock, residual-current monitor, meter and what is plugged in.

Hardware holds what hardware holds: the coil is fed only while the guard is alive, the residual-current monitor has not
tripped and the emergency stop is out; without a live guard the pilot goes to X1.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from hal.api import MeterReading, PerPhase, PilotReading
from hal.sim import pilot
from hal.sim.contactor import Armature
from hal.sim.vehicle import NEVER, Car, Vehicle
from hal.sim.wire import X1, Command, F, Fitting, Sample

LOCK_TIME, TEST_TIME = 0.4, 0.7
HOT, PLUG_HOT, STRAY, KEPT = 85.0, 95.0, 6.0, 100

FAULTS = {
    "contactor-welded": "stays closed, from the next closing on if it is open now",
    "contactor-stuck-open": "does not close",
    "second-welded": "as contactor-welded, the contactor of L2 and L3",
    "second-stuck-open": "as contactor-stuck-open, the contactor of L2 and L3",
    "missing-diode": "the vehicle's diode is shorted",
    "pilot-short": "CP to PE (state E)",
    "pilot-driver-mismatch": "the generator puts out another duty or level than commanded",
    "pilot-stuck": "the measurement stays what it is now",
    "pilot-undefined": "7.5 V, between the bands of B and C",
    "proximity-fault": "50 ohms, no plug's coding",
    "proximity-change": "the coding of another cable",
    "residual-trip": "the monitor trips and opens the contactor by itself",
    "self-test-fails": "the next self-tests of the monitor fail",
    "lock-stuck": "the lock's motor runs, its pin stays",
    "lock-jammed": "the lock's feedback shows neither end",
    "over-temperature": "85 degrees in the cabinet",
    "plug-over-temperature": "95 degrees at the plug",
    "emergency-stop": "pressed: hardware opens the contactor",
    "pen-fault": "the device that watches the supply's PEN conductor says that it is broken",
    "load-shedding": "the contact of load shedding asks for less",
    "meter-silent": "the meter does not answer",
    "stray-current": "the meter shows 6 A more than flow, also through an open contactor",
    "relay-stuck": "the pilot's relay does not part the vehicle from it",
}


@dataclass(frozen=True, slots=True)
class SimOutlet:
    """`phases` wired to the outlet; the others as `Fitting` has them. Raises ValueError."""

    tethered: bool = False
    phases: int = 3
    switching: bool = False
    relay: bool = False

    def __post_init__(self) -> None:
        if self.phases not in (1, 2, 3):
            raise ValueError(f"phases: {self.phases}, must be 1, 2 or 3")

    @property
    def fitting(self) -> Fitting:
        return Fitting(self.tethered, self.switching, self.relay)


@dataclass(frozen=True, slots=True)
class Closing:
    """What was true at the moment the contactor closed; `safe` when all of it is as it must be."""

    at: float
    plugged: bool
    s2: bool
    diode: bool
    pwm: bool
    locked: bool
    tested: bool

    @property
    def safe(self) -> bool:
        return self.plugged and self.s2 and self.diode and self.pwm and self.locked and self.tested


@dataclass(slots=True)
class Connection:
    """One vehicle from plugging in to pulling out; energy in Wh."""

    began: float
    ended: float | None = None
    energy: float = 0.0


@dataclass(slots=True)
class Audit:
    """What happened at the contactor. Counters are of all time, the lists keep the last 100.

    `longest_unasked`: the longest time in seconds that the contactor was closed with no vehicle holding S2 closed.
    """

    closings: deque[Closing] = field(default_factory=lambda: deque(maxlen=KEPT))
    offences: deque[Closing] = field(default_factory=lambda: deque(maxlen=KEPT))  # closings that were not safe
    closed: int = 0
    unsafe: int = 0
    opened: int = 0
    opened_under_load: int = 0
    switched: int = 0  # movements of the second contactor ...
    switched_live: int = 0  # ... with the first one closed
    longest_unasked: float = 0.0
    connections: deque[Connection] = field(default_factory=lambda: deque(maxlen=KEPT))
    vehicles: int = 0


class PhysicalOutlet:
    """The state of one outlet; `World` moves it from event to event."""

    def __init__(self, setup: SimOutlet) -> None:
        self.setup = setup
        self.command = Command()
        self.faults: set[str] = set()
        self.car: Car | None = None
        self.cable_amps: int | None = None
        self.level: str | None = None
        self.main, self.second = Armature(), Armature()
        self.degrees: dict[str, float | None] = {"plug": 25.0, "cabinet": 25.0}
        self.bay_occupied = False
        self.energy = 0.0
        self.audit = Audit()
        self._alive = False
        self._pin = False
        self._pin_target = False
        self._pin_at = NEVER
        self._leaving = False
        self._passed: bool | None = None
        self._test_at = NEVER
        self._frozen: PilotReading | None = None
        self._unasked_since = NEVER

    @property
    def closed(self) -> bool:
        return self.main.closed

    # ---- what people do

    def plug(self, now: float, cable_amps: int, vehicle: Vehicle | None) -> None:
        """Cable into the socket (unless it hangs there) and, with a vehicle, into the vehicle."""
        if not self.setup.tethered and self.cable_amps is None:
            self.cable_amps = cable_amps
        self._leaving = False
        if vehicle is not None:
            self.car = Car(vehicle, now)
            self.audit.vehicles += 1
            self.audit.connections.append(Connection(now))

    def unplug(self, now: float, cable: bool) -> None:
        """Pull at the vehicle; with `cable` draw the plug from the socket too, as soon as the lock lets go."""
        if self.car is not None:
            self.audit.connections[-1].ended = now
            self.car = None
        self._leaving = cable and self.cable_amps is not None

    def fault(self, name: str, active: bool) -> None:
        """Raise or clear one of FAULTS."""
        if active and name not in self.faults:
            if name == "pilot-stuck":
                self._frozen = self.pilot()
            self.faults.add(name)
        elif not active:
            self.faults.discard(name)

    def obey(self, now: float, command: Command) -> None:
        """The guard's outputs of one cycle."""
        self.command = command
        if command.lock and not self.setup.tethered and (target := command.lock > 0) != self._pin_heading():
            self._pin_target, self._pin_at = target, now + LOCK_TIME
        if command.test and self._test_at == NEVER:
            self._passed, self._test_at = None, now + TEST_TIME

    # ---- physics

    def flow(self, since: float, until: float) -> None:
        if self.car is not None and self.closed:
            energy = self.car.flow(since, until)
            self.energy += energy
            self.audit.connections[-1].energy += energy

    def settle(self, now: float, alive: bool, volts: PerPhase) -> None:
        """Let everything due at `now` happen."""
        self._alive = alive
        self._move_pin(now)
        if now >= self._test_at:
            self._passed, self._test_at = "self-test-fails" not in self.faults, NEVER
        if self.car is not None:
            self.car.settle(now, self._seen_by_vehicle(), self._fed(volts), self.closed)
        if self._switch(now) and self.car is not None:
            self.car.settle(now, self._seen_by_vehicle(), self._fed(volts), self.closed)
        self._watch(now)

    def next_event(self, now: float) -> float:
        due = min(self.main.arrives, self.second.arrives, self._pin_at, self._test_at)
        return due if self.car is None else min(due, self.car.next_event(now))

    def generator(self) -> float:
        """What really leaves the generator: duty, X1 or F."""
        wanted = self.command.pilot if self._alive else X1
        if "pilot-driver-mismatch" not in self.faults:
            return wanted
        if wanted in (X1, F):
            return 0.3 if wanted == X1 else X1
        return wanted + 0.1 if wanted < 0.8 else wanted - 0.1

    def pilot(self) -> PilotReading:
        """Plateaus as measured, without noise."""
        if "pilot-stuck" in self.faults and self._frozen is not None:
            return self._frozen
        if self.level == "F" and not self._disconnected():
            return PilotReading(-pilot.RAIL, -pilot.RAIL, F)
        return pilot.reading(self.generator(), self._load(), self._diode())

    def ohms(self) -> float:
        """PP to PE; a tethered outlet has no such contact."""
        if "proximity-fault" in self.faults:
            return 50.0
        if self.cable_amps is None:
            return math.inf
        if "proximity-change" in self.faults:
            return pilot.CABLES[20 if self.cable_amps == 13 else 13]
        return pilot.CABLES[self.cable_amps]

    def blocked(self) -> bool:
        """Does the lock's pin keep a plug from going in?"""
        return self._pin and self.cable_amps is None

    def locked(self) -> bool | None:
        return None if self._pin_at != NEVER or "lock-jammed" in self.faults else self._pin

    def sample(self, noise: tuple[float, float], volts: PerPhase) -> Sample:
        """All inputs at this instant, with these volts of noise on the two plateaus, and of the mains."""
        seen, ohms = self.pilot(), self.ohms()
        return Sample(
            high=seen.high + noise[0],
            low=seen.low + noise[1],
            duty=seen.duty,
            ohms=None if ohms == math.inf else ohms,
            closed=self.closed,
            engaged=self.locked(),
            tripped="residual-trip" in self.faults,
            passed=self._passed,
            stop="emergency-stop" in self.faults,
            pen="pen-fault" in self.faults,
            shed="load-shedding" in self.faults,
            second=self.second.closed,
            plug=self.temperature("plug"),
            cabinet=self.temperature("cabinet"),
            volts=volts[: self.setup.phases],
        )

    def temperature(self, sensor: str) -> float | None:
        """Of `plug` or `cabinet`; None: it is silent."""
        fault, hot = ("plug-over-temperature", PLUG_HOT) if sensor == "plug" else ("over-temperature", HOT)
        return hot if fault in self.faults else self.degrees[sensor]

    def meter(self, now: float, volts: PerPhase, frequency: float) -> MeterReading:
        drawing = self.closed and self.car is not None
        amps = self.car.amps(now) if self.car is not None and drawing else (0.0, 0.0, 0.0)
        power = self.car.watts(now) if self.car is not None and drawing else 0.0
        if "stray-current" in self.faults:
            amps = (amps[0] + STRAY, amps[1], amps[2])
        return MeterReading(now, self.energy, power, amps, self._wired(volts), frequency, 0.0)

    # ---- inside

    def _load(self) -> float:
        if self._disconnected():
            return pilot.OPEN
        if self.level is not None:
            return pilot.LEVELS[self.level]
        if "pilot-short" in self.faults:
            return pilot.SHORT
        if "pilot-undefined" in self.faults:
            return pilot.UNDEFINED
        if self.car is None:
            return pilot.OPEN
        if not self.car.s2:
            return pilot.LOAD_B
        return pilot.LOAD_D if self.car.setup.ventilation else pilot.LOAD_C

    def _asked(self) -> bool:
        """Does somebody, be it a tester's box, hold S2 closed?"""
        return self.level in ("C", "D") if self.level is not None else self.car is not None and self.car.s2

    def _diode(self) -> bool:
        return "missing-diode" not in self.faults and (self.car is None or self.car.setup.diode)

    def _seen_by_vehicle(self) -> float:
        return F if "pilot-short" in self.faults or self._disconnected() else self.generator()

    def _disconnected(self) -> bool:
        return self.setup.relay and self.command.disconnect and self._alive and "relay-stuck" not in self.faults

    def _fed(self, volts: PerPhase) -> PerPhase:
        """What the vehicle would get."""
        one, two, three = self._wired(volts)
        return (one, 0.0, 0.0) if self.setup.switching and not self.second.closed else (one, two, three)

    def _wired(self, volts: PerPhase) -> PerPhase:
        one, two, three = (v if p < self.setup.phases else 0.0 for p, v in enumerate(volts))
        return one, two, three

    def _pin_heading(self) -> bool:
        return self._pin if self._pin_at == NEVER else self._pin_target

    def _move_pin(self, now: float) -> None:
        if now >= self._pin_at:
            self._pin_at = NEVER
            if not self.faults & {"lock-stuck", "lock-jammed"}:
                self._pin = self._pin_target
        if self._leaving and not self._pin and self._pin_at == NEVER:
            self.cable_amps, self._leaving = None, False

    def _switch(self, now: float) -> bool:
        """Move the armatures; True when one arrived."""
        feed = self._alive and not self.faults & {"residual-trip", "emergency-stop"}
        coil, stuck = self.command.close and feed, "contactor-welded" if self.closed else "contactor-stuck-open"
        moved = self.main.swing(now, coil, stuck in self.faults)
        if moved and coil:
            self._note_closing(now)
        elif moved:
            self.audit.opened += 1
            self.audit.opened_under_load += self.car is not None and max(self.car.amps(now)) >= 1
        coil, stuck = self.command.second and feed, "second-welded" if self.second.closed else "second-stuck-open"
        if self.setup.switching and self.second.swing(now, coil, stuck in self.faults):
            self.audit.switched += 1
            self.audit.switched_live += self.closed
            moved = True
        return moved

    def _note_closing(self, now: float) -> None:
        closing = Closing(
            at=now,
            plugged=self.car is not None or self.level in ("B", "C", "D"),
            s2=self._asked(),
            diode=self._diode(),
            pwm=pilot.offered(self.generator()) > 0,
            locked=self.setup.tethered or self.locked() is True,
            tested=self._passed is True,
        )
        self.audit.closings.append(closing)
        self.audit.closed += 1
        if not closing.safe:
            self.audit.offences.append(closing)
            self.audit.unsafe += 1

    def _watch(self, now: float) -> None:
        """Measure how long the contactor is closed with nobody asking for it."""
        if not self.closed or self._asked():
            if self._unasked_since != NEVER:
                self.audit.longest_unasked = max(self.audit.longest_unasked, now - self._unasked_since)
            self._unasked_since = NEVER
            return
        self._unasked_since = min(self._unasked_since, now)
        self.audit.longest_unasked = max(self.audit.longest_unasked, now - self._unasked_since)
