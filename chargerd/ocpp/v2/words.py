"""What several messages of OCPP 2.x share: idTokens, idTokenInfo, bounded strings, places."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chargerd.core.state import Outlet
from chargerd.core.token import FREE, Standing, Token, Verdict
from chargerd.ocpp.dialect import Json


def bounded(text: str, limit: int) -> str:
    """`text` in at most `limit` characters; what does not fit ends in "…" so that it shows."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def id_token(token: Token) -> Json:
    """IdTokenType; nobody's token is empty (C02.FR.01)."""
    return {"idToken": "" if token == FREE else token.id, "type": token.kind}


def token_of(id_token: Mapping[str, Any]) -> Token:
    """The token of an IdTokenType that passed the schema."""
    return Token(id_token["idToken"], id_token["type"]) if id_token["idToken"] else FREE


def verdict(info: Mapping[str, Any]) -> Verdict:
    """An IdTokenInfoType that passed the schema; an empty groupIdToken is none."""
    expiry = info.get("cacheExpiryDateTime")
    return Verdict(
        Standing(info["status"]),
        info.get("groupIdToken", {}).get("idToken") or None,
        None if expiry is None else datetime.fromisoformat(expiry).timestamp(),
    )


def place(outlet: Outlet) -> Json:
    """EVSEType of one outlet."""
    return {"id": outlet.site.evse, "connectorId": outlet.site.connector}
