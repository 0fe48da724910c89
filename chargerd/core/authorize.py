"""Who may charge: local cards, cache, the backend, and what is done without it.

A tap is decided here and nowhere else, in this order: it may stop what it (or its group) started; a local card is
accepted; the cache may answer at once (LocalPreAuthorize); the backend is asked; without it the offline policy decides
(1.6 §3.4; C01, C10–C15). A refused tap leaves nothing but the lamp.
"""

from __future__ import annotations

from types import MappingProxyType

from chargerd.core.commands import Answer, AskAuthorize, Outcome
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import AuthorizeAnswered, BootStatus, RemoteStart, RemoteStop, TokenSeen, TransactionAnswered
from chargerd.core.records import Cause, Reason
from chargerd.core.state import Asked, Authorisation, Station, Visit
from chargerd.core.status import usable
from chargerd.core.token import Standing, Token, Verdict
from chargerd.core.transaction import deauthorise, stop, update

CACHE_SIZE = 1000
ASKS_MOST = 16
REFUSED_SHOWN = 3.0  # s
UNASKED = ("Central", "NoAuthorization")  # given by the backend itself: never asked, never cached (C02, C05)
_ACCEPTED = Standing.ACCEPTED


def connected(station: Station) -> bool:
    """May the backend be asked now?"""
    return station.online and station.boot.status is BootStatus.ACCEPTED


# ---------------------------------------------------------------- what happens


def token_seen(draft: Draft, event: TokenSeen) -> None:
    token, evse = event.token, event.evse
    mine = _visit_of(draft, token, evse)
    if mine is not None:
        _second_tap(draft, mine, token)
    elif not any(asked.token.same(token) for asked in draft.state.asks.values()):
        decide(draft, Asked(token, evse))


def authorize_answered(draft: Draft, event: AuthorizeAnswered) -> None:
    asked = draft.state.asks.get(event.ask)
    if asked is None:
        return
    draft.set(asks=MappingProxyType({k: v for k, v in draft.state.asks.items() if k != event.ask}))
    if event.verdict is None:
        _apply(draft, asked, _offline(draft, asked.token), offline=True)
    else:
        remember(draft, asked.token, event.verdict)
        _apply(draft, asked, event.verdict if event.verdict.accepted else None)


def transaction_answered(draft: Draft, event: TransactionAnswered) -> None:
    """1.6 §4.8, E05: a token that was let in offline turns out to be refused."""
    remember(draft, event.token, event.verdict)
    found = draft.find(event.tx)
    if found is None:
        return
    rank, visit, _ = found
    if visit.auth is None or not visit.auth.token.same(event.token):
        return
    if event.verdict.accepted:
        if event.verdict.group is not None and event.verdict.group != visit.auth.group:
            auth = visit.auth
            draft.set_visit(
                rank,
                auth=Authorisation(auth.token, auth.at, event.verdict.group, auth.remote, auth.remote_id, auth.offline),
            )
    elif draft.state.variables.get_bool("stop_on_invalid_id"):
        deauthorise(draft, rank, Reason.DEAUTHORIZED, Cause.DEAUTHORIZED)
        if not visit.auth.remote and event.token.presentable:
            draft.set_visit(rank, held=event.token)  # the cable stays with its owner (E05.FR.11, 1.6 §4.8)
    else:
        reading = draft.outlet(rank).live.reading if rank != LOBBY else None
        allowed = draft.state.variables.get_int("max_energy_on_invalid_id") if reading is not None else 0
        draft.set_visit(rank, barred_at=(reading.energy if reading else 0.0) + allowed)  # E05.FR.02, E05.FR.03


def remote_start(draft: Draft, event: RemoteStart) -> None:
    """1.6 §5.11, F01/F02: accepted when there is an outlet that could serve it."""
    state = draft.state
    allowed = event.local or state.boot.status is BootStatus.ACCEPTED
    place = _place(draft, None, event.outlet, None) if allowed and state.reset is None else None
    if place is None:
        draft.do(Answer(event.ask, Outcome.REJECTED))
        return
    visit = draft.visit(place)
    running = visit.tx.uid if visit is not None and visit.tx is not None else None
    draft.do(Answer(event.ask, Outcome.ACCEPTED, running))
    asked = Asked(event.token, None, place or None, event.remote_id, remote=not event.local)
    questionable = event.token.kind not in UNASKED and not event.local
    if questionable and state.variables.get_bool("authorize_remote_start"):
        decide(draft, asked)
    else:
        grant(draft, asked, event.group)


def remote_stop(draft: Draft, event: RemoteStop) -> None:
    """1.6 §5.12, F03."""
    found = draft.find(event.tx)
    if found is None or found[2].stopping is not None:
        draft.do(Answer(event.ask, Outcome.REJECTED))
        return
    draft.do(Answer(event.ask, Outcome.ACCEPTED))
    rank, visit, _ = found
    reason, cause = (Reason.LOCAL, Cause.STOP_AUTHORIZED) if event.local else (Reason.REMOTE, Cause.REMOTE_STOP)
    if visit.auth is not None:
        deauthorise(draft, rank, reason, cause)
    elif draft.window.stop & {"Authorized", "PowerPathClosed"}:  # not authorised: nothing could fall
        stop(draft, rank, reason, cause)
    else:
        update(draft, rank, cause)


# ---------------------------------------------------------------- deciding


def decide(draft: Draft, asked: Asked) -> None:
    """Answer from what is known here, or ask the backend."""
    state, token = draft.state, asked.token
    card = token.id.casefold()
    if card in state.cards:
        _apply(draft, asked, Verdict(_ACCEPTED, state.cards[card]))
        return
    if not state.site.backend:
        _apply(draft, asked, None)
        return
    cached = known(draft, token)
    if not connected(state):
        _apply(draft, asked, _offline(draft, token), offline=True)
    elif cached is not None and cached.accepted and state.variables.get_bool("local_pre_authorize"):
        _apply(draft, asked, cached)
    elif len(state.asks) >= ASKS_MOST:
        _apply(draft, asked, None)
    else:
        draft.set(asks=MappingProxyType({**state.asks, state.next_ask: asked}), next_ask=state.next_ask + 1)
        draft.do(AskAuthorize(state.next_ask, token))


def _offline(draft: Draft, token: Token) -> Verdict | None:
    """The policy without a backend's word: cache if allowed, unknown tokens if allowed (1.6 §3.4.4, C15)."""
    variables = draft.state.variables
    cached = known(draft, token)
    if cached is not None:
        return cached if cached.accepted and variables.get_bool("local_authorize_offline") else None
    return Verdict(_ACCEPTED) if variables.get_bool("offline_unknown_ids") else None


def _apply(draft: Draft, asked: Asked, verdict: Verdict | None, offline: bool = False) -> None:
    if verdict is None:
        refuse(draft, asked.evse)
        return
    place = _place(draft, asked.evse, asked.outlet, None if asked.remote else asked.token)
    waiting = place not in (None, LOBBY) and draft.outlet(place or 1).live.plug != 0
    if not waiting and not asked.remote and verdict.group is not None:
        for rank, visit in draft.visits():
            if _in_scope(draft, rank, asked.evse) and visit.auth is not None and visit.auth.group == verdict.group:
                deauthorise(draft, rank, Reason.LOCAL, Cause.STOP_AUTHORIZED, asked.token)
                return
    grant(draft, asked, verdict.group, offline)


def grant(draft: Draft, asked: Asked, group: str | None, offline: bool = False) -> None:
    """Bind the authorisation to the outlet it is for, or to the lobby until a cable decides."""
    place = _place(draft, asked.evse, asked.outlet, None if asked.remote else asked.token)
    if place is None:
        refuse(draft, asked.evse)
        return
    visit = draft.visit(place) or Visit(draft.now)
    auth = Authorisation(asked.token, draft.now, group, asked.remote, asked.remote_id, offline)
    timeout = draft.state.variables.get_int("connection_timeout")
    connect_by = None if visit.plug or not timeout else draft.now.mono + timeout
    draft.put_visit(place, visit)
    draft.set_visit(place, auth=auth, connect_by=connect_by, held=None, barred_at=None)
    if visit.tx is not None:
        draft.set_tx(place, token=None)  # told anew, though it be the same token (E02.FR.01, F01.FR.19)


def refuse(draft: Draft, evse: int | None) -> None:
    """Show it, and forget it."""
    for rank in draft.ranks(evse):
        draft.set_live(rank, refused_until=draft.now.mono + REFUSED_SHOWN)


# ---------------------------------------------------------------- the cache


def known(draft: Draft, token: Token) -> Verdict | None:
    """What the cache says, unless it is off or the entry has expired."""
    if not draft.state.variables.get_bool("auth_cache_enabled"):
        return None
    entry = draft.state.cache.get(token.id.casefold())
    expired = entry is not None and entry.expires is not None and entry.expires <= draft.now.wall
    return None if expired else entry


def remember(draft: Draft, token: Token, verdict: Verdict) -> None:
    """Every word of the authority replaces the last one (1.6 §3.4.1, C10.FR.04); the oldest entries make room."""
    if not draft.state.variables.get_bool("auth_cache_enabled") or token.kind in UNASKED:
        return
    key = token.id.casefold()
    if draft.state.cache.get(key) == verdict:
        return
    cache = {k: v for k, v in draft.state.cache.items() if k != key}
    while len(cache) >= CACHE_SIZE:
        cache.pop(next(iter(cache)))
    draft.set(cache=MappingProxyType({**cache, key: verdict}))


# ---------------------------------------------------------------- where


def _in_scope(draft: Draft, rank: int, evse: int | None) -> bool:
    return evse is None or (rank != LOBBY and draft.outlet(rank).site.evse == evse)


def _visit_of(draft: Draft, token: Token, evse: int | None) -> int | None:
    """The visit that this token authorised, or whose cable it left locked."""
    for rank, visit in draft.visits():
        if _in_scope(draft, rank, evse) and (
            (visit.auth is not None and visit.auth.token.same(token)) or token.same(visit.held)
        ):
            return rank
    return None


def _second_tap(draft: Draft, rank: int, token: Token) -> None:
    visit = draft.visit(rank)
    assert visit is not None
    if visit.auth is not None:
        deauthorise(draft, rank, Reason.LOCAL, Cause.STOP_AUTHORIZED, token)
    draft.set_visit(rank, held=None)


def _place(draft: Draft, evse: int | None, outlet: int | None, card: Token | None) -> int | None:
    """Which outlet a new authorisation is for: a waiting vehicle, the youngest first; a cable; the only free one.

    Several are free: the lobby, until a cable decides. None is: None. `card` None: the backend's own choice.
    """
    ranks = [outlet] if outlet is not None else list(draft.ranks(evse))
    free = [rank for rank in ranks if _free(draft, rank, card)]
    plugged = [rank for rank in free if draft.outlet(rank).live.plug]
    if plugged:
        return max(plugged, key=lambda rank: _opened(draft, rank))
    cabled = [rank for rank in free if draft.outlet(rank).live.cable]
    if cabled:
        return max(cabled, key=lambda rank: _opened(draft, rank))
    if len(free) == 1:
        return free[0]
    lobby_free = draft.state.lobby is None or draft.state.lobby.auth is None
    return LOBBY if free and lobby_free else None


def _free(draft: Draft, rank: int, card: Token | None) -> bool:
    """Could a new authorisation be served here? Before the backend's word to the boot only by policy (B02.FR.03).

    A transaction that goes on without its authorisation waits for its own card: no stranger's energy joins its books.
    """
    state = draft.state
    accepted = not state.site.backend or state.boot.status is BootStatus.ACCEPTED
    if not accepted and not state.variables.get_bool("tx_before_accepted"):
        return False
    outlet = draft.outlet(rank)
    visit = outlet.visit
    if not usable(state, outlet) or (visit is not None and visit.auth is not None):
        return False
    if visit is not None and visit.held is not None and card is not None and not card.same(visit.held):
        return False  # the cable there waits for its owner (1.6 §4.10)
    if visit is None or visit.tx is None:
        return True
    tx = visit.tx
    return tx.stopping is None and (card is None or tx.token is None or card.same(tx.token))


def _opened(draft: Draft, rank: int) -> float:
    visit = draft.visit(rank)
    return visit.opened.mono if visit is not None else 0.0
