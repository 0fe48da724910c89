"""The transaction points of OCPP 2.x: which hold for a visit, and what it means when one rises or falls.

| point               | holds while                               | rising tells | falling ends with         |
|---------------------|-------------------------------------------|--------------|---------------------------|
| ParkingBayOccupancy | the detector sees one, or one is plugged  | detected     | departed                  |
| EVConnected         | a vehicle is at the cable                 | plugged      | vehicle out               |
| Authorized          | somebody with authority said yes          | authorized   | what took it back         |
| PowerPathClosed     | both of these (E01.FR.05)                 | the later    | the first that falls      |
| EnergyTransfer      | the contactor is closed on a vehicle      | charging     | whoever opened it         |

DataSigned is never true: no meter here signs. 1.6 is the window PowerPathClosed → Authorized (§3.5).
A contactor that opened counts as closed until it is clear whether the vehicle is still there (`Live.settling_until`):
who pulls the plug under load ends the transaction by that, and not by the energy that stops a moment before.
"""

from __future__ import annotations

from chargerd.core.draft import LOBBY, Draft
from chargerd.core.records import Cause, Reason
from chargerd.core.state import Visit
from chargerd.core.status import barred, blocking, offered
from chargerd.core.variables_table import BAY

PLUG, AUTHORIZED, PATH, ENERGY = "EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer"
BY_AUTHORITY = frozenset({AUTHORIZED, PATH, ENERGY})  # stop points that the end of an authorisation makes fall
_NEWS = ((PLUG, Cause.PLUGGED), (BAY, Cause.DETECTED))  # what a running transaction tells when it rises


def points(draft: Draft, rank: int) -> frozenset[str]:
    """The points that hold for the visit at `rank` now."""
    visit = draft.visit(rank)
    assert visit is not None
    held = set()
    if visit.plug or visit.recalled:
        held |= {PLUG, BAY}
    if visit.auth is not None:
        held.add(AUTHORIZED)
    if {PLUG, AUTHORIZED} <= held:
        held.add(PATH)
    if rank != LOBBY:
        live = draft.outlet(rank).live
        if live.bay or (live.bay is None and draft.outlet(rank).site.bay and BAY in visit.points):
            held.add(BAY)
        settling = live.settling_until is not None and draft.now.mono < live.settling_until
        waits = settling and ENERGY in visit.points and visit.auth is not None
        if visit.plug and (live.powered or waits):
            held.add(ENERGY)
    return frozenset(held)


def beginning_cause(visit: Visit, risen: frozenset[str]) -> Cause:
    """Why a transaction starts: the driver's deed before what it brought about."""
    if AUTHORIZED in risen and visit.auth is not None:
        return Cause.REMOTE_START if visit.auth.remote else Cause.AUTHORIZED
    return next((cause for point, cause in _NEWS if point in risen), Cause.CHARGING_STATE)


def news(risen: frozenset[str], fallen: frozenset[str]) -> list[Cause]:
    """What a transaction that goes on tells of these edges; the rest is told where it was decided.

    One deed is one event: who plugs in is seen parking there at the same moment, and so with leaving.
    """
    causes = [next((cause for point, cause in _NEWS if point in risen), None)]
    causes.append(Cause.DEPARTED if BAY in fallen and PLUG not in fallen else None)
    return [cause for cause in causes if cause is not None]


def ending(draft: Draft, rank: int, visit: Visit, fallen: frozenset[str]) -> tuple[Reason, Cause]:
    """Why a transaction ends by the points that fell; where authorisation ended it was said then (`deauthorise`)."""
    if BAY in fallen and PLUG not in fallen:
        return Reason.VEHICLE_OUT, Cause.DEPARTED
    if visit.recalled:
        return Reason.POWER_LOSS, Cause.POWER_LOSS
    if not visit.plug:
        return Reason.VEHICLE_OUT, Cause.VEHICLE_OUT
    outlet = draft.outlet(rank)
    if barred(outlet):
        return Reason.DEAUTHORIZED, Cause.DEAUTHORIZED
    if blocking(draft.state, outlet):
        return Reason.OTHER, Cause.FAULT
    by_vehicle = visit.auth is not None and offered(outlet)
    return (Reason.STOPPED_BY_VEHICLE if by_vehicle else Reason.OTHER), Cause.CHARGING_STATE


def abandoned(draft: Draft, rank: int) -> bool:
    """Nobody is authorised and every sign of driver and vehicle is gone: no point that still could fall holds.

    Some windows never end by themselves (part 2 E §1.1 warns of them); a transaction does not outlive its visit.
    """
    visit = draft.visit(rank)
    if visit is None or visit.auth is not None or visit.plug or visit.recalled:
        return False
    if rank == LOBBY:
        return True
    live = draft.outlet(rank).live
    return live.known and not live.cable and not live.plug and BAY not in points(draft, rank)
