"""Starting anew on request: when, with which reasons, and what the first word afterwards is (1.6 §5.14, B11, B12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.lab.csms import Boot
from chargerd.lab.peer import CallFailed, Script
from tests.scenarios.round import BOB, Disk, Round, each_version, play

newer = pytest.mark.parametrize("version", ["2.0.1", "2.1"])


@pytest.mark.req("1.6 §5.14", "B11.FR.01", "B11.FR.03", "B11.FR.04", "B01.FR.09")
@each_version
@pytest.mark.parametrize("hard", [False, True])
def test_an_idle_station_leaves_and_says_why_it_is_back(tmp_path: Path, version: str, hard: bool) -> None:
    async def story(at: Round) -> None:
        assert await at.desk.reset(hard=hard) == "Accepted"
        code = await at.restarted()
        assert code == (65 if at.old and hard else 64)
        await at.accepted()
        assert len(at.view.boots) == 2
        if not at.old:
            assert at.view.boots[1]["reason"] == ("RemoteReset" if hard else "ScheduledReset")
        assert at.status() == "Available"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.14", "1.6 §4.10")
@pytest.mark.parametrize(("hard", "reason"), [(False, "SoftReset"), (True, "HardReset")])
def test_what_runs_is_stopped_and_told_before(tmp_path: Path, hard: bool, reason: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.reset(hard=hard) == "Accepted"
        await at.until(lambda: at.ends() == [(reason, None)])
        await at.restarted()
        await at.accepted()
        assert not at.whole.world.outlets[0].closed
        assert at.status() == "Finishing"
        await at.wait(30.0)
        assert at.starts() == 1

    play(story, tmp_path, "1.6")


@pytest.mark.req("B12.FR.02", "B12.FR.04")
def test_an_immediate_reset_ends_what_runs(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge(1)
        await at.charge(2, BOB)
        assert await at.desk.reset(hard=True) == "Accepted"
        await at.until(lambda: at.ends() == [("ImmediateReset", "ResetCommand")] * 2)
        await at.restarted()
        await at.accepted()
        assert at.view.boots[-1]["reason"] == "RemoteReset"

    play(story, tmp_path, "2.0.1", outlets=2)


@pytest.mark.req("B12.FR.01", "B12.FR.03", "B12.FR.13")
def test_on_idle_waits_for_the_driver_and_lets_nobody_else_begin(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.reset() == "Scheduled"
        await at.wait(600.0)
        assert at.whole.world.outlets[0].closed
        assert (at.status(1), at.status(2)) == ("Occupied", "Unavailable")
        await at.plug(2)
        await at.tap(BOB)
        assert await at.desk.remote_start(BOB, 2) == "Rejected"
        assert at.starts() == 1
        await at.tap()
        await at.until(lambda: at.ends() == [("Local", "StopAuthorized")])
        assert await at.restarted() == 64
        await at.accepted()
        assert at.view.boots[-1]["reason"] == "ScheduledReset"
        await at.tap(BOB)  # whose vehicle has waited
        await at.until(lambda: at.whole.world.outlets[1].closed)
        await at.whole.unplug(2)
        await at.wait(5.0)

    play(story, tmp_path, "2.0.1", outlets=2)


@pytest.mark.req("B12.FR.02", "B12.FR.04")
def test_an_immediate_reset_overtakes_a_scheduled_one_and_not_the_other_way_round(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.reset() == "Scheduled"
        await at.wait(10.0)
        assert await at.desk.reset(hard=True) == "Accepted"
        assert await at.desk.reset() == "Scheduled"  # while the other one is on its way
        await at.restarted()
        await at.accepted()
        assert at.ends() == [("ImmediateReset", "ResetCommand")]
        assert at.view.boots[-1]["reason"] == "RemoteReset"

    play(story, tmp_path, "2.0.1")


@pytest.mark.req("1.6 §5.14")
def test_a_soft_reset_does_not_soften_a_hard_one(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.reset(hard=True) == "Accepted"
        assert await at.desk.reset() == "Accepted"
        assert await at.restarted() == 65
        assert at.ends() == [("HardReset", None)]

    play(story, tmp_path, "1.6")


@pytest.mark.req("B12.FR.05")
def test_an_end_that_nobody_answers_is_told_after_the_restart(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        at.csms.script("TransactionEvent", Script(mute=True, heard=False))
        assert await at.desk.reset(hard=True) == "Accepted"
        await at.restarted()
        await at.accepted()
        await at.until(lambda: at.csms.books.sessions[-1].reason == "ImmediateReset")

    play(story, tmp_path, "2.0.1")


@pytest.mark.req("B12.FR.02", "B12.FR.08")
@newer
def test_one_evse_at_once_while_the_other_charges(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge(1)
        await at.charge(2, BOB)
        assert (await at.ask("Reset", type="Immediate", evseId=1))["status"] == "Accepted"
        await at.until(lambda: at.ends() == [("ImmediateReset", "ResetCommand")])
        assert at.whole.world.outlets[1].closed
        assert (await at.ask("Reset", type="Immediate", evseId=3))["status"] == "Rejected"
        for outlet in (1, 2):
            await at.whole.unplug(outlet)
        await at.wait(5.0)
        assert at.status(1) == "Available"
        assert (len(at.view.boots), at.state.resets) == (1, frozenset())

    play(story, tmp_path, version, outlets=2)


@pytest.mark.req("B12.FR.01", "B12.FR.07", "B12.FR.14")
@newer
@pytest.mark.parametrize("between", ["nothing", "crash", "cut"])
def test_one_evse_on_idle_waits_for_its_driver_over_every_start(tmp_path: Path, version: str, between: str) -> None:
    async def story(at: Round) -> None:
        await at.charge(1)
        assert (await at.ask("Reset", type="OnIdle", evseId=1))["status"] == "Scheduled"
        assert (await at.ask("Reset", type="OnIdle", evseId=2))["status"] == "Accepted"
        if between == "crash":
            await at.crash()
        elif between == "cut":
            await at.cut()
        await at.accepted()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        assert at.state.resets == {1}
        await at.charge(2, BOB)  # which is nobody else's business
        await at.whole.sim("unplug", outlet=1, end="vehicle")
        await at.until(lambda: at.ends() == [("EVDisconnected", "EVCommunicationLost")])
        await at.wait(5.0)
        assert at.state.outlet(1).live.locked  # the driver's own cable: idle once that is gone, too
        assert at.state.resets == {1}
        await at.tap()
        await at.wait(5.0)
        assert (at.state.resets, at.state.outlet(1).live.locked) == (frozenset(), False)
        await at.whole.unplug(1)
        await at.wait(5.0)
        assert at.status(1) == "Available"
        await at.charge(1)
        assert at.starts() == 3
        for outlet in (1, 2):
            await at.whole.unplug(outlet)
        await at.wait(5.0)

    settings = '[ocpp2]\n"OCPPCommCtrlr.UnlockOnEVSideDisconnect" = false\n"TxCtrlr.ResumptionTimeout" = 600\n'
    play(story, tmp_path, version, outlets=2, settings=settings)


@pytest.mark.req("B11.FR.08")
def test_an_evse_that_begins_anew_holds_no_cable_back(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.whole.sim("unplug", outlet=1, end="vehicle")
        await at.wait(5.0)
        assert at.state.outlet(1).live.locked
        assert (await at.ask("Reset", type="Immediate", evseId=1))["status"] == "Accepted"
        await at.wait(3.0)
        assert not at.state.outlet(1).live.locked

    settings = '[ocpp2]\n"OCPPCommCtrlr.UnlockOnEVSideDisconnect" = false\n'
    play(story, tmp_path, "2.0.1", settings=settings)


@pytest.mark.req("B11.FR.01", "B02.FR.01", "1.6 §5.14")
@each_version
def test_reset_while_the_backend_has_not_accepted_us(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.until(lambda: bool(at.view.boots) if at.csms.stations else False)
        await at.wait(1.0)
        assert await at.desk.reset(hard=True) == "Accepted"
        await at.restarted()
        assert len(at.view.boots) == 2

    play(story, tmp_path, version, boot=Boot("Pending", 300))


@pytest.mark.req("1.6 §5.14", "B12.FR.05")
@each_version
def test_a_technician_resets_while_the_backend_is_away(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.csms.away()
        await at.wait(2.0)
        assert at.whole.daemon is not None
        assert await at.whole.daemon.operator.reset("soft") == {"outcome": "accepted"}
        await at.csms.back()
        await at.restarted()
        await at.accepted()
        assert at.ends()[0][0] == "Reboot"  # nobody far away had asked for it
        if not at.old:
            assert at.view.boots[-1]["reason"] == "LocalReset"

    play(story, tmp_path, version)


@pytest.mark.req("B12.FR.01")
@newer
def test_one_evse_on_idle_is_no_promise_while_nothing_can_be_written(tmp_path: Path, version: str) -> None:
    disk = Disk()

    async def story(at: Round) -> None:
        await at.charge()
        disk.broken = True
        with pytest.raises(CallFailed, match="could not be stored"):
            await at.ask("Reset", type="OnIdle", evseId=1)
        assert (await at.ask("Reset", type="Immediate", evseId=1))["status"] == "Accepted"
        await at.until(lambda: not at.whole.world.outlets[0].closed)
        assert at.ends() == []  # an end that is not on the disk is not told
        disk.broken = False
        await at.until(lambda: at.ends() == [("ImmediateReset", "ResetCommand")])
        await at.whole.unplug()
        await at.wait(5.0)

    play(story, tmp_path, version, gate=disk.gate)


@pytest.mark.req("1.6 §5.14", "B11.FR.01")
@each_version
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_a_disk_that_fails_does_not_hold_a_reset_up_for_ever(
    tmp_path: Path, version: str, hard: bool, busy: bool
) -> None:
    disk = Disk()

    async def story(at: Round) -> None:
        if busy:
            await at.charge()
        disk.broken = True
        await at.wait(1.0)
        asked = at.whole.loop.time()
        waits = busy and not hard and not at.old
        assert await at.desk.reset(hard=hard) == ("Scheduled" if waits else "Accepted")
        if waits:
            await at.tap()
        assert at.whole.daemon is not None
        await at.whole.daemon.exit
        assert at.whole.loop.time() - asked < 60.0
        assert not at.whole.world.outlets[0].closed
        await at.whole.stop_daemon()
        disk.broken = False
        await at.whole.start_daemon()
        await at.accepted()
        if busy:
            await at.whole.unplug()
        await at.wait(10.0)
        assert len(at.ends()) == (1 if busy else 0)  # nothing that was begun has no end in the books

    play(story, tmp_path, version, gate=disk.gate)
