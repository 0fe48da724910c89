"""What is said at a charger, in short lines and comparable facts: frames of the wire, and news of the control socket.

All OCPP versions and the news give the same facts, as far as they say them:

    boot        Accepted, Pending or Rejected              edge      of a transaction: Started, Updated, Ended
    status      of a connector, in the version's word      tx        the backend's name of the transaction
    state       Charging, where that is told               register  import register in Wh
    outlet      1.6 connectorId, EVSE                      reason    why a transaction ended, in OCPP's word
    card        a token, shortened                         stamped   when it happened, by the station; unix seconds
    standing    the backend's word on a token              asked     what the backend asks: start, stop, reset
    link        up: True, False                            outcome   the station's answer to that
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chargerd.lab.books import REGISTER, shorten
from chargerd.lab.peer import Frame, Payload
from chargerd.lab.schema import parse_time

Facts = dict[str, Any]
_ASKED = {
    "RemoteStartTransaction": "start",
    "RequestStartTransaction": "start",
    "RemoteStopTransaction": "stop",
    "RequestStopTransaction": "stop",
    "Reset": "reset",
}
_REASONS = {"local": "Local", "remote": "Remote", "vehicle-out": "EVDisconnected"}


@dataclass(frozen=True, slots=True)
class Word:
    """`text` empty: nothing worth a line. `wire`: read there, else heard from the station's control socket."""

    at: float
    wire: bool
    text: str
    facts: Mapping[str, Any]

    def fits(self, wanted: Mapping[str, Any]) -> bool:
        """Every fact is there and is the wanted one, or one of a wanted set."""
        for name, value in wanted.items():
            if name not in self.facts:
                return False
            mine = self.facts[name]
            if mine not in value if isinstance(value, frozenset) else mine != value:
                return False
        return True


# ---------------------------------------------------------------- the wire


def of_frame(frame: Frame, at: float) -> Word:
    """`at` is when it was read, in the loop's time."""
    text, facts = frame.action, Facts()
    match frame.kind, frame.direction:
        case "call", "<":
            text, facts = _said(frame.action, frame.payload)
        case "result", ">":
            text, facts = _answered(frame.action, frame.payload)
        case "call", ">":
            text, facts = _asked(frame.action, frame.payload)
        case "result", "<":
            outcome = frame.payload.get("status", "answered")
            text, facts = str(outcome), {"agreed": _ASKED.get(frame.action, frame.action), "outcome": outcome}
        case _:
            text = f"{frame.kind} {frame.action}".strip()
    return Word(at, True, text, facts)


def _said(action: str, p: Payload) -> tuple[str, Facts]:
    facts: Facts = {"said": action}
    if "timestamp" in p:
        facts["stamped"] = parse_time(p["timestamp"]).timestamp()
    match action:
        case "StatusNotification":
            facts["outlet"] = p.get("connectorId") if "status" in p else p["evseId"]
            facts["status"] = p.get("status") or p["connectorStatus"]
            facts |= {"state": "Charging"} if facts["status"] == "Charging" else {}
            return f"{action} {facts['outlet']} {facts['status']}", facts
        case "Authorize":
            facts["card"] = _card(p)
            return f"{action} {facts['card']}", facts
        case "StartTransaction":
            facts |= {"edge": "Started", "outlet": p["connectorId"], "card": _card(p), "register": p["meterStart"]}
            facts |= {"reservation": p["reservationId"]} if "reservationId" in p else {}
            return f"{action} {facts['outlet']} {facts['card']} {p['meterStart']} Wh", facts
        case "StopTransaction":
            reason = p.get("reason", "Local")
            facts |= {"edge": "Ended", "tx": p["transactionId"], "register": p["meterStop"], "reason": reason}
            return f"{action} {p['transactionId']} {p['meterStop']} Wh {reason}", facts
        case "MeterValues" if "connectorId" in p:
            facts |= {"edge": "Updated", "outlet": p["connectorId"], "tx": p.get("transactionId")}
            facts |= _register(p["meterValue"])
            return f"{action} {facts['outlet']} {_wh(facts)}".rstrip(), facts
        case "TransactionEvent":
            return _event(p, facts)
        case "SecurityEventNotification":
            return f"{action} {p['type']}", facts
    return action, facts


def _event(p: Payload, facts: Facts) -> tuple[str, Facts]:
    info, edge = p["transactionInfo"], p["eventType"]
    facts |= {"edge": edge, "tx": info["transactionId"], **_register(p.get("meterValue", ()))}
    if "evse" in p:
        facts["outlet"] = p["evse"]["id"]
    if "idToken" in p:
        facts["card"] = _card(p)
    if info.get("chargingState") == "Charging":
        facts["state"] = "Charging"
    if edge == "Ended":
        facts["reason"] = info.get("stoppedReason", "Local")
    why = p["triggerReason"]
    if edge == "Ended":
        why = facts["reason"]
    elif why == "ChargingStateChanged":
        why = info.get("chargingState", why)
    elif "register" in facts:
        why = why.removeprefix("MeterValue")
    return f"TransactionEvent {p['seqNo']} {edge} {why} {_wh(facts)}".rstrip(), facts


def _answered(action: str, p: Payload) -> tuple[str, Facts]:
    if action == "BootNotification":
        return f"{p['status']}, interval {p['interval']} s", {"boot": p["status"]}
    info = p.get("idTagInfo") or p.get("idTokenInfo")
    if info is None:
        return "", {}
    facts: Facts = {"answered": action, "standing": info["status"]}
    if "transactionId" in p:
        return f"{info['status']}, transaction {p['transactionId']}", facts | {"tx": p["transactionId"]}
    return str(info["status"]), facts


def _asked(action: str, p: Payload) -> tuple[str, Facts]:
    what = _ASKED.get(action, action)
    details = (p.get("connectorId", p.get("evseId")), _card(p), p.get("transactionId"), p.get("type"))
    return " ".join([action, *(str(one)[:8] for one in details if one)]), {"asked": what}


def _card(p: Payload) -> str:
    token = p.get("idTag") or p.get("idToken") or ""
    return shorten(token if isinstance(token, str) else token["idToken"])


def _register(values: Any) -> Facts:
    """The last import register of these meter values."""
    found = Facts()
    for value in values:
        for sample in value["sampledValue"]:
            if sample.get("measurand", REGISTER) == REGISTER and "phase" not in sample:
                found = {"register": float(sample["value"])}
    return found


def _wh(facts: Facts) -> str:
    return f"{facts['register']:.0f} Wh" if "register" in facts else ""


# ---------------------------------------------------------------- the news


def of_news(news: Mapping[str, Any], at: float) -> Word:
    """A notification of the control socket's `watch`."""
    facts = {name: news[name] for name in ("outlet", "status", "tx", "register") if news.get(name) is not None}
    text = ""
    match news["kind"]:
        case "status":
            text = f"{news['outlet']}: {news['status']}"
            facts |= {"state": "Charging"} if news["status"] == "Charging" else {}
        case "card":
            facts["seen"] = news["token"]
        case "refused":
            text, facts["refused"] = f"{news['outlet']}: card refused", True
        case "plug":
            facts["plug"] = news["what"]
        case "transaction":
            edge, reason = news["edge"].capitalize(), news.get("reason")
            facts |= {"edge": edge, "reason": _REASONS.get(reason or "", reason)}
            text = f"{news['outlet']}: transaction started" if edge == "Started" else ""
        case "session":
            energy = news["energy_wh"]
            text = f"{news['outlet']}: session of {energy or 0:.0f} Wh, {news['reason']}"
            facts |= {"session": True, "energy": energy}
        case "link":
            text, facts["link"] = f"link {'up' if news['up'] else 'down'}", news["up"]
        case "boot":
            text, facts["boot"] = f"boot {news['status']}", news["status"].capitalize()
        case "fault":
            text = f"{news['outlet']}: {news['fault']} {'raised' if news['active'] else 'cleared'}"
            facts |= {"fault": news["fault"], "active": news["active"]}
        case "security":
            text = f"security: {news['name']}"
        case "storage":
            text = "storage works" if news["works"] else "storage fails"
    return Word(at, False, text, facts)
