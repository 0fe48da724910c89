"""The judge's own reading of a frame: is it a CALL that has to be answered, and may a station heed it?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from chargerd.lab import schema

SIZE, DEPTH, ID = 256 * 1024, 32, 36


@dataclass(frozen=True, slots=True)
class Read:
    """A CALL in good order; `lawful` when its payload is what the version's schema says."""

    id: str
    action: str
    lawful: bool


def read(raw: bytes, version: str) -> Read | None:
    """The CALL that these bytes are, or None: then the sender is owed at most one error."""
    if len(raw) > SIZE:
        return None
    try:
        frame = json.loads(raw.decode(), object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite)
        json.dumps(frame, ensure_ascii=False).encode()  # no half of a surrogate pair
        shallow = _depth(frame) <= DEPTH
    except (ValueError, RecursionError):
        return None
    match frame:
        case [int(kind), str(id_), str(action), payload] if (
            kind == 2 and kind is not True and len(id_) <= ID and shallow
        ):
            known = action in schema.actions(version)
            lawful = known and isinstance(payload, dict) and schema.fault(version, action, payload) is None
            return Read(id_, action, lawful)
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a member is there twice")
    return dict(pairs)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("not finite")
    return number


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0
