"""What is known of tokens, how that is told, and a pretend roaming partner who is asked about the unknown ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

STATUSES_16 = frozenset(("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"))


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of one token. `status` is 2.0.1's word; `expiry` carries its zone."""

    status: str = "Accepted"
    group: str | None = None
    expiry: datetime | None = None


@dataclass(slots=True)
class Partner:
    """Knows `contracts` by token and whole ranges by `prefixes` (the longest fits), both without regard to case.

    `delay` is in seconds of the running loop's time. Not `reachable`: it answers None, as for a token it does not know.
    """

    contracts: Mapping[str, Token] = field(default_factory=dict)
    prefixes: Mapping[str, Token] = field(default_factory=dict)
    delay: float = 0.0
    reachable: bool = True
    asked: list[str] = field(default_factory=list)

    async def lookup(self, token: str) -> Token | None:
        self.asked.append(token)
        await asyncio.sleep(self.delay)
        if not self.reachable:
            return None
        wanted = token.casefold()
        for known, answer in self.contracts.items():
            if known.casefold() == wanted:
                return answer
        fits = [prefix for prefix in self.prefixes if wanted.startswith(prefix.casefold())]
        return self.prefixes[max(fits, key=len)] if fits else None


def without_card(token: Mapping[str, Any] | None) -> Token | None:
    """C02: a start that needs no card tells a token of type NoAuthorization."""
    return Token() if token is not None and token["type"] == "NoAuthorization" else None


def token_info(version: str, token: Token) -> dict[str, Any]:
    """1.6's IdTagInfo or 2.x's IdTokenInfoType; what 1.6 has no word for is Invalid."""
    if version == "ocpp1.6":
        info: dict[str, Any] = {"status": token.status if token.status in STATUSES_16 else "Invalid"}
        extra: dict[str, Any] = {"parentIdTag": token.group, "expiryDate": token.expiry and stamp(token.expiry)}
    else:
        info = {"status": token.status}
        group = token.group and {"idToken": token.group, "type": "Central"}
        extra = {"groupIdToken": group, "cacheExpiryDateTime": token.expiry and stamp(token.expiry)}
    return info | {key: value for key, value in extra.items() if value}


def stamp(moment: datetime) -> str:
    """UTC with milliseconds, as both versions write instants."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
