"""What long charging profiles cost: time of a composite schedule over as many periods as are taken, and memory."""

from __future__ import annotations

import asyncio
import itertools
import time
import tracemalloc
from typing import Any

from chargerd.core import events as ev
from chargerd.core.moment import Moment
from chargerd.core.profiles import Kind, Period, Profile, Purpose, Schedule, Unit
from chargerd.core.state import OutletSite, Site, Station
from chargerd.core.station import initial, step
from chargerd.core.variables import Variables
from chargerd.lab.site import STATION
from tests.benching.figures import Figure
from tests.benching.measures import MEBI, MILLI, Plan, memory_of
from tests.benching.rig import Rig, Trouble

PERIODS, PROFILES = 1000, 20
SPAN = PERIODS * 60  # s


async def limits(rig: Rig, plan: Plan) -> list[Figure]:
    """Profiles are those of 1.6; the core's time and memory are the same whatever is spoken."""
    figures = _core(plan)
    if rig.version == "1.6":
        figures += await _told(rig, plan)
    return figures


async def _told(rig: Rig, plan: Plan) -> list[Figure]:
    took: dict[str, list[float]] = {"set": [], "composite": []}
    async with rig.charging_station():
        daemon, desk = rig.daemon, rig.csms.desk(STATION)
        assert daemon is not None
        before = memory_of(daemon)
        for number in range(PROFILES):
            began = time.monotonic()
            answer = await desk.set_profile(number % 2, _profile(number))
            took["set"].append((time.monotonic() - began) * MILLI)
            if answer != "Accepted":
                raise Trouble(f"profile {number}: {answer}")
        for _ in range(plan.runs):
            began = time.monotonic()
            told = await desk.composite(1, SPAN)
            took["composite"].append((time.monotonic() - began) * MILLI)
            await asyncio.sleep(0.02)
        after = memory_of(daemon)
    count = len(told["chargingSchedule"]["chargingSchedulePeriod"])
    note = f"{PROFILES} profiles of {PERIODS} periods installed, {count} periods told"
    return [
        Figure(
            "SetChargingProfile of 1,000 periods → answered", "ms", tuple(took["set"]), note="it is on the disk then"
        ),
        Figure("GetCompositeSchedule round trip", "ms", tuple(took["composite"]), note=note),
        Figure(f"daemon: memory of {PROFILES} such profiles", "MiB", (max(0.0, after.resident - before.resident),)),
    ]


def _profile(number: int) -> dict[str, Any]:
    """Every one of them changes every minute, and none at the same limit as the others."""
    periods = [{"startPeriod": 60 * n, "limit": 6.0 + (7 * n + number) % 26} for n in range(PERIODS)]
    return {
        "chargingProfileId": number,
        "stackLevel": number // 2,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": periods},
    }


def _core(plan: Plan) -> list[Figure]:
    """The pure part alone, on a station with one profile of 1,000 periods, and with as many as it takes."""
    figures = []
    for count, name in ((1, "one profile"), (PROFILES, f"{PROFILES} profiles")):
        station = _station(count)
        took = []
        for _ in range(plan.runs):
            began = time.perf_counter()
            _asked(station)
            took.append((time.perf_counter() - began) * MILLI)
        tracemalloc.start()
        _asked(station)
        peak = tracemalloc.get_traced_memory()[1] / MEBI
        tracemalloc.stop()
        figures.append(Figure(f"composite over 1,000 periods, {name}: computed", "ms", tuple(took)))
        figures.append(Figure(f"composite over 1,000 periods, {name}: peak memory", "MiB", (peak,)))
    return figures


_NOW = Moment(5000.0, 1_800_000_000.25, True, 1)


def _station(count: int) -> Station:
    sites = (OutletSite(1, 1, 1, 32.0), OutletSite(2, 2, 1, 32.0))
    state = initial(Site(sites, 64.0), Variables())
    for number in range(count):
        periods = tuple(Period(60 * n, 6.0 + (7 * n + number) % 26) for n in range(PERIODS))
        schedule = Schedule(Unit.AMPERES, periods)
        profile = Profile(number, number // 2, Purpose.TX_DEFAULT, Kind.RELATIVE, schedule)
        state = step(state, ev.ProfileSet(number, number % 2, profile), _NOW, _mint).state
    return state


def _asked(station: Station) -> None:
    step(station, ev.CompositeAsked(1, 1, SPAN), _NOW, _mint)


def _mint() -> str:
    return f"tx-{next(_IDS)}"


_IDS = itertools.count(1)
