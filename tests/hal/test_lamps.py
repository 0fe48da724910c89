"""One table of lamps, for boards, simulation, documentation and the words of core and guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.core.commands import Lamp
from chargerd.faults import FAULTS
from hal import lamps
from hal.lamps import BEEP, LAMPS, UNKNOWN, Pattern

LONG = 12.0


def test_every_word_that_is_shown_has_its_pattern_and_no_other_has() -> None:
    shown = {*map(str, Lamp), *(fault.lamp for fault in FAULTS.values()), ""}
    assert shown == set(LAMPS)


def test_no_two_words_look_alike() -> None:
    seen = [(p.looks, p.colour, p.on, p.every) for p in (*LAMPS.values(), UNKNOWN)]
    assert len({looks for looks, *_ in seen}) == len(seen) == len({tuple(rest) for _, *rest in seen})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("refused", "fault"),
        ("fault", "waiting"),
        ("waiting", "offline-ready"),
        ("refused", "service"),
        ("ready", "fault"),
    ],
)
def test_what_must_not_be_taken_for_one_another_differs_at_a_glance(one: str, other: str) -> None:
    """By colour, or within three seconds of looking by its rhythm."""
    first, second = LAMPS[one], LAMPS[other]
    apart = sum(first.lit(n / 20) != second.lit(n / 20) for n in range(60))
    assert first.colour != second.colour or apart >= 12


@pytest.mark.parametrize("word", LAMPS)
def test_words_and_light_say_the_same(word: str) -> None:
    pattern = LAMPS[word]
    lit = [pattern.lit(n / 100) for n in range(round(LONG * 100))]
    share = sum(map(bool, lit)) / len(lit)
    assert share == pytest.approx(
        0 if not pattern.colour else pattern.on / pattern.every if pattern.every else 1, abs=0.02
    )
    assert ("steady" in pattern.looks) is (bool(pattern.colour) and set(lit) == {pattern.colour})
    assert set(lit) <= {"", pattern.colour}


def test_the_buzzer_sounds_as_often_as_it_says_and_then_no_more() -> None:
    pattern = Pattern("r", "", beeps=3)
    heard = [pattern.sounds(n * BEEP / 4 + 1e-6) for n in range(200)]
    assert sum(not before and now for before, now in zip([False, *heard], heard, strict=False)) == 3
    assert not any(heard[30:]) and "3 beeps" in pattern.looks


def test_the_page_is_this_table() -> None:
    page = Path(__file__).parents[2] / "hardware" / "lamps.md"
    assert page.read_text(encoding="utf-8") == lamps.page(), "write it anew: python -m hal.lamps > hardware/lamps.md"
