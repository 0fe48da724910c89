"""Is this payload what the version's JSON schema says, and if not, which CALLERROR code is due?

The schema files are those of the installed `ocpp` package, read on first use. They speak a small language (no unions,
no patterns, no conditions), so one recursive walk here decides in microseconds what a general validator needs
milliseconds and ten megabytes for. A keyword outside that language is refused at load: a newer package cannot loosen
the check unseen. Stricter than the schemas in three places: date-times are checked (RFC 3339), an integer is written
without a fraction, and whole numbers fit 64 bits. `multipleOf` is decided in decimals: 6.3 passes 0.1, 6.25 does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal

Version = Literal["1.6", "2.0.1", "2.1"]
Kind = Literal["request", "response", "send"]


@dataclass(frozen=True, slots=True)
class Violation:
    """`code` is the version's own error code; `text` names field and rule in the schema's words, never a value."""

    code: str
    text: str


class Fault(Enum):
    """What can be wrong with a payload, independent of the version."""

    SYNTAX = "syntax"
    STRUCTURE = "structure"
    OCCURRENCE = "occurrence"
    TYPE = "type"
    VALUE = "value"


# 1.6 ocppj Table 7 puts a member that the PDU does not have under FormationViolation (spelling of "Occurence" its own);
# 2.0.1 part 4 §4.3 narrowed FormatViolation to syntax and says ProtocolError for the PDU's structure.
_CODES_2 = {
    Fault.SYNTAX: "FormatViolation",
    Fault.STRUCTURE: "ProtocolError",
    Fault.OCCURRENCE: "OccurrenceConstraintViolation",
    Fault.TYPE: "TypeConstraintViolation",
    Fault.VALUE: "PropertyConstraintViolation",
}
CODES: dict[Version, dict[Fault, str]] = {
    "1.6": {
        Fault.SYNTAX: "FormationViolation",
        Fault.STRUCTURE: "FormationViolation",
        Fault.OCCURRENCE: "OccurenceConstraintViolation",
        Fault.TYPE: "TypeConstraintViolation",
        Fault.VALUE: "PropertyConstraintViolation",
    },
    "2.0.1": _CODES_2,
    "2.1": _CODES_2,
}


def check(version: Version, action: str, kind: Kind, payload: object) -> Violation | None:
    """The first violation in `payload`, or None.

    KeyError when `action` is not one of `actions(version)`, or for the kind "send" of `sends(version)`.
    """
    found = _first(_schema(version, action, kind), payload)
    if found is None:
        return None
    fault, path, rule = found
    return Violation(CODES[version][fault], f"{path.removeprefix('.') or 'payload'}: {rule}")


@cache
def actions(version: Version) -> frozenset[str]:
    """Every action of the version's schemas that has an answer, whichever side sends it."""
    return frozenset(name.removesuffix("Response") for name in _names(version) if name.endswith("Response"))


@cache
def sends(version: Version) -> frozenset[str]:
    """The actions that are said and never answered (SEND, from 2.1 on)."""
    if version == "1.6":  # where a request has no ending, and nothing is sent so
        return frozenset()
    return frozenset(name for name in _names(version) if not name.endswith(("Request", "Response")))


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_READ = {"type", "enum", "format", "maxLength", "minItems", "maxItems", "minimum", "maximum", "multipleOf"}
_READ |= {"properties", "required", "additionalProperties", "items", "$ref"}
_NO_RULE = {"$schema", "$id", "title", "description", "comment", "javaType", "default", "definitions"}
_NO_RULE |= {"additionalItems"}  # says nothing where `items` is one schema, and here it always is


@dataclass(frozen=True, slots=True)
class _Node:
    """One schema, references resolved. `closed` = no members but `members`; without `type` anything goes."""

    type: str | None
    enum: frozenset[str] | None = None
    date_time: bool = False
    max_length: int | None = None
    min_items: int = 0
    max_items: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: Decimal | None = None
    members: Mapping[str, _Node] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    closed: bool = False
    items: _Node | None = None


_FOLDERS: dict[Version, str] = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}


def _folder(version: Version) -> Traversable:
    # by way of the top package: importing ocpp.v16 or ocpp.v201 would cost 18 MB of classes
    return files("ocpp") / _FOLDERS[version] / "schemas"


def _names(version: Version) -> list[str]:
    return [file.name.removesuffix(".json") for file in _folder(version).iterdir() if file.name.endswith(".json")]


@cache
def _schema(version: Version, action: str, kind: Kind) -> _Node:
    if action not in (sends(version) if kind == "send" else actions(version)):
        raise KeyError(f"{action}: not an action of OCPP {version}")
    suffix = {"request": "" if version == "1.6" else "Request", "response": "Response", "send": ""}[kind]
    raw = json.loads((_folder(version) / f"{action}{suffix}.json").read_text("utf-8"))
    return _compile(raw, raw.get("definitions", {}))


def _compile(raw: Mapping[str, Any], definitions: Mapping[str, Any]) -> _Node:
    if strange := raw.keys() - _READ - _NO_RULE:
        raise ValueError(f"schema keyword {sorted(strange)} is not known here: teach chargerd/ocpp/schemas.py its rule")
    if "$ref" in raw:
        return _compile(definitions[raw["$ref"].removeprefix("#/definitions/")], definitions)
    multiple = raw.get("multipleOf")
    return _Node(
        type=raw.get("type"),
        enum=frozenset(raw["enum"]) if "enum" in raw else None,
        date_time=raw.get("format") == "date-time",
        max_length=raw.get("maxLength"),
        min_items=raw.get("minItems", 0),
        max_items=raw.get("maxItems"),
        minimum=raw.get("minimum"),
        maximum=raw.get("maximum"),
        multiple_of=None if multiple is None else Decimal(repr(multiple)),
        members={name: _compile(sub, definitions) for name, sub in raw.get("properties", {}).items()},
        required=tuple(raw.get("required", ())),
        closed=raw.get("additionalProperties") is False,
        items=_compile(raw["items"], definitions) if "items" in raw else None,
    )


_Found = tuple[Fault, str, str]  # fault, path from here down (".a[2].b"), rule


def _first(node: _Node, value: object, *, top: bool = True) -> _Found | None:
    if node.type is None:
        return None
    if not isinstance(value, _TYPES[node.type]) or (isinstance(value, bool) and node.type != "boolean"):
        return (Fault.SYNTAX if top else Fault.TYPE), "", f"must be of type {node.type}"
    match value:
        case dict():
            return _object(node, value)
        case list():
            return _array(node, value)
        case str():
            return _string(node, value)
        case int() | float() if node.type != "boolean":
            return _number(node, value)
    return None


def _object(node: _Node, value: dict[str, object]) -> _Found | None:
    if node.closed and value.keys() - node.members.keys():
        return Fault.STRUCTURE, "", "has a member that the message does not know"
    for name in node.required:
        if name not in value:
            return Fault.OCCURRENCE, f".{name}", "is required"
    for name, member in node.members.items():
        if name in value and (found := _first(member, value[name], top=False)):
            return found[0], f".{name}{found[1]}", found[2]
    return None


def _array(node: _Node, value: list[object]) -> _Found | None:
    if len(value) < node.min_items:
        return Fault.OCCURRENCE, "", f"needs at least {node.min_items} items"
    if node.max_items is not None and len(value) > node.max_items:
        return Fault.OCCURRENCE, "", f"may have at most {node.max_items} items"
    if node.items is not None:
        for i, item in enumerate(value):
            if found := _first(node.items, item, top=False):
                return found[0], f"[{i}]{found[1]}", found[2]
    return None


def _string(node: _Node, value: str) -> _Found | None:
    if node.enum is not None and value not in node.enum:
        return Fault.VALUE, "", "is not one of the values that OCPP knows"
    if node.max_length is not None and len(value) > node.max_length:
        return Fault.VALUE, "", f"may have at most {node.max_length} characters"
    if node.date_time and not _is_date_time(value):
        return Fault.VALUE, "", "must be a date-time with a zone (RFC 3339)"
    return None


def _number(node: _Node, value: float) -> _Found | None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return Fault.VALUE, "", "must fit 64 bits"
    if node.minimum is not None and value < node.minimum:
        return Fault.VALUE, "", f"must be at least {node.minimum:g}"
    if node.maximum is not None and value > node.maximum:
        return Fault.VALUE, "", f"must be at most {node.maximum:g}"
    if node.multiple_of is not None:
        parts = Decimal(repr(value)) / node.multiple_of
        if parts != parts.to_integral_value():
            return Fault.VALUE, "", f"must be a multiple of {node.multiple_of}"
    return None


_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def _is_date_time(value: str) -> bool:
    """Whether `datetime.fromisoformat` gives an aware time for it: who takes the payload need not ask again."""
    if _DATE_TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
