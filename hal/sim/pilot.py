"""Electricity of control pilot and proximity, as volts and ohms (IEC 61851-1 annexes A and B)."""

from __future__ import annotations

import math

from hal.api import PilotReading
from hal.sim.wire import X1, F

RAIL, SOURCE_OHMS, DIODE_VOLTS = 12.0, 1000.0, 0.7
OPEN, LOAD_B, LOAD_C, LOAD_D, SHORT = math.inf, 2740.0, 882.0, 246.0, 1.0
UNDEFINED = 1511.0  # 7.5 V, in the middle between B and C
FLAT = 3.0  # plateaus closer than this are one steady level to whoever measures

LEVELS = {"A": OPEN, "B": LOAD_B, "C": LOAD_C, "D": LOAD_D, "E": SHORT}
CABLES = {13: 1500.0, 20: 680.0, 32: 220.0, 63: 100.0}  # ampere coding of a type 2 plug: ohms


def volts(load: float, diode: bool, positive: bool) -> float:
    """The plateau behind the source resistance; a vehicle's diode blocks the negative half. A short has none."""
    rail = RAIL if positive else -RAIL
    if load == OPEN:
        return rail
    if load <= SHORT or not diode:
        return rail * load / (load + SOURCE_OHMS)
    return DIODE_VOLTS + (RAIL - DIODE_VOLTS) * load / (load + SOURCE_OHMS) if positive else -RAIL


def reading(generator: float, load: float, diode: bool) -> PilotReading:
    """What a burst would measure with the generator at a duty, X1 or F."""
    if generator in (X1, F):
        level = volts(load, diode, generator == X1)
        return PilotReading(level, level, generator)
    high, low = volts(load, diode, True), volts(load, diode, False)
    return PilotReading(high, low, generator if high - low >= FLAT else X1)


def offered(duty: float) -> float:
    """Amperes a vehicle may draw at this duty; 0 for X1, F, digital communication and the error bands (A.3)."""
    percent = round(duty * 100, 6)
    if percent < 8 or percent > 97:
        return 0.0
    if percent < 10:
        return 6.0
    if percent <= 85:
        return 0.6 * percent
    return min(80.0, 2.5 * (percent - 64))
