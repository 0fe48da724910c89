"""Every message of 2.1, both ways: what is lawful passes and arrives as it was said, whatever its members' names."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargerd.core.commands import AskAuthorize, BootCause, SendBoot, SendHeartbeat
from chargerd.core.records import Cause
from chargerd.core.token import Token
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Ask, Draft, Identity, Json, Outgoing, Refuse, Reply
from chargerd.ocpp.rpc import Call, Limits, Result, Rpc
from chargerd.ocpp.schemas import Kind, check
from chargerd.ocpp.v2.dialect21 import Dialect21
from tests.ocpp.test_schemas import payloads, raw_schema
from tests.ocpp.v2.build import FACTS, started, station

DIALECT = Dialect21()
ACTIONS = sorted(schemas.actions("2.1"))
EVERY: list[tuple[str, Kind]] = [(action, kind) for action in ACTIONS for kind in ("request", "response")]
EVERY += [(action, "send") for action in sorted(schemas.sends("2.1"))]
VENDOR = {"vendorId": "com.example", "any_Key": {"soC": [1, None], "Ünï": "😀"}}
ODD_NAMES = {
    "limit_L2", "setpoint_L3", "setpointReactive_L2", "dischargeLimit_L3", "evseId", "soc", "soH", "prioritizedEMAIDs",
    "receiptUrl", "iso15118CertificateHashData", "ocspResult", "evMinV2XEnergyRequest", "customData",
    "v2xChargingParameters", "maxSoC",
}  # fmt: skip


def whole(schema: Json, top: Json) -> Any:
    """A value with every member that the schema knows, one item in each list, and vendor data."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/definitions/")
        return VENDOR if name == "CustomDataType" else whole(top["definitions"][name], top)
    match schema.get("type"):
        case "object":
            return {name: whole(sub, top) for name, sub in schema.get("properties", {}).items()}
        case "array":
            return [whole(schema["items"], top)] * max(1, schema.get("minItems", 0))
        case "string" if "enum" in schema:
            return schema["enum"][-1]
        case "string" if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00.250Z"
        case "string":
            return "ä_B"[: schema.get("maxLength", 3)]
        case "integer":
            return int(schema.get("minimum", 7))
        case "number":
            return min(schema.get("maximum", 6.5), max(schema.get("minimum", 6.5), 6.5))
        case "boolean":
            return True
    return {"Free_form": [1, None, {"soC": 0.5}]}


def said(action: str, kind: Kind) -> Any:
    schema = raw_schema("2.1", action, kind)
    return whole(schema, schema)


def names(value: object) -> Iterator[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from value
    for item in inner:
        yield from names(item)


def engine() -> Rpc:
    numbers = count(1)
    return Rpc("2.1", lambda: f"our-{next(numbers)}", Limits(rate=1e9, burst=10**6))


def test_the_names_that_others_have_mangled_are_all_here() -> None:
    assert {name for action, kind in EVERY for name in names(said(action, kind))} >= ODD_NAMES


@pytest.mark.parametrize(("action", "kind"), EVERY)
def test_a_message_with_everything_in_it(action: str, kind: Kind) -> None:
    schema, payload = raw_schema("2.1", action, kind), said(action, kind)
    judge = jsonschema.Draft6Validator(schema)
    judge.validate(payload)
    assert check("2.1", action, kind, payload) is None
    for changed in [payload | {"unheard_Of": 1}, *(_without(payload, name) for name in payload)]:
        assert (check("2.1", action, kind, changed) is None) == judge.is_valid(changed)


def _without(payload: Json, name: str) -> Json:
    return {key: value for key, value in payload.items() if key != name}


@pytest.mark.parametrize("action", ACTIONS)
def test_it_arrives_as_it_was_said(action: str) -> None:
    rpc, request, response = engine(), said(action, "request"), said(action, "response")
    [got] = rpc.receive(json.dumps([2, "theirs", action, request], ensure_ascii=False), 0.0)
    assert isinstance(got, Call)
    assert json.dumps(got.payload) == json.dumps(request)  # the order of members included
    assert rpc.reply(got.id, response)
    rpc.call(action, request, None, 0.0, 30.0)
    answered, asked = map(json.loads, rpc.send())
    assert json.dumps(answered) == json.dumps([3, "theirs", response])
    assert json.dumps(asked) == json.dumps([2, "our-1", action, request])
    [back] = rpc.receive(json.dumps([3, "our-1", response]), 0.0)
    assert isinstance(back, Result)
    assert json.dumps(back.payload) == json.dumps(response)


@st.composite
def lawful(draw: st.DrawFn, among: list[tuple[str, Kind]]) -> tuple[str, Kind, Any]:
    action, kind = draw(st.sampled_from(among))
    schema = raw_schema("2.1", action, kind)
    return action, kind, draw(payloads(schema, schema))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lawful(EVERY))
def test_what_is_lawful_passes(message: tuple[str, Kind, Any]) -> None:
    action, kind, payload = message
    assert jsonschema.Draft4Validator(raw_schema("2.1", action, kind)).is_valid(payload)
    assert check("2.1", action, kind, payload) is None


def handled(action: str, payload: Json) -> None:
    before = copy.deepcopy(payload)
    got = DIALECT.handle(7, action, payload, {}, station(), FACTS)
    assert payload == before
    match got:
        case Reply(answer, then):
            assert check("2.1", action, "response", answer) is None
            assert all(check("2.1", out.action, "request", out.payload) is None for out in then)
        case Refuse(code):
            assert code in ("NotSupported", "OccurrenceConstraintViolation")
        case Ask():
            assert action in HERE


HERE = [
    "GetVariables", "SetVariables", "GetBaseReport", "RequestStartTransaction", "RequestStopTransaction",
    "GetTransactionStatus", "UnlockConnector", "ChangeAvailability", "Reset", "TriggerMessage", "ClearCache",
    "DataTransfer",
]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
def test_every_request_is_answered(action: str) -> None:
    handled(action, said(action, "request"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lawful([(action, "request") for action in HERE]))
def test_whatever_is_asked_is_answered(message: tuple[str, Kind, Any]) -> None:
    action, _, payload = message
    handled(action, payload)


def contexts(action: str) -> object:
    _, (draft,) = DIALECT.project({}, station(), [started(0, cause=Cause.AUTHORIZED)])
    asked: dict[str, object] = {
        "BootNotification": SendBoot(BootCause.POWER_UP),
        "Heartbeat": SendHeartbeat(),
        "Authorize": AskAuthorize(3, Token("T")),
        "TransactionEvent": draft,
    }
    return asked[action]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lawful([(each, "response") for each in ("BootNotification", "Heartbeat", "Authorize", "TransactionEvent")]))
def test_every_answer_is_understood(message: tuple[str, Kind, Any]) -> None:
    action, _, payload = message
    context = contexts(action)
    fold = DIALECT.project({}, station(), [started(0)])[0] if isinstance(context, Draft) else {}
    learned = DIALECT.answered(Outgoing(action, {}), payload, fold, station(), context)
    assert learned.events or learned.clock or isinstance(context, Draft)


def test_vendor_data_of_a_request_comes_back_where_the_request_is_repeated() -> None:
    component = {"name": "OCPPCommCtrlr", "customData": VENDOR}
    asked = {"getVariableData": [{"component": component, "variable": {"name": "HeartbeatInterval"}}]}
    got = DIALECT.handle(7, "GetVariables", asked, {}, station(), FACTS)
    assert isinstance(got, Reply)
    assert got.payload["getVariableResult"][0]["component"] == component


def test_identities_fit() -> None:
    out = DIALECT.request(SendBoot(BootCause.POWER_UP), Identity("CP", "V" * 99, "M" * 99, "S" * 99, "F" * 99))
    assert check("2.1", out.action, "request", out.payload) is None
