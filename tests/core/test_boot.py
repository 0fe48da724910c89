"""Boot, heartbeat, and what a lost link does to both."""

from __future__ import annotations

import pytest

from chargerd.core import local_list
from chargerd.core.commands import Answer, BootCause, Outcome, SendBoot, SendHeartbeat
from chargerd.core.durable import changed
from chargerd.core.events import (
    BootAnswered,
    BootStatus,
    LinkDown,
    LinkUp,
    ListSent,
    ProfileSet,
    ReserveAsked,
    SetAsked,
    TriggerAsked,
    Triggered,
)
from chargerd.core.profiles import Kind, Period, Profile, Purpose, Schedule, Unit
from tests.core.desk import Desk
from tests.core.test_flow import ANN, BOB, YES, plug_in, tap


def fresh() -> Desk:
    desk = Desk(accepted=False)
    desk.feed(LinkDown())
    desk.drain()
    return desk


@pytest.mark.req("B01.FR.01", "1.6 §4.2")
def test_one_boot_for_a_start_however_often_the_link_comes() -> None:
    desk = Desk(accepted=False)
    desk.feed(BootAnswered(BootStatus.ACCEPTED, 60))
    desk.feed(LinkDown())
    desk.drain()
    desk.feed(LinkUp())
    assert desk.sent(SendBoot) == []


def test_a_lost_question_is_asked_again_with_the_next_link() -> None:
    desk = fresh()
    desk.feed(LinkUp())
    assert [c.cause for c in desk.sent(SendBoot)] == [BootCause.POWER_UP]


@pytest.mark.req("B02.FR.08", "B03.FR.06", "1.6 §4.2")
@pytest.mark.parametrize("status", [BootStatus.PENDING, BootStatus.REJECTED])
def test_the_backend_names_the_pause(status: BootStatus) -> None:
    desk = fresh()
    desk.feed(LinkUp())
    desk.feed(BootAnswered(status, 90))
    desk.drain()
    desk.after(89)
    desk.feed(LinkDown())
    desk.feed(LinkUp())
    assert desk.sent(SendBoot) == []
    desk.after(1)
    assert len(desk.sent(SendBoot)) == 1


def test_no_usable_answer_is_tried_again_after_a_while() -> None:
    desk = fresh()
    desk.feed(LinkUp())
    desk.feed(BootAnswered(BootStatus.NONE))
    desk.drain()
    desk.after(30)
    assert len(desk.sent(SendBoot)) == 1


@pytest.mark.req("G02.FR.02", "1.6 §4.6", "1.6 §9.1.8")
def test_heartbeats_follow_the_interval_of_the_boot_answer() -> None:
    desk = fresh()
    desk.feed(LinkUp())
    desk.feed(BootAnswered(BootStatus.ACCEPTED, 60))
    desk.after(185)
    assert len(desk.sent(SendHeartbeat)) == 3
    desk.drain()
    desk.feed(SetAsked(1, (("heartbeat_interval", "10"),)))
    desk.after(25)
    assert len(desk.sent(SendHeartbeat)) == 2
    desk.feed(LinkDown())
    desk.drain()
    desk.after(60)
    assert desk.sent(SendHeartbeat) == []


@pytest.mark.req("B01.FR.04", "B02.FR.07", "B03.FR.05", "1.6 §4.2")
@pytest.mark.parametrize("status", [BootStatus.ACCEPTED, BootStatus.PENDING, BootStatus.REJECTED])
@pytest.mark.parametrize(("interval", "pause"), [(0, None), (10**400, 30 * 86400)])
def test_intervals_that_make_no_sense(status: BootStatus, interval: int, pause: int | None) -> None:
    """Zero leaves the pause to us, and no number keeps us silent for ever."""
    desk = fresh()
    desk.feed(LinkUp())
    desk.feed(BootAnswered(status, interval))
    boot = desk.state.boot
    due = boot.heartbeat_at if status is BootStatus.ACCEPTED else boot.next_try
    own = 300 if status is BootStatus.ACCEPTED else 30
    assert due == desk.now + (own if pause is None else pause)


@pytest.mark.req("1.6 §5.17", "F06.FR.05")
@pytest.mark.parametrize("what", [Triggered.BOOT, Triggered.HEARTBEAT, Triggered.STATUS, Triggered.METER_VALUES])
def test_what_was_asked_for_comes_after_the_answer(what: Triggered) -> None:
    desk = Desk()
    desk.charge()
    desk.drain()
    desk.feed(TriggerAsked(4, what, 1 if what in (Triggered.STATUS, Triggered.METER_VALUES) else None))
    assert desk.commands[0] == Answer(4, Outcome.ACCEPTED)
    assert len(desk.commands) + len(desk.records) == 2


def test_whoever_speaks_another_version_inherits_nothing_that_only_the_last_one_could_take_back() -> None:
    desk = Desk()
    desk.feed(ListSent(1, 3, True, ((ANN.id, YES),)))
    desk.feed(ReserveAsked(2, 7, BOB, 1, desk.wall + 9999.0))
    schedule = Schedule(Unit.AMPERES, (Period(0, 0.0),))
    desk.feed(ProfileSet(3, 0, Profile(1, 0, Purpose.STATION_MAX, Kind.ABSOLUTE, schedule)))
    assert [answer.outcome for answer in desk.answers()] == [Outcome.ACCEPTED] * 3
    desk.feed(LinkDown())
    desk.feed(LinkUp())
    assert (len(desk.state.local_list), len(desk.state.reservations), len(desk.state.profiles)) == (1, 1, 1)
    before = desk.state
    desk.feed(LinkDown())
    desk.feed(LinkUp(anew=True))
    gone = {key for key, body in changed(before, desk.state).items() if body is None}
    assert gone == {f"list/{ANN.id.casefold()}", "reservation/7", "profile/1"}
    assert local_list.version(desk.state) == 0
    desk.feed(BootAnswered(BootStatus.ACCEPTED, 300))
    plug_in(desk)
    tap(desk)
    assert desk.permit() == 32


def test_a_triggered_boot_says_so() -> None:
    desk = Desk()
    desk.feed(TriggerAsked(4, Triggered.BOOT))
    assert [c.cause for c in desk.sent(SendBoot)] == [BootCause.TRIGGERED]
