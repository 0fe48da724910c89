"""The first word, and what is said and done until the backend has accepted it (1.6 §4.2, B01-B03)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from chargerd.lab.csms import Boot
from chargerd.lab.peer import CallFailed, Script
from tests.scenarios.round import ANN, BOB, Round, each_version, play

OFFLINE = '[ocpp16]\nAllowOfflineTxForUnknownId = true\n'  # fmt: skip


async def booted(at: Round) -> None:
    """The backend has answered the first boot."""
    await at.until(lambda: bool(at.csms.stations) and bool(at.view.boots))
    await at.wait(1.0)


def said(at: Round) -> list[str]:
    """Actions of every CALL of the station."""
    return [frame.action for frame in at.view.wire if (frame.direction, frame.kind) == ("<", "call")]


@pytest.mark.req("1.6 §4.2", "B02.FR.02", "B02.FR.08", "B03.FR.02", "B03.FR.06", "B01.FR.08", "B02.FR.03", "B03.FR.01")
@each_version
@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_who_is_not_accepted_only_boots_and_tells_everything_afterwards(
    tmp_path: Path, version: str, status: str
) -> None:
    async def story(at: Round) -> None:
        await booted(at)
        await at.charge()  # the operator lets it
        await at.fault("over-temperature")
        await at.wait(5.0)
        await at.fault("over-temperature", active=False)
        await at.wait(400.0)
        assert set(said(at)) == {"BootNotification"}
        assert len(at.view.boots) == 4  # each 120 s
        at.csms.boot = Boot("Accepted", 300)
        await at.wait(120.0)
        assert at.starts() == 1 and at.status() is not None
        await at.whole.unplug()
        await at.wait(10.0)
        assert at.ends()[0][0] == "EVDisconnected"

    play(story, tmp_path, version, boot=Boot(status, 120), settings=OFFLINE)


@pytest.mark.req("1.6 §4.2", "B02.FR.01", "B02.FR.05")
@each_version
def test_pending_it_answers_and_starts_nothing_for_the_backend(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await booted(at)
        name = "HeartbeatInterval" if at.old else "OCPPCommCtrlr.HeartbeatInterval"
        assert await at.desk.set(name, "100") == "Accepted"
        assert await at.desk.get(name) == {name: "100"}
        await at.plug()
        await at.tap()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        assert await at.desk.remote_start(BOB, 1) == "Rejected"
        assert await at.desk.remote_stop(1 if at.old else "tx-1-0-1") == "Rejected"
        assert await at.desk.change_availability(False, 1) == "Scheduled"
        await at.wait(5.0)
        assert at.whole.world.outlets[0].closed
        assert said(at) == ["BootNotification"]

    play(story, tmp_path, version, over=False, boot=Boot("Pending", 600), settings=OFFLINE)


@pytest.mark.req("1.6 §4.2", "1.6 §5.17", "B02.FR.02", "B02.FR.04", "F06.FR.04")
@each_version
def test_pending_it_says_what_it_is_asked_for(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await booted(at)
        where = {"connectorId": 1} if at.old else {"evse": {"id": 1, "connectorId": 1}}
        for message in ("StatusNotification", "Heartbeat", "MeterValues"):
            answer = await at.ask("TriggerMessage", requestedMessage=message, **where)
            assert answer["status"] == "Accepted"
            await at.wait(1.0)
        assert said(at) == ["BootNotification", "StatusNotification", "Heartbeat", "MeterValues"]
        at.csms.boot = Boot("Accepted", 300)
        assert await at.desk.trigger("BootNotification") == "Accepted"  # long before its time
        await at.accepted()
        if not at.old:
            assert at.view.boots[-1]["reason"] == "Triggered"
            assert await at.desk.trigger("BootNotification") == "Rejected"  # F06.FR.17

    play(story, tmp_path, version, boot=Boot("Pending", 600))


@pytest.mark.req("1.6 §4.2", "B03.FR.08", "B03.FR.02")
@each_version
def test_rejected_it_does_nothing_for_the_backend(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await booted(at)

        async def refused(asked: Awaitable[object]) -> None:
            with pytest.raises((TimeoutError, CallFailed)) as info:
                await asyncio.wait_for(asked, 5.0)
            assert at.old == isinstance(info.value, TimeoutError)  # 1.6 is silent
            assert at.old or "SecurityError" in str(info.value)

        await refused(at.desk.change_availability(False, 1))
        await refused(at.desk.trigger("BootNotification"))
        await refused(at.desk.remote_start(ANN, 1))
        await refused(at.desk.reset())
        assert said(at) == ["BootNotification"]
        assert at.state.outlet(1).operative

    play(story, tmp_path, version, boot=Boot("Rejected", 600))


@pytest.mark.req("1.6 §4.2", "B02.FR.07", "B03.FR.05")
@each_version
@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_an_interval_of_zero_floods_nobody(tmp_path: Path, version: str, status: str) -> None:
    async def story(at: Round) -> None:
        await booted(at)
        await at.wait(290.0)
        assert 8 <= len(at.view.boots) <= 10

    play(story, tmp_path, version, boot=Boot(status, 0))


@pytest.mark.req("1.6 §4.2", "B02.FR.04")
@each_version
def test_a_huge_interval_is_kept_over_links_and_ends_with_a_restart(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await booted(at)
        for _ in range(3):
            at.csms.drop()
            await at.wait(3600.0)
        assert len(at.view.boots) == 1
        await at.crash()
        await at.wait(10.0)
        assert len(at.view.boots) == 2

    play(story, tmp_path, version, boot=Boot("Pending", 2**62))


@pytest.mark.req("1.6 §4.2", "B02.FR.02")
@each_version
def test_a_card_whose_question_waits_when_the_acceptance_is_taken_back(tmp_path: Path, version: str) -> None:
    """1.6 may ask for another boot at any time; the answer to it may be Pending."""

    async def story(at: Round) -> None:
        at.csms.script("Heartbeat", Script(delay=5.0))
        assert await at.desk.trigger("Heartbeat") == "Accepted"  # while it waits, nothing else leaves
        await at.wait(0.5)
        await at.tap()
        at.csms.boot = Boot("Pending", 600)
        if at.old:
            assert await at.desk.trigger("BootNotification") == "Accepted"
        await at.wait(30.0)
        asked = said(at).count("Authorize")
        assert asked == (0 if at.old else 1)
        assert at.view.registration == ("Pending" if at.old else "Accepted")

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §4.2", "B01.FR.01")
@each_version
def test_a_boot_that_nobody_answers_is_said_again_now_and_then(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        at.csms.script("BootNotification", Script(mute=True, heard=False), times=3)
        await at.crash()
        await at.wait(30.0)
        assert at.view.registration == "Accepted" and len(at.view.boots) == 1
        await at.wait(250.0)
        assert len(at.view.boots) == 2
        tries = said(at).count("BootNotification")
        assert tries == 5  # one of them before the crash

    play(story, tmp_path, version)
