"""Card numbers are compared without case and never shown whole."""

from __future__ import annotations

from chargerd.core.events import TokenSeen
from chargerd.core.token import FREE, LOCAL, Token, recalled


def test_tokens_are_compared_without_case() -> None:
    assert Token("04aabbcc").same(Token("04AABBCC", "Central"))
    assert not Token("04aabbcc").same(None)
    assert not Token("04aabbcc").same(Token("04aabbcd"))


def test_a_card_number_is_never_shown_whole() -> None:
    assert Token("04A2B3C4D5E680").short == "…E680"
    assert "04A2B3" not in repr(TokenSeen(Token("04A2B3C4D5E680"), 1))
    assert FREE.short == "FREE"
    assert (recalled("LOCAL"), LOCAL.short) == (LOCAL, "LOCAL")
    assert recalled("04A2B3C4D5E680").short == "…E680"
