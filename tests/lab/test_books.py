"""Every complaint of the books is provoked once; clean sessions give none."""

from __future__ import annotations

import itertools

import pytest

from chargerd.lab.books import Books, shorten
from tests.lab.station import at, event201, start16, stop16, values16, whole201

CARD = {"idToken": "CARD", "type": "ISO14443"}
EVSE = {"id": 1, "connectorId": 1}


def books16(*, number: int = 7) -> Books:
    books = Books()
    books.started("CP1", start16(), lambda: number)
    return books


def books201() -> Books:
    books = Books()
    books.event("CP1", event201("Started", 0, 0, 100, "Transaction.Begin", evse=EVSE, idToken=CARD))
    return books


def only(complaints: list[str], words: str) -> None:
    assert len(complaints) == 1, complaints
    assert words in complaints[0]


def test_a_whole_16_session_is_clean() -> None:
    books = books16()
    books.metered("CP1", values16(7, 30, "500"))
    session = books.stopped("CP1", stop16(7, reason="EVDisconnected"))
    assert session is not None
    assert (session.energy_wh, session.samples, session.last_wh, session.reason) == (800, 1, 500, "EVDisconnected")
    assert books.judge() == []


def test_a_whole_2x_session_is_clean() -> None:
    books = Books()
    whole201(lambda _, payload: books.event("CP1", payload))
    (session,) = books.sessions
    assert (session.place, session.token, session.energy_wh, session.reason) == ((1, 1), "CARD", 800, "Local")
    assert session.gaps == [] and session.samples == 3
    assert books.judge() == []


def test_retries_count_once() -> None:
    numbers = itertools.count(7)
    books = Books()
    first = books.started("CP1", start16(), lambda: next(numbers))
    assert books.started("CP1", start16(), lambda: next(numbers)) is first
    for _ in range(2):
        books.metered("CP1", values16(7, 30, "500"))
    for _ in range(2):
        books.stopped("CP1", stop16(7))
    assert next(numbers) == 8
    assert (len(books.sessions), first.duplicates, first.samples) == (1, 3, 1)
    assert books.judge() == []


@pytest.mark.req("E04.FR.03")
def test_a_2x_retry_may_turn_offline() -> None:
    books = books201()
    again = event201("Started", 0, 0, 100, "Transaction.Begin", evse=EVSE, idToken=CARD, offline=True)
    books.event("CP1", again)
    assert books.sessions[0].duplicates == 1
    assert books.judge(over=False) == []


def test_an_open_session_is_a_complaint_only_when_all_is_over() -> None:
    assert books16().judge(over=False) == []
    only(books16().judge(), "never ended")


def test_unknown_transactions() -> None:
    books = Books()
    books.stopped("CP1", stop16(-1))
    books.metered("CP1", values16(5, 1, "1"))
    books.event("CP1", event201("Ended", 3, 1))
    told = books.judge()
    assert [text.split(": ")[1] for text in told] == [
        "stop for unknown transaction -1",
        "meter values for unknown transaction 5",
        "Ended for unknown transaction T1 (seqNo 3)",
    ]


def test_a_transaction_of_another_station_is_unknown() -> None:
    books = books16()
    books.stopped("CP2", stop16(7))
    assert books.judge(over=False) == ["CP2: stop for unknown transaction 7"]


def test_two_starts_at_one_connector_are_a_real_double() -> None:
    books = books16()
    books.started("CP1", start16(second=10), lambda: 8)
    books.stopped("CP1", stop16(7, second=20))
    books.stopped("CP1", stop16(8, second=30))
    told = books.judge()
    assert any("still open when connector 1 started another" in text for text in told)
    assert any("started before 7 had stopped" in text for text in told)
    assert any("register goes backwards, 100 Wh after 900 Wh" in text for text in told)


def test_a_card_may_wait_for_its_cable_while_another_transaction_runs() -> None:
    books = Books()
    whole201(lambda _, payload: books.event("CP1", payload))  # at EVSE 1 until second 60
    books.event("CP1", event201("Started", 0, 30, idToken=CARD, transaction="T2"))
    books.event("CP1", event201("Updated", 1, 70, 900, "Transaction.Begin", evse=EVSE, transaction="T2"))
    books.event("CP1", event201("Ended", 2, 90, 950, "Transaction.End", transaction="T2"))
    assert books.judge() == []


@pytest.mark.req("E01.FR.14")
def test_two_open_transactions_at_one_evse() -> None:
    books = books201()
    books.event("CP1", event201("Started", 0, 5, 100, "Transaction.Begin", evse={"id": 1}, transaction="T2"))
    only(books.judge(over=False), "still open when EVSE 1 started another")


def test_a_transaction_may_not_move() -> None:
    books = books201()
    books.event("CP1", event201("Updated", 1, 5, evse={"id": 2, "connectorId": 1}))
    only(books.judge(over=False), "moved to 2/1")


def test_register_backwards_between_samples() -> None:
    books = books16()
    books.metered("CP1", values16(7, 10, "500"))
    books.metered("CP1", values16(7, 20, "400"))
    only(books.judge(over=False), "register goes backwards, 400 Wh after 500 Wh")


def test_register_backwards_between_sessions() -> None:
    books = books16()
    books.stopped("CP1", stop16(7))
    books.started("CP1", start16(second=90, wh=899), lambda: 8)
    only(books.judge(over=False), "register goes backwards, 899 Wh after 900 Wh")


def test_negative_energy() -> None:
    books = books16()
    books.stopped("CP1", stop16(7, wh=99))
    only(books.judge(), "negative energy, -1 Wh")


def test_a_sample_outside_begin_and_end() -> None:
    books = books16()
    books.metered("CP1", values16(7, 10, "950"))
    books.stopped("CP1", stop16(7))
    only(books.judge(), "energy mismatch, Sample.Periodic of 950 Wh")


def test_whole_watt_hours_and_decimals_agree() -> None:
    books = books16()
    books.metered("CP1", values16(7, 10, "900.6"))
    books.stopped("CP1", stop16(7))
    assert books.judge() == []


@pytest.mark.parametrize("context", ["Transaction.Begin", "Transaction.End"])
def test_begin_and_end_in_the_data_must_be_those_of_the_session(context: str) -> None:
    books = books16()
    data = values16(7, 50, "500", context)["meterValue"]
    books.stopped("CP1", stop16(7, transactionData=data))
    only(books.judge(), f"{context} says 500 Wh")


def test_an_end_without_register() -> None:
    books = books201()
    books.event("CP1", event201("Ended", 1, 60))
    only(books.judge(), "without begin and end register")


def test_a_session_that_never_met_an_evse_needs_no_register() -> None:
    books = Books()
    books.event("CP1", event201("Started", 0, 0, idToken=CARD))
    books.event("CP1", event201("Ended", 1, 60, info={"stoppedReason": "Timeout"}))
    assert books.sessions[0].reason == "Timeout"
    assert books.judge() == []


def test_only_the_whole_outlet_register_counts() -> None:
    books = books16()
    payload = values16(7, 10, "500")
    samples = payload["meterValue"][0]["sampledValue"]
    samples += [
        {"value": "1", "phase": "L1"},
        {"value": "2", "location": "EV"},
        {"value": "ab", "format": "SignedData"},
        {"value": "3", "measurand": "Voltage"},
        {"value": "0.6", "unit": "kWh"},
    ]
    session = books.metered("CP1", payload)
    assert session is not None
    assert [reading.wh for reading in session.readings] == [500, 600]


def test_a_register_that_is_no_number() -> None:
    books = books16()
    books.metered("CP1", values16(7, 10, "many"))
    only(books.judge(over=False), "'many' is not a number")


@pytest.mark.req("1.6 §3.6")
def test_16_messages_are_in_order_over_the_whole_station() -> None:
    books = books16()
    books.started("CP1", start16(second=30, connector=2), lambda: 8)
    books.stopped("CP1", stop16(7, second=20))
    only(books.judge(over=False), "StopTransaction of 2026-03-01T12:00:20+00:00 delivered after one of")


def test_time_goes_back_within_a_2x_transaction() -> None:
    books = books201()
    books.event("CP1", event201("Updated", 1, 30))
    books.event("CP1", event201("Updated", 2, 20))
    only(books.judge(over=False), "seqNo 2 goes back in time")


def test_messages_after_the_end() -> None:
    books = books16()
    books.stopped("CP1", stop16(7))
    books.metered("CP1", values16(7, 70, "900"))
    only(books.judge(), "MeterValues after StopTransaction")
    books = books201()
    books.event("CP1", event201("Ended", 1, 60, 900, "Transaction.End"))
    books.event("CP1", event201("Updated", 2, 70))
    only(books.judge(), "Updated after Ended")


def test_a_second_stop_with_other_content() -> None:
    books = books16()
    books.stopped("CP1", stop16(7))
    books.stopped("CP1", stop16(7, wh=901))
    only(books.judge(), "stopped twice")
    assert books.sessions[0].end_wh == 900


@pytest.mark.req("E01.FR.07")
def test_sequence_numbers() -> None:
    books = books201()
    books.event("CP1", event201("Updated", 3, 10))
    assert books.sessions[0].gaps == [1, 2]
    assert books.judge(over=False) == []
    assert any("seqNo 1, 2 never came" in text for text in books.judge())
    assert not any("never came" in text for text in books.judge(thinned=True))
    books.event("CP1", event201("Updated", 2, 10))
    only(books.judge(over=False), "seqNo 2 delivered after 3")
    books.event("CP1", event201("Updated", 3, 11))
    assert any("seqNo 3 used for another event" in text for text in books.judge(over=False))


def test_started_twice() -> None:
    books = books201()
    books.event("CP1", event201("Started", 1, 5))
    only(books.judge(over=False), "started twice")


def test_a_number_given_twice_means_the_open_session() -> None:
    books = books16(number=0)
    books.stopped("CP1", stop16(0))
    books.started("CP1", start16(second=90, wh=900), lambda: 0)
    books.stopped("CP1", stop16(0, second=120, wh=1000))
    assert [session.energy_wh for session in books.sessions] == [800, 100]
    assert books.judge() == []


def test_statuses_belong_to_the_latest_session_of_the_place() -> None:
    books = books16()
    books.status("CP1", 1.0, (1, 1), "Charging")
    books.status("CP1", 2.0, (2, 1), "Preparing")
    assert books.sessions[0].statuses == [(1.0, "Charging")]


def test_csv_and_table() -> None:
    books = books16()
    books.stopped("CP1", stop16(7))
    books.started("CP1", start16(second=90, wh=900, tag="04A2B3C4"), lambda: 8)
    heading, first, second = books.csv().splitlines()
    assert heading.count(",") == first.count(",") == second.count(",") == 13
    assert first.startswith("CP1,1,1,7,CARD,2026-03-01T12:00:00+00:00,2026-03-01T12:01:00+00:00,100,900,800,Local")
    lines = books.table().splitlines()
    assert "0.800" in lines[1] and "open" in lines[2]
    assert "…B3C4" in lines[2] and "04A2B3C4" not in lines[2]
    assert shorten("CARD") == "CARD"
    assert at(61) == "2026-03-01T12:01:01Z"
