"""A plain station for the lab's own tests: frames by hand, no product code."""

from __future__ import annotations

import itertools
import json
from typing import Any

from chargerd.lab.csms import Csms

V16, V201, V21 = "ocpp1.6", "ocpp2.0.1", "ocpp2.1"
_BOOT2 = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
BOOT: dict[str, dict[str, Any]] = {
    V16: {"chargePointVendor": "V", "chargePointModel": "M"},
    V201: _BOOT2,
    V21: _BOOT2,
}


class Station:
    """Attached without a socket; `said` collects the frames from the CSMS."""

    def __init__(self, csms: Csms, version: str = V16, name: str = "CP1", boot: bool = True) -> None:
        self.said: list[Any] = []
        self.closed = 0
        self.version = version
        self.csms = csms
        self._ids = itertools.count(1)
        self.peer = csms.attach(name, version, lambda text: self.said.append(json.loads(text)), self._gone)
        self.view = csms.stations[name]
        if boot:
            self.call("BootNotification", BOOT[version])

    def _gone(self) -> None:
        self.closed += 1

    def call(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> Any:
        """Sends a CALL; the last frame that came in return, None when none came."""
        before = len(self.said)
        self.peer.receive(json.dumps([2, message_id or f"{self.view.connections}-{next(self._ids)}", action, payload]))
        return self.said[-1] if len(self.said) > before else None

    def result(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        frame = self.call(action, payload)
        assert frame[0] == 3, frame
        return dict(frame[2])

    def violations(self) -> list[str]:
        return [str(violation) for violation in self.view.violations]


def at(second: int) -> str:
    return f"2026-03-01T12:{second // 60:02}:{second % 60:02}Z"


def start16(second: int = 0, wh: int = 100, connector: int = 1, tag: str = "CARD") -> dict[str, Any]:
    return {"connectorId": connector, "idTag": tag, "meterStart": wh, "timestamp": at(second)}


def values16(number: int, second: int, wh: str, context: str = "Sample.Periodic") -> dict[str, Any]:
    sample = {"value": wh, "context": context, "unit": "Wh", "measurand": "Energy.Active.Import.Register"}
    return {
        "connectorId": 1,
        "transactionId": number,
        "meterValue": [{"timestamp": at(second), "sampledValue": [sample]}],
    }


def stop16(number: int, second: int = 60, wh: int = 900, **more: Any) -> dict[str, Any]:
    return {"transactionId": number, "timestamp": at(second), "meterStop": wh, **more}


def event201(
    kind: str, seq: int, second: int, wh: float | None = None, context: str = "Sample.Periodic", **more: Any
) -> dict[str, Any]:
    event: dict[str, Any] = {
        "eventType": kind,
        "timestamp": at(second),
        "triggerReason": "Trigger",
        "seqNo": seq,
        "transactionInfo": {"transactionId": more.pop("transaction", "T1"), **more.pop("info", {})},
        **more,
    }
    if wh is not None:
        sample = {"value": wh, "context": context, "unitOfMeasure": {"unit": "kWh", "multiplier": -3}}
        event["meterValue"] = [{"timestamp": at(second), "sampledValue": [sample]}]
    return event


def whole201(csms_call: Any, transaction: str = "T1", second: int = 0, wh: float = 100.0) -> None:
    """A clean session: card first, then the cable."""
    card, evse = {"idToken": "CARD", "type": "ISO14443"}, {"id": 1, "connectorId": 1}
    started = event201("Started", 0, second, idToken=card, transaction=transaction)
    begun = event201("Updated", 1, second + 5, wh, "Transaction.Begin", evse=evse, transaction=transaction)
    sampled = event201("Updated", 2, second + 30, wh + 400, transaction=transaction)
    ended = event201("Ended", 3, second + 60, wh + 800, "Transaction.End", transaction=transaction)
    for event in (started, begun, sampled, ended):
        csms_call("TransactionEvent", event)
