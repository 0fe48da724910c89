"""Visits: from the first sign of a driver or vehicle until all signs are gone.

Followed from what the guard sees: a vehicle that left and a cable that was drawn are two facts, and each rule uses the
right one (1.6 §4.10, E09, E10). A plug number that changed without the vehicle seen leaving means that the guard
itself was away: what ran is ended, because nobody knows which vehicle this is.
"""

from __future__ import annotations

from dataclasses import replace

from chargerd.core.draft import LOBBY, Draft
from chargerd.core.records import Cause, ChargingState, Reason
from chargerd.core.state import Authorisation, Outlet, Visit
from chargerd.core.status import ENDING_FAULTS, usable
from chargerd.core.token import FREE
from chargerd.core.transaction import ask_register, deauthorise, points, stop, update


def settle(draft: Draft, rank: int) -> None:
    """Bring the visit at one outlet in line with what is there."""
    live = draft.outlet(rank).live
    if live.known:
        _seen_again(draft, rank)
        visit = draft.visit(rank)
        if visit is not None and visit.plug and visit.plug != live.plug:
            _vehicle_out(draft, rank, Reason.REBOOT if live.plug else Reason.VEHICLE_OUT)
        if live.plug or live.cable:
            _open(draft, rank)
        visit = draft.visit(rank)
        if visit is not None and live.plug and not visit.plug and (visit.tx is None or visit.tx.stopping is None):
            draft.set_visit(rank, plug=live.plug, connect_by=None)
        if visit is not None and visit.held is not None and not live.cable:
            draft.set_visit(rank, held=None)
        _free(draft, rank)
        _faults(draft, rank)
    timeouts(draft, rank)


def _seen_again(draft: Draft, rank: int) -> None:
    """After a power cut the guard's first truth decides: a vehicle at this outlet is the one that was there.

    Its connection is no new edge; without one, a transaction that was to go on ends after all.
    """
    visit, live = draft.visit(rank), draft.outlet(rank).live
    if visit is None or not visit.recalled:
        return
    draft.set_visit(rank, recalled=False, plug=live.plug)
    if visit.tx is None or visit.tx.stopping is not None or not visit.tx.told:
        return
    if not live.plug:
        stop(draft, rank, Reason.POWER_LOSS, Cause.POWER_LOSS)
    else:
        draft.set_tx(rank, state=ChargingState.SUSPENDED_EVSE)
        update(draft, rank, Cause.RESUMED)


def left(draft: Draft, rank: int, plug: int) -> None:
    """The vehicle of this number was seen leaving; said again, or of an earlier one, it changes nothing."""
    if draft.outlet(rank).live.plug == plug:
        draft.set_live(rank, plug=0, ready=False)
    visit = draft.visit(rank)
    if visit is not None and visit.plug == plug:
        _vehicle_out(draft, rank, Reason.VEHICLE_OUT)


def close(draft: Draft, rank: int) -> None:
    """All signs are gone."""
    visit = draft.visit(rank)
    if visit is None or visit.auth is not None or visit.tx is not None:
        return
    if rank != LOBBY:
        live = draft.outlet(rank).live
        if not live.known or live.cable or live.plug:
            return
    draft.put_visit(rank, None)


def timeouts(draft: Draft, rank: int) -> None:
    """The driver did not come with a vehicle in time: what began for them ends (1.6 ConnectionTimeOut, F02.FR.07)."""
    visit = draft.visit(rank)
    if visit is None or visit.connect_by is None or draft.now.mono < visit.connect_by:
        return
    if visit.tx is not None:
        stop(draft, rank, Reason.TIMEOUT, Cause.CONNECT_TIMEOUT)
    else:
        draft.set_visit(rank, auth=None, connect_by=None)


def _open(draft: Draft, rank: int) -> None:
    """A visit where a cable or vehicle is: the one that waits in the lobby, if there is one."""
    lobby, visit = draft.state.lobby, draft.visit(rank)
    outlet = draft.outlet(rank)
    unclaimed = visit is None or (visit.auth is None and visit.tx is None and not visit.finished)
    if (
        lobby is not None
        and lobby.auth is not None
        and unclaimed
        and outlet.live.plug
        and _serves(draft, outlet, lobby)
    ):
        draft.put_visit(rank, lobby)
        draft.put_visit(LOBBY, None)
        if lobby.tx is not None:
            draft.set_visit(rank, plug=outlet.live.plug, connect_by=None)
            ask_register(draft, rank)
    elif visit is None:
        draft.put_visit(rank, Visit(draft.now))


def _serves(draft: Draft, outlet: Outlet, lobby: Visit) -> bool:
    """A transaction that runs already finds its outlet though the station goes out of service after it (G04.FR.06)."""
    state = draft.state if lobby.tx is None else replace(draft.state, operative=True)
    return usable(state, outlet)


def _vehicle_out(draft: Draft, rank: int, reason: Reason) -> None:
    visit = draft.visit(rank)
    assert visit is not None
    variables = draft.state.variables
    draft.set_visit(rank, plug=0)
    ends = reason is not Reason.VEHICLE_OUT or variables.get_bool("stop_on_ev_disconnect")
    if visit.tx is None:
        draft.set_visit(rank, auth=None)
    elif visit.tx.stopping is None and ends:
        held = visit.auth.token if visit.auth is not None and visit.auth.token.presentable else None
        if reason is not Reason.VEHICLE_OUT or variables.get_bool("unlock_on_ev_disconnect"):
            held = None
        deauthorise(draft, rank, reason, Cause.VEHICLE_OUT)
        after = draft.visit(rank)
        if after is not None and after.tx is not None and after.tx.stopping is None and reason is Reason.REBOOT:
            stop(draft, rank, reason, Cause.VEHICLE_OUT)
        draft.set_visit(rank, held=held)
    elif visit.tx.stopping is None and visit.tx.told and not (visit.points - points(draft, rank)) & draft.window.stop:
        draft.set_tx(rank, state=ChargingState.IDLE)
        draft.set_visit(rank, parted=True)
        update(draft, rank, Cause.VEHICLE_OUT)


def _free(draft: Draft, rank: int) -> None:
    """Without a backend and with free charging nobody is asked: once per vehicle."""
    state, outlet, visit = draft.state, draft.outlet(rank), draft.visit(rank)
    if (
        state.site.free
        and visit is not None
        and visit.plug
        and visit.auth is None
        and visit.tx is None
        and not visit.finished
        and usable(state, outlet)
    ):
        draft.set_visit(rank, auth=Authorisation(FREE, draft.now))


def _faults(draft: Draft, rank: int) -> None:
    """Faults that end a transaction; the others only suspend it."""
    visit = draft.visit(rank)
    if visit is None or visit.tx is None or visit.tx.stopping is not None:
        return
    for name in sorted(draft.outlet(rank).live.faults):
        if name in ENDING_FAULTS:
            stop(draft, rank, ENDING_FAULTS[name], Cause.FAULT)
            return
