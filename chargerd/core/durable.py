"""What of the state survives a power cut, as rows of JSON: key → body, each versioned by the store.

`live` values are told anew by the guard. Rows that did not change are not written.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from chargerd.core.commands import BootCause
from chargerd.core.state import Outlet, Site, Station, Visit
from chargerd.core.token import Verdict
from chargerd.core.variables import Variables

Json = Any
T = TypeVar("T")


def rows(state: Station) -> dict[str, Json]:
    """Every durable row of the state."""
    body: dict[str, Json] = {"station": {"operative": state.operative, "next_boot": pack(state.next_boot)}}
    if state.variables.overrides:
        body["variables"] = dict(state.variables.overrides)
    if state.lobby is not None:
        body["lobby"] = pack(state.lobby)
    for outlet in state.outlets:
        body[f"outlet/{outlet.site.rank}"] = {"operative": outlet.operative, "visit": pack(outlet.visit)}
    for number, (key, verdict) in enumerate(state.cache.items()):
        body[f"cache/{key}"] = [number, pack(verdict)]
    for key, group in state.cards.items():
        body[f"card/{key}"] = group
    return body


def restore(site: Site, found: Mapping[str, Json], base: Variables) -> Station:
    """The station that wrote these rows. Raises ValueError or TypeError naming a row that is not ours."""
    station = found.get("station") or {"operative": True, "next_boot": None}
    variables = base
    for name, text in (found.get("variables") or {}).items():
        variables = variables.with_(name, text)
    outlets = []
    for s in site.outlets:
        row = found.get(f"outlet/{s.rank}") or {"operative": True, "visit": None}
        outlets.append(Outlet(s, visit=_unpack(Visit | None, row["visit"]), operative=row["operative"]))
    cached = sorted((v[0], k.removeprefix("cache/"), v[1]) for k, v in found.items() if k.startswith("cache/"))
    return Station(
        site,
        tuple(outlets),
        variables,
        lobby=_unpack(Visit | None, found.get("lobby")),
        operative=station["operative"],
        next_boot=_unpack(BootCause | None, station["next_boot"]),
        cards=MappingProxyType({k.removeprefix("card/"): v for k, v in found.items() if k.startswith("card/")}),
        cache=MappingProxyType({key: unpack(Verdict, body) for _, key, body in cached}),
    )


def pack(value: Any) -> Json:
    """JSON of a value made of dataclasses, enums, sets, tuples and plain values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: pack(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [pack(v) for v in value]
    return value


def unpack(cls: type[T], body: Json) -> T:
    """The inverse of `pack`; fields that the body does not have keep their defaults."""
    made: T = _unpack(cls, body)
    return made


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _unpack(hint: Any, body: Json) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if body is None else _unpack(next(a for a in args if a is not type(None)), body)
    if origin is frozenset:
        return frozenset(body)
    if origin is tuple:
        inner = args[:1] * len(body) if len(args) == 2 and args[1] is Ellipsis else args
        return tuple(_unpack(a, v) for a, v in zip(inner, body, strict=True))
    if isinstance(hint, type) and is_dataclass(hint):
        hints = _hints(hint)
        return hint(**{k: _unpack(hints[k], v) for k, v in body.items() if k in hints})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(body)
    return body
