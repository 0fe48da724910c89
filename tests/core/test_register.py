"""The register as it is told: it never falls, and nothing that cannot be is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.core.register import KEEP_EVERY, SLACK, Mark, Register
from hal.api import MeterReading

WATTS = 22_000.0


class Bench:
    """A meter that is read once a second."""

    def __init__(self, register: Register | None = None) -> None:
        self.register = register or Register(WATTS)
        self.now, self.powered, self.power, self.serial = 100.0, True, 22_000.0, "A"
        self.told: list[float] = []

    def shows(self, *energies: float, serial: str | None = "") -> list[float | None]:
        found: list[float | None] = []
        for energy in energies:
            self.now += 1.0
            name = self.serial if serial == "" else serial
            reading = MeterReading(self.now, energy, power=self.power, serial=name)
            told = self.register.take(reading, self.powered)
            found.append(None if told is None else told.energy)
            self.told += [] if told is None else [told.energy]
        return found


def test_an_ordinary_day() -> None:
    bench = Bench()
    assert bench.shows(5000.0, 5006.0, 5012.0, 5012.0) == [5000.0, 5006.0, 5012.0, 5012.0]
    assert (bench.register.replaced, bench.register.note) == (False, "")


def test_a_step_back_within_what_a_register_may_be_off_is_held() -> None:
    bench = Bench()
    assert bench.shows(5000.0, 5000.0 - SLACK, 4990.0, 5001.0) == [5000.0, 5000.0, 5000.0, 5001.0]
    assert bench.shows(5001.0 - SLACK - 1) == [None], "and the highest one counts, not the last"


def test_one_wrong_answer_is_not_counted_and_changes_nothing() -> None:
    for wrong in (0.0, 4000.0, 6000.0, 1e9):
        bench = Bench()
        assert bench.shows(5000.0, wrong, 5012.0) == [5000.0, None, 5012.0], wrong
        assert f"it shows {wrong / 1000:.3f} kWh after 5.000 kWh" not in bench.register.why
        assert not bench.register.replaced


def test_what_the_fuse_carries_in_the_time_is_counted_and_not_more() -> None:
    bench = Bench()
    bench.shows(5000.0)
    bench.now += 3599.0
    most = 5000.0 + WATTS * 1.2 + SLACK
    assert bench.shows(most + 1.0) == [None]
    assert "it shows 31.601 kWh after 5.000 kWh: not counted" in bench.register.why
    bench = Bench()
    bench.shows(5000.0)
    bench.now += 3599.0
    assert bench.shows(most) == [most]


@pytest.mark.parametrize("after", [0.0, 123.0, 4_000_000.0])
def test_a_meter_that_was_reset_or_changed_is_proven_by_three_readings_and_the_told_register_goes_on(
    after: float,
) -> None:
    bench = Bench()
    assert bench.shows(5000.0, 5006.0, after, after + 6, after + 12) == [5000.0, 5006.0, None, None, 5018.0]
    assert bench.register.replaced
    assert "another meter" in bench.register.note
    assert bench.shows(after + 18) == [5024.0]
    assert bench.register.offset() == 5006.0 - after
    bench.register.acknowledge()
    assert (bench.register.replaced, bench.register.note) == (False, "")
    assert bench.shows(after + 24) == [5030.0], "what is told goes on all the same"


def test_readings_that_do_not_follow_each_other_prove_nothing() -> None:
    bench = Bench()
    assert bench.shows(5000.0, 100.0, 90_000.0, 7.0, 3_000_000.0, 100.0, 5006.0) == [5000.0, *[None] * 5, 5006.0]
    assert not bench.register.replaced


def test_another_serial_number_is_another_meter_even_where_the_register_would_fit() -> None:
    bench = Bench()
    bench.shows(5000.0)
    assert bench.shows(5006.0, 5012.0, 5018.0, serial="B") == [None, None, 5012.0]
    assert bench.register.replaced
    bench = Bench()
    bench.shows(5000.0)
    assert bench.shows(5006.0, serial=None) == [5006.0], "one that could not be asked is no other one"
    assert bench.shows(5012.0, 5018.0, 5024.0, serial="B")[-1] == 5018.0


def test_a_counter_that_begins_anew_goes_on() -> None:
    bench = Bench(Register(WATTS, wraps_at=100_000.0))
    assert bench.shows(99_995.0, 2.0, 8.0) == [99_995.0, 100_002.0, 100_008.0]
    assert not bench.register.replaced
    assert bench.shows(5.0) == [100_008.0]
    assert bench.shows(50_000.0, 50_001.0, 50_002.0)[-1] == 100_010.0
    assert bench.register.replaced, "that was no counter that begins anew"


def test_a_restart_goes_on_where_the_last_run_stood() -> None:
    first = Bench()
    first.shows(5000.0, 5006.0, 0.0, 6.0, 12.0)
    mark = first.register.mark(1e9, edge=False)
    assert mark is not None
    again = Register(WATTS)
    again.recall(Mark.of(asdict(mark)), 50.0, 1e9 + 60.0)
    bench = Bench(again)
    bench.now = 50.0
    assert bench.shows(18.0) == [5024.0]
    assert again.replaced and "another meter" not in first.register.why
    assert bench.shows(24.0) == [5030.0]


@pytest.mark.parametrize("shown", [0.0, 4_999_000.0])
def test_a_meter_that_was_changed_while_nobody_looked_is_noticed(shown: float) -> None:
    again = Register(WATTS)
    again.recall(Mark(0.0, 20_000.0, 1e9, None), 50.0, 1e9 + 3600.0)
    bench = Bench(again)
    bench.now = 50.0
    assert bench.shows(shown, shown, shown + 6) == [None, None, 20_006.0]
    assert again.replaced


def test_what_was_told_since_it_was_kept_is_no_leap() -> None:
    again = Register(WATTS)
    again.recall(Mark(0.0, 20_000.0, 1e9, "A"), 50.0, 1e9)  # a clock that stood still
    bench = Bench(again)
    bench.now = 50.0
    assert bench.shows(20_000.0 + KEEP_EVERY) == [22_000.0]
    assert bench.shows(24_500.0) == [None], "only once"


def test_little_is_kept() -> None:
    bench = Bench()
    register = bench.register
    assert register.mark(0.0, edge=True) is None
    kept = []
    energy = 5000.0
    for _ in range(2000):
        energy += 6.0
        bench.shows(energy)
        kept += [mark] if (mark := register.mark(bench.now, edge=False)) else []
    assert len(kept) == 1 + 5, "the first, and one every two kilowatt-hours"
    assert register.mark(bench.now, edge=True) is not None
    assert register.mark(bench.now, edge=True) is None
    bench.shows(0.0, 1.0, 2.0)
    replaced = register.mark(bench.now, edge=False)
    assert replaced is not None and replaced.replaced
    register.acknowledge()
    assert register.mark(bench.now, edge=False) == replace(replaced, replaced=False)


def test_power_while_the_contactor_is_open_is_marked() -> None:
    bench = Bench()
    bench.shows(5000.0, 5006.0)
    bench.powered = False
    bench.shows(*[5006.0] * 10)
    assert bench.register.odd == "", "readings lag behind the contactor"
    bench.shows(*[5006.0] * 4)
    assert "22000 W with the contactor open" in bench.register.odd
    bench.power = 5.0
    bench.shows(5006.0)
    assert bench.register.odd == ""


def test_energy_while_the_contactor_is_open_is_marked_but_not_what_the_charger_itself_takes() -> None:
    for watts, odd in ((10.0, False), (450.0, True)):
        bench = Bench()
        bench.powered, bench.power = False, watts
        for n in range(0, 3600, 60):
            bench.now += 59.0
            bench.shows(5000.0 + watts * n / 3600)
        assert ("Wh with the contactor open" in bench.register.odd) is odd
        bench.powered = True
        bench.shows(5000.0 + watts)
        assert bench.register.odd == ""


def test_current_without_energy_is_marked_until_it_is_counted() -> None:
    bench = Bench()
    bench.power = -22_000.0  # mounted backwards
    bench.shows(*[5000.0] * 84)
    assert "mounted backwards?" in bench.register.odd
    bench.shows(*[5000.0 + 6.1 * n for n in range(84)])
    assert bench.register.odd == ""
    bench.power = 0.0
    bench.shows(*[5506.3] * 600)
    assert bench.register.odd == "", "a vehicle that rests is no fault"


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 5000.0),
        st.sampled_from(["on", "on", "on", "wrong", "reset", "changed", "restart", "gap"]),
        st.floats(0.0, 1e7),
    ),
    max_size=60,
)


@given(STEPS)
def test_what_is_told_never_falls_and_never_exceeds_what_could_have_flowed(
    steps: Sequence[tuple[float, str, float]],
) -> None:
    register, now, meter, serial = Register(WATTS), 0.0, 5000.0, "1"
    told: list[float] = []
    limit = 5000.0 + SLACK
    register.take(MeterReading(now, meter, serial=serial), None)
    for wh, what, other in steps:
        seconds = 3600.0 if what == "gap" else wh / WATTS * 3600 + 1.0
        now += seconds
        limit += WATTS * 1.2 * seconds / 3600 + SLACK
        meter += wh
        if what == "reset":
            meter = 0.0
        elif what == "changed":
            meter, serial = other, serial + "1"
        elif what == "restart":
            mark = register.mark(now, edge=True) or register.kept
            assert mark is not None
            register = Register(WATTS)
            register.recall(mark, now, now)
            limit += 2 * KEEP_EVERY
        shown = other if what == "wrong" else meter
        counted = register.take(MeterReading(now, shown, serial=serial), None)
        if counted is not None:
            told.append(counted.energy)
    assert told == sorted(told)
    assert not told or told[-1] <= limit
