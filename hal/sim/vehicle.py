"""A vehicle: S2, the onboard charger behind it, and its manners.

The charger follows the pilot after `reaction` seconds (A.6 sequence 6: at most 5 s; a stop within 3 s, sequence 10.1),
closes S2 when it wants energy and is offered enough, and draws along straight ramps once it has mains. Between two
events the current is linear in time, so energy is exact and time may be advanced in steps of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hal.api import PerPhase
from hal.sim.pilot import offered
from hal.sim.wire import F

NEVER = math.inf
WAKE_PULSE = 2.5  # seconds of F or E that rouse a sleeping charger
STOP_REACTION, STOP_TIME = 1.0, 1.0
ALMOST = 1e-6  # Wh


@dataclass(frozen=True, slots=True)
class Vehicle:
    """How a vehicle behaves; seconds, amperes, watt-hours. Raises ValueError naming the option and its bounds."""

    phases: int = 3
    max_amps: float = 32.0
    min_amps: float = 6.0
    ramp: float = 8.0  # A/s
    reaction: float = 0.5
    start_delay: float = 0.5  # from mains on S2 to the first ampere
    energy: float | None = None  # wanted
    departure: float | None = None  # after plugging in; asks for nothing any more
    ready: bool = True
    diode: bool = True
    ventilation: bool = False  # asks with state D
    ignores_pwm: bool = False  # once charging: keeps S2 closed and draws on, whatever the pilot says
    sleeps: bool = False  # needs a wake-up pulse before it looks at the pilot
    factor: float = 1.0  # draws this much of what it may
    chatter: float = 0.0  # while it is offered current, S2 opens and closes with this period
    abrupt: bool = False  # full power at once

    def __post_init__(self) -> None:
        for field in fields(self):
            check_option(field.name, getattr(self, field.name))


BOUNDS: dict[str, tuple[float, float]] = {
    "phases": (1, 3),
    "max_amps": (0, 200),
    "min_amps": (0, 80),
    "ramp": (0.1, 1000),
    "reaction": (0, 60),
    "start_delay": (0, 600),
    "energy": (0, 1e6),
    "departure": (0, 1e7),
    "factor": (0, 5),
    "chatter": (0, 60),
}
OPTIONS = tuple(field.name for field in fields(Vehicle))


def check_option(name: str, value: object) -> None:
    """Raises ValueError unless `value` is of the type and within the bounds of the option `name`."""
    if name not in BOUNDS:
        if not isinstance(value, bool):
            raise ValueError(f"{name}: must be true or false")
        return
    if value is None and name in ("energy", "departure"):
        return
    low, high = BOUNDS[name]
    kinds = int if name == "phases" else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ValueError(f"{name}: must be {'a whole number' if name == 'phases' else 'a number'} {low:g}..{high:g}")
    if name == "chatter" and 0 < value < 0.02:
        raise ValueError("chatter: must be 0 or a period of at least 0.02 s")


@dataclass(slots=True)
class _Ramp:
    """Amperes, straight from `a0` at `t0` to `a1` at `t1`, constant afterwards."""

    t0: float = 0.0
    a0: float = 0.0
    t1: float = 0.0
    a1: float = 0.0

    def at(self, t: float) -> float:
        if t >= self.t1:
            return self.a1
        return self.a0 + (self.a1 - self.a0) * (t - self.t0) / (self.t1 - self.t0)

    def slope(self, t: float) -> float:
        return 0.0 if t >= self.t1 else (self.a1 - self.a0) / (self.t1 - self.t0)


class Car:
    """One vehicle at one outlet, from plugging in to pulling out."""

    def __init__(self, setup: Vehicle, now: float) -> None:
        self.setup = setup
        self.s2 = False
        self.awake = not setup.sleeps
        self.ready = setup.ready
        self.draw: tuple[float, int] | None = None
        self.taken = 0.0
        self._plugged_at = now
        self._seen = -1.0
        self._offer = 0.0
        self._adopt_at = NEVER
        self._dark_at = NEVER
        self._powered = False
        self._start_at = NEVER
        self._ramp = _Ramp()
        self._shaking_open = False
        self._shake_at = NEVER
        self._volts: PerPhase = (0.0, 0.0, 0.0)

    def amps(self, now: float) -> PerPhase:
        """Drawn per phase now; a phase without mains carries nothing."""
        amps, phases = self._ramp.at(now), self._phases()
        one, two, three = (amps if p < phases and self._volts[p] > 0 else 0.0 for p in range(3))
        return one, two, three

    def watts(self, now: float) -> float:
        return self._ramp.at(now) * self._live_volts()

    def flow(self, since: float, until: float) -> float:
        """Watt-hours drawn in between; no event may lie inside."""
        energy = (self.watts(since) + self.watts(until)) / 2 * (until - since) / 3600
        self.taken += energy
        return energy

    def settle(self, now: float, pilot: float, volts: PerPhase, closed: bool) -> None:
        """Take in the pilot (duty, X1 or F), the mains volts on the outlet's phases and the contactor; act on it."""
        self._volts = volts
        self._look(now, pilot)
        self._shake(now)
        asks = self._asks(now)
        self.s2 = self.s2 or asks
        mains = closed and self._live_volts() > 0
        self._draw(now, asks, mains and self.s2)
        if not asks and self.s2 and (self._ramp.at(now) == 0.0 or self._shaking_open):
            self.s2 = False  # in good manners it opens without current
            self._draw(now, asks, False)

    def next_event(self, now: float) -> float:
        """When it will change its mind next without anybody's doing."""
        due = min(self._adopt_at, self._shake_at, self._start_at)
        if self._ramp.t1 > now:
            due = min(due, self._ramp.t1)
        if self.setup.departure is not None and (leaves := self._plugged_at + self.setup.departure) > now:
            due = min(due, leaves)
        return min(due, self._full_at(now))

    def _look(self, now: float, pilot: float) -> None:
        if pilot != self._seen:
            if pilot == F:
                self._dark_at = now
            elif now - self._dark_at >= WAKE_PULSE:
                self.awake = True
            if pilot != F:
                self._dark_at = NEVER
            self._seen = pilot
            patience = self.setup.reaction if offered(pilot) > 0 else min(self.setup.reaction, STOP_REACTION)
            self._adopt_at = now + patience
        if now >= self._adopt_at:
            self._adopt_at = NEVER
            offer = offered(pilot)
            if not (self.setup.ignores_pwm and self.s2 and offer < self._offer):
                self._offer = offer

    def _shake(self, now: float) -> None:
        if not self.setup.chatter or self._offer <= 0:
            self._shaking_open, self._shake_at = False, NEVER
        elif self._shake_at == NEVER:
            self._shake_at = now + self.setup.chatter / 2
        elif now >= self._shake_at:
            self._shaking_open = not self._shaking_open
            self._shake_at = now + self.setup.chatter / 2

    def _asks(self, now: float) -> bool:
        gone = self.setup.departure is not None and now >= self._plugged_at + self.setup.departure
        full = self.setup.energy is not None and self.taken >= self.setup.energy - ALMOST
        enough = 0 < self._offer >= self.setup.min_amps
        return self.ready and self.awake and enough and not gone and not full and not self._shaking_open

    def _draw(self, now: float, asks: bool, powered: bool) -> None:
        if powered != self._powered:
            self._powered = powered
            self._start_at = now + self.setup.start_delay if powered else NEVER
        if not powered:
            self._ramp = _Ramp()
            return
        if now >= self._start_at:
            self._start_at = NEVER
        target = self._target() if asks and self._start_at == NEVER else 0.0
        if target == self._ramp.a1:
            return
        amps = self._ramp.at(now)
        rate = self.setup.ramp if target else max(self.setup.ramp, amps / STOP_TIME)
        duration = 0.0 if self.setup.abrupt and target > amps else abs(target - amps) / rate
        self._ramp = _Ramp(now, amps, now + duration, target)

    def _target(self) -> float:
        amps = min(self._offer, self.setup.max_amps)
        if self.draw is not None:
            amps = min(amps, self.draw[0])
        return amps * self.setup.factor

    def _phases(self) -> int:
        return self.setup.phases if self.draw is None else min(self.setup.phases, self.draw[1])

    def _live_volts(self) -> float:
        return sum(self._volts[: self._phases()])

    def _full_at(self, now: float) -> float:
        """When the wanted energy will have flowed, on the present ramp: the root of a parabola."""
        if self.setup.energy is None or (left := self.setup.energy - self.taken) <= ALMOST:
            return NEVER
        amps, slope, volts = self._ramp.at(now), self._ramp.slope(now), self._live_volts()
        if volts <= 0:
            return NEVER
        ampere_seconds = left * 3600 / volts
        if slope == 0:
            return now + ampere_seconds / amps if amps > 0 else NEVER
        under = amps * amps + 2 * slope * ampere_seconds
        return now + (math.sqrt(under) - amps) / slope if under >= 0 else NEVER
