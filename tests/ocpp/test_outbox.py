from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chargerd.core.moment import Moment
from chargerd.ocpp.outbox import START, Changes, Item, Latest, Outbox, Row, Volatile

AT = Moment(mono=100.0, wall=1_700_000_000.0, trusted=True, boot=1)


def row(id_: int, tx: str | None = "a", kind: str = "update", **more: Any) -> Row:
    return Row(id=id_, queue="transactions", tx=tx, kind=kind, facts={"id": id_}, at=AT, **more)


def event(id_: int) -> Row:
    return Row(id=id_, queue="critical", tx=None, kind="security", facts={"id": id_}, at=AT)


def outbox(*rows: Row, chronological: bool = True, max_rows: int = 100) -> Outbox:
    return Outbox(rows, chronological=chronological, max_rows=max_rows)


def take(box: Outbox, now: float = 0.0) -> Item | None:
    return box.next(now, True, True)


def take_row(box: Outbox, now: float = 0.0) -> Row:
    item = take(box, now)
    assert isinstance(item, Row)
    return item


def drain(box: Outbox, now: float = 0.0) -> list[int | str]:
    """Everything that leaves now, answered at once: row ids, slots, kinds."""
    said: list[int | str] = []
    while item := take(box, now):
        said.append(name(item))
        box.answered(item)
    return said


def name(item: Item) -> int | str:
    match item:
        case Row():
            return item.id
        case Latest():
            return item.slot
        case Volatile():
            return item.kind


# ---- order


@pytest.mark.req("1.6 §3.6")
def test_rows_leave_in_order_and_one_at_a_time() -> None:
    box = outbox()
    box.add([row(1), row(2, tx="b"), row(3)], step=1)
    first = take_row(box)
    assert first.id == 1
    assert take(box) is None
    assert box.answered(first) == Changes(delete=(1,))
    assert drain(box) == [2, 3]


def test_with_an_empty_queue_everything_leaves_in_the_order_of_steps() -> None:
    box = outbox()
    box.volatile("Authorize", {}, step=1)
    box.add([row(1)], step=2)
    box.latest("1", {"status": "Charging"}, AT, due_at=0.0, step=3)
    box.volatile("Heartbeat", {}, step=4)
    assert drain(box) == ["Authorize", 1, "1", "Heartbeat"]


def test_an_outstanding_row_is_no_queue() -> None:
    box = outbox()
    box.add([row(1)], step=1)
    first = take_row(box)
    box.add([row(2)], step=2)
    box.latest("1", {"status": "Finishing"}, AT, due_at=0.0, step=3)
    box.answered(first)
    assert drain(box) == [2, "1"]


@pytest.mark.req("1.6 §3.6")
@pytest.mark.parametrize("origin", ["restart", "written offline", "lost link"])
def test_a_backlog_is_overtaken(origin: str) -> None:
    match origin:
        case "restart":
            box = outbox(row(1), row(2))
        case "written offline":
            box = outbox()
            box.add([row(1, offline=True), row(2, offline=True)], step=1)
        case _:
            box = outbox()
            box.add([row(1), row(2)], step=1)
            box.lost()
    box.add([row(3)], step=5)
    box.latest("1", {"status": "Available"}, AT, due_at=0.0, step=6)
    box.volatile("Authorize", {}, step=7)
    assert drain(box) == ["1", "Authorize", 1, 2, 3]


def test_rows_that_had_to_queue_while_online_are_backlog_too() -> None:
    box = outbox()
    box.add([row(1)], step=1)
    box.add([row(2)], step=2)
    box.volatile("Authorize", {}, step=3)
    assert drain(box) == [1, "Authorize", 2]


def test_what_may_not_be_sent_stays() -> None:
    box = outbox(row(1))
    box.volatile("Heartbeat", {}, step=1)
    assert box.next(0.0, False, False) is None
    volatile = box.next(0.0, False, True)
    assert volatile is not None and name(volatile) == "Heartbeat"
    box.answered(volatile)
    assert box.next(0.0, False, True) is None
    only = box.next(0.0, True, False)
    assert only is not None and name(only) == 1


def test_rows_on_their_way_to_the_disk_hold_later_statuses_and_nothing_volatile() -> None:
    box = outbox()
    box.latest("1", {"status": "Preparing"}, AT, due_at=0.0, step=1)
    box.add([row(1)], step=2)
    box.latest("2", {"status": "Charging"}, AT, due_at=0.0, step=3)
    box.volatile("Authorize", {}, step=4)
    said: list[int | str] = []
    while item := box.next(0.0, True, True, committing=True):
        said.append(name(item))
        box.answered(item)
    assert said == ["1", "Authorize"]
    assert drain(box) == [1, "2"]


def test_ids_must_grow() -> None:
    box = outbox(row(5))
    with pytest.raises(ValueError, match="ids must grow"):
        box.add([row(5)], step=1)


@pytest.mark.req("A04.FR.02")
def test_critical_events_are_durable_and_pass_a_backlog_in_their_own_order() -> None:
    box = outbox(row(1), event(2), row(3), event(4))
    assert drain(box) == [2, 4, 1, 3]
    assert box.add([event(5)], step=1) == Changes(put=(event(5),))
    assert box.lost()[0].put == (replace(event(5), offline=True),)


def test_too_many_critical_events_become_dead_letters_and_are_not_lost() -> None:
    box = outbox(max_rows=2)
    changes = box.add([event(1), event(2), event(3)], step=1)
    assert [each.id for each in changes.put] == [1, 2]
    assert [each.id for each in changes.dead] == [3]


# ---- failures


@pytest.mark.req("1.6 §3.6.1", "E13.FR.02", "E13.FR.03")
def test_a_refused_row_waits_longer_each_time_and_holds_the_whole_station() -> None:
    box = outbox()
    box.add([row(1), row(2, tx="b")], step=1)
    box.failed(take_row(box, 0.0), 0.0, attempts_max=3, retry_interval=60.0)
    assert take(box, 59.9) is None
    assert box.wake_at(0.0) == 60.0
    (again,) = box.failed(take_row(box, 60.0), 60.0, attempts_max=3, retry_interval=60.0).put
    assert again.attempts == 2
    assert take(box, 179.9) is None
    changes = box.failed(take_row(box, 180.0), 180.0, attempts_max=3, retry_interval=60.0)
    assert [each.id for each in changes.dead] == [1]
    assert drain(box, 180.0) == [2]
    assert box.wake_at(180.0) is None


def test_a_refused_row_is_backlog() -> None:
    box = outbox()
    box.add([row(1)], step=1)
    box.failed(take_row(box), 0.0, attempts_max=3, retry_interval=60.0)
    box.volatile("Authorize", {}, step=2)
    assert drain(box, 60.0) == ["Authorize", 1]


def test_a_dead_row_holds_nobody() -> None:
    box = outbox()
    box.add([row(1), row(2)], step=1)
    box.failed(take_row(box), 0.0, attempts_max=2, retry_interval=60.0)
    box.failed(take_row(box, 60.0), 60.0, attempts_max=2, retry_interval=60.0)
    assert drain(box, 0.0) == [2]


def test_per_transaction_order_lets_the_others_pass() -> None:
    box = outbox(chronological=False)
    box.add([row(1), row(2, tx="b"), row(3), row(4, tx="b")], step=1)
    box.failed(take_row(box), 0.0, attempts_max=3, retry_interval=60.0)
    assert drain(box) == [2, 4]
    assert drain(box, 60.0) == [1, 3]


@pytest.mark.req("E01.FR.14")
def test_no_transaction_begins_while_the_end_of_an_older_one_is_refused() -> None:
    box = outbox(chronological=False)
    box.add([row(1), row(2, tx="b"), row(3, tx="c", kind=START), row(4, tx="c")], step=1)
    box.failed(take_row(box), 0.0, attempts_max=2, retry_interval=60.0)
    assert drain(box) == [2]
    assert box.wake_at(0.0) == 60.0
    box.failed(take_row(box, 60.0), 60.0, attempts_max=2, retry_interval=60.0)
    assert drain(box, 60.0) == [3, 4]


@pytest.mark.req("E13.FR.04")
@pytest.mark.parametrize("chronological", [True, False])
def test_a_refused_start_takes_its_whole_transaction_along(chronological: bool) -> None:
    box = outbox(chronological=chronological)
    box.add([row(1, kind=START), row(2, tx="b", kind=START), row(3), row(4, tx="b")], step=1)
    changes = box.failed(take_row(box), 0.0, attempts_max=1, retry_interval=60.0)
    assert [each.id for each in changes.dead] == [1, 3]
    late = row(5)
    assert box.add([late], step=2) == Changes(dead=(late,))
    assert drain(box) == [2, 4]


def test_a_doomed_transaction_stays_doomed_after_a_restart() -> None:
    box = Outbox([], chronological=False, max_rows=10, doomed=["a"])
    assert [each.id for each in box.add([row(7), row(8, tx="b")], step=1).dead] == [7]


def test_only_what_is_out_can_be_ended() -> None:
    box = outbox(row(1))
    with pytest.raises(ValueError, match="not outstanding"):
        box.answered(row(1))
    box.volatile("Heartbeat", {}, step=1)
    item = take(box)
    assert isinstance(item, Volatile)
    box.answered(item)
    with pytest.raises(ValueError, match="not outstanding"):
        box.failed(item, 0.0, 3, 60.0)


# ---- the link


@pytest.mark.req("E11.FR.07", "E04.FR.03")
def test_a_lost_link_is_no_attempt_and_makes_every_waiting_row_offline_for_good() -> None:
    box = outbox()
    box.add([row(1), row(2)], step=1)
    out = take_row(box)
    changes, _ = box.lost()
    assert [(each.id, each.offline, each.attempts) for each in changes.put] == [(1, True, 0), (2, True, 0)]
    assert box.outstanding is None
    assert box.lost() == (Changes(), ())
    with pytest.raises(ValueError, match="not outstanding"):
        box.answered(out)
    assert take_row(box).offline


def test_the_volatile_are_given_back_when_the_link_drops() -> None:
    box = outbox()
    box.volatile("Authorize", {}, step=1)
    box.volatile("DataTransfer", {}, step=2)
    take(box)
    assert [each.kind for each in box.lost()[1]] == ["Authorize", "DataTransfer"]
    assert drain(box) == []


def test_the_volatile_are_bounded() -> None:
    box = outbox(max_rows=2)
    assert [box.volatile("x", {}, step) is not None for step in range(3)] == [True, True, False]


# ---- frozen payloads


def test_a_payload_is_frozen_at_its_first_send() -> None:
    box = outbox()
    box.add([row(1)], step=1)
    out, changes = box.frozen(take_row(box), {"n": 1}, "m1")
    assert changes == Changes(put=(replace(row(1), payload={"n": 1}, message_id="m1"),))
    assert box.frozen(out, {"n": 1}, "m1") == (out, Changes())
    with pytest.raises(ValueError, match="frozen"):
        box.frozen(out, {"n": 2}, "m1")
    box.failed(out, 0.0, 3, 10.0)
    again = take_row(box, 10.0)
    assert again.payload == {"n": 1}
    renamed, changes = box.frozen(again, {"n": 1}, "m2")
    assert renamed.message_id == "m2" and changes.put == (renamed,)


# ---- latest


def status(box: Outbox, word: str, due_at: float = 0.0, step: int = 1) -> None:
    box.latest("1", {"status": word}, AT, due_at, step)


def test_a_status_that_was_not_heard_is_told_again_unless_there_is_a_newer_one() -> None:
    box = outbox()
    status(box, "Available")
    item = take(box)
    assert isinstance(item, Latest)
    box.unheard(item, 0.0, attempts_max=3, retry_interval=60.0)
    status(box, "Available", step=2)  # offered with every step
    assert take(box, 59.0) is None
    item = take(box, 60.0)
    assert isinstance(item, Latest) and item.facts == {"status": "Available"}
    status(box, "Preparing", step=3)
    box.unheard(item, 60.0, attempts_max=3, retry_interval=60.0)
    item = take(box, 60.0)
    assert isinstance(item, Latest) and item.facts == {"status": "Preparing"}
    box.answered(item)
    assert not box.pending


def test_a_status_that_is_never_heard_is_given_up() -> None:
    box = outbox()
    status(box, "Available")
    for now in (0.0, 60.0, 180.0):
        item = take(box, now)
        assert isinstance(item, Latest)
        box.unheard(item, now, attempts_max=3, retry_interval=60.0)
    status(box, "Available", step=2)
    assert not box.pending


def test_a_slot_is_replaced_while_it_waits_and_told_once() -> None:
    box = outbox()
    status(box, "Preparing", due_at=5.0)
    status(box, "Charging", due_at=6.0)
    assert box.wake_at(0.0) == 6.0
    assert take(box, 5.9) is None
    item = take(box, 6.0)
    assert isinstance(item, Latest) and item.facts == {"status": "Charging"}
    box.answered(item)
    status(box, "Charging")
    assert take(box, 7.0) is None


def test_the_same_value_again_does_not_put_off_its_time() -> None:
    box = outbox()
    status(box, "Preparing", due_at=5.0)
    status(box, "Preparing", due_at=9.0)
    assert box.wake_at(0.0) == 5.0


def test_a_value_that_came_back_before_it_was_told_is_not_told() -> None:
    box = outbox()
    status(box, "Available")
    drain(box)
    status(box, "Preparing", due_at=5.0)
    status(box, "Available")
    assert drain(box, 9.0) == []


def test_a_status_that_was_out_when_the_link_dropped_is_told_again_unless_newer() -> None:
    box = outbox()
    status(box, "Available")
    take(box)
    box.lost()
    assert drain(box) == ["1"]
    status(box, "Preparing")
    take(box)
    box.lost()
    status(box, "Preparing")  # offered again, as after every reconnection
    assert isinstance(take(box), Latest)
    status(box, "Available", step=3)
    box.lost()
    item = take(box)
    assert isinstance(item, Latest) and item.facts == {"status": "Available"}


def test_what_was_told_can_be_forgotten() -> None:
    box = outbox()
    status(box, "Available")
    drain(box)
    box.forget_told()
    status(box, "Available")
    assert drain(box) == ["1"]


def test_a_refused_status_is_over() -> None:
    box = outbox()
    status(box, "Available")
    item = take(box)
    assert item is not None
    assert box.failed(item, 0.0, 3, 60.0) == Changes()
    assert drain(box, 100.0) == []


# ---- a full queue


@pytest.mark.req("E11.FR.05", "E06.FR.13")
def test_thinning_takes_every_second_periodic_sample_of_each_transaction() -> None:
    box = outbox(max_rows=8)
    box.add([row(1, kind=START), row(2, tx="b", kind=START)], step=1)
    box.add([row(id_, tx="ab"[id_ % 2], thin=True) for id_ in range(3, 9)], step=2)
    changes = box.add([row(9, kind="stop")], step=3)
    # "a" holds 4 6 8, "b" 3 5 7: the second of each goes
    assert changes == Changes(put=(row(9, kind="stop"),), delete=(5, 6))
    assert [each.id for each in box.rows()] == [1, 2, 3, 4, 7, 8, 9]


def test_a_row_thinned_as_it_comes_is_never_written() -> None:
    box = outbox(max_rows=2)
    changes = box.add([row(1, kind=START), *(row(id_, thin=True) for id_ in range(2, 7))], step=1)
    assert [each.id for each in changes.put] == [1, 2] and changes.delete == ()


def test_begins_and_ends_are_kept_beyond_the_bound_and_the_queue_says_that_it_is_full() -> None:
    box = outbox(max_rows=4)
    for id_ in range(1, 10, 2):
        assert box.filled == (id_ - 1) / 4
        changes = box.add([row(id_, tx=f"t{id_}", kind=START), row(id_ + 1, tx=f"t{id_}", kind="end")], step=id_)
        assert not changes.dead and not changes.delete and len(changes.put) == 2
    assert box.filled == 2.5
    box.add([row(11, tx="t9", thin=True), row(12, tx="t9", thin=True)], step=11)
    assert drain(box) == [*range(1, 11), 11]
    assert box.filled == 0.0


def test_what_is_no_sample_and_what_may_have_arrived_is_never_thinned() -> None:
    box = outbox(max_rows=1)
    box.add([row(1, thin=True)], step=1)
    out, _ = box.frozen(take_row(box), {}, "m")
    box.failed(out, 0.0, 9, 60.0)
    box.add([row(2), row(3), row(4, thin=True)], step=2)
    assert [each.id for each in box.rows()] == [1, 2, 3, 4]


# ---- looking


@pytest.mark.req("E14.FR.02")
def test_waiting_rows_of_one_transaction() -> None:
    box = outbox(row(1), row(2, tx="b"), chronological=False)
    assert [each.id for each in box.rows("b")] == [2]
    assert box.rows("c") == []


def test_changes_compose() -> None:
    first = Changes(put=(row(1), row(2), row(3)))
    later = Changes(put=(row(1, offline=True),), delete=(2,), dead=(row(3),))
    assert first.then(later) == Changes(put=(row(1, offline=True),), delete=(2,), dead=(row(3),))
    assert first and not Changes()


# ---- a machine: any history of sends, refusals, lost links and restarts


class Sending(RuleBasedStateMachine):
    """Nothing lost, nothing told after its answer, order kept, a number never means two events."""

    chronological: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.disk: dict[int, Row] = {}
        self.dead: dict[int, Row] = {}
        self.box = self.boot()
        self.ids = count(1)
        self.seqs: dict[str, int] = {}
        self.now = 0.0
        self.step = 0
        self.written: dict[int, Row] = {}
        self.wire: list[tuple[Row, Any]] = []
        self.done: set[int] = set()

    def boot(self) -> Outbox:
        doomed = [each.tx for each in self.dead.values() if each.kind == START and each.tx]
        return Outbox(self.disk.values(), chronological=self.chronological, max_rows=12, doomed=doomed)

    def persist(self, changes: Changes) -> None:
        for each in changes.put:
            self.disk[each.id] = each
        for id_ in changes.delete:
            self.disk.pop(id_, None)
        for each in changes.dead:
            self.disk.pop(each.id, None)
            assert each.id not in self.dead
            self.dead[each.id] = each

    @rule(tx=st.sampled_from("abc"), thin=st.booleans(), offline=st.booleans())
    def write(self, tx: str, thin: bool, offline: bool) -> None:
        seq = self.seqs.get(tx, 0)
        self.seqs[tx] = seq + 1
        new = row(next(self.ids), tx, START if seq == 0 else "update", seq=seq, thin=thin and seq > 0, offline=offline)
        self.step += 1
        self.written[new.id] = new
        self.persist(self.box.add([new], self.step))

    @rule()
    def say_something_else(self) -> None:
        self.step += 1
        self.box.volatile("Heartbeat", {}, self.step)

    @precondition(lambda self: self.box.outstanding is None)
    @rule(wait=st.sampled_from([0.0, 1.0, 200.0]))
    def send(self, wait: float) -> None:
        self.now += wait
        item = self.box.next(self.now, True, True)
        if isinstance(item, Row):
            payload = item.payload or {"tx": item.tx, "seq": item.seq, "rendered": self.now}
            out, changes = self.box.frozen(item, payload, f"m{len(self.wire)}")
            self.persist(changes)
            self.wire.append((out, dict(payload)))

    @precondition(lambda self: self.box.outstanding is not None)
    @rule()
    def answer(self) -> None:
        item = self.box.outstanding
        assert item is not None
        self.persist(self.box.answered(item))
        if isinstance(item, Row):
            self.done.add(item.id)

    @precondition(lambda self: self.box.outstanding is not None)
    @rule(attempts_max=st.integers(1, 3))
    def refuse(self, attempts_max: int) -> None:
        item = self.box.outstanding
        assert item is not None
        self.persist(self.box.failed(item, self.now, attempts_max, 10.0))

    @rule()
    def lose_link(self) -> None:
        self.persist(self.box.lost()[0])
        assert all(each.offline for each in self.box.rows())

    @rule()
    def cut_power(self) -> None:
        self.box = self.boot()

    @invariant()
    def the_disk_holds_the_queue(self) -> None:
        assert self.box.rows() == sorted(self.disk.values(), key=lambda row: row.id)

    @invariant()
    def nothing_is_lost(self) -> None:
        for id_, each in self.written.items():
            homes = (id_ in self.disk) + (id_ in self.dead) + (id_ in self.done)
            assert homes == 1 or (homes == 0 and each.thin)

    @invariant()
    def a_number_means_one_event(self) -> None:
        said: dict[tuple[str | None, int | None], Any] = {}
        for each, payload in self.wire:
            assert said.setdefault((each.tx, each.seq), payload) == payload

    @invariant()
    def order_is_kept(self) -> None:
        lanes: dict[str | None, list[int]] = {}
        for each, _ in self.wire:
            lanes.setdefault(None if self.chronological else each.tx, []).append(each.id)
        assert all(ids == sorted(ids) for ids in lanes.values())

    @invariant()
    def nothing_follows_a_refused_start(self) -> None:
        for each in self.dead.values():
            if each.kind == START:
                assert not [row for row in self.disk.values() if row.tx == each.tx]

    @invariant()
    def only_samples_make_room(self) -> None:
        loose = [each for each in self.disk.values() if each.thin and each.payload is None]
        if len(self.disk) > 12:
            assert all(sum(row.tx == tx for row in loose) <= 1 for tx in "abc")


class SendingPerTransaction(Sending):
    chronological = False


Sending.TestCase.settings = SendingPerTransaction.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None
)
TestSending = Sending.TestCase
TestSendingPerTransaction = SendingPerTransaction.TestCase
