"""One phase or three: when the second contactor moves, and what the vehicle is told meanwhile.

    the permit asks for other phases     X1, until the vehicle lets go, or 6 s
    the contactor is proven open         the second one moves, the pilot's relay parts the vehicle from it for 4 s
    its mirror contact has followed,
    and the vehicle has had its pause    the next offer

The first choice for a vehicle needs no pause: nothing was offered yet. Later ones rest between each other, and are
counted; what the permit allows is never exceeded for want of a switching: three phases where one is permitted are no
phases, one where three are permitted is one.
"""

from __future__ import annotations

from chargerd.guard import pilot
from chargerd.guard.lease import Mode
from chargerd.guard.setup import MIN_AMPS, OutletSetup
from chargerd.guard.state import SWING, Sample, State

PARTED = 4.0  # s, ISO 15118-3 T_step_EF; longer, and the vehicle behind it may be another one


def arrange(setup: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Move the second contactor where it must be; True: until it is, nothing may be offered."""
    if x.second is None:
        return False
    idle = not (s.coil or s.power or x.closed) and now - s.coil_at >= SWING and not pilot.offers(s.drive)
    if not s.plug or "SecondContactorNotClosed" in s.faults:
        if idle and s.phases != 1:
            s.phases, s.phases_at = 1, now
        return True
    wanted = _wanted(setup, s)
    if wanted is not None and not s.faults and (wanted != s.phases or not s.chosen) and _may(setup, s, now):
        if idle or wanted == s.phases:
            _move(setup, s, now, wanted)
        return True
    return (wanted or s.phases) < s.phases or now < s.pause_until or x.second is not (s.phases == 3)


def parted(setup: OutletSetup, s: State, now: float) -> bool:
    """Is the pilot to be taken from the vehicle?"""
    pausing = now < s.pause_until and not (s.coil or s.faults)
    return setup.fitted.relay and pausing and now - s.phases_at < PARTED


def _wanted(setup: OutletSetup, s: State) -> int | None:
    """None: there is no permit that flows."""
    permit = s.permit
    if permit is None or permit.mode is not Mode.BASIC or permit.amps < MIN_AMPS:
        return None
    return 3 if permit.phases == 3 == setup.phases else 1


def _may(setup: OutletSetup, s: State, now: float) -> bool:
    p = setup.protection
    return not s.chosen or (s.moves < p.phase_switches and now - s.phases_at >= p.phase_rest)


def _move(setup: OutletSetup, s: State, now: float, wanted: int) -> None:
    s.moves += s.chosen
    s.phases, s.phases_at, s.chosen = wanted, now, True
    if s.courted:
        s.pause_until = now + setup.protection.phase_pause
