"""Charging profiles of 1.6: from the wire into the form of the core, refused where nobody need be asked, and back."""

from __future__ import annotations

from typing import Any

import pytest

from chargerd.core.commands import Answer, Composite, Outcome
from chargerd.core.events import CompositeAsked, ProfilesCleared, ProfileSet, RemoteStart
from chargerd.core.profiles import Kind, Period, Profile, Purpose, Recurrency, Schedule, Unit
from chargerd.core.token import Token
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Ask, Json
from tests.ocpp.v16.build import CARD, DIALECT, FACTS, charging, sound_reply, station

ASK = 41
FOLD = {"tx-1": {"id": 0, "kept": []}, "tx-2": {"id": 7, "kept": []}, "tx-3": {"id": None, "kept": []}}
BUSY = charging(charging(station(), 1, "tx-1"), 2, "tx-2")


def told(**more: Any) -> Json:
    return {
        "chargingProfileId": 8,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.3}]},
    } | more


def meant(**more: Any) -> Profile:
    base: dict[str, Any] = {"schedule": Schedule(Unit.AMPERES, (Period(0, 6.3),))}
    return Profile(8, 0, Purpose.TX, Kind.RELATIVE, **base | more)


def handle(action: str, payload: Json) -> Any:
    assert schemas.check("1.6", action, "request", payload) is None
    return DIALECT.handle(ASK, action, payload, FOLD, BUSY, FACTS)


def answers(action: str, request: Json, answer: Answer) -> Any:
    return sound_reply(action, DIALECT.answer(action, request, {}, answer, FOLD, BUSY))


@pytest.mark.req("1.6 §5.16", "1.6 §7.8", "1.6 §7.13")
def test_a_profile_with_everything_in_it() -> None:
    payload = told(
        chargingProfilePurpose="TxDefaultProfile",
        chargingProfileKind="Recurring",
        recurrencyKind="Weekly",
        stackLevel=3,
        transactionId=7,
        validFrom="2027-01-15T08:00:00.500Z",
        validTo="2027-01-16T09:00:00+01:00",
        chargingSchedule={
            "duration": 3600,
            "startSchedule": "2027-01-15T00:00:00Z",
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 11000, "numberPhases": 3},
                {"startPeriod": 60, "limit": 3680.5, "numberPhases": 1},
            ],
            "minChargingRate": 4140.1,
        },
    )
    schedule = Schedule(Unit.WATTS, (Period(0, 11000.0, 3), Period(60, 3680.5, 1)), 3600, 1_799_971_200, 4140.1)
    profile = Profile(
        8,
        3,
        Purpose.TX_DEFAULT,
        Kind.RECURRING,
        schedule,
        Recurrency.WEEKLY,
        valid_from=1_800_000_000,
        valid_to=1_800_086_400,
    )
    asked = handle("SetChargingProfile", {"connectorId": 2, "csChargingProfiles": payload})
    assert asked == Ask(ProfileSet(ASK, 2, profile))


@pytest.mark.req("1.6 §5.16")
def test_a_recurrency_of_what_does_not_recur_is_not_heeded() -> None:
    asked = handle("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": told(recurrencyKind="Daily")})
    assert asked.event == ProfileSet(ASK, 1, meant())


@pytest.mark.req("1.6 §5.16")
@pytest.mark.parametrize(("number", "tx"), [(0, "tx-1"), (7, "tx-2")])
def test_a_profile_for_a_transaction_that_runs(number: int, tx: str) -> None:
    asked = handle("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": told(transactionId=number)})
    assert asked.event == ProfileSet(ASK, 1, meant(tx=tx))


@pytest.mark.req("1.6 §5.16")
def test_a_profile_for_a_transaction_that_does_not_run_is_rejected() -> None:
    reply = handle("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": told(transactionId=8)})
    assert sound_reply("SetChargingProfile", reply) == {"status": "Rejected"}


@pytest.mark.req("1.6 §5.16", "1.6 §7.11")
@pytest.mark.parametrize(("outcome", "word"), [(Outcome.ACCEPTED, "Accepted"), (Outcome.REJECTED, "Rejected")])
def test_how_setting_went(outcome: Outcome, word: str) -> None:
    assert answers("SetChargingProfile", {}, Answer(ASK, outcome)) == {"status": word}


@pytest.mark.req("1.6 §5.11")
def test_a_profile_with_a_remote_start() -> None:
    asked = handle("RemoteStartTransaction", {"idTag": CARD.id, "connectorId": 1, "chargingProfile": told()})
    assert asked.event == RemoteStart(ASK, Token(CARD.id), 1, profile=meant())


@pytest.mark.req("1.6 §5.11", "1.6 §5.16.2")
@pytest.mark.parametrize(
    "profile",
    [
        told(chargingProfilePurpose="TxDefaultProfile"),
        told(stackLevel=10),
        told(chargingSchedule={"chargingRateUnit": "A", "chargingSchedulePeriod": []}),
        told(chargingSchedule={"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 1, "limit": 6}]}),
    ],
)
def test_a_remote_start_with_a_profile_that_cannot_be(profile: Json) -> None:
    reply = handle("RemoteStartTransaction", {"idTag": CARD.id, "chargingProfile": profile})
    assert sound_reply("RemoteStartTransaction", reply) == {"status": "Rejected"}


@pytest.mark.req("1.6 §5.5")
@pytest.mark.parametrize(
    ("payload", "event"),
    [
        ({}, ProfilesCleared(ASK)),
        ({"id": 0}, ProfilesCleared(ASK, id=0)),
        (
            {"connectorId": 0, "chargingProfilePurpose": "ChargePointMaxProfile", "stackLevel": 2},
            ProfilesCleared(ASK, None, 0, Purpose.STATION_MAX, 2),
        ),
    ],
)
def test_clearing(payload: Json, event: ProfilesCleared) -> None:
    assert handle("ClearChargingProfile", payload).event == event


@pytest.mark.req("1.6 §5.5", "1.6 §7.21")
@pytest.mark.parametrize(("outcome", "word"), [(Outcome.ACCEPTED, "Accepted"), (Outcome.REJECTED, "Unknown")])
def test_how_clearing_went(outcome: Outcome, word: str) -> None:
    assert answers("ClearChargingProfile", {}, Answer(ASK, outcome)) == {"status": word}


@pytest.mark.req("1.6 §5.7", "1.6 §7.12")
@pytest.mark.parametrize(("word", "unit"), [(None, None), ("A", Unit.AMPERES), ("W", Unit.WATTS)])
def test_a_composite_schedule_is_asked_for(word: str | None, unit: Unit | None) -> None:
    payload = {"connectorId": 1, "duration": 60} | ({} if word is None else {"chargingRateUnit": word})
    assert handle("GetCompositeSchedule", payload).event == CompositeAsked(ASK, 1, 60, unit)


@pytest.mark.req("1.6 §5.7", "1.6 §7.26")
def test_a_composite_schedule_is_told() -> None:
    found = Composite(1_800_000_000, 60, Unit.WATTS, ((0, 11000.0, 3), (30, 3680.5, 1)))
    answer = Answer(ASK, Outcome.ACCEPTED, lasting=False, composite=found)
    assert answers("GetCompositeSchedule", {"connectorId": 2, "duration": 60}, answer) == {
        "status": "Accepted",
        "connectorId": 2,
        "scheduleStart": "2027-01-15T08:00:00Z",
        "chargingSchedule": {
            "duration": 60,
            "startSchedule": "2027-01-15T08:00:00Z",
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 11000.0, "numberPhases": 3},
                {"startPeriod": 30, "limit": 3680.5, "numberPhases": 1},
            ],
        },
    }


@pytest.mark.req("1.6 §5.7", "1.6 §7.26")
def test_no_composite_schedule() -> None:
    answer = Answer(ASK, Outcome.REJECTED, lasting=False)
    assert answers("GetCompositeSchedule", {"connectorId": 9, "duration": 60}, answer) == {"status": "Rejected"}


@pytest.mark.req("1.6 §3.12.5", "1.6 §9.4.1", "1.6 §9.4.2", "1.6 §9.4.3", "1.6 §9.4.4", "1.6 §9.4.5", "1.6 §9.1.29")
def test_what_is_announced() -> None:
    asked = [
        "ChargeProfileMaxStackLevel",
        "ChargingScheduleAllowedChargingRateUnit",
        "ChargingScheduleMaxPeriods",
        "ConnectorSwitch3to1PhaseSupported",
        "MaxChargingProfilesInstalled",
        "SupportedFeatureProfiles",
    ]
    reply = DIALECT.handle(ASK, "GetConfiguration", {"key": asked}, FOLD, BUSY, FACTS | {"phase_switching": "false"})
    keys = sound_reply("GetConfiguration", reply)["configurationKey"]
    assert all(key["readonly"] for key in keys)
    assert {key["key"]: key["value"] for key in keys} == {
        "ChargeProfileMaxStackLevel": "9",
        "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
        "ChargingScheduleMaxPeriods": "1000",
        "ConnectorSwitch3to1PhaseSupported": "false",
        "MaxChargingProfilesInstalled": "20",
        "SupportedFeatureProfiles": "Core,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
    }
