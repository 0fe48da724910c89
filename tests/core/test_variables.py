"""The registry and its two faces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.variables import (
    ENTRIES,
    SETTINGS,
    Address,
    Base,
    Outcome,
    Variables,
    canonical,
    check,
    find2,
    find16,
    get2,
    keys16,
    report2,
    set2,
    set16,
)
from chargerd.core.variables_table import MEASURANDS, TABLE, Access, Kind, Scope, Source
from chargerd.ocpp import measurands, schemas
from hal.api import MeterReading

FACTS = {
    "outlets": "1.1,2.1,2.2",
    "connectors": "3",
    "tethered": "2.1",
    "now": "2026-11-22T18:00:00Z",
    "station_id": "CS-7",
    "evse_state.1": "Occupied",
    "evse_state.2": "Available",
    "evse_power_max.1": "22080",
    "connector_type.2.1": "cType2",
}
ALL_TETHERED = FACTS | {"tethered": "1.1,2.1,2.2"}
HEARTBEAT = Address("OCPPCommCtrlr", "HeartbeatInterval")
START = Variables()


# ---------------------------------------------------------------- the table


def test_names_keys_and_places_are_unique() -> None:
    keys = [entry.key.casefold() for entry in TABLE if entry.key]
    places = [(entry.place.casefold(), entry.scope) for entry in TABLE if entry.place]
    assert len(ENTRIES) == len(TABLE)
    assert len(set(keys)) == len(keys)
    assert len(set(places)) == len(places)
    assert all(entry.key or entry.place for entry in TABLE)


@pytest.mark.parametrize("entry", SETTINGS.values(), ids=lambda entry: entry.name)
def test_every_default_is_a_canonical_value(entry: Any) -> None:
    if entry.access is Access.WRITE_ONLY:
        assert entry.default == ""
    else:
        assert canonical(entry, entry.default) == entry.default


def test_only_settings_can_be_written() -> None:
    assert all(e.access is Access.READ_ONLY for e in TABLE if e.source is not Source.SETTING)


def test_every_measurand_that_may_be_asked_for_can_be_told() -> None:
    reading = MeterReading(0.0, 1.0, 2.0, (3.0, 3.0, 3.0), (230.0, 230.0, 230.0), 50.0, 4.0)
    told = {sample.measurand for sample in measurands.samples(reading, MEASURANDS, 16.0, 3)}
    assert told == set(MEASURANDS)


@pytest.mark.req("1.6 §9")
def test_every_required_core_key_is_there() -> None:
    required = [
        "AuthorizeRemoteTxRequests",
        "ClockAlignedDataInterval",
        "ConnectionTimeOut",
        "ConnectorPhaseRotation",
        "GetConfigurationMaxKeys",
        "HeartbeatInterval",
        "LocalAuthorizeOffline",
        "LocalPreAuthorize",
        "MeterValuesAlignedData",
        "MeterValuesSampledData",
        "MeterValueSampleInterval",
        "NumberOfConnectors",
        "ResetRetries",
        "StopTransactionOnEVSideDisconnect",
        "StopTransactionOnInvalidId",
        "StopTxnAlignedData",
        "StopTxnSampledData",
        "SupportedFeatureProfiles",
        "TransactionMessageAttempts",
        "TransactionMessageRetryInterval",
        "UnlockConnectorOnEVSideDisconnect",
    ]
    assert {key.key for key in keys16(START, FACTS)} >= set(required)


def test_every_required_variable_of_2_0_1_is_there() -> None:
    required = [
        "OCPPCommCtrlr.ActiveNetworkProfile",
        "OCPPCommCtrlr.MessageTimeout[Default]",
        "OCPPCommCtrlr.FileTransferProtocols",
        "OCPPCommCtrlr.NetworkConfigurationPriority",
        "OCPPCommCtrlr.NetworkProfileConnectionAttempts",
        "OCPPCommCtrlr.OfflineThreshold",
        "OCPPCommCtrlr.MessageAttempts[TransactionEvent]",
        "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]",
        "OCPPCommCtrlr.UnlockOnEVSideDisconnect",
        "OCPPCommCtrlr.ResetRetries",
        "DeviceDataCtrlr.ItemsPerMessage[GetReport]",
        "DeviceDataCtrlr.ItemsPerMessage[GetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[GetReport]",
        "DeviceDataCtrlr.BytesPerMessage[GetVariables]",
        "DeviceDataCtrlr.ItemsPerMessage[SetVariables]",
        "DeviceDataCtrlr.BytesPerMessage[SetVariables]",
        "ClockCtrlr.DateTime",
        "ClockCtrlr.TimeSource",
        "SecurityCtrlr.OrganizationName",
        "SecurityCtrlr.CertificateEntries",
        "SecurityCtrlr.SecurityProfile",
        "AuthCtrlr.AuthorizeRemoteStart",
        "AuthCtrlr.LocalAuthorizeOffline",
        "AuthCtrlr.LocalPreAuthorize",
        "TxCtrlr.EVConnectionTimeOut",
        "TxCtrlr.StopTxOnEVSideDisconnect",
        "TxCtrlr.TxStartPoint",
        "TxCtrlr.TxStopPoint",
        "TxCtrlr.StopTxOnInvalidId",
        "SampledDataCtrlr.TxEndedMeasurands",
        "SampledDataCtrlr.TxEndedInterval",
        "SampledDataCtrlr.TxStartedMeasurands",
        "SampledDataCtrlr.TxUpdatedMeasurands",
        "SampledDataCtrlr.TxUpdatedInterval",
        "AlignedDataCtrlr.Measurands",
        "AlignedDataCtrlr.Interval",
        "AlignedDataCtrlr.TxEndedMeasurands",
        "AlignedDataCtrlr.TxEndedInterval",
        "ChargingStation.AvailabilityState",
        "ChargingStation.Available",
        "ChargingStation.SupplyPhases",
        "EVSE.AvailabilityState",
        "EVSE.Available",
        "EVSE.Power",
        "EVSE.SupplyPhases",
        "Connector.Available",
        "Connector.ConnectorType",
        "Connector.SupplyPhases",
    ]
    assert {entry.place for entry in TABLE} >= set(required)


def test_what_is_not_there_says_so() -> None:
    off = ["LocalAuthListCtrlr", "ReservationCtrlr", "SmartChargingCtrlr", "MonitoringCtrlr", "DisplayMessageCtrlr"]
    assert [get2(START, FACTS, Address(name, "Available")).value for name in off] == ["false"] * len(off)
    profiles = ("Core", "LocalAuthListManagement", "Reservation", "SmartCharging", "RemoteTrigger")
    assert START.get_list("feature_profiles") == profiles


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("heartbeat_interval", " 007 ", "7"),
        ("heartbeat_interval", "+60", "60"),
        ("local_pre_authorize", "TRUE", "true"),
        ("sampled_measurands", "voltage , Frequency,Voltage", "Voltage,Frequency"),
        ("sampled_measurands", "", ""),
        ("time_sources", "Heartbeat,NTP", "Heartbeat,NTP"),
        ("phase_rotation", "0.RST,1.RST,2.STR", "0.RST,1.RST,2.STR"),
        ("basic_auth_password", " sixteen letters", " sixteen letters"),
    ],
)
def test_a_value_is_kept_in_its_canonical_form(name: str, text: str, kept: str) -> None:
    assert check(name, text) is None
    assert START.with_(name, text).get_text(name) == kept


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("heartbeat_interval", "0", "ValueTooLow"),
        ("heartbeat_interval", "2592001", "ValueTooHigh"),
        ("heartbeat_interval", "", "InvalidValue"),
        ("heartbeat_interval", "1.0", "InvalidValue"),
        ("heartbeat_interval", "1_0", "InvalidValue"),
        ("heartbeat_interval", "٣٠", "InvalidValue"),
        ("heartbeat_interval", "9" * 400, "InvalidValue"),
        ("websocket_ping_interval", "-1", "ValueTooLow"),
        ("local_pre_authorize", "1", "InvalidValue"),
        ("sampled_measurands", "Voltage,SoC", "InvalidValue"),
        ("sampled_measurands", "Voltage,,Frequency", "InvalidValue"),
        ("tx_start_points", "", "InvalidValue"),
        ("phase_rotation", "1.ABC", "InvalidValue"),
        ("phase_rotation", "", "InvalidValue"),
        ("basic_auth_password", "too short", "InvalidValue"),
        ("basic_auth_password", "x" * 65, "InvalidValue"),
        ("organization_name", "bell\x07", "InvalidValue"),
        ("organization_name", "x" * 1001, "TooLargeElement"),
    ],
)
def test_what_is_no_value_is_refused_with_a_reason(name: str, text: str, reason: str) -> None:
    refusal = check(name, text)
    assert refusal is not None and refusal.reason == reason
    with pytest.raises(ValueError, match=name):
        START.with_(name, text)


@given(st.sampled_from(sorted(SETTINGS)), st.text(max_size=30))
def test_any_text_is_refused_or_kept_as_something_stable(name: str, text: str) -> None:
    kept = canonical(SETTINGS[name], text)
    if isinstance(kept, str):
        assert canonical(SETTINGS[name], kept) == kept
        assert kept.isprintable()


def test_layers_default_file_and_what_was_set() -> None:
    base = START.starting({"heartbeat_interval": "50"})
    assert (START.get_int("heartbeat_interval"), base.get_int("heartbeat_interval")) == (300, 50)
    changed = base.with_("heartbeat_interval", "70")
    assert (base.get_int("heartbeat_interval"), changed.get_int("heartbeat_interval")) == (50, 70)
    assert (dict(base.overrides), dict(changed.overrides)) == ({}, {"heartbeat_interval": "70"})


def test_setting_what_is_set_already_is_no_change() -> None:
    changed = START.with_("heartbeat_interval", "300")
    assert dict(changed.overrides) == {"heartbeat_interval": "300"}, "a later file does not take it back"
    assert changed.with_("heartbeat_interval", " 300") is changed


def test_restoring_takes_what_this_build_still_takes() -> None:
    kept = {"heartbeat_interval": "70", "gone": "1", "sample_interval": "-5", "now": "x"}
    restored, dropped = START.restored(kept)
    assert dict(restored.overrides) == {"heartbeat_interval": "70"}
    assert dropped == ("gone", "sample_interval", "now")


def test_facts_and_unknown_names_are_no_settings() -> None:
    with pytest.raises(KeyError):
        START.get_text("now")
    with pytest.raises(KeyError):
        START.with_("feature_profiles", "Core")
    with pytest.raises(KeyError):
        check("nonsense", "1")


def test_a_secret_is_not_in_the_repr() -> None:
    assert "secret" not in repr(START.with_("basic_auth_password", "a secret of mine"))


# ---------------------------------------------------------------- OCPP 1.6


@pytest.mark.req("1.6 §5.8")
def test_all_keys_with_their_values() -> None:
    keys = {key.key: (key.readonly, key.value) for key in keys16(START, FACTS)}
    assert keys["HeartbeatInterval"] == (False, "300")
    assert keys["NumberOfConnectors"] == (True, "3")
    features = "Core,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
    assert keys["SupportedFeatureProfiles"] == (True, features)
    assert keys["MeterValuesSampledData"] == (False, "Energy.Active.Import.Register")
    assert keys["StopTxnSampledData"] == (False, "")
    assert not any("assword" in key for key in keys)


def test_a_key_is_found_in_any_letter_case() -> None:
    assert find16("heartbeatINTERVAL") is ENTRIES["heartbeat_interval"]
    assert find16("Heartbeat") is None


@pytest.mark.req("1.6 §5.3")
@pytest.mark.parametrize(
    ("key", "text", "outcome"),
    [
        ("connectiontimeout", "45", Outcome.ACCEPTED),
        ("ConnectionTimeOut", "soon", Outcome.REJECTED),
        ("WebSocketPingInterval", "-1", Outcome.REJECTED),
        ("NumberOfConnectors", "9", Outcome.REJECTED),
        ("SupportedFeatureProfiles", "Core", Outcome.REJECTED),
        ("BlinkRepeat", "3", Outcome.NOT_SUPPORTED),
    ],
)
def test_change_configuration(key: str, text: str, outcome: Outcome) -> None:
    change, after = set16(START, FACTS, key, text)
    assert change.outcome is outcome
    assert change.done == (outcome is Outcome.ACCEPTED)
    if change.done:
        assert after.get_text(change.name) == change.text == text
    else:
        assert after is START


def test_a_probe_with_measurands_that_are_not_there_leaves_the_old_value() -> None:
    probe = (
        "Current.Export,Current.Import,Current.Offered,Energy.Active.Export.Register,Energy.Active.Import.Register,"
        "Energy.Reactive.Export.Register,Energy.Reactive.Import.Register,Frequency,Power.Active.Export,"
        "Power.Active.Import,Power.Factor,Power.Offered,Power.Reactive.Export,Power.Reactive.Import,RPM,SoC,"
        "Temperature,Voltage"
    )
    change, after = set16(START, FACTS, "MeterValuesSampledData", probe)
    assert change.outcome is Outcome.REJECTED
    assert after.get_list("sampled_measurands") == ("Energy.Active.Import.Register",)


@pytest.mark.req("1.6 §9.1.15")
def test_a_phase_of_a_measurand_can_be_named_in_1_6_alone() -> None:
    place = Address("SampledDataCtrlr", "TxUpdatedMeasurands")
    change, after = set16(START, FACTS, "MeterValuesSampledData", "voltage.l1, Frequency, Voltage.L2")
    assert change.done
    told = {each.key: each.value for each in keys16(after, FACTS)}
    assert told["MeterValuesSampledData"] == "Voltage.L1,Frequency,Voltage.L2"
    assert get2(after, FACTS, place).value == "Voltage,Frequency"
    row = next(row for row in report2(after, FACTS, Base.FULL) if row.address == place)
    assert (row.value, row.values_list) == ("Voltage,Frequency", ",".join(MEASURANDS))
    assert set2(START, FACTS, place, "Actual", "Voltage.L1")[0].outcome is Outcome.REJECTED
    assert after.restored(after.overrides) == (after, ())


def test_the_two_faces_show_one_value() -> None:
    _, after = set16(START, FACTS, "MeterValuesSampledData", "Voltage")
    assert get2(after, FACTS, Address("SampledDataCtrlr", "TxUpdatedMeasurands")).value == "Voltage"
    _, after = set2(after, FACTS, Address("TxCtrlr", "EVConnectionTimeOut"), "Actual", "99")
    assert next(key.value for key in keys16(after, FACTS) if key.key == "ConnectionTimeOut") == "99"


def test_unlocking_is_fixed_where_every_cable_is() -> None:
    place = Address("OCPPCommCtrlr", "UnlockOnEVSideDisconnect")
    assert set16(START, FACTS, "UnlockConnectorOnEVSideDisconnect", "false")[0].outcome is Outcome.ACCEPTED
    assert set16(START, ALL_TETHERED, "UnlockConnectorOnEVSideDisconnect", "true")[0].outcome is Outcome.REJECTED
    assert get2(START, FACTS, place).value == "true"
    assert get2(START, ALL_TETHERED, place).value == "false"


# ---------------------------------------------------------------- OCPP 2.x


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (HEARTBEAT, "heartbeat_interval"),
        (Address("ocppcommctrlr", "heartbeatinterval"), "heartbeat_interval"),
        (Address("OCPPCommCtrlr", "MessageAttempts", instance="TransactionEvent"), "transaction_attempts"),
        (Address("EVSE", "Power", evse=2), "evse_power"),
        (Address("Connector", "ConnectorType", evse=2, connector=2), "connector_type"),
        (Address("OCPPCommCtrlr", "MessageAttempts"), Outcome.UNKNOWN_VARIABLE),
        (Address("OCPPCommCtrlr", "HeartbeatInterval", instance="x"), Outcome.UNKNOWN_VARIABLE),
        (Address("OCPPCommCtrlr", "Nonsense"), Outcome.UNKNOWN_VARIABLE),
        (Address("EVSE", "ConnectorType", evse=1), Outcome.UNKNOWN_VARIABLE),
        (Address("OCPPCommCtrlr", "HeartbeatInterval", component_instance="x"), Outcome.UNKNOWN_COMPONENT),
        (Address("OCPPCommCtrlr", "HeartbeatInterval", evse=1), Outcome.UNKNOWN_COMPONENT),
        (Address("EVSE", "Power"), Outcome.UNKNOWN_COMPONENT),
        (Address("EVSE", "Power", evse=3), Outcome.UNKNOWN_COMPONENT),
        (Address("EVSE", "Power", evse=1, connector=1), Outcome.UNKNOWN_COMPONENT),
        (Address("EVSE", "Power", connector=1), Outcome.UNKNOWN_COMPONENT),
        (Address("Connector", "ConnectorType", evse=1, connector=2), Outcome.UNKNOWN_COMPONENT),
        (Address("", ""), Outcome.UNKNOWN_COMPONENT),
    ],
)
@pytest.mark.req("B06.FR.06", "B06.FR.07", "B06.FR.15")
def test_addresses(address: Address, found: str | Outcome) -> None:
    assert find2(address, FACTS) == (found if isinstance(found, Outcome) else ENTRIES[found])


@pytest.mark.req("B06.FR.08", "B06.FR.09", "B06.FR.10", "B06.FR.13")
def test_get_variables() -> None:
    assert get2(START, FACTS, HEARTBEAT).value == "300"
    assert get2(START, FACTS, Address("EVSE", "AvailabilityState", evse=1)).value == "Occupied"
    assert get2(START, FACTS, Address("EVSE", "Power", evse=1)).value == ""
    assert get2(START, FACTS, HEARTBEAT, "Target").outcome is Outcome.NOT_SUPPORTED_ATTRIBUTE
    secret = get2(START.with_("basic_auth_password", "x" * 20), FACTS, Address("SecurityCtrlr", "BasicAuthPassword"))
    assert (secret.outcome, secret.value, secret.reason) == (Outcome.REJECTED, None, "WriteOnly")


@pytest.mark.req("B05.FR.04", "B05.FR.05", "B05.FR.06", "B05.FR.07", "B05.FR.08", "B05.FR.09", "B05.FR.10")
@pytest.mark.parametrize(
    ("address", "attribute", "text", "outcome", "reason"),
    [
        (HEARTBEAT, "Actual", "60", Outcome.ACCEPTED, ""),
        (HEARTBEAT, "MaxSet", "60", Outcome.NOT_SUPPORTED_ATTRIBUTE, ""),
        (HEARTBEAT, "Actual", "x", Outcome.REJECTED, "InvalidValue"),
        (HEARTBEAT, "Actual", "0", Outcome.REJECTED, "ValueTooLow"),
        (Address("Nonsense", "X"), "Actual", "0", Outcome.UNKNOWN_COMPONENT, ""),
        (Address("TxCtrlr", "X"), "Actual", "0", Outcome.UNKNOWN_VARIABLE, ""),
        (Address("ChargingStation", "Model"), "Actual", "x", Outcome.REJECTED, "ReadOnly"),
        (Address("OCPPCommCtrlr", "MessageTimeout", instance="Default"), "Actual", "9", Outcome.REJECTED, "ReadOnly"),
        (Address("SecurityCtrlr", "BasicAuthPassword"), "Actual", "x" * 16, Outcome.ACCEPTED, ""),
        (Address("SecurityCtrlr", "BasicAuthPassword"), "Actual", "hex:" + "00" * 20, Outcome.REJECTED, "InvalidValue"),
    ],
)
def test_set_variables(address: Address, attribute: str, text: str, outcome: Outcome, reason: str) -> None:
    change, after = set2(START, FACTS, address, attribute, text)
    assert (change.outcome, change.reason) == (outcome, reason)
    assert (dict(after.overrides) == {change.name: text}) if change.done else (after is START)


@pytest.mark.req("B07.FR.08", "B07.FR.03")
def test_the_full_report_has_every_variable_once_at_every_place() -> None:
    rows = report2(START.with_("basic_auth_password", "x" * 20), FACTS, Base.FULL)
    addresses = [row.address for row in rows]
    count = {Scope.STATION: 1, Scope.EVSE: 2, Scope.CONNECTOR: 3}
    assert len(set(addresses)) == len(addresses) == sum(count[entry.scope] for entry in TABLE if entry.place)
    assert all(find2(address, FACTS) is not None for address in addresses)
    by_address = {row.address: row for row in rows}
    assert by_address[Address("SecurityCtrlr", "BasicAuthPassword")].value is None
    power = by_address[Address("EVSE", "Power", evse=1)]
    assert (power.value, power.unit, power.maximum, power.data_type) == ("", "W", 22080.0, "decimal")
    sampled = by_address[Address("SampledDataCtrlr", "TxUpdatedMeasurands")]
    assert (sampled.data_type, sampled.values_list) == ("MemberList", ",".join(MEASURANDS))
    assert sampled.maximum == len(sampled.values_list)
    assert (by_address[HEARTBEAT].minimum, by_address[HEARTBEAT].mutability) == (1, "ReadWrite")


@pytest.mark.req("B07.FR.07")
def test_the_configuration_report_has_what_can_be_set() -> None:
    rows = report2(START, FACTS, Base.CONFIGURATION)
    assert HEARTBEAT in {row.address for row in rows}
    assert {row.mutability for row in rows} == {"ReadWrite", "WriteOnly"}
    places = {entry.place for entry in TABLE if entry.access is not Access.READ_ONLY and entry.place}
    assert len(rows) == len(places)
    assert len(report2(START, ALL_TETHERED, Base.CONFIGURATION)) == len(rows) - 1


@pytest.mark.req("B07.FR.09")
def test_the_summary_is_about_availability_and_problems() -> None:
    rows = report2(START, FACTS, Base.SUMMARY)
    assert {row.address.variable for row in rows} == {"AvailabilityState", "Problem"}
    assert {(row.address.evse, row.address.connector) for row in rows} == {
        (None, None),
        (1, None),
        (2, None),
        (1, 1),
        (2, 1),
        (2, 2),
    }


def test_every_row_fits_the_schema() -> None:
    full = report2(START, FACTS | {"evse_power.1": "11000.5"}, Base.FULL)
    data = []
    for row in full:
        a = row.address
        component: dict[str, Any] = {"name": a.component}
        if a.evse is not None:
            component["evse"] = {"id": a.evse} | ({"connectorId": a.connector} if a.connector else {})
        limits = {"minLimit": row.minimum, "maxLimit": row.maximum}
        attribute = {"type": row.attribute, "mutability": row.mutability, "persistent": row.persistent}
        data.append(
            {
                "component": component,
                "variable": {"name": a.variable} | ({"instance": a.instance} if a.instance else {}),
                "variableAttribute": [attribute | ({"value": row.value} if row.value is not None else {})],
                "variableCharacteristics": {
                    "dataType": row.data_type,
                    "supportsMonitoring": row.supports_monitoring,
                    **{name: limit for name, limit in limits.items() if limit is not None},
                    **({"valuesList": row.values_list} if row.values_list else {}),
                    **({"unit": row.unit} if row.unit else {}),
                },
            }
        )
    payload = {"requestId": 1, "generatedAt": "2026-11-22T18:00:00Z", "seqNo": 0, "reportData": data}
    assert schemas.check("2.0.1", "NotifyReport", "request", payload) is None


def test_values_fit_their_announced_lists() -> None:
    for row in report2(START, FACTS, Base.FULL):
        if row.data_type in (Kind.MEMBERS, Kind.SEQUENCE, Kind.OPTION) and row.value:
            assert set(row.value.split(",")) <= set(row.values_list.split(","))
            assert row.maximum is not None and len(row.value) <= row.maximum
