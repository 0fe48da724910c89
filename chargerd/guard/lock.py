"""The plug's lock: the daemon wishes, the guard decides."""

from __future__ import annotations

from chargerd.guard.lease import Kind
from chargerd.guard.setup import OutletSetup
from chargerd.guard.state import SWING, Said, Sample, State

TRY, TRIES = 1.5, 3
AGAIN = 60.0  # s; then one try at a time: a plug that is pushed home at last is held, a cable that hung comes free
PULSE = 1.0  # as long as a board's pulse may be: the motor is not to be turned round meanwhile


def turn(setup: OutletSetup, s: State, x: Sample, now: float, needed: bool, said: list[Said]) -> bool | None:
    """The motor's command: held before and while the contactor is closed, three tries a goal, then one a minute."""
    if setup.tethered:
        return None
    if x.locked is not None and x.locked is not s.locked:
        if s.locked is not None:
            said.append((Kind.LOCKED if x.locked else Kind.UNLOCKED, s.plug, ""))
        s.locked = x.locked
    if x.locked is not None and x.locked is s.lock_failed:
        s.lock_failed = None
    held = s.coil or x.closed or s.power or "ContactorWelded" in s.faults
    goal = True if held or needed else s.wish
    swinging = not goal and now - s.coil_at < SWING
    if goal is None or swinging or x.locked is goal:
        s.lock_goal = None
        return None
    if goal is s.lock_failed:
        if now - s.lock_at < AGAIN:
            return None
        s.lock_at = now
        return goal
    if goal is not s.lock_goal:
        if now - s.lock_at < PULSE:
            return None
        s.lock_goal, s.lock_at, s.lock_tries = goal, now, 1
        return goal
    if now - s.lock_at < TRY:
        return None
    if s.lock_tries >= TRIES:
        s.lock_failed, s.lock_goal = goal, None
        return None
    s.lock_at, s.lock_tries = now, s.lock_tries + 1
    return goal
