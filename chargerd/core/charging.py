"""The backend's charging profiles at this station: taken or refused, cleared, added up; and which end by themselves.

What is refused (1.6 §5.16, §7.10; K01): a profile with a flaw (`profiles.flaw`), for an outlet that is not there, for
the station elsewhere than at 0, for a transaction at 0, or where none runs, or another; and one too many. A profile
that comes with a remote start waits with the authorisation, and is installed when its transaction begins (§5.16.2).
"""

from __future__ import annotations

from dataclasses import replace
from math import floor, inf

from chargerd.core.commands import Answer, Composite, Outcome
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import CompositeAsked, ProfilesCleared, ProfileSet
from chargerd.core.limits import ALL, outlet_chain, own_amps, station_amps, station_chain
from chargerd.core.moment import Moment
from chargerd.core.profiles import STATION, Bounds, Installed, Profile, Purpose, Unit, cleared, flaw, installed, running
from chargerd.core.schedule import Force, second, segments
from chargerd.core.state import Outlet, Station, Tx
from chargerd.core.variables import Variables
from chargerd.core.vehicle import uses

LONGEST_COMPOSITE = 366 * 86_400  # s
LOOKS = 4000  # at what may change; then the schedule that is told ends early
_UNITS = {"Current": Unit.AMPERES, "Power": Unit.WATTS}
_GRAIN = 1e-6


def bounds(variables: Variables) -> Bounds:
    """What the station announces of its profiles (1.6 §9.4)."""
    return Bounds(
        variables.get_int("profile_levels"),
        frozenset(_UNITS[word] for word in variables.get_list("profile_units")),
        variables.get_int("profile_periods"),
        variables.get_int("profiles_most"),
    )


# ---------------------------------------------------------------- setting and clearing


def set_profile(draft: Draft, event: ProfileSet) -> None:
    state, profile = draft.state, event.profile
    tx = _running(state, event.place)
    why = flaw(profile, bounds(state.variables)) or _misplaced(state, event.place, profile, tx)
    if why is None and profile.purpose is Purpose.TX:
        assert tx is not None
        profile = replace(profile, tx=tx.uid)
    if why is None and not _install(draft, Installed(event.place, draft.now, profile)):
        why = f"{len(state.profiles)} profiles are installed, and there is no room for another"
    draft.do(Answer(event.ask, Outcome.ACCEPTED if why is None else Outcome.REJECTED, why=why or ""))


def _running(state: Station, place: int) -> Tx | None:
    """The transaction at an outlet, from its start being told until it is to end."""
    if not 1 <= place <= len(state.outlets):
        return None
    visit = state.outlet(place).visit
    tx = visit.tx if visit is not None else None
    return tx if tx is not None and tx.told and tx.stopping is None else None


def _misplaced(state: Station, place: int, profile: Profile, tx: Tx | None) -> str | None:
    if not 0 <= place <= len(state.outlets):
        return f"there is no outlet {place}"
    match profile.purpose:
        case Purpose.STATION_MAX if place != STATION:
            return "a profile for the whole station belongs to connector 0"
        case Purpose.TX if place == STATION:
            return "a profile for a transaction belongs to the connector where it runs"
        case Purpose.TX if tx is None:
            return f"no transaction runs at outlet {place}"
        case Purpose.TX if tx is not None and profile.tx not in (None, tx.uid):
            return f"another transaction runs at outlet {place}"
    return None


def _install(draft: Draft, new: Installed, promised: bool = False) -> bool:
    """False: there is no room; for what was `promised` there always is."""
    most = bounds(draft.state.variables).profiles
    found = installed(draft.state.profiles, new, most + len(draft.state.outlets) if promised else most)
    if found is not None:
        draft.set(profiles=found)
    return found is not None


def has_room(state: Station, profile: Profile, now: Moment) -> bool:
    """Can this TxProfile be promised for a transaction that is yet to begin?"""
    return installed(state.profiles, Installed(STATION, now, profile), bounds(state.variables).profiles) is not None


def clear(draft: Draft, event: ProfilesCleared) -> None:
    """1.6 §5.5, K10: accepted where there was something to clear."""
    left = cleared(draft.state.profiles, event.id, event.place, event.purpose, event.level)
    found = left is not draft.state.profiles
    draft.set(profiles=left)
    draft.do(Answer(event.ask, Outcome.ACCEPTED if found else Outcome.REJECTED))


def settle(draft: Draft) -> None:
    """Profiles begin and end with their transactions; and since when is nobody there to send another?"""
    state = draft.state
    away = state.site.backend and not state.online
    if away != (state.offline_since is not None):
        draft.set(offline_since=draft.now.mono if away else None)
    for rank, visit in list(draft.visits()):
        auth, tx = visit.auth, visit.tx
        if rank == LOBBY or auth is None or auth.profile is None or tx is None:
            continue
        draft.set_visit(rank, auth=replace(auth, profile=None))
        _install(draft, Installed(rank, draft.now, replace(auth.profile, tx=tx.uid)), promised=True)
    here = frozenset(visit.tx.uid for _, visit in draft.visits() if visit.tx is not None)
    if (left := running(draft.state.profiles, here)) is not draft.state.profiles:
        draft.set(profiles=left)


# ---------------------------------------------------------------- the composite schedule


def composite(draft: Draft, event: CompositeAsked) -> None:
    """1.6 §5.7, K08: the least of all profiles and of what is fixed, as if a transaction ran where none does.

    What others take from a shared limit, heat and load shedding are of the moment, and not in it. Of the station it is
    the sum over the outlets, within its own limits. Where there is too much to tell it covers less time.
    """
    state, now = draft.state, draft.now
    allowed = bounds(state.variables)
    unit = event.unit or Unit.AMPERES
    if not 0 <= event.place <= len(state.outlets) or event.duration <= 0 or unit not in allowed.units:
        draft.do(Answer(event.ask, Outcome.REJECTED, lasting=False))
        return
    start, end = second(now), second(now) + min(event.duration, LONGEST_COMPOSITE)
    outlets = state.outlets if event.place == STATION else (state.outlet(event.place),)
    chains = [station_chain(state, now), *(outlet_chain(state, outlet, now) for outlet in outlets)]
    ways = [(outlet, len(uses(outlet))) for outlet in outlets]
    told: list[tuple[int, float, int]] = []
    for t, forces in segments(chains, start, end, LOOKS):
        limit, phases = _total(state, ways, forces[0], forces[1:], unit) if forces else (-1.0, 0)
        if told and (limit, phases) == told[-1][1:]:
            continue
        if not forces or len(told) == allowed.periods:
            end = t
            break
        told.append((t - start, limit, phases))
    answer = Composite(start, end - start, unit, tuple(told))
    draft.do(Answer(event.ask, Outcome.ACCEPTED, lasting=False, composite=answer))


def _total(
    state: Station, ways: list[tuple[Outlet, int]], station: Force, own: tuple[Force, ...], unit: Unit
) -> tuple[float, int]:
    """The limit of all these outlets together, and on how many phases; with each on how many current may flow."""
    volts = state.site.policy.volts
    most = min(state.site.max_amps, station_amps(state, station, ways[0][1]))
    each = [_own(state, outlet, flows, force, most) for (outlet, flows), force in zip(ways, own, strict=True)]
    phases = max(named for _, _, named in each)
    if unit is Unit.AMPERES:
        return _down(min(most, sum(amps for amps, _, _ in each))), phases
    sums = [most * volts * phases, sum(watts for _, watts, _ in each), _watts(station)]
    return _down(min(sums)), phases


def _own(state: Station, outlet: Outlet, flows: int, force: Force, most: float) -> tuple[float, float, int]:
    """Amperes per phase, watts and phases of one outlet."""
    fixed = min(outlet.site.amps, outlet.live.cable_amps or inf, most)
    amps = min(fixed, own_amps(state, outlet, force, flows))
    phases = outlet.site.phases if force is None else min(outlet.site.phases, force[1].phases or ALL)
    watts = min(fixed, amps if force is None or force[0].schedule.unit is Unit.AMPERES else inf)
    return amps, min(watts * state.site.policy.volts * phases, _watts(force)), phases


def _watts(force: Force) -> float:
    """A limit in watts as it stands."""
    return force[1].limit if force is not None and force[0].schedule.unit is Unit.WATTS else inf


def _down(limit: float) -> float:
    """To one decimal, never up."""
    return floor(limit * 10 + _GRAIN) / 10
