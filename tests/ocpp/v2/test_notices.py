from __future__ import annotations

from typing import Any

import pytest

from chargerd.core.records import Faulted, Record, Security
from chargerd.core.state import Live, Station
from chargerd.ocpp.dialect import Json
from tests.ocpp.v2.build import DIALECT, project, render, station
from tests.ocpp.v16.build import moment


def faulty(*names: str) -> Station:
    return station(Live(known=True), Live(known=True), Live(known=True, faults=frozenset(names)))


def event(here: Station, record: Record) -> Json:
    _, (draft,) = project({}, here, [record])
    assert (draft.queue, draft.tx, draft.thin) == ("critical", None, False)
    said = render(draft, offline=True)
    assert said.action == "NotifyEvent"
    (data,) = said.payload["eventData"]
    assert isinstance(data, dict)
    return data


@pytest.mark.req("G05.FR.02", "N07.FR.07")
def test_a_fault_is_told_with_component_variable_and_name() -> None:
    _, (draft,) = project({}, faulty("ConnectorLockFailure"), [Faulted(moment(5), 3, "ConnectorLockFailure", True)])
    assert render(draft).payload == {
        "generatedAt": "2027-01-15T08:00:05Z",
        "seqNo": 0,
        "eventData": [
            {
                "eventId": 1,
                "timestamp": "2027-01-15T08:00:05Z",
                "trigger": "Delta",
                "actualValue": "true",
                "techCode": "ConnectorLockFailure",
                "eventNotificationType": "HardWiredNotification",
                "component": {"name": "ConnectorPlugRetentionLock", "evse": {"id": 2, "connectorId": 2}},
                "variable": {"name": "Problem"},
            }
        ],
    }


@pytest.mark.parametrize(
    ("name", "component", "variable"),
    [
        ("ContactorWelded", "PowerContactor", "Problem"),
        ("ContactorNotClosed", "PowerContactor", "Problem"),
        ("DiodeFault", "CPPWMController", "Problem"),
        ("PilotShort", "CPPWMController", "Problem"),
        ("PilotStuck", "CPPWMController", "Problem"),
        ("PilotDriverMismatch", "CPPWMController", "Problem"),
        ("ProximityFault", "Connector", "Problem"),
        ("ProximityChanged", "Connector", "Problem"),
        ("ResidualCurrent", "RCD", "Tripped"),
        ("ResidualSelfTest", "RCD", "Problem"),
        ("OverTemperature", "TemperatureSensor", "Active"),
        ("EmergencyStop", "EmergencyStopSensor", "Active"),
        ("OverCurrent", "OverCurrentProtection", "Active"),
        ("LatchUnreadable", "Controller", "Problem"),
        ("GuardLate", "Controller", "Problem"),
        ("PenFault", "ElectricalFeed", "Problem"),
        ("SupplyOutOfRange", "ElectricalFeed", "Problem"),
        ("CurrentThoughOpen", "PowerContactor", "Problem"),
        ("SecondContactorWelded", "PowerContactor", "Problem"),
        ("SecondContactorNotClosed", "PowerContactor", "Problem"),
        ("GuardSlow", "Controller", "Problem"),
        ("DeviceFailure", "Controller", "Problem"),
        ("GuardLost", "Controller", "Problem"),
        ("GuardMismatch", "Controller", "Problem"),
        ("PowerMeterFailure", "FiscalMetering", "Problem"),
        ("StorageFailure", "Controller", "Problem"),
        ("SomethingNew", "Connector", "Problem"),
    ],
)
def test_every_fault_has_its_place(name: str, component: str, variable: str) -> None:
    data = event(faulty(name), Faulted(moment(), 3, name, True))
    assert (data["component"]["name"], data["variable"]["name"]) == (component, variable)


def test_a_fault_is_over_when_nothing_else_holds_its_variable() -> None:
    gone = Faulted(moment(), 3, "ContactorNotClosed", False)
    data = event(faulty("DiodeFault"), gone)
    assert (data["actualValue"], data["techCode"]) == ("false", "ContactorNotClosed")
    assert project({}, faulty("ContactorWelded"), [gone]) == ({}, [])


def test_a_fault_of_the_station_itself_has_no_evse() -> None:
    data = event(station(), Faulted(moment(), 0, "StorageFailure", True))
    assert data["component"] == {"name": "Controller"}


def test_event_ids_never_repeat() -> None:
    fault: dict[str, Any] = {"outlet": 3, "name": "DiodeFault"}
    fold, first = project({}, faulty("DiodeFault"), [Faulted(moment(), **fault, active=True)])
    fold, second = project(fold, station(), [Faulted(moment(), **fault, active=False)] * 2)
    assert [draft.facts["eventId"] for draft in (*first, *second)] == [1, 2, 3]


@pytest.mark.req("A04.FR.01", "A04.FR.02")
def test_a_critical_security_event_is_told() -> None:
    records = [Security(moment(), "ResetOrReboot", "x" * 300), Security(moment(), "StartupOfTheDevice")]
    _, drafts = project({}, station(), records)
    assert {draft.queue for draft in drafts} == {"critical"}
    long, short = (render(draft) for draft in drafts)
    assert long.action == "SecurityEventNotification"
    assert long.payload["techInfo"] == "x" * 254 + "…"
    assert short.payload == {"type": "StartupOfTheDevice", "timestamp": "2027-01-15T08:00:00Z"}


@pytest.mark.req("A04.FR.01")
def test_a_security_event_that_is_not_critical_is_not() -> None:
    assert project({}, station(), [Security(moment(), "InvalidMessages", critical=False)]) == ({}, [])


def test_their_answers_mean_nothing() -> None:
    fold, (draft,) = project({}, station(), [Security(moment(), "ResetOrReboot")])
    assert DIALECT.answered(render(draft), {}, fold, station(), draft).events == ()
