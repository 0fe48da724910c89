"""Which cards count, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.api import CardRefused
from hal.pcsc.tap import ABSENT, APART, Taps, card, known_by

UID, OTHER = bytes.fromhex("04a1b2c3d4e5f6"), bytes.fromhex("deadbeef")


@pytest.mark.parametrize("uid", ["AABBCCDD", "04A1B2C3D4E5F6", "00112233445566778899"])
def test_a_card_is_upper_case_hex_as_on_the_wire(uid: str) -> None:
    assert card(bytes.fromhex(uid.lower())).uid == uid


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("08123456", "random"),
        ("88123456", "first part"),
        ("0102", "2 bytes"),
        ("", "0 bytes"),
        ("E0" * 8, "8 bytes"),
        ("04" * 300, "300 bytes"),
    ],
)
def test_a_number_that_names_no_card_is_refused(uid: str, words: str) -> None:
    with pytest.raises(CardRefused, match=words) as refused:
        card(bytes.fromhex(uid))
    assert len(str(refused.value)) < 200 and (not uid or uid not in str(refused.value))


def test_a_held_card_is_one_tap() -> None:
    taps = Taps()
    assert taps.present(UID, 100.0)
    assert not any(taps.present(UID, 100.0 + n) for n in range(1, 60))


def test_a_flickering_card_is_one_tap() -> None:
    taps = Taps()
    assert taps.present(UID, 0.0)
    for tick in range(1, 50):
        taps.absent(tick * 0.5)
        assert not taps.present(UID, tick * 0.5 + 0.3)


def test_a_phone_that_flickers_is_one_tap_though_its_number_is_another_each_time() -> None:
    taps = Taps()
    numbers = [bytes([0x08, n, n, n]) for n in range(20)]
    assert taps.present(known_by(numbers[0]), 0.0)
    for tick, number in enumerate(numbers[1:], 1):
        taps.absent(tick * 0.5)
        assert not taps.present(known_by(number), tick * 0.5 + 0.3)


def test_the_same_card_taps_again_after_it_was_away() -> None:
    taps = Taps()
    assert taps.present(UID, 0.0)
    taps.absent(0.5)
    assert not taps.present(UID, 2.0), "away long enough, but too soon after the last tap"
    taps.absent(3.5)
    taps.absent(4.4)
    assert taps.present(UID, 4.6), "away since 3.5"


def test_another_driver_taps_soon_after() -> None:
    taps = Taps()
    assert taps.present(UID, 0.0)
    taps.absent(0.4)
    assert taps.present(OTHER, 1.0)


def test_two_cards_in_one_wallet_that_take_turns_are_one_tap() -> None:
    taps = Taps()
    assert taps.present(UID, 0.0)
    for turn in range(1, 40):
        taps.absent(turn * 0.4 - 0.1)
        assert not taps.present(UID if turn % 2 == 0 else OTHER, turn * 0.4)


def test_a_card_that_lies_there_from_the_beginning_taps_once_it_was_away() -> None:
    taps = Taps()
    taps.lies(UID)
    assert not taps.present(UID, 5.0)
    taps.absent(6.0)
    assert not taps.present(UID, 6.3)
    taps.absent(7.0)
    assert taps.present(UID, 8.1)


@given(st.lists(st.tuples(st.sampled_from([UID, OTHER, None]), st.floats(0.001, 2.0)), max_size=60))
def test_the_same_card_never_taps_twice_within_the_bounds(story: list[tuple[bytes | None, float]]) -> None:
    taps, now = Taps(), 0.0
    told: dict[bytes, float] = {}
    left: dict[bytes, float] = {}
    here: bytes | None = None
    for seen, later in story:
        now += later
        if here is not None:
            left[here] = now
        here = seen
        if seen is None:
            taps.absent(now)
        elif taps.present(seen, now):
            assert now - told.get(seen, -APART) >= APART
            assert now - left.get(seen, -ABSENT) >= ABSENT
            told[seen] = now


def test_a_flood_of_numbers_is_no_tap_after_the_first_and_costs_little() -> None:
    taps = Taps()
    tapped = [taps.present(n.to_bytes(7, "big"), n * 0.02) for n in range(5000)]
    assert tapped.count(True) == 1
    assert len(taps._left) <= ABSENT / 0.02 + 1
