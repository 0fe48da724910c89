"""The pilot as the ADC sees it: a PWM of some duty between two plateaus, with noise, jitter of the clock and stalls."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from hal.pi.front import Divider, Scale
from hal.pi.spi import DITHER

DIVIDER = Divider(100_000, 33_000, 24_000, 3.3)
SCALE = Scale.of(DIVIDER, 4095, 3.3)
PERIOD = 1e-3
LOW = -11.88
LEVELS = {"A": 11.91, "B": 8.92, "C": 5.96, "D": 2.92, "E": 0.01}
"""Volts of the positive plateau with this board's divider on the pilot."""
TAU = 2.7e-6  # s, of the filter before the ADC


def volts(high: float, low: float, duty: float, at: float) -> float:
    phase = at % PERIOD
    if duty >= 1.0:
        return high
    if duty <= 0.0:
        return low
    since, goal, before = (phase, high, low) if phase < duty * PERIOD else (phase - duty * PERIOD, low, high)
    return goal + (before - goal) * math.exp(-since / TAU)


def moments(chance: random.Random, rate: float, stalls: float = 0.0, jitter: float = 0.0) -> Iterator[float]:
    """When samples are taken: a bus as regular as can be, and the dither of `spi.Plan`.

    `stalls`: the share of gaps that last 1 ms more in the mean; `jitter`: of each gap, the deviation as a share of it.
    """
    at = chance.random() * PERIOD
    for gap in itertools.cycle(DITHER):
        yield at
        at += (1 / rate + gap * 1e-6) * max(0.2, chance.gauss(1, jitter) if jitter else 1.0)
        if stalls and chance.random() < stalls:
            at += chance.expovariate(1000.0)


def burst(
    chance: random.Random,
    high: float,
    low: float,
    duty: float,
    *,
    samples: int = 160,
    rate: float = 31_000.0,
    noise: float = 0.15,
    scale: Scale = SCALE,
    codes: int = 4095,
    stalls: float = 0.0,
    jitter: float = 0.0,
) -> list[int]:
    """Codes of one burst."""
    when = moments(chance, rate, stalls, jitter)
    return [
        min(codes, max(0, round(scale.code(volts(high, low, duty, next(when)) + chance.gauss(0, noise)))))
        for _ in range(samples)
    ]
