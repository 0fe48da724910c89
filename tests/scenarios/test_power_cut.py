"""The mains go, or the program dies, in every state a session can be in; and what is left of it afterwards.

A transaction that a power cut has ended ends in the books with its reason and the register that was reached. Where the
operator lets it go on (TxCtrlr.ResumptionTimeout), a vehicle that is there when the guard looks first is the same one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.round import BOB, Round, each_version, play
from tests.scenarios.states import State, charging, finished, idle, suspended, vehicle

RESUME = '[ocpp2]\n"TxCtrlr.ResumptionTimeout" = 600\n'


async def cable(at: Round) -> None:
    await at.plug(cable_only=True)


async def card(at: Round) -> None:
    await at.tap()


async def cable_and_card(at: Round) -> None:
    await at.plug(cable_only=True)
    await at.tap()
    await at.until(lambda: at.state.outlet(1).live.locked)


async def stopping(at: Round) -> None:
    await at.charge()
    await at.tap()  # half a second ago


async def held(at: Round) -> None:
    await at.charge()
    await at.whole.sim("unplug", outlet=1, end="vehicle")
    await at.wait(10.0)


EVERY = (idle, cable, vehicle, card, cable_and_card, charging, suspended, stopping, finished, held)
# 1.6's word after a power cut, the reasons of what has ended, whether the plug is locked
WHERE: dict[State, tuple[str, list[str], bool]] = {
    idle: ("Available", [], False),
    cable: ("Preparing", [], False),
    vehicle: ("Preparing", [], False),
    card: ("Available", [], False),  # who has tapped before taps again
    cable_and_card: ("Preparing", [], False),
    charging: ("Finishing", ["PowerLoss"], False),
    suspended: ("Finishing", ["PowerLoss"], False),
    stopping: ("Finishing", ["Local"], False),
    finished: ("Finishing", ["Local"], False),
    held: ("Finishing", ["EVDisconnected"], True),
}
KEEP = '[ocpp16]\nUnlockConnectorOnEVSideDisconnect = false\nConnectionTimeOut = 600\n'  # fmt: skip


@pytest.mark.req("1.6 §4.8", "1.6 §4.10", "B01.FR.03", "B01.FR.05", "E06.FR.01")
@each_version
@pytest.mark.parametrize("state", EVERY, ids=lambda state: state.__name__)
def test_the_mains_go(tmp_path: Path, version: str, state: State) -> None:
    async def story(at: Round) -> None:
        await state(at)
        starts = at.starts()
        await at.cut()
        await at.accepted()
        await at.wait(30.0)
        status, reasons, locked = WHERE[state]
        in_use = {"Available": "Available", "Preparing": "Occupied", "Finishing": "Occupied"}
        assert at.status() == (status if at.old else in_use[status])
        assert [reason for reason, _ in at.ends()] == reasons
        assert at.starts() == starts
        assert at.state.outlet(1).live.locked is locked
        assert not at.whole.world.outlets[0].closed
        if not at.old:
            assert at.view.boots[-1]["reason"] == "PowerUp"
        if reasons == ["PowerLoss"]:
            (session,) = at.csms.books.sessions
            assert session.end_wh == pytest.approx(at.whole.world.outlets[0].energy, abs=1.0)

    play(story, tmp_path, version, settings=KEEP)


@pytest.mark.req("1.6 §4.8", "1.6 §4.9", "E02.FR.01")
@each_version
@pytest.mark.parametrize("state", EVERY, ids=lambda state: state.__name__)
def test_the_program_dies_and_nobody_notices(tmp_path: Path, version: str, state: State) -> None:
    async def story(at: Round) -> None:
        await state(at)
        before = at.state.outlet(1)
        closings = at.whole.world.outlets[0].audit.closed
        starts, ends = at.starts(), at.ends()
        at.clear()
        await at.crash()
        await at.accepted()
        await at.wait(8.0)
        after = at.state.outlet(1)
        assert at.starts() == starts
        assert at.whole.world.outlets[0].audit.closed == closings
        if state is stopping:
            assert [reason for reason, _ in at.ends()] == ["Local"]
        else:
            assert at.ends() == ends
            assert (after.live.locked, after.live.powered) == (before.live.locked, before.live.powered)
            assert (after.visit is None) == (before.visit is None)
        if not at.old:
            assert at.view.boots[-1]["reason"] == "Watchdog"
        if state in (charging, suspended):
            await at.tap()
            await at.wait(10.0)
            assert [reason for reason, _ in at.ends()] == ["Local"]

    play(story, tmp_path, version, settings=KEEP)


@pytest.mark.req("1.6 §4.8", "TxCtrlr.ResumptionTimeout")
@each_version
@pytest.mark.parametrize("state", [charging, suspended], ids=lambda state: state.__name__)
def test_a_short_cut_ends_nothing_where_the_operator_says_so(tmp_path: Path, version: str, state: State) -> None:
    async def story(at: Round) -> None:
        await state(at)
        before = at.whole.world.outlets[0].energy
        await at.cut(120.0)
        await at.accepted()
        if state is suspended:
            await at.whole.sim("vehicle", outlet=1, step="ready")
        await at.until(lambda: at.whole.world.outlets[0].closed)
        await at.wait(60.0)
        assert (at.starts(), at.ends()) == (1, [])
        assert at.whole.world.outlets[0].energy > before
        await at.tap()
        await at.wait(10.0)
        (session,) = at.csms.books.sessions
        assert session.reason == "Local" and session.end_wh == pytest.approx(at.whole.world.outlets[0].energy, abs=1.0)

    play(story, tmp_path, version, settings=RESUME)


@pytest.mark.req("TxCtrlr.ResumptionTimeout")
@each_version
@pytest.mark.parametrize("why", ["too long", "gone", "exchanged later"])
def test_what_may_not_go_on_ends_with_the_power(tmp_path: Path, version: str, why: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.whole.power_cut()
        if why == "gone":
            await at.whole.sim("vehicle", outlet=1, step="leave")
        await at.wait(3600.0 if why == "too long" else 60.0)
        await at.whole.start()
        await at.accepted()
        if why == "exchanged later":
            await at.until(lambda: at.whole.world.outlets[0].closed)
            await at.whole.unplug()
            await at.wait(5.0)
            await at.plug()
        await at.wait(10.0)
        assert [reason for reason, _ in at.ends()] == ["EVDisconnected" if why == "exchanged later" else "PowerLoss"]
        assert not at.whole.world.outlets[0].closed
        if why != "gone":
            await at.tap(BOB)
            await at.until(lambda: at.whole.world.outlets[0].closed)
            assert at.starts() == 2
            await at.tap(BOB)
            await at.wait(10.0)

    play(story, tmp_path, version, settings=RESUME)


@pytest.mark.req("TxCtrlr.ResumptionTimeout")
@each_version
def test_two_cuts_in_a_row(tmp_path: Path, version: str) -> None:
    """The second one before the guard has looked: the vehicle has still to be seen."""

    async def story(at: Round) -> None:
        await at.charge()
        await at.whole.power_cut()
        await at.whole.start_daemon()  # no guard yet
        await at.wait(1.0)
        await at.cut()
        await at.accepted()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        assert (at.starts(), at.ends()) == (1, [])
        await at.tap()
        await at.wait(10.0)

    play(story, tmp_path, version, settings=RESUME)


@pytest.mark.req("E01.FR.01", "E06.FR.01")
@pytest.mark.parametrize("resume", [False, True])
def test_a_transaction_that_began_with_the_cable(tmp_path: Path, resume: bool) -> None:
    """No new one begins for a vehicle that was there before, until it is authorised."""
    points = '"TxCtrlr.TxStartPoint" = "EVConnected"\n"TxCtrlr.TxStopPoint" = "EVConnected"\n'

    async def story(at: Round) -> None:
        await at.plug()
        await at.wait(3.0)
        assert at.starts() == 1
        await at.cut()
        await at.accepted()
        await at.wait(10.0)
        assert (at.starts(), len(at.ends())) == (1, 0 if resume else 1)
        await at.tap()
        await at.until(lambda: at.whole.world.outlets[0].closed)
        assert at.starts() == (1 if resume else 2)
        await at.whole.unplug()
        await at.wait(5.0)
        assert at.ends()[-1][0] == "EVDisconnected"

    play(story, tmp_path, "2.0.1", settings=(RESUME if resume else "[ocpp2]\n") + points)


@pytest.mark.req("TxCtrlr.ResumptionTimeout", "E03.FR.05")
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("comes", [False, True])
def test_who_is_authorised_and_has_no_vehicle_yet_is_waited_for_as_long_as_ever(
    tmp_path: Path, version: str, comes: bool
) -> None:
    points = '"TxCtrlr.TxStartPoint" = "Authorized"\n"TxCtrlr.TxStopPoint" = "Authorized"\n'

    async def story(at: Round) -> None:
        await at.tap()
        await at.until(lambda: at.starts() == 1)
        await at.cut(120.0)
        await at.accepted()
        await at.wait(40.0)
        assert at.ends() == []
        if comes:
            await at.plug()
            await at.until(lambda: at.whole.world.outlets[0].closed)
            await at.tap()
        await at.wait(30.0)
        assert at.ends() == [("Local", "StopAuthorized") if comes else ("Timeout", "EVConnectTimeout")]

    play(story, tmp_path, version, settings=RESUME + points)


@pytest.mark.req("1.6 §7.36")
@each_version
def test_an_orderly_restart_of_the_computer_is_no_power_cut(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await at.whole.stop_daemon()
        await at.cut()
        await at.accepted()
        await at.wait(10.0)
        assert [reason for reason, _ in at.ends()] == ["Reboot"]

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §4.9")
@each_version
def test_a_session_that_is_over_stays_over_when_the_guard_starts_anew(tmp_path: Path, version: str) -> None:
    """Nobody has begun another, and no other vehicle was seen coming."""

    async def story(at: Round) -> None:
        await finished(at)
        for _ in range(2):
            at.whole.kill_guard()
            await at.wait(3.0)
            at.whole.start_guard()
            await at.wait(10.0)
            assert at.status() == ("Finishing" if at.old else "Occupied")
        await at.tap(BOB)
        await at.until(lambda: at.whole.world.outlets[0].closed)
        await at.whole.unplug()
        await at.wait(5.0)
        assert at.status() == "Available"
        await at.plug()
        await at.wait(5.0)
        assert at.status() == ("Preparing" if at.old else "Occupied")

    play(story, tmp_path, version)


@pytest.mark.req("1.6 §7.36")
@each_version
def test_the_guard_starts_anew_alone(tmp_path: Path, version: str) -> None:
    """Nobody has seen the plug meanwhile: what ran ends, with the guard's reason."""

    async def story(at: Round) -> None:
        await at.charge()
        at.whole.kill_guard()
        await at.wait(2.0)
        assert at.status() == "Faulted"
        assert at.whole.daemon is not None
        await at.whole.kill_daemon()
        at.whole.start_guard()
        await at.whole.start_daemon()
        await at.accepted()
        await at.wait(10.0)
        assert [reason for reason, _ in at.ends()] == ["Reboot"]

    play(story, tmp_path, version)
