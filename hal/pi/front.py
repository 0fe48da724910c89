"""From ADC codes to the control pilot: the divider before the ADC, and the estimator over one burst of samples.

A burst is not synchronous with the PWM, so its samples fall on both plateaus and, few of them, on the edges between.
They are split in the middle of their range; about the 75th percentile of the upper group and the 25th of the lower are
the plateaus (the edges lie on the inner side of each). Simulated with 160 samples at 31 ksps and noise of 0.15 V, no
state was wrong in 1,500 bursts for each duty from 5 to 96 %. The duty is counted over whole periods of the burst: its
ragged ends alone would make it wrong by up to 4 %, and a stall of the bus by more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

DIODE_VOLTS = 0.7  # of the vehicle's diode
SOURCE_OHMS = 1000.0  # IEC 61851-1 table A.2
NOMINAL = 12.0
RAIL = (11.0, 13.0)  # V; beyond, the levels of the pilot say nothing
STEADY_SPAN = 3.0  # V; less between the extremes, and the pilot does not oscillate
SMALLEST_GROUP = 3  # samples; fewer say nothing about their plateau
INWARD, FEW = 0.25, 5
RAGGED = 1  # samples by which runs differ that no stall has cut


@dataclass(frozen=True, slots=True)
class Divider:
    """CP through `top` to the ADC, `ground` to 0 V, `bias` to `bias_volts`. Ohms and volts."""

    top: float
    ground: float
    bias: float
    bias_volts: float

    @property
    def gain(self) -> float:
        """Volts at the ADC for each volt on the pilot."""
        return (1 / self.top) / self._conductance

    @property
    def zero(self) -> float:
        """Volts at the ADC with 0 V on the pilot."""
        return self.bias_volts / self.bias / self._conductance

    @property
    def _conductance(self) -> float:
        return 1 / self.top + 1 / self.ground + 1 / self.bias


@dataclass(frozen=True, slots=True)
class Scale:
    """ADC code → pilot volts: `zero` is the code at 0 V, `step` volts for each code more."""

    zero: float
    step: float

    @classmethod
    def of(cls, divider: Divider, codes: int, reference: float) -> Scale:
        """What the resistors say; `codes` of the whole range, `reference` volts at the last."""
        return cls(divider.zero / reference * codes, reference / codes / divider.gain)

    @classmethod
    def calibrated(cls, high: float, low: float) -> Scale:
        """Two points: the codes of +12 V (X1, nothing plugged) and of -12 V (state F). ValueError when they are one."""
        if high - low < 1:
            raise ValueError(f"codes {low:g} and {high:g} for -12 V and +12 V: they must rise")
        step = 2 * NOMINAL / (high - low)
        return cls((high + low) / 2, step)

    def volts(self, code: float) -> float:
        return (code - self.zero) * self.step

    def code(self, volts: float) -> float:
        return volts / self.step + self.zero


@dataclass(frozen=True, slots=True)
class Burst:
    """What one burst shows. `quality`: the share of the smaller group, 0 to 0.5; None where one plateau is unseen."""

    high: float
    low: float
    duty: float
    quality: float | None


def estimate(codes: Sequence[int], scale: Scale) -> Burst:
    """Plateau volts and duty of one burst (at least 2 * SMALLEST_GROUP samples)."""
    ordered = sorted(codes)
    lowest, highest = scale.volts(ordered[0]), scale.volts(ordered[-1])
    if highest - lowest < STEADY_SPAN:
        level = scale.volts(ordered[len(ordered) // 2])
        return Burst(level, level, 1.0 if level > -STEADY_SPAN else 0.0, 0.5)
    middle = (ordered[0] + ordered[-1]) / 2
    under = next(at for at, code in enumerate(ordered) if code > middle)
    lower, upper = ordered[:under], ordered[under:]
    smaller = min(len(lower), len(upper))
    return Burst(
        high=scale.volts(upper[-1 - _inward(upper)]),
        low=scale.volts(lower[_inward(lower)]),
        duty=_duty(codes, middle),
        quality=smaller / len(ordered) if smaller >= SMALLEST_GROUP else None,
    )


def _duty(codes: Sequence[int], middle: float) -> float:
    """By the usual length of the runs above and below `middle`; those that a stall of the bus has cut do not count."""
    runs = [(above, len(list(run))) for above, run in groupby(code > middle for code in codes)][1:-1]
    high, low = (_usual([length for side, length in runs if side is above]) for above in (True, False))
    if not high or not low:
        return sum(code > middle for code in codes) / len(codes)
    return high / (high + low)


def _usual(lengths: Sequence[int]) -> float:
    """The mean of those about the median; 0 of none."""
    if not lengths:
        return 0.0
    median = sorted(lengths)[len(lengths) // 2]
    near = [length for length in lengths if abs(length - median) <= RAGGED]
    return sum(near) / len(near)


def _inward(group: Sequence[int]) -> int:
    """How many samples lie between the one that counts and the outer end of its group.

    Of a short plateau (96 % duty: 40 µs, a fifth of it settling) only the outermost may have settled.
    """
    return int(INWARD * max(0, len(group) - FEW))


@dataclass(frozen=True, slots=True)
class Front:
    """How the codes of one pilot are read: its scale, and that of its driver's rails where these are measured.

    With the level that `chargerd.guard.pilot.classify` gives to the volts, `read` is the classifier: samples and board
    in, state, high, low, duty and quality out, and nothing remembered.
    """

    pilot: Scale
    rail: Scale | None = None

    def read(self, codes: Sequence[int], plus: float | None = None, minus: float | None = None) -> Burst:
        """One burst, as it were with rails of 12 V exactly. `plus`, `minus`: codes of the rails, None: not measured.

        ValueError names a rail that is out of range: the levels of the pilot say nothing then.
        """
        burst = estimate(codes, self.pilot)
        above, below = self._rail(plus, "+12 V"), self._rail(minus, "-12 V")
        return replace(burst, high=_leveled(burst.high, above, below), low=_leveled(burst.low, above, below))

    def _rail(self, code: float | None, name: str) -> float | None:
        if code is None or self.rail is None:
            return None
        volts = self.rail.volts(code)
        if not RAIL[0] <= abs(volts) <= RAIL[1] or (volts < 0) is not name.startswith("-"):
            raise ValueError(f"the pilot's supply of {name} is {volts:.1f} V")
        return abs(volts)


def _leveled(volts: float, above: float | None, below: float | None) -> float:
    """Each half wave by its own rail: the two of a converter drift apart."""
    if volts > DIODE_VOLTS:
        return volts if above is None else by_resistance(volts, above)
    return volts if below is None or volts >= -DIODE_VOLTS else volts * NOMINAL / below


def by_resistance(volts: float, rail: float) -> float:
    """A positive plateau as it were with a rail of exactly 12 V: what the vehicle's resistors make of it.

    So the borders between the states, which are given in volts, are borders between resistances.
    """
    if volts >= rail - 0.05 or volts <= DIODE_VOLTS:
        return volts * NOMINAL / rail
    ohms = (volts - DIODE_VOLTS) * SOURCE_OHMS / (rail - volts)
    return DIODE_VOLTS + (NOMINAL - DIODE_VOLTS) * ohms / (ohms + SOURCE_OHMS)
