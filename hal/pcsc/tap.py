"""From what a reader reports to taps: which numbers can be used, and when a card counts as new. No clock, no I/O."""

from __future__ import annotations

from hal.api import Card, DeviceError

ABSENT = 1.0
"""Seconds that a card must be away before it can make another tap: cards flicker at the edge of the field."""

APART = 3.0
"""Seconds between two taps of the same card, at the least."""

COLLISION = 0.2
"""Seconds after a tap in which another card belongs to the same wallet, not to another driver."""


class CardRefused(DeviceError):
    """The reader is well, but this card cannot identify anybody; the text says why."""


def card(uid: bytes) -> Card:
    """The card with this UID, first byte on the wire first. `CardRefused` for a number that names no one card."""
    if len(uid) not in (4, 7, 10):
        raise CardRefused(f"card number of {len(uid)} bytes: only ISO 14443 cards with 4, 7 or 10 can be used")
    if len(uid) == 4 and uid[0] == 0x08:
        raise CardRefused(
            "card with a random number (a phone, a passport): it is another one at each tap; use a plain card"
        )
    if len(uid) == 4 and uid[0] == 0x88:
        raise CardRefused("the reader gave only the first part of a longer card number: update its firmware or driver")
    return Card(uid.hex().upper())


class Taps:
    """One reader's field: `present` and `absent` as they happen, times monotonic."""

    def __init__(self) -> None:
        self._last = b""
        self._told = float("-inf")
        self._left: float | None = None

    def present(self, uid: bytes, now: float) -> bool:
        """Does this card make a tap?"""
        if now - self._told < COLLISION:
            return False
        if uid == self._last and (self._left is None or now - self._left < ABSENT or now - self._told < APART):
            self._left = None
            return False
        self._last, self._told, self._left = uid, now, None
        return True

    def absent(self, now: float) -> None:
        """The field is empty."""
        if self._left is None:
            self._left = now
