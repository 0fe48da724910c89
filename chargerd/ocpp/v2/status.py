"""Connector statuses of OCPP 2.x (G01): five words. A slot is named `EVSE.connector`."""

from __future__ import annotations

from chargerd.core.moment import Moment
from chargerd.core.state import Outlet, Station
from chargerd.core.status import Joint, joint
from chargerd.ocpp.dialect import Json, Outgoing, Stamp

_SAID = {
    Joint.FAULTED: "Faulted",
    Joint.UNAVAILABLE: "Unavailable",
    Joint.RESERVED: "Reserved",
}  # whatever is plugged; all other statuses say only whether the connector is in use


def slot(station: Station, rank: int) -> str:
    return _slot(station.outlet(rank))


def statuses(station: Station) -> dict[str, Json]:
    """Facts by slot. An outlet that the guard has not spoken of yet has no status, and no slot."""
    return {
        _slot(outlet): {
            "evseId": outlet.site.evse,
            "connectorId": outlet.site.connector,
            "connectorStatus": _word(station, outlet),
        }
        for outlet in station.outlets
        if outlet.live.known or outlet.live.faults
    }


def render_status(facts: Json, at: Moment, stamp: Stamp) -> Outgoing:
    return Outgoing("StatusNotification", {**facts, "timestamp": stamp(at)})


def _slot(outlet: Outlet) -> str:
    return f"{outlet.site.evse}.{outlet.site.connector}"


def _word(station: Station, outlet: Outlet) -> str:
    """Occupied: a cable or vehicle is there, or a transaction runs here (G01.FR.03, G01.FR.04)."""
    said = _SAID.get(joint(station, outlet.site.rank))
    if said is not None:
        return said
    live, visit = outlet.live, outlet.visit
    occupied = live.cable or live.plug != 0 or (visit is not None and visit.tx is not None)
    return "Occupied" if occupied else "Available"
