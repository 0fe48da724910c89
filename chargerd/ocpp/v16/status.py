"""Connector statuses of OCPP 1.6 (§4.9) with the error codes of §7.6. Connector 0 is the station itself."""

from __future__ import annotations

from collections.abc import Collection

from chargerd.core.moment import Moment
from chargerd.core.state import Outlet, Station
from chargerd.core.status import Joint, joint
from chargerd.ocpp.dialect import Json, Outgoing, Stamp
from chargerd.ocpp.v16.words import ci_string

# The guard's faults in the order in which the first one present names the error. EVCommunicationError is a warning,
# never said with Faulted (§4.9): faults of the vehicle's side of the pilot are OtherError.
_ERRORS = {
    "ContactorWelded": "PowerSwitchFailure",
    "ResidualCurrent": "GroundFailure",
    "EmergencyStop": "OtherError",
    "PenFault": "GroundFailure",
    "CurrentThoughOpen": "PowerSwitchFailure",
    "OverCurrent": "OverCurrentFailure",
    "OverTemperature": "HighTemperature",
    "ContactorNotClosed": "PowerSwitchFailure",
    "SecondContactorWelded": "PowerSwitchFailure",
    "SecondContactorNotClosed": "PowerSwitchFailure",
    "SupplyOutOfRange": "OtherError",  # OverVoltage and UnderVoltage say which way
    "DiodeFault": "OtherError",
    "PilotShort": "OtherError",
    "PilotStuck": "OtherError",
    "ProximityFault": "OtherError",
    "ProximityChanged": "OtherError",
    "PilotDriverMismatch": "InternalError",
    "ResidualSelfTest": "InternalError",
    "ConnectorLockFailure": "ConnectorLockFailure",
    "PowerMeterFailure": "PowerMeterFailure",
    "MeterReplaced": "PowerMeterFailure",
    "MeterImplausible": "PowerMeterFailure",
    "ReaderFailure": "ReaderFailure",
    "LatchUnreadable": "InternalError",
    "DeviceFailure": "InternalError",
    "GuardLate": "InternalError",
    "GuardSlow": "InternalError",
    "GuardLost": "InternalError",
    "StorageFailure": "InternalError",
    "QueueFull": "InternalError",
    "EventSetAside": "InternalError",
    "HistoryLost": "InternalError",
    "LocalListConflict": "LocalListConflict",  # §3.4.3
}
# of the station as a whole: charging goes on
_WARNINGS = {"EventSetAside", "HistoryLost", "LocalListConflict", "ReaderFailure"}
_RANK = {name: rank for rank, name in enumerate(_ERRORS)}


def statuses(station: Station) -> dict[str, Json]:
    """Facts by connectorId. An outlet that the guard has not spoken of yet has no status, and no slot."""
    slots = {"0": _station(station)}
    for outlet in station.outlets:
        if outlet.live.known or outlet.live.faults:
            slots[str(outlet.site.rank)] = _connector(station, outlet)
    return slots


def render_status(slot: str, facts: Json, at: Moment, stamp: Stamp) -> Outgoing:
    return Outgoing("StatusNotification", {"connectorId": int(slot), **facts, "timestamp": stamp(at)})


def _station(station: Station) -> Json:
    """Faulted by what concerns the station as a whole, never by the state of its connectors (§4.9)."""
    faults = {"GuardLost"} & {name for outlet in station.outlets for name in outlet.live.faults} | station.faults
    if faults - _WARNINGS:
        return _facts(Joint.FAULTED, faults)
    return _facts(Joint.AVAILABLE if station.operative and not station.stopped else Joint.UNAVAILABLE, faults)


def _connector(station: Station, outlet: Outlet) -> Json:
    """A fault that does not stop the outlet is a warning: its code with another status than Faulted (§4.9)."""
    status = joint(station, outlet.site.rank)
    facts = _facts(status, outlet.live.faults)
    parted = outlet.visit is not None and outlet.visit.parted and not outlet.live.plug
    if parted and status in (Joint.SUSPENDED_EV, Joint.FINISHING):  # as StopTransactionOnEVSideDisconnect says
        facts["info"] = "EV side disconnected"
    return facts


def _facts(status: Joint, faults: Collection[str]) -> Json:
    """The gravest fault gives the code; `info` names all when there are several."""
    if not faults:
        return {"status": status.value, "errorCode": "NoError"}
    ordered = sorted(faults, key=lambda name: (_RANK.get(name, len(_RANK)), name))
    facts = {
        "status": status.value,
        "errorCode": _ERRORS.get(ordered[0], "OtherError"),
        "vendorErrorCode": ci_string(ordered[0], 50),
    }
    if len(ordered) > 1:
        facts["info"] = ci_string(", ".join(ordered), 50)
    return facts
