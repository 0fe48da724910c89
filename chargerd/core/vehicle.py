"""Vehicles as they are: what one has shown of itself since it was plugged in, and what is made of it.

- Which phases it uses is seen by the meter: current for `OBSERVED` s on some of them, and those are all. Should another
  follow after all, it counts with the next reading.
- One that was offered power and takes none is *sated*: where there is not enough for all it comes last, and is offered
  no more than it needs to begin again, until it does.
- Its phases are reduced to one where a profile names one, or (`Switching.AUTO`) where watts suffice for one phase and
  not for three; at once, for until the guard has switched them, with power off, it offers nothing. They are made three
  again only a few times in a session, and not soon after: one phase in use is better than another pause.
"""

from __future__ import annotations

from dataclasses import replace

from chargerd.core.draft import Draft
from chargerd.core.limits import ALL, per_phase, switches
from chargerd.core.profiles import Unit
from chargerd.core.records import ChargingState
from chargerd.core.schedule import Force
from chargerd.core.state import Manners, Outlet, Policy, Switching
from chargerd.core.status import FLOWS, charging_state, offered
from hal.api import MeterReading

OBSERVED = 30.0  # s


def metered(draft: Draft, rank: int, reading: MeterReading) -> None:
    """Look which phases carry current."""
    live = draft.outlet(rank).live
    if not live.plug or reading.amps is None:
        return
    manners = _of(live.plug, live.manners)
    flowing = frozenset(n for n, amps in enumerate(reading.amps, 1) if abs(amps) >= FLOWS) if live.powered else None
    if not flowing:
        _keep(draft, rank, replace(manners, since=None))
        return
    since = draft.now.mono if manners.since is None else manners.since
    surely = manners.surely or draft.now.mono - since >= OBSERVED
    _keep(draft, rank, replace(manners, phases=manners.phases | flowing, since=since, surely=surely, sated=False))


def settle(draft: Draft, rank: int) -> None:
    """Another vehicle has other manners; this one is sated once it leaves what it is offered."""
    outlet = draft.outlet(rank)
    manners = _of(outlet.live.plug, outlet.live.manners)
    if not manners.sated and offered(outlet) and charging_state(outlet) is ChargingState.SUSPENDED_EV:
        visit = outlet.visit
        manners = replace(manners, sated=visit is not None and visit.tx is not None and visit.tx.told)
    elif manners.sated and outlet.live.powered and not outlet.live.resting:
        manners = replace(manners, sated=False)
    _keep(draft, rank, manners)


def _of(plug: int, manners: Manners) -> Manners:
    return manners if manners.plug == plug else Manners(plug)


def _keep(draft: Draft, rank: int, manners: Manners) -> None:
    draft.set_live(rank, manners=manners)


def uses(outlet: Outlet, phases: int | None = None) -> frozenset[int]:
    """The outlet's phases on which current may flow, where so many are permitted (None: all that are wired)."""
    on = frozenset(range(1, min(outlet.site.phases, phases or ALL) + 1))
    manners = outlet.live.manners
    seen = manners.phases & on if manners.plug == outlet.live.plug and manners.surely else frozenset[int]()
    return seen or on


def wanted_phases(outlet: Outlet, found: tuple[Force, ...], policy: Policy, least: float) -> int:
    """How many phases the limits in force ask for; `least` amperes are of use to the vehicle."""
    site = outlet.site
    if not switches(outlet):
        return site.phases
    for force in found:
        if force is None:
            continue
        profile, period = force
        if period.phases == 1:
            return 1
        if site.switching is Switching.AUTO and profile.schedule.unit is Unit.WATTS:
            one, all_ = (per_phase(period.limit, Unit.WATTS, policy.volts, n) for n in (1, site.phases))
            if all_ < least <= one:
                return 1
    return site.phases


def switch(draft: Draft, rank: int, wanted: int) -> int:
    """The phases to permit to the vehicle of this plug: more of them only where it is not too soon nor too often."""
    outlet, policy, now = draft.outlet(rank), draft.state.site.policy, draft.now.mono
    live, manners = outlet.live, outlet.live.manners
    had = live.permit[2] if live.permit is not None and live.permit[0] == live.plug else None
    if had == wanted or not switches(outlet):
        return wanted
    if had is None or not (live.powered or manners.phases or manners.switches):  # the first choice, or a better one
        _keep(draft, rank, replace(manners, switched_at=now))
        return wanted
    last = manners.switched_at
    if live.phases == wanted:  # the guard has not switched them yet, and need not
        return wanted
    if wanted > had and (manners.switches >= policy.switches or (last is not None and now - last < policy.switch_rest)):
        return had
    again = replace(manners, switches=manners.switches + 1, switched_at=now, phases=frozenset(), surely=False)
    _keep(draft, rank, replace(again, since=None))
    return wanted
