from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.commands import Answer, Outcome
from chargerd.core.events import SetAsked
from chargerd.ocpp.dialect import Ask, Json, Refuse, Reply
from chargerd.ocpp.v2.device_model import PART_BYTES
from tests.ocpp.v2.build import DIALECT, asked, sound_reply, station

HEARTBEAT: Json = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
PASSWORD: Json = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
TIMEOUT: Json = {
    "component": {"name": "OCPPCommCtrlr"},
    "variable": {"name": "MessageTimeout", "instance": "Default"},
}


def get(*items: Json) -> list[Json]:
    got = asked("GetVariables", {"getVariableData": list(items)})
    results = sound_reply("GetVariables", got)["getVariableResult"]
    assert isinstance(results, list)
    return results


def set_(*items: Json) -> tuple[tuple[tuple[str, str], ...], list[Json]]:
    """The values that are to be set, and the results of all items."""
    got = asked("SetVariables", {"setVariableData": list(items)})
    if isinstance(got, Ask):
        assert isinstance(got.event, SetAsked)
        reply = DIALECT.answer(
            "SetVariables", {}, json.loads(json.dumps(got.context)), Answer(7, Outcome.ACCEPTED), {}, station()
        )
        return got.event.values, sound_reply("SetVariables", reply)["setVariableResult"]
    assert isinstance(got, Reply)
    return (), got.payload["setVariableResult"]


def at(component: str, variable: str, evse: int | None = None, connector: int | None = None) -> Json:
    place: Json = {} if evse is None else {"evse": {"id": evse}}
    if connector is not None:
        place["evse"]["connectorId"] = connector
    return {"component": {"name": component, **place}, "variable": {"name": variable}}


# ---------------------------------------------------------------- reading


@pytest.mark.req("B06.FR.01", "B06.FR.02", "B06.FR.10", "B06.FR.11")
def test_a_value_is_answered_with_what_was_asked() -> None:
    spelled = {"component": {"name": "ocppcommctrlr"}, "variable": {"name": "HEARTBEATINTERVAL"}}
    assert get(spelled, TIMEOUT) == [
        {**spelled, "attributeStatus": "Accepted", "attributeType": "Actual", "attributeValue": "300"},
        {**TIMEOUT, "attributeStatus": "Accepted", "attributeType": "Actual", "attributeValue": "30"},
    ]


@pytest.mark.req("B06.FR.03", "B06.FR.06", "B06.FR.07", "B06.FR.08", "B06.FR.09", "B06.FR.13", "B06.FR.15")
@pytest.mark.parametrize(
    ("item", "status", "rest"),
    [
        (at("Nothing", "HeartbeatInterval"), "UnknownComponent", {}),
        (at("OCPPCommCtrlr", "Nothing"), "UnknownVariable", {}),
        (at("OCPPCommCtrlr", "MessageTimeout"), "UnknownVariable", {}),
        (at("EVSE", "Available", 3), "UnknownComponent", {}),
        (at("EVSE", "Available", 2), "Accepted", {"attributeValue": "true"}),
        (at("Connector", "Available", 2, 2), "Accepted", {"attributeValue": "true"}),
        (at("Connector", "ConnectorType", 2, 2), "Accepted", {"attributeValue": ""}),
        ({**HEARTBEAT, "attributeType": "MaxSet"}, "NotSupportedAttributeType", {}),
        (PASSWORD, "Rejected", {"attributeStatusInfo": {"reasonCode": "WriteOnly"}}),
    ],
)
def test_what_cannot_be_read(item: Json, status: str, rest: Json) -> None:
    assert get(item) == [{"attributeType": "Actual", **item, "attributeStatus": status, **rest}]


@pytest.mark.req("B06.FR.15")
def test_an_empty_instance_is_none() -> None:
    item = {"component": {"name": "OCPPCommCtrlr", "instance": ""}, "variable": {"name": "HeartbeatInterval"}}
    assert get(item)[0]["attributeValue"] == "300"


@pytest.mark.req("B06.FR.16", "B05.FR.11")
@pytest.mark.parametrize(
    ("action", "member", "item"),
    [
        ("GetVariables", "getVariableData", HEARTBEAT),
        ("SetVariables", "setVariableData", {**HEARTBEAT, "attributeValue": "60"}),
    ],
)
def test_too_many_items(action: str, member: str, item: Json) -> None:
    assert isinstance(asked(action, {member: [item] * 100}), Reply | Ask)
    refused = asked(action, {member: [item] * 101})
    assert isinstance(refused, Refuse)
    assert refused.code == "OccurrenceConstraintViolation"


# ---------------------------------------------------------------- writing


@pytest.mark.req("B05.FR.01", "B05.FR.02", "B05.FR.10", "B05.FR.12")
def test_values_are_set_together_and_each_has_its_result() -> None:
    values, results = set_(
        {**HEARTBEAT, "attributeValue": " 60 "},
        {**at("Nothing", "X"), "attributeValue": "1"},
        {**PASSWORD, "attributeValue": "a long enough one"},
    )
    assert values == (("heartbeat_interval", "60"), ("basic_auth_password", "a long enough one"))
    assert results == [
        {**HEARTBEAT, "attributeStatus": "Accepted", "attributeType": "Actual"},
        {**at("Nothing", "X"), "attributeStatus": "UnknownComponent", "attributeType": "Actual"},
        {**PASSWORD, "attributeStatus": "Accepted", "attributeType": "Actual"},
    ]


@pytest.mark.req("B05.FR.03", "B05.FR.04", "B05.FR.05", "B05.FR.06", "B05.FR.07", "B05.FR.08", "B05.FR.09")
@pytest.mark.parametrize(
    ("item", "value", "status", "reason"),
    [
        (at("Nothing", "X"), "1", "UnknownComponent", None),
        (at("OCPPCommCtrlr", "Nothing"), "1", "UnknownVariable", None),
        ({**HEARTBEAT, "attributeType": "Target"}, "60", "NotSupportedAttributeType", None),
        (HEARTBEAT, "soon", "Rejected", "InvalidValue"),
        (HEARTBEAT, "0", "Rejected", "ValueTooLow"),
        (HEARTBEAT, "9999999", "Rejected", "ValueTooHigh"),
        (TIMEOUT, "60", "Rejected", "ReadOnly"),
    ],
)
def test_what_cannot_be_set(item: Json, value: str, status: str, reason: str | None) -> None:
    values, (result,) = set_({**item, "attributeValue": value})
    assert values == ()
    assert (result["attributeStatus"], result.get("attributeStatusInfo", {}).get("reasonCode")) == (status, reason)
    assert result["attributeType"] == item.get("attributeType", "Actual")


def test_a_secret_is_never_repeated() -> None:
    secret = "too short"
    _, results = set_({**PASSWORD, "attributeValue": secret})
    assert secret not in json.dumps(results)


def test_a_station_that_does_not_take_them_takes_them_back() -> None:
    got = asked(
        "SetVariables",
        {"setVariableData": [{**at("No", "X"), "attributeValue": "1"}, {**HEARTBEAT, "attributeValue": "60"}]},
    )
    assert isinstance(got, Ask)
    reply = DIALECT.answer("SetVariables", {}, got.context, Answer(7, Outcome.REJECTED), {}, station())
    results = sound_reply("SetVariables", reply)["setVariableResult"]
    assert [each["attributeStatus"] for each in results] == ["UnknownComponent", "Rejected"]


# ---------------------------------------------------------------- reporting


def report(base: str, facts: Json | None = None) -> list[Json]:
    got = asked("GetBaseReport", {"requestId": 5, "reportBase": base}, facts=facts)
    assert sound_reply("GetBaseReport", got) == {"status": "Accepted"}
    assert isinstance(got, Reply)
    assert {then.action for then in got.then} == {"NotifyReport"}
    return [then.payload for then in got.then]


def rows(parts: list[Json]) -> dict[tuple[Any, ...], Json]:
    found = {}
    for row in (row for part in parts for row in part["reportData"]):
        evse = row["component"].get("evse", {})
        where = (row["component"]["name"], row["variable"]["name"], row["variable"].get("instance"))
        found[(*where, evse.get("id"), evse.get("connectorId"))] = row
    return found


@pytest.mark.req("B07.FR.01", "B07.FR.03", "B07.FR.04", "B07.FR.10")
def test_a_report_comes_in_numbered_parts() -> None:
    parts = report("FullInventory")
    assert len(parts) > 1
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert [part.get("tbc", False) for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part["requestId"] for part in parts} == {5}
    assert {part["generatedAt"] for part in parts} == {"2027-01-15T08:00:00Z"}
    assert all(len(json.dumps(part["reportData"])) < PART_BYTES + 200 for part in parts)


@pytest.mark.req("B07.FR.08", "B07.FR.11", "B07.FR.12")
def test_the_full_inventory() -> None:
    found = rows(
        report("FullInventory", {"connector_type.2.2": "sType2", "evse_power.1": "0", "evse_power_max.1": "11040"})
    )
    assert found["OCPPCommCtrlr", "HeartbeatInterval", None, None, None] == {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "HeartbeatInterval"},
        "variableAttribute": [
            {"type": "Actual", "mutability": "ReadWrite", "persistent": True, "constant": False, "value": "300"}
        ],
        "variableCharacteristics": {
            "dataType": "integer",
            "supportsMonitoring": False,
            "unit": "s",
            "minLimit": 1,
            "maxLimit": 2592000,
        },
    }
    assert found["Connector", "ConnectorType", None, 2, 2]["variableAttribute"][0]["value"] == "sType2"
    assert found["EVSE", "Power", None, 1, None]["variableCharacteristics"]["maxLimit"] == 11040.0
    assert found["OCPPCommCtrlr", "MessageTimeout", "Default", None, None]["variableAttribute"][0]["value"] == "30"
    points = found["TxCtrlr", "TxStartPoint", None, None, None]["variableCharacteristics"]
    assert points["valuesList"] == "EVConnected,Authorized,PowerPathClosed,EnergyTransfer"


@pytest.mark.req("B07.FR.03")
def test_what_can_only_be_written_has_no_value() -> None:
    attribute = rows(report("FullInventory"))["SecurityCtrlr", "BasicAuthPassword", None, None, None][
        "variableAttribute"
    ][0]
    assert attribute["mutability"] == "WriteOnly"
    assert "value" not in attribute


@pytest.mark.req("B07.FR.07", "B07.FR.09")
def test_the_smaller_inventories() -> None:
    settings = rows(report("ConfigurationInventory"))
    assert {row["variableAttribute"][0]["mutability"] for row in settings.values()} == {"ReadWrite", "WriteOnly"}
    summary = rows(report("SummaryInventory"))
    assert {name for _, name, *_ in summary} == {"AvailabilityState", "Problem"}
    assert ("Connector", "AvailabilityState", None, 2, 2) in summary


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "component": st.fixed_dictionaries(
                    {"name": st.sampled_from(["EVSE", "Connector", "OCPPCommCtrlr", "x"])},
                    optional={
                        "instance": st.text(max_size=3),
                        "evse": st.fixed_dictionaries(
                            {"id": st.integers(-1, 3)}, optional={"connectorId": st.integers(-1, 3)}
                        ),
                    },
                ),
                "variable": st.fixed_dictionaries(
                    {"name": st.sampled_from(["HeartbeatInterval", "Available", "Power", "x"])},
                    optional={"instance": st.text(max_size=3)},
                ),
                "attributeValue": st.text(max_size=20),
            },
            optional={"attributeType": st.sampled_from(["Actual", "Target", "MinSet", "MaxSet"])},
        ),
        min_size=1,
        max_size=20,
    )
)
@pytest.mark.req("B05.FR.01", "B06.FR.01")
def test_whatever_is_asked_each_item_has_one_valid_result(items: list[Json]) -> None:
    _, results = set_(*items)
    assert len(results) == len(items)
    asked_for = [{key: value for key, value in item.items() if key != "attributeValue"} for item in items]
    assert len(get(*asked_for)) == len(items)
