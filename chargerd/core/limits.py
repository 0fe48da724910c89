"""Why there are not more amperes: every limit with its source, and one arbiter.

Limits are amperes per phase. Those of an outlet bound it alone; those of the station bound the sum over its outlets on
each phase, which `core.sharing` divides. The guard has limits of its own (board, temperature), which it applies
whatever it is told; they need no place here.

A limit in watts becomes amperes by `volts` and a number of phases (K01.FR.50): the one the profile names (three, where
it names none), at most those that are wired and at least those on which current may flow. So neither a vehicle on one
phase nor one on three gets more than the profile says. Only where phases can be switched off do those that are on count
alone. For several outlets together it is every phase that they can load.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from chargerd.core.moment import Moment
from chargerd.core.profiles import STATION, Installed, Period, Profile, Purpose, Unit
from chargerd.core.schedule import Chain, Force, due, force, lay, second
from chargerd.core.sharing import station_phases
from chargerd.core.state import Outlet, Station, Switching

ALL = 3  # phases, where nobody says how many (K01.FR.49)


class Source(StrEnum):
    OUTLET = "outlet"  # contactor and wiring
    CABLE = "cable"
    STATION = "station"  # its fuse
    SHARE = "share"  # what the others leave of the station's limits
    PROFILE = "profile"  # of this transaction or outlet
    STATION_PROFILE = "station-profile"
    NO_PROFILE = "no-profile"  # the installer's, where none of its own limits a transaction
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Limit:
    """One of them. `changes`: seconds until it may be another, by itself."""

    source: Source
    amps: float
    profile: Profile | None = None
    changes: float | None = None


# ---------------------------------------------------------------- what the backend's profiles come to


def own_chain(station: Station, rank: int, tx: str | None, since: Moment | None, now: Moment) -> Chain:
    """The profiles for one outlet, most important first: of its transaction, then the default ones (1.6 §3.12)."""
    found = [one for one in station.profiles.values() if _concerns(one, rank, tx)]
    levels = {one.profile.level for one in found if one.profile.purpose is Purpose.TX_DEFAULT and one.place == rank}
    found = [one for one in found if one.place or one.profile.level not in levels]
    found.sort(key=lambda one: (one.profile.purpose is Purpose.TX, one.profile.level), reverse=True)
    return _laid(station, found, now, since)


def _concerns(one: Installed, rank: int, tx: str | None) -> bool:
    match one.profile.purpose:
        case Purpose.TX:
            return tx is not None and one.profile.tx == tx
        case Purpose.TX_DEFAULT:
            return one.place in (STATION, rank)
    return False


def station_chain(station: Station, now: Moment) -> Chain:
    """The profiles for the station as a whole."""
    found = [one for one in station.profiles.values() if one.profile.purpose is Purpose.STATION_MAX]
    found.sort(key=lambda one: one.profile.level, reverse=True)
    return _laid(station, found, now, None)


def _laid(station: Station, found: list[Installed], now: Moment, since: Moment | None) -> Chain:
    laid = (lay(one, now, since, station.site.policy.unknown) for one in found)
    return [one for one in laid if one is not None]


def outlet_chain(station: Station, outlet: Outlet, now: Moment) -> Chain:
    """`own_chain` for whatever runs at the outlet now."""
    tx = outlet.visit.tx if outlet.visit is not None else None
    return own_chain(station, outlet.site.rank, tx.uid if tx else None, tx.started if tx else None, now)


def per_phase(limit: float, unit: Unit, volts: float, phases: int) -> float:
    return limit if unit is Unit.AMPERES else limit / (volts * phases)


def switches(outlet: Outlet) -> bool:
    """Can and may its phases be switched?"""
    return outlet.live.switching and outlet.site.switching is not Switching.NEVER and outlet.site.phases > 1


def counted(outlet: Outlet, period: Period, flows: int) -> int:
    """By how many phases a limit in watts is divided; `flows`: on how many current may flow."""
    if switches(outlet):
        return flows
    return max(min(period.phases or ALL, outlet.site.phases), flows)


def own_amps(station: Station, outlet: Outlet, found: Force, flows: int) -> float:
    """Amperes by the outlet's profiles, or by the installer's word where there is none."""
    if found is None:
        return station.site.policy.without
    profile, period = found
    return per_phase(period.limit, profile.schedule.unit, station.site.policy.volts, counted(outlet, period, flows))


def station_amps(station: Station, found: Force, flows: int) -> float:
    """Amperes on each phase for the sum of all outlets, by the station's profiles; `flows` of a single outlet."""
    if found is None:
        return inf
    profile, period = found
    phases = counted(station.outlets[0], period, flows) if len(station.outlets) == 1 else _loaded(station)
    return per_phase(period.limit, profile.schedule.unit, station.site.policy.volts, phases)


def _loaded(station: Station) -> int:
    """On how many of the station's phases its outlets can take current, where the sum on each of them is bounded.

    An outlet that may hang at any phase counts on every one of them (`station_phases`), so it can add to no other.
    """
    rotation = station.variables.get_text("phase_rotation")
    known, most = frozenset[int](), 0
    for site in (outlet.site for outlet in station.outlets):
        wired = frozenset(range(1, site.phases + 1))
        loads = station_phases(rotation, site.rank, wired)
        known, most = (known | loads, most) if len(loads) == len(wired) else (known, max(most, len(wired)))
    return max(len(known), most)


# ---------------------------------------------------------------- limits now


def of_outlet(station: Station, outlet: Outlet, now: Moment, flows: int) -> list[Limit]:
    """Those that bound one outlet alone; `flows`: on how many phases current may flow."""
    policy = station.site.policy
    chain = outlet_chain(station, outlet, now)
    found = force(chain, second(now))
    amps = own_amps(station, outlet, found, flows)
    limits = [Limit(Source.OUTLET, outlet.site.amps)]
    if outlet.live.cable_amps:
        limits.append(Limit(Source.CABLE, outlet.live.cable_amps))
    if found is not None:
        limits.append(Limit(Source.PROFILE, amps, found[0], due(chain, now)))
    elif amps < inf:
        limits.append(Limit(Source.NO_PROFILE, amps, None, due(chain, now)))
    begins = _offline_at(station)
    if begins is not None and now.mono >= begins:
        limits.append(Limit(Source.OFFLINE, policy.offline))
    return limits


def _offline_at(station: Station) -> float | None:
    """When the installer's limit for a station without a link begins to count."""
    policy = station.site.policy
    since = station.offline_since
    return since + policy.offline_after if since is not None and policy.offline < inf else None


def of_station(station: Station, now: Moment, flows: int) -> list[Limit]:
    """Those that bound the sum over the outlets, on each phase; `flows` as in `station_amps`."""
    chain = station_chain(station, now)
    found = force(chain, second(now))
    limits = [Limit(Source.STATION, station.site.max_amps)]
    if found is not None:
        limits.append(Limit(Source.STATION_PROFILE, station_amps(station, found, flows), found[0], due(chain, now)))
    return limits


def least(limits: list[Limit]) -> Limit:
    """The one that decides; of equal ones the first."""
    return min(limits, key=lambda limit: limit.amps)


def wakes(station: Station, now: Moment) -> Iterator[float]:
    """Monotonic seconds at which a limit of something that runs may change by itself."""
    running = [outlet for outlet in station.outlets if outlet.visit is not None and outlet.visit.auth is not None]
    if not running:
        return
    chains = [station_chain(station, now), *(outlet_chain(station, outlet, now) for outlet in running)]
    for chain in chains:
        if (wait := due(chain, now)) is not None:
            yield now.mono + wait
    if (at := _offline_at(station)) is not None and at > now.mono:
        yield at
