"""What the daemon may ask of one outlet: each word is taken in whole, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace

from chargerd.faults import GUARD as FAULTS
from chargerd.faults import Clears
from chargerd.guard.lease import VALID_MAX, VALID_MIN, ClearFault, Indicate, Lock, Measured, Mode, Permit, Service
from chargerd.guard.rules import holds
from chargerd.guard.setup import MAX_AMPS, MIN_AMPS, OutletSetup
from chargerd.guard.state import State, Test

MAX_LAMP = 32
MAX_AGE = 3600.0
ANOTHER = 0.1  # s between two readings of one meter, at the least


def hear(
    setup: OutletSetup, state: State, word: Permit | Lock | Measured | Indicate | ClearFault | Service, now: float
) -> tuple[State, str]:
    """The state with the wish taken in, and "" or why it was refused (then nothing changed)."""
    match word:
        case Permit():
            why = _refuse_permit(setup, state, word)
            return (state, why) if why else (replace(state, permit=word, until=now + word.valid_for), "")
        case Lock() if setup.tethered:
            return state, "a tethered outlet has no lock"
        case Lock():
            return replace(state, wish=word.locked, lock_failed=None), ""
        case Measured():
            if not 0 <= word.age <= MAX_AGE:
                return state, f"age: between 0 and {MAX_AGE:g} s"
            return _measured(state, word, now - word.age), ""
        case Indicate():
            if len(word.lamp) > MAX_LAMP or not word.lamp.isascii():
                return state, f"lamp: at most {MAX_LAMP} ASCII characters"
            return replace(state, lamp=word.lamp), ""
        case ClearFault(fault="ResidualSelfTest") if state.test is Test.FAILED and not holds(state):
            return replace(state, test=Test.DUE), ""  # only a test that passes takes it back
        case ClearFault():
            why = _refuse_clearing(state, word.fault)
            return (state, why) if why else (replace(state, pardoned=(*state.pardoned, word.fault)), "")
        case Service():
            return _service(setup, state, word)


def _measured(s: State, word: Measured, at: float) -> State:
    """The reading, and what the one before showed; the same one said again is no other."""
    if s.measured is None or s.measured.amps is None:
        before = 0.0
    elif at - s.measured_at < ANOTHER:
        before = s.measured_before
    else:
        before = max(map(abs, s.measured.amps))
    return replace(s, measured=word, measured_at=at, measured_before=before)


def _refuse_permit(setup: OutletSetup, s: State, word: Permit) -> str:
    if word.plug != s.plug:
        return f"stale plug: {word.plug}, here is {s.plug}"
    if not VALID_MIN <= word.valid_for <= VALID_MAX:
        return f"valid_for: between {VALID_MIN:g} and {VALID_MAX:g} s"
    if not 0 <= word.amps <= MAX_AMPS:
        return f"amps: between 0 and {MAX_AMPS:g}"
    if word.phases != setup.phases and not (setup.switching and word.phases == 1):
        return (
            f"phases: {'1 or 3' if setup.switching else f'{setup.phases} are wired here, and none can be switched off'}"
        )
    if s.plug == 0 and word.mode is not Mode.UNAVAILABLE and word.amps >= MIN_AMPS:
        return "no vehicle"
    return ""


def _refuse_clearing(s: State, name: str) -> str:
    if name not in s.faults:
        return "no such fault is active"
    match FAULTS[name].clears:
        case Clears.ITSELF:
            return "it clears by itself once its cause is gone"
        case Clears.NEVER:
            return "it stays until its cause is repaired and the guard restarted"
    return "" if name in s.since else "its cause is still there"


def _service(setup: OutletSetup, s: State, word: Service) -> tuple[State, str]:
    if s.plug and not word.confirmed:
        return s, "a vehicle is connected: a technician must confirm"
    match word.step:
        case "lock" | "unlock" if not setup.tethered:
            return replace(s, wish=word.step == "lock", lock_failed=None), ""
        case "self-test" if setup.residual:
            if holds(s):
                return s, "power is on or offered"
            return replace(s, test=Test.DUE), ""
    return s, "step: lock or unlock (sockets), self-test (with a monitor)"
