"""What the CSMS may ask in OCPP 2.x, and how the station's answers are worded. The device model has its own file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from chargerd.core.commands import Answer, Outcome
from chargerd.core.events import (
    AvailabilityAsked,
    BootStatus,
    ClearCacheAsked,
    RemoteStart,
    RemoteStop,
    ResetAsked,
    ResetKind,
    Scope,
    TriggerAsked,
    Triggered,
    UnlockAsked,
)
from chargerd.core.state import Outlet, Station, Visit
from chargerd.ocpp.dialect import Ask, Json, Refuse, Reply
from chargerd.ocpp.v2 import device_model
from chargerd.ocpp.v2.words import token_of

_TRIGGERED = {
    "BootNotification": Triggered.BOOT,
    "Heartbeat": Triggered.HEARTBEAT,
    "MeterValues": Triggered.METER_VALUES,
    "StatusNotification": Triggered.STATUS,
    "TransactionEvent": Triggered.TRANSACTION,
}
_RESET = {
    "Immediate": ResetKind.IMMEDIATE,
    "OnIdle": ResetKind.ON_IDLE,
    "ImmediateAndResume": ResetKind.RESUME,  # 2.1
}
_WORDS = {  # beside Accepted, and Rejected for the rest
    ("ChangeAvailability", Outcome.SCHEDULED): "Scheduled",
    ("Reset", Outcome.SCHEDULED): "Scheduled",
    ("TriggerMessage", Outcome.NOT_IMPLEMENTED): "NotImplemented",
    ("TriggerMessage", Outcome.NOT_SUPPORTED): "NotImplemented",
}
_UNLOCK = {  # UnlockFailed for the rest (F05.FR.05)
    Outcome.UNLOCKED: "Unlocked",
    Outcome.ONGOING_TRANSACTION: "OngoingAuthorizedTransaction",
    Outcome.UNKNOWN_OUTLET: "UnknownConnector",
}
_WHY = {"ClearCache": "NotEnabled", "RequestStopTransaction": "TxNotFound"}  # reason codes of Rejected


def handle(ask: int, action: str, payload: Json, station: Station, facts: Mapping[str, str]) -> Reply | Ask | Refuse:
    """`facts` as `core.variables` wants them, and the length of the transactions' queue: `messages_in_queue`, and
    `messages_in_queue:<transactionId>` for each that has rows in it.
    """
    match action:
        case "GetVariables":
            return device_model.get_variables(payload, station, facts)
        case "SetVariables":
            return device_model.set_variables(ask, payload, station, facts)
        case "GetBaseReport":
            return device_model.get_base_report(payload, station, facts)
        case "RequestStartTransaction":
            return _start(ask, payload, station)
        case "RequestStopTransaction":
            return _stop(ask, payload, station)
        case "GetTransactionStatus":
            return _transaction_status(payload, station, facts)
        case "UnlockConnector":
            return _unlock(ask, payload, station)
        case "ChangeAvailability":
            return _change_availability(ask, payload, station)
        case "Reset":
            return _reset(ask, payload, station)
        case "TriggerMessage":
            return _trigger(ask, payload, station, facts)
        case "ClearCache":
            return Ask(ClearCacheAsked(ask))
        case "DataTransfer":
            return _say("UnknownVendorId")  # P01.FR.05
    return Refuse("NotSupported", f"{action}: this charging station has no such feature")


def answer(action: str, context: Json, answer: Answer) -> Reply:
    """The station's answer in the action's own words."""
    if action == "SetVariables":
        return device_model.set_answer(context, answer)
    if action == "UnlockConnector":
        return _say(_UNLOCK.get(answer.outcome, "UnlockFailed"))
    if answer.outcome is Outcome.ACCEPTED:
        reply = _say("Accepted")
        return Reply({**reply.payload, "transactionId": answer.tx}) if answer.tx is not None else reply  # F01.FR.13
    word = _WORDS.get((action, answer.outcome))
    return _say(word) if word is not None else _say("Rejected", _WHY.get(action))


def _say(status: str, reason: str | None = None) -> Reply:
    """A reply that is a status, with a standardised reason code (part 2 appendix 5)."""
    return Reply({"status": status, **({"statusInfo": {"reasonCode": reason}} if reason else {})})


# ---------------------------------------------------------------- where

_STATION: Json = {"id": 0}  # EVSE 0 is the whole station (2.0.1 part 1 §7.1), and so is no EVSE


def _outlets(station: Station, evse: Json) -> list[Outlet]:
    """The outlets that an EVSEType names: all connectors of the EVSE unless one is given; empty: none such."""
    return [
        outlet
        for outlet in station.outlets
        if outlet.site.evse == evse["id"] and evse.get("connectorId", outlet.site.connector) == outlet.site.connector
    ]


def _unknown(station: Station, evse: Json) -> Reply:
    """Rejected, because `evse` names no outlet."""
    here = any(outlet.site.evse == evse["id"] for outlet in station.outlets)
    return _say("Rejected", "UnknownConnectorId" if here else "UnknownEvse")


# ---------------------------------------------------------------- each request


def _start(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """F01, F02. Without smart charging a chargingProfile is ignored (F01.FR.12)."""
    if station.boot.status is not BootStatus.ACCEPTED:
        return _say("Rejected", "CSNotAccepted")  # B02.FR.05
    evse = payload.get("evseId")
    if evse is not None and not _outlets(station, {"id": evse}):
        return _unknown(station, {"id": evse})
    group = payload.get("groupIdToken", {}).get("idToken") or None
    return Ask(RemoteStart(ask, token_of(payload["idToken"]), None, payload["remoteStartId"], group, evse=evse))


def _stop(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """F03; the station knows which transactions run (F03.FR.07, FR.08)."""
    if station.boot.status is not BootStatus.ACCEPTED:
        return _say("Rejected", "CSNotAccepted")  # B02.FR.05
    return Ask(RemoteStop(ask, payload["transactionId"]))


def _transaction_status(payload: Json, station: Station, facts: Mapping[str, str]) -> Reply:
    """E14."""
    tx = payload.get("transactionId")
    if tx is None:
        return Reply({"messagesInQueue": facts.get("messages_in_queue", "0") != "0"})
    ongoing = any(visit.tx.uid == tx and visit.tx.told for visit in _visits(station) if visit and visit.tx)
    waiting = facts.get(f"messages_in_queue:{tx}", "0") != "0"
    return Reply({"ongoingIndicator": ongoing, "messagesInQueue": waiting})


def _unlock(ask: int, payload: Json, station: Station) -> Reply | Ask | Refuse:
    """F05."""
    found = _outlets(station, {"id": payload["evseId"], "connectorId": payload["connectorId"]})
    if not found:
        return _say("UnknownConnector")  # F05.FR.03
    if found[0].site.tethered:
        return Refuse("NotSupported", "UnlockConnector: this connector has a fixed cable")  # F05.FR.07
    return Ask(UnlockAsked(ask, found[0].site.rank))


def _change_availability(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """G03, G04."""
    evse, operative = payload.get("evse", _STATION), payload["operationalStatus"] == "Operative"
    if evse["id"] == 0:
        return Ask(AvailabilityAsked(ask, Scope.STATION, 0, operative))
    found = _outlets(station, evse)
    if not found:
        return _unknown(station, evse)
    if "connectorId" in evse:
        return Ask(AvailabilityAsked(ask, Scope.OUTLET, found[0].site.rank, operative))
    return Ask(AvailabilityAsked(ask, Scope.EVSE, evse["id"], operative))


def _reset(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """B11, B12."""
    evse, kind = {"id": payload.get("evseId", 0)}, _RESET[payload["type"]]
    if evse == _STATION:
        return Ask(ResetAsked(ask, kind))
    if not _outlets(station, evse):
        return _unknown(station, evse)
    return Ask(ResetAsked(ask, kind, evse["id"]))


def _trigger(ask: int, payload: Json, station: Station, facts: Mapping[str, str]) -> Reply | Ask:
    """F06. The message asked for decides whether an EVSE matters (F06.FR.03); without one it is all (F06.FR.11)."""
    what, evse = _TRIGGERED.get(payload["requestedMessage"]), payload.get("evse", _STATION)
    if what is None:
        return _say("NotImplemented")  # F06.FR.08
    if what is Triggered.BOOT and station.boot.status is BootStatus.ACCEPTED:
        return _say("Rejected")  # F06.FR.17
    if what is Triggered.METER_VALUES and not station.variables.get_list("aligned_measurands"):
        return _say("Rejected")
    if what is Triggered.TRANSACTION and evse["id"] == 0 and _behind(station, facts, _visits(station)):
        return _say("Rejected", "CSNotAccepted")
    if evse["id"] == 0 or what in (Triggered.BOOT, Triggered.HEARTBEAT):
        return Ask(TriggerAsked(ask, what))
    found = _outlets(station, evse)
    if not found:
        return _unknown(station, evse)
    if what is Triggered.STATUS and len(found) > 1:
        return _say("Rejected", "MissingParam")  # F06.FR.12
    if what is Triggered.TRANSACTION and _behind(station, facts, (outlet.visit for outlet in found)):
        return _say("Rejected", "CSNotAccepted")
    busy = (outlet for outlet in found if outlet.visit is not None and outlet.visit.tx is not None)
    return Ask(TriggerAsked(ask, what, next(busy, found[0]).site.rank))


def _visits(station: Station) -> Iterator[Visit | None]:
    yield station.lobby
    yield from (outlet.visit for outlet in station.outlets)


def _behind(station: Station, facts: Mapping[str, str], visits: Iterable[Visit | None]) -> bool:
    """Would the event have to wait behind others that may not leave before the boot is accepted (F06.FR.10)?"""
    if station.boot.status is BootStatus.ACCEPTED:
        return False
    running = (visit.tx.uid for visit in visits if visit and visit.tx)
    return any(facts.get(f"messages_in_queue:{tx}", "0") != "0" for tx in running)
