"""Visits: from the first sign of a driver or vehicle until all signs are gone.

Followed from what the guard sees: a vehicle that left and a cable that was drawn are two facts, and each rule uses the
right one (1.6 §4.10, E09, E10). A plug number that changed without the vehicle seen leaving means that the guard
itself was away: what ran is ended, because nobody knows which vehicle this is.
"""

from __future__ import annotations

from dataclasses import replace

from chargerd.core.draft import LOBBY, Draft
from chargerd.core.points import points
from chargerd.core.records import Cause, ChargingState, Reason
from chargerd.core.reservation import open_to
from chargerd.core.state import Authorisation, Outlet, Visit
from chargerd.core.status import ENDING_FAULTS, usable
from chargerd.core.token import FREE
from chargerd.core.transaction import ask_register, deauthorise, stop, update
from chargerd.core.variables_table import BAY


def settle(draft: Draft, rank: int) -> None:
    """Bring the visit at one outlet in line with what is there."""
    live = draft.outlet(rank).live
    if live.known:
        _seen_again(draft, rank)
        visit = draft.visit(rank)
        if visit is not None and visit.plug and visit.plug != live.plug:
            _vehicle_out(draft, rank, Reason.REBOOT if live.plug else Reason.VEHICLE_OUT)
        if live.plug or live.cable or live.bay:
            _open(draft, rank)
        visit = draft.visit(rank)
        if visit is not None and live.plug and not visit.plug and (visit.tx is None or visit.tx.stopping is None):
            draft.set_visit(rank, plug=live.plug, connect_by=None, finished=False)
        if visit is not None and visit.held is not None and not live.cable:
            draft.set_visit(rank, held=None)
        _free(draft, rank)
        _faults(draft, rank)
        _await_return(draft, rank)
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
        if not live.known or live.cable or live.plug or BAY in points(draft, rank):
            return
    draft.put_visit(rank, None)


def timeouts(draft: Draft, rank: int) -> None:
    """No vehicle came in time: what began for it ends (1.6 §9.1.6, C01.FR.26, E03.FR.05, F02.FR.07).

    Where the transaction lasts until the bay is free only its authorisation ends (E03.FR.15); so it does for the
    vehicle that left a fixed cable and did not come back, which the window then judges (E10.FR.02).
    """
    visit = draft.visit(rank)
    if visit is None or visit.connect_by is None or draft.now.mono < visit.connect_by:
        return
    if visit.tx is None:
        draft.set_visit(rank, auth=None, connect_by=None)
    elif visit.parted:
        deauthorise(draft, rank, Reason.VEHICLE_OUT, Cause.VEHICLE_OUT)
    elif BAY in draft.window.stop and BAY in points(draft, rank):
        deauthorise(draft, rank, Reason.TIMEOUT, Cause.CONNECT_TIMEOUT)
    else:
        stop(draft, rank, Reason.TIMEOUT, Cause.CONNECT_TIMEOUT)


def _await_return(draft: Draft, rank: int) -> None:
    """A transaction that waits for its vehicle waits as long as for any, unless it keeps the driver's own cable.

    That one stays locked until the driver comes for it (E10.FR.01, 1.6 §4.10).
    """
    visit, outlet = draft.visit(rank), draft.outlet(rank)
    if visit is None or visit.tx is None or visit.auth is None or visit.plug or not visit.parted:
        return
    keeps = outlet.live.cable and not outlet.site.tethered
    if keeps and visit.connect_by is not None:
        draft.set_visit(rank, connect_by=None)
    elif not keeps and visit.connect_by is None:
        draft.set_visit(rank, connect_by=draft.now.mono + draft.state.variables.get_int("connection_timeout"))


def _open(draft: Draft, rank: int) -> None:
    """A visit where a vehicle, a cable or somebody parking is: the one that waits in the lobby, if it may be here.

    It comes with the vehicle; a transaction that runs there already comes with whoever parks at a free outlet, before
    that one's bay starts another.
    """
    lobby, visit, outlet = draft.state.lobby, draft.visit(rank), draft.outlet(rank)
    if lobby is not None and _takes(draft, outlet, lobby):
        draft.put_visit(LOBBY, None)
        if visit is not None and visit.tx is not None:  # it began with the bay, and is nobody's yet
            draft.set_visit(rank, auth=lobby.auth, connect_by=lobby.connect_by)
            return
        draft.put_visit(rank, lobby)
        if outlet.live.plug:
            draft.set_visit(rank, plug=outlet.live.plug, connect_by=None)
        if lobby.tx is not None:
            ask_register(draft, rank)
    elif visit is None:
        draft.put_visit(rank, Visit(draft.now))


def _takes(draft: Draft, outlet: Outlet, lobby: Visit) -> bool:
    """May the visit in the lobby go on at this outlet, where something has come?"""
    visit, live = outlet.visit, outlet.live
    if lobby.evse not in (None, outlet.site.evse) or not _serves(draft, outlet, lobby):
        return False
    if any(sibling.tx or sibling.auth for sibling in draft.state.siblings(outlet.site.rank)):
        return False
    auth = lobby.auth
    if auth is None or not open_to(draft.state, outlet.site.rank, auth.token, auth.group, sure=True):
        return False
    if visit is None:
        return live.plug != 0 or (live.bay is True and lobby.tx is not None)
    if not live.plug or visit.auth is not None or visit.held is not None or (visit.finished and visit.plug):
        return False
    return visit.tx is None or (lobby.tx is None and visit.tx.stopping is None and visit.tx.token is None)


def _serves(draft: Draft, outlet: Outlet, lobby: Visit) -> bool:
    """A transaction that runs already finds its outlet though the station goes out of service after it (G04.FR.06),
    and so does whoever a reset waits for (B12.FR.03, B12.FR.07).
    """
    state = draft.state
    if lobby.evse is not None:
        state = replace(state, resets=state.resets - {lobby.evse})
    if lobby.tx is not None:
        state = replace(state, operative=True, reset=None)
    return usable(state, outlet)


def _vehicle_out(draft: Draft, rank: int, reason: Reason) -> None:
    """The vehicle is gone, or nobody knows which one is there (`reason` REBOOT): E09, E10, 1.6 §4.10."""
    visit = draft.visit(rank)
    assert visit is not None
    anew = reason is Reason.REBOOT  # the guard: nobody has seen another vehicle come to what has ended here
    draft.set_visit(rank, plug=0, doubtful=anew and (visit.finished or visit.doubtful))
    if visit.tx is None:
        draft.set_visit(rank, auth=None)
    if visit.tx is None or visit.tx.stopping is not None:
        return
    variables, left = draft.state.variables, reason is Reason.VEHICLE_OUT
    stays = left and not variables.get_bool("stop_on_ev_disconnect")
    if not (stays and visit.auth is not None):
        deauthorise(draft, rank, reason, Cause.VEHICLE_OUT)
    elif (visit.points - points(draft, rank)) & draft.window.stop:
        stop(draft, rank, reason, Cause.VEHICLE_OUT)
    else:
        update(draft, rank, Cause.VEHICLE_OUT)
    if reason is Reason.REBOOT:
        stop(draft, rank, reason, Cause.VEHICLE_OUT)
    after = draft.visit(rank)
    assert after is not None
    if after.tx is not None and after.tx.stopping is None:
        draft.set_visit(rank, parted=True)
    keeps = left and (stays or not variables.get_bool("unlock_on_ev_disconnect"))
    if keeps and visit.auth is not None and visit.auth.token.presentable and after.auth is None:
        draft.set_visit(rank, held=visit.auth.token)  # E09.FR.03, E10.FR.01


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
        and not any(sibling.auth for sibling in state.siblings(rank))
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
