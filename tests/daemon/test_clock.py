"""Two clocks, and what is known of the time afterwards."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.moment import Moment
from chargerd.daemon.clock import _SANE, Clock, parse, text_of

NOON = parse("2026-11-22T12:00:00Z") or 0.0
YEAR = 365 * 86_400.0
WRONG = parse("2024-01-01T00:00:00Z") or 0.0


class Rig:
    def __init__(self, trusted: bool = False, boot: int = 1, anchors: tuple[Moment, ...] = ()) -> None:
        self.mono, self.wall, self.trusted = 100.0, WRONG, trusted
        self.known: list[Moment] = []
        self.clock = Clock(lambda: self.mono, lambda: self.wall, lambda: self.trusted)
        self.clock.on_known = self.known.append
        self.clock.begin(boot, (*anchors, Moment(self.mono, self.wall, trusted, boot)))

    def passes(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds


def test_a_clock_that_is_right_by_itself_learns_nothing() -> None:
    rig = Rig(trusted=True)
    assert rig.clock.learn("2026-11-22T12:00:00Z")
    assert rig.clock.now() == Moment(100.0, WRONG, True, 1)
    assert rig.clock.offset == 0.0
    assert rig.known == []


def test_what_was_stamped_before_the_time_was_known_is_put_right() -> None:
    rig = Rig()
    early = rig.clock.now()
    assert not early.trusted
    assert rig.clock.stamp(early) == text_of(WRONG)
    rig.passes(60)
    assert rig.clock.learn("2026-11-22T12:00:00Z")
    assert rig.clock.stamp(early) == "2026-11-22T11:59:00.000Z"
    assert rig.clock.now() == Moment(160.0, NOON, True, 1)
    rig.wall += 1000  # somebody steps the clock: what is stamped as trusted stays
    assert rig.clock.stamp(Moment(160.0, NOON, True, 1)) == "2026-11-22T12:00:00.000Z"


def test_the_first_time_learned_is_to_be_written_down_and_only_that() -> None:
    rig = Rig()
    rig.clock.learn("2026-11-22T12:00:00Z")
    rig.passes(300)
    rig.clock.learn("2026-11-22T12:05:00Z")
    assert rig.known == [Moment(100.0, NOON, True, 1)]


def test_an_answer_that_was_long_on_its_way_does_not_put_a_good_clock_back() -> None:
    rig = Rig()
    rig.clock.learn("2026-11-22T12:00:00Z")
    rig.passes(60)
    assert rig.clock.learn("2026-11-22T12:00:30Z", took=33.0)
    assert rig.clock.now().wall - NOON == 60.0
    rig.clock.learn("2026-11-22T12:00:20Z", took=33.0)  # that is too early for any way
    assert rig.clock.now().wall - NOON == 20.0
    rig.clock.learn("2026-11-22T12:01:00Z", took=33.0)  # nobody answers with a time to come
    assert rig.clock.now().wall - NOON == 60.0


@given(st.lists(st.floats(-3600.0, 3600.0), min_size=1, max_size=6))
def test_what_waits_stays_in_order_however_the_clock_is_put_right(errors: list[float]) -> None:
    rig, moments = Rig(), []
    for error in errors:
        moments.append(rig.clock.now())
        rig.passes(10)
        rig.clock.learn(text_of(NOON + rig.mono + error))
        moments.append(rig.clock.now())
        rig.passes(10)
    stamps = [rig.clock.wall_of(at) for at in moments]
    assert stamps == sorted(stamps)


def test_answers_that_jitter_move_no_stamp_and_a_clock_that_is_wrong_is_put_right() -> None:
    rig = Rig()
    rig.clock.learn("2026-11-22T12:00:00Z")
    stamps = []
    for told in ("12:00:10.900", "12:00:19.100", "12:00:31.900", "12:00:38.200"):
        rig.passes(10)
        assert rig.clock.learn(f"2026-11-22T{told}Z")
        stamps.append(rig.clock.now().wall - NOON)
    assert stamps == [10.0, 20.0, 30.0, 40.0]
    rig.passes(10)
    rig.clock.learn("2026-11-22T12:00:47.900Z")
    assert abs(rig.clock.now().wall - NOON - 47.9) < 0.001


def test_a_boot_that_learned_the_time_later_is_exact_in_the_next_boot() -> None:
    early = Moment(40.0, WRONG, False, 1)
    rig = Rig(boot=2, anchors=(Moment(100.0, NOON, True, 1),))
    assert rig.clock.stamp(early) == "2026-11-22T11:59:00.000Z"


def test_no_moment_of_an_earlier_boot_lies_after_the_beginning_of_this_one() -> None:
    late = NOON + 7200
    rig = Rig(trusted=True, boot=2, anchors=(Moment(5.0, late, False, 1),))
    rig.wall = NOON + 60
    rig.mono = 160.0
    assert rig.clock.stamp(Moment(65.0, late + 60, False, 1)) == text_of(NOON)


def test_a_boot_that_never_knew_the_time_comes_after_the_last_one_that_did_in_order() -> None:
    anchors = (Moment(900.0, NOON, True, 1), Moment(5.0, WRONG, False, 2))
    rig = Rig(trusted=True, boot=3, anchors=anchors)
    rig.wall = NOON + 3600
    stamps = [rig.clock.stamp(Moment(mono, WRONG + mono - 5, False, 2)) for mono in (5.0, 6.0, 66.0)]
    assert stamps == ["2026-11-22T12:00:00.000Z", "2026-11-22T12:00:01.000Z", "2026-11-22T12:01:01.000Z"]


def test_without_any_trusted_boot_the_old_clock_is_all_there_is() -> None:
    rig = Rig(boot=2, anchors=(Moment(5.0, WRONG, False, 1),))
    assert rig.clock.stamp(Moment(65.0, WRONG + 60, False, 1)) == text_of(WRONG + 60)


def test_no_time_teaches_nothing() -> None:
    rig = Rig()
    for text in ("", "yesterday", "1999-12-31T23:59:59Z", "2500-01-01T00:00:00Z", "2026-13-01T00:00:00Z"):
        assert not rig.clock.learn(text)
    assert not rig.clock.now().trusted


@given(st.text() | st.datetimes().map(lambda at: at.isoformat()))
def test_whatever_is_said_to_be_a_time(text: str) -> None:
    seconds = parse(text)
    assert seconds is None or parse(text_of(seconds)) is not None


@given(st.floats(allow_nan=False))
def test_a_stamp_is_always_a_text(wall: float) -> None:
    assert text_of(wall).endswith("Z")


def test_once_known_the_time_goes_on_whatever_happens_to_the_wall_clock() -> None:
    rig = Rig()
    rig.clock.learn("2026-11-22T12:00:00Z")
    for step in (5 * YEAR, -40 * YEAR):
        rig.passes(10)
        rig.wall += step
    assert rig.clock.now() == Moment(120.0, NOON + 20, True, 1)
    rig.trusted = True  # synchronised, and yet in 1989
    assert rig.clock.now().wall == NOON + 20
    rig.wall = NOON + 21
    assert rig.clock.now().wall == NOON + 21


def test_a_time_that_ntp_brings_late_is_written_down_as_well() -> None:
    rig = Rig()
    rig.wall = 0.0
    early = rig.clock.now()
    rig.passes(60)
    rig.wall, rig.trusted = NOON, True
    assert rig.clock.stamp(early) == "2026-11-22T11:59:00.000Z"
    assert rig.known == [Moment(100.0, NOON - 60, True, 1)]
    rig.trusted = False  # the server is away again: what was right goes on
    rig.wall -= 30 * YEAR
    assert rig.clock.now() == Moment(160.0, NOON, True, 1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["row", "step", "ntp", "learn", "absurd", "boot"]),
        st.floats(0.0, 1e6),
        st.sampled_from([-40 * YEAR, -YEAR, -3600.0, 0.0, 1.0, 3600.0, YEAR, 70 * YEAR]),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([0.0, 946_684_800.0, WRONG, NOON, NOON + 80 * YEAR]))
def test_whatever_the_wall_clock_does_stamps_are_in_order_and_of_this_time(
    steps: list[tuple[str, float, float]], first: float
) -> None:
    """True time runs from NOON on; the wall clock, where NTP does not hold it, says anything. Told in the end."""
    true, boot, rows, anchors = NOON, 1, [], {}
    rig = Rig()
    rig.wall = first

    def noted(at: Moment) -> None:
        anchors[at.boot] = at

    for what, seconds, step in steps:
        true += seconds
        rig.passes(seconds)
        match what:
            case "row":
                rows.append((rig.clock.now(), true))
            case "step" if not rig.trusted:
                rig.wall += step
            case "ntp":
                rig.trusted = not rig.trusted
                rig.wall = true if rig.trusted else rig.wall
            case "learn":
                rig.clock.learn(text_of(true))
            case "absurd":
                assert not rig.clock.learn("1970-01-01T00:00:07Z") and not rig.clock.learn("9999-12-31T23:59:59Z")
            case "boot":
                noted(anchors.get(boot) or rig.clock.now())
                boot += 1
                known, wall = tuple(anchors.values()), rig.wall
                rig = Rig(boot=boot, anchors=known)
                rig.wall = wall + step
                rig.clock.on_known = noted
                at = rig.clock.now()
                anchors[boot] = at
                rig.clock.begin(boot, (*known, at))
    rig.clock.learn(text_of(true))
    told = [rig.clock.wall_of(at) for at, _ in rows]
    assert all(later >= earlier - 0.01 for earlier, later in pairwise(told))
    assert all(_SANE[0] <= wall <= true + 0.01 for wall in told)
    for (at, really), wall in zip(rows, told, strict=True):
        if rig.clock.knows(at):
            assert abs(wall - really) < 0.01
