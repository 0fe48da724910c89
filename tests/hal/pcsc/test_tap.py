"""Which cards count, and when."""

from __future__ import annotations

import pytest

from hal.pcsc.tap import CardRefused, Taps, card

UID, OTHER = bytes.fromhex("04a1b2c3d4e5f6"), bytes.fromhex("deadbeef")


@pytest.mark.parametrize("uid", ["AABBCCDD", "04A1B2C3D4E5F6", "00112233445566778899"])
def test_a_card_is_upper_case_hex_as_on_the_wire(uid: str) -> None:
    assert card(bytes.fromhex(uid.lower())).uid == uid


@pytest.mark.parametrize(
    ("uid", "words"),
    [("08123456", "random"), ("88123456", "first part"), ("0102", "2 bytes"), ("", "0 bytes"), ("E0" * 8, "8 bytes")],
)
def test_a_number_that_names_no_card_is_refused(uid: str, words: str) -> None:
    with pytest.raises(CardRefused, match=words):
        card(bytes.fromhex(uid))


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


def test_the_same_card_taps_again_after_it_was_away() -> None:
    taps = Taps()
    assert taps.present(UID, 0.0)
    taps.absent(0.5)
    assert not taps.present(UID, 2.0), "away long enough, but too soon after the last tap"
    taps.absent(3.5)
    taps.absent(4.4)
    assert taps.present(UID, 4.6), "away since 3.5"


def test_another_card_taps_at_once_but_two_in_one_wallet_do_not() -> None:
    taps = Taps()
    assert taps.present(UID, 0.0)
    assert not taps.present(OTHER, 0.1)
    assert taps.present(OTHER, 0.3)
