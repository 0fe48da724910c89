"""OCPP 2.1: what differs from 2.0.1 in the messages that this station sends and answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from chargerd.core.records import Cause
from chargerd.core.state import Station
from chargerd.ocpp.dialect import Draft, Fold, Outgoing, Stamp
from chargerd.ocpp.schemas import Version
from chargerd.ocpp.v2 import notices
from chargerd.ocpp.v2.dialect import Dialect201

# How bad a fault is, 0 (danger) to 9 (debug), as SetMonitoringLevel counts. A fault that is not here is hardware's (1).
_SEVERITY: Mapping[str, int] = {
    "ContactorWelded": 0,
    "ResidualCurrent": 0,
    "EmergencyStop": 0,
    "PenFault": 0,
    "CurrentThoughOpen": 0,
    "DeviceFailure": 2,
    "GuardLate": 2,
    "GuardSlow": 2,
    "GuardLost": 2,
    "GuardMismatch": 2,
    "LatchUnreadable": 2,
    "StorageFailure": 2,
    "QueueFull": 3,
    "EventSetAside": 3,
    "ReaderFailure": 3,
    "HistoryLost": 2,
    # what the vehicle, its cable or the weather does; the station itself is sound
    "DiodeFault": 4,
    "OverCurrent": 4,
    "OverTemperature": 4,
    "SupplyOutOfRange": 4,
    "PilotShort": 4,
    "ProximityChanged": 4,
    "ProximityFault": 4,
}
_HARDWARE = 1


class Dialect21(Dialect201):
    """See `ocpp.dialect.Dialect`."""

    version: Version = "2.1"
    subprotocol = "ocpp2.1"
    longest_token = 255
    nearest: Mapping[str, str] = MappingProxyType({})
    untold: frozenset[Cause] = frozenset()

    def render(self, draft: Draft, fold: Fold, station: Station, stamp: Stamp, offline: bool) -> Outgoing:
        out = super().render(draft, fold, station, stamp, offline)
        if draft.kind == notices.EVENT:
            for data in out.payload["eventData"]:
                data["severity"] = _SEVERITY.get(data["techCode"], _HARDWARE)
        return out
