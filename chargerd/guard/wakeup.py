"""Vehicles that fall asleep while they wait (IEC 61851-1 A.5.3): no C since the oscillator started.

One pulse for each offer, a few for each vehicle: 4 s of state F, of X1, or of no pilot at all where a relay can take
it away (which no vehicle takes for a fault of the charger), then 0.75 s of X1, then the offer again.
"""

from __future__ import annotations

from chargerd.guard import pilot
from chargerd.guard.pilot import X1, F, Level
from chargerd.guard.setup import OutletSetup
from chargerd.guard.state import State

PULSE, REST = 4.0, 0.75


def turn(setup: OutletSetup, s: State, now: float, offering: bool) -> float | None:
    """The drive while a vehicle is being woken, else None. `offering`: something may be offered now."""
    if not offering:
        s.wake_at, s.woken = None, False
    elif s.wake_at is None and _sleeps(setup, s, now):
        s.wakes, s.woken, s.wake_at = s.wakes + 1, True, now
    elif s.wake_at is not None and now - s.wake_at >= PULSE + REST:
        s.wake_at = None
    if s.wake_at is None:
        return None
    return F if now - s.wake_at < PULSE and setup.wakes_by == "f" else X1


def parted(setup: OutletSetup, s: State, now: float) -> bool:
    """Is the pilot to be taken from the vehicle?"""
    return setup.wakes_by == "disconnect" and s.wake_at is not None and now - s.wake_at < PULSE


def _sleeps(setup: OutletSetup, s: State, now: float) -> bool:
    ripe = now - s.pwm_since >= setup.protection.wake_after and pilot.offers(s.drive)
    budget = s.wakes < setup.protection.wake_ups and not s.woken
    return setup.wakes_by != "off" and ripe and budget and not s.answered and s.raw is Level.B
