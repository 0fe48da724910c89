"""Reservations: an outlet, or any one of them, kept for a driver who is on the way (1.6 §5.1, §5.13).

One for an outlet keeps that outlet from everybody else, and so the others of its EVSE, which serves one vehicle at a
time. One for the station (outlet 0) keeps none in particular: others may come as long as one more EVSE is free. It is
over when a transaction starts for it, when its time has come, when what it keeps is out of order or out of service, or
when it is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from chargerd.core.commands import Answer, Outcome
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import CancelReservationAsked, ReserveAsked
from chargerd.core.state import Authorisation, Outlet, Reservation, Station
from chargerd.core.status import beginning, blocking
from chargerd.core.token import Token

ANY = 0
MOST = 64  # as many as there can be outlets


# ---------------------------------------------------------------- what the CSMS asks


def asked(draft: Draft, event: ReserveAsked) -> None:
    """A reservation of the same number is replaced; one that cannot be replaced stays."""
    others = {id_: one for id_, one in draft.state.reservations.items() if id_ != event.id}
    outcome = _possible(draft, event, others)
    if outcome is Outcome.ACCEPTED:
        new = Reservation(event.id, event.token, event.outlet, event.expires, event.group)
        draft.set(reservations=MappingProxyType({**others, event.id: new}))
    draft.do(Answer(event.ask, outcome))


def cancelled(draft: Draft, event: CancelReservationAsked) -> None:
    known = event.id in draft.state.reservations
    if known:
        _drop(draft, event.id)
    draft.do(Answer(event.ask, Outcome.ACCEPTED if known else Outcome.REJECTED))


def _possible(draft: Draft, event: ReserveAsked, others: dict[int, Reservation]) -> Outcome:
    state = draft.state
    if event.expires <= draft.now.wall or not beginning(state) or len(others) >= MOST:
        return Outcome.REJECTED
    words = {o.site.rank: _word(state, o, others) for o in state.outlets}
    free = {o.site.evse for o in state.outlets if words[o.site.rank] is Outcome.ACCEPTED}
    waiting = state.lobby is not None and state.lobby.auth is not None
    promised = sum(one.outlet == ANY for one in others.values()) + waiting
    if event.outlet != ANY and words[event.outlet] is not Outcome.ACCEPTED:
        return words[event.outlet]
    if len(free) > promised:
        return Outcome.ACCEPTED
    if free or Outcome.OCCUPIED in words.values():
        return Outcome.OCCUPIED
    return Outcome.FAULTED if Outcome.FAULTED in words.values() else Outcome.UNAVAILABLE


def _word(state: Station, outlet: Outlet, others: dict[int, Reservation]) -> Outcome:
    """What stands against keeping this outlet (1.6 §7.40)."""
    if blocking(state, outlet) or not outlet.live.known:
        return Outcome.FAULTED
    if not state.in_service(outlet):
        return Outcome.UNAVAILABLE
    taken = outlet.visit is not None or any(state.siblings(outlet.site.rank))
    kept = any(_at(state, one, outlet.site.rank) for one in others.values())
    return Outcome.OCCUPIED if taken or kept else Outcome.ACCEPTED


# ---------------------------------------------------------------- what it means for others


def open_to(state: Station, rank: int, token: Token, group: str | None, sure: bool) -> bool:
    """May this token charge at the outlet, as far as reservations go?

    `sure`: its group is known; else it may turn out to be the one that a reservation names.
    """
    own = next((one for one in state.reservations.values() if _at(state, one, rank)), None)
    if own is not None:
        return _for(own, token, group, sure)
    mine = any(_for(one, token, group, sure) for one in state.reservations.values() if one.outlet == ANY)
    promised = sum(one.outlet == ANY for one in state.reservations.values())
    evse = state.outlet(rank).site.evse
    spare = {other.site.evse for other in state.outlets if other.site.evse != evse and _spare(state, other)}
    return mine or len(spare) >= promised


def _at(state: Station, one: Reservation, rank: int) -> bool:
    """Does it keep this outlet's EVSE?"""
    return one.outlet != ANY and state.outlet(one.outlet).site.evse == state.outlet(rank).site.evse


def kept_for(state: Station, token: Token) -> Iterator[int]:
    """Outlets that are reserved for this very token; before the one that was named those of its EVSE where a vehicle
    waits."""
    for one in state.reservations.values():
        if one.outlet != ANY and one.token.same(token):
            yield from (o.site.rank for o in state.outlets if o.live.plug and _at(state, one, o.site.rank))
            yield one.outlet


def used(draft: Draft, rank: int, auth: Authorisation | None) -> int | None:
    """A transaction starts at `rank`: the number of the reservation that is over by that, if it had one."""
    if auth is None:
        return None
    state = draft.state
    for whole in (False, True) if rank != LOBBY else (True,):
        for id_, one in state.reservations.items():
            here = one.outlet == ANY if whole else _at(state, one, rank)
            if here and _for(one, auth.token, auth.group, sure=True):
                _drop(draft, id_)
                return id_
    return None


def _for(one: Reservation, token: Token, group: str | None, sure: bool) -> bool:
    if token.same(one.token):
        return True
    if one.group is None:
        return False
    return not sure if group is None else group.casefold() == one.group.casefold()


def _spare(state: Station, outlet: Outlet) -> bool:
    free = outlet.visit is None and not any(state.siblings(outlet.site.rank))
    return (
        free
        and _serves(state, outlet)
        and outlet.live.known
        and not any(_at(state, one, outlet.site.rank) for one in state.reservations.values())
    )


# ---------------------------------------------------------------- how it ends


def settle(draft: Draft) -> None:
    """Those whose time has come, and those whose outlet cannot keep its promise any more."""
    for id_, one in list(draft.state.reservations.items()):
        places = draft.state.outlets if one.outlet == ANY else (draft.outlet(one.outlet),)
        if one.expires <= draft.now.wall or not any(_serves(draft.state, outlet) for outlet in places):
            _drop(draft, id_)


def _serves(state: Station, outlet: Outlet) -> bool:
    """Neither out of service nor out of order; before the guard's first word nothing is known against it."""
    return state.in_service(outlet) and not (outlet.live.known and blocking(state, outlet))


def _drop(draft: Draft, id_: int) -> None:
    left = {number: one for number, one in draft.state.reservations.items() if number != id_}
    draft.set(reservations=MappingProxyType(left))
