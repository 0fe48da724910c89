"""How the station's limit is divided over the outlets that want power: per phase, and the sum never exceeds it.

Everyone gets the same, nobody more than they can take; what one cannot use goes to the others. Who is alone on a phase
shares it with nobody, and may have more. Below the least that a vehicle charges with (6 A where nobody says more: there
is no code on the pilot below) an outlet gets nothing: then the one that comes last in `wants` pauses, so that those
before it can go on - the youngest visit, but first those whose vehicles take nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chargerd.core.status import LOWEST_AMPS

EVERY = frozenset({1, 2, 3})
GRAIN = 1e-9
_LETTERS = {"R": 1, "S": 2, "T": 3}


@dataclass(frozen=True, slots=True)
class Want:
    """The most amperes per phase that an outlet can take, the least that are of use, the station's phases it loads."""

    amps: float
    least: float = LOWEST_AMPS
    phases: frozenset[int] = EVERY


def share(total: float, wants: Mapping[int, Want]) -> dict[int, float]:
    """Amperes per phase and outlet: `wants` by outlet, most important first; `total` amperes on each phase."""
    served = [rank for rank, want in wants.items() if want.amps >= want.least]
    while True:
        shares = _fill(total, {rank: wants[rank] for rank in served})
        starved = [rank for rank in served if shares[rank] < wants[rank].least - GRAIN]
        if not starved:
            return {rank: shares.get(rank, 0.0) for rank in wants}
        crowded = frozenset[int]().union(*(wants[rank].phases for rank in starved))
        served.remove(next(rank for rank in reversed(served) if wants[rank].phases & crowded))


def _fill(total: float, wants: Mapping[int, Want]) -> dict[int, float]:
    """Raise all together; who has enough, or loads a phase that is full, stays where it is."""
    shares = dict.fromkeys(wants, 0.0)
    rising = set(wants)
    left = dict.fromkeys(EVERY, total)
    while rising:
        loads = {phase: sum(phase in wants[rank].phases for rank in rising) for phase in EVERY}
        room = min((left[phase] / load for phase, load in loads.items() if load), default=0.0)
        rise = max(0.0, min(room, min(wants[rank].amps - shares[rank] for rank in rising)))
        for rank in rising:
            shares[rank] += rise
        for phase, load in loads.items():
            left[phase] -= rise * load
        full = {phase for phase, load in loads.items() if load and left[phase] <= GRAIN * load}
        rising = {rank for rank in rising if wants[rank].amps - shares[rank] > GRAIN and not wants[rank].phases & full}
    return shares


def station_phases(rotation: str, rank: int, used: frozenset[int]) -> frozenset[int]:
    """The station's phases behind those of an outlet (1.6 §9.1.21); where the rotation is not known, all of them.

    `rotation` is the value of ConnectorPhaseRotation: `1.RST,2.STR` means that L1 of connector 2 is the station's L2.
    """
    words = dict(item.split(".", 1) for item in rotation.split(",") if "." in item)
    letters = words.get(str(rank), "")
    if len(letters) != len(_LETTERS) or not set(letters) <= set(_LETTERS):
        return EVERY
    return frozenset(_LETTERS[letters[phase - 1]] for phase in used)
