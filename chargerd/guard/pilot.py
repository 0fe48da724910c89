"""The codes of control pilot and proximity (IEC 61851-1) as pure functions: amperes, volts and ohms.

    volts   13.25 ---- 10.5 ---- 7.5 ---- 4.5 ---- 1.5 ---- -1.5 ........ -10.5 ---- -13.25
    state          A         B        C        D        E         (none)          F

Each border between two states has a hysteresis of 0.25 V either way: within it the former state stands if it is one
of the two neighbours, else there is none.

A generator command is one number, the `drive`: 1.0 is +12 V steady (X1), 0.0 is -12 V steady (F), else a duty.
"""

from __future__ import annotations

from enum import StrEnum
from math import floor

X1, F = 1.0, 0.0
DIGITAL = 0.05  # IEC 61851-1 A.3: digital communication required
HYSTERESIS = 0.25
DIODE_VOLTS = -11.0
DUTY_TOLERANCE = 0.02


class Level(StrEnum):
    """Vehicle state by pilot level."""

    A = "A"  # no vehicle
    B = "B"  # connected, S2 open
    C = "C"  # asks for power
    D = "D"  # asks for power and ventilation
    E = "E"  # pilot shorted to PE
    F = "F"  # EVSE says: not available


_BORDERS = ((10.5, Level.A, Level.B), (7.5, Level.B, Level.C), (4.5, Level.C, Level.D), (1.5, Level.D, Level.E))
_TOP, _SHORT, _NEGATIVE, _BOTTOM = 13.25, -1.5, -10.5, -13.25

# IEC 61851-1 B.2: interpretation ranges of the coding resistor in the plug, low ohm, high ohm, amperes
_CABLES = ((80.0, 140.0, 63.0), (164.0, 308.0, 32.0), (400.0, 936.0, 20.0), (1100.0, 2460.0, 13.0))
_NO_PLUG = 4500.0
BAD_CABLE = 0.0


def codeable(amps: float) -> float:
    """The highest current not above `amps` that a duty can say: 0 below 6 A, 51 within the gap, at most 80."""
    if not amps >= 6.0:
        return 0.0
    return 51.0 if 51.0 < amps < 52.5 else min(amps, 80.0)


def duty(amps: float) -> float | None:
    """Duty (0.1..0.96, rounded down to 0.001) that codes `amps`; None below 6 A (IEC 61851-1 A.3, table A.7)."""
    amps = codeable(amps)
    if not amps:
        return None
    percent = amps / 0.6 if amps <= 51.0 else amps / 2.5 + 64.0
    return floor(percent * 10.0 + 1e-9) / 1000.0


def is_pwm(drive: float) -> bool:
    """Whether the generator oscillates with this drive."""
    return F < drive < X1


def offers(drive: float) -> bool:
    """Whether this drive codes a current for basic signalling."""
    return 0.1 <= drive <= 0.96


def classify(high: float, low: float, previous: Level | None) -> Level | None:
    """State of the plateau volts; None where no state is defined: the caller keeps its last (IEC 61851-1 A.4)."""
    if not (low <= high + 0.5 and _BOTTOM <= high <= _TOP):
        return None
    if high <= _NEGATIVE:
        return Level.F
    if high < _SHORT:
        return None
    for border, above, below in _BORDERS:
        if abs(high - border) <= HYSTERESIS:
            return previous if previous in (above, below) else None
        if high > border:
            return above
    return Level.E


def undefined(high: float, low: float) -> bool:
    """The volts lie between the states: passing through is normal, staying is not."""
    return classify(high, low, None) is None


def diode(low: float) -> bool:
    """The negative half wave is not loaded: the vehicle's diode is there (IEC 61851-1 A.2.3)."""
    return low <= DIODE_VOLTS


def mismatch(drive: float, high: float, low: float, seen: float) -> bool:
    """The pilot does not carry what the generator was told. A short hides it: that is state E, not a mismatch."""
    if _SHORT <= high <= -_SHORT:
        return False
    if abs(seen - drive) > DUTY_TOLERANCE:
        return True
    return high > _NEGATIVE if drive == F else high < _SHORT


def cable(ohms: float) -> float | None:
    """Amperes the plug's resistor allows; None with no plug; BAD_CABLE (0) in the gaps (IEC 61851-1 B.2)."""
    if ohms >= _NO_PLUG:
        return None
    return next((amps for low, high, amps in _CABLES if low <= ohms <= high), BAD_CABLE)
