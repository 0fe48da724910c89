"""Transaction messages of OCPP 1.6: StartTransaction, MeterValues, StopTransaction (§4.7, §4.8, §4.10).

The fold has one entry per transaction, from its start until the CSMS has answered its end:

    {uid: {"id": transactionId of the CSMS or None, "kept": [values for StopTransaction.transactionData],
           "seen": how many came between begin and end, "every": the how manieth of them is kept by now}}

The CSMS's number may be 0 and may come again with another transaction, so nothing is looked up by it but what a
RemoteStopTransaction names. It is bound when a message is rendered: the station's order of messages (§3.6) makes sure
that StartTransaction was answered by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from chargerd.core.events import TransactionAnswered
from chargerd.core.moment import Moment
from chargerd.core.records import Cause, Edge, Reason, Record, Sampled, Transaction
from chargerd.core.state import Station
from chargerd.ocpp.dialect import Draft, Fold, Json, Learned, Outgoing, Stamp
from chargerd.ocpp.measurands import HERTZ, read_at, samples
from chargerd.ocpp.outbox import START
from chargerd.ocpp.v16.words import ID_TAG_MAX, ci_string, token_of, told, verdict
from hal.api import MeterReading

METER = "meter"
STOP = "stop"
KEPT_MOST = 32  # sets of values that a StopTransaction carries beside the last one

_CONTEXT = {Cause.PERIODIC: "Sample.Periodic", Cause.CLOCK: "Sample.Clock", Cause.TRIGGER: "Trigger"}  # §7.35
_SENT = {  # measurands of MeterValues
    Cause.PERIODIC: "sampled_measurands",
    Cause.CLOCK: "aligned_measurands",
    Cause.TRIGGER: "sampled_measurands",  # §5.17
}
_KEPT = {  # measurands that StopTransaction repeats
    Cause.PERIODIC: "stop_measurands",
    Cause.CLOCK: "aligned_ended_measurands",
}
_REASON = {  # §7.36
    Reason.LOCAL: "Local",
    Reason.REMOTE: "Remote",
    Reason.VEHICLE_OUT: "EVDisconnected",
    Reason.STOPPED_BY_VEHICLE: "Other",
    Reason.DEAUTHORIZED: "DeAuthorized",
    Reason.EMERGENCY_STOP: "EmergencyStop",
    Reason.POWER_LOSS: "PowerLoss",
    Reason.REBOOT: "Reboot",
    Reason.SOFT_RESET: "SoftReset",
    Reason.HARD_RESET: "HardReset",
    Reason.UNLOCK: "UnlockCommand",
    Reason.TIMEOUT: "Other",
    Reason.GROUND_FAULT: "Other",
    Reason.OVERCURRENT: "Other",
    Reason.OTHER: "Other",
}


# ---------------------------------------------------------------- records → drafts


def project(fold: Fold, station: Station, records: Sequence[Record]) -> tuple[Fold, list[Draft]]:
    drafts: list[Draft] = []
    for record in records:
        match record:
            case Transaction(edge=Edge.STARTED):
                fold = {**fold, record.tx: {"id": None, "kept": _begin(station, record), "seen": 0, "every": 1}}
                drafts.append(_start(record))
            case Transaction(edge=Edge.UPDATED, cause=cause) if cause in _CONTEXT:
                fold = _keep(fold, station, record)
                drafts += _meter(station, record, record.phases)
            case Transaction(edge=Edge.ENDED):
                drafts.append(_stop(fold, station, record))
            case Sampled(outlet=rank):
                drafts += _meter(station, record, station.outlet(rank).site.phases)
    return fold, drafts


def _start(record: Transaction) -> Draft:
    facts: Json = {"connectorId": record.outlet, "meterStart": _register(record.reading)}
    if record.token is not None:
        facts["token"] = told(record.token)
    if record.reservation is not None:
        facts["reservationId"] = record.reservation
    return Draft("transactions", START, facts, record.at, record.tx)


def _meter(station: Station, record: Transaction | Sampled, phases: int) -> list[Draft]:
    """MeterValues, unless there is nothing in it."""
    wanted = station.variables.get_list(_SENT[record.cause])
    sampled = _values(station, record.outlet, record.reading, wanted, phases, _CONTEXT[record.cause])
    if not sampled:
        return []
    facts = {"connectorId": record.outlet, "sampledValue": sampled}
    queue = "volatile" if record.cause is Cause.TRIGGER else "transactions"  # §4.2, §5.17
    at = read_at(record.at, record.reading)
    return [Draft(queue, METER, facts, at, record.tx, thin=record.cause is Cause.PERIODIC)]


def _stop(fold: Fold, station: Station, record: Transaction) -> Draft:
    assert record.reason is not None
    last = record.reading or record.begin
    facts: Json = {"meterStop": _register(last), "reason": _REASON[record.reason]}
    if record.token is not None:
        facts["token"] = told(record.token)
    wanted = station.variables.get_list(_KEPT[Cause.PERIODIC])
    end = _values(station, record.outlet, last, wanted, record.phases, "Transaction.End")
    data = fold.get(record.tx, {}).get("kept", []) + ([_set(record.at, last, end)] if end else [])
    if data:
        facts["data"] = data
    return Draft("transactions", STOP, facts, record.at, record.tx)


def _begin(station: Station, record: Transaction) -> list[Json]:
    wanted = station.variables.get_list(_KEPT[Cause.PERIODIC])
    begin = _values(station, record.outlet, record.reading, wanted, record.phases, "Transaction.Begin")
    return [_set(record.at, record.reading, begin)] if begin else []


def _keep(fold: Fold, station: Station, record: Transaction) -> Fold:
    """Remember these values for StopTransaction.transactionData (§9.1.25, §9.1.27).

    When full every second one goes, and from then on they are kept half as often: no part of the time is thinned twice.
    """
    entry = fold.get(record.tx)
    if entry is None or record.cause not in _KEPT:
        return fold
    wanted = station.variables.get_list(_KEPT[record.cause])
    sampled = _values(station, record.outlet, record.reading, wanted, record.phases, _CONTEXT[record.cause])
    if not sampled:
        return fold
    kept, seen, every = entry["kept"], entry["seen"] + 1, entry["every"]
    if seen % every == 0:
        kept = [*kept, _set(record.at, record.reading, sampled)]
    if len(kept) > KEPT_MOST:
        kept, every = kept[::2], every * 2
    return {**fold, record.tx: {**entry, "kept": kept, "seen": seen, "every": every}}


def _values(
    station: Station,
    rank: int | None,
    reading: MeterReading | None,
    wanted: Sequence[str],
    phases: int,
    context: str,
) -> list[Json]:
    """The sampledValue list (§7.43); empty when nothing was read or asked for. 1.6 has no unit for a frequency."""
    if reading is None:
        return []
    offered = None if rank is None else station.outlet(rank).live.offered
    return [
        {
            "value": sample.value,
            "context": context,
            "measurand": sample.measurand,
            **({"phase": sample.phase} if sample.phase else {}),
            **({"unit": sample.unit} if sample.unit != HERTZ else {}),
        }
        for sample in samples(reading, wanted, offered, phases)
    ]


def _set(at: Moment, reading: MeterReading | None, sampled: list[Json]) -> Json:
    """`sampled` with the moment it was read at."""
    return {"at": asdict(read_at(at, reading)), "sampledValue": sampled}


def _register(reading: MeterReading | None) -> int:
    """Wh, half to even; 0 where the operator lets charge without a meter."""
    return round(reading.energy) if reading is not None and isfinite(reading.energy) else 0


# ---------------------------------------------------------------- drafts → payloads


def render(draft: Draft, fold: Fold, stamp: Stamp) -> Outgoing:
    return _RENDER[draft.kind](draft, fold, stamp)


def _render_start(draft: Draft, fold: Fold, stamp: Stamp) -> Outgoing:
    facts = draft.facts
    payload = {
        "connectorId": facts["connectorId"],
        "idTag": _id_tag(facts),
        "meterStart": facts["meterStart"],
        "timestamp": stamp(draft.at),
    }
    if "reservationId" in facts:  # §5.13
        payload["reservationId"] = facts["reservationId"]
    return Outgoing("StartTransaction", payload)


def _render_meter(draft: Draft, fold: Fold, stamp: Stamp) -> Outgoing:
    payload = {
        "connectorId": draft.facts["connectorId"],
        "meterValue": [{"timestamp": stamp(draft.at), "sampledValue": draft.facts["sampledValue"]}],
    }
    asked = draft.queue == "volatile"  # goes before the StartTransaction that waits; then it has no number yet
    if draft.tx is not None and not (asked and fold.get(draft.tx, {}).get("id") is None):
        payload["transactionId"] = _number(fold, draft.tx)
    return Outgoing("MeterValues", payload)


def _render_stop(draft: Draft, fold: Fold, stamp: Stamp) -> Outgoing:
    assert draft.tx is not None
    facts = draft.facts
    payload: Json = {
        "transactionId": _number(fold, draft.tx),
        "meterStop": facts["meterStop"],
        "timestamp": stamp(draft.at),
        "reason": facts["reason"],
    }
    if "token" in facts:
        payload["idTag"] = _id_tag(facts)
    if "data" in facts:
        payload["transactionData"] = [
            {"timestamp": stamp(Moment(**each["at"])), "sampledValue": each["sampledValue"]} for each in facts["data"]
        ]
    return Outgoing("StopTransaction", payload)


_RENDER = {START: _render_start, METER: _render_meter, STOP: _render_stop}


def _id_tag(facts: Json) -> str:
    return ci_string(facts["token"]["id"], ID_TAG_MAX) if "token" in facts else ""


def _number(fold: Fold, tx: str) -> int:
    number = fold.get(tx, {}).get("id")
    if number is None:
        raise ValueError(f"transaction {tx}: its StartTransaction has no answer yet, so it has no transactionId")
    return int(number)


# ---------------------------------------------------------------- answers


def answered(draft: Draft, payload: Json | None, fold: Fold) -> Learned:
    """What the CSMS said of a queued message; `payload` None: the message is a dead letter."""
    tx = draft.tx
    if draft.kind == METER or tx is None or tx not in fold:
        return Learned()
    events = _word(tx, draft.facts.get("token"), payload)
    if draft.kind == START and payload is not None:
        return Learned(events, {**fold, tx: {**fold[tx], "id": payload["transactionId"]}})
    return Learned(events, {uid: entry for uid, entry in fold.items() if uid != tx})


def _word(tx: str, token: Any, payload: Json | None) -> tuple[TransactionAnswered, ...]:
    """The idTagInfo about the token that the message told, if both are there (§4.8, §4.10)."""
    info = (payload or {}).get("idTagInfo")
    return (TransactionAnswered(tx, token_of(token), verdict(info)),) if info and token else ()


def running(fold: Fold, station: Station, number: int) -> str | None:
    """The transaction that runs under the CSMS's `number`; the youngest where it gave the same number twice."""
    here = [outlet.visit.tx for outlet in station.outlets if outlet.visit and outlet.visit.tx]
    named = [tx for tx in here if tx.uid in fold and fold[tx.uid]["id"] == number]
    return sorted(named, key=lambda tx: (tx.started.boot, tx.started.mono))[-1].uid if named else None
