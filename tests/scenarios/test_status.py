"""What connectors say of themselves: faults in every state, short-lived statuses, absences (1.6 §4.9, G01, N07)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.core.events import Power
from chargerd.lab.peer import CallFailed
from tests.scenarios.round import Disk, Round, each_version, play
from tests.scenarios.states import State, charging, finished, idle, suspended, vehicle


async def unavailable(at: Round) -> None:
    await at.desk.change_availability(False, 1)
    await at.wait(1.0)


EVERY: dict[State, str] = {
    idle: "Available",
    vehicle: "Preparing",
    charging: "Charging",
    suspended: "SuspendedEV",
    finished: "Finishing",
    unavailable: "Unavailable",
}


def told16(at: Round, outlet: int = 1) -> list[tuple[str, str, str, str]]:
    """(status, errorCode, vendorErrorCode, info) of everything told of one connector in 1.6."""
    return [
        (said["status"], said["errorCode"], said.get("vendorErrorCode", ""), said.get("info", ""))
        for said in at.heard("StatusNotification")
        if said["connectorId"] == outlet
    ]


@pytest.mark.req("1.6 §4.9", "1.6 §7.6")
@pytest.mark.parametrize("state", EVERY, ids=lambda state: state.__name__)
@pytest.mark.parametrize(
    ("fault", "code", "name"),
    [
        ("over-temperature", "HighTemperature", "OverTemperature"),
        ("emergency-stop", "OtherError", "EmergencyStop"),
        ("meter-silent", "PowerMeterFailure", "PowerMeterFailure"),
    ],
)
def test_a_fault_in_every_state_and_back_to_it(tmp_path: Path, state: State, fault: str, code: str, name: str) -> None:
    async def story(at: Round) -> None:
        await state(at)
        before = at.status()
        assert before == EVERY[state]
        await at.fault(fault)
        await at.wait(15.0)
        runs = state in (charging, suspended)
        warned = name == "PowerMeterFailure" and runs  # what has begun to be measured goes on
        assert told16(at)[-1] == (before if warned else "Faulted", code, name, "")
        ended = name == "EmergencyStop" and runs
        assert len(at.ends()) == int(state is finished or ended)
        await at.fault(fault, active=False)
        await at.wait(15.0)
        assert told16(at)[-1] == ("Finishing" if ended else str(before), "NoError", "", "")
        if state not in (idle, unavailable):
            await at.whole.unplug()
            await at.wait(5.0)
            assert at.status() == "Available"

    play(story, tmp_path, "1.6")


@pytest.mark.req("G01.FR.01", "N07.FR.07", "E02.FR.13")
@pytest.mark.parametrize("state", EVERY, ids=lambda state: state.__name__)
@pytest.mark.parametrize(
    ("fault", "name", "component"),
    [
        ("over-temperature", "OverTemperature", "TemperatureSensor"),
        ("emergency-stop", "EmergencyStop", "EmergencyStopSensor"),
    ],
)
def test_a_fault_in_every_state_with_its_cause_beside(
    tmp_path: Path, state: State, fault: str, name: str, component: str
) -> None:
    async def story(at: Round) -> None:
        await state(at)
        before = at.status()
        await at.fault(fault)
        await at.wait(15.0)
        assert at.status() == "Faulted"
        (data,) = at.heard("NotifyEvent")[-1]["eventData"]
        assert (data["techCode"], data["actualValue"], data["component"]["name"]) == (name, "true", component)
        assert data["component"]["evse"] == {"id": 1, "connectorId": 1}
        runs = state in (charging, suspended)
        if name == "EmergencyStop" and runs:
            assert at.ends() == [("EmergencyStop", "AbnormalCondition")]
        elif runs:
            last = at.heard("TransactionEvent")[-1]
            assert last["transactionInfo"]["chargingState"] == "SuspendedEVSE"
        await at.fault(fault, active=False)
        await at.wait(15.0)
        assert at.status() == before
        assert at.events()[-1] == (name, "false")
        if state not in (idle, unavailable):
            await at.whole.unplug()
            await at.wait(5.0)
            assert at.status() == "Available"

    play(story, tmp_path, "2.0.1")


@pytest.mark.req("1.6 §4.9", "N07.FR.07")
@each_version
def test_several_faults_are_all_named_and_the_gravest_first(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.fault("over-temperature")
        await at.wait(3.0)
        await at.fault("emergency-stop")
        await at.wait(3.0)
        await at.fault("emergency-stop", active=False)
        await at.wait(5.0)
        await at.fault("over-temperature", active=False)
        await at.wait(15.0)
        if at.old:
            assert told16(at)[1:] == [
                ("Faulted", "HighTemperature", "OverTemperature", ""),
                ("Faulted", "OtherError", "EmergencyStop", "EmergencyStop, OverTemperature"),
                ("Faulted", "HighTemperature", "OverTemperature", ""),
                ("Available", "NoError", "", ""),
            ]
        else:
            assert at.statuses() == ["Faulted", "Available"]
            assert at.events() == [
                ("OverTemperature", "true"),
                ("EmergencyStop", "true"),
                ("EmergencyStop", "false"),
                ("OverTemperature", "false"),
            ]

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §4.9", "B01.FR.05", "N07.FR.07")
@each_version
def test_a_fault_from_before_the_backend_was_there_keeps_its_cause(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.whole.stop_daemon()
        await at.csms.away()
        await at.fault("over-temperature")
        await at.whole.start_daemon()
        await at.wait(60.0)
        await at.csms.back()
        await at.accepted()
        await at.wait(5.0)
        assert at.status() == "Faulted"
        if at.old:
            assert told16(at)[-1][:3] == ("Faulted", "HighTemperature", "OverTemperature")
        else:
            assert at.events() == [("OverTemperature", "true")]

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §4.9", "N07.FR.07")
@each_version
def test_a_fault_that_came_and_went_while_nobody_listened(tmp_path: Path, version: str) -> None:
    """1.6 is told of no status that is history; 2.x gets what happened, as events."""

    async def story(at: Round) -> None:
        await at.csms.away()
        await at.fault("over-temperature")
        await at.wait(20.0)
        await at.fault("over-temperature", active=False)
        await at.wait(20.0)
        await at.csms.back()
        await at.until(lambda: at.csms.connected("CS-0001"))
        await at.wait(5.0)
        assert at.statuses() == []
        if not at.old:
            assert at.events() == [("OverTemperature", "true"), ("OverTemperature", "false")]

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §4.9", "B04.FR.02")
@each_version
def test_a_fault_that_came_while_nobody_listened_and_stays(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.csms.away()
        await at.fault("over-temperature", outlet=2)
        await at.wait(20.0)
        await at.csms.back()
        await at.until(lambda: at.csms.connected("CS-0001"))
        await at.wait(5.0)
        assert (at.statuses(1), at.statuses(2)) == ([], ["Faulted"])

    play(story, tmp_path, version, outlets=2)


@pytest.mark.req("B04.FR.01", "1.6 §4.9")
@each_version
def test_after_a_long_absence(tmp_path: Path, version: str) -> None:
    """2.x tells every status anew, 1.6 only what has changed."""

    async def story(at: Round) -> None:
        await at.csms.away()
        await at.wait(100.0)  # OfflineThreshold is 60 s
        await at.csms.back()
        await at.until(lambda: at.csms.connected("CS-0001"))
        await at.wait(5.0)
        assert (at.statuses(1), at.statuses(2)) == (([], []) if at.old else (["Available"], ["Available"]))

    play(story, tmp_path, version, outlets=2)


@pytest.mark.req("1.6 §4.9", "1.6 §9.1.18")
def test_what_does_not_last_is_not_told(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        assert await at.desk.set("MinimumStatusDuration", "20") == "Accepted"
        await at.plug()  # Preparing, and Charging 10 s later
        await at.wait(9.0)
        await at.tap()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        await at.wait(10.0)
        assert at.statuses() == []
        await at.wait(15.0)
        assert at.statuses() == ["Charging"]
        await at.fault("over-temperature")  # and gone again in time
        await at.wait(5.0)
        await at.fault("over-temperature", active=False)
        await at.wait(40.0)
        assert at.statuses() == ["Charging"]
        await at.fault("over-temperature")
        await at.wait(25.0)
        assert at.statuses() == ["Charging", "Faulted"]
        await at.fault("over-temperature", active=False)
        await at.until(lambda: not at.state.outlet(1).live.faults)
        assert await at.desk.trigger("StatusNotification", 1) == "Accepted"  # what is asked for is told at once
        await at.wait(1.0)
        assert at.statuses()[-1] != "Faulted"
        await at.whole.unplug()
        await at.wait(60.0)
        assert at.statuses()[-1] == "Available"

    play(story, tmp_path, "1.6")


@pytest.mark.req("1.6 §4.9", "G01.FR.01")
@each_version
def test_the_disk_fails_and_recovers(tmp_path: Path, version: str) -> None:
    """A fault of the station: connector 0 in 1.6, an event of its controller in 2.x, told once it can be kept."""
    disk = Disk()

    async def story(at: Round) -> None:
        name = "HeartbeatInterval" if at.old else "OCPPCommCtrlr.HeartbeatInterval"
        disk.broken = True
        with pytest.raises(CallFailed, match="could not be stored"):
            await at.desk.set(name, "77")
        await at.wait(5.0)
        assert at.whole.daemon is not None
        assert {"outlet": 0, "fault": "StorageFailure"} in (await at.whole.daemon.operator.status())["faults"]
        if at.old:
            assert (at.status(0), at.status(1)) == ("Faulted", "Available")
        disk.broken = False
        await at.desk.set(name, "78")
        await at.wait(10.0)
        assert (await at.whole.daemon.operator.status())["faults"] == []
        if at.old:
            assert at.status(0) == "Available"
        else:
            assert at.events() == [("StorageFailure", "true"), ("StorageFailure", "false")]

    play(story, tmp_path, version, gate=disk.gate)


@pytest.mark.req("1.6 §4.9", "N07.FR.07")
@each_version
def test_an_event_that_could_not_be_digested_is_told(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        assert at.whole.daemon is not None
        at.whole.daemon.charger.feed(Power(99, True))
        await at.wait(2.0)
        if at.old:
            assert told16(at, 0)[-1] == ("Available", "InternalError", "EventSetAside", "")
        else:
            assert at.events() == [("EventSetAside", "true")]
        await at.charge()  # nobody is kept from charging
        await at.whole.unplug()
        await at.wait(5.0)
        await at.whole.daemon.operator.clear_fault(0, "EventSetAside", "uid 0")
        await at.wait(2.0)
        if at.old:
            assert told16(at, 0)[-1] == ("Available", "NoError", "", "")
        else:
            assert at.events()[-1] == ("EventSetAside", "false")

    play(story, tmp_path, version)


@pytest.mark.req("N07.FR.07")
def test_another_version_is_told_what_is_wrong_in_its_own_words(tmp_path: Path) -> None:
    """1.6 has no event for a fault, 2.x no cause in a status: who changes to it must not lose the cause."""

    async def story(at: Round) -> None:
        await at.fault("over-temperature", outlet=2)
        await at.wait(5.0)
        assert at.view.version == "ocpp1.6" and at.heard("StatusNotification")[-1]["errorCode"] == "HighTemperature"
        at.csms.versions = ("ocpp2.0.1",)
        at.csms.drop()
        await at.until(lambda: at.view.version == "ocpp2.0.1")
        await at.wait(5.0)
        (data,) = at.heard("NotifyEvent")[-1]["eventData"]
        assert (data["techCode"], data["component"]["evse"]["id"]) == ("OverTemperature", 2)
        assert at.status(2) == "Faulted"

    play(story, tmp_path, '1.6", "2.0.1', outlets=2)
