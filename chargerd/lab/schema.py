"""Is a payload what its OCPP version says? The judge's own strict reading of the published JSON schemas.

Stricter than a plain validator: date-times are parsed and need a zone. `multipleOf` counts in decimals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft4Validator, Draft6Validator, FormatChecker, ValidationError, validators

type_violation = "TypeConstraintViolation"
property_violation = "PropertyConstraintViolation"

FOLDERS = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}
FORMATION = {"ocpp1.6": "FormationViolation", "ocpp2.0.1": "FormatViolation", "ocpp2.1": "FormatViolation"}
OCCURRENCE = {
    "ocpp1.6": "OccurenceConstraintViolation",
    "ocpp2.0.1": "OccurrenceConstraintViolation",
    "ocpp2.1": "OccurrenceConstraintViolation",
}
_COMMON = {"NotImplemented", "NotSupported", "InternalError", "ProtocolError", "SecurityError", "GenericError"}
_COMMON |= {type_violation, property_violation}
_COMMON_2 = _COMMON | {"FormatViolation", "OccurrenceConstraintViolation", "RpcFrameworkError"}
ERROR_CODES = {
    "ocpp1.6": frozenset(_COMMON | {"FormationViolation", "OccurenceConstraintViolation"}),
    "ocpp2.0.1": frozenset(_COMMON_2 | {"MessageTypeNotSupported"}),
    "ocpp2.1": frozenset(_COMMON_2),
}
"""1.6J table 7; 2.0.1 part 4 §4.3, whose MessageTypeNotSupported 2.1 has dropped."""

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_formats = FormatChecker(formats=())


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a payload is refused: the version's own error code and one line (at most 255 characters)."""

    code: str
    text: str


def parse_time(text: str) -> datetime:
    """An RFC 3339 instant with its zone; ValueError otherwise."""
    if not _DATE_TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a date-time with a zone, such as 2026-01-31T12:00:00Z")
    return datetime.fromisoformat(text)


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    if isinstance(value, str):
        parse_time(value)
    return True


def _decimal_multiple(_: Any, step: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and Decimal(repr(value)) % Decimal(repr(step)):
        yield ValidationError(f"{value} is not a multiple of {step}")


_extend: Callable[..., Any] = validators.extend
_DRAFTS = {
    draft.META_SCHEMA["$schema"].rstrip("#"): _extend(draft, {"multipleOf": _decimal_multiple})
    for draft in (Draft4Validator, Draft6Validator)
}


@cache
def actions(version: str) -> frozenset[str]:
    """Every action that has a request schema in `version` (a WebSocket subprotocol name)."""
    ending = ".json" if version == "ocpp1.6" else "Request.json"
    names = (entry.name for entry in (resources.files("ocpp") / FOLDERS[version] / "schemas").iterdir())
    return frozenset(
        name.removesuffix(ending) for name in names if name.endswith(ending) and not name.endswith("Response.json")
    )


@cache
def _validator(version: str, action: str, response: bool) -> Any:
    name = action + ("Response" if response else "" if version == "ocpp1.6" else "Request")
    path = resources.files("ocpp") / FOLDERS[version] / "schemas" / f"{name}.json"
    schema = json.loads(path.read_text(encoding="utf-8-sig"))
    return _DRAFTS[schema["$schema"].rstrip("#")](schema, format_checker=_formats)


def fault(version: str, action: str, payload: Mapping[str, Any], *, response: bool = False) -> Fault | None:
    """The first thing wrong with `payload`; None when all is well. `action` is one of `actions(version)`."""
    errors = sorted(
        _validator(version, action, response).iter_errors(payload), key=lambda error: list(map(str, error.path))
    )
    if not errors:
        return None
    first = errors[0]
    where = ".".join(map(str, first.absolute_path)) or "the payload"
    match first.validator:
        case "required" | "minItems" | "maxItems":
            code = OCCURRENCE[version]
        case "type":
            code = type_violation
        case "additionalProperties":
            code = FORMATION[version]
        case _:
            code = property_violation
    return Fault(code, f"{action} {where}: {first.message[:120]}"[:255])
