"""Out of service and back, as the backend and the drivers see it (1.6 §5.2, G03, G04)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.round import ANN, BOB, Round, each_version, play


@pytest.mark.req("1.6 §5.2", "G03.FR.03", "G03.FR.04", "G03.FR.02")
@each_version
def test_an_idle_outlet_goes_and_comes_back_and_says_so_once(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        for _ in range(2):  # the second time it is what it is already
            assert await at.desk.change_availability(False, 1) == "Accepted"
            await at.wait(1.0)
        assert at.statuses() == ["Unavailable"]
        for _ in range(2):
            assert await at.desk.change_availability(True, 1) == "Accepted"
            await at.wait(1.0)
        assert at.statuses() == ["Unavailable", "Available"]

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.2", "1.6 §4.9", "G03.FR.05", "G01.FR.05")
@each_version
def test_what_runs_is_finished_first_and_the_cable_too(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.change_availability(False, 1) == "Scheduled"
        assert await at.desk.change_availability(False, 1) == "Scheduled"
        assert await at.desk.change_availability(True, 1) == "Accepted"
        assert await at.desk.change_availability(False, 1) == "Scheduled"
        await at.wait(5.0)
        await at.tap()
        await at.wait(5.0)
        assert at.ends()[0][0] == "Local"
        assert at.statuses()[-1] == ("Finishing" if at.old else "Occupied")
        await at.tap(BOB)  # nobody else begins here
        await at.wait(5.0)
        assert at.starts() == 1
        await at.whole.unplug()
        await at.wait(2.0)
        assert at.statuses()[-1] == "Unavailable"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.2", "G04.FR.06")
@each_version
def test_taken_back_before_it_takes_effect(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.change_availability(False) == "Scheduled"
        assert await at.desk.change_availability(True) == "Accepted"
        await at.tap()
        await at.whole.unplug()
        await at.wait(3.0)
        assert "Unavailable" not in at.statuses()
        assert at.statuses()[-1] == "Available"
        await at.charge(card=BOB)
        assert at.starts() == 2
        await at.whole.unplug()
        await at.wait(5.0)

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.2", "G03.FR.08", "G01.FR.02", "B11.FR.02", "B01.FR.07")
@each_version
def test_out_of_service_outlives_reset_crash_and_power_cut(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        assert await at.desk.change_availability(False, 2) == "Accepted"
        assert await at.desk.reset() == "Accepted"
        await at.restarted()
        await at.accepted()
        assert (at.status(1), at.status(2)) == ("Available", "Unavailable")
        await at.crash()
        await at.accepted()
        assert (at.status(1), at.status(2)) == ("Available", "Unavailable")
        await at.cut()
        await at.accepted()
        assert (at.status(1), at.status(2)) == ("Available", "Unavailable")

    play(story, tmp_path, version, outlets=2)


@pytest.mark.req("1.6 §5.2", "G04.FR.09")
@each_version
def test_a_change_that_waited_takes_effect_though_the_power_was_cut(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.change_availability(False) == "Scheduled"
        await at.cut()
        await at.accepted()
        assert at.ends()[0][0] == "PowerLoss"
        await at.whole.unplug()
        await at.wait(3.0)
        assert at.statuses()[-1] == "Unavailable"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.11", "1.6 §5.2", "G03.FR.06")
@each_version
def test_neither_card_nor_app_begins_at_an_outlet_out_of_service(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.desk.change_availability(False, 1)
        assert await at.desk.remote_start(ANN, 1) == "Rejected"
        await at.plug()
        await at.tap()
        await at.wait(5.0)
        assert not at.whole.world.outlets[0].closed
        assert at.statuses() == ["Unavailable"]
        await at.desk.change_availability(True, 1)
        await at.wait(1.0)
        assert at.statuses()[-1] == ("Preparing" if at.old else "Occupied")
        await at.tap()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        await at.whole.unplug()
        await at.wait(5.0)
        assert at.starts() == 1

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.2", "G03.FR.02")
@each_version
def test_an_authorisation_that_waits_for_its_car_ends(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.tap()
        assert await at.desk.change_availability(False, 1) == "Accepted"
        await at.wait(1.0)
        assert at.statuses()[-1] == "Unavailable"
        await at.plug()
        await at.wait(5.0)
        assert at.starts() == 0 and not at.whole.world.outlets[0].closed

    play(story, tmp_path, version)


@pytest.mark.req("G03.FR.04", "1.6 §5.2")
@each_version
def test_a_finished_session_whose_cable_still_hangs_there_is_no_reason_to_wait(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.tap()
        await at.wait(5.0)
        assert await at.desk.change_availability(False, 1) == "Accepted"
        await at.wait(1.0)
        assert at.statuses()[-1] == "Unavailable"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.2", "1.6 §4.9")
def test_connector_0_speaks_for_all_and_each_may_come_back_by_itself(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge(1)
        assert await at.desk.change_availability(False, 0) == "Scheduled"
        await at.wait(1.0)
        assert (at.status(0), at.status(1), at.status(2)) == ("Unavailable", "Charging", "Unavailable")
        assert await at.desk.change_availability(True, 2) == "Accepted"
        await at.wait(1.0)
        assert (at.status(0), at.status(1), at.status(2)) == ("Available", "Charging", "Available")
        await at.whole.unplug(1)
        await at.wait(5.0)
        assert at.status(1) == "Unavailable"
        assert await at.desk.change_availability(True, 0) == "Accepted"
        await at.wait(1.0)
        assert (at.status(1), at.status(2)) == ("Available", "Available")

    play(story, tmp_path, "1.6", outlets=2)


@pytest.mark.req("1.6 §5.2")
def test_an_unknown_connector_is_rejected(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        assert await at.desk.change_availability(False, 3) == "Rejected"

    play(story, tmp_path, "1.6", outlets=2)


@pytest.mark.req("G03.FR.07", "G04.FR.08", "G04.FR.05", "G04.FR.07")
def test_station_evse_and_connector_each_keep_their_own_word(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        async def set_(operative: bool, **where: object) -> None:
            word = "Operative" if operative else "Inoperative"
            payload = {"operationalStatus": word} | ({"evse": where} if where else {})
            assert (await at.ask("ChangeAvailability", **payload))["status"] == "Accepted"
            await at.wait(1.0)

        await set_(False, id=1, connectorId=1)
        await set_(False, id=1)
        await set_(False)
        assert (at.status(1), at.status(2)) == ("Unavailable", "Unavailable")
        await at.cut()
        await at.accepted()
        assert (at.status(1), at.status(2)) == ("Unavailable", "Unavailable")
        await set_(True)
        assert (at.status(1), at.status(2)) == ("Unavailable", "Available")
        await set_(True, id=1, connectorId=1)
        assert at.status(1) == "Unavailable"
        await set_(False, id=1, connectorId=1)
        await set_(True, id=1)
        assert at.status(1) == "Unavailable"
        await set_(True, id=1, connectorId=1)
        assert at.status(1) == "Available"

    play(story, tmp_path, "2.0.1", outlets=2)


@pytest.mark.req("G04.FR.06", "E03.FR.01")
def test_a_transaction_in_the_lobby_finds_its_outlet_though_the_station_closes_behind_it(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.tap()
        assert at.starts() == 1
        assert await at.desk.change_availability(False) == "Scheduled"
        await at.plug(2)
        await at.until(lambda: at.whole.world.outlets[1].closed)
        await at.tap()
        await at.whole.unplug(2)
        await at.wait(3.0)
        assert (at.status(1), at.status(2)) == ("Unavailable", "Unavailable")
        await at.tap(BOB)
        assert at.starts() == 1

    play(story, tmp_path, "2.0.1", outlets=2, settings='[ocpp2]\n"TxCtrlr.TxStartPoint" = "Authorized"\n')
