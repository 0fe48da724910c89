from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.core.events import TransactionAnswered
from chargerd.core.moment import Moment
from chargerd.core.records import Cause, ChargingState, Edge, Reason, Session, Transaction
from chargerd.core.state import Live
from chargerd.core.token import FREE, Standing, Token, Verdict
from chargerd.lab.books import Books
from chargerd.ocpp.dialect import Draft, Fold, Json, Learned, Outgoing
from chargerd.ocpp.outbox import ASKED, START
from chargerd.ocpp.v2.transactions import KEPT_MOST
from tests.ocpp.v2.build import (
    DIALECT,
    ended,
    project,
    reading,
    render,
    sampled,
    started,
    station,
    told,
    transaction,
    updated,
)
from tests.ocpp.v16.build import moment

CARD_JSON = {"idToken": "04A2B3C4D5E680", "type": "ISO14443"}
OTHER = Token("DEADBEEF")
REGISTER = "Energy.Active.Import.Register"


def answered(draft: Draft, payload: Json | None, fold: Fold) -> Learned:
    return DIALECT.answered(Outgoing("", {}), payload, fold, station(), draft)


def contexts(payload: Json) -> list[str]:
    return [each["sampledValue"][0]["context"] for each in payload.get("meterValue", [])]


def registers(payload: Json) -> list[float]:
    return [each["sampledValue"][0]["value"] for each in payload.get("meterValue", [])]


# ---------------------------------------------------------------- the three events


@pytest.mark.req("E01.FR.07", "E01.FR.09", "E01.FR.10", "E01.FR.15", "E01.FR.16")
def test_a_start() -> None:
    here = station(Live(known=True, plug=3, cable=True, cable_amps=32.0))
    assert told(here, started()) == [
        {
            "eventType": "Started",
            "triggerReason": "Authorized",
            "transactionInfo": {"transactionId": "tx-1", "chargingState": "EVConnected"},
            "evse": {"id": 1, "connectorId": 1},
            "cableMaxCurrent": 32,
            "idToken": CARD_JSON,
            "seqNo": 0,
            "timestamp": "2027-01-15T08:00:00Z",
            "meterValue": [
                {
                    "timestamp": "2027-01-15T08:00:00Z",
                    "sampledValue": [
                        {
                            "value": 1000,
                            "context": "Transaction.Begin",
                            "measurand": REGISTER,
                            "unitOfMeasure": {"unit": "Wh"},
                        }
                    ],
                }
            ],
        }
    ]


@pytest.mark.req("J02.FR.11", "E02.FR.10")
def test_a_periodic_sample() -> None:
    periodic = told(station(), started(), sampled(Cause.PERIODIC, 60, state=ChargingState.SUSPENDED_EV))[1]
    assert periodic == {
        "eventType": "Updated",
        "triggerReason": "MeterValuePeriodic",
        "transactionInfo": {"transactionId": "tx-1", "chargingState": "SuspendedEV"},
        "seqNo": 1,
        "timestamp": "2027-01-15T08:01:00Z",
        "meterValue": periodic["meterValue"],
    }
    assert contexts(periodic) == ["Sample.Periodic"]


@pytest.mark.req("E06.FR.11", "E07.FR.02", "E07.FR.05")
def test_an_end() -> None:
    end = told(station(), started(), ended(3600, token=OTHER))[1]
    assert end["eventType"] == "Ended"
    assert end["triggerReason"] == "StopAuthorized"
    assert end["transactionInfo"] == {
        "transactionId": "tx-1",
        "chargingState": "EVConnected",
        "stoppedReason": "Local",
    }
    assert end["idToken"] == {"idToken": "DEADBEEF", "type": "ISO14443"}
    assert (contexts(end), registers(end)) == (["Transaction.Begin", "Transaction.End"], [1000, 4600])
    assert [each["timestamp"] for each in end["meterValue"]] == ["2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z"]


@pytest.mark.req("E02.FR.15", "E02.FR.17", "E06.FR.15")
@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (Cause.PLUGGED, "CablePluggedIn"),
        (Cause.AUTHORIZED, "Authorized"),
        (Cause.REMOTE_START, "RemoteStart"),
        (Cause.CHARGING_STATE, "ChargingStateChanged"),
        (Cause.PERIODIC, "MeterValuePeriodic"),
        (Cause.CLOCK, "MeterValueClock"),
        (Cause.TRIGGER, "Trigger"),
        (Cause.STOP_AUTHORIZED, "StopAuthorized"),
        (Cause.REMOTE_STOP, "RemoteStop"),
        (Cause.DEAUTHORIZED, "Deauthorized"),
        (Cause.VEHICLE_OUT, "EVCommunicationLost"),
        (Cause.CONNECT_TIMEOUT, "EVConnectTimeout"),
        (Cause.FAULT, "AbnormalCondition"),
        (Cause.POWER_LOSS, "AbnormalCondition"),
        (Cause.RESET, "ResetCommand"),
        (Cause.UNLOCK, "UnlockCommand"),
    ],
)
def test_every_cause_has_a_trigger_reason(cause: Cause, word: str) -> None:
    assert told(station(), started(), sampled(cause, 5))[1]["triggerReason"] == word


@pytest.mark.req("E06.FR.08", "E07.FR.06", "B12.FR.04")
@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (Reason.LOCAL, "Local"),
        (Reason.REMOTE, "Remote"),
        (Reason.VEHICLE_OUT, "EVDisconnected"),
        (Reason.DEAUTHORIZED, "DeAuthorized"),
        (Reason.TIMEOUT, "Timeout"),
        (Reason.EMERGENCY_STOP, "EmergencyStop"),
        (Reason.GROUND_FAULT, "GroundFault"),
        (Reason.OVERCURRENT, "OvercurrentFault"),
        (Reason.POWER_LOSS, "PowerLoss"),
        (Reason.REBOOT, "Reboot"),
        (Reason.SOFT_RESET, "ImmediateReset"),
        (Reason.HARD_RESET, "ImmediateReset"),
        (Reason.UNLOCK, "Other"),
        (Reason.OTHER, "Other"),
    ],
)
def test_every_reason_has_a_word(reason: Reason, word: str) -> None:
    assert told(station(), started(), ended(9, reason=reason))[1]["transactionInfo"]["stoppedReason"] == word


@pytest.mark.req("E01.FR.18")
@pytest.mark.parametrize(
    ("state", "word"),
    [
        (ChargingState.IDLE, "Idle"),
        (ChargingState.CONNECTED, "EVConnected"),
        (ChargingState.CHARGING, "Charging"),
        (ChargingState.SUSPENDED_EV, "SuspendedEV"),
        (ChargingState.SUSPENDED_EVSE, "SuspendedEVSE"),
    ],
)
def test_every_charging_state_has_a_word(state: ChargingState, word: str) -> None:
    payload = told(station(), started(), updated(Cause.CHARGING_STATE, 4, state=state))[1]
    assert payload["transactionInfo"]["chargingState"] == word


# ---------------------------------------------------------------- told once


@pytest.mark.req("E01.FR.16", "E01.FR.17", "E03.FR.11")
def test_a_transaction_that_began_without_an_outlet_gets_evse_and_begin_values_when_it_is_bound() -> None:
    here = station(Live(known=True), Live(known=True, plug=3, cable=True, cable_amps=20.0))
    lobby = started(outlet=None, state=ChargingState.IDLE)
    start, bound, later = told(
        here,
        lobby,
        updated(Cause.PLUGGED, 20, outlet=2, reading=reading(20)),
        updated(Cause.CHARGING_STATE, 30, outlet=2),
    )
    assert not {"evse", "meterValue"} & start.keys()
    assert (bound["evse"], bound["cableMaxCurrent"]) == ({"id": 2, "connectorId": 1}, 20)
    assert (contexts(bound), registers(bound)) == (["Transaction.Begin"], [1020])
    assert not {"evse", "meterValue", "cableMaxCurrent"} & later.keys()


@pytest.mark.req("E01.FR.16")
def test_the_evse_is_told_again_when_the_vehicle_comes_after_the_card() -> None:
    first, second, third = told(station(), started(), updated(Cause.PLUGGED, 5), updated(Cause.CHARGING_STATE, 6))
    assert (first["evse"], second["evse"]) == ({"id": 1, "connectorId": 1}, {"id": 1, "connectorId": 1})
    assert "evse" not in third
    assert "cableMaxCurrent" not in first  # nobody knows the cable


@pytest.mark.req("E01.FR.10", "E02.FR.01", "E03.FR.01")
def test_an_id_token_is_in_the_event_that_tells_it_and_in_no_other() -> None:
    plugged = started(cause=Cause.PLUGGED, token=None)
    events = told(station(), plugged, updated(Cause.AUTHORIZED, 5, token=OTHER), updated(Cause.CHARGING_STATE, 6))
    assert [event.get("idToken", {}).get("idToken") for event in events] == [None, "DEADBEEF", None]


@pytest.mark.req("C02.FR.01")
def test_nobodys_token_is_empty() -> None:
    assert told(station(), started(token=FREE))[0]["idToken"] == {"idToken": "", "type": "NoAuthorization"}


def test_a_token_too_long_for_the_wire_is_cut_where_one_can_see_it() -> None:
    assert told(station(), started(token=Token("A" * 37)))[0]["idToken"]["idToken"] == "A" * 35 + "…"


@pytest.mark.req("F01.FR.19", "F01.FR.25", "F02.FR.01", "F02.FR.21")
def test_a_remote_start_is_told_by_its_number_and_reason_whatever_completed_it() -> None:
    events = told(station(), started(cause=Cause.PLUGGED, remote_id=42), updated(Cause.CHARGING_STATE, 6))
    assert [event["triggerReason"] for event in events] == ["RemoteStart", "ChargingStateChanged"]
    assert [event["transactionInfo"].get("remoteStartId") for event in events] == [42, None]


@pytest.mark.req("E02.FR.18", "E02.FR.19", "E03.FR.13", "E03.FR.14")
def test_the_phases_in_use_are_told_when_they_are_known_and_when_they_change() -> None:
    charging: dict[str, Any] = {"state": ChargingState.CHARGING}
    one, three = (16.0, 0.2, 0.0), (16.0, -16.0, 16.0)  # a transformer may be mounted backwards
    events = told(
        station(),
        started(),
        updated(Cause.CHARGING_STATE, 5, **charging),
        sampled(Cause.PERIODIC, 60, reading=reading(60, amps=one)),
        sampled(Cause.PERIODIC, 120, reading=reading(120, amps=one)),
        sampled(Cause.PERIODIC, 180, reading=reading(180, amps=three)),
        sampled(Cause.PERIODIC, 240, reading=reading(240, amps=(0.0, 0.0, 0.0))),
        sampled(Cause.PERIODIC, 300, reading=reading(300, amps=three), state=ChargingState.SUSPENDED_EV),
    )
    assert [event.get("numberOfPhasesUsed") for event in events] == [None, None, 1, None, 3, None, None]


@pytest.mark.req("E02.FR.18")
def test_an_outlet_with_one_phase_uses_that_one_and_without_a_meter_per_phase_nobody_can_say() -> None:
    charging = updated(Cause.CHARGING_STATE, 5, state=ChargingState.CHARGING)
    assert told(station(), started(phases=1), replace(charging, phases=1))[1]["numberOfPhasesUsed"] == 1
    blind = station(Live(known=True, reading=reading(amps=None)))
    assert "numberOfPhasesUsed" not in told(blind, started(), charging)[1]
    seeing = station(Live(known=True, reading=reading()))
    assert told(seeing, started(), charging)[1]["numberOfPhasesUsed"] == 3


# ---------------------------------------------------------------- why it ended


@pytest.mark.req("F04.FR.03", "E07.FR.05")
@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (Cause.REMOTE_STOP, "Remote"),
        (Cause.STOP_AUTHORIZED, "Local"),
        (Cause.DEAUTHORIZED, "DeAuthorized"),
        (Cause.CONNECT_TIMEOUT, "Timeout"),
        (Cause.CHARGING_STATE, "EVDisconnected"),
    ],
)
def test_a_vehicle_that_leaves_after_authorisation_ended_is_not_the_reason(cause: Cause, word: str) -> None:
    left = ended(60, Cause.VEHICLE_OUT, reason=Reason.VEHICLE_OUT)
    end = told(station(), started(), updated(cause, 30, token=None), left)[2]
    assert (end["transactionInfo"]["stoppedReason"], end["triggerReason"]) == (word, "EVCommunicationLost")


@pytest.mark.req("E07.FR.05")
def test_power_that_goes_off_for_a_driver_who_stopped_is_not_the_reason() -> None:
    off = ended(60, Cause.CHARGING_STATE, reason=Reason.OTHER)  # TxStopPoint EnergyTransfer
    stopped = told(station(), started(), updated(Cause.STOP_AUTHORIZED, 30), off)[2]
    by_itself = told(station(), started(), off)[1]
    assert [end["transactionInfo"]["stoppedReason"] for end in (stopped, by_itself)] == ["Local", "Other"]


@pytest.mark.req("F04.FR.03")
def test_a_new_authorisation_or_another_reason_makes_the_old_one_void() -> None:
    left = ended(60, Cause.VEHICLE_OUT, reason=Reason.VEHICLE_OUT)
    stopped = updated(Cause.REMOTE_STOP, 30)
    again = told(station(), started(), stopped, updated(Cause.AUTHORIZED, 40, token=OTHER), left)[3]
    assert again["transactionInfo"]["stoppedReason"] == "EVDisconnected"
    fault = told(station(), started(), stopped, ended(60, Cause.FAULT, reason=Reason.GROUND_FAULT))[2]
    assert fault["transactionInfo"]["stoppedReason"] == "GroundFault"


# ---------------------------------------------------------------- meter values


MANY = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Current.Offered,Voltage,Frequency"


@pytest.mark.req("J02.FR.03", "J02.FR.06")
def test_values_by_measurand_and_phase() -> None:
    here = station(Live(known=True, offered=16.0), sampled_measurands=MANY)
    values = told(here, started(), sampled(Cause.PERIODIC, 60))[1]["meterValue"][0]["sampledValue"]
    assert [(v["measurand"], v.get("phase"), v["value"], v["unitOfMeasure"]["unit"]) for v in values] == [
        (REGISTER, None, 1060, "Wh"),
        ("Power.Active.Import", None, 11040.0, "W"),
        ("Current.Import", "L1", 16.0, "A"),
        ("Current.Import", "L2", 15.9, "A"),
        ("Current.Import", "L3", 16.1, "A"),
        ("Current.Offered", None, 16.0, "A"),
        ("Voltage", "L1-N", 230.0, "V"),
        ("Voltage", "L2-N", 231.0, "V"),
        ("Voltage", "L3-N", 229.5, "V"),
        ("Frequency", None, 50.01, "Hz"),
    ]


def test_whole_numbers_stay_whole_on_the_wire() -> None:
    here = station(started_measurands=f"{REGISTER},Voltage")
    register, voltage, *_ = told(here, started())[0]["meterValue"][0]["sampledValue"]
    assert json.dumps([register["value"], voltage["value"]]) == "[1000, 230.0]"


@pytest.mark.req("E01.FR.09", "E06.FR.11", "J02.FR.11", "J01.FR.22", "F06.FR.07")
def test_each_kind_of_event_has_its_own_measurands() -> None:
    here = station(
        started_measurands="Voltage",
        sampled_measurands="Current.Import",
        aligned_measurands="Frequency",
        ended_measurands="Power.Active.Import",
    )
    events = told(here, started(), *(sampled(c, 60) for c in (Cause.PERIODIC, Cause.CLOCK, Cause.TRIGGER)), ended(90))
    found = [{(v["measurand"], v["context"]) for each in e["meterValue"] for v in each["sampledValue"]} for e in events]
    assert found == [
        {("Voltage", "Transaction.Begin")},
        {("Current.Import", "Sample.Periodic")},
        {("Frequency", "Sample.Clock")},
        {("Current.Import", "Trigger")},
        {("Power.Active.Import", "Transaction.Begin"), ("Power.Active.Import", "Transaction.End")},
    ]


def test_a_sample_with_nothing_in_it_is_no_event_and_takes_no_number() -> None:
    silent = station(sampled_measurands="", aligned_measurands="")
    events = told(silent, started(), sampled(Cause.PERIODIC, 60), sampled(Cause.CLOCK, 60), ended(90))
    assert [(event["eventType"], event["seqNo"]) for event in events] == [("Started", 0), ("Ended", 1)]


@pytest.mark.req("F06.FR.07")
def test_a_triggered_event_is_sent_even_where_nothing_can_be_read() -> None:
    event = told(station(), started(), updated(Cause.TRIGGER, 9))[1]
    assert event["transactionInfo"]["chargingState"] == "EVConnected"
    assert "meterValue" not in event


def test_triggered_values_are_not_repeated_at_the_end() -> None:
    end = told(station(), started(), sampled(Cause.TRIGGER, 9), ended(20))[2]
    assert registers(end) == [1000, 1020]


@pytest.mark.req("J02.FR.18")
def test_an_old_reading_is_stamped_with_its_own_time() -> None:
    _, fresh, old = told(
        station(),
        started(),
        sampled(Cause.PERIODIC, 60, reading=reading(48)),
        sampled(Cause.PERIODIC, 120, reading=reading(90)),
    )
    assert fresh["meterValue"][0]["timestamp"] == fresh["timestamp"] == "2027-01-15T08:01:00Z"
    assert old["meterValue"][0]["timestamp"] == "2027-01-15T08:01:30Z"


@pytest.mark.req("E06.FR.11")
def test_an_end_without_a_reading_repeats_the_last_one_told() -> None:
    end = told(station(), started(), sampled(Cause.PERIODIC, 60), ended(90, reading=None))[2]
    assert (contexts(end), registers(end)) == (["Transaction.Begin", "Transaction.End"], [1000, 1060])
    assert end["meterValue"][1]["timestamp"] == "2027-01-15T08:01:00Z"


def test_a_transaction_without_any_reading_has_no_meter_values() -> None:
    events = told(station(), started(reading=None), ended(90, reading=None, begin=None))
    assert all("meterValue" not in event for event in events)


@pytest.mark.req("J02.FR.20")
def test_values_in_between_are_repeated_at_the_end_where_an_interval_asks_for_them() -> None:
    minutes = [sampled(Cause.PERIODIC, 60 * n) for n in range(1, 11)]
    seldom = station(ended_interval="180")
    assert registers(told(seldom, started(), *minutes, ended(660))[-1]) == [1000, 1180, 1360, 1540, 1660]
    assert registers(told(station(), started(), *minutes, ended(660))[-1]) == [1000, 1660]


@pytest.mark.req("J02.FR.20")
def test_clock_aligned_values_are_repeated_on_their_own_grid() -> None:
    here = station(aligned_ended_measurands=REGISTER, aligned_ended_interval="900")
    minutes = [sampled(Cause.CLOCK, 300 * n - 100) for n in range(3, 10)]  # 08:13:20 and every five minutes
    at = [each["timestamp"] for each in told(here, started(500), *minutes, ended(3000))[-1]["meterValue"]]
    assert at == [
        "2027-01-15T08:08:20Z",
        "2027-01-15T08:18:20Z",
        "2027-01-15T08:33:20Z",
        "2027-01-15T08:50:00Z",
    ]


@pytest.mark.req("E06.FR.13", "J02.FR.20")
def test_too_many_values_lose_every_second_one_but_never_begin_or_end() -> None:
    here = station(ended_interval="1")
    end = told(here, started(), *(sampled(Cause.PERIODIC, n) for n in range(1, 500)), ended(500))[-1]
    values = registers(end)
    assert len(values) <= KEPT_MOST + 1
    assert (values[0], values[-1]) == (1000, 1500)
    assert values == sorted(values)
    assert max(b - a for a, b in pairwise(values)) <= 32


# ---------------------------------------------------------------- the queue


@pytest.mark.req("E04.FR.03", "E11.FR.02")
def test_offline_is_said_only_where_it_is_true() -> None:
    _, (start,) = project({}, station(), [started()])
    assert render(start, offline=True).payload == {**render(start).payload, "offline": True}


@pytest.mark.req("E11.FR.05", "E02.FR.19")
def test_only_samples_that_tell_nothing_else_may_be_thinned() -> None:
    here = station(aligned_measurands=REGISTER)
    _, drafts = project(
        {},
        here,
        [
            started(),
            sampled(Cause.PERIODIC, 60),  # tells the phases
            sampled(Cause.PERIODIC, 120),
            sampled(Cause.CLOCK, 120),
            sampled(Cause.TRIGGER, 121),
            updated(Cause.CHARGING_STATE, 122),
            ended(130),
        ],
    )
    assert [(d.kind, d.thin) for d in drafts] == [
        (START, False),
        ("update", False),
        ("update", True),
        ("update", True),
        (ASKED, False),
        ("update", False),
        ("end", False),
    ]
    assert {d.queue for d in drafts} == {"transactions"}


def test_a_transaction_that_began_elsewhere_is_never_told() -> None:
    fold, drafts = project({}, station(), [sampled(Cause.PERIODIC, 60), ended(90)])
    assert (fold, drafts) == ({}, [])


def test_a_session_is_nothing_for_the_backend() -> None:
    session = Session("tx-1", 1, "04A2", moment(), moment(9), 1000.0, 1009.0, Reason.LOCAL)
    assert project({}, station(), [session]) == ({}, [])


# ---------------------------------------------------------------- answers


@pytest.mark.req("E01.FR.12", "C10.FR.05", "C09.FR.12")
@pytest.mark.parametrize(
    ("info", "verdict"),
    [
        ({"status": "Accepted"}, Verdict(Standing.ACCEPTED)),
        ({"status": "NotAtThisTime"}, Verdict(Standing.NOT_AT_THIS_TIME)),
        (
            {"status": "Accepted", "groupIdToken": {"idToken": "G1", "type": "Central"}},
            Verdict(Standing.ACCEPTED, "G1"),
        ),
        (
            {"status": "Blocked", "cacheExpiryDateTime": "2027-01-15T09:00:00+01:00"},
            Verdict(Standing.BLOCKED, None, 1_800_000_000.0),
        ),
        ({"status": "Accepted", "groupIdToken": {"idToken": "", "type": "Central"}}, Verdict(Standing.ACCEPTED)),
    ],
)
def test_the_word_about_the_token(info: Json, verdict: Verdict) -> None:
    fold, (start,) = project({}, station(), [started()])
    learned = answered(start, {"idTokenInfo": info, "totalCost": 1.5}, fold)
    assert learned.events == (TransactionAnswered("tx-1", Token("04A2B3C4D5E680"), verdict),)


@pytest.mark.req("E05.FR.02", "E05.FR.10")
def test_a_word_in_answer_to_an_event_without_a_token_is_about_the_one_that_is_known() -> None:
    fold, drafts = project({}, station(), [started(), updated(Cause.STOP_AUTHORIZED, 9, token=OTHER)])
    fold, (update,) = project(fold, station(), [updated(Cause.CHARGING_STATE, 10)])
    invalid = {"idTokenInfo": {"status": "Invalid"}}
    known = TransactionAnswered("tx-1", Token("04A2B3C4D5E680"), Verdict(Standing.INVALID))
    assert answered(update, invalid, fold).events == (known,)
    assert answered(drafts[1], invalid, fold).events == (replace(known, token=OTHER),)


def test_a_word_about_nobody_is_not_heard() -> None:
    fold, (start,) = project({}, station(), [started(cause=Cause.PLUGGED, token=None)])
    assert answered(start, {"idTokenInfo": {"status": "Invalid"}}, fold) == Learned()
    assert answered(start, {}, fold) == Learned()


@pytest.mark.parametrize("payload", [{}, None])
def test_the_fold_forgets_a_transaction_with_its_last_message(payload: Json | None) -> None:
    records = [started(), started(tx="tx-2", outlet=2), updated(Cause.CHARGING_STATE, 9), ended(10)]
    fold, drafts = project({}, station(), records)
    for draft in drafts[:3]:
        assert answered(draft, payload, fold).fold is None
    after = answered(drafts[3], payload, fold).fold
    assert after is not None
    assert list(after) == ["tx-2"]
    assert answered(drafts[3], payload, after) == Learned()


# ---------------------------------------------------------------- in any order


_STATES = st.sampled_from(ChargingState)
_UPDATE_CAUSES = sorted(set(Cause))


@st.composite
def lives(draw: st.DrawFn) -> list[Transaction]:
    """Transactions of two outlets and one from the lobby, interleaved, each from its start to its end."""
    records: list[Transaction] = []
    running: dict[str, int | None] = {}
    second = 0.0
    for n in range(draw(st.integers(1, 12))):
        second += draw(st.sampled_from([0.0, 1.0, 30.0, 900.0]))
        free = sorted({1, 2} - set(running.values()), key=str)
        begins, metered = draw(st.booleans()), draw(st.booleans())
        if free and begins:
            rank = draw(st.sampled_from([*free, *([None] if None not in running.values() else [])]))
            running[f"tx-{n}"] = rank
            value = reading(second) if rank and metered else None
            records.append(
                started(second, tx=f"tx-{n}", outlet=rank, reading=value, state=draw(_STATES), at=moment(second))
            )
        elif running:
            tx = draw(st.sampled_from(sorted(running)))
            rank = running[tx]
            value = draw(st.sampled_from((None, reading(second), reading(second, amps=None)))) if rank else None
            if draw(st.integers(0, 3)) == 0:
                records.append(ended(second, tx=tx, outlet=rank, reading=value, state=draw(_STATES)))
                del running[tx]
            else:
                cause = draw(st.sampled_from(_UPDATE_CAUSES))
                records.append(updated(cause, second, tx=tx, outlet=rank, reading=value, state=draw(_STATES)))
    return records


@pytest.mark.req("E01.FR.07", "E04.FR.04", "E06.FR.14")
@settings(max_examples=150)
@given(records=lives(), interval=st.sampled_from(["0", "60"]), split=st.integers(0, 12))
def test_numbers_are_complete_and_every_payload_is_valid(records: list[Transaction], interval: str, split: int) -> None:
    here = station(ended_interval=interval, sampled_measurands=MANY, aligned_ended_measurands=REGISTER)
    fold, first = project({}, here, records[:split])
    fold, second = project(fold, here, records[split:])
    books = Books()
    numbers: dict[str, list[int]] = {}
    for draft in (*first, *second):
        sent = render(draft)
        assert sent.action == "TransactionEvent"
        numbers.setdefault(sent.payload["transactionInfo"]["transactionId"], []).append(sent.payload["seqNo"])
        assert draft.seq == sent.payload["seqNo"]
        assert (draft.kind == START) == (sent.payload["eventType"] == "Started")
        books.event("CP1", sent.payload)
    assert all(seen == list(range(len(seen))) for seen in numbers.values())
    assert not [words for words in books.judge(over=False) if "seqNo" in words or "unknown" in words]
    for draft in (*first, *second):
        told = answered(draft, {}, fold).fold
        fold = fold if told is None else told
    assert set(fold) - {"events"} == _of(records, Edge.STARTED) - _of(records, Edge.ENDED)


def _of(records: list[Transaction], edge: Edge) -> set[str]:
    return {record.tx for record in records if record.edge is edge}


def test_moments_survive_the_store() -> None:
    late = replace(started(), at=Moment(5.5, 1_800_000_000.25, False, 3), reading=reading(at=5.5))
    _, (draft,) = project({}, station(), [late])
    seen: list[Moment] = []

    def stamp(at: Moment) -> str:
        seen.append(at)
        return "2027-01-15T08:00:00Z"

    DIALECT.render(draft, {}, station(), stamp, False)
    assert seen == [late.at, late.at]


def test_an_end_in_the_lobby_has_no_place_and_no_values() -> None:
    lobby: dict[str, Any] = {"outlet": None, "reading": None, "state": ChargingState.IDLE}
    end = transaction(Edge.ENDED, Cause.CONNECT_TIMEOUT, 60, reason=Reason.TIMEOUT, **lobby)
    payload = told(station(), started(**lobby), end)[1]
    assert payload["triggerReason"] == "EVConnectTimeout"
    assert not {"evse", "meterValue"} & payload.keys()
