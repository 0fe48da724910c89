"""Charging profiles: what one says, whether it is sound, and which of those installed it replaces.

A neutral form of the profiles of OCPP 1.6 (§7) and 2.x (K01). Times are whole unix seconds; limits are amperes per
phase (K01.FR.51) or watts of all phases together. `place` is the outlet's rank, 0 the station.

    a profile of the same id               is replaced, wherever it was (1.6 §5.16.4, K01.FR.05)
    same place, purpose and stack level    is replaced (1.6 §3.12.2)
    TxDefaultProfile of one outlet         goes there before that of the station on the same level (1.6 §3.12.1)
    TxProfile                              ends with its transaction (1.6 §7.10)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import isfinite
from types import MappingProxyType

from chargerd.core.moment import Moment

LONGEST = 2**31  # s; nothing lasts longer than a profile may name
MOST = 1e6  # A or W; no station takes more
STATION = 0


class Purpose(StrEnum):
    STATION_MAX = "station-max"
    TX_DEFAULT = "tx-default"
    TX = "tx"


class Kind(StrEnum):
    ABSOLUTE = "absolute"
    RECURRING = "recurring"
    RELATIVE = "relative"


class Recurrency(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"


class Unit(StrEnum):
    AMPERES = "A"
    WATTS = "W"


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` seconds of the schedule on; `phases` None: not said, which means three (K01.FR.49)."""

    start: int
    limit: float
    phases: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """`least`: below it charging is inefficient (minChargingRate). `start` None: none was given."""

    unit: Unit
    periods: tuple[Period, ...]
    duration: int | None = None
    start: int | None = None
    least: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """`tx`: the transaction that a TxProfile is for."""

    id: int
    level: int
    purpose: Purpose
    kind: Kind
    schedule: Schedule
    recurrency: Recurrency | None = None
    valid_from: int | None = None
    valid_to: int | None = None
    tx: str | None = None


@dataclass(frozen=True, slots=True)
class Installed:
    """A profile that was accepted then, at this place."""

    place: int
    accepted: Moment
    profile: Profile


Profiles = Mapping[str, Installed]
"""By the profile's id, as text."""

NONE: Profiles = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the station announces: highest stack level, units, periods of a schedule, profiles in all."""

    level: int
    units: frozenset[Unit]
    periods: int
    profiles: int


def flaw(profile: Profile, bounds: Bounds) -> str | None:
    """Why a profile cannot be taken, wherever it is to be installed; None if it can."""
    schedule, starts = profile.schedule, [period.start for period in profile.schedule.periods]
    if not 0 <= profile.level <= bounds.level:
        return f"its stack level is {profile.level}, from 0 to {bounds.level} are taken"
    if schedule.unit not in bounds.units:
        return f"limits in {schedule.unit.value} are not taken"
    if not 1 <= len(starts) <= bounds.periods:
        return f"it has {len(starts)} periods, from 1 to {bounds.periods} are taken"
    if starts[0] != 0:
        return "its first period does not begin at 0"
    if any(after <= before for before, after in pairwise(starts)) or starts[-1] > LONGEST:
        return "its periods do not follow one another in time"
    if not all(isfinite(period.limit) and 0 <= period.limit <= MOST for period in schedule.periods):
        return "a limit is no number of amperes or watts"
    if not all(period.phases in (None, 1, 2, 3) for period in schedule.periods):
        return "a number of phases is not 1, 2 or 3"
    if schedule.duration is not None and not 0 < schedule.duration <= LONGEST:
        return "its duration is no time"
    if schedule.least is not None and not (isfinite(schedule.least) and 0 <= schedule.least <= MOST):
        return "its least charging rate is no number of amperes or watts"
    if profile.kind is Kind.RECURRING and profile.recurrency is None:
        return "it recurs, and does not say how often"
    if profile.valid_from is not None and profile.valid_to is not None and profile.valid_from >= profile.valid_to:
        return "it ends before it begins to be valid"
    return None


def installed(profiles: Profiles, new: Installed, most: int) -> Profiles | None:
    """With `new`, and without those that it replaces and, where room is short, those that are over; None: no room."""
    kept = {key: one for key, one in profiles.items() if not _replaces(new, one)}
    if len(kept) >= most and new.accepted.trusted:
        kept = {key: one for key, one in kept.items() if not _over(one.profile, new.accepted.wall)}
    if len(kept) >= most:
        return None
    return MappingProxyType({**kept, str(new.profile.id): new})


def _replaces(new: Installed, old: Installed) -> bool:
    if new.profile.id == old.profile.id:
        return True
    same = (new.place, new.profile.purpose, new.profile.level) == (old.place, old.profile.purpose, old.profile.level)
    return same and new.profile.tx == old.profile.tx


def _over(profile: Profile, wall: float) -> bool:
    return profile.valid_to is not None and profile.valid_to <= wall


def cleared(
    profiles: Profiles,
    id: int | None = None,
    place: int | None = None,
    purpose: Purpose | None = None,
    level: int | None = None,
) -> Profiles:
    """Without the one of this id, or else without all that fit what is given (1.6 §6.13, K10.FR.03 and FR.04)."""

    def fits(one: Installed) -> bool:
        if id is not None:
            return one.profile.id == id
        wanted = ((place, one.place), (purpose, one.profile.purpose), (level, one.profile.level))
        return all(given is None or given == own for given, own in wanted)

    return _without(profiles, [key for key, one in profiles.items() if fits(one)])


def running(profiles: Profiles, transactions: frozenset[str]) -> Profiles:
    """Without the TxProfiles of transactions that are over."""
    return _without(
        profiles, [k for k, one in profiles.items() if one.profile.tx and one.profile.tx not in transactions]
    )


def _without(profiles: Profiles, gone: list[str]) -> Profiles:
    if not gone:
        return profiles
    return MappingProxyType({key: one for key, one in profiles.items() if key not in gone})
