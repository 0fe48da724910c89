"""The versions of OCPP that can be spoken, and which of them are offered to a backend.

A transaction belongs to the version of its first message: what is unfinished is offered in that version before all
others. Only 2.1 may finish what 2.0.1 has begun: each message of ours in 2.0.1 is word for word one of 2.1, with the
same transaction ids and the same counting, and the backend is the same. The other way a message that was sent may hold
words that 2.0.1 does not know; what was never sent is a draft, and drafts of 2.0.1 and 2.1 are alike. Between 1.6 and
2.x nothing is.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from chargerd.ocpp.dialect import Dialect
from chargerd.ocpp.schemas import Version


class _Known(NamedTuple):
    module: str
    name: str
    finishes: frozenset[Version] = frozenset()


_KNOWN: dict[Version, _Known] = {
    "1.6": _Known("chargerd.ocpp.v16", "Dialect16"),
    "2.0.1": _Known("chargerd.ocpp.v2", "Dialect201"),
    "2.1": _Known("chargerd.ocpp.v2.dialect21", "Dialect21", frozenset({"2.0.1"})),
}
VERSIONS: tuple[Version, ...] = tuple(_KNOWN)


class Offer(NamedTuple):
    """Versions in order of preference; `otherwise`: to be added for a backend that speaks none of `first`."""

    first: tuple[Version, ...]
    otherwise: tuple[Version, ...] = ()


def is_version(name: object) -> TypeGuard[Version]:
    return name in _KNOWN


def dialect_of(version: Version) -> Dialect:
    """The dialect of a version, imported only now: each costs memory."""
    known = _KNOWN[version]
    made: Dialect = getattr(importlib.import_module(known.module), known.name)()
    return made


def subprotocol(version: Version) -> str:
    return f"ocpp{version}"


def version_of(subprotocol_: str) -> Version:
    """Of a subprotocol that was offered."""
    return next(version for version in _KNOWN if subprotocol(version) == subprotocol_)


def finishes(version: Version, begun: Version) -> bool:
    """May `version` tell the rest of what was begun in `begun`?"""
    return version == begun or begun in _KNOWN[version].finishes


def alike(one: Version, other: Version) -> bool:
    """May what waits in the words of one, and was never sent, go out in those of the other?"""
    return (one == "1.6") == (other == "1.6")


def offer(configured: Sequence[Version], unfinished: Version | None) -> Offer:
    """What to offer; `unfinished`: the version of a transaction that runs, or of one that is not told to its end."""
    if unfinished is None:
        return Offer(tuple(configured))
    first = (unfinished, *(v for v in configured if v != unfinished and finishes(v, unfinished)))
    return Offer(first, tuple(v for v in configured if v not in first))
