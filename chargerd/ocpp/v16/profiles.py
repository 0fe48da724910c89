"""Charging profiles in the words of OCPP 1.6 (§5.5, §5.7, §5.16, §7.8 to §7.14)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import floor
from typing import Any

from chargerd.core.commands import Composite
from chargerd.core.profiles import Kind, Period, Profile, Purpose, Recurrency, Schedule, Unit
from chargerd.ocpp.dialect import Json

_PURPOSE = {
    "ChargePointMaxProfile": Purpose.STATION_MAX,
    "TxDefaultProfile": Purpose.TX_DEFAULT,
    "TxProfile": Purpose.TX,
}
_KIND = {"Absolute": Kind.ABSOLUTE, "Recurring": Kind.RECURRING, "Relative": Kind.RELATIVE}
_RECURRENCY = {"Daily": Recurrency.DAILY, "Weekly": Recurrency.WEEKLY}


def profile_of(told: Mapping[str, Any], tx: str | None = None) -> Profile:
    """A ChargingProfile that passed the schema, for our transaction `tx`; whether it is sound is the core's to say.

    What is not said of it is left out: recurrencyKind of one that does not recur, transactionId of no TxProfile.
    """
    kind, purpose = _KIND[told["chargingProfileKind"]], _PURPOSE[told["chargingProfilePurpose"]]
    recurrency = told.get("recurrencyKind")
    return Profile(
        id=told["chargingProfileId"],
        level=told["stackLevel"],
        purpose=purpose,
        kind=kind,
        schedule=_schedule(told["chargingSchedule"]),
        recurrency=_RECURRENCY[recurrency] if recurrency is not None and kind is Kind.RECURRING else None,
        valid_from=_second(told.get("validFrom")),
        valid_to=_second(told.get("validTo")),
        tx=tx if purpose is Purpose.TX else None,
    )


def purpose_of(told: str | None) -> Purpose | None:
    return None if told is None else _PURPOSE[told]


def unit_of(told: str | None) -> Unit | None:
    return None if told is None else Unit(told)


def _schedule(told: Mapping[str, Any]) -> Schedule:
    periods = tuple(
        Period(each["startPeriod"], float(each["limit"]), each.get("numberPhases"))
        for each in told["chargingSchedulePeriod"]
    )
    least = told.get("minChargingRate")
    return Schedule(
        unit=Unit(told["chargingRateUnit"]),
        periods=periods,
        duration=told.get("duration"),
        start=_second(told.get("startSchedule")),
        least=None if least is None else float(least),
    )


def _second(text: str | None) -> int | None:
    return None if text is None else floor(datetime.fromisoformat(text).timestamp())


def composite(connector: int, found: Composite) -> Json:
    """GetCompositeSchedule.conf (§6.22): periods count from scheduleStart, which is the second of the question."""
    begin = datetime.fromtimestamp(found.start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    periods = [{"startPeriod": start, "limit": limit, "numberPhases": phases} for start, limit, phases in found.periods]
    schedule = {
        "duration": found.duration,
        "startSchedule": begin,
        "chargingRateUnit": found.unit.value,
        "chargingSchedulePeriod": periods,
    }
    return {"status": "Accepted", "connectorId": connector, "scheduleStart": begin, "chargingSchedule": schedule}
