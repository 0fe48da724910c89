"""The two message types of 2.1: CALLRESULTERROR both ways, and SEND, which no station is meant to get."""

from __future__ import annotations

import json

import pytest

from chargerd.ocpp.rpc import Disputed, Error, Ignored
from chargerd.ocpp.schemas import Version
from tests.ocpp.test_rpc import TIME, asked, engine, frame, sent

STREAM = {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": [{"t": 0, "v": "1"}]}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (frame(3, "our-1", {}), "OccurrenceConstraintViolation"),
        (frame(3, "our-1", TIME | {"more": 1}), "ProtocolError"),
        (frame(3, "our-1"), "FormatViolation"),
        (frame(3, "our-1", TIME, 1), "FormatViolation"),
        ('[3,"our-1",{"currentTime":', "FormatViolation"),
    ],
)
def test_an_answer_that_cannot_be_read_is_disputed_once(answer: str, code: str) -> None:
    rpc = engine("2.1")
    rpc.call("Heartbeat", {}, "mine", 0.0, 30.0)
    rpc.send()
    [got] = rpc.receive(answer, 0.0)
    assert isinstance(got, Error)
    assert (got.code, got.ours, got.context) == (code, True, "mine")
    [[type_, id_, said, text, details]] = sent(rpc)
    assert (type_, id_, said, details) == (5, "our-1", code, {})
    assert text == got.description
    assert isinstance(rpc.receive(answer, 0.0)[0], Ignored)
    assert rpc.send() == []


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_older_versions_keep_it_to_themselves(version: Version) -> None:
    rpc = engine(version)
    rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    rpc.send()
    assert isinstance(rpc.receive(frame(3, "our-1", {}), 0.0)[0], Error)
    assert rpc.send() == []


@pytest.mark.parametrize("answer", [frame(4, "our-1", 7, None, "x"), frame(4, "our-1"), '[4,"our-1","Generic'])
def test_an_error_is_not_disputed_however_odd(answer: str) -> None:
    rpc = engine("2.1")
    rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    rpc.send()
    assert isinstance(rpc.receive(answer, 0.0)[0], Error)
    assert rpc.send() == []


def test_what_they_cannot_read_is_told_with_its_action_and_not_answered() -> None:
    rpc = engine("2.1")
    call = asked(rpc, "7")
    rpc.reply(call.id, {"status": "Accepted"})
    rpc.send()
    complaint = frame(5, "7", "TypeConstraintViolation", "status?", {})
    assert rpc.receive(complaint, 0.0) == [Disputed("ClearCache", "TypeConstraintViolation", "status?")]
    assert rpc.counters["disputed"] == 1
    assert isinstance(rpc.receive(complaint, 0.0)[0], Ignored)
    assert rpc.counters["stray"] == 1
    assert rpc.send() == []


@pytest.mark.parametrize("rest", [(), (7,), ("x" * 100, "y" * 300, {}), (None, None, None)])
def test_a_complaint_is_read_leniently(rest: tuple[object, ...]) -> None:
    rpc = engine("2.1")
    rpc.reply(asked(rpc, "7").id, {"status": "Accepted"})
    [got] = rpc.receive(frame(5, "7", *rest), 0.0)
    assert isinstance(got, Disputed)
    assert 0 < len(got.code) <= 64
    assert len(got.description) <= 255


def test_a_complaint_of_another_link_or_of_nothing_is_ignored() -> None:
    rpc = engine("2.1")
    assert isinstance(rpc.receive(frame(5, "7", "GenericError", "", {}), 0.0)[0], Ignored)
    rpc.refuse(asked(rpc, "8").id, "NotSupported")
    rpc.send()
    assert isinstance(rpc.receive(frame(5, "8", "GenericError", "", {}), 0.0)[0], Ignored)  # that was no CALLRESULT
    rpc.reply(asked(rpc, "9").id, {"status": "Accepted"})
    rpc.lost()
    assert isinstance(rpc.receive(frame(5, "9", "GenericError", "", {}), 0.0)[0], Ignored)
    assert rpc.counters["stray"] == 3


@pytest.mark.parametrize(
    "text",
    [
        frame(6, "1", "NotifyPeriodicEventStream", STREAM),
        frame(6, "1", "Reset", {"type": "Immediate"}),
        frame(6, "1", "MakeCoffee", {}),
        frame(6, "1", "Reset"),
        frame(6),
        '[6,"1","Reset",{',
    ],
)
def test_a_send_is_neither_done_nor_answered(text: str) -> None:
    rpc = engine("2.1")
    assert isinstance(rpc.receive(text, 0.0)[0], Ignored)
    assert rpc.send() == []


def test_what_is_only_ever_sent_cannot_be_called() -> None:
    rpc = engine("2.1")
    rpc.receive(frame(2, "1", "NotifyPeriodicEventStream", STREAM), 0.0)
    assert [answer[:3] for answer in sent(rpc)] == [[4, "1", "NotImplemented"]]


def test_complaints_to_remember_are_bounded() -> None:
    rpc = engine("2.1", rate=1e9, burst=10**6)
    for n in range(100):
        rpc.reply(asked(rpc, f"c{n}").id, {"status": "Accepted"})
        rpc.send()
    assert isinstance(rpc.receive(frame(5, "c0", "GenericError", "", {}), 0.0)[0], Ignored)
    assert isinstance(rpc.receive(frame(5, "c99", "GenericError", "", {}), 0.0)[0], Disputed)
    assert json.dumps(sent(rpc)) == "[]"
