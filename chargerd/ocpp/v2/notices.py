"""Faults and security events: NotifyEvent (N07, G05) and SecurityEventNotification (A04).

Both are durable, in the critical queue: a StatusNotification of 2.x says `Faulted` and not why, and every fault that
the guard knows puts an outlet out of service. `fold["events"]` is the last eventId.
"""

from __future__ import annotations

from chargerd.core.records import Faulted, Security
from chargerd.core.state import Station
from chargerd.ocpp.dialect import Draft, Fold, Outgoing, Stamp
from chargerd.ocpp.v2.words import bounded, place

EVENT = "event"
SECURITY = "security"

# Component and variable that a fault belongs to (part 2 appendix 3). A fault that is not here is the connector's.
_PLACES = {
    "ContactorWelded": ("PowerContactor", "Problem"),
    "ContactorNotClosed": ("PowerContactor", "Problem"),
    "SecondContactorWelded": ("PowerContactor", "Problem"),
    "SecondContactorNotClosed": ("PowerContactor", "Problem"),
    "CurrentThoughOpen": ("PowerContactor", "Problem"),
    "PenFault": ("ElectricalFeed", "Problem"),
    "SupplyOutOfRange": ("ElectricalFeed", "Problem"),
    "DiodeFault": ("CPPWMController", "Problem"),
    "PilotShort": ("CPPWMController", "Problem"),
    "PilotStuck": ("CPPWMController", "Problem"),
    "PilotDriverMismatch": ("CPPWMController", "Problem"),
    "ResidualCurrent": ("RCD", "Tripped"),
    "ResidualSelfTest": ("RCD", "Problem"),
    "ConnectorLockFailure": ("ConnectorPlugRetentionLock", "Problem"),  # G05.FR.02
    "OverTemperature": ("TemperatureSensor", "Active"),
    "EmergencyStop": ("EmergencyStopSensor", "Active"),
    "OverCurrent": ("OverCurrentProtection", "Active"),
    "PowerMeterFailure": ("FiscalMetering", "Problem"),
    "MeterReplaced": ("FiscalMetering", "Problem"),
    "MeterImplausible": ("FiscalMetering", "Problem"),
    "ReaderFailure": ("TokenReader", "Problem"),
    "LatchUnreadable": ("Controller", "Problem"),
    "DeviceFailure": ("Controller", "Problem"),
    "GuardLate": ("Controller", "Problem"),
    "GuardSlow": ("Controller", "Problem"),
    "GuardLost": ("Controller", "Problem"),
    "GuardMismatch": ("Controller", "Problem"),
    "StorageFailure": ("Controller", "Problem"),
    "QueueFull": ("Controller", "Problem"),
    "EventSetAside": ("Controller", "Problem"),
    "HistoryLost": ("Controller", "Problem"),
}
_ELSEWHERE = ("Connector", "Problem")  # also ProximityFault and ProximityChanged


def fault(fold: Fold, station: Station, record: Faulted) -> tuple[Fold, Draft | None]:
    """A fault that came, or that went and was the last one to hold this variable true."""
    found = _PLACES.get(record.name, _ELSEWHERE)
    others = station.outlet(record.outlet).reported if record.outlet else station.reported
    if not record.active and any(_PLACES.get(name, _ELSEWHERE) == found for name in others):
        return fold, None
    component, variable = found
    number = fold.get("events", 0) + 1
    data = {
        "eventId": number,
        "trigger": "Delta",
        "actualValue": "true" if record.active else "false",
        "techCode": bounded(record.name, 50),
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": component, **({"evse": place(station.outlet(record.outlet))} if record.outlet else {})},
        "variable": {"name": variable},
    }
    return {**fold, "events": number}, Draft("critical", EVENT, data, record.at)


def security(record: Security) -> Draft | None:
    """A04.FR.01: only critical ones are told."""
    if not record.critical:
        return None
    facts = {"type": bounded(record.name, 50)}
    if record.info:
        facts["techInfo"] = bounded(record.info, 255)
    return Draft("critical", SECURITY, facts, record.at)


def render(draft: Draft, stamp: Stamp) -> Outgoing:
    moment = stamp(draft.at)
    if draft.kind == SECURITY:
        return Outgoing("SecurityEventNotification", {**draft.facts, "timestamp": moment})
    data = {**draft.facts, "timestamp": moment}
    return Outgoing("NotifyEvent", {"generatedAt": moment, "seqNo": 0, "eventData": [data]})
