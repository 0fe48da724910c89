from __future__ import annotations

from typing import Any

import pytest

from chargerd.lab import schema
from tests.lab.station import BOOT, V16, V21, V201, event201, start16


def test_actions_of_each_version() -> None:
    assert {"StartTransaction", "SecurityEventNotification"} <= schema.actions(V16)
    assert {"TransactionEvent", "NotifyReport"} <= schema.actions(V201)
    assert [len(schema.actions(version)) for version in (V16, V201, V21)] == [39, 64, 90]


@pytest.mark.parametrize(
    ("version", "action", "payload", "code"),
    [
        (V16, "Heartbeat", {}, None),
        (V16, "StartTransaction", start16(), None),
        (V201, "TransactionEvent", event201("Started", 0, 0, 1.5), None),
        (V201, "BootNotification", BOOT[V201], None),
        (V16, "Heartbeat", {"x": 1}, "FormationViolation"),
        (V201, "Heartbeat", {"x": 1}, "FormatViolation"),
        (V16, "StartTransaction", {"connectorId": 1}, "OccurenceConstraintViolation"),
        (V201, "Authorize", {}, "OccurrenceConstraintViolation"),
        (V16, "StartTransaction", start16() | {"meterStart": 1.5}, "TypeConstraintViolation"),
        (V16, "StartTransaction", start16() | {"meterStart": None}, "TypeConstraintViolation"),
        (V16, "StartTransaction", start16(tag="x" * 21), "PropertyConstraintViolation"),
        (V16, "StartTransaction", start16() | {"timestamp": "yesterday"}, "PropertyConstraintViolation"),
        (V16, "StartTransaction", start16() | {"timestamp": "2026-02-30T00:00:00Z"}, "PropertyConstraintViolation"),
        (V16, "StartTransaction", start16() | {"timestamp": "2026-02-03T00:00:00"}, "PropertyConstraintViolation"),
        (V21, "TransactionEvent", event201("Started", 0, 0, 1.5), None),
        (V21, "Reset", {"type": "ImmediateAndResume"}, None),
        (V201, "Reset", {"type": "ImmediateAndResume"}, "PropertyConstraintViolation"),
        (V21, "Heartbeat", {"x": 1}, "FormatViolation"),
        (V201, "TransactionEvent", event201("Begun", 0, 0), "PropertyConstraintViolation"),
        (V201, "TransactionEvent", event201("Started", 0, 0) | {"meterValue": []}, "OccurrenceConstraintViolation"),
    ],
)
def test_each_kind_of_fault_has_its_code(version: str, action: str, payload: dict[str, Any], code: str | None) -> None:
    fault = schema.fault(version, action, payload)
    assert (fault and fault.code) == code
    assert fault is None or fault.code in schema.ERROR_CODES[version]


@pytest.mark.parametrize(("limit", "good"), [(6.3, True), (21.4, True), (16, True), (6.25, False)])
def test_tenths_are_decimal(limit: float, good: bool) -> None:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}
    answer = {"status": "Accepted", "connectorId": 1, "chargingSchedule": schedule}
    assert (schema.fault(V16, "GetCompositeSchedule", answer, response=True) is None) is good


def test_the_text_is_short() -> None:
    fault = schema.fault(V16, "Authorize", {"idTag": "x" * 5000})
    assert fault is not None and len(fault.text) <= 255
