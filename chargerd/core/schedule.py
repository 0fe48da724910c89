"""When which limit of a profile is in force: profiles laid on the axis of unix seconds, and what they come to.

A schedule counts its periods from an *origin*:

    absolute            its startSchedule; without one as relative (1.6 §7)
    recurring           its startSchedule, without one midnight UTC (weekly: of Monday), and again each day or week;
                        nothing before the first of them (K01.FR.30)
    relative            the start of the transaction; the moment of acceptance for a station-wide one

What lasts from an origin to now is measured by the monotonic clock within one boot, so that a step of the wall clock
moves no relative schedule; after a reboot the wall clock has to do. Absolute and recurring schedules follow the wall
clock at once, wherever it steps. While it is not known at all they count with their lowest limit, unless they had ended
when time was known last (`unknown`).

Of a *chain* - the profiles of one purpose, highest stack level first; a transaction's own before the default ones - the
first that has a period in force counts. So where a schedule has ended, or not begun, those below it take over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor
from operator import attrgetter

from chargerd.core.moment import Moment
from chargerd.core.profiles import Installed, Kind, Period, Profile, Purpose, Recurrency

DAY, WEEK = 86_400, 7 * 86_400
GRAIN = 1e-6  # s; a wall clock has no finer one as a float
_MONDAY = 4 * DAY  # 5 January 1970
_START = attrgetter("start")
_EVERY = {Recurrency.DAILY: DAY, Recurrency.WEEKLY: WEEK}


@dataclass(frozen=True, slots=True)
class Laid:
    """A profile on the axis. `lowest`: its place there is not known, and that period stands for all of it."""

    profile: Profile
    origin: int
    lowest: Period | None = None
    into: float = 0.0  # s since the present one of its seconds began

    @property
    def every(self) -> int | None:
        """Seconds after which it begins again."""
        recurs = self.profile.kind is Kind.RECURRING and self.profile.recurrency is not None
        return _EVERY[self.profile.recurrency] if recurs and self.profile.recurrency is not None else None

    def at(self, t: int) -> Period | None:
        """The period in force in the second that begins at `t`."""
        if self.lowest is not None:
            return self.lowest
        profile = self.profile
        if profile.valid_from is not None and t < profile.valid_from:
            return None
        if profile.valid_to is not None and t >= profile.valid_to:
            return None
        if t < self.origin:
            return None
        offset = self._offset(t)
        if profile.schedule.duration is not None and offset >= profile.schedule.duration:
            return None
        return profile.schedule.periods[bisect_right(profile.schedule.periods, offset, key=_START) - 1]

    def after(self, t: int) -> int | None:
        """The next second after `t` in which another period may be in force; None: nothing changes any more."""
        if self.lowest is not None:
            return None
        profile = self.profile
        if profile.valid_to is not None and t >= profile.valid_to:
            return None
        begins = max(self.origin, profile.valid_from if profile.valid_from is not None else self.origin)
        if t < begins:
            return begins
        offset = self._offset(t)
        began = t - offset
        found = [] if profile.valid_to is None else [profile.valid_to]
        periods = profile.schedule.periods
        if (n := bisect_right(periods, offset, key=_START)) < len(periods):
            found.append(began + periods[n].start)
        if profile.schedule.duration is not None and offset < profile.schedule.duration:
            found.append(began + profile.schedule.duration)
        if self.every is not None:
            found.append(began + self.every)
        return min(found, default=None)

    def _offset(self, t: int) -> int:
        offset = t - self.origin
        return offset if self.every is None else offset % self.every


def lay(one: Installed, now: Moment, since: Moment | None, unknown: bool = True) -> Laid | None:
    """Lay a profile on the axis, in which `now` lies in `second(now)`.

    `since`: the start of its transaction, None for one that would begin now. `unknown`: while the clock is not known
    a profile that goes by it counts with its lowest limit, else not at all (None).
    """
    profile = one.profile
    if not now.trusted and _by_clock(profile):
        ended = profile.valid_to is not None and one.accepted.trusted and profile.valid_to <= one.accepted.wall
        lowest = min(profile.schedule.periods, key=lambda period: period.limit)
        return Laid(profile, 0, lowest) if unknown and not ended else None
    if (origin := _fixed(profile)) is not None:
        return Laid(profile, origin, into=now.wall - second(now))
    past = elapsed(one.accepted if profile.purpose is Purpose.STATION_MAX else since, now)
    return Laid(profile, second(now) - _whole(past), into=past - _whole(past))


def second(now: Moment) -> int:
    """The second of the axis in which `now` lies."""
    return _whole(now.wall)


def _whole(seconds: float) -> int:
    """Those that have begun: whoever wakes for one finds it begun, however the sum of the wait was rounded."""
    return floor(seconds + GRAIN)


def _by_clock(profile: Profile) -> bool:
    return any(at is not None for at in (_fixed(profile), profile.valid_from, profile.valid_to))


def _fixed(profile: Profile) -> int | None:
    """The origin of a schedule that goes by the calendar."""
    start = profile.schedule.start
    if profile.kind is Kind.RECURRING and start is None:
        return _MONDAY if profile.recurrency is Recurrency.WEEKLY else 0
    return None if profile.kind is Kind.RELATIVE else start


def elapsed(since: Moment | None, now: Moment) -> float:
    """Seconds since a moment, never negative: by the monotonic clock within a boot, else by the wall clock."""
    if since is None:
        return 0.0
    return max(0.0, now.mono - since.mono if since.boot == now.boot else now.wall - since.wall)


Chain = Sequence[Laid]
Force = tuple[Profile, Period] | None
"""What a chain comes to; None: it sets no limit."""


def force(chain: Chain, t: int) -> Force:
    """The first of the chain that has a period in force in second `t`."""
    for laid in chain:
        if (period := laid.at(t)) is not None:
            return laid.profile, period
    return None


def due(chain: Chain, now: Moment) -> float | None:
    """Seconds from now until the chain may come to something else; None: it will not by itself."""
    t, found = second(now), list[float]()
    for laid in chain:
        if (at := laid.after(t)) is not None:
            found += [at - now.wall, at - t - laid.into]  # validity goes by the wall clock in any case
    return min(found, default=None)


def segments(chains: Sequence[Chain], start: int, end: int, most: int) -> Iterator[tuple[int, tuple[Force, ...]]]:
    """From which second on which limits are in force, one per chain, from `start` to before `end`.

    After `most` looks it ends with the second from which on nothing is known, and no limits. Only what changes is
    looked at again, so that a long schedule costs its length and not its square.
    """
    ranks = [[_Cursor(laid, start) for laid in chain] for chain in chains]
    every = [cursor for rank in ranks for cursor in rank]
    t: int | None = start
    while t is not None and t < end and most > 0:
        for cursor in every:
            cursor.move(t)
        yield t, tuple(next((c.force for c in rank if c.force is not None), None) for rank in ranks)
        t = min((c.until for c in every if c.until is not None), default=None)
        most -= 1
    if t is not None and t < end:
        yield t, ()


class _Cursor:
    """A laid profile that remembers what it comes to, and until when."""

    __slots__ = ("_laid", "force", "until")

    def __init__(self, laid: Laid, t: int) -> None:
        self._laid = laid
        self.until: int | None = t
        self.force: Force = None

    def move(self, t: int) -> None:
        if self.until is None or t < self.until:
            return
        period = self._laid.at(t)
        self.force = None if period is None else (self._laid.profile, period)
        self.until = self._laid.after(t)
