"""A queue full of begins and ends, which nothing may thin: what runs ends, nothing more begins until there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.round import ANN, BOB, Round, each_version, play

OFFLINE = """
[ocpp16]
LocalAuthorizeOffline = true
AllowOfflineTxForUnknownId = true
MeterValueSampleInterval = 0
[ocpp2]
"AuthCtrlr.OfflineTxForUnknownIdEnabled" = true
"SampledDataCtrlr.TxUpdatedInterval" = 0
"""


@pytest.mark.req("1.6 §3.6", "E04.FR.01")
@each_version
def test_begins_and_ends_fill_the_queue(tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chargerd.daemon.backend.QUEUE_MOST", 12)

    async def story(at: Round) -> None:
        def full() -> bool:
            return "QueueFull" in at.state.faults

        async def session() -> None:
            was = full()
            await at.plug(2)
            await at.tap(BOB)
            await at.wait(10.0)
            assert at.whole.world.outlets[1].closed is not was
            await at.whole.unplug(2)
            await at.wait(3.0)

        await at.csms.away()
        await at.charge(1, ANN)
        for _ in range(20):
            await session()
        assert full()
        assert at.whole.daemon is not None
        assert {"outlet": 0, "fault": "QueueFull"} in (await at.whole.daemon.operator.status())["faults"]
        history = await at.whole.daemon.operator.sessions(100, 0.0)
        began = len(history)
        assert 2 <= began < 20
        await at.crash()  # and it is still full
        assert full()
        assert at.whole.world.outlets[0].closed, "what runs goes on"
        await at.whole.unplug(1)
        await at.wait(5.0)
        await at.csms.back()
        await at.until(lambda: at.csms.connected("CS-0001"))
        await at.until(lambda: not full())
        await at.wait(30.0)
        assert at.starts() == began + 1  # every one of them, once, with its end (the books are judged)
        if not at.old:
            assert [value for code, value in at.events() if code == "QueueFull"] == ["true", "false"]
        await session()
        assert at.starts() == began + 2

    play(story, tmp_path, version, outlets=2, settings=OFFLINE)
