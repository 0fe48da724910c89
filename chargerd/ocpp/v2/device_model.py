"""The device model on the wire: GetVariables (B06), SetVariables (B05), GetBaseReport and its NotifyReports (B07)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chargerd.core.commands import Answer
from chargerd.core.commands import Outcome as Done
from chargerd.core.events import SetAsked
from chargerd.core.state import Station
from chargerd.core.variables import ACTUAL, Address, Base, Outcome, Row, get2, report2, set2
from chargerd.ocpp.dialect import Ask, Json, Outgoing, Refuse, Reply

PART_BYTES = 16_000  # of JSON in one NotifyReport; a single item may be larger

_STATUS = {
    Outcome.ACCEPTED: "Accepted",
    Outcome.REJECTED: "Rejected",
    Outcome.REBOOT_REQUIRED: "RebootRequired",
    Outcome.UNKNOWN_COMPONENT: "UnknownComponent",
    Outcome.UNKNOWN_VARIABLE: "UnknownVariable",
    Outcome.NOT_SUPPORTED_ATTRIBUTE: "NotSupportedAttributeType",
}


def get_variables(payload: Json, station: Station, facts: Mapping[str, str]) -> Reply | Refuse:
    asked: list[Json] = payload["getVariableData"]
    if too_many := _too_many(asked, station, "get_variables_items", "getVariableData"):
        return too_many
    results = []
    for each in asked:
        got = get2(station.variables, facts, _address(each), each.get("attributeType", ACTUAL))
        result = _result(each, got.outcome, got.reason)
        if got.value is not None:
            result["attributeValue"] = got.value
        results.append(result)
    return Reply({"getVariableResult": results})


def set_variables(ask: int, payload: Json, station: Station, facts: Mapping[str, str]) -> Reply | Ask | Refuse:
    """The values that can be set are set together; the results wait for it."""
    asked: list[Json] = payload["setVariableData"]
    if too_many := _too_many(asked, station, "set_variables_items", "setVariableData"):
        return too_many
    variables, results, values = station.variables, [], []
    for each in asked:
        attribute = each.get("attributeType", ACTUAL)
        change, variables = set2(variables, facts, _address(each), attribute, each["attributeValue"])
        results.append(_result(each, change.outcome, change.reason, change.why))
        if change.done:
            values.append((change.name, change.text))
    context = {"setVariableResult": results}
    return Ask(SetAsked(ask, tuple(values)), context) if values else Reply(context)


def set_answer(context: Json, answer: Answer) -> Reply:
    """The prepared results; those that were to be set are taken back where the station did not take them."""
    results: list[Json] = context["setVariableResult"]
    if answer.outcome is not Done.ACCEPTED:
        info = {"attributeStatus": "Rejected", "attributeStatusInfo": {"reasonCode": "InternalError"}}
        done = (_STATUS[Outcome.ACCEPTED], _STATUS[Outcome.REBOOT_REQUIRED])
        results = [{**each, **info} if each["attributeStatus"] in done else each for each in results]
    return Reply({"setVariableResult": results})


def get_base_report(payload: Json, station: Station, facts: Mapping[str, str]) -> Reply:
    """B07. `facts["now"]` stamps the parts, which leave after the reply."""
    rows = [_report_data(row) for row in report2(station.variables, facts, Base(payload["reportBase"]))]
    parts = list(_parts(rows))
    reports = []
    for number, part in enumerate(parts):
        report: Json = {"requestId": payload["requestId"], "generatedAt": facts["now"], "seqNo": number}
        report["reportData"] = part
        if number + 1 < len(parts):
            report["tbc"] = True
        reports.append(Outgoing("NotifyReport", report))
    return Reply({"status": "Accepted"}, tuple(reports))


def _parts(rows: Sequence[Json]) -> Iterator[list[Json]]:
    part: list[Json] = []
    size = 0
    for row in rows:
        length = len(json.dumps(row))
        if part and size + length > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    yield part


def _too_many(asked: Sequence[Json], station: Station, limit: str, member: str) -> Refuse | None:
    """B05.FR.11, B06.FR.16."""
    most = station.variables.get_int(limit)
    return Refuse("OccurrenceConstraintViolation", f"{member}: at most {most}") if len(asked) > most else None


def _address(data: Json) -> Address:
    """Component and variable of one item; an empty instance is none (B06.FR.15)."""
    component, variable = data["component"], data["variable"]
    evse = component.get("evse", {})
    return Address(
        component["name"],
        variable["name"],
        component.get("instance", ""),
        variable.get("instance", ""),
        evse.get("id"),
        evse.get("connectorId"),
    )


def _result(data: Json, outcome: Outcome, reason: str, why: str = "") -> Json:
    """What both results share: the item as it was asked for (B05.FR.02, B06.FR.02), and what came of it."""
    result: Json = {
        "attributeStatus": _STATUS[outcome],
        "attributeType": data.get("attributeType", ACTUAL),  # B05.FR.12, B06.FR.11
        "component": data["component"],
        "variable": data["variable"],
    }
    if reason:
        result["attributeStatusInfo"] = {"reasonCode": reason, **({"additionalInfo": why} if why else {})}
    return result


def _report_data(row: Row) -> Json:
    address = row.address
    component: dict[str, Any] = {"name": address.component}
    if address.evse is not None:
        component["evse"] = {"id": address.evse}
        if address.connector is not None:
            component["evse"]["connectorId"] = address.connector
    attribute: Json = {
        "type": row.attribute,
        "mutability": str(row.mutability),
        "persistent": row.persistent,
        "constant": row.constant,
    }
    if row.value is not None:
        attribute["value"] = row.value
    characteristics: Json = {"dataType": str(row.data_type), "supportsMonitoring": row.supports_monitoring}
    optional = {"unit": row.unit, "minLimit": row.minimum, "maxLimit": row.maximum, "valuesList": row.values_list}
    characteristics |= {key: value for key, value in optional.items() if value not in ("", None)}
    return {
        "component": component,
        "variable": {"name": address.variable, **({"instance": address.instance} if address.instance else {})},
        "variableAttribute": [attribute],
        "variableCharacteristics": characteristics,
    }
