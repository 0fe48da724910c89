"""The checker against the rules, and against jsonschema as an independent judge on generated payloads."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.ocpp import schemas
from chargerd.ocpp.schemas import Kind, Version, Violation, check

STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
STATUS_2 = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}


def profile(**period: object) -> dict[str, Any]:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16} | period]}
    return {
        "connectorId": 0,
        "csChargingProfiles": {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "ChargePointMaxProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": schedule,
        },
    }


def test_the_actions_of_each_version() -> None:
    assert len(schemas.actions("1.6")) == 39
    assert len(schemas.actions("2.0.1")) == 64
    assert len(schemas.actions("2.1")) == 90
    assert schemas.actions("2.0.1") < schemas.actions("2.1")
    assert schemas.sends("1.6") | schemas.sends("2.0.1") == set()
    assert schemas.sends("2.1") == {"NotifyPeriodicEventStream"}
    assert {"StartTransaction", "SecurityEventNotification", "ExtendedTriggerMessage"} <= schemas.actions("1.6")
    assert {"TransactionEvent", "NotifyEVChargingSchedule"} <= schemas.actions("2.0.1")


def test_an_unknown_action_is_the_callers_mistake() -> None:
    with pytest.raises(KeyError, match="TransactionEvent"):
        check("1.6", "TransactionEvent", "request", {})
    with pytest.raises(KeyError, match="Heartbeat"):
        check("2.1", "Heartbeat", "send", {})
    with pytest.raises(KeyError, match="Stream"):
        check("2.1", "NotifyPeriodicEventStream", "request", {})


@pytest.mark.req("1.6J §4.2.3")
@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (STATUS, None, ""),
        ([], "FormationViolation", "payload: must be of type object"),
        (STATUS | {"more": 1}, "FormationViolation", "payload: has a member that the message does not know"),
        ({"connectorId": 1}, "OccurenceConstraintViolation", "errorCode: is required"),
        (STATUS | {"connectorId": "1"}, "TypeConstraintViolation", "connectorId: must be of type integer"),
        (STATUS | {"connectorId": True}, "TypeConstraintViolation", "connectorId: must be of type integer"),
        (STATUS | {"connectorId": 1.0}, "TypeConstraintViolation", "connectorId: must be of type integer"),
        (STATUS | {"connectorId": 2**63}, "PropertyConstraintViolation", "connectorId: must fit 64 bits"),
        (STATUS | {"info": None}, "TypeConstraintViolation", "info: must be of type string"),
        (STATUS | {"status": "available"}, "PropertyConstraintViolation", "status: is not one of the values"),
        (STATUS | {"info": "x" * 50}, None, ""),
        (STATUS | {"info": "x" * 51}, "PropertyConstraintViolation", "info: may have at most 50 characters"),
        (STATUS | {"timestamp": "yesterday"}, "PropertyConstraintViolation", "timestamp: must be a date-time"),
    ],
)
def test_codes_of_1_6(payload: object, code: str | None, text: str) -> None:
    found = check("1.6", "StatusNotification", "request", payload)
    if code is None:
        assert found is None
    else:
        assert found is not None
        assert found.code == code
        assert found.text.startswith(text)


@pytest.mark.req("2.0.1 part 4 §4.3")
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (STATUS_2, None),
        (None, "FormatViolation"),
        (STATUS_2 | {"more": 1}, "ProtocolError"),
        (STATUS_2 | {"evseId": "1"}, "TypeConstraintViolation"),
        (STATUS_2 | {"connectorStatus": "Charging"}, "PropertyConstraintViolation"),
        ({k: v for k, v in STATUS_2.items() if k != "evseId"}, "OccurrenceConstraintViolation"),
    ],
)
def test_codes_of_2_0_1(payload: object, code: str | None) -> None:
    found = check("2.0.1", "StatusNotification", "request", payload)
    assert (found.code if found else None) == code


def test_cardinality_is_an_occurrence() -> None:
    empty: dict[str, Any] = {"getVariableData": []}
    assert check("2.0.1", "GetVariables", "request", empty) == Violation(
        "OccurrenceConstraintViolation", "getVariableData: needs at least 1 items"
    )
    full = {"requestId": 1, "componentCriteria": ["Active", "Active", "Active", "Active", "Active"]}
    assert check("2.0.1", "GetReport", "request", full) == Violation(
        "OccurrenceConstraintViolation", "componentCriteria: may have at most 4 items"
    )


def test_the_path_leads_into_lists_and_objects() -> None:
    found = check("1.6", "SetChargingProfile", "request", profile(limit="16"))
    path = "csChargingProfiles.chargingSchedule.chargingSchedulePeriod[0].limit"
    assert found == Violation("TypeConstraintViolation", f"{path}: must be of type number")


@pytest.mark.req("1.6 §7.14")
@pytest.mark.parametrize("limit", [0, 16, 6.3, 0.1, 0.3, 32.7, 1e6, 2**62, -0.1, 12345678.9])
def test_one_decimal_passes(limit: float) -> None:
    assert check("1.6", "SetChargingProfile", "request", profile(limit=limit)) is None


@pytest.mark.parametrize("limit", [6.25, 0.05, 6.3000001, 1e-300])
def test_two_decimals_do_not(limit: float) -> None:
    found = check("1.6", "SetChargingProfile", "request", profile(limit=limit))
    assert found is not None
    assert found.code == "PropertyConstraintViolation"
    assert found.text.endswith("must be a multiple of 0.1")


@pytest.mark.parametrize(
    "stamp",
    ["2026-02-28T23:59:59Z", "2026-02-28T23:59:59.1Z", "2026-02-28T23:59:59.123456+01:00", "0001-01-01T00:00:00-14:00"],
)
def test_date_times_that_pass(stamp: str) -> None:
    assert check("1.6", "Heartbeat", "response", {"currentTime": stamp}) is None


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "2026-02-28",
        "2026-02-30T00:00:00Z",
        "2026-02-28T24:00:00Z",
        "2026-02-28T23:59:59",
        "20260228T235959Z",
        "2026-02-28T23:59:60Z",
        "2026-02-28 23:59:59Z",
        "2026-02-28T23:59:59z",
        "2026-02-28T23:59:59+25:00",
        "٢٠٢٦-02-28T23:59:59Z",
        "2026-02-28T23:59:59Z\n",
        "2026-02-28T23:59:59.1234567890Z",
    ],
)
def test_date_times_that_do_not(stamp: str) -> None:
    found = check("1.6", "Heartbeat", "response", {"currentTime": stamp})
    assert found is not None
    assert found.code == "PropertyConstraintViolation"
    assert found.text == "currentTime: must be a date-time with a zone (RFC 3339)"


def test_vendor_data_is_free() -> None:
    for data in ("x", {"FooBar": [1, {"my_url": None}]}, [1.5], None, True):
        assert check("2.0.1", "DataTransfer", "request", {"vendorId": "v", "data": data}) is None
    custom = {"vendorId": "v", "any_Key": {"soc": 1}}
    assert check("2.0.1", "Heartbeat", "request", {"customData": custom}) is None


def test_a_violation_is_short_and_shows_no_value() -> None:
    secret = "S3CRET" * 1000
    for payload in (STATUS | {"info": secret}, STATUS | {secret: 1}, STATUS | {"status": secret}, secret):
        found = check("1.6", "StatusNotification", "request", payload)
        assert found is not None
        assert "S3CRET" not in found.text
        assert len(found.text) <= 255


def test_every_schema_of_the_package_is_understood() -> None:
    for version, action, kind in MESSAGES:
        found = check(version, action, kind, {"no such member": 1})
        open_object = raw_schema(version, action, kind).get("additionalProperties") is not False
        assert (found is None) is open_object


def test_a_schema_language_that_grew_is_refused() -> None:
    with pytest.raises(ValueError, match="pattern"):
        schemas._compile({"type": "string", "pattern": "x"}, {})


def test_the_library_s_classes_are_not_imported() -> None:
    code = (
        "import sys; from chargerd.ocpp import schemas; schemas.check('1.6', 'Heartbeat', 'request', {});"
        "bad = [m for m in sys.modules if m.startswith(('ocpp.v', 'jsonschema'))]; sys.exit(str(bad) if bad else 0)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env=environment)


# ---- the independent judge


@cache
def raw_schema(version: Version, action: str, kind: Kind) -> dict[str, Any]:
    suffix = {"request": "" if version == "1.6" else "Request", "response": "Response", "send": ""}[kind]
    path = files("ocpp") / {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}[version] / "schemas" / f"{action}{suffix}.json"
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8-sig"))
    return loaded


MESSAGES: list[tuple[Version, str, Kind]] = [
    (version, action, kind)
    for version in ("1.6", "2.0.1", "2.1")
    for action in sorted(schemas.actions(version))
    for kind in ("request", "response")
]
ODD = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.just([]), st.just({}))


def payloads(schema: dict[str, Any], top: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit the schema, without date-times that do not."""
    if "$ref" in schema:
        return payloads(top["definitions"][schema["$ref"].removeprefix("#/definitions/")], top)
    match schema.get("type"):
        case "object":
            properties = {name: payloads(sub, top) for name, sub in schema.get("properties", {}).items()}
            required = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: s for name, s in properties.items() if name in required},
                optional={name: s for name, s in properties.items() if name not in required},
            )
        case "array":
            most = min(schema.get("maxItems", 3), 3)
            return st.lists(payloads(schema["items"], top), min_size=min(schema.get("minItems", 0), 3), max_size=most)
        case "string" if "enum" in schema:
            return st.sampled_from(schema["enum"])
        case "string" if schema.get("format") == "date-time":
            return st.just("2026-01-01T00:00:00Z")
        case "string":
            return st.text("ab", max_size=min(schema.get("maxLength", 9), 9))
        case "integer":
            return st.integers(schema.get("minimum", -9), min(schema.get("maximum", 9), 9))
        case "number":
            low, high = schema.get("minimum", -1e9), schema.get("maximum", 1e9)
            return st.sampled_from([number for number in (0, 1, 16, -2.5) if low <= number <= high])
        case "boolean":
            return st.booleans()
    return ODD


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [p for key, item in inner for p in places(item, (*path, key))]


@st.composite
def messages(draw: st.DrawFn) -> tuple[Version, str, Kind, Any]:
    """A valid message, or one that was changed in one place: a member dropped, added, or replaced."""
    version, action, kind = draw(st.sampled_from(MESSAGES))
    schema = raw_schema(version, action, kind)
    payload = copy.deepcopy(draw(payloads(schema, schema)))
    *way, last = draw(st.sampled_from(places({"": payload})[1:]))
    holder = box = {"": payload}
    for key in way:
        holder = holder[key]
    match draw(st.sampled_from(["nothing", "drop", "replace", "add", "lengthen"])):
        case "drop" if way:
            del holder[last]
        case "replace":
            holder[last] = draw(ODD)
        case "add" if isinstance(holder[last], dict):
            holder[last]["unheard"] = draw(ODD)
        case "lengthen" if isinstance(holder[last], str | list):
            holder[last] = holder[last] * (6000 if isinstance(holder[last], str) else 5)
    return version, action, kind, box[""]


@settings(max_examples=250, deadline=None)
@given(messages())
def test_the_verdict_is_that_of_a_general_validator(message: tuple[Version, str, Kind, Any]) -> None:
    version, action, kind, payload = message
    # draft 4 for all: it keeps 1.0 apart from 1, as we do
    judge = jsonschema.Draft4Validator(raw_schema(version, action, kind))
    stamped = check(version, action, kind, payload)
    if stamped is not None and "date-time" in stamped.text:
        return  # not the judge's business
    assert (stamped is None) == judge.is_valid(payload)
