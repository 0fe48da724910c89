"""The guard as the daemon meets it: packets in, packets out, on a fake board and in injected time."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.faults import GUARD as FAULTS
from chargerd.guard import desk, lease, rules
from chargerd.guard.desk import Guard
from chargerd.guard.latch import Latched
from chargerd.guard.lease import (
    KEPT_EVENTS,
    MAX_PACKET,
    Event,
    Gap,
    Hello,
    Kind,
    Permit,
    Refused,
    Replay,
    ToGuard,
    Truth,
    Vitals,
    Welcome,
    decode,
    encode,
)
from chargerd.guard.pilot import X1, Level
from chargerd.guard.setup import GuardSetup, OutletSetup
from hal.api import DeviceError, PilotReading
from tests.guard.fake import FakeBoard
from tests.guard.test_lease import recorded

EPOCH = 77


class Table:
    """A guard on a fake board, with a daemon's chair in front of it."""

    def __init__(self, *evses: int, tethered: bool = True, latched: Latched | None = frozenset()) -> None:
        self.board = FakeBoard(*(tethered for _ in evses))
        self.setup = GuardSetup(tuple(OutletSetup(evse=evse, tethered=tethered, wake_up="off") for evse in evses))
        self.now = 1000.0
        self.saved: list[Latched] = []
        self.disk = True
        self.at_save: list[bool] = []
        plugs = count(501)
        self.guard = Guard(self.board, self.setup, lambda: next(plugs), EPOCH, "b1", self.save, latched, self.now)

    def save(self, latched: Latched) -> bool:
        self.at_save.append(any(line.coil for line in self.board.lines))
        if self.disk:
            self.saved.append(latched)
        return self.disk

    def run(self, seconds: float) -> list[lease.Word]:
        heard: list[lease.Word] = []
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.guard.cycle(self.now)
            heard += self.listen()
        return heard

    def listen(self) -> list[lease.Word]:
        return [decode(packet) for packet in self.guard.say()]

    def tell(self, *words: ToGuard) -> list[lease.Word]:
        for word in words:
            self.guard.hear(encode(word), self.now)
        return self.listen()

    def looked_at(self) -> list[lease.Truth]:
        words = [decode(packet) for packet in self.guard.observe()]
        return [word for word in words if isinstance(word, Truth)]

    def sit_down(self, after: int = 0, epoch: int = EPOCH) -> list[lease.Word]:
        self.guard.connected(self.now)
        return self.tell(Hello(1, "d"), Replay(epoch, after))

    def truth(self, outlet: int) -> Truth:
        (word,) = (word for word in self.looked_at() if word.outlet == outlet)
        return word

    def charge(self, outlet: int) -> None:
        """Plug in, permit, ask."""
        line = self.board.lines[outlet - 1]
        line.level = "B"
        self.run(1.0)
        self.tell(Permit(outlet, self.truth(outlet).plug, 16.0, valid_for=300.0))
        self.run(0.2)
        line.level = "C"


def kinds(words: list[lease.Word]) -> list[Kind]:
    return [word.kind for word in words if isinstance(word, Event)]


def test_a_session_as_the_daemon_sees_it() -> None:
    table = Table(1)
    table.run(5.0)
    first = table.sit_down()
    assert first[0] == Welcome(1, "b1", EPOCH, 0, 1)
    assert [type(word) for word in first[1:]] == [Truth]
    table.board.lines[0].level = "B"
    words = table.run(1.0)
    assert kinds(words) == [Kind.CABLE_IN, Kind.VEHICLE_IN]
    assert [word.seq for word in words if isinstance(word, Event)] == [1, 2]
    assert table.tell(Permit(1, 501, 16.0)) == []
    table.run(0.2)
    table.board.lines[0].level = "C"
    assert kinds(table.run(1.0)) == [Kind.VEHICLE_READY, Kind.POWER_ON]
    truth = table.truth(1)
    assert (truth.pilot, truth.plug, truth.offered, truth.closed, truth.limit) == ("C", 501, 16.0, True, "lease")
    assert 57 < truth.lease <= 60
    words = table.run(70.0)
    assert kinds(words) == [Kind.LEASE_ENDED, Kind.POWER_OFF]
    assert table.board.lines[0].drive == X1


def test_truth_comes_once_a_second_and_on_change() -> None:
    table = Table(1)
    table.run(1.0)
    table.sit_down()
    quiet = [word for word in table.run(5.0) if isinstance(word, Truth)]
    assert 4 <= len(quiet) <= 6
    table.board.lines[0].level = "B"
    assert any(isinstance(word, Truth) and word.pilot == "B" for word in table.run(0.04))


def test_a_guard_that_has_just_started_does_not_say_that_nobody_is_there() -> None:
    table = Table(1)
    table.board.lines[0].level = "C"
    table.run(0.02)
    heard = [*table.sit_down(), *table.run(1.0)]
    assert all(word.plug for word in heard if isinstance(word, Truth))
    assert kinds(heard)[:2] == [Kind.CABLE_IN, Kind.VEHICLE_IN]


def test_hello_first() -> None:
    table = Table(1)
    table.guard.connected(table.now)
    assert table.tell(Replay(EPOCH, 0)) == [Refused("replay", "say hello first")]
    assert table.run(3.0) == []


@pytest.mark.parametrize(("version", "spoken"), [(0, None), (1, 1), (2, 2), (3, 2), (4, None)])
def test_link_versions(version: int, spoken: int | None) -> None:
    table = Table(1)
    table.guard.connected(table.now)
    answer = table.tell(Hello(version, "d"))[0]
    if spoken is None:
        assert isinstance(answer, Refused)
        assert table.tell(Permit(1, 0, 0.0)) == [Refused("permit", "say hello first")]
    else:
        assert isinstance(answer, Welcome)
        assert answer.version == spoken


def test_what_was_missed_is_replayed() -> None:
    table = Table(1)
    table.sit_down()
    table.charge(1)
    table.run(5.0)
    table.guard.disconnected(table.now)
    assert table.board.lines[0].coil
    table.board.lines[0].level = "A"
    assert table.run(1.0) == []
    words = table.sit_down(after=2)
    assert kinds(words) == [Kind.VEHICLE_READY, Kind.POWER_ON, Kind.POWER_OFF, Kind.VEHICLE_OUT, Kind.CABLE_OUT]
    assert not any(isinstance(word, Gap) for word in words)


@pytest.mark.parametrize(("after", "epoch"), [(1, 5), (99, EPOCH), (-1, EPOCH)])
def test_a_number_that_is_not_ours_is_a_gap(after: int, epoch: int) -> None:
    table = Table(1)
    table.board.lines[0].level = "B"
    table.run(1.0)
    words = table.sit_down(after, epoch)
    gap = next(n for n, word in enumerate(words) if isinstance(word, Gap))
    assert words[gap] == Gap(0)
    assert kinds(words[gap:]) == [Kind.CABLE_IN, Kind.VEHICLE_IN]


def test_an_overflowed_ring_is_a_gap_and_comes_in_portions() -> None:
    table = Table(1)
    for _ in range(100):
        table.board.lines[0].level = "B"
        table.run(0.2)
        table.board.lines[0].level = "A"
        table.run(0.2)
    words = table.sit_down(after=10)
    assert len(words) < 40
    words += table.run(1.0)
    gap = next(word for word in words if isinstance(word, Gap))
    numbers = [word.seq for word in words if isinstance(word, Event)]
    assert numbers == list(range(gap.until + 1, gap.until + 1 + KEPT_EVENTS))
    assert numbers[-1] == 400


def test_outlets_of_one_evse_exclude_each_other_and_others_do_not() -> None:
    table = Table(1, 1, 2)
    table.run(5.0)
    table.sit_down()
    for outlet in (1, 2, 3):
        table.charge(outlet)
    table.run(5.0)
    assert [line.coil for line in table.board.lines] == [True, False, True]
    assert table.truth(2).limit == "evse"
    table.board.lines[0].level = "A"
    table.run(6.0)
    assert [line.coil for line in table.board.lines] == [False, True, True]


def test_no_answer_from_the_board() -> None:
    table = Table(1, 2)
    table.run(5.0)
    table.sit_down()
    table.charge(1)
    table.run(1.0)
    table.board.gone = True
    words = table.run(0.1)
    assert kinds(words) == [Kind.FAULT, Kind.FAULT]
    assert [line.coil for line in table.board.lines] == [False, False]
    assert table.truth(1).faults == ("DeviceFailure",)
    table.board.gone = False
    table.run(2.0)
    assert table.truth(1).faults == ()


def test_no_answer_from_one_device_is_that_outlets_trouble() -> None:
    table = Table(1, 2)
    table.run(5.0)
    table.sit_down()
    table.charge(1)
    table.charge(2)
    table.run(1.0)
    table.tell(lease.Indicate(1, "charging"))
    table.run(0.1)
    table.board.lines[0].broken = True
    table.run(0.1)
    assert [line.coil for line in table.board.lines] == [False, True]
    assert table.board.lines[0].lamp == "service"  # which is not behind the converter
    table.board.lines[0].broken = False
    table.run(1.1)
    assert table.board.lines[0].lamp == "charging"


def test_an_outlet_that_nobody_sees_open_holds_its_evse() -> None:
    table = Table(1, 1)
    table.run(5.0)
    table.sit_down()
    table.charge(1)
    table.run(1.0)
    table.board.lines[0].broken = True
    table.charge(2)
    table.run(8.0)
    assert [line.coil for line in table.board.lines] == [False, False]
    assert table.truth(2).limit == "evse"
    table.board.lines[0].broken = False
    table.board.lines[0].level = "A"
    table.run(8.0)
    assert [line.coil for line in table.board.lines] == [False, True]


def refuse(*_: object) -> None:
    raise DeviceError("no")


def test_an_output_that_fails_does_not_keep_the_other_from_being_made_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(1)
    table.run(0.5)
    table.sit_down()
    table.charge(1)
    table.run(1.0)
    assert table.board.lines[0].now["coil"]
    line = table.board.lines[0]
    monkeypatch.setattr(line, "pwm", refuse)
    table.run(0.04)
    assert (line.coil, line.drive) == (False, X1)
    monkeypatch.undo()
    table.run(10.0)
    assert line.coil
    monkeypatch.setattr(line, "open", refuse)
    line.level = "B"
    table.run(0.06)
    assert line.drive == X1


def test_what_was_said_before_a_command_failed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(1)
    table.run(1.0)
    table.sit_down()
    line = table.board.lines[0]
    monkeypatch.setattr(line, "start_test", refuse)  # every vehicle's arrival starts one
    line.level = "B"
    assert kinds(table.run(0.2))[:3] == [Kind.CABLE_IN, Kind.VEHICLE_IN, Kind.FAULT]


@pytest.mark.parametrize("name", ["read", "celsius"])
@pytest.mark.parametrize("number", [nan, inf])
def test_what_is_no_number_is_a_device_failure(name: str, number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(1)
    table.run(0.5)
    table.sit_down()
    table.charge(1)
    table.run(1.0)
    assert table.board.lines[0].now["coil"]
    reading = PilotReading(6.0, -12.0, number) if name == "read" else number
    monkeypatch.setattr(table.board.lines[0], name, lambda: reading)
    table.run(0.02)
    assert not table.board.lines[0].coil
    assert table.truth(1).faults == ("DeviceFailure",)


def test_an_outlet_whose_contactor_is_welded_holds_its_evse() -> None:
    table = Table(1, 1, 2, latched=frozenset({(1, "ContactorWelded")}))
    table.sit_down()
    table.charge(2)
    table.charge(3)
    table.run(6.0)
    assert [line.coil for line in table.board.lines] == [False, False, True]
    assert table.truth(2).limit == "evse"


def test_what_was_commanded_before_a_pause_is_not_carried_out_after_it() -> None:
    table = Table(1)
    table.run(0.5)
    table.sit_down()
    table.charge(1)
    table.run(1.0)
    assert table.board.lines[0].now["coil"]
    line = table.board.lines[0]
    line.level = "A"
    table.now += 1.0
    table.guard.lapse(table.now)
    table.guard.cycle(table.now)
    assert not line.now["coil"]
    assert not line.coil


def test_the_longest_truth_fits() -> None:
    table = Table(1)
    bay = table.guard.bays[0]
    bay.state = replace(
        bay.state, faults=dict.fromkeys(FAULTS, 0), plug=2**48 - 1, seen=Level.A, offered=100 / 3, limit="unavailable"
    )
    truth = rules.truth(bay.setup, bay.state, None, 64, 12345678.123456789)
    assert len(encode(replace(truth, lease=299.1234567890123, celsius=-12.34567890123456))) <= MAX_PACKET


def weld(table: Table) -> None:
    table.run(5.0)
    table.sit_down()
    table.charge(1)
    table.run(1.0)
    table.board.lines[0].welded = True
    table.board.lines[0].level = "A"


def test_latched_faults_are_saved_after_opening() -> None:
    table = Table(1)
    weld(table)
    table.run(1.0)
    assert table.saved == [frozenset({(1, "ContactorWelded")})]
    assert table.at_save == [False]
    assert table.board.lines[0].lamp == "service"
    table.board.lines[0].welded = False
    table.run(0.1)
    table.tell(lease.ClearFault(1, "ContactorWelded", "tech"))
    table.run(0.1)
    assert table.saved[-1] == frozenset()


def test_a_busy_disk_is_asked_again() -> None:
    table = Table(1)
    table.disk = False
    weld(table)
    table.run(1.0)
    table.disk = True
    table.run(0.1)
    assert table.saved == [frozenset({(1, "ContactorWelded")})]


def test_the_last_runs_faults_stand_and_are_told() -> None:
    table = Table(1, 2, latched=frozenset({(2, "ContactorWelded")}))
    table.run(0.1)
    assert (table.truth(1).faults, table.truth(2).faults) == ((), ("ContactorWelded",))
    assert kinds(table.sit_down()) == [Kind.FAULT]
    assert table.saved == []


def test_an_unreadable_latch_stops_everything_and_stays_unreadable() -> None:
    table = Table(1, latched=None)
    table.sit_down()
    table.charge(1)
    table.run(10.0)
    assert table.truth(1).faults == ("LatchUnreadable",)
    assert not table.board.lines[0].coil
    table.board.lines[0].welded = True
    table.run(1.0)
    assert table.truth(1).faults == ("ContactorWelded", "LatchUnreadable")
    assert table.saved == []


def test_the_board_must_have_what_is_configured() -> None:
    with pytest.raises(DeviceError, match="socket"):
        Guard(FakeBoard(True), GuardSetup((OutletSetup(evse=1),)), lambda: 1, 1, "", lambda _: True, frozenset(), 0.0)
    with pytest.raises(DeviceError, match="2 are configured"):
        two = GuardSetup((OutletSetup(evse=1), OutletSetup(evse=2)))
        Guard(FakeBoard(True), two, lambda: 1, 1, "", lambda _: True, frozenset(), 0.0)


@pytest.mark.parametrize("outlet", [0, 2, -1, 10**300])
def test_there_is_no_such_outlet(outlet: int) -> None:
    table = Table(1)
    table.sit_down()
    table.guard.hear(b'{"t":"lock","outlet":%d,"locked":true}' % outlet, table.now)
    (answer,) = table.listen()
    assert isinstance(answer, Refused)
    assert "no outlet" in answer.why


def test_nothing_is_kept_for_an_empty_chair() -> None:
    table = Table(1)
    table.guard.connected(table.now)
    for _ in range(100):
        table.guard.hear(b"noise", table.now)
    table.guard.disconnected(table.now)
    assert table.listen() == []


WORD_FIELDS = st.dictionaries(
    st.sampled_from(["outlet", "plug", "amps", "phases", "mode", "valid_for", "locked", "lamp", "fault", "who", "step",
                     "age", "volts", "watts", "version", "build", "epoch", "after", "confirmed"]),
    st.integers(-2, 10**40) | st.floats() | st.text(max_size=120) | st.booleans() | st.none()
    | st.sampled_from([1, 501, "digital", "self-test", [1.0, 2.0, 3.0]]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*lease._WORDS, "noise"]), WORD_FIELDS) | st.binary(max_size=520)))
def test_whatever_is_heard_every_answer_fits_and_nothing_closes(
    said: list[tuple[str, dict[str, object]] | bytes],
) -> None:
    table = Table(1, 2)
    table.board.lines[0].level = "C"
    table.run(0.5)
    table.sit_down()
    for packet in said:
        raw = packet if isinstance(packet, bytes) else json.dumps({**packet[1], "t": packet[0]}).encode()
        table.guard.hear(raw, table.now)
        table.now += 0.02
        table.guard.cycle(table.now)
        assert all(len(answer) <= MAX_PACKET for answer in table.guard.say())
    assert not table.board.lines[1].coil


def test_the_lack_of_a_daemon_shows_to_those_who_look_and_on_the_lamp() -> None:
    table = Table(1)
    table.sit_down()
    table.run(desk.ALONE + 1)
    assert [truth.faults for truth in table.looked_at()] == [()]
    table.guard.disconnected(table.now)
    table.guard.connected(table.now)  # one that says nothing is none
    table.run(desk.ALONE - 1)
    assert (table.looked_at()[0].faults, table.board.lines[0].lamp) == ((), "")
    table.run(1.1)
    assert (table.looked_at()[0].faults, table.board.lines[0].lamp) == ((lease.DAEMON_LOST,), "service")
    said = table.sit_down()
    assert [word.faults for word in said if isinstance(word, Truth)] == [()]
    table.run(0.1)
    assert (table.looked_at()[0].faults, table.board.lines[0].lamp) == ((), "")


def test_all_faults_at_once_still_fit_a_packet_without_a_daemon() -> None:
    table = Table(1, latched=None)
    table.guard.bays[0].state = replace(table.guard.bays[0].state, faults=dict.fromkeys(FAULTS, 0))
    table.run(desk.ALONE + 1)
    (truth,) = table.looked_at()
    assert truth.faults[0] == lease.DAEMON_LOST
    assert len(truth.faults) <= rules.MAX_TOLD_FAULTS


def test_vacant_is_known_to_be_without_a_vehicle() -> None:
    table = Table(1, 2)
    assert not table.guard.vacant, "nobody has looked yet"
    table.run(desk.QUIET)
    assert not table.guard.vacant, "whoever left draws the cable now"
    table.run(0.5)
    assert table.guard.vacant
    table.board.lines[1].level = Level.B
    table.run(0.5)
    assert not table.guard.vacant


def test_a_daemon_may_ask_for_a_newer_guard_and_only_after_hello() -> None:
    table = Table(1)
    table.guard.connected(table.now)
    table.guard.hear(encode(lease.Leave()), table.now)
    assert not table.guard.leaving
    table.guard.hear(encode(Hello(lease.LINK_VERSION + 1, "newer")), table.now)
    table.guard.hear(encode(lease.Leave()), table.now)
    assert table.guard.leaving


@pytest.mark.parametrize(("flag", "name"), [("late", "GuardLate"), ("slow", "GuardSlow")])
def test_a_guard_that_cannot_keep_its_time_opens_until_it_can(flag: str, name: str) -> None:
    table = Table(1)
    table.sit_down()
    table.run(6.0)
    table.charge(1)
    table.run(1.0)
    assert table.board.lines[0].coil
    setattr(table.guard, flag, True)
    table.run(0.04)
    assert not table.board.lines[0].coil and table.truth(1).faults == (name,)
    table.run(20.0)
    assert not table.board.lines[0].coil
    setattr(table.guard, flag, False)
    table.run(1.1)
    assert table.truth(1).faults == ()


def test_vitals_are_told_once_and_only_to_who_knows_them() -> None:
    table = Table(1)
    vitals = [decode(packet) for packet in recorded(2)]
    assert isinstance(vitals[0], Vitals) and isinstance(vitals[1], Vitals)
    table.guard.feel(vitals[0])
    assert vitals[0] not in table.sit_down(), "of link version 1"
    assert decode(table.guard.observe()[-1]) == vitals[0]
    table.guard.connected(table.now)
    assert vitals[0] in table.tell(Hello(2, "d"))
    assert not any(isinstance(word, Vitals) for word in table.run(2.0))
    table.guard.feel(vitals[1])
    assert vitals[1] in table.listen()


@pytest.mark.parametrize("version", [1, 2])
def test_notes_are_for_those_who_know_the_word(version: int) -> None:
    table = Table(1)
    table.run(1.0)
    table.guard.connected(table.now)
    heard = table.tell(Hello(version, "d"), Replay(EPOCH, 0)) + table.run(1.1)
    notes = [word for word in heard if isinstance(word, lease.Notes)]
    assert (len(notes) >= 2) is (version == 2)
    assert set(notes) <= {lease.Notes(1, 3, False)}
    assert [word for word in heard if isinstance(word, Truth)]


def test_a_warning_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(1)
    table.run(1.0)
    table.guard.connected(table.now)
    table.tell(Hello(2, "d"), Replay(EPOCH, 0))
    monkeypatch.setattr(table.board.lines[0], "celsius", lambda: None)
    heard = table.run(2.1)
    assert lease.Notes(1, 3, False, ("SensorSilent",)) in heard
    assert not table.truth(1).faults


def test_a_setup_that_wants_a_relay_needs_one() -> None:
    setup = GuardSetup((OutletSetup(evse=1, tethered=True, wake_up="disconnect"),))
    with pytest.raises(DeviceError, match="no relay takes the pilot away; set wake_up to auto, f, x1 or off"):
        Guard(FakeBoard(True), setup, lambda: 1, EPOCH, "b", lambda latched: True, frozenset(), 0.0)
