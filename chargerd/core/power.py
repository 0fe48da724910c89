"""Power at each outlet, whether its cable is held, and what its lamp shows: followed from the state each step.

The permit (`core.permits`) names the vehicle it is for; the guard decides whether power really flows.
"""

from __future__ import annotations

from chargerd.core import permits
from chargerd.core.authorize import connected
from chargerd.core.commands import Lamp, Show, WishLock
from chargerd.core.draft import Draft
from chargerd.core.records import ChargingState
from chargerd.core.state import Outlet, Station
from chargerd.core.status import FLOWS, charging_state, leaving, reserved
from hal.api import MeterReading

STILL = 20.0  # s without a charging current until the vehicle has paused, and not only not begun
VOLTS = 230.0
LEAVING = 0.5  # s from the contactor's opening until it is clear that the vehicle is still there


def switched(draft: Draft, rank: int, on: bool) -> None:
    """The contactor closed or opened; why it opened may be known only a moment later."""
    opened = draft.outlet(rank).live.powered and not on
    draft.set_live(rank, powered=on)
    drawn(draft, rank, None)
    if opened:
        draft.set_live(rank, settling_until=draft.now.mono + LEAVING)


def drawn(draft: Draft, rank: int, reading: MeterReading | None) -> None:
    """A vehicle may pause with its contactor closed: then it is suspended, as the meter sees (E01.FR.19, 1.6 §4.9).

    A meter that tells neither current nor power cannot see it.
    """
    live = draft.outlet(rank).live
    if not live.powered or reading is None or _flows(reading):
        since, resting = None, False
    else:
        since = draft.now.mono if live.still_since is None else live.still_since
        resting = draft.now.mono - since >= STILL
    if (since, resting) != (live.still_since, live.resting):
        draft.set_live(rank, still_since=since, resting=resting)


def _flows(reading: MeterReading) -> bool:
    """In either direction: a current transformer may be mounted backwards."""
    if reading.amps is not None:
        return max(map(abs, reading.amps)) >= FLOWS
    return reading.power is None or abs(reading.power) >= FLOWS * VOLTS


def settle(draft: Draft) -> None:
    permits.settle(draft)
    for rank in draft.ranks():
        _settled(draft, rank)
        _lock(draft, rank)
        _lamp(draft, rank)


def _settled(draft: Draft, rank: int) -> None:
    live = draft.outlet(rank).live
    if live.settling_until is not None and (live.powered or draft.now.mono >= live.settling_until):
        draft.set_live(rank, settling_until=None)


def _lock(draft: Draft, rank: int) -> None:
    outlet = draft.outlet(rank)
    if outlet.site.tethered or not outlet.live.known:
        return
    visit, live = outlet.visit, outlet.live
    # A transaction that goes on without authorisation does not hold the cable (E07.FR.07, F04.FR.02).
    wanted = live.powered or (visit is not None and (visit.auth is not None or visit.held is not None))
    if wanted and not live.cable:
        wanted = False
    if wanted != live.lock:
        draft.do(WishLock(rank, wanted))
        draft.set_live(rank, lock=wanted)


def _lamp(draft: Draft, rank: int) -> None:
    live = draft.outlet(rank).live
    if live.refused_until is not None and draft.now.mono >= live.refused_until:
        draft.set_live(rank, refused_until=None)
    lamp = lamp_of(draft.state, draft.outlet(rank))
    if lamp is not live.lamp:
        draft.do(Show(rank, lamp))
        draft.set_live(rank, lamp=lamp)


def lamp_of(station: Station, outlet: Outlet) -> Lamp:
    """What a driver in front of this outlet should see (faults are the guard's lamp)."""
    visit, live = outlet.visit, outlet.live
    if live.refused_until is not None:
        return Lamp.REFUSED
    if visit is not None and visit.tx is not None and visit.tx.stopping is None:
        match charging_state(outlet):
            case ChargingState.CHARGING:
                return Lamp.CHARGING
            case ChargingState.SUSPENDED_EV | ChargingState.SUSPENDED_EVSE:
                return Lamp.PAUSED
            case _:
                return Lamp.WAITING
    if not station.in_service(outlet) or (visit is None and leaving(station, outlet)):
        return Lamp.UNAVAILABLE
    asked = any(a.evse in (None, outlet.site.evse) for a in station.asks.values())
    if visit is not None and visit.finished and visit.auth is None:
        return Lamp.FINISHED
    if (visit is None or visit.auth is None) and reserved(station, outlet.site.rank) is not None:
        return Lamp.RESERVED
    if visit is not None or asked or (station.lobby is not None and station.lobby.auth is not None):
        return Lamp.WAITING
    return Lamp.READY if connected(station) or not station.site.backend else Lamp.OFFLINE_READY
