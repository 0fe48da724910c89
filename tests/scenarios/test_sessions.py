"""Corners of a session for which a transcript is too plain: see `tests.scenarios.transcript` for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.lab.csms import Boot
from tests.scenarios.round import Round, play


@pytest.mark.req("F06.FR.07", "F06.FR.10", "B02.FR.02", "B02.FR.05", "F06.FR.04")
def test_a_transaction_that_is_asked_for_while_the_boot_is_pending_is_told_or_refused(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        at.csms.boot = Boot("Pending", 600)
        await at.crash()
        await at.until(lambda: at.view.registration == "Pending")
        await at.wait(5.0)
        told = len(at.heard("TransactionEvent"))
        (running,) = at.csms.books.sessions
        assert await at.desk.remote_stop(running.transaction) == "Rejected"
        assert await at.desk.trigger("TransactionEvent", 1) == "Accepted"
        await at.wait(1.0)
        (event,) = at.heard("TransactionEvent")[told:]
        assert (event["triggerReason"], event["transactionInfo"]["chargingState"]) == ("Trigger", "Charging")
        await at.whole.sim("vehicle", outlet=1, step="not_ready")  # that is told later, and what is asked for after it
        await at.wait(9.0)
        assert await at.desk.trigger("TransactionEvent", 1) == "Rejected"
        assert await at.desk.trigger("TransactionEvent") == "Rejected"
        await at.wait(1.0)
        assert len(at.heard("TransactionEvent")) == told + 1
        at.csms.boot = Boot("Accepted", 300)
        assert await at.desk.trigger("BootNotification") == "Accepted"
        await at.wait(5.0)
        assert at.heard("TransactionEvent")[-1]["transactionInfo"]["chargingState"] == "SuspendedEV"
        assert await at.desk.trigger("TransactionEvent") == "Accepted"
        await at.whole.unplug()
        await at.wait(5.0)
        assert await at.desk.trigger("TransactionEvent") == "Rejected"

    play(story, tmp_path, "2.0.1")
