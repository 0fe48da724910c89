"""A disk that takes nothing: what people, and later the backend, are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.cli import show
from chargerd.cli.why import why
from tests.scenarios.round import BOB, Disk, Round, each_version, play

INK = show.Ink(False)
REASON = "0.0 A offered: nothing can be written down, so nothing begins"


async def shown(at: Round) -> tuple[str, str]:
    """What `chargerctl status` and `chargerctl why` print."""
    assert at.whole.daemon is not None
    operator = at.whole.daemon.operator
    return show.status(await operator.status(), INK), why(await operator.why(), INK)


@pytest.mark.req("1.6 §4.9", "E02.FR.01")
@each_version
def test_why_nothing_begins(tmp_path: Path, version: str) -> None:
    """One card was seen just before, the other one after."""
    disk = Disk()

    async def story(at: Round) -> None:
        await at.plug(1)
        disk.broken = True
        await at.tap()
        await at.plug(2)
        await at.tap(BOB)
        await at.wait(20.0)
        status, limits = await shown(at)
        assert status.count(REASON) == 2
        assert limits.count(REASON.replace("offered", "offered on 3 phases")) == 2
        assert "takes nothing of what it was offered" not in limits
        assert not at.whole.world.outlets[0].closed
        disk.broken = False
        await at.until(lambda: at.whole.world.outlets[0].closed)
        await at.wait(5.0)
        status, limits = await shown(at)
        assert "nothing begins" not in status + limits
        assert "SuspendedEV" not in at.statuses()
        states = [event["transactionInfo"].get("chargingState") for event in at.heard("TransactionEvent")]
        assert "SuspendedEV" not in states
        for outlet in (1, 2):
            await at.whole.unplug(outlet)
        await at.wait(5.0)

    play(story, tmp_path, version, outlets=2, gate=disk.gate)


@pytest.mark.req("E02.FR.01")
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_a_cable_that_follows_gives_no_power_to_what_is_not_written(tmp_path: Path, version: str) -> None:
    """The card alone has begun it, and where it will be charged is known later."""
    disk = Disk()

    async def story(at: Round) -> None:
        disk.broken = True
        await at.tap()
        await at.wait(3.0)
        await at.plug(2)
        await at.wait(20.0)
        assert not at.whole.world.outlets[1].closed
        assert REASON in (await shown(at))[0]
        disk.broken = False
        await at.until(lambda: at.whole.world.outlets[1].closed)
        await at.whole.unplug(2)
        await at.wait(5.0)
        assert at.starts() == 1

    settings = '[ocpp2]\n"TxCtrlr.TxStartPoint" = "Authorized"\n"TxCtrlr.TxStopPoint" = "Authorized"\n'
    play(story, tmp_path, version, outlets=2, gate=disk.gate, settings=settings)
