"""How much each outlet may give its vehicle: all limits weighed, the station's shared, and the rest told to the guard.

What one outlet gives up another gets only once the first vehicle surely takes it no more (`EBB`): so the sum keeps
below the limit while it moves. Where less is left than a vehicle can use, it pauses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chargerd.core import vehicle
from chargerd.core.commands import SetPermit
from chargerd.core.draft import Draft
from chargerd.core.limits import (
    Limit,
    Source,
    least,
    of_outlet,
    of_station,
    outlet_chain,
    per_phase,
    station_chain,
)
from chargerd.core.moment import Moment
from chargerd.core.points import ENERGY
from chargerd.core.records import LimitChanged
from chargerd.core.schedule import Force, force, second
from chargerd.core.sharing import Want, share, station_phases
from chargerd.core.state import Live, Outlet, Station
from chargerd.core.status import LOWEST_AMPS, barred, beginning, blocking

EBB = 11.0  # s in which a lower offer is surely followed: 5 s until it is on the pilot, 5 s of the vehicle, its ramp
SETTLING = 7.0  # s until silence is told: self-test and lock, then up to 5 s of a vehicle (IEC 61851-1 A.6 #6)
GRAIN = 1e-6


def entitled(station: Station, outlet: Outlet) -> bool:
    """Everything on the daemon's side of the lease says yes, whatever the amperes."""
    visit, live = outlet.visit, outlet.live
    if visit is None or visit.auth is None or not live.known or blocking(station, outlet):
        return False
    if not live.plug or visit.plug != live.plug:
        return False
    if barred(outlet):
        return False
    tx = visit.tx
    if tx is not None and tx.unwritten:
        return False
    if station.window.start == {ENERGY}:  # only power itself lets the transaction begin
        return beginning(station) if tx is None else tx.stopping is None
    return tx is not None and tx.told and tx.stopping is None and tx.reading_by is None


@dataclass(frozen=True, slots=True)
class Case:
    """One outlet that may have power: the least of its own limits, and what it wants of the station's."""

    limit: Limit
    want: Want


@dataclass(frozen=True, slots=True)
class Weighed:
    """`station`: the least limit of the sum; `cases` by outlet, most important first; `aims`: amperes for each."""

    station: Limit
    cases: Mapping[int, Case]
    aims: Mapping[int, float]

    def deciding(self, rank: int, amps: float) -> Source:
        """Whose limit it is that the outlet has so many amperes and no more."""
        own, whole, needed = self.cases[rank].limit, self.station, self.cases[rank].want.least
        if own.amps <= whole.amps and (amps > own.amps - 0.1 or own.amps < needed):
            return own.source
        return whole.source if amps > whole.amps - 0.1 or whole.amps < needed else Source.SHARE


def weigh(station: Station, now: Moment, phases: Mapping[int, int]) -> Weighed:
    """What everybody is to have, once all have let go of what is the others'; `phases` as decided, by outlet."""
    served = [outlet for outlet in station.outlets if outlet.site.rank in phases]
    served.sort(key=lambda o: (o.live.manners.sated, o.visit.auth.at.mono if o.visit and o.visit.auth else 0.0))
    found = {o.site.rank: _case(station, o, now, phases[o.site.rank]) for o in served}
    whole = least(of_station(station, now, len(vehicle.uses(station.outlets[0], phases.get(1)))))
    wants = {rank: case.want for rank, case in found.items()}
    aims = share(whole.amps, wants)
    if any(aims[rank] < want.amps and want.amps >= want.least for rank, want in wants.items()):
        # There is not enough for all: who takes nothing is offered what it needs to begin again.
        sated = [outlet.site.rank for outlet in served if outlet.live.manners.sated]
        small = {rank: replace(wants[rank], amps=min(wants[rank].amps, wants[rank].least)) for rank in sated}
        aims = share(whole.amps, wants | small)
    return Weighed(whole, found, aims)


def _case(station: Station, outlet: Outlet, now: Moment, phases: int) -> Case:
    used = vehicle.uses(outlet, phases)
    limit = least(of_outlet(station, outlet, now, len(used)))
    loads = station_phases(station.variables.get_text("phase_rotation"), outlet.site.rank, used)
    found = force(outlet_chain(station, outlet, now), second(now))
    return Case(limit, Want(limit.amps, _useful(station, outlet, found, limit.amps, len(used)), loads))


def _useful(station: Station, outlet: Outlet, found: Force, most: float, flows: int) -> float:
    """Amperes below which the vehicle had better pause: what it needs, and when shared the profile's least rate."""
    site = outlet.site
    needs = max(LOWEST_AMPS, site.least if outlet.live.powered else max(site.least, site.begin))
    schedule = None if found is None else found[0].schedule
    if schedule is None or schedule.least is None:
        return needs
    return max(needs, min(most, per_phase(schedule.least, schedule.unit, station.site.policy.volts, flows)))


# ---------------------------------------------------------------- each step


def settle(draft: Draft) -> None:
    for rank in draft.ranks():
        vehicle.settle(draft, rank)
    served = [rank for rank in draft.ranks() if entitled(draft.state, draft.outlet(rank))]
    phases = {rank: _phases(draft, rank) for rank in served}
    weighed = weigh(draft.state, draft.now, phases)
    shares = _eased(draft, weighed)
    for rank in draft.ranks():
        outlet = draft.outlet(rank)
        if not outlet.live.known:
            continue
        amps = math.floor(shares.get(rank, 0.0) * 10 + GRAIN) / 10
        available = outlet.visit is not None or draft.state.in_service(outlet)
        _permit(draft, rank, (outlet.live.plug, amps, phases.get(rank, outlet.site.phases), available))
        _tell(draft, rank, weighed)


def _permit(draft: Draft, rank: int, wanted: tuple[int, float, int, bool]) -> None:
    live, now = draft.outlet(rank).live, draft.now.mono
    if wanted == live.permit:
        return
    amps, had = wanted[1], _had(live)
    if amps < had and _takes(live, amps):
        before = live.ebb[0] if live.ebb is not None else 0.0
        draft.set_live(rank, ebb=(max(had, before), now + EBB))
    draft.do(SetPermit(rank, *wanted))
    raised = amps >= LOWEST_AMPS and (live.permit is None or live.permit[1] < LOWEST_AMPS)
    settling = now + SETTLING if raised and not live.powered else live.settling_until
    draft.set_live(rank, permit=wanted, settling_until=settling)


def _had(live: Live) -> float:
    """What was permitted last; after a restart what the guard still offers."""
    if live.permit is None:
        return live.offered if live.powered else 0.0
    return live.permit[1] if live.permit[0] == live.plug else 0.0


def _phases(draft: Draft, rank: int) -> int:
    """How many phases the outlet is to have now."""
    state, outlet, t = draft.state, draft.outlet(rank), second(draft.now)
    chains = [outlet_chain(state, outlet, draft.now)]
    if len(state.outlets) == 1:
        chains.append(station_chain(state, draft.now))
    forces = tuple(force(chain, t) for chain in chains)
    needs = max(LOWEST_AMPS, outlet.site.least)
    return vehicle.switch(draft, rank, vehicle.wanted_phases(outlet, forces, state.site.policy, needs))


def _eased(draft: Draft, weighed: Weighed) -> dict[int, float]:
    """The shares; those that rise do so only as far as the others have let go."""
    now, cases = draft.now.mono, weighed.cases
    for rank in draft.ranks():
        live = draft.outlet(rank).live
        if live.ebb is not None and (live.ebb[1] <= now or not _takes(live, _had(live))):
            draft.set_live(rank, ebb=None)
    lives = {rank: draft.outlet(rank).live for rank in draft.ranks()}
    given = {rank: min(_had(lives[rank]), aim) for rank, aim in weighed.aims.items()}
    flowing = {rank: _flowing(live, given.get(rank, 0.0)) for rank, live in lives.items()}
    for rank, aim in weighed.aims.items():
        want, others = cases[rank].want, [other for other in lives if other != rank]
        room = weighed.station.amps - max(
            sum(flowing[o] for o in others if o not in cases or lives[o].ebb or phase in cases[o].want.phases)
            for phase in want.phases
        )
        rise = min(aim, room)
        if rise > given[rank] and rise >= want.least - GRAIN:
            given[rank] = rise
            flowing[rank] = max(flowing[rank], rise)
    return given


def _flowing(live: Live, given: float) -> float:
    """The most that a vehicle may take now, however slowly it follows."""
    if not _takes(live, given):
        return 0.0
    return max(given, _had(live), live.ebb[0] if live.ebb is not None else 0.0)


def _takes(live: Live, amps: float) -> bool:
    """Can its vehicle take anything, with so many amperes permitted? It may be about to begin on an older offer."""
    return live.plug != 0 and (live.powered or amps > 0)


def _tell(draft: Draft, rank: int, weighed: Weighed) -> None:
    """What the running transaction may have, and why, where that is news."""
    outlet = draft.outlet(rank)
    tx, permit = outlet.visit.tx if outlet.visit is not None else None, outlet.live.permit
    if rank not in weighed.cases or tx is None or not tx.told or permit is None:
        draft.set_live(rank, limit=None)
        return
    limit = (permit[1], permit[2], weighed.deciding(rank, permit[1]).value)
    if limit != outlet.live.limit:
        draft.set_live(rank, limit=limit)
        draft.tell(LimitChanged(draft.now, rank, tx.uid, *limit))
