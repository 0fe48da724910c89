"""Small watchers that doubt the rules, each blind to the others.

A check answers only "does this look wrong in this sample?", some of them also how wrong: 2.0 counts twice. How long it
must look wrong, and what it takes to be trusted again, is in `chargerd.faults`; `doubts` keeps the time. Any fault
opens the contactor at once and puts the pilot to X1.
"""

from __future__ import annotations

from collections.abc import Callable

from chargerd.faults import GUARD, WARNING
from chargerd.guard import pilot
from chargerd.guard.pilot import Level
from chargerd.guard.setup import OutletSetup
from chargerd.guard.state import Sample, State, Test

COOLING = 5.0  # K below the limit
OFFER_MEMORY = 6.0  # a vehicle has 5 s to follow, and one for the meter
OVER = 0.5  # A
_STEPS = ((1.5, 7.0 / 0.2), (1.25, 7.0 / 2.0))  # of the offer + 0.5 A: in 0.2 s, in 2 s instead of 7 s
READING_MAX_AGE = 10.0
TEST_QUIET = 1.0  # the trip line moves with the self-test
_FROZEN_VOLTS = 0.05
NO_VOLTS = 10.0
READ_AFTER = 2.0  # s, for a meter that shows the mean of the last second or two
A_CURRENT, NEXT_TO_NOTHING = 1.0, 0.5  # A
_ASKING = (Level.C, Level.D)
_PRESENT = (Level.B, Level.C, Level.D)

Check = Callable[[OutletSetup, State, Sample, float], float]


def welded(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Closed against the command."""
    return x.closed and not s.coil


def not_closed(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Open against the command."""
    return s.coil and not x.closed


def no_diode(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The negative half wave is loaded while PWM runs into a vehicle (IEC 61851-1 A.2.3)."""
    return pilot.is_pwm(s.drive) and s.raw in _PRESENT and not pilot.diode(x.low)


def pilot_short(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """State E with a generator that should lift the pilot."""
    return s.drive != pilot.F and pilot.classify(x.high, x.low, s.raw) is Level.E


def pilot_stuck(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Volts between the states, or a reading that a new command did not move at all."""
    return pilot.undefined(x.high, x.low) or (_mismatch(s, x) and _unmoved(s, x))


def pilot_mismatch(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The pilot is not what was commanded, but something else than before: the generator is wrong."""
    return _mismatch(s, x) and not _unmoved(s, x)


def _mismatch(s: State, x: Sample) -> bool:
    return pilot.mismatch(s.drive, x.high, x.low, x.duty)


def _unmoved(s: State, x: Sample) -> bool:
    high, low, duty = s.before
    return max(abs(x.high - high), abs(x.low - low)) < _FROZEN_VOLTS and abs(x.duty - duty) < pilot.DUTY_TOLERANCE


def proximity(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """A resistance no plug has, or no plug although the pilot sees a vehicle (IEC 61851-1 B.2)."""
    if x.ohms is None:
        return False
    amps = pilot.cable(x.ohms)
    return amps == pilot.BAD_CABLE or (amps is None and s.raw in _PRESENT)


def proximity_changed(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Another coding than the contactor was closed with."""
    return s.coil and x.ohms is not None and pilot.cable(x.ohms) != s.cable


def residual_current(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The monitor has tripped, and not because of its own test."""
    testing = s.test in (Test.STARTED, Test.RUNNING) or (s.test is not Test.DUE and now - s.test_at < TEST_QUIET)
    return x.tripped and (s.coil or not testing)


def self_test(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The last self-test failed; only one that passes takes that back."""
    return s.test is Test.FAILED or ("ResidualSelfTest" in s.faults and s.test is not Test.PASSED)


def lock_failure(setup: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Three tries were in vain, or the plug is not held while the contactor is closed."""
    return not setup.tethered and (s.lock_failed is not None or (s.coil and x.locked is not True))


def over_temperature(setup: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """At a sensor's limit; then until it has cooled. One that falls silent then has not cooled."""
    p, known = setup.protection, "OverTemperature" in s.faults
    return any(
        fitted and (known if celsius is None else celsius >= stop - (COOLING if known else 0.0))
        for fitted, celsius, stop in (
            (setup.fitted.plug_sensor, x.plug, p.plug_stop),
            (setup.fitted.cabinet_sensor, x.cabinet, p.cabinet_stop),
        )
    )


def emergency_stop(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The button is pressed."""
    return x.emergency


def pen_fault(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The device that watches the supply's PEN conductor says so."""
    return x.pen


def supply(setup: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """A phase beyond its range by the board's own volts; where it has none, by those of the meter.

    A meter that shows no volts at a phase may not be wired to it; the board is.
    """
    low, high = setup.protection.supply_low, setup.protection.supply_high
    if x.volts is not None:
        return not all(low <= volts <= high for volts in x.volts)
    m = s.measured
    if m is None or m.volts is None or now - s.measured_at > READING_MAX_AGE:
        return False
    return not all(low <= volts <= high for volts in m.volts if volts >= NO_VOLTS)


def second_welded(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Closed against the command."""
    return x.second is True and s.phases == 1


def second_not_closed(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Open against the command."""
    return x.second is False and s.phases == 3


def current_though_open(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The meter shows a current that was read after both command and mirror contact said open: one of them lies.

    It must show it twice: the fault is a technician's, and one wrong answer before the meter fell silent is no proof.
    """
    if s.coil or x.closed or s.measured is None or s.measured.amps is None or not metered(s, now):
        return False
    seen = min(max(map(abs, s.measured.amps)), s.measured_before)
    return s.measured_at - s.coil_at >= READ_AFTER and seen >= A_CURRENT


def over_current(_: OutletSetup, s: State, x: Sample, now: float) -> float:
    """The meter shows 110 % + 0.5 A of the highest offer a vehicle may still go by; 125 and 150 % count for more.

    For more only where the reading before says so too: one wrong answer on the meter's bus is no proof. Either way
    round: a current transformer mounted backwards does not hide the current.
    """
    if not s.coil or s.measured is None or s.measured.amps is None or not metered(s, now):
        return 0.0
    highest = max([s.offered, *(amps for ended, amps in s.offers if now - ended <= OFFER_MEMORY)])
    seen = max(map(abs, s.measured.amps))
    if seen <= 1.1 * highest + OVER:
        return 0.0
    sure = min(seen, s.measured_before)
    return next((weight for factor, weight in _STEPS if sure > factor * highest + OVER), 1.0)


def metered(s: State, now: float) -> bool:
    """The current check has readings that are fresh enough."""
    return s.measured is not None and s.measured.amps is not None and now - s.measured_at <= READING_MAX_AGE


def guard_late(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The guard stood still again and again: the hardware opened each time, and would each time close under load."""
    return x.late


def guard_slow(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The guard's turns do not fit into their period, so that it might open too late."""
    return x.slow


def _from_outside(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Raised by the shell, not seen in a sample."""
    return False


def no_current(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Closed, the vehicle asks, and the meter shows next to nothing: it may rest, or nothing reaches it."""
    if not (s.power and s.seen in _ASKING and metered(s, now)) or s.measured is None or s.measured.amps is None:
        return False
    return max(map(abs, s.measured.amps)) < NEXT_TO_NOTHING


def sensor_silent(setup: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """A temperature is unknown that is known to be measured."""
    fitted = setup.fitted
    return (fitted.plug_sensor and x.plug is None) or (fitted.cabinet_sensor and x.cabinet is None)


def relay_stuck(_: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """The vehicle is seen although the relay has taken the pilot away."""
    return s.cut and pilot.classify(x.high, x.low, None) in _PRESENT


CHECKS: dict[str, Check] = {
    "ContactorWelded": welded,
    "ContactorNotClosed": not_closed,
    "ResidualCurrent": residual_current,
    "ResidualSelfTest": self_test,
    "EmergencyStop": emergency_stop,
    "PenFault": pen_fault,
    "CurrentThoughOpen": current_though_open,
    "PilotShort": pilot_short,
    "PilotStuck": pilot_stuck,
    "PilotDriverMismatch": pilot_mismatch,
    "DiodeFault": no_diode,
    "ProximityChanged": proximity_changed,
    "ProximityFault": proximity,
    "ConnectorLockFailure": lock_failure,
    "OverTemperature": over_temperature,
    "OverCurrent": over_current,
    "SupplyOutOfRange": supply,
    "SecondContactorWelded": second_welded,
    "SecondContactorNotClosed": second_not_closed,
    "GuardLate": guard_late,
    "GuardSlow": guard_slow,
    "DeviceFailure": _from_outside,
    "LatchUnreadable": _from_outside,
}
_NO_STOP: dict[str, Check] = {
    "NoCurrent": no_current,
    "SensorSilent": sensor_silent,
    "PilotRelayStuck": relay_stuck,
}
ROWS = tuple((name, fault, CHECKS[name]) for name, fault in GUARD.items())
WARNINGS = tuple((name, WARNING[name], check) for name, check in _NO_STOP.items())
