"""The configuration keys of OCPP 1.6 (§9): which there are, what may be set, and what a set one says afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from chargerd.core.events import SetAsked
from chargerd.core.variables import find16
from chargerd.core.variables_table import MEASURANDS, PHASED, PROFILES, ROTATIONS_MOST
from chargerd.ocpp.dialect import Ask, Refuse
from tests.ledgering.clauses import KEYS
from tests.ocpp.v16.build import DIALECT, FACTS, station

HERE = station()
WRITABLE = {  # key → a lawful value beside its default, and lawless ones
    "AllowOfflineTxForUnknownId": ("true", ("", "1", "yes")),
    "AuthorizationCacheEnabled": ("false", ("0",)),
    "AuthorizeRemoteTxRequests": ("true", ("on",)),
    "ClockAlignedDataInterval": ("900", ("-1", "a", "86401")),
    "ConnectionTimeOut": ("45", ("0", "-5", "")),
    "HeartbeatInterval": ("600", ("0", "-1", "1.5")),
    "LocalAuthorizeOffline": ("false", ("2",)),
    "LocalPreAuthorize": ("true", ("2",)),
    "MaxEnergyOnInvalidId": ("5000", ("-1",)),
    "MeterValuesAlignedData": ("Voltage,Current.Import", ("SoC",)),
    "MeterValuesSampledData": ("Power.Active.Import", ("Nonsense",)),
    "MeterValueSampleInterval": ("30", ("-1",)),
    "MinimumStatusDuration": ("3", ("-1",)),
    "ResetRetries": ("2", ("-1",)),
    "ConnectorPhaseRotation": ("0.RST,1.RST,2.RTS", ("1.XYZ", "RST", "")),
    "StopTransactionOnEVSideDisconnect": ("false", ("maybe",)),
    "StopTransactionOnInvalidId": ("false", ("maybe",)),
    "StopTxnAlignedData": ("Voltage", ("SoC",)),
    "StopTxnSampledData": ("Voltage", ("SoC",)),
    "TransactionMessageAttempts": ("5", ("0", "-1")),
    "TransactionMessageRetryInterval": ("10", ("-1",)),
    "UnlockConnectorOnEVSideDisconnect": ("false", ("maybe",)),
    "WebSocketPingInterval": ("0", ("-1",)),
    "LocalAuthListEnabled": ("false", ("maybe",)),
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "ChangeAvailability": {"connectorId": 1, "type": "Operative"},
    "ClearCache": {},
    "DataTransfer": {"vendorId": "nobody"},
    "GetConfiguration": {},
    "Reset": {"type": "Soft"},
    "UnlockConnector": {"connectorId": 1},
    "GetLocalListVersion": {},
    "SendLocalList": {"listVersion": 1, "updateType": "Full"},
    "ReserveNow": {"connectorId": 1, "expiryDate": "2027-01-15T08:00:00Z", "idTag": "A", "reservationId": 1},
    "CancelReservation": {"reservationId": 1},
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
    "ClearChargingProfile": {},
    "GetCompositeSchedule": {"connectorId": 1, "duration": 60},
    "GetDiagnostics": {"location": "ftp://example.com/"},
    "UpdateFirmware": {"location": "ftp://example.com/", "retrieveDate": "2027-01-15T08:00:00Z"},
}
THERE = {key.what: key.id for key in KEYS if find16(key.what) is not None}


def told(*names: str) -> dict[str, Any]:
    reply: Any = DIALECT.handle(1, "GetConfiguration", {"key": list(names)} if names else {}, {}, HERE, FACTS)
    return {entry["key"]: entry for entry in reply.payload["configurationKey"]}


def change(key: str, value: str) -> Any:
    return DIALECT.handle(1, "ChangeConfiguration", {"key": key, "value": value}, {}, HERE, FACTS)


def test_every_key_is_there_or_is_known_not_to_be() -> None:
    absent = {key.what for key in KEYS if key.what not in THERE}
    assert absent == {key.what for key in KEYS if key.stand in ("absent", "open")}


@pytest.mark.parametrize("key", WRITABLE)
def test_what_may_be_set_is_set_by_its_own_name_in_any_letter_case(key: str) -> None:
    value, lawless = WRITABLE[key]
    entry = find16(key)
    assert entry is not None and not told(key)[key]["readonly"]
    asked = change(key.upper(), value)
    assert isinstance(asked, Ask) and asked.event == SetAsked(1, ((entry.name, value),))
    for text in lawless:
        assert change(key, text).payload == {"status": "Rejected"}, text


def test_nothing_else_may_be_set() -> None:
    for key in THERE.keys() - WRITABLE.keys():
        assert told(key)[key]["readonly"], key
        assert change(key, told(key)[key].get("value", "true")).payload == {"status": "Rejected"}


@pytest.mark.req("1.6 §9.1.14", "1.6 §9.1.16", "1.6 §9.1.26", "1.6 §9.1.28")
@pytest.mark.parametrize("key", [key for key in THERE if key.endswith("Data") and not key.startswith("Clock")])
def test_a_list_of_measurands_takes_as_many_as_it_says(key: str) -> None:
    assert told(f"{key}MaxLength")[f"{key}MaxLength"]["value"] == str(len(MEASURANDS + PHASED))
    assert isinstance(change(key, ",".join(MEASURANDS + PHASED)), Ask)
    assert change(key, "Voltage.L4").payload == change(key, "Frequency.L1").payload == {"status": "Rejected"}


@pytest.mark.req("1.6 §9.1.22", "1.6 §9.1.21")
def test_as_many_rotations_as_are_said() -> None:
    assert told()["ConnectorPhaseRotationMaxLength"]["value"] == str(ROTATIONS_MOST)
    rows = [f"{n}.RST" for n in range(ROTATIONS_MOST + 1)]
    assert isinstance(change("ConnectorPhaseRotation", ",".join(rows[:-1])), Ask)
    assert change("ConnectorPhaseRotation", ",".join(rows)).payload == {"status": "Rejected"}


@pytest.mark.req("1.6 §9.1.19", "1.6 §9.1.30", "1.6 §3.7")
def test_what_the_station_is() -> None:
    assert told()["NumberOfConnectors"]["value"] == str(len(HERE.outlets))
    assert len(PROFILES.split(",")) <= int(told()["SupportedFeatureProfilesMaxLength"]["value"])


@pytest.mark.req("1.6 §9.1.7")
def test_more_keys_than_may_be_asked_for_at_once() -> None:
    most = int(told()["GetConfigurationMaxKeys"]["value"])
    assert most >= len(told())
    refused = DIALECT.handle(1, "GetConfiguration", {"key": ["x"] * (most + 1)}, {}, HERE, FACTS)
    assert isinstance(refused, Refuse)


@pytest.mark.req("1.6 §9.1.29", "1.6 §3.2")
@pytest.mark.parametrize(
    ("profile", "actions"),
    [
        ("Core", ("ChangeAvailability", "ClearCache", "DataTransfer", "GetConfiguration", "Reset", "UnlockConnector")),
        ("LocalAuthListManagement", ("GetLocalListVersion", "SendLocalList")),
        ("Reservation", ("ReserveNow", "CancelReservation")),
        ("RemoteTrigger", ("TriggerMessage",)),
        ("SmartCharging", ("ClearChargingProfile", "GetCompositeSchedule")),
        ("FirmwareManagement", ("GetDiagnostics", "UpdateFirmware")),
    ],
)
def test_a_profile_is_named_where_its_messages_are_served(profile: str, actions: tuple[str, ...]) -> None:
    served = {
        not isinstance(DIALECT.handle(1, action, EXAMPLES[action], {}, HERE, FACTS), Refuse) for action in actions
    }
    assert served == {profile in PROFILES.split(",")}
