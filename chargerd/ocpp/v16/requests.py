"""What the CSMS may ask in OCPP 1.6 (§5), and how the station's answers are worded."""

from __future__ import annotations

from collections.abc import Mapping

from chargerd.core import local_list
from chargerd.core.charging import bounds
from chargerd.core.commands import Answer, Outcome
from chargerd.core.events import (
    AvailabilityAsked,
    BootStatus,
    CancelReservationAsked,
    ClearCacheAsked,
    CompositeAsked,
    ListSent,
    ProfilesCleared,
    ProfileSet,
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
from chargerd.core.profiles import Profile, Purpose, flaw
from chargerd.core.state import Station
from chargerd.core.token import Token
from chargerd.core.variables import Outcome as Setting
from chargerd.core.variables import keys16, set16
from chargerd.ocpp.dialect import Ask, Fold, Json, Refuse, Reply
from chargerd.ocpp.v16.profiles import composite, profile_of, purpose_of, unit_of
from chargerd.ocpp.v16.status import statuses
from chargerd.ocpp.v16.transactions import running
from chargerd.ocpp.v16.words import moment, verdict

# Features that are not there, and that have a word of their own for it; the others are refused as NotSupported.
_ABSENT: Mapping[str, Json] = {
    "DataTransfer": {"status": "UnknownVendorId"},  # §4.3
}
_TRIGGERED = {
    "BootNotification": Triggered.BOOT,
    "Heartbeat": Triggered.HEARTBEAT,
    "MeterValues": Triggered.METER_VALUES,
    "StatusNotification": Triggered.STATUS,
}
_RESET = {"Soft": ResetKind.SOFT, "Hard": ResetKind.HARD}
_SETTING = {
    Setting.ACCEPTED: "Accepted",
    Setting.REBOOT_REQUIRED: "RebootRequired",
    Setting.REJECTED: "Rejected",
}  # everything else: NotSupported (§5.3)
_WORDS = {  # beside Accepted and Rejected
    ("ChangeAvailability", Outcome.SCHEDULED): "Scheduled",
    ("ClearChargingProfile", Outcome.REJECTED): "Unknown",
    ("TriggerMessage", Outcome.NOT_IMPLEMENTED): "NotImplemented",
    ("SendLocalList", Outcome.NOT_SUPPORTED): "NotSupported",
    ("SendLocalList", Outcome.VERSION_MISMATCH): "VersionMismatch",
    ("ReserveNow", Outcome.FAULTED): "Faulted",
    ("ReserveNow", Outcome.OCCUPIED): "Occupied",
    ("ReserveNow", Outcome.UNAVAILABLE): "Unavailable",
    ("UnlockConnector", Outcome.UNLOCKED): "Unlocked",
    ("UnlockConnector", Outcome.NOT_SUPPORTED): "NotSupported",
}

_REFUSED = {"UnlockConnector": "UnlockFailed", "SendLocalList": "Failed"}  # where there is no Rejected


def handle(
    ask: int, action: str, payload: Json, fold: Fold, station: Station, facts: Mapping[str, str]
) -> Reply | Ask | Refuse:
    match action:
        case "GetConfiguration":
            return _get_configuration(payload, station, facts)
        case "ChangeConfiguration":
            return _change_configuration(ask, payload, station, facts)
        case "RemoteStartTransaction":
            return _remote_start(ask, payload, station)
        case "RemoteStopTransaction":
            return _remote_stop(ask, payload, fold, station)
        case "UnlockConnector":
            rank = payload["connectorId"]
            return Ask(UnlockAsked(ask, rank, stop=True)) if _known(station, rank) else _say("NotSupported")
        case "ChangeAvailability":
            return _change_availability(ask, payload, station)
        case "Reset":
            return Ask(ResetAsked(ask, _RESET[payload["type"]]))
        case "ClearCache":
            return Ask(ClearCacheAsked(ask))
        case "TriggerMessage":
            return _trigger(ask, payload, station)
        case "GetLocalListVersion":
            return Reply({"listVersion": local_list.version(station)})
        case "SendLocalList":
            return Ask(_list_sent(ask, payload))
        case "ReserveNow":
            return _reserve(ask, payload, station)
        case "CancelReservation":
            return Ask(CancelReservationAsked(ask, payload["reservationId"]))
        case "SetChargingProfile":
            return _set_profile(ask, payload, fold, station)
        case "ClearChargingProfile":
            return Ask(_clear_profiles(ask, payload))
        case "GetCompositeSchedule":
            unit = unit_of(payload.get("chargingRateUnit"))
            return Ask(CompositeAsked(ask, payload["connectorId"], payload["duration"], unit))
    if action in _ABSENT:
        return Reply(dict(_ABSENT[action]))
    return Refuse("NotSupported", f"{action}: this charge point has no such feature")


def answer(action: str, request: Json, context: Json, answer: Answer) -> Reply:
    """The station's answer in the action's own words; `context` may hold the word for Accepted."""
    if answer.composite is not None:
        return Reply(composite(request["connectorId"], answer.composite))
    if answer.outcome is Outcome.ACCEPTED:
        return _say(context.get("status", "Accepted"))
    return _say(_WORDS.get((action, answer.outcome), _REFUSED.get(action, "Rejected")))


def _say(status: str) -> Reply:
    return Reply({"status": status})


def _known(station: Station, connector: int) -> bool:
    return 1 <= connector <= len(station.outlets)


def _get_configuration(payload: Json, station: Station, facts: Mapping[str, str]) -> Reply | Refuse:
    """§5.8: all keys, or those asked for in that order; compared without case (§2.2), each told once."""
    asked: list[str] = payload.get("key", [])
    most = station.variables.get_int("get_configuration_max_keys")
    if len(asked) > most:
        return Refuse("OccurenceConstraintViolation", f"key: at most {most} (GetConfigurationMaxKeys)")
    values = {
        each.key.casefold(): {"key": each.key, "readonly": each.readonly}
        | ({} if each.value is None else {"value": each.value})
        for each in keys16(station.variables, facts)
    }
    if not asked:
        return Reply({"configurationKey": list(values.values())})
    names = {name.casefold(): name for name in reversed(asked)}  # the first spelling of each
    wanted = dict.fromkeys(name.casefold() for name in asked)
    reply: Json = {"configurationKey": [values[name] for name in wanted if name in values]}
    if unknown := [names[name] for name in wanted if name not in values]:
        reply["unknownKey"] = unknown
    return Reply(reply)


def _change_configuration(ask: int, payload: Json, station: Station, facts: Mapping[str, str]) -> Reply | Ask:
    change, _ = set16(station.variables, facts, payload["key"], payload["value"])
    status = _SETTING.get(change.outcome, "NotSupported")
    if change.done:
        return Ask(SetAsked(ask, ((change.name, change.text),)), {"status": status})
    return _say(status)


def _remote_start(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """§5.11: connectorId must be above 0; a chargingProfile must be a TxProfile, and one that can be taken."""
    rank, told = payload.get("connectorId"), payload.get("chargingProfile")
    profile = None if told is None else profile_of(told)
    if (rank is not None and not _known(station, rank)) or (profile is not None and not _fits(profile, station)):
        return _say("Rejected")
    return Ask(RemoteStart(ask, Token(payload["idTag"]), rank, profile=profile))


def _fits(profile: Profile, station: Station) -> bool:
    return profile.purpose is Purpose.TX and flaw(profile, bounds(station.variables)) is None


def _set_profile(ask: int, payload: Json, fold: Fold, station: Station) -> Reply | Ask:
    """§5.16; a transactionId counts only with a TxProfile, and must then be of a transaction that runs."""
    told = payload["csChargingProfiles"]
    profile, number = profile_of(told), told.get("transactionId")
    if profile.purpose is Purpose.TX and number is not None:
        tx = running(fold, station, number)
        if tx is None:
            return _say("Rejected")
        profile = profile_of(told, tx)
    return Ask(ProfileSet(ask, payload["connectorId"], profile))


def _clear_profiles(ask: int, payload: Json) -> ProfilesCleared:
    """§6.13: a profile by its id, or those that fit all that is given; connector 0 is the station."""
    purpose = purpose_of(payload.get("chargingProfilePurpose"))
    return ProfilesCleared(ask, payload.get("id"), payload.get("connectorId"), purpose, payload.get("stackLevel"))


def _remote_stop(ask: int, payload: Json, fold: Fold, station: Station) -> Reply | Ask:
    """§5.12; not allowed while the boot is pending (§4.2)."""
    tx = running(fold, station, payload["transactionId"])
    if tx is None or station.boot.status in (BootStatus.PENDING, BootStatus.REJECTED):
        return _say("Rejected")
    return Ask(RemoteStop(ask, tx))


def _change_availability(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """§5.2: connector 0 is the station and every connector."""
    rank, operative = payload["connectorId"], payload["type"] == "Operative"
    if rank == 0:
        return Ask(AvailabilityAsked(ask, Scope.STATION, 0, operative, every=True))
    if not _known(station, rank):
        return _say("Rejected")
    return Ask(AvailabilityAsked(ask, Scope.OUTLET, rank, operative, every=True))


def _list_sent(ask: int, payload: Json) -> ListSent:
    """§5.15, §7.1: an entry without idTagInfo is to be taken off the list."""
    entries = tuple(
        (entry["idTag"], verdict(entry["idTagInfo"]) if "idTagInfo" in entry else None)
        for entry in payload.get("localAuthorizationList", ())
    )
    return ListSent(ask, payload["listVersion"], payload["updateType"] == "Full", entries)


def _reserve(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """§5.13: connector 0 is any connector; an empty parentIdTag is none."""
    rank = payload["connectorId"]
    if rank != 0 and not _known(station, rank):
        return _say("Rejected")
    until = moment(payload["expiryDate"])
    group = payload.get("parentIdTag") or None
    return Ask(ReserveAsked(ask, payload["reservationId"], Token(payload["idTag"]), rank, until, group))


def _trigger(ask: int, payload: Json, station: Station) -> Reply | Ask:
    """§5.17: a connectorId counts only where the message is about connectors; connector 0 has a status,
    but no values; what could not be sent is rejected."""
    requested, rank = payload["requestedMessage"], payload.get("connectorId")
    what = _TRIGGERED.get(requested)
    if what is None:
        return _say("NotImplemented")
    if what in (Triggered.BOOT, Triggered.HEARTBEAT):
        return Ask(TriggerAsked(ask, what))
    if what is Triggered.STATUS:
        there = rank is None or str(rank) in statuses(station)
    else:
        there = (rank is None or _known(station, rank)) and bool(station.variables.get_list("sampled_measurands"))
    return Ask(TriggerAsked(ask, what, rank)) if there else _say("Rejected")
