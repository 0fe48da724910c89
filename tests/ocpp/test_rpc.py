"""The engine: whom each frame concerns, what it answers by itself, and that nothing which arrives harms it."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chargerd.ocpp.rpc import ERROR_CODES, NO_ID, Busy, Call, Error, Ignored, Limits, Result, Rpc, Timeout, Unsendable
from chargerd.ocpp.schemas import Version

FRAMES = sorted((Path(__file__).parents[1] / "fixtures" / "frames").glob("*.frame"))
EACH: tuple[Version, ...] = ("1.6", "2.0.1", "2.1")
TIME = {"currentTime": "2026-01-01T00:00:00Z"}


def engine(version: Version = "1.6", **limits: Any) -> Rpc:
    numbers = count(1)
    return Rpc(version, lambda: f"our-{next(numbers)}", Limits(**limits))


def frame(*parts: object) -> str:
    return json.dumps(parts)


def sent(rpc: Rpc) -> list[Any]:
    return [json.loads(text) for text in rpc.send()]


def asked(rpc: Rpc, id: str = "1", action: str = "ClearCache", payload: object = None) -> Call:
    [got] = rpc.receive(frame(2, id, action, payload), 0.0)
    assert isinstance(got, Call)
    return got


# ---- CALLs of ours


@pytest.mark.req("1.6J §4.2.1", "1.6J §4.2.2")
def test_a_call_and_its_result() -> None:
    rpc = engine()
    assert rpc.call("Heartbeat", {}, "mine", now=5.0, timeout=30.0) == "our-1"
    assert rpc.send() == ['[2,"our-1","Heartbeat",{}]']
    assert rpc.send() == []
    assert rpc.wake_at == 35.0
    assert rpc.receive(frame(3, "our-1", TIME), 6.0) == [Result("our-1", "Heartbeat", TIME, "mine")]
    assert rpc.wake_at is None
    assert not rpc.busy


@pytest.mark.req("1.6J §4.1.1", "2.0.1 part 4 §4.1.1")
def test_one_call_of_ours_at_a_time() -> None:
    rpc = engine()
    rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    assert rpc.busy
    with pytest.raises(Busy, match="Heartbeat"):
        rpc.call("Heartbeat", {}, None, 1.0, 30.0)
    assert len(rpc.send()) == 1


@pytest.mark.req("1.6J §4.1.1", "2.0.1 part 4 §4.1.1")
def test_after_the_timeout_the_next_may_go_and_a_late_answer_is_one_once() -> None:
    rpc = engine()
    rpc.call("Heartbeat", {}, "first", 0.0, 30.0)
    assert rpc.timeouts(29.9) == []
    assert rpc.timeouts(30.0) == [Timeout("our-1", "Heartbeat", "first")]
    assert rpc.timeouts(99.0) == []
    rpc.call("Heartbeat", {}, "second", 31.0, 30.0)
    assert isinstance(rpc.receive(frame(3, "our-1", {"currentTime": 7}), 31.5)[0], Ignored)
    assert rpc.receive(frame(3, "our-1", TIME), 32.0) == [Result("our-1", "Heartbeat", TIME, "first", late=True)]
    assert isinstance(rpc.receive(frame(3, "our-1", TIME), 32.5)[0], Ignored)
    assert rpc.counters["late"] == 3
    assert rpc.receive(frame(3, "our-2", TIME), 33.0) == [Result("our-2", "Heartbeat", TIME, "second")]


def test_answers_twice_and_stray_are_counted_and_kept_nowhere() -> None:
    rpc = engine()
    rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    rpc.receive(frame(3, "our-1", TIME), 1.0)
    rpc.send()
    assert isinstance(rpc.receive(frame(3, "our-1", TIME), 1.0)[0], Ignored)
    assert isinstance(rpc.receive(frame(4, "other", "GenericError", "", {}), 1.0)[0], Ignored)
    assert rpc.counters == {"twice": 1, "stray": 1}
    assert rpc.send() == []


def test_their_callerror_reaches_the_caller() -> None:
    rpc = engine("2.0.1")
    rpc.call("Heartbeat", {}, "mine", 0.0, 30.0)
    got = rpc.receive(frame(4, "our-1", "SecurityError", "no " * 200, {"x": 1}), 1.0)
    assert got == [Error("our-1", "Heartbeat", "SecurityError", ("no " * 200)[:255], "mine", ours=False)]
    assert not rpc.busy


@pytest.mark.parametrize(
    ("version", "answer", "code"),
    [
        ("1.6", {}, "OccurenceConstraintViolation"),
        ("2.0.1", {}, "OccurrenceConstraintViolation"),
        ("1.6", [], "FormationViolation"),
        ("2.0.1", TIME | {"more": 1}, "ProtocolError"),
        ("1.6", {"currentTime": "now"}, "PropertyConstraintViolation"),
        ("2.0.1", {"currentTime": 7}, "TypeConstraintViolation"),
    ],
)
def test_an_invalid_result_is_an_error_of_our_finding_and_never_answered(
    version: Version, answer: object, code: str
) -> None:
    rpc = engine(version)
    rpc.call("Heartbeat", {}, "mine", 0.0, 30.0)
    rpc.send()
    [got] = rpc.receive(frame(3, "our-1", answer), 1.0)
    assert isinstance(got, Error)
    assert (got.code, got.ours, got.context) == (code, True, "mine")
    assert rpc.send() == []
    assert not rpc.busy


@pytest.mark.parametrize("text", ['[3,"our-1"]', '[3,"our-1",{},{}]', '[3,"our-1",{"currentTime":', '[4,"our-1",NaN]'])
def test_a_broken_answer_ends_our_call(text: str) -> None:
    rpc = engine()
    rpc.call("Heartbeat", {}, "mine", 0.0, 30.0)
    rpc.send()
    [got] = rpc.receive(text, 1.0)
    assert isinstance(got, Error)
    assert (got.code, got.ours) == ("FormationViolation", True)
    assert rpc.send() == []


def test_null_is_an_empty_result() -> None:
    rpc = engine()
    rpc.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}, None, 0.0, 30.0)
    [got] = rpc.receive(frame(3, "our-1", None), 1.0)
    assert isinstance(got, Result)
    assert got.payload == {}


@pytest.mark.req("2.0.1 part 4 §4.1.4")
def test_a_retry_may_keep_its_message_id() -> None:
    rpc = engine("2.0.1")
    first = rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    rpc.timeouts(30.0)
    assert rpc.call("Heartbeat", {}, "again", 31.0, 30.0, message_id=first) == first
    [got] = rpc.receive(frame(3, first, TIME), 32.0)
    assert isinstance(got, Result)
    assert got.context == "again"


def test_what_is_no_ocpp_is_never_sent() -> None:
    rpc = engine()
    with pytest.raises(Unsendable, match="TransactionEvent"):
        rpc.call("TransactionEvent", {}, None, 0.0, 30.0)
    with pytest.raises(Unsendable, match="idTag"):
        rpc.call("Authorize", {}, None, 0.0, 30.0)
    with pytest.raises(Unsendable, match="37"):
        rpc.call("Heartbeat", {}, None, 0.0, 30.0, message_id="x" * 37)
    infinite = {"vendorId": "v", "data": float("inf")}
    with pytest.raises(Unsendable, match="JSON"):
        engine("2.0.1").call("DataTransfer", infinite, None, 0.0, 30.0)
    assert rpc.send() == []
    assert not rpc.busy


# ---- CALLs of theirs


def test_their_call_is_answered_while_ours_is_open() -> None:
    rpc = engine()
    rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    call = asked(rpc, "their-1", "Reset", {"type": "Soft"})
    assert (call.action, call.payload) == ("Reset", {"type": "Soft"})
    assert rpc.reply(call.id, {"status": "Accepted"})
    assert sent(rpc) == [[2, "our-1", "Heartbeat", {}], [3, "their-1", {"status": "Accepted"}]]
    assert rpc.busy


def test_a_refusal_is_cut_to_its_length() -> None:
    rpc = engine("2.0.1")
    call = asked(rpc, "their-1")
    assert rpc.refuse(call.id, "NotSupported", "no" * 200)
    assert sent(rpc) == [[4, "their-1", "NotSupported", ("no" * 200)[:255], {}]]
    assert not rpc.refuse(call.id, "NotSupported")
    assert not rpc.reply(call.id, {"status": "Accepted"})
    assert rpc.counters["unasked"] == 2
    assert rpc.send() == []


@pytest.mark.req("1.6J §4.2.3", "2.0.1 part 4 §4.3")
def test_the_error_codes_of_a_version_are_its_own() -> None:
    assert ERROR_CODES["1.6"] ^ ERROR_CODES["2.0.1"] == {
        "FormationViolation",
        "FormatViolation",
        "OccurenceConstraintViolation",
        "OccurrenceConstraintViolation",
        "RpcFrameworkError",
    }
    assert ERROR_CODES["2.1"] == ERROR_CODES["2.0.1"]
    for version, code in (("1.6", "FormatViolation"), ("2.0.1", "MessageTypeNotSupported")):
        rpc = engine(version)  # type: ignore[arg-type]
        call = asked(rpc)
        with pytest.raises(Unsendable, match=code):
            rpc.refuse(call.id, code)
        assert rpc.refuse(call.id, "GenericError")


def test_an_invalid_reply_is_our_fault_and_can_still_be_refused() -> None:
    rpc = engine()
    call = asked(rpc)
    with pytest.raises(Unsendable, match="status"):
        rpc.reply(call.id, {})
    assert rpc.refuse(call.id, "InternalError")


@pytest.mark.parametrize("version", EACH)
def test_null_is_an_empty_payload(version: Version) -> None:
    assert asked(engine(version), "1", "ClearCache", None).payload == {}


def test_vendor_data_passes_untouched_both_ways() -> None:
    data = {"FooBar": {"my_url": [1, None, "ü😀"]}, "soC": 1.25, "big": 10**300}
    rpc = engine("2.0.1")
    call = asked(rpc, "1", "DataTransfer", {"vendorId": "v", "data": data, "customData": {"vendorId": "w", "XyZ": 1}})
    assert call.payload["data"] == data
    assert call.payload["customData"] == {"vendorId": "w", "XyZ": 1}
    rpc.reply(call.id, {"status": "Accepted", "data": data})
    assert sent(rpc)[0][2]["data"] == data


@pytest.mark.req("1.6J §4.2.3", "2.0.1 part 4 §4.2.3")
@pytest.mark.parametrize(
    ("text", "on_16", "on_201"),
    [
        ('[2,"7","MakeCoffee",{}]', ("7", "NotImplemented"), ("7", "NotImplemented")),
        ('[2,"7","Reset",{}]', ("7", "OccurenceConstraintViolation"), ("7", "OccurrenceConstraintViolation")),
        ('[2,"7","Reset",{"type":1}]', ("7", "TypeConstraintViolation"), ("7", "TypeConstraintViolation")),
        ('[2,"7","Reset",{"type":"No"}]', ("7", "PropertyConstraintViolation"), ("7", "PropertyConstraintViolation")),
        ('[2,"7","ClearCache",{"a":1}]', ("7", "FormationViolation"), ("7", "ProtocolError")),
        ('[2,"7","ClearCache",[]]', ("7", "FormationViolation"), ("7", "FormatViolation")),
        ('[2,"7","ClearCache",{}', ("7", "FormationViolation"), ("7", "FormatViolation")),
        ('[2,"7","ClearCache",NaN]', ("7", "FormationViolation"), ("7", "FormatViolation")),
        ('[2,"7","Reset",{"type":"Hard","type":"Soft"}]', ("7", "FormationViolation"), ("7", "FormatViolation")),
        ('[2,"7","DataTransfer",{"vendorId":"\\ud800"}]', ("7", "FormationViolation"), ("7", "FormatViolation")),
        ('[2,"7","ClearCache"]', ("7", "FormationViolation"), ("7", "RpcFrameworkError")),
        ('[2,"7",["ClearCache"],{}]', ("7", "FormationViolation"), ("7", "RpcFrameworkError")),
        ('[2,7,"ClearCache",{}]', None, ("-1", "RpcFrameworkError")),
        ('[2,"' + "x" * 37 + '","ClearCache",{}]', None, ("-1", "RpcFrameworkError")),
        ("[2]", None, ("-1", "RpcFrameworkError")),
        ("hello", None, ("-1", "RpcFrameworkError")),
        ("{}", None, ("-1", "RpcFrameworkError")),
    ],
)
def test_what_is_wrong_with_a_call(text: str, on_16: tuple[str, str] | None, on_201: tuple[str, str]) -> None:
    for version, expected in (("1.6", on_16), ("2.0.1", on_201), ("2.1", on_201)):
        rpc = engine(version)  # type: ignore[arg-type]
        [got] = rpc.receive(text, 0.0)
        assert isinstance(got, Ignored)
        assert [(answer[1], answer[2]) for answer in sent(rpc)] == ([expected] if expected else [])


@pytest.mark.req("1.6J §4.1.3", "2.0.1 part 4 §4.1.3")
@pytest.mark.parametrize("version", EACH)
@pytest.mark.parametrize(
    "text",
    ['[5,"1","x"]', '[6,"1","A",{}]', "[1]", '["2","1","ClearCache",{}]', '[2.0,"1","ClearCache",{}]', '[9,"1",{'],
)
def test_an_unknown_message_type_is_ignored(version: Version, text: str) -> None:
    rpc = engine(version)
    assert isinstance(rpc.receive(text, 0.0)[0], Ignored)
    assert rpc.send() == []
    later = version == "2.1" and text[1] in "56"  # types that 2.1 has: see test_rpc21
    assert rpc.counters["unknown type"] == (0 if later else 1)


@pytest.mark.parametrize("version", EACH)
@pytest.mark.parametrize(
    "text", ['[4,"-1","RpcFrameworkError","",{}]', '[4,"-1","Rpc', '[3,"1",', "[3]", "[4]", "[3,null]"]
)
def test_an_answer_is_never_answered(version: Version, text: str) -> None:
    rpc = engine(version)
    assert isinstance(rpc.receive(text, 0.0)[0], Ignored)
    assert rpc.send() == []
    assert rpc.counters == {"stray" if text.endswith("]") else "malformed": 1}


@pytest.mark.req("1.6J §4.2.3", "2.0.1 part 4 §4.2.3")
@pytest.mark.parametrize(
    ("version", "code"), [("1.6", "GenericError"), ("2.0.1", "RpcFrameworkError"), ("2.1", "RpcFrameworkError")]
)
def test_an_id_that_is_being_handled_is_refused_and_the_first_call_still_answered(version: Version, code: str) -> None:
    rpc = engine(version)
    call = asked(rpc, "7")
    rpc.receive(frame(2, "7", "ClearCache", {}), 0.0)
    assert rpc.reply(call.id, {"status": "Accepted"})
    assert [answer[:3] for answer in sent(rpc)] == [[4, "7", code], [3, "7", {"status": "Accepted"}]]
    asked(rpc, "7")  # free again: a resent request whose answer was lost


# ---- limits


def test_a_frame_that_is_too_big_is_not_read() -> None:
    rpc = engine("2.0.1", size=100)
    assert isinstance(rpc.receive(frame(2, "7", "DataTransfer", {"vendorId": "x" * 40}), 0.0)[0], Call)
    rpc.receive(frame(2, "8", "DataTransfer", {"vendorId": "x" * 90}), 0.0)
    rpc.receive(json.dumps([2, "9", "DataTransfer", {"vendorId": "ü" * 40}], ensure_ascii=False), 0.0)
    assert [answer[1:4] for answer in sent(rpc)] == [
        ["8", "FormatViolation", "frame of more than 100 bytes"],
        ["9", "FormatViolation", "frame of more than 100 bytes"],
    ]


def test_depth_is_bounded() -> None:
    rpc = engine("2.0.1", depth=5)
    inner = json.loads("[" * 3 + "]" * 3)
    assert isinstance(rpc.receive(frame(2, "1", "DataTransfer", {"vendorId": "v", "data": inner}), 0.0)[0], Call)
    rpc.receive(frame(2, "2", "DataTransfer", {"vendorId": "v", "data": [inner]}), 0.0)
    assert sent(rpc) == [[4, "2", "FormatViolation", "nested deeper than 5", {}]]


def test_calls_that_wait_for_us_are_bounded() -> None:
    rpc = engine(unanswered=2)
    first = asked(rpc, "1")
    asked(rpc, "2")
    rpc.receive(frame(2, "3", "ClearCache", {}), 0.0)
    assert [answer[:3] for answer in sent(rpc)] == [[4, "3", "GenericError"]]
    rpc.reply(first.id, {"status": "Accepted"})
    asked(rpc, "4")


def test_a_flood_is_dropped_but_not_the_answer_to_us() -> None:
    rpc = engine(rate=10.0, burst=3)
    rpc.call("Heartbeat", {}, None, 0.0, 30.0)
    rpc.send()
    for _ in range(50):
        rpc.receive("garbage", 0.0)
    assert rpc.counters["flood"] == 47
    assert isinstance(rpc.receive(frame(2, "1", "ClearCache", {}), 0.05)[0], Ignored)
    assert isinstance(rpc.receive(frame(3, "our-1", TIME), 0.05)[0], Result)
    assert isinstance(rpc.receive(frame(2, "1", "ClearCache", {}), 0.1)[0], Call)


def test_errors_are_spared_when_nobody_takes_our_frames() -> None:
    rpc = engine("2.0.1", unanswered=4, burst=100)
    for _ in range(50):
        rpc.receive("garbage", 0.0)
    assert len(rpc.send()) == 4
    assert rpc.counters["dropped"] == 46


# ---- the link drops


def test_a_lost_link_gives_the_context_back_and_forgets_the_rest() -> None:
    rpc = engine()
    rpc.call("Heartbeat", {}, "mine", 0.0, 30.0)
    call = asked(rpc, "7")
    assert rpc.lost() == ["mine"]
    assert rpc.lost() == []
    assert rpc.send() == []
    assert rpc.wake_at is None
    assert not rpc.reply(call.id, {"status": "Accepted"})


def test_an_answer_from_before_the_drop_never_meets_a_new_call_with_the_same_id() -> None:
    rpc = engine()
    before = asked(rpc, "1", "ClearCache")
    rpc.lost()
    after = asked(rpc, "1", "Reset", {"type": "Hard"})
    assert not rpc.reply(before.id, {"status": "Accepted"})
    assert rpc.send() == []
    assert rpc.reply(after.id, {"status": "Rejected"})
    assert sent(rpc) == [[3, "1", {"status": "Rejected"}]]


# ---- hostile input


def assert_harmless(version: Version, text: str | bytes) -> None:
    """One event, at most one answer, and that answer is lawful; our own CALL still ends as it should."""
    rpc = Rpc(version, lambda: "ours")
    rpc.call("Heartbeat", {}, "mine", 0.0, 30.0)
    rpc.send()
    [got] = rpc.receive(text, 0.0)
    answers = sent(rpc)
    disputes = version == "2.1" and isinstance(got, Error) and got.ours
    assert len(answers) <= (0 if isinstance(got, Call | Result | Error) and not disputes else 1)
    for type_, id_, code, why, details in answers:
        assert type_ == (5 if disputes else 4)
        assert isinstance(id_, str)
        assert len(id_) <= 36
        assert id_ != NO_ID or version != "1.6" or b'"-1"' in _bytes(text)
        assert code in ERROR_CODES[version]
        assert len(why) <= 255
        assert details == {}
        json.dumps(why, ensure_ascii=False).encode()
    if isinstance(got, Call):
        json.dumps(got.payload, ensure_ascii=False, allow_nan=False).encode()
        assert rpc.refuse(got.id, "NotSupported")
    assert rpc.busy is not isinstance(got, Result | Error)
    assert rpc.timeouts(30.0) == ([Timeout("ours", "Heartbeat", "mine")] if not isinstance(got, Result | Error) else [])


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


@pytest.mark.parametrize("version", EACH)
@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_the_corpus(version: Version, path: Path) -> None:
    assert_harmless(version, path.read_bytes())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.tuples(
    st.sampled_from([2, 3, 4, 5, 6, "2", None]),
    st.sampled_from(["ours", "1", "", "x" * 37, 1, None, "\ud800"]),
    st.sampled_from(["Reset", "ClearCache", "DataTransfer", "Heartbeat", "nope", 1]) | JSON,
    st.sampled_from([{}, TIME, {"vendorId": "v"}, {"type": "Soft"}]) | JSON,
).flatmap(lambda parts: st.integers(0, 4).map(lambda n: json.dumps(list(parts[:n]))))


@settings(deadline=None)
@given(st.sampled_from(EACH), st.text(st.characters()) | st.binary() | JSON.map(json.dumps) | NEARLY)
@example("2.0.1", "\ud800")
def test_any_frame(version: Version, text: str | bytes) -> None:
    assert_harmless(version, text)


@settings(deadline=None)
@given(st.sampled_from(EACH), st.sampled_from(FRAMES), st.data())
def test_frames_cut_short_and_spliced(version: Version, path: Path, data: st.DataObject) -> None:
    raw = path.read_bytes()[:2000]
    other = data.draw(st.sampled_from(FRAMES)).read_bytes()[:2000]
    cut = data.draw(st.integers(0, len(raw)))
    assert_harmless(version, raw[:cut] + other[data.draw(st.integers(0, len(other))) :])


def test_memory_stays_bounded_under_any_stream() -> None:
    rpc = engine("2.0.1", rate=1e9, burst=10**9)
    for n in range(3000):
        rpc.receive(frame(2, f"c{n}", "ClearCache", {}), float(n))
        rpc.receive(frame(3, f"s{n}", {}), float(n))
        rpc.receive("{", float(n))
    held = len(rpc._theirs) + len(rpc._outgoing) + len(rpc._over) + len(rpc.counters)
    assert held < 64
