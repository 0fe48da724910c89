"""What is known here of a token without asking: own cards, the CSMS's local list, the cache, in this order.

A token of the list is judged by the list alone, whatever the cache remembers of it (1.6 §3.4.3); the cache keeps the
authority's latest word of every other, good or bad (1.6 §3.4.1, C10).
"""

from __future__ import annotations

from types import MappingProxyType

from chargerd.core import local_list
from chargerd.core.draft import Draft
from chargerd.core.state import Station
from chargerd.core.token import Standing, Token, Verdict

CACHE_SIZE = 1000
UNASKED = ("Central", "NoAuthorization")  # given by the backend itself: never asked, never cached (C02, C05)
_ACCEPTED = Standing.ACCEPTED


def accepted(state: Station, token: Token, wall: float) -> Verdict | None:
    """The word that lets this token in, if there is one (C13.FR.01)."""
    card = token.id.casefold()
    if card in state.cards:
        return Verdict(_ACCEPTED, state.cards[card])
    if local_list.knows(state, token):
        return local_list.accepted(state, token, wall)
    cached = _cached(state, token, wall)
    return cached if cached is not None and cached.accepted else None


def offline(state: Station, token: Token, wall: float) -> Verdict | None:
    """The policy without a backend's word: list and cache if allowed, unknown tokens if allowed (1.6 §3.4.4, C15).

    A token that was refused, or whose time is over, is not unknown.
    """
    variables = state.variables
    cached = variables.get_bool("auth_cache_enabled") and token.id.casefold() in state.cache
    if cached or local_list.knows(state, token):
        return accepted(state, token, wall) if variables.get_bool("local_authorize_offline") else None
    return Verdict(_ACCEPTED) if variables.get_bool("offline_unknown_ids") else None


def _cached(state: Station, token: Token, wall: float) -> Verdict | None:
    """What the cache says, unless it is off or the entry has expired."""
    if not state.variables.get_bool("auth_cache_enabled"):
        return None
    entry = state.cache.get(token.id.casefold())
    return None if entry is None or entry.expired(wall) else entry


def remember(draft: Draft, token: Token, verdict: Verdict) -> None:
    """Every word of the authority replaces the last one (1.6 §3.4.1, C10.FR.04)."""
    state = draft.state
    if token.kind in UNASKED:
        return
    if local_list.knows(state, token):
        local_list.compare(draft, token, verdict)
    elif state.variables.get_bool("auth_cache_enabled"):
        put(draft, token, verdict)


def put(draft: Draft, token: Token, verdict: Verdict) -> None:
    """Into the cache. In a full one those that are not valid make room, then the oldest (1.6 §3.4.1)."""
    key, before = token.id.casefold(), draft.state.cache
    if before.get(key) == verdict:
        return
    cache = {k: v for k, v in before.items() if k != key}
    if len(cache) >= CACHE_SIZE:
        cache = {k: v for k, v in cache.items() if v.accepted and not v.expired(draft.now.wall)}
    while len(cache) >= CACHE_SIZE:
        cache.pop(next(iter(cache)))
    draft.set(cache=MappingProxyType({**cache, key: verdict}))


def forget(draft: Draft) -> None:
    """Empty the cache."""
    draft.set(cache=MappingProxyType({}))
