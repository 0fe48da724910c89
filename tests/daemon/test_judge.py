"""What the charger sends and answers, judged by ocpp-rpc in strict mode: a day at the charger over a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.status import usable
from chargerd.daemon.csms import Link
from chargerd.lab.whole import Whole
from tests.conftest import Judge

V16, V2 = "1.6", "2.x"
SETTINGS = {
    V16: "[ocpp16]\nMeterValueSampleInterval = 1\nClockAlignedDataInterval = 2\n"
    'MeterValuesSampledData = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage"\n'
    'StopTxnSampledData = "Energy.Active.Import.Register"\n',
    V2: '[ocpp2]\n"SampledDataCtrlr.TxUpdatedInterval" = 1\n"AlignedDataCtrlr.Interval" = 2\n',
}
ASKED: dict[str, list[tuple[str, dict[str, Any]]]] = {
    V16: [
        ("GetConfiguration", {}),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "100"}),
        ("ClearCache", {}),
        ("DataTransfer", {"vendorId": "nobody"}),
        ("TriggerMessage", {"requestedMessage": "StatusNotification"}),
        ("UnlockConnector", {"connectorId": 9}),
        ("GetLocalListVersion", {}),
        ("RemoteStopTransaction", {"transactionId": 4711}),
        ("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}),
    ],
    V2: [
        (
            "GetVariables",
            {"getVariableData": [{"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}]},
        ),
        ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}),
        ("ClearCache", {}),
        ("DataTransfer", {"vendorId": "nobody"}),
        ("TriggerMessage", {"requestedMessage": "Heartbeat"}),
        ("UnlockConnector", {"evseId": 1, "connectorId": 1}),
        ("GetTransactionStatus", {}),
        ("RequestStopTransaction", {"transactionId": "never"}),
        ("ChangeAvailability", {"operationalStatus": "Inoperative"}),
    ],
}
TOLD = {
    V16: {
        "BootNotification",
        "StatusNotification",
        "Authorize",
        "StartTransaction",
        "MeterValues",
        "StopTransaction",
    },
    V2: {"BootNotification", "StatusNotification", "Authorize", "TransactionEvent", "NotifyReport", "Heartbeat"},
}


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_a_day_without_a_fault(judge: Judge, tmp_path: Path, version: str) -> None:
    words = V16 if version == V16 else V2
    whole = Whole(tmp_path, version=version, link=Link, url=judge.url, settings=SETTINGS[words])
    await whole.start()
    try:
        daemon = whole.daemon
        assert daemon is not None
        await whole.until(lambda: daemon.charger.state.boot.status.value == "accepted")
        await whole.until(lambda: usable(daemon.charger.state, daemon.charger.state.outlet(1)))
        await whole.tap("04AABBCC")
        await judge.received("Authorize")
        await asyncio.sleep(0.3)
        await whole.plug()
        await whole.until(lambda: daemon.charger.state.outlet(1).live.powered)
        await asyncio.sleep(3)
        for method, params in ASKED[words]:
            report = await judge.call("CS-0001", method, params)
            assert "payload" in report, report
        await whole.tap("04AABBCC")
        await whole.until(lambda: not daemon.charger.state.outlet(1).live.powered)
        await asyncio.sleep(0.5)
        await whole.unplug()
        await asyncio.sleep(2)
    finally:
        await whole.stop()
    calls = {report["call"] for report in judge.reports if "call" in report}
    assert calls >= TOLD[words]
    assert judge.violations == []
