"""How doubts become faults, and how faults end: the time that the checks leave out.

    evidence   grows while a check objects, as fast as it is bad; shrinks half as fast while it does not, so that what
               is wrong a third of the time cannot hide between two good samples
    fault      at `hold` seconds of evidence; it ends by its class, and where that is "by itself" only after `trust`
               seconds without a single objection

A `Doubt` is written anew only when the check changes its mind: in between, time alone decides.
"""

from __future__ import annotations

from chargerd.faults import Clears
from chargerd.guard.checks import ROWS, WARNINGS
from chargerd.guard.lease import Kind
from chargerd.guard.setup import OutletSetup
from chargerd.guard.state import GRAIN, Doubt, Said, Sample, State

LEAK = 0.5


def weigh(setup: OutletSetup, s: State, x: Sample, now: float, said: list[Said]) -> None:
    """Ask every check."""
    s.doubt, s.since, s.faults = dict(s.doubt), dict(s.since), dict(s.faults)
    for name, fault, check in ROWS:
        weight = check(setup, s, x, now)
        if name not in s.faults:
            if _believed(s, name, fault.hold, weight, LEAK, now):
                del s.doubt[name]
                find(s, name, said)
        elif weight:
            s.since.pop(name, None)
        elif _over(s, name, fault.clears, now - s.since.setdefault(name, now) >= fault.trust):
            del s.since[name], s.faults[name]
            said.append((Kind.FAULT_CLEARED, s.plug, name))
    s.pardoned = ()
    found = {
        name for name, warning, check in WARNINGS if _believed(s, name, warning.hold, check(setup, s, x, now), 0, now)
    }
    if found != s.warnings:
        s.warnings = frozenset(found)


def _believed(s: State, name: str, hold: float, weight: float, leak: float, now: float) -> bool:
    """Is there evidence enough? Without a leak it is gone at once when the check is content."""
    doubt = s.doubt.get(name)
    if doubt is None:
        if weight:
            s.doubt[name] = Doubt(0.0, now, weight)
        return weight > 0 and hold <= GRAIN
    level, slope = doubt.level + doubt.slope * (now - doubt.at), weight or -leak
    if not weight and (level <= GRAIN or not leak):
        del s.doubt[name]
    elif slope != doubt.slope:
        s.doubt[name] = Doubt(max(0.0, level), now, slope)
    return weight > 0 and level >= hold - GRAIN


def find(s: State, name: str, said: list[Said]) -> None:
    """A fault is there; once is enough."""
    if name not in s.faults:
        s.faults[name] = s.plug
        said.append((Kind.FAULT, s.plug, name))


def _over(s: State, name: str, clears: Clears, trusted: bool) -> bool:
    """Does a fault end whose cause is gone?"""
    if name in s.pardoned and clears is not Clears.NEVER:
        return True
    if clears is Clears.UNPLUG:
        return s.faults[name] == 0 or s.faults[name] != s.plug
    return clears is Clears.ITSELF and trusted
