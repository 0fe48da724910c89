"""Who may charge: local cards, cache, the backend, and what is done without it.

A tap is decided here and nowhere else, in this order: it may stop what it (or its group) started; a local card is
accepted; the cache may answer at once (LocalPreAuthorize); the backend is asked; without it the offline policy decides
(1.6 §3.4; C01, C10–C15). A refused tap leaves nothing but the lamp.

A reader that serves several outlets cannot know which of them a card is for. Where a vehicle waits it is that one, the
youngest first, bound when the card is seen and not when the answer comes. Where none waits the card is for the next
vehicle that comes (the lobby): so there is one such card at a time, and the next one is refused until a cable has
decided or the time is up - two in a row would charge whoever plugs in first on the card of whoever tapped first.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from chargerd.core import known, reservation
from chargerd.core.charging import has_room
from chargerd.core.commands import Answer, AnswerTap, AskAuthorize, Outcome
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import AuthorizeAnswered, BootStatus, RemoteStart, RemoteStop, TokenSeen, TransactionAnswered
from chargerd.core.points import AUTHORIZED
from chargerd.core.records import Cause, Reason
from chargerd.core.state import Asked, Authorisation, Station, Visit
from chargerd.core.status import usable
from chargerd.core.token import Token, Verdict
from chargerd.core.transaction import deauthorise, end_unauthorised

ASKS_MOST = 16
REFUSED_SHOWN = 3.0  # s


def connected(station: Station) -> bool:
    """May the backend be asked now?"""
    return station.online and station.boot.status is BootStatus.ACCEPTED


def admitted(station: Station) -> bool:
    """May anybody charge, as far as the backend's word to the boot goes? Before it only by policy (B02.FR.03)."""
    waits = station.site.backend and station.boot.status is not BootStatus.ACCEPTED
    return not waits or station.variables.get_bool("tx_before_accepted")


# ---------------------------------------------------------------- what happens


def token_seen(draft: Draft, event: TokenSeen) -> None:
    token, evse = event.token, event.evse
    mine = _visit_of(draft, token, evse)
    if mine is not None:
        _second_tap(draft, mine, token, evse)
    elif _being_stopped(draft, token, evse) or any(asked.token.same(token) for asked in draft.state.asks.values()):
        return  # it has been heard already
    elif not _group_stops(draft, Asked(token, evse), known.accepted(draft.state, token, draft.now.wall)):
        decide(draft, Asked(token, evse))


def authorize_answered(draft: Draft, event: AuthorizeAnswered) -> None:
    asked = draft.state.asks.get(event.ask)
    if asked is None:
        return
    draft.set(asks=MappingProxyType({k: v for k, v in draft.state.asks.items() if k != event.ask}))
    if event.verdict is None:
        _apply(draft, asked, known.offline(draft.state, asked.token, draft.now.wall), offline=True)
    else:
        known.remember(draft, asked.token, event.verdict)
        _apply(draft, asked, event.verdict if event.verdict.accepted else None)


def transaction_answered(draft: Draft, event: TransactionAnswered) -> None:
    """1.6 §4.8, E05: a token that was let in offline turns out to be refused."""
    known.remember(draft, event.token, event.verdict)
    found = draft.find(event.tx)
    if found is None:
        return
    rank, visit, tx = found
    if visit.auth is None or not visit.auth.token.same(event.token):
        return
    if event.verdict.accepted:
        group = event.verdict.group or visit.auth.group
        if (group, None) != (visit.auth.group, visit.barred_at):
            draft.set_visit(rank, auth=replace(visit.auth, group=group), barred_at=None)
    elif draft.state.variables.get_bool("stop_on_invalid_id"):
        deauthorise(draft, rank, Reason.DEAUTHORIZED, Cause.DEAUTHORIZED)
        if not visit.auth.remote and event.token.presentable:
            draft.set_visit(rank, held=event.token)  # the cable stays with its owner (E05.FR.11, 1.6 §4.8)
    else:
        # Counted from the start, so that a refusal said twice gives nothing twice (E05.FR.02, E05.FR.03).
        begin, allowed = tx.begin, draft.state.variables.get_int("max_energy_on_invalid_id")
        draft.set_visit(rank, barred_at=begin.energy + allowed if begin is not None else 0.0)


def remote_start(draft: Draft, event: RemoteStart) -> None:
    """1.6 §5.11, F01/F02: accepted when there is an outlet that could serve it."""
    state = draft.state
    allowed = event.local or state.boot.status is BootStatus.ACCEPTED
    asks = (
        event.token.kind not in known.UNASKED and not event.local and state.variables.get_bool("authorize_remote_start")
    )
    asked = Asked(
        event.token,
        event.evse,
        event.outlet,
        group=event.group,
        remote_id=event.remote_id,
        remote=not event.local,
        sure=not asks,
        profile=event.profile,
    )
    kept = event.profile is None or has_room(state, event.profile, draft.now)
    place = _place(draft, asked) if allowed and kept and state.reset is None else None
    if place is None:
        draft.do(Answer(event.ask, Outcome.REJECTED))
        return
    visit = draft.visit(place)
    running = visit.tx.uid if visit is not None and visit.tx is not None else None
    draft.do(Answer(event.ask, Outcome.ACCEPTED, running))
    if asks:
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
    else:
        end_unauthorised(draft, rank, reason, cause)


# ---------------------------------------------------------------- deciding


def decide(draft: Draft, asked: Asked) -> None:
    """Answer from what is known here, or ask the backend."""
    state, token = draft.state, asked.token
    asked = _bound(draft, asked)
    local = known.accepted(draft.state, token, draft.now.wall)
    if local is not None and token.id.casefold() in state.cards:
        _apply(draft, asked, local)
    elif not state.site.backend:
        _apply(draft, asked, None)
    elif not connected(state):
        _apply(draft, asked, known.offline(state, token, draft.now.wall), offline=True)
    elif local is not None and state.variables.get_bool("local_pre_authorize"):
        _apply(draft, asked, local)
    elif len(state.asks) >= ASKS_MOST:
        _apply(draft, asked, None)
    else:
        draft.set(asks=MappingProxyType({**state.asks, state.next_ask: asked}), next_ask=state.next_ask + 1)
        draft.do(AskAuthorize(state.next_ask, token))


def _bound(draft: Draft, asked: Asked) -> Asked:
    """Where a vehicle waits the answer is for that one: whoever comes while the backend is asked is somebody else."""
    place = _place(draft, asked)
    if place is None or place == LOBBY or not draft.outlet(place).live.plug:
        return asked
    return replace(asked, outlet=place, plug=draft.outlet(place).live.plug)


def _apply(draft: Draft, asked: Asked, verdict: Verdict | None, offline: bool = False) -> None:
    left = asked.plug and draft.outlet(asked.outlet or 1).live.plug != asked.plug
    if verdict is None or left:
        _refuse(draft, asked)
    elif not _group_stops(draft, asked, verdict):
        grant(draft, asked, verdict.group or asked.group, offline)


def _group_stops(draft: Draft, asked: Asked, verdict: Verdict | None) -> bool:
    """A card of the group that charges ends it, unless a vehicle waits for this card (C01.FR.03, C09.FR.03, E08.FR.02).

    Without a question where the card is known here, and whatever the policy for starting says.
    """
    if verdict is None or verdict.group is None or asked.remote:
        return False
    place = _place(draft, asked)
    if place is not None and place != LOBBY and draft.outlet(place).live.plug:
        return False
    for rank, visit in draft.visits():
        if _in_scope(draft, rank, asked.evse) and visit.auth is not None and visit.auth.group == verdict.group:
            deauthorise(draft, rank, Reason.LOCAL, Cause.STOP_AUTHORIZED, asked.token)
            draft.do(AnswerTap(asked.token, True))
            return True
    return False


def grant(draft: Draft, asked: Asked, group: str | None, offline: bool = False) -> None:
    """Bind the authorisation to the outlet it is for, or to the lobby until a cable decides."""
    place = _place(draft, replace(asked, group=group, sure=True))
    if place is None:
        _refuse(draft, asked)
        return
    visit = draft.visit(place) or Visit(draft.now)
    auth = Authorisation(asked.token, draft.now, group, asked.remote, asked.remote_id, offline, asked.profile)
    timeout = draft.state.variables.get_int("connection_timeout")
    connect_by = None if visit.plug else draft.now.mono + timeout
    draft.put_visit(place, visit)
    evse = asked.evse if place == LOBBY else None
    draft.set_visit(place, auth=auth, evse=evse, connect_by=connect_by, held=None, barred_at=None)
    if visit.tx is not None:
        draft.set_tx(place, token=None)  # told anew, though it be the same token (E02.FR.01, F01.FR.19)
    if not asked.remote:
        draft.do(AnswerTap(asked.token, True))


def _refuse(draft: Draft, asked: Asked) -> None:
    refuse(draft, asked.evse)
    if not asked.remote:
        draft.do(AnswerTap(asked.token, False))


def refuse(draft: Draft, evse: int | None) -> None:
    """Show it, and forget it."""
    for rank in draft.ranks(evse):
        draft.set_live(rank, refused_until=draft.now.mono + REFUSED_SHOWN)


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


def _being_stopped(draft: Draft, token: Token, evse: int | None) -> bool:
    """Does the transaction of this token end already? Until the contactor has opened a driver may well tap again."""
    return any(
        visit.tx is not None and visit.tx.stopping is not None and token.same(visit.tx.token or visit.tx.stopping.token)
        for rank, visit in draft.visits()
        if _in_scope(draft, rank, evse)
    )


def _second_tap(draft: Draft, rank: int, token: Token, evse: int | None) -> None:
    """It ends what it began, or sets its cable free; a vehicle that came back to that cable is to charge again."""
    visit = draft.visit(rank)
    assert visit is not None
    if visit.auth is not None:
        deauthorise(draft, rank, Reason.LOCAL, Cause.STOP_AUTHORIZED, token)
    draft.set_visit(rank, held=None)
    if visit.auth is None and visit.plug and visit.parted:  # E09.FR.01
        decide(draft, Asked(token, evse))
    else:
        draft.do(AnswerTap(token, True))


def _place(draft: Draft, asked: Asked) -> int | None:
    """Which outlet a new authorisation is for; several are free: the lobby, until a cable decides. None: none is.

    First what is reserved for the token; then where a vehicle waits, the youngest; then where a cable hangs, or the
    only one where somebody parks; then the only free one. Where a session has ended its vehicle waits for nobody but
    its own card, while there is another.
    """
    ranks = [asked.outlet] if asked.outlet is not None else list(draft.ranks(asked.evse))
    free = [rank for rank in ranks if _free(draft, rank, asked)]
    fresh = [rank for rank in free if not _over(draft, rank, asked.token)]
    kept = [rank for rank in reservation.kept_for(draft.state, asked.token) if rank in free]
    if kept:
        return kept[0]
    for sign in ("plug", "cable"):
        waiting = [rank for rank in fresh if getattr(draft.outlet(rank).live, sign)]
        if waiting:
            return max(waiting, key=lambda rank: _opened(draft, rank))
    parked = [rank for rank in fresh if draft.outlet(rank).live.bay]
    begins = AUTHORIZED in draft.window.start  # in the lobby it would be another than that of the bay
    if len(parked) == 1 or (parked and begins):
        return max(parked, key=lambda rank: _opened(draft, rank))
    if len(fresh or free) == 1:
        return (fresh or free)[0]
    if not fresh:
        return max(free, key=lambda rank: _opened(draft, rank), default=None)
    return LOBBY if draft.state.lobby is None or draft.state.lobby.auth is None else None


def _over(draft: Draft, rank: int, token: Token) -> bool:
    """Is what stands or hangs here left over from somebody else's session?"""
    visit = draft.visit(rank)
    return visit is not None and visit.finished and not token.same(visit.last)


def _free(draft: Draft, rank: int, asked: Asked) -> bool:
    """Could a new authorisation be served here?

    A transaction that goes on without its authorisation waits for its own card: no stranger's energy joins its books
    (C01.FR.23). A cable that is kept for its owner is nobody else's, and a reserved outlet is for whom it is reserved.
    """
    state = draft.state
    if not admitted(state):
        return False
    outlet = draft.outlet(rank)
    visit = outlet.visit
    if not reservation.open_to(state, rank, asked.token, asked.group, asked.sure):
        return False
    if not usable(state, outlet) or any(sibling.tx or sibling.auth for sibling in state.siblings(rank)):
        return False
    if visit is None:
        return True
    if visit.auth is not None or not (visit.held is None or asked.token.same(visit.held)):
        return False
    tx = visit.tx
    return tx is None or (tx.stopping is None and (asked.remote or tx.token is None or asked.token.same(tx.token)))


def _opened(draft: Draft, rank: int) -> float:
    visit = draft.visit(rank)
    return visit.opened.mono if visit is not None else 0.0
