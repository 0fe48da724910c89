"""TransactionEvent (E01–E15), what was told of each transaction so far, and what the CSMS answers to it.

The fold has one entry per transaction, from its start until the CSMS has answered its end:

    fold[uid] = {
        "seq": the next seqNo, "bound": whether the CSMS knows the EVSE, "phases": the number of phases it knows,
        "token": the idToken it knows, "reason": why authorisation ended before the transaction did,
        "kept": sets of values for the last message, the one of the begin first, "last": the newest set of them,
        "every": how many of the wanted intervals lie between kept sets by now,
    }

A transaction without an entry began under another protocol or CSMS; nothing of it is told here.
"""

from __future__ import annotations

from collections.abc import Mapping

from chargerd.core.events import TransactionAnswered
from chargerd.core.records import Cause, ChargingState, Edge, Reason, Transaction
from chargerd.core.state import Station
from chargerd.core.status import FLOWS
from chargerd.ocpp.dialect import Draft, Fold, Json, Learned, Outgoing, Stamp
from chargerd.ocpp.outbox import ASKED, START
from chargerd.ocpp.v2.meter import CONTEXT, measured, rendered, sampled_set
from chargerd.ocpp.v2.words import bounded, id_token, place, token_of, verdict

UPDATE = "update"
END = "end"
KEPT_MOST = 32  # sets of values that the last message carries beside the end

_KIND = {Edge.STARTED: START, Edge.UPDATED: UPDATE, Edge.ENDED: END}
_TYPE = {Edge.STARTED: "Started", Edge.UPDATED: "Updated", Edge.ENDED: "Ended"}
_TRIGGER = {
    Cause.PLUGGED: "CablePluggedIn",
    Cause.AUTHORIZED: "Authorized",
    Cause.REMOTE_START: "RemoteStart",
    Cause.CHARGING_STATE: "ChargingStateChanged",
    Cause.PERIODIC: "MeterValuePeriodic",
    Cause.CLOCK: "MeterValueClock",
    Cause.TRIGGER: "Trigger",
    Cause.STOP_AUTHORIZED: "StopAuthorized",
    Cause.REMOTE_STOP: "RemoteStop",
    Cause.DEAUTHORIZED: "Deauthorized",
    Cause.VEHICLE_OUT: "EVCommunicationLost",
    Cause.DETECTED: "EVDetected",
    Cause.DEPARTED: "EVDeparted",
    Cause.CONNECT_TIMEOUT: "EVConnectTimeout",
    Cause.FAULT: "AbnormalCondition",
    Cause.POWER_LOSS: "AbnormalCondition",
    Cause.RESUMED: "TxResumed",
    Cause.RETURNED: "TxResumed",
    Cause.RESET: "ResetCommand",
    Cause.UNLOCK: "UnlockCommand",
}
_STATE = {
    ChargingState.IDLE: "Idle",
    ChargingState.CONNECTED: "EVConnected",
    ChargingState.CHARGING: "Charging",
    ChargingState.SUSPENDED_EV: "SuspendedEV",
    ChargingState.SUSPENDED_EVSE: "SuspendedEVSE",
}
_REASON = {
    Reason.LOCAL: "Local",
    Reason.REMOTE: "Remote",
    Reason.VEHICLE_OUT: "EVDisconnected",
    Reason.STOPPED_BY_VEHICLE: "StoppedByEV",
    Reason.DEAUTHORIZED: "DeAuthorized",
    Reason.TIMEOUT: "Timeout",
    Reason.EMERGENCY_STOP: "EmergencyStop",
    Reason.GROUND_FAULT: "GroundFault",
    Reason.OVERCURRENT: "OvercurrentFault",
    Reason.POWER_LOSS: "PowerLoss",
    Reason.REBOOT: "Reboot",
    Reason.SOFT_RESET: "ImmediateReset",
    Reason.HARD_RESET: "ImmediateReset",
    Reason.UNLOCK: "Other",
    Reason.OTHER: "Other",
}
# Causes that end the authorisation: a vehicle that leaves afterwards, or power that goes off for it, is not why the
# transaction ended (F04.FR.03, E07.FR.05).
_UNAUTHORISED = {
    Cause.STOP_AUTHORIZED: "Local",
    Cause.REMOTE_STOP: "Remote",
    Cause.DEAUTHORIZED: "DeAuthorized",
    Cause.CONNECT_TIMEOUT: "Timeout",
}
_SENT = {  # measurands of an Updated; any other cause that brings a reading brings the begin of the transaction
    Cause.PERIODIC: "sampled_measurands",
    Cause.CLOCK: "aligned_measurands",
    Cause.TRIGGER: "sampled_measurands",  # F06.FR.07
}
_KEPT = {  # measurands and interval of the values that Ended repeats
    Cause.PERIODIC: ("ended_measurands", "ended_interval"),
    Cause.CLOCK: ("aligned_ended_measurands", "aligned_ended_interval"),
}
_BEGIN, _END = "Transaction.Begin", "Transaction.End"
_NEW: Json = {
    "seq": 0,
    "bound": False,
    "phases": None,
    "token": None,
    "reason": None,
    "kept": [],
    "last": None,
    "every": 1,
}


# ---------------------------------------------------------------- records → drafts


def project(fold: Fold, station: Station, record: Transaction) -> tuple[Fold, Draft | None]:
    entry: Json | None = _NEW if record.edge is Edge.STARTED else fold.get(record.tx)
    if entry is None:
        return fold, None
    values = _values(station, record)
    entry = {**entry, **_collected(entry, station, record)}
    draft = None
    if values or record.edge is not Edge.UPDATED or record.cause not in _KEPT:
        draft, entry = _event(entry, station, record, values)
    return {**fold, record.tx: entry}, draft


def _event(entry: Json, station: Station, record: Transaction, values: list[Json]) -> tuple[Draft, Json]:
    """The message of this record, and the entry after it."""
    info: Json = {"transactionId": record.tx, "chargingState": _STATE[record.state]}
    if record.remote_id is not None:
        info["remoteStartId"] = record.remote_id
    if record.reason is not None:
        follows = record.reason is Reason.VEHICLE_OUT or record.cause is Cause.CHARGING_STATE
        info["stoppedReason"] = (follows and entry["reason"]) or _REASON[record.reason]
    news = _news(entry, station, record)
    facts: Json = {
        "eventType": _TYPE[record.edge],
        # the event that tells of a remote start has this reason, whatever completed it (F01.FR.19, F02.FR.21)
        "triggerReason": "RemoteStart" if record.remote_id is not None else _TRIGGER[record.cause],
        "transactionInfo": info,
        **news,
    }
    if record.edge is Edge.ENDED:
        meter = [*entry["kept"], *([entry["last"]] if entry["last"] else [])]
    else:
        meter = [sampled_set(record, values)] if values else []
    if meter:
        facts["meter"] = meter
    thin = record.edge is Edge.UPDATED and record.cause in _KEPT and not news
    kind = ASKED if record.cause is Cause.TRIGGER else _KIND[record.edge]
    draft = Draft("transactions", kind, facts, record.at, record.tx, entry["seq"], thin)
    return draft, {**entry, **_after(entry, record, news), "seq": entry["seq"] + 1}


def _news(entry: Json, station: Station, record: Transaction) -> Json:
    """What the CSMS does not know yet: the EVSE (E01.FR.16), the phases (E02.FR.18, FR.19), an idToken."""
    news: Json = {}
    if record.outlet is not None:
        outlet = station.outlet(record.outlet)
        if not entry["bound"] or record.cause is Cause.PLUGGED:
            news["evse"] = place(outlet)
            if outlet.live.cable_amps:
                news["cableMaxCurrent"] = round(outlet.live.cable_amps)
        phases = _phases_used(station, record, record.outlet)
        if phases and phases != entry["phases"]:
            news["numberOfPhasesUsed"] = phases
    if record.token is not None:
        news["idToken"] = id_token(record.token)
    return news


def _after(entry: Json, record: Transaction, news: Json) -> Json:
    after: Json = {"bound": entry["bound"] or "evse" in news, "phases": news.get("numberOfPhasesUsed", entry["phases"])}
    if record.cause in _UNAUTHORISED:
        after["reason"] = _UNAUTHORISED[record.cause]
    elif "idToken" in news:
        after["token"] = news["idToken"]
        after["reason"] = None
    return after


def _phases_used(station: Station, record: Transaction, rank: int) -> int:
    """How many phases the vehicle draws from, however a transformer is mounted; 0: from none, or nobody can say."""
    if record.state is not ChargingState.CHARGING:
        return 0
    if record.phases == 1:
        return 1
    reading = record.reading or station.outlet(rank).live.reading
    amps = (reading.amps if reading is not None else None) or ()
    return sum(abs(each) >= FLOWS for each in amps)


def _values(station: Station, record: Transaction) -> list[Json]:
    """The sampledValue list of a Started or an Updated (E01.FR.09, E01.FR.17, J02.FR.11, J01.FR.22)."""
    if record.edge is Edge.ENDED:
        return []
    wanted = station.variables.get_list(_SENT.get(record.cause, "started_measurands"))
    return measured(station, record, wanted, CONTEXT.get(record.cause, _BEGIN), record.phases)


def _collected(entry: Json, station: Station, record: Transaction) -> Json:
    """The values that Ended will repeat: begin, in-between ones where an interval asks for them, and the last."""
    variables = station.variables
    wanted = variables.get_list("ended_measurands")
    kept, last, every = entry["kept"], entry["last"], entry["every"]
    if end := measured(station, record, wanted, _END, record.phases):
        last = sampled_set(record, end)
    if record.edge is Edge.UPDATED and record.cause in _KEPT:
        name, interval = _KEPT[record.cause]
        period = variables.get_int(interval)
        between = measured(station, record, variables.get_list(name), CONTEXT[record.cause], record.phases)
        if between and period and _due(kept, record, period * every):
            kept = [*kept, sampled_set(record, between)]
    elif record.edge is not Edge.ENDED and record.cause is not Cause.TRIGGER:
        begin = measured(station, record, wanted, _BEGIN, record.phases)
        kept = [*kept, sampled_set(record, begin)] if begin else kept
    if len(kept) > KEPT_MOST:  # E06.FR.13; from now on twice as seldom, so that no part of the time is thinned twice
        kept, every = kept[::2], every * 2
    return {"kept": kept, "last": last, "every": every}


def _due(kept: list[Json], record: Transaction, period: int) -> bool:
    """Whether `period` seconds have passed: on the clock's grid, or since the last set of this kind or the begin."""
    contexts = (CONTEXT[record.cause], _BEGIN)
    before = next((each["at"] for each in reversed(kept) if each["sampledValue"][0]["context"] in contexts), None)
    if before is None:
        return True
    if record.cause is Cause.CLOCK:
        return bool(record.at.wall // period != before["wall"] // period)  # it may have been put back
    return bool(record.at.mono - before["mono"] >= period)


# ---------------------------------------------------------------- drafts → payloads


def render(draft: Draft, stamp: Stamp, offline: bool, longest_token: int, nearest: Mapping[str, str]) -> Outgoing:
    """`nearest`: what the version says for trigger reasons that it does not have."""
    payload = {key: value for key, value in draft.facts.items() if key != "meter"}
    payload["triggerReason"] = nearest.get(payload["triggerReason"], payload["triggerReason"])
    if "idToken" in payload:
        payload["idToken"] = {**payload["idToken"], "idToken": bounded(payload["idToken"]["idToken"], longest_token)}
    payload["seqNo"] = draft.seq
    payload["timestamp"] = stamp(draft.at)
    if "meter" in draft.facts:
        payload["meterValue"] = rendered(draft.facts["meter"], stamp)
    if offline:
        payload["offline"] = True
    return Outgoing("TransactionEvent", payload)


# ---------------------------------------------------------------- answers


def answered(draft: Draft, payload: Json | None, fold: Fold) -> Learned:
    """What the CSMS said of a TransactionEvent; `payload` None: the message is a dead letter."""
    if draft.tx is None or draft.tx not in fold:
        return Learned()
    info = (payload or {}).get("idTokenInfo")
    token = draft.facts.get("idToken") or fold[draft.tx]["token"]
    events = (TransactionAnswered(draft.tx, token_of(token), verdict(info)),) if info and token else ()
    if draft.kind != END:
        return Learned(events)
    return Learned(events, {uid: entry for uid, entry in fold.items() if uid != draft.tx})
