"""Why an outlet offers what it offers, for a technician: every limit with source, age, end, and what follows."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from chargerd.core import vehicle
from chargerd.core.limits import Limit, Source, of_outlet, of_station
from chargerd.core.moment import Moment
from chargerd.core.permits import Weighed, entitled, weigh
from chargerd.core.schedule import elapsed
from chargerd.core.state import Outlet, Station
from chargerd.daemon import picture
from chargerd.guard.lease import Truth

Json = dict[str, Any]
_SOON = 1.0  # s after a change: whole seconds of the wall clock and of a schedule do not begin together


def why(state: Station, rank: int, truth: Truth | None, now: Moment, unwritten: bool = False) -> Json:
    """One outlet. `decides` is the word of `picture.limit`, as is `unwritten`; amperes are per phase.

    limits: of the outlet alone, and those of the station, which all share: source, amps, profile, age (s since the
    profile was accepted), changes (s until it becomes another by itself) and then (its amps after that, null: none).
    """
    outlet = state.outlet(rank)
    served = {o.site.rank: _phases(o) for o in state.outlets if entitled(state, o)}
    weighed = weigh(state, now, served)
    flows = len(vehicle.uses(outlet, served.get(rank)))
    permit = outlet.live.permit
    return {
        "outlet": rank,
        "offered": outlet.live.offered,
        "permitted": 0.0 if permit is None else permit[1],
        "phases": served.get(rank, outlet.site.phases),
        "uses": sorted(vehicle.uses(outlet, served.get(rank))),
        "decides": picture.limit(state, outlet, truth, unwritten),
        "needs": weighed.cases[rank].want.least if rank in weighed.cases else None,
        "share": weighed.aims.get(rank),
        "sharing": sorted(other for other in served if other != rank),
        "waits": _waits(outlet, weighed),
        "limits": _limits(state, outlet, now, flows),
        "celsius": None if truth is None else truth.celsius,
        "guard": None if truth is None else truth.limit,
        "sated": outlet.live.manners.sated,
        "switches": outlet.live.manners.switches,
    }


def _phases(outlet: Outlet) -> int:
    permit = outlet.live.permit
    return outlet.site.phases if permit is None else permit[2]


def _waits(outlet: Outlet, weighed: Weighed) -> bool:
    """Will it have more, once others have let go of it?"""
    permit, aim = outlet.live.permit, weighed.aims.get(outlet.site.rank, 0.0)
    return permit is not None and aim - permit[1] > 0.1


def _limits(state: Station, outlet: Outlet, now: Moment, flows: int) -> list[Json]:
    found = [*of_outlet(state, outlet, now, flows), *of_station(state, now, flows)]
    return sorted((_told(state, outlet, limit, now, flows) for limit in found), key=lambda told: float(told["amps"]))


def _told(state: Station, outlet: Outlet, limit: Limit, now: Moment, flows: int) -> Json:
    profile = limit.profile
    told: Json = {"source": limit.source.value, "amps": round(limit.amps, 2), "profile": None, "age": None}
    if profile is not None:
        kept = state.profiles.get(str(profile.id))
        told["profile"] = {"id": profile.id, "level": profile.level, "purpose": profile.purpose.value}
        told["age"] = None if kept is None else round(elapsed(kept.accepted, now))
    told["changes"] = None if limit.changes is None else round(limit.changes, 1)
    told["then"] = None if limit.changes is None else _then(state, outlet, limit, now, flows)
    return told


def _then(state: Station, outlet: Outlet, limit: Limit, now: Moment, flows: int) -> float | None:
    """What this source allows after its next change; None: it sets no limit then."""
    assert limit.changes is not None
    after = limit.changes + _SOON
    later = replace(now, mono=now.mono + after, wall=now.wall + after)
    if limit.source is Source.STATION_PROFILE:
        found = of_station(state, later, flows)[1:]
    else:
        found = [
            each
            for each in of_outlet(state, outlet, later, flows)
            if each.source in (Source.PROFILE, Source.NO_PROFILE)
        ]
    amps = [round(each.amps, 2) for each in found if isfinite(each.amps)]
    return min(amps, default=None)
