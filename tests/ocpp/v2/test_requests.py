from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

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
from chargerd.core.records import Cause
from chargerd.core.state import Authorisation, Station, Tx, Visit
from chargerd.core.token import FREE, Token
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Ask, Json, Refuse, Reply
from tests.ocpp.v2.build import DIALECT, asked, sound_reply, station
from tests.ocpp.v16.build import CARD, moment

TOKEN = {"idToken": "AB12", "type": "Central"}
START: Json = {"idToken": TOKEN, "remoteStartId": 42}


def said(action: str, outcome: Outcome, **rest: Any) -> Json:
    return sound_reply(action, DIALECT.answer(action, {}, {}, Answer(7, outcome, **rest), {}, station()))


def status(action: str, payload: Json, here: Station | None = None) -> tuple[str, str]:
    """The status of an immediate reply, and its reason code."""
    got = asked(action, payload, here)
    assert isinstance(got, Reply), got
    return got.payload["status"], got.payload.get("statusInfo", {}).get("reasonCode", "")


def running(rank: int, told: bool = True) -> Station:
    here = station()
    visit = Visit(moment(), auth=Authorisation(CARD, moment()), tx=Tx("tx-1", moment(), Cause.AUTHORIZED, told=told))
    if rank == 0:
        return replace(here, lobby=visit)
    return replace(here, outlets=tuple(replace(o, visit=visit) if o.site.rank == rank else o for o in here.outlets))


# ---------------------------------------------------------------- remote start and stop


@pytest.mark.req("F01.FR.04", "F02.FR.12", "F02.FR.14")
@pytest.mark.parametrize(
    ("extra", "event"),
    [
        ({}, RemoteStart(7, Token("AB12", "Central"), None, 42)),
        ({"evseId": 1}, RemoteStart(7, Token("AB12", "Central"), None, 42, evse=1)),
        ({"evseId": 2}, RemoteStart(7, Token("AB12", "Central"), None, 42, evse=2)),
        (
            {"groupIdToken": {"idToken": "G", "type": "Central"}},
            RemoteStart(7, Token("AB12", "Central"), None, 42, "G"),
        ),
        ({"idToken": {"idToken": "", "type": "NoAuthorization"}}, RemoteStart(7, FREE, None, 42)),
    ],
)
def test_a_remote_start(extra: Json, event: RemoteStart) -> None:
    assert asked("RequestStartTransaction", {**START, **extra}) == Ask(event)


@pytest.mark.req("F01.FR.12", "F02.FR.20")
def test_a_charging_profile_is_ignored_without_smart_charging() -> None:
    profile = {
        "id": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": [
            {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}]}
        ],
    }
    plain = asked("RequestStartTransaction", START)
    assert asked("RequestStartTransaction", {**START, "chargingProfile": profile}) == plain


@pytest.mark.parametrize("evse", [0, 3, -1])
def test_a_remote_start_at_an_evse_that_is_not_there(evse: int) -> None:
    assert status("RequestStartTransaction", {**START, "evseId": evse}) == ("Rejected", "UnknownEvse")


@pytest.mark.req("B02.FR.05")
@pytest.mark.parametrize("boot", [BootStatus.NONE, BootStatus.PENDING])
def test_nothing_starts_or_stops_from_afar_before_the_boot_is_accepted(boot: BootStatus) -> None:
    here = station(boot=boot)
    rejected = ("Rejected", "CSNotAccepted")
    assert status("RequestStartTransaction", START, here) == rejected
    assert status("RequestStopTransaction", {"transactionId": "tx-1"}, here) == rejected


@pytest.mark.req("F01.FR.13", "F01.FR.24", "F02.FR.25")
def test_the_answer_to_a_remote_start() -> None:
    assert said("RequestStartTransaction", Outcome.ACCEPTED) == {"status": "Accepted"}
    assert said("RequestStartTransaction", Outcome.ACCEPTED, tx="tx-1") == {
        "status": "Accepted",
        "transactionId": "tx-1",
    }
    assert said("RequestStartTransaction", Outcome.REJECTED) == {"status": "Rejected"}


@pytest.mark.req("F03.FR.07", "F03.FR.08")
def test_a_remote_stop() -> None:
    assert asked("RequestStopTransaction", {"transactionId": "tx-9"}) == Ask(RemoteStop(7, "tx-9"))
    assert said("RequestStopTransaction", Outcome.ACCEPTED) == {"status": "Accepted"}
    assert said("RequestStopTransaction", Outcome.REJECTED) == {
        "status": "Rejected",
        "statusInfo": {"reasonCode": "TxNotFound"},
    }


# ---------------------------------------------------------------- what runs


@pytest.mark.req("E14.FR.02", "E14.FR.03", "E14.FR.04", "E14.FR.05")
@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("waiting", [True, False])
def test_a_transactions_status(rank: int, waiting: bool) -> None:
    facts = {"messages_in_queue": "5"} | ({"messages_in_queue:tx-1": "2"} if waiting else {})
    got = asked("GetTransactionStatus", {"transactionId": "tx-1"}, running(rank), facts)
    assert got == Reply({"ongoingIndicator": True, "messagesInQueue": waiting})
    over = asked("GetTransactionStatus", {"transactionId": "tx-1"}, station(), facts)
    assert over == Reply({"ongoingIndicator": False, "messagesInQueue": waiting})


@pytest.mark.req("E14.FR.01")
def test_a_transaction_that_nobody_was_told_of_is_none() -> None:
    got = asked("GetTransactionStatus", {"transactionId": "tx-1"}, running(1, told=False))
    assert got == Reply({"ongoingIndicator": False, "messagesInQueue": False})


@pytest.mark.req("E14.FR.06", "E14.FR.07", "E14.FR.08")
@pytest.mark.parametrize(("count", "waiting"), [("0", False), ("3", True)])
def test_the_status_of_the_queue(count: str, waiting: bool) -> None:
    got = asked("GetTransactionStatus", {}, running(1), {"messages_in_queue": count})
    assert got == Reply({"messagesInQueue": waiting})


# ---------------------------------------------------------------- connectors


@pytest.mark.req("F05.FR.01", "F05.FR.03", "F05.FR.07")
def test_unlocking() -> None:
    assert asked("UnlockConnector", {"evseId": 2, "connectorId": 2}) == Ask(UnlockAsked(7, 3, stop=False))
    for evse, connector in ((2, 3), (3, 1), (0, 0)):
        payload = {"evseId": evse, "connectorId": connector}
        assert status("UnlockConnector", payload) == ("UnknownConnector", "")
    refused = asked("UnlockConnector", {"evseId": 1, "connectorId": 1}, station(tethered=True))
    assert isinstance(refused, Refuse)
    assert refused.code == "NotSupported"


@pytest.mark.req("F05.FR.02", "F05.FR.04", "F05.FR.05")
@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome.UNLOCKED, "Unlocked"),
        (Outcome.UNLOCK_FAILED, "UnlockFailed"),
        (Outcome.ONGOING_TRANSACTION, "OngoingAuthorizedTransaction"),
        (Outcome.UNKNOWN_OUTLET, "UnknownConnector"),
        (Outcome.REJECTED, "UnlockFailed"),
    ],
)
def test_the_answer_to_unlocking(outcome: Outcome, word: str) -> None:
    assert said("UnlockConnector", outcome) == {"status": word}


@pytest.mark.req("G03.FR.01", "G04.FR.01")
@pytest.mark.parametrize(
    ("evse", "event"),
    [
        (None, AvailabilityAsked(7, Scope.STATION, 0, False)),
        ({"id": 0}, AvailabilityAsked(7, Scope.STATION, 0, False)),
        ({"id": 2}, AvailabilityAsked(7, Scope.EVSE, 2, False)),
        ({"id": 2, "connectorId": 2}, AvailabilityAsked(7, Scope.OUTLET, 3, False)),
    ],
)
def test_availability_of_the_station_an_evse_or_a_connector(evse: Json | None, event: AvailabilityAsked) -> None:
    payload: Json = {"operationalStatus": "Inoperative"} | ({"evse": evse} if evse else {})
    assert asked("ChangeAvailability", payload) == Ask(event)
    operative = asked("ChangeAvailability", {**payload, "operationalStatus": "Operative"})
    assert operative == Ask(replace(event, operative=True))


@pytest.mark.req("G03.FR.02")
@pytest.mark.parametrize(
    ("evse", "reason"), [({"id": 3}, "UnknownEvse"), ({"id": 2, "connectorId": 3}, "UnknownConnectorId")]
)
def test_availability_of_what_is_not_there(evse: Json, reason: str) -> None:
    assert status("ChangeAvailability", {"operationalStatus": "Operative", "evse": evse}) == ("Rejected", reason)


@pytest.mark.req("G03.FR.05", "G04.FR.06", "B12.FR.01", "B11.FR.06")
@pytest.mark.parametrize("action", ["ChangeAvailability", "Reset"])
@pytest.mark.parametrize(
    ("outcome", "word"),
    [(Outcome.ACCEPTED, "Accepted"), (Outcome.SCHEDULED, "Scheduled"), (Outcome.REJECTED, "Rejected")],
)
def test_the_answer_to_availability_and_reset(action: str, outcome: Outcome, word: str) -> None:
    assert said(action, outcome) == {"status": word}


@pytest.mark.req("B11.FR.01", "B11.FR.08", "B12.FR.02")
@pytest.mark.parametrize(
    ("payload", "event"),
    [
        ({"type": "Immediate"}, ResetAsked(7, ResetKind.IMMEDIATE)),
        ({"type": "OnIdle"}, ResetAsked(7, ResetKind.ON_IDLE)),
        ({"type": "OnIdle", "evseId": 0}, ResetAsked(7, ResetKind.ON_IDLE)),
        ({"type": "Immediate", "evseId": 2}, ResetAsked(7, ResetKind.IMMEDIATE, 2)),
    ],
)
def test_a_reset(payload: Json, event: ResetAsked) -> None:
    assert asked("Reset", payload) == Ask(event)


def test_a_reset_of_an_evse_that_is_not_there() -> None:
    assert status("Reset", {"type": "OnIdle", "evseId": 3}) == ("Rejected", "UnknownEvse")


# ---------------------------------------------------------------- triggers


@pytest.mark.req("F06.FR.03", "F06.FR.06", "F06.FR.07", "F06.FR.11")
@pytest.mark.parametrize(
    ("message", "evse", "event"),
    [
        ("Heartbeat", None, TriggerAsked(7, Triggered.HEARTBEAT)),
        ("Heartbeat", {"id": 9}, TriggerAsked(7, Triggered.HEARTBEAT)),
        ("MeterValues", None, TriggerAsked(7, Triggered.METER_VALUES)),
        ("MeterValues", {"id": 0}, TriggerAsked(7, Triggered.METER_VALUES)),
        ("MeterValues", {"id": 2}, TriggerAsked(7, Triggered.METER_VALUES, 2)),
        ("StatusNotification", None, TriggerAsked(7, Triggered.STATUS)),
        ("StatusNotification", {"id": 1}, TriggerAsked(7, Triggered.STATUS, 1)),
        ("StatusNotification", {"id": 2, "connectorId": 2}, TriggerAsked(7, Triggered.STATUS, 3)),
        ("TransactionEvent", {"id": 1}, TriggerAsked(7, Triggered.TRANSACTION, 1)),
    ],
)
def test_a_trigger(message: str, evse: Json | None, event: TriggerAsked) -> None:
    assert asked("TriggerMessage", {"requestedMessage": message} | ({"evse": evse} if evse else {})) == Ask(event)


@pytest.mark.req("F06.FR.07")
def test_of_several_connectors_a_trigger_is_for_the_one_that_is_busy() -> None:
    payload = {"requestedMessage": "TransactionEvent", "evse": {"id": 2}}
    assert asked("TriggerMessage", payload, running(3)) == Ask(TriggerAsked(7, Triggered.TRANSACTION, 3))


@pytest.mark.req("F06.FR.17")
def test_a_boot_is_only_triggered_while_none_is_accepted() -> None:
    payload = {"requestedMessage": "BootNotification"}
    assert status("TriggerMessage", payload) == ("Rejected", "")
    pending = station(boot=BootStatus.PENDING)
    assert asked("TriggerMessage", payload, pending) == Ask(TriggerAsked(7, Triggered.BOOT))


@pytest.mark.req("F06.FR.05", "F06.FR.12")
def test_triggers_that_cannot_be_followed() -> None:
    nowhere = {"requestedMessage": "MeterValues", "evse": {"id": 3}}
    assert status("TriggerMessage", nowhere) == ("Rejected", "UnknownEvse")
    which = {"requestedMessage": "StatusNotification", "evse": {"id": 2}}
    assert status("TriggerMessage", which) == ("Rejected", "MissingParam")
    silent = station(aligned_measurands="")
    assert status("TriggerMessage", {"requestedMessage": "MeterValues"}, silent) == ("Rejected", "")


@pytest.mark.req("F06.FR.08")
@pytest.mark.parametrize("message", ["LogStatusNotification", "FirmwareStatusNotification", "SignV2GCertificate"])
def test_a_message_that_is_not_there(message: str) -> None:
    assert status("TriggerMessage", {"requestedMessage": message}) == ("NotImplemented", "")


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome.ACCEPTED, "Accepted"),
        (Outcome.REJECTED, "Rejected"),
        (Outcome.NOT_IMPLEMENTED, "NotImplemented"),
        (Outcome.NOT_SUPPORTED, "NotImplemented"),
    ],
)
def test_the_answer_to_a_trigger(outcome: Outcome, word: str) -> None:
    assert said("TriggerMessage", outcome) == {"status": word}


# ---------------------------------------------------------------- the rest


@pytest.mark.req("C11.FR.02")
def test_clearing_the_cache() -> None:
    assert asked("ClearCache", {}) == Ask(ClearCacheAsked(7))
    assert said("ClearCache", Outcome.ACCEPTED) == {"status": "Accepted"}
    off = said("ClearCache", Outcome.REJECTED)
    assert off == {"status": "Rejected", "statusInfo": {"reasonCode": "NotEnabled"}}


@pytest.mark.req("P01.FR.05")
def test_data_of_no_vendor_is_known() -> None:
    assert status("DataTransfer", {"vendorId": "com.example", "data": {"a": [1]}}) == ("UnknownVendorId", "")


HERE = {
    "GetVariables", "SetVariables", "GetBaseReport", "RequestStartTransaction", "RequestStopTransaction",
    "GetTransactionStatus", "UnlockConnector", "ChangeAvailability", "Reset", "TriggerMessage", "ClearCache",
    "DataTransfer",
}  # fmt: skip


@pytest.mark.parametrize("action", sorted(schemas.actions("2.0.1") - HERE))
def test_every_other_action_is_not_supported(action: str) -> None:
    got = DIALECT.handle(7, action, {}, {}, station(), {})
    assert isinstance(got, Refuse)
    assert got.code == "NotSupported"


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize(
    "action",
    [
        "RequestStartTransaction",
        "RequestStopTransaction",
        "UnlockConnector",
        "ChangeAvailability",
        "Reset",
        "TriggerMessage",
        "ClearCache",
    ],
)
def test_every_outcome_can_be_said(action: str, outcome: Outcome) -> None:
    assert said(action, outcome)["status"] != ""
