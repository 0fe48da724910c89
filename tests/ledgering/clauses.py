"""What OCPP 1.6 consists of, for the ledger: its numbered clauses, messages and configuration keys, in short words.

`open`: not built yet. `text`: a clause that asks nothing of a charge point. `absent`: optional, and not offered.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clause:
    id: str
    what: str
    stand: str = ""  # "", "open", "text" or "absent"


def _clauses(lines: str, prefix: str = "1.6 §") -> tuple[Clause, ...]:
    """A line each: number, words, and its stand in brackets where it has one."""
    found = []
    for line in lines.strip().splitlines():
        number, _, what = line.strip().partition(" ")
        what, _, stand = what.removesuffix("]").partition(" [")
        found.append(Clause(prefix + number, what, stand))
    return tuple(found)


CLAUSES = (
    *_clauses("""
2.2 conventions: names compared without case
3.2 feature profiles
3.3 general views of operation [text]
3.4 authorisation without the central system [text]
3.4.1 authorisation cache
3.4.2 local authorisation list
3.4.3 list before cache, and their conflict
3.4.4 unknown tokens while offline
3.5 transaction and energy
3.6 order and repetition of transaction messages
3.6.1 transaction messages that are answered with an error
3.7 connector numbering
3.8 tokens
3.9 parent token
3.10 reservations [text]
3.11 vendor-specific data [text]
3.12.1 purposes of charging profiles
3.12.2 stacking
3.12.3 combining purposes
3.12.4 use cases of smart charging [text]
3.12.5 keys of smart charging
3.12.6 smart charging while offline
3.12.7 an example [text]
4.1 Authorize
4.2 BootNotification
4.3 DataTransfer, from the charge point [absent]
4.4 DiagnosticsStatusNotification [open]
4.5 FirmwareStatusNotification [open]
4.6 Heartbeat
4.7 MeterValues
4.8 StartTransaction
4.9 StatusNotification
4.10 StopTransaction
5.1 CancelReservation
5.2 ChangeAvailability
5.3 ChangeConfiguration
5.4 ClearCache
5.5 ClearChargingProfile
5.6 DataTransfer, from the central system
5.7 GetCompositeSchedule
5.8 GetConfiguration
5.9 GetDiagnostics [open]
5.10 GetLocalListVersion
5.11 RemoteStartTransaction
5.12 RemoteStopTransaction
5.13 ReserveNow
5.14 Reset
5.15 SendLocalList
5.16 SetChargingProfile
5.16.1 a profile at the start of a transaction
5.16.2 a profile in a remote start
5.16.3 a profile during a transaction
5.16.4 a profile outside of a transaction
5.17 TriggerMessage
5.18 UnlockConnector
5.19 UpdateFirmware [open]
7.1 AuthorizationData
7.2 AuthorizationStatus
7.3 AvailabilityStatus
7.4 AvailabilityType
7.5 CancelReservationStatus
7.6 ChargePointErrorCode
7.7 ChargePointStatus
7.8 ChargingProfile
7.9 ChargingProfileKindType
7.10 ChargingProfilePurposeType
7.11 ChargingProfileStatus
7.12 ChargingRateUnitType
7.13 ChargingSchedule
7.14 ChargingSchedulePeriod
7.20 ClearCacheStatus
7.21 ClearChargingProfileStatus
7.22 ConfigurationStatus
7.23 DataTransferStatus
7.24 DiagnosticsStatus [open]
7.25 FirmwareStatus [open]
7.26 GetCompositeScheduleStatus
7.27 IdTagInfo
7.28 IdToken
7.29 KeyValue
7.30 Location [absent]
7.31 Measurand
7.32 MessageTrigger
7.33 MeterValue
7.34 Phase
7.35 ReadingContext
7.36 Reason
7.37 RecurrencyKindType
7.38 RegistrationStatus
7.39 RemoteStartStopStatus
7.40 ReservationStatus
7.41 ResetStatus
7.42 ResetType
7.43 SampledValue
7.44 TriggerMessageStatus
7.45 UnitOfMeasure
7.46 UnlockStatus
7.47 UpdateStatus
7.48 UpdateType
7.49 ValueFormat [absent]
8.1 download of firmware [open]
8.2 upload of diagnostics [open]
9 which keys there are
"""),
    *_clauses(
        """
3.1.1 the connection's address
3.1.2 subprotocol
3.1.3 an example of an opening request [text]
3.2 the server's answer
4.1.1 one call at a time
4.1.3 message types
4.1.4 message ids
4.2.1 Call
4.2.2 CallResult
4.2.3 CallError
6.2.1 encryption
6.2.2 authentication of the charge point
6.2.3 what is not secured [text]
7 AuthorizationKey, WebSocketPingInterval
""",
        "1.6J §",
    ),
)

MESSAGES = _clauses("""
4.1 Authorize
4.2 BootNotification
5.1 CancelReservation
5.2 ChangeAvailability
5.3 ChangeConfiguration
5.4 ClearCache
5.5 ClearChargingProfile
5.6 DataTransfer
4.4 DiagnosticsStatusNotification
4.5 FirmwareStatusNotification
5.7 GetCompositeSchedule
5.8 GetConfiguration
5.9 GetDiagnostics
5.10 GetLocalListVersion
4.6 Heartbeat
4.7 MeterValues
5.11 RemoteStartTransaction
5.12 RemoteStopTransaction
5.13 ReserveNow
5.14 Reset
5.15 SendLocalList
5.16 SetChargingProfile
4.8 StartTransaction
4.9 StatusNotification
4.10 StopTransaction
5.17 TriggerMessage
5.18 UnlockConnector
5.19 UpdateFirmware
""")
"""Each by the clause that tells how it is used."""

KEYS = _clauses("""
9.1.1 AllowOfflineTxForUnknownId
9.1.2 AuthorizationCacheEnabled
9.1.3 AuthorizeRemoteTxRequests
9.1.4 BlinkRepeat [absent]
9.1.5 ClockAlignedDataInterval
9.1.6 ConnectionTimeOut
9.1.7 GetConfigurationMaxKeys
9.1.8 HeartbeatInterval
9.1.9 LightIntensity [absent]
9.1.10 LocalAuthorizeOffline
9.1.11 LocalPreAuthorize
9.1.12 MaxEnergyOnInvalidId
9.1.13 MeterValuesAlignedData
9.1.14 MeterValuesAlignedDataMaxLength
9.1.15 MeterValuesSampledData
9.1.16 MeterValuesSampledDataMaxLength
9.1.17 MeterValueSampleInterval
9.1.18 MinimumStatusDuration
9.1.19 NumberOfConnectors
9.1.20 ResetRetries
9.1.21 ConnectorPhaseRotation
9.1.22 ConnectorPhaseRotationMaxLength
9.1.23 StopTransactionOnEVSideDisconnect
9.1.24 StopTransactionOnInvalidId
9.1.25 StopTxnAlignedData
9.1.26 StopTxnAlignedDataMaxLength
9.1.27 StopTxnSampledData
9.1.28 StopTxnSampledDataMaxLength
9.1.29 SupportedFeatureProfiles
9.1.30 SupportedFeatureProfilesMaxLength
9.1.31 TransactionMessageAttempts
9.1.32 TransactionMessageRetryInterval
9.1.33 UnlockConnectorOnEVSideDisconnect
9.1.34 WebSocketPingInterval
9.2.1 LocalAuthListEnabled
9.2.2 LocalAuthListMaxLength
9.2.3 SendLocalListMaxLength
9.3.1 ReserveConnectorZeroSupported
9.4.1 ChargeProfileMaxStackLevel
9.4.2 ChargingScheduleAllowedChargingRateUnit
9.4.3 ChargingScheduleMaxPeriods
9.4.4 ConnectorSwitch3to1PhaseSupported
9.4.5 MaxChargingProfilesInstalled
""")
