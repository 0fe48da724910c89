"""Who wants to charge: the idToken, and what somebody with authority said about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """An idToken; `kind` is an idToken type of OCPP 2.x (1.6 knows no types). Compared without case."""

    id: str
    kind: str = "ISO14443"

    def same(self, other: Token | None) -> bool:
        return other is not None and self.id.casefold() == other.id.casefold()

    @property
    def presentable(self) -> bool:
        """Can somebody come back with it? Not with one that the backend or a command made up (C05, C02)."""
        return self.kind not in ("Local", "NoAuthorization", "Central")

    def __repr__(self) -> str:
        return f"Token({self.short!r}, {self.kind!r})"  # logs and notes never hold a whole number

    @property
    def short(self) -> str:
        """As shown and logged: never the whole number of a card."""
        plain = self.kind in ("Local", "NoAuthorization") or len(self.id) <= 4
        return self.id if plain else f"…{self.id[-4:]}"


FREE = Token("FREE", "NoAuthorization")  # free charging: nobody was asked
LOCAL = Token("LOCAL", "Local")  # started by hand: no card was shown


def recalled(id_: str) -> Token:
    """A token of the history, which keeps no kinds."""
    return LOCAL if id_ == LOCAL.id else Token(id_)


class Standing(StrEnum):
    """What the authority says of a token (the union of both versions' words)."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT = "ConcurrentTx"
    NO_CREDIT = "NoCredit"
    NOT_ALLOWED_EVSE = "NotAllowedTypeEVSE"
    NOT_AT_THIS_LOCATION = "NotAtThisLocation"
    NOT_AT_THIS_TIME = "NotAtThisTime"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`group` is parentIdTag / groupIdToken; `expires` unix seconds of the entry, None: never."""

    standing: Standing
    group: str | None = None
    expires: float | None = None

    @property
    def accepted(self) -> bool:
        return self.standing is Standing.ACCEPTED

    def expired(self, wall: float) -> bool:
        """Its time was over by then."""
        return self.expires is not None and self.expires <= wall
