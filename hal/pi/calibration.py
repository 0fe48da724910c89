"""Two points of a channel, as a technician measures them, to the lines of the board file that take tolerances away.

What parts of one per cent cannot explain is refused: it is a wrong part, a bad joint or a slip of the hand, and a
calibration would hide it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal.pi.boardfile import BoardFile, OutletFile, Point, ProximityFile, SensorFile, check_calibration
from hal.pi.front import Scale
from hal.pi.spi import CHIPS
from hal.tables import Mistake

GENERATOR = (11.4, 12.6)  # V either way: IEC 61851-1 table A.2
APART = 1.3  # between the two resistors, as a factor
PULL_UP_OFF, VOLTS_OFF = 0.1, 0.05  # of what the board file says


class Unlikely(ValueError):
    """What was measured cannot be right; the text says why, and what to look at."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One point: what the technician's meter or resistor says (volts or ohms), and the ADC's code meanwhile."""

    truth: float
    code: float


def pilot_point(board: BoardFile, outlet: OutletFile, above: Measured, below: Measured) -> Point:
    """The codes of exactly +12 V and -12 V, from volts measured at X1 and in state F."""
    for one, sign, name in ((above, 1, "X1"), (below, -1, "F")):
        if not GENERATOR[0] <= one.truth * sign <= GENERATOR[1]:
            low, high = sorted((GENERATOR[0] * sign, GENERATOR[1] * sign))
            raise Unlikely(f"{one.truth:+.2f} V in {name}: the driver must give {low} to {high} V; mend it first")
    if above.code - below.code < 1:
        raise Unlikely(f"codes {above.code:g} and {below.code:g}: the ADC does not see the pilot move")
    step = (above.truth - below.truth) / (above.code - below.code)
    zero = above.code - above.truth / step
    point = Point(high=round(zero + 12.0 / step, 1), low=round(zero - 12.0 / step, 1))
    nominal = Scale.of(outlet.pilot.divider.divider(), CHIPS[board.adc.chip].codes, board.adc.reference)
    try:
        check_calibration(point, nominal, "calibration")
    except Mistake as e:
        raise Unlikely(str(e)) from None
    return point


def pull_up(board: BoardFile, file: ProximityFile | SensorFile, one: Measured, other: Measured) -> dict[str, float]:
    """`pull_up` and its `volts` for a channel with a resistor to ground, from two known resistors."""
    (low, high) = sorted((one, other), key=lambda point: point.truth)
    if low.truth <= 0 or high.truth / low.truth < APART:
        raise Unlikely(
            f"{low.truth:g} and {high.truth:g} ohms are too alike: the larger must be {APART} times the other"
        )
    slope = low.code / low.truth - high.code / high.truth
    if high.code - low.code < 10 or slope <= 0:
        raise Unlikely(f"codes {low.code:g} and {high.code:g}: they do not follow the resistors; check the wiring")
    ohms = (high.code - low.code) / slope
    full = low.code * (low.truth + ohms) / low.truth  # the code with nothing connected
    volts = full * board.adc.reference / CHIPS[board.adc.chip].codes
    for name, found, told, off in (
        ("pull_up", ohms, file.pull_up, PULL_UP_OFF),
        ("volts", volts, file.volts, VOLTS_OFF),
    ):
        if abs(found / told - 1) > off:
            raise Unlikely(
                f"{name} would be {found:.4g}, and the board file says {told:g}: "
                "check the two resistors, the pull-up and its supply"
            )
    return {"pull_up": round(ohms, 1), "volts": round(volts, 4)}
