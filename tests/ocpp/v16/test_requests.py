from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.commands import Answer, Outcome
from chargerd.core.events import (
    AvailabilityAsked,
    BootStatus,
    CancelReservationAsked,
    ClearCacheAsked,
    Event,
    ListSent,
    RemoteStart,
    RemoteStop,
    ReserveAsked,
    ResetAsked,
    ResetKind,
    Scope,
    SetAsked,
    TriggerAsked,
    Triggered,
    UnlockAsked,
)
from chargerd.core.state import Live, Station
from chargerd.core.token import Standing, Token, Verdict
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Ask, Json, Refuse, Reply
from tests.ocpp.v16.build import CARD, DIALECT, FACTS, charging, sound_reply, station

ASK = 41
FOLD = {"tx-1": {"id": 0, "kept": []}, "tx-2": {"id": 1_795_354_736, "kept": []}, "tx-3": {"id": None, "kept": []}}
BUSY = charging(charging(station(), 1, "tx-1"), 2, "tx-2")


def handle(action: str, payload: Json, here: Station = BUSY) -> Reply | Ask | Refuse:
    assert schemas.check("1.6", action, "request", payload) is None
    return DIALECT.handle(ASK, action, payload, FOLD, here, FACTS)


def says(action: str, payload: Json, here: Station = BUSY) -> Any:
    """What is answered at once."""
    return sound_reply(action, handle(action, payload, here))


def asks(action: str, payload: Json, here: Station = BUSY) -> Event:
    """What the station is asked."""
    asked = handle(action, payload, here)
    assert isinstance(asked, Ask), asked
    return asked.event


def answers(action: str, outcome: Outcome, context: Json | None = None) -> Any:
    reply = DIALECT.answer(action, {}, context or {}, Answer(ASK, outcome), FOLD, BUSY)
    assert reply.then == ()
    return sound_reply(action, reply)["status"]


# ---------------------------------------------------------------- configuration


@pytest.mark.req("1.6 §5.8")
@pytest.mark.parametrize("payload", [{}, {"key": []}])
def test_all_configuration_keys(payload: Json) -> None:
    reply = says("GetConfiguration", payload)
    keys = {each["key"]: each for each in reply["configurationKey"]}
    assert keys["HeartbeatInterval"] == {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
    assert keys["NumberOfConnectors"] == {"key": "NumberOfConnectors", "readonly": True, "value": "2"}
    assert len(keys) == len(reply["configurationKey"]) > 20
    assert "unknownKey" not in reply


@pytest.mark.req("1.6 §5.8", "1.6 §7.29")
def test_the_keys_asked_for_in_their_order_and_those_unknown() -> None:
    asked = ["Zebra", "ResetRetries", "heartbeatINTERVAL", "zebra", "HeartbeatInterval", "Apple"]
    reply = says("GetConfiguration", {"key": asked}, station(heartbeat_interval="60"))
    assert [(each["key"], each["value"]) for each in reply["configurationKey"]] == [
        ("ResetRetries", "1"),
        ("HeartbeatInterval", "60"),
    ]
    assert reply["unknownKey"] == ["Zebra", "Apple"]


def test_only_unknown_keys() -> None:
    assert says("GetConfiguration", {"key": ["Zebra"]}) == {"configurationKey": [], "unknownKey": ["Zebra"]}


def test_a_key_without_a_value_now_has_none() -> None:
    reply = sound_reply(
        "GetConfiguration",
        DIALECT.handle(ASK, "GetConfiguration", {"key": ["NumberOfConnectors"]}, {}, BUSY, {"outlets": "1.1"}),
    )
    assert reply["configurationKey"] == [{"key": "NumberOfConnectors", "readonly": True}]


@pytest.mark.req("1.6 §9.1.7")
def test_more_keys_than_announced_are_refused() -> None:
    assert len(says("GetConfiguration", {"key": ["HeartbeatInterval"] * 100})["configurationKey"]) == 1
    assert handle("GetConfiguration", {"key": ["HeartbeatInterval"] * 101}) == Refuse(
        "OccurenceConstraintViolation", "key: at most 100 (GetConfigurationMaxKeys)"
    )


@pytest.mark.req("1.6 §5.3")
@pytest.mark.parametrize(
    ("key", "value", "name", "text"),
    [
        ("HeartbeatInterval", "60", "heartbeat_interval", "60"),
        ("meterVALUESsampledData", "voltage, Frequency", "sampled_measurands", "Voltage,Frequency"),
        ("LocalPreAuthorize", "TRUE", "local_pre_authorize", "true"),
        ("AuthorizationKey", "00FF" * 10, "basic_auth_password", "hex:" + "00ff" * 10),
    ],
)
def test_a_change_is_put_to_the_station(key: str, value: str, name: str, text: str) -> None:
    asked = handle("ChangeConfiguration", {"key": key, "value": value})
    assert asked == Ask(SetAsked(ASK, ((name, text),)), {"status": "Accepted"})


@pytest.mark.req("1.6 §5.3")
@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("HeartbeatInterval", "soon", "Rejected"),
        ("WebSocketPingInterval", "-1", "Rejected"),
        ("NumberOfConnectors", "9", "Rejected"),
        ("MeterValuesSampledData", "Energy.Active.Import.Register,SoC", "Rejected"),
        ("Zebra", "1", "NotSupported"),
        ("AuthorizationKey", "00" * 15, "Rejected"),
        ("AuthorizationKey", "00" * 21, "Rejected"),
        ("AuthorizationKey", "a text of sixteen", "Rejected"),
    ],
)
def test_a_change_that_cannot_be(key: str, value: str, status: str) -> None:
    assert says("ChangeConfiguration", {"key": key, "value": value}) == {"status": status}


@pytest.mark.req("1.6 §7.22")
def test_a_change_that_needs_a_restart_says_so_once_it_is_kept() -> None:
    assert answers("ChangeConfiguration", Outcome.ACCEPTED, {"status": "RebootRequired"}) == "RebootRequired"
    assert answers("ChangeConfiguration", Outcome.REJECTED, {"status": "RebootRequired"}) == "Rejected"


# ---------------------------------------------------------------- remote start and stop


@pytest.mark.req("1.6 §5.11")
@pytest.mark.parametrize(("more", "outlet"), [({}, None), ({"connectorId": 2}, 2)])
def test_remote_start(more: Json, outlet: int | None) -> None:
    asked = asks("RemoteStartTransaction", {"idTag": CARD.id, **more})
    assert asked == RemoteStart(ASK, Token(CARD.id), outlet)


@pytest.mark.req("1.6 §6.33")
@pytest.mark.parametrize("connector", [-1, 0, 3, 10**9])
def test_remote_start_at_no_connector(connector: int) -> None:
    payload = {"idTag": "A", "connectorId": connector}
    assert says("RemoteStartTransaction", payload) == {"status": "Rejected"}


@pytest.mark.req("1.6 §5.12")
@pytest.mark.parametrize(("number", "tx"), [(0, "tx-1"), (1_795_354_736, "tx-2")])
def test_remote_stop(number: int, tx: str) -> None:
    assert asks("RemoteStopTransaction", {"transactionId": number}) == RemoteStop(ASK, tx)


@pytest.mark.req("1.6 §5.12")
@pytest.mark.parametrize(("number", "here"), [(5, BUSY), (-1, BUSY), (0, station())])
def test_remote_stop_of_nothing_that_runs(number: int, here: Station) -> None:
    assert says("RemoteStopTransaction", {"transactionId": number}, here) == {"status": "Rejected"}


@pytest.mark.req("1.6 §4.2")
@pytest.mark.parametrize("status", [BootStatus.PENDING, BootStatus.REJECTED])
def test_remote_stop_before_the_boot_is_accepted(status: BootStatus) -> None:
    here = replace(BUSY, boot=replace(BUSY.boot, status=status))
    assert says("RemoteStopTransaction", {"transactionId": 0}, here) == {"status": "Rejected"}


# ---------------------------------------------------------------- availability, unlocking, reset, cache


@pytest.mark.req("1.6 §5.2", "1.6 §7.3", "1.6 §7.4")
@pytest.mark.parametrize(("word", "operative"), [("Operative", True), ("Inoperative", False)])
def test_change_availability(word: str, operative: bool) -> None:
    for connector, scope in ((2, Scope.OUTLET), (0, Scope.STATION)):
        asked = asks("ChangeAvailability", {"connectorId": connector, "type": word})
        assert asked == AvailabilityAsked(ASK, scope, connector, operative, every=True)


@pytest.mark.req("1.6 §5.2")
@pytest.mark.parametrize("connector", [-1, 3])
def test_change_availability_of_no_connector(connector: int) -> None:
    assert says("ChangeAvailability", {"connectorId": connector, "type": "Operative"}) == {"status": "Rejected"}


@pytest.mark.req("1.6 §5.18")
def test_unlock_ends_what_runs_first() -> None:
    assert asks("UnlockConnector", {"connectorId": 2}) == UnlockAsked(ASK, 2, stop=True)


@pytest.mark.req("1.6 §7.46")
@pytest.mark.parametrize("connector", [-1, 0, 3])
def test_unlock_where_no_lock_is(connector: int) -> None:
    assert says("UnlockConnector", {"connectorId": connector}) == {"status": "NotSupported"}


@pytest.mark.req("1.6 §5.14", "1.6 §7.42", "1.6 §7.41")
@pytest.mark.parametrize(("word", "kind"), [("Soft", ResetKind.SOFT), ("Hard", ResetKind.HARD)])
def test_reset(word: str, kind: ResetKind) -> None:
    assert asks("Reset", {"type": word}) == ResetAsked(ASK, kind)


@pytest.mark.req("1.6 §3.8")
@pytest.mark.parametrize("token", ["deadbeef", "not hex, and odd", "A", "*-_=:+|@.", "00000000000000000000"])
def test_a_token_is_whatever_the_backend_says(token: str) -> None:
    assert asks("RemoteStartTransaction", {"idTag": token}) == RemoteStart(ASK, Token(token), None)


@pytest.mark.req("1.6 §5.15", "1.6 §7.1", "1.6 §7.48", "1.6 §7.2")
def test_the_local_list_as_it_is_sent() -> None:
    info = {"status": "Blocked", "parentIdTag": "", "expiryDate": "2027-01-15T08:00:00Z"}
    rows = [{"idTag": CARD.id, "idTagInfo": info}, {"idTag": "GONE"}]
    entries = ((CARD.id, Verdict(Standing.BLOCKED, None, 1_800_000_000.0)), ("GONE", None))
    payload = {"listVersion": 7, "updateType": "Differential", "localAuthorizationList": rows}
    assert asks("SendLocalList", payload) == ListSent(ASK, 7, False, entries)
    assert asks("SendLocalList", {"listVersion": 8, "updateType": "Full"}) == ListSent(ASK, 8, True, ())


@pytest.mark.req("1.6 §5.10")
def test_the_version_of_the_local_list() -> None:
    listed = replace(BUSY, local_list={"x": Verdict(Standing.ACCEPTED)}, list_version=7)
    off = replace(listed, variables=listed.variables.with_("local_list_enabled", "false"))
    versions = [says("GetLocalListVersion", {}, here)["listVersion"] for here in (BUSY, listed, off)]
    assert versions == [0, 7, -1]


@pytest.mark.req("1.6 §5.13", "1.6 §5.1", "1.6 §7.5")
def test_reservations_as_they_are_asked_for() -> None:
    payload = {"connectorId": 0, "expiryDate": "2027-01-15T09:00:00+01:00", "idTag": CARD.id, "reservationId": -3}
    assert asks("ReserveNow", payload) == ReserveAsked(ASK, -3, Token(CARD.id), 0, 1_800_000_000.0)
    family = asks("ReserveNow", payload | {"connectorId": 2, "parentIdTag": "FAMILY"})
    assert family == ReserveAsked(ASK, -3, Token(CARD.id), 2, 1_800_000_000.0, "FAMILY")
    for nowhere in (-1, 3):
        assert says("ReserveNow", payload | {"connectorId": nowhere}) == {"status": "Rejected"}
    assert asks("CancelReservation", {"reservationId": -3}) == CancelReservationAsked(ASK, -3)


@pytest.mark.req("1.6 §5.4", "1.6 §7.20")
def test_clear_cache() -> None:
    assert asks("ClearCache", {}) == ClearCacheAsked(ASK)


# ---------------------------------------------------------------- trigger


@pytest.mark.req("1.6 §5.17")
@pytest.mark.parametrize(
    ("message", "more", "what", "outlet"),
    [
        ("BootNotification", {}, Triggered.BOOT, None),
        ("BootNotification", {"connectorId": 99}, Triggered.BOOT, None),
        ("Heartbeat", {"connectorId": 1}, Triggered.HEARTBEAT, None),
        ("MeterValues", {}, Triggered.METER_VALUES, None),
        ("MeterValues", {"connectorId": 2}, Triggered.METER_VALUES, 2),
        ("StatusNotification", {}, Triggered.STATUS, None),
        ("StatusNotification", {"connectorId": 1}, Triggered.STATUS, 1),
        ("StatusNotification", {"connectorId": 0}, Triggered.STATUS, 0),
    ],
)
def test_trigger(message: str, more: Json, what: Triggered, outlet: int | None) -> None:
    assert asks("TriggerMessage", {"requestedMessage": message, **more}) == TriggerAsked(ASK, what, outlet)


@pytest.mark.req("1.6 §5.17")
@pytest.mark.parametrize("message", ["DiagnosticsStatusNotification", "FirmwareStatusNotification"])
def test_a_trigger_for_what_is_not_there(message: str) -> None:
    assert says("TriggerMessage", {"requestedMessage": message}) == {"status": "NotImplemented"}


@pytest.mark.req("1.6 §5.17", "1.6 §7.32")
@pytest.mark.parametrize(
    ("message", "connector"),
    [("MeterValues", 0), ("MeterValues", 3), ("StatusNotification", 3), ("StatusNotification", -1)],
)
def test_a_trigger_at_no_connector(message: str, connector: int) -> None:
    payload = {"requestedMessage": message, "connectorId": connector}
    assert says("TriggerMessage", payload) == {"status": "Rejected"}


def test_a_trigger_for_a_status_that_is_not_known_yet() -> None:
    payload = {"requestedMessage": "StatusNotification", "connectorId": 1}
    assert says("TriggerMessage", payload, station(Live())) == {"status": "Rejected"}


def test_a_trigger_for_values_that_nobody_chose() -> None:
    here = station(sampled_measurands="")
    assert says("TriggerMessage", {"requestedMessage": "MeterValues"}, here) == {"status": "Rejected"}


# ---------------------------------------------------------------- what is not there


@pytest.mark.req("1.6 §5.6", "1.6 §7.23")
@pytest.mark.parametrize(
    ("action", "payload", "reply"),
    [
        ("DataTransfer", {"vendorId": "org.example", "data": "x"}, {"status": "UnknownVendorId"}),
    ],
)
def test_absent_features_with_a_word_of_their_own(action: str, payload: Json, reply: Json) -> None:
    assert says(action, payload) == reply


@pytest.mark.req("1.6J §4.2.3")
@pytest.mark.parametrize(
    "action",
    [
        "GetDiagnostics",
        "UpdateFirmware",
        "ExtendedTriggerMessage",
        "SignedUpdateFirmware",
        "InstallCertificate",
        "GetLog",
        "BootNotification",
    ],
)
def test_the_rest_is_refused_as_not_supported(action: str) -> None:
    refused = DIALECT.handle(ASK, action, {}, FOLD, BUSY, FACTS)
    assert isinstance(refused, Refuse)
    assert refused.code == "NotSupported" and action in refused.text


# ---------------------------------------------------------------- the station's answers

WORDS: Mapping[str, Mapping[Outcome, str]] = {
    "RemoteStartTransaction": {Outcome.ACCEPTED: "Accepted", Outcome.REJECTED: "Rejected"},
    "RemoteStopTransaction": {Outcome.ACCEPTED: "Accepted", Outcome.REJECTED: "Rejected"},
    "ChangeAvailability": {
        Outcome.ACCEPTED: "Accepted",
        Outcome.REJECTED: "Rejected",
        Outcome.SCHEDULED: "Scheduled",
    },
    "UnlockConnector": {
        Outcome.UNLOCKED: "Unlocked",
        Outcome.UNLOCK_FAILED: "UnlockFailed",
        Outcome.NOT_SUPPORTED: "NotSupported",
    },
    "Reset": {Outcome.ACCEPTED: "Accepted", Outcome.REJECTED: "Rejected"},
    "ClearCache": {Outcome.ACCEPTED: "Accepted", Outcome.REJECTED: "Rejected"},
    "SendLocalList": {
        Outcome.ACCEPTED: "Accepted",
        Outcome.FAILED: "Failed",
        Outcome.NOT_SUPPORTED: "NotSupported",
        Outcome.VERSION_MISMATCH: "VersionMismatch",
    },
    "ReserveNow": {
        Outcome.ACCEPTED: "Accepted",
        Outcome.FAULTED: "Faulted",
        Outcome.OCCUPIED: "Occupied",
        Outcome.REJECTED: "Rejected",
        Outcome.UNAVAILABLE: "Unavailable",
    },
    "CancelReservation": {Outcome.ACCEPTED: "Accepted", Outcome.REJECTED: "Rejected"},
    "TriggerMessage": {
        Outcome.ACCEPTED: "Accepted",
        Outcome.REJECTED: "Rejected",
        Outcome.NOT_IMPLEMENTED: "NotImplemented",
    },
}


@pytest.mark.req("1.6 §7.39", "1.6 §7.44", "1.6 §7.46")
@pytest.mark.parametrize(
    ("action", "outcome", "word"),
    [(action, outcome, word) for action, words in WORDS.items() for outcome, word in words.items()],
)
def test_answers(action: str, outcome: Outcome, word: str) -> None:
    assert answers(action, outcome) == word


@pytest.mark.parametrize("action", sorted(WORDS))
@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.ACCEPTED}))
def test_any_other_answer_is_a_refusal_in_the_words_of_the_action(action: str, outcome: Outcome) -> None:
    assert answers(action, outcome) in {"Rejected", "UnlockFailed", *WORDS[action].values()} - {"Accepted"}


# ---------------------------------------------------------------- anything that passes the schema

CONNECTORS = st.integers(-3, 5) | st.integers()
HOSTILE = st.one_of(
    st.tuples(
        st.just("RemoteStartTransaction"),
        st.fixed_dictionaries({"idTag": st.text(max_size=20)}, optional={"connectorId": CONNECTORS}),
    ),
    st.tuples(st.just("RemoteStopTransaction"), st.fixed_dictionaries({"transactionId": st.integers()})),
    st.tuples(st.just("UnlockConnector"), st.fixed_dictionaries({"connectorId": CONNECTORS})),
    st.tuples(
        st.just("ChangeAvailability"),
        st.fixed_dictionaries({"connectorId": CONNECTORS, "type": st.sampled_from(("Operative", "Inoperative"))}),
    ),
    st.tuples(
        st.just("ChangeConfiguration"),
        st.fixed_dictionaries(
            {
                "key": st.sampled_from(("HeartbeatInterval", "MeterValuesSampledData")) | st.text(max_size=50),
                "value": st.text(max_size=500),
            }
        ),
    ),
    st.tuples(
        st.just("GetConfiguration"),
        st.fixed_dictionaries({}, optional={"key": st.lists(st.text(max_size=50), max_size=120)}),
    ),
    st.tuples(
        st.just("TriggerMessage"),
        st.fixed_dictionaries(
            {"requestedMessage": st.sampled_from(("BootNotification", "MeterValues", "StatusNotification"))},
            optional={"connectorId": CONNECTORS},
        ),
    ),
)


@given(HOSTILE)
def test_whatever_is_asked_has_a_sound_answer_or_names_a_real_outlet(call: tuple[str, Json]) -> None:
    action, payload = call
    match DIALECT.handle(ASK, action, payload, FOLD, BUSY, FACTS):
        case Reply() as reply:
            sound_reply(action, reply)
        case Ask(event=RemoteStart(outlet=rank)):
            assert rank in (None, 1, 2)
        case Ask(event=TriggerAsked(what=what, outlet=rank)):
            assert rank in (None, 1, 2) or (what, rank) == (Triggered.STATUS, 0)
        case Ask(event=UnlockAsked(outlet=rank)):
            assert rank in (1, 2)
        case Ask(event=AvailabilityAsked(scope=scope, number=number)):
            assert (scope, number) in {(Scope.STATION, 0), (Scope.OUTLET, 1), (Scope.OUTLET, 2)}
        case Ask(event=RemoteStop(tx=tx)):
            assert tx in FOLD
        case Ask(event=SetAsked(values=((name, text),))):
            assert station(**{name: text})
        case Refuse(code=code):
            assert code == "OccurenceConstraintViolation"
        case unexpected:
            pytest.fail(f"{unexpected}")
