"""Frames of both versions and news of the control socket give the same facts."""

from __future__ import annotations

from typing import Any, cast

import pytest

from chargerd.lab.peer import Direction, Frame, Kind
from chargerd.lab.words import Word, of_frame, of_news

STAMP = "2027-01-15T08:00:00Z"
METER = [
    {
        "timestamp": STAMP,
        "sampledValue": [
            {"value": 11040.0, "measurand": "Power.Active.Import"},
            {"value": 1234.0, "context": "Transaction.End"},
            {"value": 99.0, "phase": "L1"},
        ],
    }
]


def word(direction: str, kind: str, action: str, payload: dict[str, Any]) -> Word:
    return of_frame(Frame(0.0, cast(Direction, direction), cast(Kind, kind), action, payload, "1"), 7.0)


@pytest.mark.parametrize(
    ("old", "new", "facts"),
    [
        (
            {"connectorId": 2, "idTag": "04AABBCC", "meterStart": 1234, "timestamp": STAMP},
            {
                "eventType": "Started",
                "triggerReason": "Authorized",
                "seqNo": 0,
                "timestamp": STAMP,
                "transactionInfo": {"transactionId": "t"},
                "evse": {"id": 2},
                "idToken": {"idToken": "04AABBCC", "type": "ISO14443"},
                "meterValue": METER,
            },
            {"edge": "Started", "outlet": 2, "card": "…BBCC", "register": 1234, "stamped": 1_800_000_000.0},
        ),
        (
            {"transactionId": "t", "meterStop": 1234, "timestamp": STAMP, "reason": "EVDisconnected"},
            {
                "eventType": "Ended",
                "triggerReason": "EVCommunicationLost",
                "seqNo": 7,
                "timestamp": STAMP,
                "transactionInfo": {"transactionId": "t", "stoppedReason": "EVDisconnected"},
                "meterValue": METER,
            },
            {"edge": "Ended", "tx": "t", "register": 1234, "reason": "EVDisconnected"},
        ),
    ],
)
def test_both_versions_tell_a_transaction_alike(
    old: dict[str, Any], new: dict[str, Any], facts: dict[str, Any]
) -> None:
    action = "StartTransaction" if "meterStart" in old else "StopTransaction"
    for said in (word("<", "call", action, old), word("<", "call", "TransactionEvent", new)):
        assert said.fits(facts), said
        assert said.wire and said.at == 7.0 and "04AABBCC" not in said.text


def test_answers_say_what_was_answered() -> None:
    boot = word(">", "result", "BootNotification", {"status": "Rejected", "interval": 5, "currentTime": STAMP})
    assert boot.fits({"boot": "Rejected"}) and boot.text == "Rejected, interval 5 s"
    refused = word(">", "result", "Authorize", {"idTokenInfo": {"status": "Unknown"}})
    assert refused.fits({"answered": "Authorize", "standing": "Unknown"})
    started = word(">", "result", "StartTransaction", {"transactionId": 3, "idTagInfo": {"status": "Accepted"}})
    assert started.fits({"tx": 3, "standing": "Accepted"})
    assert word(">", "result", "StatusNotification", {}).text == ""


def test_requests_of_the_backend_and_their_answers() -> None:
    for action in ("RemoteStartTransaction", "RequestStartTransaction"):
        assert word(">", "call", action, {"idTag": "04AABBCC"}).fits({"asked": "start"})
        assert word("<", "result", action, {"status": "Rejected"}).fits({"agreed": "start", "outcome": "Rejected"})
    assert word("<", "error", "Reset", {}).text == "error Reset"


def test_news_give_the_facts_of_the_wire() -> None:
    ended = {
        "kind": "transaction", "outlet": 1, "edge": "ended", "tx": "u", "register": 5.0, "reason": "vehicle-out"
    }  # fmt: skip
    assert of_news(ended, 0.0).fits({"edge": "Ended", "outlet": 1, "register": 5.0, "reason": "EVDisconnected"})
    charging = of_news({"kind": "status", "outlet": 1, "status": "Charging", "was": "Preparing"}, 0.0)
    assert charging.fits({"status": "Charging", "state": "Charging"}) and not charging.wire
    assert of_news({"kind": "boot", "status": "accepted"}, 0.0).fits({"boot": "Accepted"})
    assert of_news({"kind": "link", "up": False}, 0.0).fits({"link": False})


def test_what_fits() -> None:
    said = word("<", "call", "StatusNotification", {"connectorId": 1, "status": "Preparing"})
    assert said.fits({"status": frozenset(("Preparing", "Occupied"))})
    assert not said.fits({"status": "Available"}) and not said.fits({"edge": "Started"})
