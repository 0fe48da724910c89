"""What of the state survives a power cut, as rows of JSON: key → body, each versioned by the store.

`live` values are told anew by the guard. Rows that did not change are not written.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from chargerd.core.commands import BootCause
from chargerd.core.faults import OF_BACKEND, STANDING
from chargerd.core.profiles import Installed
from chargerd.core.state import Outlet, Reservation, Site, Station, Visit
from chargerd.core.token import Verdict
from chargerd.core.variables import Variables

Json = Any
T = TypeVar("T")


def rows(state: Station) -> dict[str, Json]:
    """Every durable row of the state."""
    return {key: body for key, body in changed(None, state).items() if body is not None}


def changed(old: Station | None, new: Station) -> dict[str, Json]:
    """Rows that differ between two states of one station, None for those that are gone; `old` None: every row.

    States share what did not change, so a look at identities is enough and a step that changed nothing costs nothing.
    """
    body: dict[str, Json] = {}
    if old is None or _own(old) != _own(new):
        body["station"] = _own(new)
    if old is None or old.variables is not new.variables:
        body["variables"] = dict(new.variables.overrides) or None
    if old is None or old.lobby is not new.lobby:
        body["lobby"] = pack(new.lobby)
    for n, outlet in enumerate(new.outlets):
        before = None if old is None else old.outlets[n]
        if before is None or before.visit is not outlet.visit or _lasting(before) != _lasting(outlet):
            body[f"outlet/{outlet.site.rank}"] = _lasting(outlet) | {"visit": pack(outlet.visit)}
    body |= entries("cache", {} if old is None else old.cache, new.cache, pack)
    body |= entries("card", {} if old is None else old.cards, new.cards, lambda group: {"group": group})
    body |= entries("list", {} if old is None else old.local_list, new.local_list, pack)
    body |= entries("reservation", {} if old is None else old.reservations, new.reservations, pack)
    body |= entries("profile", {} if old is None else old.profiles, new.profiles, pack)
    return body


def _own(state: Station) -> Json:
    """What is the station's own."""
    own = {
        "operative": state.operative,
        "shut": pack(state.shut),
        "next_boot": pack(state.next_boot),
        "list": state.list_version,
    }
    tries = {"tries": state.reset_tries} if state.reset_tries else {}
    return own | tries | _named(resets=state.resets, faults=state.reported)


def _lasting(outlet: Outlet) -> Json:
    """What lasts at an outlet beside its visit."""
    return {"operative": outlet.operative} | _named(faults=outlet.reported)


def _named(**sets: frozenset[Any]) -> Json:
    """Those that are not empty, as mostly they are."""
    return {name: pack(values) for name, values in sets.items() if values}


def entries(name: str, old: Mapping[Any, Any], new: Mapping[Any, Any], form: Callable[[Any], Json]) -> dict[str, Json]:
    """Rows `name/key` of the entries that differ between two mappings."""
    if old is new:
        return {}
    gone: dict[str, Json] = {f"{name}/{key}": None for key in old if key not in new}
    fresh = {
        f"{name}/{key}": form(value)
        for key, value in new.items()
        if key not in old or (old[key] is not value and old[key] != value)
    }
    return gone | fresh


def restore(site: Site, found: Mapping[str, Json], base: Variables) -> Station:
    """The station that wrote these rows. Raises ValueError or TypeError naming a row that is not ours."""
    station = found.get("station") or {"operative": True, "next_boot": None}
    variables, _ = base.restored(found.get("variables") or {})
    outlets = []
    for s in site.outlets:
        row = found.get(f"outlet/{s.rank}") or {"operative": True, "visit": None}
        visit, reported = _unpack(Visit | None, row["visit"]), frozenset(row.get("faults", ()))
        outlets.append(Outlet(s, visit=visit, operative=row["operative"], reported=reported))
    reported = frozenset(station.get("faults", ()))
    standing = STANDING if site.backend else STANDING - OF_BACKEND
    return Station(
        site,
        tuple(outlets),
        variables,
        lobby=_unpack(Visit | None, found.get("lobby")),
        operative=station["operative"],
        shut=frozenset(station.get("shut", ())),
        resets=frozenset(station.get("resets", ())),
        faults=reported & standing,
        reported=reported,
        next_boot=_unpack(BootCause | None, station["next_boot"]),
        reset_tries=station.get("tries", 0),
        cards=MappingProxyType({key: body["group"] for key, body in _found(found, "card/")}),
        cache=MappingProxyType({key: unpack(Verdict, body) for key, body in _found(found, "cache/")}),
        local_list=MappingProxyType({key: unpack(Verdict, body) for key, body in _found(found, "list/")}),
        list_version=station.get("list", 0),
        reservations=MappingProxyType(
            {
                int(key): unpack(Reservation, body)
                for key, body in _found(found, "reservation/")
                if body["outlet"] <= len(outlets)  # else of an outlet that was taken away since
            }
        ),
        profiles=MappingProxyType({key: unpack(Installed, body) for key, body in _found(found, "profile/")}),
    )


def _found(found: Mapping[str, Json], prefix: str) -> Iterator[tuple[str, Json]]:
    return ((key.removeprefix(prefix), body) for key, body in found.items() if key.startswith(prefix))


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
