"""What is said, when, how often, and what becomes of it when the link or the disk fails."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.events import AvailabilityAsked, BootStatus, Power, Scope, TokenSeen
from chargerd.core.token import Standing, Verdict
from chargerd.daemon.conversation import Conversation
from chargerd.daemon.store import Batch
from tests.daemon.test_charger import ANN, Rig, scene

BOTH = pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
TIME = "2027-01-15T08:00:00Z"


class Backend:
    """Answers the charger's last CALL, or every one as soon as it comes."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ids = 0

    @property
    def talk(self) -> Conversation:
        return self.rig.conversation

    @property
    def last(self) -> list[Any]:
        return [frame for frame in self.rig.wire if frame[0] == 2][-1]

    def up(self) -> None:
        self.talk.opened()

    def down(self) -> None:
        self.talk.closed()

    def answer(self, payload: dict[str, Any], id_: str | None = None) -> None:
        self.frame([3, id_ or self.last[1], payload])

    def fail(self, code: str = "InternalError") -> None:
        self.frame([4, self.last[1], code, "", {}])

    def frame(self, frame: list[Any]) -> bool:
        return self.talk.frame(json.dumps(frame))

    def boot(self, status: str = "Accepted", interval: int = 300) -> None:
        assert self.last[2] == "BootNotification"
        self.answer({"status": status, "interval": interval, "currentTime": TIME})

    def call(self, action: str, payload: dict[str, Any]) -> str:
        self.ids += 1
        self.frame([2, f"theirs-{self.ids}", action, payload])
        return f"theirs-{self.ids}"

    async def quiet(self, tx: int = 77) -> None:
        """Answer kindly until nothing more is said."""
        answered = 0
        for _ in range(50):
            await asyncio.sleep(0.02)
            calls = [frame for frame in self.rig.wire if frame[0] == 2]
            if len(calls) == answered:
                return
            answered = len(calls)
            self.answer(kind_answer(calls[-1][2], calls[-1][3], tx))
        raise AssertionError("it never stops talking")


def kind_answer(action: str, payload: dict[str, Any], tx: int) -> dict[str, Any]:
    match action:
        case "BootNotification":
            return {"status": "Accepted", "interval": 300, "currentTime": TIME}
        case "Heartbeat":
            return {"currentTime": TIME}
        case "Authorize":
            return {"idTagInfo": {"status": "Accepted"}}
        case "StartTransaction":
            return {"transactionId": tx, "idTagInfo": {"status": "Accepted"}}
    return {}


async def accepted(rig: Rig) -> Backend:
    backend = Backend(rig)
    backend.up()
    backend.boot()
    rig.truth()
    await backend.quiet()
    return backend


@BOTH
def test_before_the_boot_is_accepted_nothing_else_is_said(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        rig.truth()
        backend.up()
        assert [frame[2] for frame in rig.wire] == ["BootNotification"]
        backend.boot("Pending", 20)
        await asyncio.sleep(19)
        assert len(rig.calls()) == 1
        await asyncio.sleep(2)
        backend.boot("Rejected", 40)
        await asyncio.sleep(39)
        assert [frame[2] for frame in rig.wire if frame[0] == 2] == ["BootNotification"] * 2
        await asyncio.sleep(2)
        backend.boot()
        await asyncio.sleep(1)
        assert len(rig.calls("BootNotification")) == 3
        assert len(rig.calls()) > 3

    scene(play, tmp_path, version=version)


@BOTH
def test_while_the_boot_is_pending_their_questions_are_answered(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        backend.up()
        backend.boot("Pending", 20)
        asked = backend.call("ClearCache", {})
        await asyncio.sleep(0.1)
        assert rig.answers()[asked] == {"status": "Accepted"}

    scene(play, tmp_path, version=version)


@BOTH
@pytest.mark.req("1.6 §4.2", "B02.FR.02", "F06.FR.04", "F06.FR.06")
def test_while_the_boot_is_pending_what_they_ask_for_is_said_at_once(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        rig.truth()
        backend.up()
        backend.boot("Pending", 600)
        rig.plug()
        rig.tap()
        await asyncio.sleep(3)
        said = len(rig.wire)
        asked = backend.call("TriggerMessage", {"requestedMessage": "MeterValues"})
        await backend.quiet()
        answer, call = rig.wire[said:]
        assert (answer[1], call[2]) == (asked, "MeterValues")
        assert "transactionId" not in call[3]  # nobody has given one

    scene(play, tmp_path, version=version, offline_unknown_ids="true")


def test_a_boot_without_an_answer_is_repeated_and_one_without_a_link_too(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        backend.up()
        await asyncio.sleep(70)  # no answer in 30 s, and 30 s more
        assert len(rig.calls("BootNotification")) == 2
        backend.down()
        backend.up()
        assert len(rig.calls("BootNotification")) == 3

    scene(play, tmp_path, version="1.6", message_timeout="30")


def told(rig: Rig, action: str) -> int:
    return len([frame for frame in rig.wire if frame[0] == 2 and frame[2] == action])


@BOTH
@pytest.mark.req("1.6 §3.6.1", "2.0.1 part 4 §4.1.1")
def test_a_mute_backend_costs_its_link_and_no_attempt(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.plug()
        rig.tap()
        await asyncio.sleep(0.1)
        said = backend.last
        for _ in range(5):
            backend.answer(kind_answer(said[2], said[3], 77))
            await asyncio.sleep(0.1)
            said = backend.last
            if said[2] in ("StartTransaction", "TransactionEvent"):
                break
        for death in range(1, 5):  # more often than a message may fail
            for _ in range(70):
                await asyncio.sleep(1)
                if len(rig.dropped) == death:
                    break
            assert rig.dropped == ["mute"] * death
            assert told(rig, "Heartbeat") >= death  # something harmless was asked before the verdict
            backend.down()
            backend.up()
            await asyncio.sleep(0.1)
        rows = rig.conversation.outbox.rows()
        assert [row.attempts for row in rows] == [0] * len(rows)
        assert rows

    scene(play, tmp_path, version=version, transaction_attempts="2", message_timeout="30")


@pytest.mark.req("1.6 §3.6.1", "1.6 §9.1.31")
def test_one_message_that_is_never_answered_is_an_attempt_where_the_backend_lives(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.plug()
        rig.tap()
        answered = 0
        for _ in range(400):
            await asyncio.sleep(0.5)
            calls = [frame for frame in rig.wire if frame[0] == 2]
            if len(calls) > answered and calls[-1][2] != "StartTransaction":
                backend.answer(kind_answer(calls[-1][2], calls[-1][3], 77))
            answered = len(calls)
        assert rig.dropped == []
        assert told(rig, "StartTransaction") == 2
        assert rig.conversation.outbox.rows() == []  # a dead letter, and what hangs on it

    scene(
        play, tmp_path, version="1.6", transaction_attempts="2", transaction_retry_interval="10", message_timeout="30"
    )


@BOTH
def test_answers_that_come_too_late_are_answers(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        backend.up()
        await asyncio.sleep(31)
        backend.boot()
        assert rig.charger.state.boot.status is BootStatus.ACCEPTED
        rig.truth()
        await backend.quiet()
        rig.plug()
        rig.tap()
        await asyncio.sleep(0.1)
        while backend.last[2] not in ("StartTransaction", "TransactionEvent"):
            backend.answer(kind_answer(backend.last[2], backend.last[3], 77))
            await asyncio.sleep(0.1)
        start = backend.last
        await asyncio.sleep(31)
        assert backend.last[2] == "Heartbeat"
        backend.answer({"currentTime": TIME})  # so the message failed, and is to be told again
        backend.answer(kind_answer(start[2], start[3], 77), start[1])
        await asyncio.sleep(0.1)
        assert [row for row in rig.conversation.outbox.rows() if row.message_id == start[1]] == []
        await asyncio.sleep(100)
        again = [frame for frame in rig.wire if frame[0] == 2 and frame[3] == start[3]]
        assert again == [start]

    scene(play, tmp_path, version=version, message_timeout="30", websocket_ping_interval="0")


def test_one_call_at_a_time_and_theirs_in_between(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.wire.clear()
        rig.feed(TokenSeen(ANN))
        rig.plug()
        await asyncio.sleep(1)
        assert [frame[2] for frame in rig.wire] == ["Authorize"]
        asked = backend.call("ClearCache", {})
        await asyncio.sleep(0.1)
        assert rig.answers()[asked] == {"status": "Accepted"}
        assert len(rig.calls()) == 1

    scene(play, tmp_path, version="1.6")


@pytest.mark.req("1.6 §3.6.1", "1.6J §4.1.4", "1.6 §9.1.32")
def test_a_row_is_on_the_disk_with_its_words_before_it_is_said_and_is_repeated_with_them(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.plug()
        rig.tap()
        await asyncio.sleep(0)
        rig.disk.stalled = True
        await backend.quiet()
        assert rig.calls("StartTransaction") == []
        rig.feed(TokenSeen(ANN.__class__("0499")))  # whoever comes now need not wait for the disk
        await asyncio.sleep(0)
        assert backend.last[2] == "Authorize"
        backend.answer({"idTagInfo": {"status": "Invalid"}})
        rig.disk.go_on()
        await asyncio.sleep(0.1)
        first = backend.last
        assert first[2] == "StartTransaction"
        [row] = [row for row in rig.conversation.outbox.rows() if row.kind == "start"]
        assert (row.payload, row.message_id) == (first[3], first[1])
        assert first[1].startswith("id-")  # minted: a number of the row's comes again when a boot could not be written
        backend.fail()
        for second in range(62):
            await asyncio.sleep(1)
            assert second > 57 or told(rig, "StartTransaction") == 1
            if backend.last[2] == "StatusNotification":
                backend.answer({})
        _, again = [frame for frame in rig.wire if frame[0] == 2 and frame[2] == "StartTransaction"]
        assert again[2:] == first[2:]
        assert again[1] != first[1]

    scene(play, tmp_path, version="1.6", transaction_retry_interval="60")


@BOTH
def test_while_the_disk_fails_the_queue_waits_and_the_rest_is_said(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        start = "StartTransaction" if version == "1.6" else "TransactionEvent"
        rig.broken = True
        rig.plug()
        rig.tap()
        await backend.quiet()
        assert rig.calls(start) == []
        assert not rig.charger.state.storage
        beats = len(rig.calls("Heartbeat"))
        asked = backend.call("TriggerMessage", {"requestedMessage": "Heartbeat"})
        await backend.quiet()
        assert rig.answers()[asked] == {"status": "Accepted"}
        assert len(rig.calls("Heartbeat")) == beats + 1
        rig.broken = False
        rig.disk.submit(Batch({"any": 1}))
        await asyncio.sleep(2)
        assert len(rig.calls(start)) == 1

    scene(play, tmp_path, version=version)


@BOTH
@pytest.mark.req("1.6 §5.2", "G03.FR.01", "G03.FR.04")
def test_an_answer_goes_before_the_status_that_it_causes(tmp_path: Path, version: str) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        said = len(rig.wire)
        old = {"connectorId": 1, "type": "Inoperative"}
        new = {"evse": {"id": 1}, "operationalStatus": "Inoperative"}
        asked = backend.call("ChangeAvailability", old if version == "1.6" else new)
        await backend.quiet()
        assert [frame[1] if frame[0] == 3 else frame[2] for frame in rig.wire[said:]] == [asked, "StatusNotification"]

    scene(play, tmp_path, version=version)


@pytest.mark.req("1.6 §4.2", "B03.FR.08")
@pytest.mark.parametrize(("version", "answer"), [("1.6", None), ("2.0.1", "SecurityError")])
def test_while_the_boot_is_rejected_their_questions_find_nobody(
    tmp_path: Path, version: str, answer: str | None
) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        backend.up()
        backend.boot("Rejected", 3600)
        asked = [backend.call("ClearCache", {}) for _ in range(100)]
        await asyncio.sleep(0.1)
        assert [rig.answers().get(one) for one in asked] == [answer] * 100
        await asyncio.sleep(3600)
        backend.boot()
        late = backend.call("ClearCache", {})
        await asyncio.sleep(0.1)
        assert rig.answers()[late] == {"status": "Accepted"}

    scene(play, tmp_path, version=version)


def test_a_promise_that_could_not_be_stored_is_refused_at_once(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.broken = True
        asked = backend.call("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
        await asyncio.sleep(0.1)
        assert rig.answers()[asked] == "InternalError"

    scene(play, tmp_path, version="1.6")


@pytest.mark.req("E04.FR.03", "E11.FR.07")
def test_offline_is_sticky(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.plug()
        await backend.quiet()
        rig.tap()
        await asyncio.sleep(0.1)
        assert backend.last[2] == "TransactionEvent"
        assert not backend.last[3].get("offline", False)
        backend.down()
        backend.up()
        await asyncio.sleep(0.1)
        started = rig.calls("TransactionEvent")
        assert len(started) == 2 and started[1]["offline"] is True
        assert started[1] | {"offline": False} == started[0] | {"offline": False}

    scene(play, tmp_path, version="2.0.1")


def test_a_link_that_is_lost_in_the_middle_costs_no_attempt_and_no_order(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.plug()
        await backend.quiet()
        rig.tap()
        for _ in range(10):
            await asyncio.sleep(0.1)
            backend.down()
            await asyncio.sleep(1)
            backend.up()
        rig.feed(Power(1, True))
        rig.feed(Power(1, False))
        rig.tap()
        await backend.quiet(tx=5)
        starts = rig.calls("StartTransaction")
        assert len(starts) > 5 and all(start == starts[0] for start in starts)
        assert rig.conversation.outbox.rows() == []

    scene(play, tmp_path, version="1.6", transaction_attempts="2")


def test_questions_are_answered_with_nothing_when_the_link_goes(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.feed(TokenSeen(ANN))
        rig.feed(TokenSeen(ANN.__class__("0499")))
        assert len(rig.charger.state.asks) == 2
        backend.down()
        assert rig.charger.state.asks == {}

    scene(play, tmp_path, version="1.6")


def test_a_status_that_does_not_last_is_not_told(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        await asyncio.sleep(6)
        await backend.quiet()
        told = len(rig.calls("StatusNotification"))
        for _ in range(3):
            rig.plug()
            await asyncio.sleep(1)
            rig.truth()
            await asyncio.sleep(1)
        await asyncio.sleep(10)
        assert len(rig.calls("StatusNotification")) == told
        rig.plug(plug=43)
        await asyncio.sleep(6)
        assert rig.calls("StatusNotification")[-1]["status"] == "Preparing"

    scene(play, tmp_path, version="1.6", minimum_status_duration="5")


@pytest.mark.req("B04.FR.01")
@pytest.mark.parametrize(("away", "told"), [(20, 0), (200, 1)])
def test_after_a_long_absence_every_status_is_told_anew(tmp_path: Path, away: int, told: int) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.wire.clear()
        backend.down()
        await asyncio.sleep(away)
        backend.up()
        await backend.quiet()
        assert len(rig.calls("StatusNotification")) == told

    scene(play, tmp_path, version="2.0.1", offline_threshold="60")


def test_heartbeats_that_nobody_answers_do_not_pile_up(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = Backend(rig)
        backend.up()
        backend.boot(interval=1)
        await asyncio.sleep(29)
        for _ in range(3):
            backend.answer({"currentTime": TIME})
            await asyncio.sleep(0)
        assert len(rig.calls("Heartbeat")) <= 3

    scene(play, tmp_path, version="1.6")


def test_too_many_questions_at_once(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.disk.stalled = True
        asked = [
            backend.call("ChangeAvailability", {"connectorId": 1, "type": "Inoperative" if n % 2 else "Operative"})
            for n in range(1, 40)
        ]
        refused = [id_ for id_ in asked if rig.answers().get(id_) == "GenericError"]
        assert len(refused) >= 20
        rig.disk.go_on()
        await asyncio.sleep(0.1)
        assert set(asked) <= rig.answers().keys()

    scene(play, tmp_path, version="1.6")


def test_a_fault_of_ours_is_an_internal_error_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)

        def burst(*args: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(rig.conversation.dialect, "handle", burst)
        asked = backend.call("ClearCache", {})
        assert rig.answers()[asked] == "InternalError"

    scene(play, tmp_path, version="1.6")


def test_an_answer_that_bursts_the_dialect_is_a_failed_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)

        def burst(*args: Any) -> Any:
            raise ZeroDivisionError

        rig.feed(TokenSeen(ANN))
        monkeypatch.setattr(rig.conversation.dialect, "answered", burst)
        backend.answer({"idTagInfo": {"status": "Accepted"}})
        assert rig.charger.state.asks == {}
        rig.feed(TokenSeen(ANN))
        assert len(rig.calls("Authorize")) == 2

    scene(play, tmp_path, version="1.6")


def test_a_row_without_words_becomes_a_dead_letter_and_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)

        def burst(*args: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(rig.conversation.dialect, "render", burst)
        rig.plug()
        rig.tap()
        for _ in range(4):
            await backend.quiet()
            await asyncio.sleep(10)
        assert rig.conversation.outbox.rows() == []
        assert len(rig.disk.dead()) == 1

    scene(play, tmp_path, version="1.6", transaction_attempts="2", transaction_retry_interval="10")


def test_a_status_without_words_does_not_stand_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)

        def speechless(*args: Any) -> Any:
            raise LookupError

        monkeypatch.setattr(backend.talk.dialect, "render_status", speechless)
        rig.plug()
        rig.tap()
        await asyncio.sleep(0.1)
        assert backend.last[2] == "StartTransaction"

    scene(play, tmp_path, version="1.6")


def test_said_all_ends_when_all_is_said(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.feed(AvailabilityAsked(rig.charger.next_ask(), Scope.STATION, 0, False, True))
        said = asyncio.create_task(rig.conversation.said_all())
        await asyncio.sleep(0.1)
        assert not said.done()
        await backend.quiet()
        assert said.done()
        assert rig.charger.state.boot.status is BootStatus.ACCEPTED

    scene(play, tmp_path, version="1.6")


def test_the_word_about_a_token_reaches_the_station(tmp_path: Path) -> None:
    async def play(rig: Rig) -> None:
        backend = await accepted(rig)
        rig.plug()
        await backend.quiet()
        rig.tap()
        await asyncio.sleep(0.1)
        backend.answer({"transactionId": 5, "idTagInfo": {"status": "Blocked"}})
        assert rig.charger.state.cache[ANN.id.casefold()] == Verdict(Standing.BLOCKED)
        assert rig.amps == 0

    scene(play, tmp_path, version="1.6")
