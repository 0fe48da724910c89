"""The registry's table: every variable once, with its name in OCPP 1.6 and its place in 2.x.

1.6 configuration keys (1.6 §9) and 2.x component variables (2.0.1 part 2, Referenced Components and Variables) are two
faces of the same values. A feature that is not there is not announced: an optional variable without behaviour is left
out, a required one of an absent block says `Available = false`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a value's text holds; the words are those of 2.x DataEnumType."""

    TEXT = "string"
    INT = "integer"
    DECIMAL = "decimal"
    BOOL = "boolean"
    TIME = "dateTime"
    OPTION = "OptionList"  # one of the choices
    MEMBERS = "MemberList"  # a set of the choices
    SEQUENCE = "SequenceList"  # some of the choices, in order of preference


class Access(StrEnum):
    """What the CSMS may do; the words are those of 2.x MutabilityEnumType."""

    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"
    WRITE_ONLY = "WriteOnly"


class Source(StrEnum):
    """Where the value comes from."""

    SETTING = "setting"  # kept: default, then configuration file, then what the backend set
    FIXED = "fixed"  # this build's own property
    FACT = "fact"  # the station's state or make, told in `facts`


class Scope(StrEnum):
    STATION = "station"
    EVSE = "evse"
    CONNECTOR = "connector"


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable. `default` is canonical text (lists: comma-separated). `key` is its name in 1.6, `place` that in
    2.x as `Component.Variable` or `Component.Variable[instance]`; either may be empty, not both.

    `low` and `high` bound integers, `shortest` and `longest` the length of a text. `choices16`: those that only 1.6
    may set beside `choices`. `summary`: part of the 2.x SummaryInventory. `sockets`: on a station with fixed cables
    only it is read-only and false.
    """

    name: str
    kind: Kind
    default: str
    key: str
    place: str
    access: Access = Access.READ_WRITE
    source: Source = Source.SETTING
    scope: Scope = Scope.STATION
    unit: str = ""
    low: int | None = None
    high: int | None = None
    shortest: int = 0
    longest: int = 255
    choices: tuple[str, ...] = ()
    choices16: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    may_be_empty: bool = True
    reboot: bool = False
    summary: bool = False
    sockets: bool = False

    @property
    def component(self) -> str:
        return self.place.partition(".")[0]

    @property
    def variable(self) -> str:
        return self.place.partition(".")[2].partition("[")[0]

    @property
    def instance(self) -> str:
        return self.place.partition("[")[2].removesuffix("]")


DAY = 86_400
REGISTER = "Energy.Active.Import.Register"
MEASURANDS = (
    REGISTER,
    "Energy.Active.Export.Register",
    "Power.Active.Import",
    "Current.Import",
    "Current.Offered",
    "Voltage",
    "Frequency",
)
PHASED = tuple(f"{name}.L{n}" for name in ("Current.Import", "Voltage") for n in (1, 2, 3))  # 1.6 §9.1.15
BAY = "ParkingBayOccupancy"  # a choice only where every outlet has a detector in its bay
TX_POINTS = (
    BAY,
    "EVConnected",
    "Authorized",
    "PowerPathClosed",
    "EnergyTransfer",
)  # no meter signs: no DataSigned
AVAILABILITY = ("Available", "Occupied", "Reserved", "Unavailable", "Faulted")
TRANSFERS = ("HTTP", "HTTPS", "FTP", "FTPS", "SFTP")

PROFILES = "Core,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"  # of 1.6 (§3.2)
ROTATIONS_MOST = 30
_ROTATION = r"\d{1,3}\.(NotApplicable|Unknown|RST|RTS|SRT|STR|TRS|TSR)"
_ROTATIONS = re.compile(rf"{_ROTATION}(,\s*{_ROTATION}){{0,{ROTATIONS_MOST - 1}}}", re.ASCII)


def _seconds(name: str, default: int, key: str, place: str, low: int = 0, high: int = DAY) -> Entry:
    return Entry(name, Kind.INT, str(default), key, place, unit="s", low=low, high=high)


def _count(name: str, default: int, key: str, place: str, low: int, high: int) -> Entry:
    return Entry(name, Kind.INT, str(default), key, place, low=low, high=high)


def _switch(name: str, default: bool, key: str, place: str, sockets: bool = False) -> Entry:
    return Entry(name, Kind.BOOL, str(default).lower(), key, place, sockets=sockets)


def _measurands(name: str, default: str, key: str, place: str) -> Entry:
    return Entry(name, Kind.MEMBERS, default, key, place, choices=MEASURANDS, choices16=PHASED if key else ())


def _fixed(
    name: str, kind: Kind, value: str, key: str, place: str, scope: Scope = Scope.STATION, choices: tuple[str, ...] = ()
) -> Entry:
    return Entry(name, kind, value, key, place, Access.READ_ONLY, Source.FIXED, scope, choices=choices)


def _fact(
    name: str, kind: Kind, key: str, place: str, scope: Scope = Scope.STATION, unit: str = "", longest: int = 255
) -> Entry:
    return Entry(name, kind, "", key, place, Access.READ_ONLY, Source.FACT, scope, unit, longest=longest)


def _state(name: str, component: str, scope: Scope) -> Entry:
    place = f"{component}.AvailabilityState"
    return Entry(
        name, Kind.OPTION, "", "", place, Access.READ_ONLY, Source.FACT, scope, choices=AVAILABILITY, summary=True
    )


def _problem(name: str, component: str, scope: Scope) -> Entry:
    return Entry(name, Kind.BOOL, "", "", f"{component}.Problem", Access.READ_ONLY, Source.FACT, scope, summary=True)


_RETRY = "RetryBackOff"
_SETTINGS = (
    # ---- the link
    _seconds("heartbeat_interval", 300, "HeartbeatInterval", "OCPPCommCtrlr.HeartbeatInterval", low=1, high=30 * DAY),
    _seconds("websocket_ping_interval", 30, "WebSocketPingInterval", "OCPPCommCtrlr.WebSocketPingInterval"),
    Entry(
        "message_timeout",
        Kind.INT,
        "30",
        "",
        "OCPPCommCtrlr.MessageTimeout[Default]",
        access=Access.READ_ONLY,
        unit="s",
        low=5,
        high=600,
    ),
    _count(
        "transaction_attempts",
        3,
        "TransactionMessageAttempts",
        "OCPPCommCtrlr.MessageAttempts[TransactionEvent]",
        1,
        100,
    ),
    _seconds(
        "transaction_retry_interval",
        60,
        "TransactionMessageRetryInterval",
        "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]",
    ),
    _seconds("minimum_status_duration", 0, "MinimumStatusDuration", "", high=3600),
    _seconds("offline_threshold", 60, "", "OCPPCommCtrlr.OfflineThreshold"),
    _seconds(
        "retry_backoff_wait_minimum",
        5,
        "RetryBackOffWaitMinimum",
        "OCPPCommCtrlr.RetryBackOffWaitMinimum",
        low=1,
        high=3600,
    ),
    _seconds(
        "retry_backoff_random_range", 10, "RetryBackOffRandomRange", "OCPPCommCtrlr.RetryBackOffRandomRange", high=3600
    ),
    _count("retry_backoff_repeat_times", 5, "RetryBackOffRepeatTimes", "OCPPCommCtrlr.RetryBackOffRepeatTimes", 0, 10),
    Entry(
        "network_priority",
        Kind.SEQUENCE,
        "1",
        "",
        "OCPPCommCtrlr.NetworkConfigurationPriority",
        choices=("1",),
        may_be_empty=False,
    ),
    _count("network_connection_attempts", 3, "", "OCPPCommCtrlr.NetworkProfileConnectionAttempts", 1, 100),
    _count("reset_retries", 1, "ResetRetries", "OCPPCommCtrlr.ResetRetries", 0, 10),
    Entry(
        "basic_auth_password",  # "hex:" and digits: bytes, as 1.6 has them (see `variables.HEX_KEY`)
        Kind.TEXT,
        "",
        "AuthorizationKey",
        "SecurityCtrlr.BasicAuthPassword",
        access=Access.WRITE_ONLY,
        shortest=16,
        longest=64,
    ),
    _switch("tls_wildcards", False, "AllowCentralSystemTLSWildcards", "SecurityCtrlr.AllowCSMSTLSWildcards"),
    Entry("organization_name", Kind.TEXT, "", "", "SecurityCtrlr.OrganizationName", longest=64),
    Entry(
        "time_sources",
        Kind.SEQUENCE,
        "NTP,Heartbeat",
        "",
        "ClockCtrlr.TimeSource",
        choices=("NTP", "Heartbeat"),
        may_be_empty=False,
    ),
    # ---- who may charge
    _switch("authorize_remote_start", False, "AuthorizeRemoteTxRequests", "AuthCtrlr.AuthorizeRemoteStart"),
    _switch("local_authorize_offline", True, "LocalAuthorizeOffline", "AuthCtrlr.LocalAuthorizeOffline"),
    _switch("local_pre_authorize", False, "LocalPreAuthorize", "AuthCtrlr.LocalPreAuthorize"),
    _switch("offline_unknown_ids", False, "AllowOfflineTxForUnknownId", "AuthCtrlr.OfflineTxForUnknownIdEnabled"),
    _switch("auth_cache_enabled", True, "AuthorizationCacheEnabled", "AuthCacheCtrlr.Enabled"),
    _switch("local_list_enabled", True, "LocalAuthListEnabled", ""),
    # ---- the transaction
    _seconds("connection_timeout", 60, "ConnectionTimeOut", "TxCtrlr.EVConnectionTimeOut", low=1),
    Entry(
        "tx_start_points",
        Kind.MEMBERS,
        "PowerPathClosed",
        "",
        "TxCtrlr.TxStartPoint",
        choices=TX_POINTS,
        may_be_empty=False,
    ),
    Entry(
        "tx_stop_points",
        Kind.MEMBERS,
        "EVConnected,Authorized",
        "",
        "TxCtrlr.TxStopPoint",
        choices=TX_POINTS,
        may_be_empty=False,
    ),
    # 0: none is resumed. Where no battery-backed clock measures the outage, none is either.
    _seconds("resumption_timeout", 0, "", "TxCtrlr.ResumptionTimeout"),
    _switch("tx_before_accepted", True, "", "TxCtrlr.TxBeforeAcceptedEnabled"),
    _switch("stop_on_ev_disconnect", True, "StopTransactionOnEVSideDisconnect", "TxCtrlr.StopTxOnEVSideDisconnect"),
    _switch("stop_on_invalid_id", True, "StopTransactionOnInvalidId", "TxCtrlr.StopTxOnInvalidId"),
    Entry(
        "max_energy_on_invalid_id",
        Kind.INT,
        "0",
        "MaxEnergyOnInvalidId",
        "TxCtrlr.MaxEnergyOnInvalidId",
        unit="Wh",
        low=0,
        high=1_000_000,
    ),
    _switch(
        "unlock_on_ev_disconnect",
        True,
        "UnlockConnectorOnEVSideDisconnect",
        "OCPPCommCtrlr.UnlockOnEVSideDisconnect",
        sockets=True,
    ),
    # ---- meter values. 1.6 StopTransaction carries the final register anyway, so StopTxnSampledData starts empty,
    # while 2.x TxEndedMeasurands is where that register travels: two values, not two faces of one.
    _seconds("sample_interval", 60, "MeterValueSampleInterval", "SampledDataCtrlr.TxUpdatedInterval"),
    _measurands("sampled_measurands", REGISTER, "MeterValuesSampledData", "SampledDataCtrlr.TxUpdatedMeasurands"),
    _measurands("started_measurands", REGISTER, "", "SampledDataCtrlr.TxStartedMeasurands"),
    _measurands("ended_measurands", REGISTER, "", "SampledDataCtrlr.TxEndedMeasurands"),
    _seconds("ended_interval", 0, "", "SampledDataCtrlr.TxEndedInterval"),
    _measurands("stop_measurands", "", "StopTxnSampledData", ""),
    _seconds("aligned_interval", 0, "ClockAlignedDataInterval", "AlignedDataCtrlr.Interval"),
    _measurands("aligned_measurands", REGISTER, "MeterValuesAlignedData", "AlignedDataCtrlr.Measurands"),
    _measurands("aligned_ended_measurands", "", "StopTxnAlignedData", "AlignedDataCtrlr.TxEndedMeasurands"),
    _seconds("aligned_ended_interval", 0, "", "AlignedDataCtrlr.TxEndedInterval"),
    Entry(
        "phase_rotation",
        Kind.TEXT,
        "0.Unknown",
        "ConnectorPhaseRotation",
        "",
        longest=500,
        pattern=_ROTATIONS,
        may_be_empty=False,
    ),
)

_MOST = str(len(MEASURANDS) + len(PHASED))
_FIXED = (
    _fixed("get_configuration_max_keys", Kind.INT, "100", "GetConfigurationMaxKeys", ""),
    _fixed("feature_profiles", Kind.MEMBERS, PROFILES, "SupportedFeatureProfiles", ""),
    _fixed("feature_profiles_most", Kind.INT, "6", "SupportedFeatureProfilesMaxLength", ""),
    _fixed("phase_rotation_most", Kind.INT, str(ROTATIONS_MOST), "ConnectorPhaseRotationMaxLength", ""),
    _fixed("local_list_most", Kind.INT, "5000", "LocalAuthListMaxLength", ""),
    _fixed("send_list_most", Kind.INT, "1000", "SendLocalListMaxLength", ""),
    _fixed("reserve_any", Kind.BOOL, "true", "ReserveConnectorZeroSupported", ""),
    _fixed("profile_levels", Kind.INT, "9", "ChargeProfileMaxStackLevel", ""),
    _fixed("profile_units", Kind.MEMBERS, "Current,Power", "ChargingScheduleAllowedChargingRateUnit", ""),
    _fixed("profile_periods", Kind.INT, "1000", "ChargingScheduleMaxPeriods", ""),
    _fixed("profiles_most", Kind.INT, "20", "MaxChargingProfilesInstalled", ""),
    _fixed("sampled_measurands_most", Kind.INT, _MOST, "MeterValuesSampledDataMaxLength", ""),
    _fixed("aligned_measurands_most", Kind.INT, _MOST, "MeterValuesAlignedDataMaxLength", ""),
    _fixed("stop_measurands_most", Kind.INT, _MOST, "StopTxnSampledDataMaxLength", ""),
    _fixed("aligned_ended_measurands_most", Kind.INT, _MOST, "StopTxnAlignedDataMaxLength", ""),
    _fixed("network_profile", Kind.INT, "1", "", "OCPPCommCtrlr.ActiveNetworkProfile"),
    _fixed("file_transfers", Kind.MEMBERS, "", "", "OCPPCommCtrlr.FileTransferProtocols", choices=TRANSFERS),
    _fixed("get_variables_items", Kind.INT, "100", "", "DeviceDataCtrlr.ItemsPerMessage[GetVariables]"),
    _fixed("set_variables_items", Kind.INT, "100", "", "DeviceDataCtrlr.ItemsPerMessage[SetVariables]"),
    _fixed("get_report_items", Kind.INT, "100", "", "DeviceDataCtrlr.ItemsPerMessage[GetReport]"),
    _fixed("get_variables_bytes", Kind.INT, "65536", "", "DeviceDataCtrlr.BytesPerMessage[GetVariables]"),
    _fixed("set_variables_bytes", Kind.INT, "65536", "", "DeviceDataCtrlr.BytesPerMessage[SetVariables]"),
    _fixed("get_report_bytes", Kind.INT, "65536", "", "DeviceDataCtrlr.BytesPerMessage[GetReport]"),
    _fixed("certificates", Kind.INT, "0", "", "SecurityCtrlr.CertificateEntries"),
    _fixed("auth_cache_available", Kind.BOOL, "true", "", "AuthCacheCtrlr.Available"),
    _fixed("sampled_available", Kind.BOOL, "true", "", "SampledDataCtrlr.Available"),
    _fixed("aligned_available", Kind.BOOL, "true", "", "AlignedDataCtrlr.Available"),
    _fixed("local_list_available", Kind.BOOL, "false", "", "LocalAuthListCtrlr.Available"),
    _fixed("reservation_available", Kind.BOOL, "false", "", "ReservationCtrlr.Available"),
    _fixed("smart_charging_available", Kind.BOOL, "false", "", "SmartChargingCtrlr.Available"),
    _fixed("tariff_available", Kind.BOOL, "false", "", "TariffCostCtrlr.Available[Tariff]"),
    _fixed("cost_available", Kind.BOOL, "false", "", "TariffCostCtrlr.Available[Cost]"),
    _fixed("monitoring_available", Kind.BOOL, "false", "", "MonitoringCtrlr.Available"),
    _fixed("display_available", Kind.BOOL, "false", "", "DisplayMessageCtrlr.Available"),
    _fixed("station_available", Kind.BOOL, "true", "", "ChargingStation.Available"),
    _fixed("evse_available", Kind.BOOL, "true", "", "EVSE.Available", scope=Scope.EVSE),
    _fixed("evse_allow_reset", Kind.BOOL, "true", "", "EVSE.AllowReset", scope=Scope.EVSE),
    _fixed("connector_available", Kind.BOOL, "true", "", "Connector.Available", scope=Scope.CONNECTOR),
)

_FACTS = (
    _fact("connectors", Kind.INT, "NumberOfConnectors", ""),
    _fact("phase_switching", Kind.BOOL, "ConnectorSwitch3to1PhaseSupported", ""),
    _fact("now", Kind.TIME, "", "ClockCtrlr.DateTime"),
    _fact("station_id", Kind.TEXT, "", "SecurityCtrlr.Identity", longest=48),
    _fact("security_profile", Kind.INT, "", "SecurityCtrlr.SecurityProfile"),
    _fact("station_vendor", Kind.TEXT, "", "ChargingStation.VendorName", longest=50),
    _fact("station_model", Kind.TEXT, "", "ChargingStation.Model", longest=20),
    _fact("station_serial", Kind.TEXT, "", "ChargingStation.SerialNumber", longest=25),
    _fact("station_phases", Kind.INT, "", "ChargingStation.SupplyPhases"),
    _state("station_state", "ChargingStation", Scope.STATION),
    _problem("station_problem", "ChargingStation", Scope.STATION),
    _state("evse_state", "EVSE", Scope.EVSE),
    _problem("evse_problem", "EVSE", Scope.EVSE),
    _fact("evse_power", Kind.DECIMAL, "", "EVSE.Power", Scope.EVSE, unit="W"),
    _fact("evse_phases", Kind.INT, "", "EVSE.SupplyPhases", Scope.EVSE),
    _state("connector_state", "Connector", Scope.CONNECTOR),
    _problem("connector_problem", "Connector", Scope.CONNECTOR),
    _fact("connector_type", Kind.TEXT, "", "Connector.ConnectorType", Scope.CONNECTOR),
    _fact("connector_phases", Kind.INT, "", "Connector.SupplyPhases", Scope.CONNECTOR),
)

TABLE: tuple[Entry, ...] = (*_SETTINGS, *_FIXED, *_FACTS)
