"""What the judge says of frames and manners."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.lab.csms import Boot, Csms
from chargerd.lab.peer import Payload, Script
from tests.lab.station import BOOT, V16, V21, V201, Station, start16


@pytest.fixture
def csms() -> Csms:
    return Csms(clock=lambda: 1_790_000_000.0)


JUNK = [
    "not json",
    "{}",
    "[]",
    "3",
    '[2,"1"]',
    '[2,"","Heartbeat",{}]',
    '[2,7,"Heartbeat",{}]',
    '[2,"1","Heartbeat",null]',
    '[2,"1",["Heartbeat"],{}]',
    '[2,"1","Heartbeat",{"a":1,"a":2}]',
    '[2,"1","Heartbeat",{"a":NaN}]',
    '[2,"1","Heartbeat",{"a":1e999}]',
    "[" * 100_000,
    json.dumps([2, "x" * 37, "Heartbeat", {}]),
    '[9,"1",{}]',
    b"[]",
    " " * (1 << 21),
]


@pytest.mark.parametrize("version", [V16, V201, V21])
@pytest.mark.parametrize("text", JUNK, ids=range(len(JUNK)))
def test_junk_is_a_violation_and_the_link_lives(csms: Csms, version: str, text: Any) -> None:
    station = Station(csms, version)
    station.peer.receive(text)
    assert len(station.violations()) == 1
    assert "unreadable frame" in station.violations()[0]
    assert station.result("Heartbeat", {})


def test_junk_is_answered_as_the_version_says(csms: Csms) -> None:
    newest, new, old = Station(csms, V21, "NEWEST"), Station(csms, V201, "NEW"), Station(csms, V16, "OLD")
    for station in (newest, new, old):
        station.said.clear()
        for text in ("junk", '[9,"1",{}]', '[2,"5","Heartbeat"]'):
            station.peer.receive(text)
    answers = [frame[:3] for frame in new.said]
    assert answers == [[4, "-1", "RpcFrameworkError"], [4, "1", "MessageTypeNotSupported"], [4, "5", "FormatViolation"]]
    assert [frame[:3] for frame in newest.said] == [answers[0], answers[2]]
    assert [frame[:3] for frame in old.said] == [[4, "5", "FormationViolation"]]


def test_a_send_that_nobody_asked_for_is_a_violation_and_not_answered(csms: Csms) -> None:
    station = Station(csms, V21)
    station.said.clear()
    station.peer.receive('[6,"1","NotifyPeriodicEventStream",{}]')
    assert "SEND of NotifyPeriodicEventStream" in station.violations()[0]
    assert station.said == []


def test_an_answer_that_the_station_cannot_read_may_be_disputed_once(csms: Csms) -> None:
    station = Station(csms, V21)
    csms.script("Heartbeat", Script(answer={}))
    station.call("Heartbeat", {}, "h1")
    dispute = json.dumps([5, "h1", "OccurrenceConstraintViolation", "currentTime: is required", {}])
    station.peer.receive(dispute)
    assert station.violations() == []
    last = station.view.wire[-1]
    assert (last.kind, last.action, last.payload["code"]) == ("dispute", "Heartbeat", "OccurrenceConstraintViolation")
    station.peer.receive(dispute)
    assert "to no answer of ours" in station.violations()[0]
    station.peer.receive(json.dumps([5, "h1", "WhateverViolation", "", {}]))
    assert "no error code" in station.violations()[1]


def test_the_judge_disputes_an_answer_that_breaks_the_schema(csms: Csms) -> None:
    for version, disputes in ((V201, []), (V21, [[5, "csms-2", "OccurrenceConstraintViolation"]])):
        station = Station(csms, version, version)
        got: list[Any] = []
        message_id = station.peer.ask("ClearCache", {}, got.append)
        station.said.clear()
        station.peer.receive(json.dumps([3, message_id, {}]))
        assert [frame[:3] for frame in station.said] == disputes
        assert got[0].code == "OccurrenceConstraintViolation"


@given(
    st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=8).map(json.dumps))
)
def test_no_frame_raises(text: str) -> None:
    station = Station(Csms(clock=lambda: 0.0), V201)
    station.peer.receive(text)
    assert len(station.violations()) >= 1


def test_unknown_unserved_and_faulty_calls(csms: Csms) -> None:
    station = Station(csms)
    assert station.call("Sing", {})[2] == "NotImplemented"
    assert station.call("Reset", {"type": "Soft"})[2] == "NotSupported"
    assert station.call("Authorize", {})[2] == "OccurenceConstraintViolation"
    assert [text.split(":")[0] for text in station.violations()] == ["Sing", "Authorize"]


@pytest.mark.req("B02.FR.02", "B02.FR.09", "B03.FR.07", "1.6 §4.2")
@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize("version", [V16, V201, V21])
def test_who_is_not_accepted_may_only_boot(csms: Csms, version: str, status: str) -> None:
    csms.boot = Boot(status, 10)
    station = Station(csms, version)
    assert station.said[-1][2]["status"] == status and station.said[-1][2]["interval"] == 10
    assert station.call("Heartbeat", {})[2] == "SecurityError"
    assert station.violations() == [f"Heartbeat: sent while {status}"]
    csms.boot = Boot()
    station.call("BootNotification", BOOT[version])
    assert station.result("Heartbeat", {})


async def test_a_pending_station_may_say_what_it_was_asked_for(csms: Csms) -> None:
    csms.boot = Boot("Pending", 10)
    station = Station(csms)
    station.peer.ask("TriggerMessage", {"requestedMessage": "Heartbeat"}, lambda _: None)
    assert station.result("Heartbeat", {})
    assert station.violations() == []


def test_not_booted_is_noted_and_served(csms: Csms) -> None:
    station = Station(csms, boot=False)
    assert station.result("Heartbeat", {})
    assert station.violations() == ["Heartbeat: sent while not booted"]


@pytest.mark.req("1.6J §4.1.4")
def test_16_ids_are_unique_on_one_connection(csms: Csms) -> None:
    station = Station(csms)
    station.call("Heartbeat", {}, "a")
    station.call("Heartbeat", {}, "a")
    assert station.violations() == ["Heartbeat: message id a used again"]
    again = Station(csms, boot=False)
    again.call("Heartbeat", {}, "a")
    assert len(again.violations()) == 1


def test_2x_ids_are_unique_for_ever_but_for_the_same_message(csms: Csms) -> None:
    station = Station(csms, V201)
    station.call("Heartbeat", {}, "a")
    station.call("Heartbeat", {}, "a")
    assert station.violations() == []
    again = Station(csms, V201, boot=False)
    again.call("BootNotification", BOOT[V201], "a")
    assert station.violations() == ["BootNotification: message id a used again"]


@pytest.mark.req("1.6J §4.1.1")
def test_one_call_at_a_time_until_patience_ends() -> None:
    now = [0.0]
    csms = Csms(clock=lambda: now[0])
    station = Station(csms)
    csms.script("Heartbeat", Script(mute=True), times=2)
    assert station.call("Heartbeat", {}, "a") is None
    now[0] = 4.9
    assert station.call("Heartbeat", {}, "b") is None
    assert station.violations() == ["Heartbeat: a second CALL while a waits for its answer"]
    now[0] = 10.0
    assert station.result("Heartbeat", {})
    assert len(station.violations()) == 1


def test_answers_of_the_station_are_judged(csms: Csms) -> None:
    station = Station(csms)
    got: list[Payload | Exception] = []

    def ask() -> str:
        return station.peer.ask("ClearCache", {}, got.append)

    station.peer.receive(json.dumps([3, ask(), {"status": "Accepted"}]))
    station.peer.receive(json.dumps([3, ask(), {"status": "Perhaps"}]))
    station.peer.receive(json.dumps([4, ask(), "FormatViolation", "d" * 256, {}]))
    station.peer.receive(json.dumps([3, "never", {}]))
    late = ask()
    station.peer.give_up(late)
    station.peer.receive(json.dumps([3, late, {"status": "Accepted"}]))
    assert got[0] == {"status": "Accepted"}
    assert [str(result).split(":")[0] for result in got[1:]] == ["PropertyConstraintViolation", "FormatViolation"]
    assert [text[:45] for text in station.violations()] == [
        "ClearCache: answered with PropertyConstraintV",
        "ClearCache: FormatViolation is no error code ",
        "ClearCache: error description longer than 255",
        "an answer to no CALL of ours, id 'never'",
    ]


def test_scripts(csms: Csms) -> None:
    station = Station(csms)
    for script in (
        Script(error=("InternalError", "sorry")),
        Script(mute=True),
        Script(copies=2),
        Script(wrong_id=True),
        Script(answer={"currentTime": "never"}),
    ):
        csms.script("Heartbeat", script)
    csms.patience = 0.0
    assert station.call("Heartbeat", {}, "1")[:4] == [4, "1", "InternalError", "sorry"]
    assert station.call("Heartbeat", {}, "2") is None
    before = len(station.said)
    station.call("Heartbeat", {}, "3")
    assert [frame[:2] for frame in station.said[before:]] == [[3, "3"], [3, "3"]]
    assert station.call("Heartbeat", {}, "4")[1] != "4"
    assert station.call("Heartbeat", {}, "5") == [3, "5", {"currentTime": "never"}]
    assert "T" in station.result("Heartbeat", {})["currentTime"]
    assert station.violations() == []


def test_what_is_lost_on_the_way_and_what_is_heard(csms: Csms) -> None:
    station = Station(csms)
    csms.patience = 0.0
    csms.script("StartTransaction", Script(heard=False))
    csms.script("StartTransaction", Script(error=("InternalError", "")))
    csms.script("StartTransaction", Script(mute=True))
    assert station.call("StartTransaction", start16()) is None
    assert station.call("StartTransaction", start16())[0] == 4
    assert csms.books.sessions == []
    assert station.call("StartTransaction", start16()) is None
    assert station.result("StartTransaction", start16())["transactionId"] == 1
    assert csms.books.sessions[0].duplicates == 1


def test_a_cut_loses_the_answer_and_the_link(csms: Csms) -> None:
    station = Station(csms)
    failed: list[Payload | Exception] = []
    station.peer.ask("ClearCache", {}, failed.append)
    csms.script("StartTransaction", Script(cut=True))
    before = len(station.said)
    station.call("StartTransaction", start16())
    station.call("Heartbeat", {})
    assert len(station.said) == before and station.closed == 1
    assert not csms.connected("CP1") and len(csms.books.sessions) == 1
    assert str(failed[0]).startswith("LinkLost")


async def test_a_standing_script_for_one_station(csms: Csms) -> None:
    one, two = Station(csms), Station(csms, name="CP2")
    csms.script("Heartbeat", Script(error=("GenericError", "")), times=None, station="CP1")
    for _ in range(2):
        assert one.call("Heartbeat", {})[0] == 4
        assert two.call("Heartbeat", {})[0] == 3
    csms.unscript()
    assert one.call("Heartbeat", {})[0] == 3


def test_the_wire_log(csms: Csms) -> None:
    seen: list[str] = []
    csms.watchers.append(lambda view, frame: seen.append(f"{view.id} {frame.direction} {frame.kind} {frame.action}"))
    station = Station(csms)
    station.peer.receive("junk")
    assert seen == ["CP1 < call BootNotification", "CP1 > result BootNotification", "CP1 < junk "]
    assert [frame.id for frame in station.view.wire] == ["1-1", "1-1", "-1"]
    assert station.view.calls() == station.view.calls("BootNotification") == [BOOT[V16]]
