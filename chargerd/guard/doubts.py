"""How doubts become faults, and how faults end: the time that the checks leave out.

evidence   grows while a check objects, by what the sample stands for, times how bad it is; shrinks half as fast
           while it does not, so that what is wrong a third of the time cannot hide between two good samples
fault      at `hold` seconds of evidence; it ends by its class, and where that is "by itself" only after `trust`
           seconds without a single objection
"""

from __future__ import annotations

from chargerd.faults import Clears
from chargerd.guard.checks import ROWS, WARNINGS
from chargerd.guard.lease import Kind
from chargerd.guard.setup import OutletSetup
from chargerd.guard.state import GRAIN, Said, Sample, State

LEAK = 0.5
SPEAKS_FOR = 0.1  # s that one sample may stand for


def weigh(setup: OutletSetup, s: State, x: Sample, now: float, said: list[Said]) -> None:
    """Ask every check."""
    passed, s.looked_at = min(now - s.looked_at, SPEAKS_FOR), now
    s.doubt, s.since, s.faults = dict(s.doubt), dict(s.since), dict(s.faults)
    for name, fault, check in ROWS:
        weight = passed * check(setup, s, x, now)
        if name not in s.faults:
            known = s.doubt.pop(name, 0.0)
            if weight and known >= fault.hold - GRAIN:
                find(s, name, said)
            elif weight or known > passed * LEAK:
                s.doubt[name] = known + (weight or -passed * LEAK)
        elif weight:
            s.since.pop(name, None)
        elif _over(s, name, fault.clears, now - s.since.setdefault(name, now) >= fault.trust):
            del s.since[name], s.faults[name]
            said.append((Kind.FAULT_CLEARED, s.plug, name))
    s.pardoned = ()
    _warn(setup, s, x, now, passed)


def _warn(setup: OutletSetup, s: State, x: Sample, now: float, passed: float) -> None:
    """The same for what stops nothing; it ends with its cause."""
    found = set()
    for name, warning, check in WARNINGS:
        weight = passed * check(setup, s, x, now)
        if not weight:
            s.doubt.pop(name, None)
        elif (known := s.doubt.get(name, 0.0)) >= warning.hold - GRAIN:
            found.add(name)
        else:
            s.doubt[name] = known + weight
    if found != s.warnings:
        s.warnings = frozenset(found)


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
