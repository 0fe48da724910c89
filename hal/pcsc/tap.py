"""From what a reader reports to taps: which numbers can be used, and when a card counts as new. No clock, no I/O."""

from __future__ import annotations

from hal.api import Card, CardRefused

ABSENT = 1.0
"""Seconds that a card must be away before it can make another tap: cards flicker at the edge of the field."""

APART = 3.0
"""Seconds between two taps of the same card, at the least."""

TOGETHER = 0.5
"""Seconds that the field must have been free of other cards: two in one wallet take turns, two drivers do not."""

_RANDOM = 0x08
_CASCADE = 0x88


def card(uid: bytes) -> Card:
    """The card with this UID, first byte on the wire first. `CardRefused` for a number that names no one card."""
    if len(uid) not in (4, 7, 10):
        raise CardRefused(f"card number of {len(uid)} bytes: only ISO 14443 cards with 4, 7 or 10 can be used")
    if len(uid) == 4 and uid[0] == _RANDOM:
        raise CardRefused(
            "card with a random number (a phone, a passport): it is another one at each tap; use a plain card"
        )
    if len(uid) == 4 and uid[0] == _CASCADE:
        raise CardRefused("the reader gave only the first part of a longer card number: update its firmware or driver")
    return Card(uid.hex().upper())


def known_by(uid: bytes) -> bytes:
    """By what a card is known while it is held: a random number is another one each time the field comes back."""
    return uid[:1] if len(uid) == 4 and uid[0] == _RANDOM else uid


class Taps:
    """One reader's field: `present` and `absent` as they happen, times monotonic, cards by `known_by`."""

    def __init__(self) -> None:
        self._here: bytes | None = None
        self._left: dict[bytes, float] = {}
        self._told: dict[bytes, float] = {}

    def present(self, card: bytes, now: float) -> bool:
        """Does this card make a tap? What was there before was there until now."""
        self.absent(now)
        self._told = {one: at for one, at in self._told.items() if now - at < APART}
        near = any(now - at < (ABSENT if one == card else TOGETHER) for one, at in self._left.items())
        self._here = card
        if near or card in self._told:
            return False
        self._told[card] = now
        return True

    def lies(self, card: bytes) -> None:
        """This card is there already when we begin to look: perhaps it has been since before a restart. No tap."""
        self._here = card

    def absent(self, now: float) -> None:
        """The field is empty."""
        if self._here is not None:
            self._left = {one: at for one, at in self._left.items() if now - at < ABSENT} | {self._here: now}
            self._here = None
