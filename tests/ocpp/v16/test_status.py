from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chargerd.core.state import Live, OutletSite, Site, Station, Visit
from chargerd.core.state import Outlet as CoreOutlet
from chargerd.core.variables import Variables
from chargerd.ocpp.v16.status import _ERRORS
from tests.ocpp.v16.build import DIALECT, charging, moment, sound, stamp, station


def faulty(*names: str) -> Live:
    return Live(known=True, faults=frozenset(names))


def slot(here: Station, name: str) -> dict[str, Any]:
    """The facts of a slot, of which the message was found sound."""
    facts = DIALECT.statuses(here)[name]
    said = sound(DIALECT.render_status(name, facts, moment(), here, stamp)).payload
    assert said == {**facts, "connectorId": int(name), "timestamp": "2027-01-15T08:00:00Z"}
    return facts


def well(status: str, **more: str) -> dict[str, str]:
    return {"status": status, "errorCode": "NoError", **more}


def visited(here: Station, **changes: Any) -> Station:
    outlet = replace(here.outlets[0], visit=Visit(moment(), **changes))
    return replace(here, outlets=(outlet, *here.outlets[1:]))


def live(here: Station, **changes: Any) -> Station:
    outlet = replace(here.outlets[0], live=replace(here.outlets[0].live, **changes))
    return replace(here, outlets=(outlet, *here.outlets[1:]))


def parted(here: Station) -> Station:
    assert here.outlets[0].visit is not None
    outlet = replace(here.outlets[0], visit=replace(here.outlets[0].visit, parted=True))
    return replace(here, outlets=(outlet, *here.outlets[1:]))


@pytest.mark.req("1.6 §3.7", "1.6 §4.9")
def test_the_station_is_connector_0_and_each_outlet_its_rank() -> None:
    here = station()
    assert list(DIALECT.statuses(here)) == ["0", DIALECT.slot(here, 1), DIALECT.slot(here, 2)] == ["0", "1", "2"]


@pytest.mark.req("1.6 §4.9", "1.6 §7.7")
@pytest.mark.parametrize(
    ("here", "facts"),
    [
        (station(), well("Available")),
        (visited(station(), plug=9), well("Preparing")),
        (charging(station(), 1, "tx-1"), well("Charging")),
        (live(charging(station(), 1, "tx-1"), powered=False), well("SuspendedEVSE")),
        (live(charging(station(), 1, "tx-1"), powered=False, permit=(9, 16.0, 3, True)), well("SuspendedEV")),
        (visited(station(), plug=9, finished=True), well("Finishing")),
        (replace(station(), operative=False), well("Unavailable")),
    ],
)
def test_connector_words(here: Station, facts: dict[str, str]) -> None:
    assert slot(here, "1") == facts


@pytest.mark.req("1.6 §4.9")
def test_a_transaction_whose_vehicle_left_says_so() -> None:
    here = parted(charging(station(), 1, "tx-1", plug=0))
    assert slot(here, "1") == well("SuspendedEV", info="EV side disconnected")
    back = parted(live(charging(station(), 1, "tx-1"), powered=False, settling_until=9e9))
    assert slot(back, "1") == well("SuspendedEV")  # never from SuspendedEV to Preparing
    assert slot(visited(station(), finished=True, parted=True), "1") == well("Finishing", info="EV side disconnected")
    assert slot(visited(station(), finished=True), "1") == well("Finishing")


@pytest.mark.req("1.6 §5.2")
def test_connector_0_follows_the_station_not_its_outlets() -> None:
    assert slot(charging(station(), 1, "tx-1"), "0") == well("Available")
    assert slot(station(faulty("DiodeFault")), "0") == well("Available")
    assert slot(replace(station(), operative=False), "0") == well("Unavailable")
    assert slot(replace(station(), stopped=True), "0") == well("Unavailable")


@pytest.mark.req("1.6 §7.6")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("ContactorWelded", "PowerSwitchFailure"),
        ("ContactorNotClosed", "PowerSwitchFailure"),
        ("DiodeFault", "OtherError"),
        ("PilotShort", "OtherError"),
        ("PilotStuck", "OtherError"),
        ("PilotDriverMismatch", "InternalError"),
        ("ProximityFault", "OtherError"),
        ("ProximityChanged", "OtherError"),
        ("ResidualCurrent", "GroundFailure"),
        ("ResidualSelfTest", "InternalError"),
        ("ConnectorLockFailure", "ConnectorLockFailure"),
        ("OverTemperature", "HighTemperature"),
        ("EmergencyStop", "OtherError"),
        ("OverCurrent", "OverCurrentFailure"),
        ("LatchUnreadable", "InternalError"),
        ("GuardLate", "InternalError"),
        ("PenFault", "GroundFailure"),
        ("CurrentThoughOpen", "PowerSwitchFailure"),
        ("SecondContactorWelded", "PowerSwitchFailure"),
        ("SecondContactorNotClosed", "PowerSwitchFailure"),
        ("SupplyOutOfRange", "OtherError"),
        ("GuardSlow", "InternalError"),
        ("DeviceFailure", "InternalError"),
        ("GuardLost", "InternalError"),
        ("PowerMeterFailure", "PowerMeterFailure"),
        ("StorageFailure", "InternalError"),
        ("SomethingNew", "OtherError"),
    ],
)
def test_error_codes(fault: str, code: str) -> None:
    assert slot(station(faulty(fault)), "1") == {"status": "Faulted", "errorCode": code, "vendorErrorCode": fault}


@pytest.mark.req("1.6 §4.9")
def test_a_warning_is_never_said_with_faulted() -> None:
    assert "EVCommunicationError" not in _ERRORS.values()


def test_the_gravest_of_several_faults_gives_the_code() -> None:
    assert slot(station(faulty("OverTemperature", "SomethingNew", "ContactorWelded", "StorageFailure")), "1") == {
        "status": "Faulted",
        "errorCode": "PowerSwitchFailure",
        "vendorErrorCode": "ContactorWelded",
        "info": "ContactorWelded, OverTemperature, StorageFailur...",
    }


def test_the_name_of_a_fault_is_bounded() -> None:
    assert slot(station(faulty("~" * 50)), "1")["vendorErrorCode"] == "~" * 50
    assert slot(station(faulty("X" * 300)), "1")["vendorErrorCode"] == "X" * 47 + "..."


def test_two_faults_are_both_named() -> None:
    assert slot(station(faulty("PilotShort", "EmergencyStop")), "1")["info"] == "EmergencyStop, PilotShort"


@pytest.mark.req("1.6 §4.9")
def test_a_fault_that_does_not_stop_the_outlet_is_a_warning() -> None:
    here = live(charging(station(), 1, "tx-1"), faults=frozenset({"PowerMeterFailure"}))
    assert slot(here, "1") == {
        "status": "Charging",
        "errorCode": "PowerMeterFailure",
        "vendorErrorCode": "PowerMeterFailure",
    }


@pytest.mark.req("1.6 §4.9")
@pytest.mark.parametrize(
    ("here", "fault"),
    [
        (station(faulty("DiodeFault"), faulty("OverTemperature", "GuardLost")), "GuardLost"),
        (replace(station(), faults=frozenset({"StorageFailure"})), "StorageFailure"),
    ],
)
def test_a_fault_of_the_whole_station_is_told_at_connector_0(here: Station, fault: str) -> None:
    assert slot(here, "0") == {"status": "Faulted", "errorCode": "InternalError", "vendorErrorCode": fault}


def test_nothing_is_told_of_an_outlet_before_the_guard_has_spoken() -> None:
    assert list(DIALECT.statuses(station(Live()))) == ["0", "2"]
    assert slot(station(Live(faults=frozenset({"GuardLost"}))), "1")["status"] == "Faulted"


def test_outlets_are_numbered_by_rank_whatever_their_evse() -> None:
    sites = tuple(OutletSite(rank, evse=1, connector=rank, amps=16.0) for rank in (1, 2, 3))
    here = Station(Site(sites, 32.0), tuple(CoreOutlet(site, Live(known=True)) for site in sites), Variables())
    assert list(DIALECT.statuses(here)) == ["0", "1", "2", "3"]
