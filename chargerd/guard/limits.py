"""What bounds the offer: permit, board, cable, temperature and load shedding; and what keeps it at nothing."""

from __future__ import annotations

from math import floor, inf

from chargerd.guard import pilot
from chargerd.guard.lease import Mode
from chargerd.guard.setup import MIN_AMPS, OutletSetup
from chargerd.guard.state import Sample, State, Test

LOST_SENSOR_AMPS = 16.0
PLAY = 5.0  # K that it must cool before the current rises again
SHED_REST = 5.0  # s of quiet until load shedding is over
VOLTS = 230.0


def offer(setup: OutletSetup, s: State, x: Sample, now: float, blocked: bool, rearranging: bool) -> tuple[float, str]:
    """Amperes that may be offered to this vehicle now, or 0; and what bounds them."""
    _cool(setup, s, x)
    if x.shed:
        s.shed_until = inf
    elif s.shed_until == inf:
        s.shed_until = now + SHED_REST
    if not s.plug:
        return 0.0, ""
    if s.faults:
        return 0.0, "fault"
    if s.permit is None:
        return 0.0, "lease"
    if s.permit.mode is not Mode.BASIC:
        return 0.0, s.permit.mode.value
    if blocked:
        return 0.0, "evse"
    bounds = [(s.permit.amps, "lease"), (setup.amps, "board"), (min(s.cool.values(), default=inf), "temperature")]
    if not setup.tethered:
        bounds.append((s.cable or 0.0, "cable"))
    if now < s.shed_until:
        bounds.append((setup.protection.shed_watts / VOLTS / setup.live_phases(s.phases), "shedding"))
    amps, limit = min(bounds, key=lambda bound: bound[0])
    amps = pilot.codeable(amps)
    if amps and rearranging:
        return 0.0, "phases"
    if amps and not s.coil:
        if s.test is not Test.PASSED:
            return 0.0, "self-test"
        if not setup.tethered and x.locked is not True:
            return 0.0, "lock"
    return amps, limit


def _cool(setup: OutletSetup, s: State, x: Sample) -> None:
    """What each sensor leaves: less at once, more only after it has cooled by the play, so that nothing oscillates."""
    p = setup.protection
    s.cool = {
        name: LOST_SENSOR_AMPS if celsius is None else _played(setup.amps, celsius, s.cool.get(name, inf), full, least)
        for name, fitted, celsius, full, least in (
            ("plug", setup.fitted.plug_sensor, x.plug, p.plug_full, p.plug_least),
            ("cabinet", setup.fitted.cabinet_sensor, x.cabinet, p.cabinet_full, p.cabinet_least),
        )
        if fitted
    }


def _played(most: float, celsius: float, before: float, full: float, least: float) -> float:
    return min(max(before, _curve(most, celsius + PLAY, full, least)), _curve(most, celsius, full, least))


def _curve(most: float, celsius: float, full: float, least: float) -> float:
    """Amperes at this temperature, whole ones so that the duty rests."""
    if celsius <= full:
        return inf
    return float(floor(MIN_AMPS + (most - MIN_AMPS) * max(0.0, (least - celsius) / (least - full))))
