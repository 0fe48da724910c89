from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.events import TransactionAnswered
from chargerd.core.records import Cause, Edge, Faulted, Reason, Record, Sampled, Security, Session
from chargerd.core.state import Live, Station
from chargerd.core.token import FREE, Standing, Token, Verdict
from chargerd.ocpp.dialect import Draft, Fold, Json, Learned, Outgoing
from chargerd.ocpp.v16.transactions import KEPT_MOST, running
from hal.api import MeterReading
from tests.ocpp.v16.build import (
    CARD,
    DIALECT,
    charging,
    ended,
    moment,
    reading,
    sound,
    stamp,
    started,
    station,
    transaction,
    updated,
)

ACCEPTED: Json = {"idTagInfo": {"status": "Accepted"}, "transactionId": 77}
MANY = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Current.Offered,Voltage,Frequency"
OTHER = Token("DEADBEEF")


def project(fold: Fold, here: Station, records: Sequence[Record]) -> tuple[Fold, list[Draft]]:
    """As the shell does it: fold and facts have been through the store before they are used again."""
    before = json.dumps(fold)
    after, drafts = DIALECT.project(fold, here, records)
    assert json.dumps(fold) == before, "the fold was changed in place"
    return json.loads(json.dumps(after)), [
        Draft(d.queue, d.kind, json.loads(json.dumps(d.facts)), d.at, d.tx, d.seq, d.thin) for d in drafts
    ]


def render(draft: Draft, fold: Fold, here: Station) -> Outgoing:
    return sound(DIALECT.render(draft, fold, here, stamp, False))


def answered(draft: Draft, payload: Json | None, fold: Fold, here: Station) -> Learned:
    return DIALECT.answered(Outgoing("", {}), payload, fold, here, draft)


def told(here: Station, *records: Record, number: int = 77) -> list[Outgoing]:
    """What the CSMS gets of these records when it answers everything."""
    fold, drafts = project({}, here, records)
    sent = []
    for draft in drafts:
        sent.append(render(draft, fold, here))
        answer = {**ACCEPTED, "transactionId": number} if draft.kind == "start" else {}
        fold = answered(draft, answer, fold, here).fold or fold
    return sent


# ---------------------------------------------------------------- the three messages


@pytest.mark.req("1.6 §4.8", "1.6 §6.45")
def test_a_start() -> None:
    assert told(station(), started(reading=reading(1234.5), outlet=2)) == [
        Outgoing(
            "StartTransaction",
            {"connectorId": 2, "idTag": CARD.id, "meterStart": 1234, "timestamp": "2027-01-15T08:00:00Z"},
        )
    ]


def test_a_start_without_a_register_begins_at_zero() -> None:
    assert told(station(), started(reading=None))[0].payload["meterStart"] == 0


def test_a_token_too_long_for_an_id_tag_is_cut_where_one_can_see_it() -> None:
    (start,) = told(station(), started(token=Token("0123456789" * 3)))
    assert start.payload["idTag"] == "01234567890123456..."


@pytest.mark.req("1.6 §4.7", "1.6 §6.31")
@pytest.mark.parametrize(
    ("cause", "context", "thin"),
    [
        (Cause.PERIODIC, "Sample.Periodic", True),
        (Cause.CLOCK, "Sample.Clock", False),
        (Cause.TRIGGER, "Trigger", False),
    ],
)
def test_values_within_a_transaction(cause: Cause, context: str, thin: bool) -> None:
    records = (started(), updated(cause, 60))
    assert told(station(), *records)[1] == Outgoing(
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": 77,
            "meterValue": [
                {
                    "timestamp": "2027-01-15T08:01:00Z",
                    "sampledValue": [
                        {
                            "value": "1060",
                            "context": context,
                            "measurand": "Energy.Active.Import.Register",
                            "unit": "Wh",
                        }
                    ],
                }
            ],
        },
    )
    drafts = project({}, station(), records)[1]
    assert [(draft.queue, draft.thin) for draft in drafts] == [
        ("transactions", False),
        ("volatile" if cause is Cause.TRIGGER else "transactions", thin),
    ]


@pytest.mark.req("1.6 §7.31", "1.6 §7.34", "1.6 §7.45", "1.6 §7.33", "1.6 §7.43")
def test_values_by_measurand_and_phase() -> None:
    here = station(Live(known=True, offered=16.0), sampled_measurands=MANY)
    payload = told(here, started(), updated(Cause.PERIODIC, 60))[1].payload
    values = payload["meterValue"][0]["sampledValue"]
    assert [(v["measurand"], v.get("phase"), v["value"], v.get("unit")) for v in values] == [
        ("Energy.Active.Import.Register", None, "1060", "Wh"),
        ("Power.Active.Import", None, "7360.0", "W"),
        ("Current.Import", "L1", "16.0", "A"),
        ("Current.Import", "L2", "15.9", "A"),
        ("Current.Import", "L3", "16.1", "A"),
        ("Current.Offered", None, "16.0", "A"),
        ("Voltage", "L1-N", "230.0", "V"),
        ("Voltage", "L2-N", "231.0", "V"),
        ("Voltage", "L3-N", "229.5", "V"),
        ("Frequency", None, "50.01", None),
    ]


@pytest.mark.req("1.6 §9.1.13", "1.6 §9.1.15", "1.6 §5.17")
@pytest.mark.parametrize(
    ("cause", "measurand"),
    [(Cause.PERIODIC, "Voltage"), (Cause.TRIGGER, "Voltage"), (Cause.CLOCK, "Frequency")],
)
def test_each_cause_has_its_own_measurands(cause: Cause, measurand: str) -> None:
    here = station(sampled_measurands="Voltage", aligned_measurands="Frequency")
    values = told(here, started(), updated(cause, 60))[1].payload["meterValue"][0]["sampledValue"]
    assert {value["measurand"] for value in values} == {measurand}


def test_nothing_is_sent_where_nothing_is_asked_for_or_read() -> None:
    silent = station(sampled_measurands="", aligned_measurands="")
    assert len(told(silent, started(), updated(Cause.PERIODIC, 60), updated(Cause.CLOCK, 60))) == 1
    assert len(told(station(), started(), updated(Cause.PERIODIC, 60, reading=None))) == 1


@pytest.mark.parametrize("cause", sorted(set(Cause) - {Cause.PERIODIC, Cause.CLOCK, Cause.TRIGGER}))
def test_other_updates_have_no_message(cause: Cause) -> None:
    assert len(told(station(), started(), updated(cause, 60, token=OTHER))) == 1


@pytest.mark.req("1.6 §4.7")
@pytest.mark.parametrize(("cause", "context"), [(Cause.CLOCK, "Sample.Clock"), (Cause.TRIGGER, "Trigger")])
def test_values_outside_any_transaction(cause: Cause, context: str) -> None:
    (sent,) = told(station(), Sampled(moment(900), 2, cause, reading(5)))
    assert sent.payload["connectorId"] == 2
    assert "transactionId" not in sent.payload
    assert sent.payload["meterValue"][0]["sampledValue"][0]["context"] == context


@pytest.mark.req("1.6 §4.7", "1.6 §5.17")
def test_values_asked_for_while_a_transaction_runs_carry_its_number() -> None:
    sent = told(station(), started(), Sampled(moment(9), 1, Cause.TRIGGER, reading(5), "tx-1"))
    assert sent[1].payload["transactionId"] == 77


@pytest.mark.req("1.6 §4.10", "1.6 §6.49")
def test_a_stop() -> None:
    assert told(station(), started(), ended(3600, token=OTHER))[1] == Outgoing(
        "StopTransaction",
        {
            "transactionId": 77,
            "idTag": "DEADBEEF",
            "meterStop": 4600,
            "timestamp": "2027-01-15T09:00:00Z",
            "reason": "Local",
        },
    )


@pytest.mark.req("1.6 §7.36")
@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (Reason.LOCAL, "Local"),
        (Reason.REMOTE, "Remote"),
        (Reason.VEHICLE_OUT, "EVDisconnected"),
        (Reason.DEAUTHORIZED, "DeAuthorized"),
        (Reason.TIMEOUT, "Other"),
        (Reason.EMERGENCY_STOP, "EmergencyStop"),
        (Reason.GROUND_FAULT, "Other"),
        (Reason.OVERCURRENT, "Other"),
        (Reason.POWER_LOSS, "PowerLoss"),
        (Reason.REBOOT, "Reboot"),
        (Reason.SOFT_RESET, "SoftReset"),
        (Reason.HARD_RESET, "HardReset"),
        (Reason.UNLOCK, "UnlockCommand"),
        (Reason.OTHER, "Other"),
    ],
)
def test_every_reason_has_a_word(reason: Reason, word: str) -> None:
    stop = told(station(), started(), ended(10, reason=reason))[1]
    assert stop.payload["reason"] == word
    assert "idTag" not in stop.payload


def test_the_table_of_reasons_is_whole() -> None:
    for reason in Reason:
        told(station(), started(), ended(10, reason=reason))


def test_a_stop_without_a_last_register_repeats_the_first() -> None:
    assert told(station(), started(), ended(10, reading=None))[1].payload["meterStop"] == 1000
    assert told(station(), started(), ended(10, reading=None, begin=None))[1].payload["meterStop"] == 0


# ---------------------------------------------------------------- transactionData


def data(here: Station, *records: Record) -> list[tuple[str, set[str], str]]:
    """(time, contexts, measurands) of the StopTransaction that ends `records`."""
    sets = told(here, *records)[-1].payload.get("transactionData", [])
    return [
        (
            each["timestamp"][11:19],
            {value["context"] for value in each["sampledValue"]},
            ",".join(value["measurand"] for value in each["sampledValue"]),
        )
        for each in sets
    ]


@pytest.mark.req("1.6 §9.1.25", "1.6 §9.1.27", "1.6 §7.35")
def test_the_stop_repeats_the_values_that_were_asked_for() -> None:
    here = station(stop_measurands="Power.Active.Import", aligned_ended_measurands="Frequency")
    records = (started(), updated(Cause.PERIODIC, 60), updated(Cause.CLOCK, 90), updated(Cause.TRIGGER, 95), ended(100))
    assert data(here, *records) == [
        ("08:00:00", {"Transaction.Begin"}, "Power.Active.Import"),
        ("08:01:00", {"Sample.Periodic"}, "Power.Active.Import"),
        ("08:01:30", {"Sample.Clock"}, "Frequency"),
        ("08:01:40", {"Transaction.End"}, "Power.Active.Import"),
    ]


def test_an_old_reading_is_stamped_with_its_own_time() -> None:
    here = station(stop_measurands="Power.Active.Import")
    old = replace(updated(Cause.PERIODIC, 60), reading=reading(1030.0))
    _, values, stop = told(here, started(), old, replace(ended(100), reading=reading(1040.0)))
    assert values.payload["meterValue"][0]["timestamp"] == "2027-01-15T08:00:30Z"
    assert [each["timestamp"][11:19] for each in stop.payload["transactionData"]] == [
        "08:00:00",
        "08:00:30",
        "08:00:40",
    ]
    assert stop.payload["timestamp"] == "2027-01-15T08:01:40Z"


def test_the_stop_repeats_nothing_unasked() -> None:
    records = (started(), updated(Cause.PERIODIC, 60), updated(Cause.CLOCK, 90), ended(100))
    assert data(station(), *records) == []
    assert "transactionData" not in told(station(), *records)[-1].payload
    assert [each[1] for each in data(station(aligned_ended_measurands="Voltage"), *records)] == [{"Sample.Clock"}]


def test_what_the_stop_repeats_is_bounded_and_keeps_both_ends() -> None:
    here = station(stop_measurands="Energy.Active.Import.Register")
    fold, _ = project({}, here, [started()])
    for minute in range(1, 1000):
        fold, _ = project(fold, here, [updated(Cause.PERIODIC, 60 * minute)])
        assert len(fold["tx-1"]["kept"]) <= KEPT_MOST
    _, (stop,) = project(fold, here, [ended(60_000)])
    contexts = [each["sampledValue"][0]["context"] for each in stop.facts["data"]]
    assert contexts[0] == "Transaction.Begin" and contexts[-1] == "Transaction.End"
    assert set(contexts[1:-1]) == {"Sample.Periodic"} and len(contexts) > KEPT_MOST / 2
    times = [each["at"]["mono"] for each in stop.facts["data"]][:-1]
    assert len({b - a for a, b in pairwise(times)}) == 1  # the whole time alike


# ---------------------------------------------------------------- the number of the CSMS


@pytest.mark.req("1.6 §4.8", "1.6 §6.46")
@pytest.mark.parametrize("number", [0, 1, -1, 1_795_354_736, 2**63 - 1])
def test_any_number_is_taken(number: int) -> None:
    sent = told(station(), started(), updated(Cause.PERIODIC, 60), ended(90), number=number)
    assert [each.payload.get("transactionId") for each in sent] == [None, number, number]


def test_nothing_that_needs_the_number_is_rendered_before_it_is_known() -> None:
    fold, (_, values, stop) = project({}, station(), [started(), updated(Cause.PERIODIC, 60), ended(90)])
    for draft in (values, stop):
        with pytest.raises(ValueError, match=r"tx-1.*no transactionId"):
            DIALECT.render(draft, fold, station(), stamp, False)


def test_a_number_that_comes_again_belongs_to_the_younger_of_those_that_run() -> None:
    here = charging(charging(station(), 1, "old"), 2, "young")
    fold, drafts = project({}, here, [started("gone"), started("old"), started("young", outlet=2), ended(5, "gone")])
    for draft in drafts[:3]:
        fold = answered(draft, {**ACCEPTED, "transactionId": 0}, fold, here).fold or fold
    assert running(fold, here, 0) == "young"
    assert running(fold, charging(station(), 1, "old"), 0) == "old"
    assert running(fold, station(), 0) is None
    assert running(fold, here, 77) is None


# ---------------------------------------------------------------- what an answer means


@pytest.mark.req("1.6 §4.8", "1.6 §7.27")
@pytest.mark.parametrize(
    ("info", "verdict"),
    [
        ({"status": "Accepted"}, Verdict(Standing.ACCEPTED)),
        ({"status": "Blocked"}, Verdict(Standing.BLOCKED)),
        ({"status": "Expired"}, Verdict(Standing.EXPIRED)),
        ({"status": "Invalid"}, Verdict(Standing.INVALID)),
        ({"status": "ConcurrentTx"}, Verdict(Standing.CONCURRENT)),
        ({"status": "Accepted", "parentIdTag": "FAMILY"}, Verdict(Standing.ACCEPTED, "FAMILY")),
        ({"status": "Accepted", "parentIdTag": ""}, Verdict(Standing.ACCEPTED)),
        (
            {"status": "Accepted", "expiryDate": "2027-01-15T09:00:00+01:00"},
            Verdict(Standing.ACCEPTED, None, 1_800_000_000.0),
        ),
    ],
)
def test_the_word_about_the_token_that_started(info: Json, verdict: Verdict) -> None:
    fold, (start,) = project({}, station(), [started()])
    learned = answered(start, {"idTagInfo": info, "transactionId": 5}, fold, station())
    assert learned.events == (TransactionAnswered("tx-1", CARD, verdict),)
    assert learned.fold == {"tx-1": {"id": 5, "kept": [], "seen": 0, "every": 1}}


@pytest.mark.req("1.6 §4.10", "1.6 §6.50")
def test_the_word_about_the_token_that_stopped() -> None:
    fold, (_, stop) = project({}, station(), [started(), ended(9, token=OTHER)])
    info = {"idTagInfo": {"status": "Expired"}}
    assert answered(stop, info, fold, station()).events == (
        TransactionAnswered("tx-1", OTHER, Verdict(Standing.EXPIRED)),
    )
    assert answered(stop, {}, fold, station()).events == ()
    _, (_, unnamed) = project({}, station(), [started(), ended(9)])
    assert answered(unnamed, info, fold, station()).events == ()


def test_the_kind_of_a_token_survives() -> None:
    fold, (start,) = project({}, station(), [started(token=FREE)])
    (event,) = answered(start, ACCEPTED, fold, station()).events
    assert isinstance(event, TransactionAnswered) and event.token == FREE


@pytest.mark.parametrize("payload", [{}, None])
def test_the_fold_forgets_a_transaction_with_its_last_answer(payload: Json | None) -> None:
    fold, drafts = project({}, station(), [started("a"), started("b"), updated(Cause.CLOCK, 5, "a"), ended(9, "a")])
    assert answered(drafts[2], payload, fold, station()).fold is None
    assert answered(drafts[3], payload, fold, station()).fold == {"b": {"id": None, "kept": [], "seen": 0, "every": 1}}


def test_a_dead_start_is_forgotten_and_what_follows_is_still_written_down() -> None:
    here = station(stop_measurands="Voltage")
    fold, (start,) = project({}, here, [started()])
    fold = answered(start, None, fold, here).fold or {}
    assert fold == {}
    fold, drafts = project(fold, here, [updated(Cause.PERIODIC, 60), ended(90)])
    assert [draft.kind for draft in drafts] == ["meter", "stop"] and fold == {}
    assert [answered(draft, None, fold, here).fold for draft in drafts] == [None, None]


# ---------------------------------------------------------------- any history


def test_faults_security_and_sessions_have_no_queued_message() -> None:
    session = Session("tx-1", 1, CARD.id, moment(), moment(9), 0.0, 1.0, Reason.LOCAL)
    assert (
        told(station(), Faulted(moment(), 1, "DiodeFault", True), Security(moment(), "StartupOfTheDevice"), session)
        == []
    )


UIDS = ("a", "b", "c")
FIGURES = st.floats(0, 1e9) | st.just(float("nan"))
READINGS = st.builds(
    MeterReading,
    at=st.just(1.0),
    energy=FIGURES,
    power=st.none() | FIGURES,
    volts=st.none() | st.tuples(*[FIGURES] * 3),
)
TOKENS = st.none() | st.builds(Token, st.text(max_size=36))
RECORDS = st.builds(
    transaction,
    edge=st.just(Edge.UPDATED),
    cause=st.sampled_from(Cause),
    second=st.floats(0, 1e6),
    tx=st.sampled_from(UIDS),
    outlet=st.sampled_from((1, 2)),
    token=TOKENS,
    reading=st.none() | READINGS,
    phases=st.sampled_from((1, 3)),
) | st.builds(
    Sampled,
    at=st.just(moment()),
    outlet=st.sampled_from((1, 2)),
    cause=st.sampled_from((Cause.CLOCK, Cause.TRIGGER)),
    reading=READINGS,
    tx=st.none() | st.sampled_from(UIDS),
)


@pytest.mark.req("1.6 §3.6")
@given(st.lists(RECORDS, max_size=12), TOKENS, st.sampled_from(Reason), st.data())
def test_any_history_gives_sound_messages_in_their_order(
    between: list[Any], token: Token | None, reason: Reason, more: st.DataObject
) -> None:
    here = station(
        sampled_measurands=MANY, aligned_measurands=MANY, stop_measurands=MANY, aligned_ended_measurands=MANY
    )
    starts = [started(uid, token=token or CARD) for uid in UIDS]
    ends = [ended(9, uid, reason, token=token, reading=more.draw(st.none() | READINGS)) for uid in UIDS]
    fold: Fold = {}
    drafts: list[Draft] = []
    for record in [*starts, *between, *ends]:
        fold, new = project(fold, here, [record])
        drafts += [draft for draft in new if draft.queue != "volatile"]
    kinds = [draft.kind for draft in drafts]
    assert {draft.queue for draft in drafts} == {"transactions"}
    assert kinds[:3] == ["start"] * 3 and kinds[-3:] == ["stop"] * 3 and set(kinds[3:-3]) <= {"meter"}
    numbers = dict(zip(UIDS, (0, 0, 5), strict=True))
    for draft in drafts:
        sent = render(draft, fold, here)
        assert sent.payload.get("transactionId") == (numbers.get(draft.tx or "") if draft.kind != "start" else None)
        answer = {**ACCEPTED, "transactionId": numbers[draft.tx or ""]} if draft.kind == "start" else {}
        learned = answered(draft, answer, fold, here)
        fold = fold if learned.fold is None else learned.fold
    assert fold == {}
