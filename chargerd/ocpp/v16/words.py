"""What several messages of OCPP 1.6 share: bounded strings, idTags, idTagInfo."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chargerd.core.token import Standing, Token, Verdict

ID_TAG_MAX = 20  # 1.6 §7.28


def ci_string(text: str, limit: int) -> str:
    """`text` as a CiString (1.6 §2.2, §7.15): printable ASCII; what does not fit ends in "..." so that it shows."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def verdict(info: Mapping[str, Any]) -> Verdict:
    """An idTagInfo (1.6 §7.27) that passed the schema; an empty parentIdTag is none."""
    expiry = info.get("expiryDate")
    return Verdict(
        Standing(info["status"]),
        info.get("parentIdTag") or None,
        None if expiry is None else moment(expiry),
    )


def moment(text: str) -> float:
    """Unix seconds of a dateTime that passed the schema."""
    return datetime.fromisoformat(text).timestamp()


def told(token: Token) -> dict[str, str]:
    """A token as a draft keeps it; `token_of` reads it back."""
    return {"id": token.id, "kind": token.kind}


def token_of(facts: Mapping[str, str]) -> Token:
    return Token(facts["id"], facts["kind"])
