"""OCPP 2.1 as its backend hears it: a session from plug to unplug, and what only 2.1 can say."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.core.events import ResetKind
from chargerd.lab.peer import Payload, Script
from tests.scenarios.round import ANN, Round, play

RESUME = '[ocpp2]\n"TxCtrlr.ResumptionTimeout" = 600\n'


BEGUN = 2  # events until energy flows: started, charging


def events(at: Round, since: int = 0) -> list[str]:
    """Edge, trigger and charging state of each TransactionEvent, the first ones left out."""
    told = at.heard("TransactionEvent")[since:]
    return [f"{one['eventType']} {one['triggerReason']} {one['transactionInfo']['chargingState']}" for one in told]


def test_a_session(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        assert at.view.version == "ocpp2.1"
        await at.charge()
        await at.tap()
        await at.wait(10.0)
        await at.whole.unplug()
        await at.wait(10.0)
        assert events(at) == [
            "Started Authorized EVConnected",
            "Updated ChargingStateChanged Charging",
            "Ended StopAuthorized EVConnected",
        ]
        started, _, ended = at.heard("TransactionEvent")
        assert started["idToken"] == ended["idToken"] == {"idToken": ANN, "type": "ISO14443"}
        assert ended["transactionInfo"]["stoppedReason"] == "Local"
        assert [one["seqNo"] for one in at.heard("TransactionEvent")] == [0, 1, 2]

    play(story, tmp_path, "2.1")


def test_a_fault_is_told_with_its_severity(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.fault("residual-trip")
        await at.wait(5.0)
        [event] = [data for one in at.heard("NotifyEvent") for data in one["eventData"]]
        assert (event["techCode"], event["severity"]) == ("ResidualCurrent", 0)

    play(story, tmp_path, "2.1", over=False)


def test_a_reset_that_ends_nothing(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.ask("Reset", type="ImmediateAndResume") == {"status": "Accepted"}
        assert await at.restarted() == 64
        await at.accepted()
        await at.wait(5.0)
        assert events(at, BEGUN) == ["Updated ResetCommand Charging", "Updated TxResumed Charging"]
        assert at.view.boots[-1]["reason"] == "RemoteReset"
        assert at.whole.world.outlets[0].audit.closed == 1  # the vehicle did not notice
        await at.tap()
        await at.wait(10.0)
        assert at.ends() == [("Local", "StopAuthorized")]

    play(story, tmp_path, "2.1", settings=RESUME)


def test_without_a_transaction_it_is_a_start_like_any_other(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        assert await at.ask("Reset", type="ImmediateAndResume") == {"status": "Accepted"}
        assert await at.restarted() == 64
        await at.accepted()
        await at.charge()
        await at.tap()
        await at.wait(10.0)

    play(story, tmp_path, "2.1", settings=RESUME)


def test_one_that_is_ending_ends_first(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.tap()
        assert await at.ask("Reset", type="ImmediateAndResume") == {"status": "Accepted"}
        assert await at.restarted() == 64
        await at.accepted()
        assert at.ends() == [("Local", "StopAuthorized")]
        assert "Updated TxResumed" not in " ".join(events(at))

    play(story, tmp_path, "2.1", settings=RESUME)


@pytest.mark.parametrize("where", [{}, {"evseId": 1}])
def test_where_nothing_is_resumed_it_is_refused(tmp_path: Path, where: Payload) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert (await at.ask("Reset", type="ImmediateAndResume", **where))["status"] == "Rejected"
        await at.wait(10.0)
        assert at.ends() == []
        assert at.whole.world.outlets[0].closed

    play(story, tmp_path, "2.1", over=False)


def test_an_evse_has_nothing_to_resume(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.ask("Reset", type="ImmediateAndResume", evseId=1) == {"status": "Accepted"}
        await at.wait(10.0)
        assert events(at, BEGUN) == []
        assert at.state.reset is None
        assert at.whole.world.outlets[0].closed

    play(story, tmp_path, "2.1", settings=RESUME, over=False)


def test_a_graver_reset_overtakes_it(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.tap()  # it is ending, so the reset waits
        await at.ask("Reset", type="ImmediateAndResume")
        await at.ask("Reset", type="Immediate")
        assert at.state.reset is None or at.state.reset.kind is ResetKind.IMMEDIATE
        await at.restarted()
        await at.accepted()

    play(story, tmp_path, "2.1", settings=RESUME)


def test_after_a_power_cut_it_says_that_the_transaction_goes_on(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.cut(60.0)
        await at.accepted()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        await at.wait(5.0)
        assert events(at, BEGUN)[:2] == ["Updated TxResumed SuspendedEVSE", "Updated ChargingStateChanged Charging"]

    play(story, tmp_path, "2.1", settings=RESUME, over=False)


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_after_a_crash_2_1_says_so_and_2_0_1_has_no_word_for_it(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.crash()
        await at.accepted()
        await at.wait(5.0)
        assert events(at, BEGUN) == (["Updated TxResumed Charging"] if version == "2.1" else [])
        assert at.view.boots[-1]["reason"] == "Watchdog"

    play(story, tmp_path, version, over=False)


def test_an_answer_that_is_none_is_disputed_and_the_session_goes_on(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        at.csms.script("TransactionEvent", Script(answer={"idTokenInfo": {"status": "Maybe"}}))
        await at.charge()
        await at.wait(70.0)
        [dispute] = [frame for frame in at.view.wire if frame.kind == "dispute"]
        assert (dispute.direction, dispute.action) == ("<", "TransactionEvent")
        assert dispute.payload["code"] == "PropertyConstraintViolation"
        await at.tap()
        await at.wait(10.0)

    play(story, tmp_path, "2.1")
