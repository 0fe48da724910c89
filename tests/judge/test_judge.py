"""The judge judged: it passes what is right and reports what is not, whichever side a message comes from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.conftest import Judge

PROTOCOLS = ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]
NOON = "2026-01-01T12:00:00Z"
GOOD: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "ocpp1.6": [
        ("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"}),
        ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}),
        ("Authorize", {"idTag": "04A2B3C4D5E680"}),
        ("StartTransaction", {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": NOON}),
        (
            "MeterValues",
            {"connectorId": 1, "meterValue": [{"timestamp": NOON, "sampledValue": [{"value": "1"}]}]},
        ),
        ("StopTransaction", {"transactionId": 1, "meterStop": 9, "timestamp": NOON}),
        ("Heartbeat", {}),
    ],
    "2.x": [
        ("BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}),
        (
            "StatusNotification",
            {"timestamp": NOON, "connectorStatus": "Available", "evseId": 1, "connectorId": 1},
        ),
        ("Authorize", {"idToken": {"idToken": "04A2B3C4D5E680", "type": "ISO14443"}}),
        (
            "TransactionEvent",
            {
                "eventType": "Started",
                "timestamp": NOON,
                "triggerReason": "CablePluggedIn",
                "seqNo": 0,
                "transactionInfo": {"transactionId": "t"},
            },
        ),
        ("Heartbeat", {}),
    ],
}
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "ocpp1.6": ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Occupied"}),
    "2.x": ("Heartbeat", {"uptime": 1}),
}
ASKED: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "ocpp1.6": ("Reset", {"type": "Soft"}, {"status": "Accepted"}, {"status": "Scheduled"}),
    "2.x": ("ClearCache", {}, {"status": "Accepted"}, {}),
}


def words(protocol: str) -> str:
    return protocol if protocol in GOOD else "2.x"


@asynccontextmanager
async def station(judge: Judge, protocol: str) -> AsyncIterator[ClientConnection]:
    async with connect(f"{judge.url}/CP1", subprotocols=[Subprotocol(protocol)], proxy=None) as link:
        assert link.subprotocol == protocol
        yield link


async def exchange(link: ClientConnection, action: str, payload: dict[str, Any]) -> list[Any]:
    await link.send(json.dumps([2, "1", action, payload]))
    answer: list[Any] = json.loads(await link.recv())
    return answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_is_right_passes(judge: Judge, protocol: str) -> None:
    async with station(judge, protocol) as link:
        for action, payload in GOOD[words(protocol)]:
            kind, _, _ = await exchange(link, action, payload)
            assert kind == 3, action
            assert await judge.received(action) == payload
    assert judge.violations == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_wrong_call_is_reported(judge: Judge, protocol: str) -> None:
    action, payload = BAD[words(protocol)]
    async with station(judge, protocol) as link:
        assert (await exchange(link, action, payload))[0] == 4
        report = await judge.until(lambda report: "violation" in report)
    assert (report["method"], report["payload"]) == (action, payload)


async def test_what_is_no_message_is_reported(judge: Judge) -> None:
    async with station(judge, "ocpp1.6") as link:
        await link.send("not json")
        assert (await judge.until(lambda report: "violation" in report))["payload"] == "not json"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("right", [True, False])
async def test_an_answer_is_judged_too(judge: Judge, protocol: str, right: bool) -> None:
    method, params, good, bad = ASKED[words(protocol)]
    async with station(judge, protocol) as link:
        await judge.until(lambda report: "protocol" in report)

        async def answer() -> None:
            kind, message_id, action, payload = json.loads(await link.recv())
            assert (kind, action, payload) == (2, method, params)
            await link.send(json.dumps([3, message_id, good if right else bad]))

        report, _ = await asyncio.gather(judge.call("CP1", method, params), answer())
    assert ("payload" in report, judge.violations == []) == (right, right)
