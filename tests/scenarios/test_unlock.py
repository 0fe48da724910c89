"""A cable that does not come out, and whom it is held for (1.6 §5.18, F05)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.lab.peer import CallFailed
from tests.scenarios.round import BOB, Round, each_version, play

HELD = '[ocpp16]\nUnlockConnectorOnEVSideDisconnect = false\n'  # fmt: skip


@pytest.mark.req("1.6 §5.18", "F05.FR.04", "F05.FR.06")
@each_version
@pytest.mark.parametrize("cable", [False, True])
def test_a_lock_that_holds_nothing_is_tried_all_the_same(tmp_path: Path, version: str, cable: bool) -> None:
    async def story(at: Round) -> None:
        if cable:
            await at.plug(cable_only=True)
        assert await at.desk.unlock(1) == "Unlocked"
        assert at.starts() == 0

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.18", "F05.FR.05", "F05.FR.06")
@each_version
def test_a_jammed_lock_is_not_called_open(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.fault("lock-jammed")
        assert await at.desk.unlock(1) == "UnlockFailed"
        await at.fault("lock-jammed", active=False)
        await at.wait(2.0)
        assert await at.desk.unlock(1) == "Unlocked"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.18", "F05.FR.04")
@each_version
def test_a_cable_whose_card_waits_for_the_car_comes_out_and_the_card_is_forgotten(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.plug(cable_only=True)
        await at.tap()
        await at.until(lambda: at.state.outlet(1).live.locked)
        assert await at.desk.unlock(1) == "Unlocked"
        visit = at.state.outlet(1).visit
        assert visit is not None and visit.auth is None
        await at.whole.unplug()
        await at.wait(2.0)
        assert at.statuses()[-1] == "Available"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.18", "1.6 §4.10")
def test_what_runs_is_stopped_first(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.unlock(1) == "Unlocked"
        said = [(f.direction, f.kind, f.action) for f in at.view.wire]
        stopped = said.index(("<", "call", "StopTransaction"))
        assert stopped < said.index(("<", "result", "UnlockConnector"))
        assert at.ends() == [("UnlockCommand", None)]
        await at.wait(2.0)
        assert at.statuses()[-1] == "Finishing"

    play(story, tmp_path, "1.6")


@pytest.mark.req("F05.FR.02")
def test_an_authorised_transaction_keeps_its_cable(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert await at.desk.unlock(1) == "OngoingAuthorizedTransaction"
        await at.wait(2.0)
        assert at.state.outlet(1).live.locked and at.whole.world.outlets[0].closed
        await at.tap()
        await at.wait(5.0)
        assert await at.desk.unlock(1) == "Unlocked"

    play(story, tmp_path, "2.0.1")


@pytest.mark.req("1.6 §5.18", "F05.FR.05", "G05.FR.02")
@each_version
def test_a_lock_that_is_stuck_fails_and_is_a_fault(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.fault("lock-stuck")
        if not at.old:
            await at.tap()
        assert await at.desk.unlock(1) == "UnlockFailed"
        assert at.ends()[0][0] == ("UnlockCommand" if at.old else "Local")
        await at.wait(1.0)
        assert at.statuses()[-1] == "Faulted"
        if at.old:
            assert at.heard("StatusNotification")[-1]["errorCode"] == "ConnectorLockFailure"
        else:
            assert ("ConnectorLockFailure", "true") in at.events()
        await at.fault("lock-stuck", active=False)
        assert await at.desk.unlock(1) == "Unlocked"
        await at.wait(2.0)
        assert at.statuses()[-1] == ("Finishing" if at.old else "Occupied")

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.18", "F05.FR.05")
@each_version
def test_without_a_guard_nobody_can_tell(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        at.whole.kill_guard()
        await at.wait(1.0)
        assert await at.desk.unlock(1) == "UnlockFailed"

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §5.18", "F05.FR.03", "F05.FR.07")
@each_version
def test_where_there_is_no_lock(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        assert await at.desk.unlock(2) == ("NotSupported" if at.old else "UnknownConnector")
        if at.old:
            assert await at.desk.unlock(1) == "NotSupported"
        else:
            with pytest.raises(CallFailed, match="NotSupported"):
                await at.desk.unlock(1)

    play(story, tmp_path, version, tethered=True)


@pytest.mark.req("1.6 §4.10", "1.6 §5.18", "E05.FR.11", "E09.FR.01")
@each_version
@pytest.mark.parametrize("how", ["backend", "technician", "card"])
def test_a_cable_that_is_held_for_its_owner(tmp_path: Path, version: str, how: str) -> None:
    async def story(at: Round) -> None:
        assert at.whole.daemon is not None
        operator = at.whole.daemon.operator
        await at.charge()
        await at.whole.sim("unplug", outlet=1, end="vehicle")
        await at.wait(5.0)
        assert at.ends()[0][0] == "EVDisconnected"
        shown = (await operator.status())["outlets"][0]
        assert (shown["locked"], shown["held"]) == (True, "…B2C3")
        await at.tap(BOB)  # another's card takes nothing away
        await at.wait(2.0)
        if at.state.outlet(1).live.locked:
            match how:
                case "backend":
                    assert await at.desk.unlock(1) == "Unlocked"
                case "technician":
                    await operator.unlock(1)
                case "card":
                    await at.tap()
        await at.wait(3.0)
        shown = (await operator.status())["outlets"][0]
        assert (shown["locked"], shown["held"]) == (False, None)

    play(story, tmp_path, version, settings=HELD)
