"""Where transactions begin and end.

A transaction starts when a start point *becomes* true and ends when a stop point *becomes* false (`core.points`);
between the edge and its record stands a fresh register of the meter, waited for at most 2 s. Ending is always in this
order: no more permit, contactor proven open, last register, record (E06, 1.6 §4.8).
"""

from __future__ import annotations

from dataclasses import replace

from chargerd.core.commands import ReadMeter
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.points import (
    AUTHORIZED,
    BY_AUTHORITY,
    ENERGY,
    abandoned,
    beginning_cause,
    ending,
    news,
    points,
)
from chargerd.core.records import Cause, ChargingState, Edge, Reason, Session, Transaction
from chargerd.core.reservation import used
from chargerd.core.state import Stopping, Tx, Visit
from chargerd.core.status import beginning, blocking, charging_state
from chargerd.core.token import Token
from hal.api import MeterReading

READING_WAIT = 2.0  # s for a fresh register
RECENT = 60.0  # s for which a register may stand for the present one; an end takes an older one where there is none
BEGINNING = 0.5  # s until it is told that no power is offered to a transaction that has just begun
OPENING_WAIT = 15.0  # s until an end is written down although nobody could say that the power is off


def settle(draft: Draft, rank: int) -> None:
    """Carry the visit's transaction over every edge that its points have crossed."""
    visit = draft.visit(rank)
    assert visit is not None
    held = points(draft, rank)
    risen, fallen = held - visit.points, visit.points - held
    # Whoever is authorised after a transaction has ended finds the cable's edge crossed already.
    crossed = held if AUTHORIZED in risen else risen
    starts = visit.tx is None and bool(crossed & draft.window.start)
    if starts and not _may_begin(draft, rank):
        return  # the edge stays to be crossed
    if held != visit.points:
        draft.set_visit(rank, points=held)
    if starts:
        _begin(draft, rank, beginning_cause(visit, risen))
    elif visit.tx is not None and visit.tx.stopping is None:
        if fallen & draft.window.stop or abandoned(draft, rank):
            stop(draft, rank, *ending(draft, rank, visit, fallen))
        else:
            draft.news += [(rank, cause) for cause in news(risen, fallen)]
    _advance(draft, rank)


def _may_begin(draft: Draft, rank: int) -> bool:
    """Nothing begins that could not be written down, not be measured as the meter has yet to answer, or not be seen;
    nor while the power of the last one is still on, or an EVSE waits to start anew and nobody is expected."""
    if rank == LOBBY:
        return beginning(draft.state)
    outlet = draft.outlet(rank)
    visit, live = outlet.visit, outlet.live
    assert visit is not None
    unmeasured = recent(draft, rank) is None and "PowerMeterFailure" in blocking(draft.state, outlet)
    shared = any(sibling.tx is not None for sibling in draft.state.siblings(rank))
    lingering = live.powered and visit.finished and ENERGY not in draft.window.start
    late = visit.auth is None and outlet.site.evse in draft.state.resets
    return beginning(draft.state) and not (unmeasured or shared or lingering or late or visit.recalled)


def _begin(draft: Draft, rank: int, cause: Cause) -> None:
    draft.set_visit(rank, tx=Tx(draft.mint(), draft.now, cause), parted=False)
    if rank == LOBBY:
        _tell_started(draft, rank, None)
    else:
        ask_register(draft, rank)


def ask_register(draft: Draft, rank: int) -> None:
    """Ask for the first register of the transaction at `rank`, or go on without where no meter is fitted."""
    if draft.outlet(rank).site.metered:
        draft.do(ReadMeter(rank))
        draft.set_tx(rank, reading_by=draft.now.mono + READING_WAIT)
    else:
        first_register(draft, rank, None)


def first_register(draft: Draft, rank: int, reading: MeterReading | None) -> None:
    """The first register is there, or will not come: then the last good one counts, and with none nothing starts.

    What was told in the lobby already has started, and is ended.
    """
    visit = draft.visit(rank)
    assert visit is not None and visit.tx is not None
    outlet = draft.outlet(rank)
    reading = reading or recent(draft, rank)
    if reading is None and outlet.site.metered and not draft.state.site.allow_unmetered:
        if visit.tx.told:
            draft.set_tx(rank, reading_by=None)
            stop(draft, rank, Reason.OTHER, Cause.FAULT)
        else:
            draft.set_visit(rank, tx=None, auth=None, connect_by=None, points=frozenset())
        return
    draft.set_tx(rank, reading_by=None, begin=reading)
    if visit.tx.told:  # started in the lobby: evse and begin values follow (E01.FR.16, E01.FR.17)
        draft.set_tx(rank, state=_first_state(draft, rank, visit))
        update(draft, rank, Cause.PLUGGED if visit.plug else Cause.DETECTED, reading=reading)
    else:
        _tell_started(draft, rank, reading)


def recent(draft: Draft, rank: int) -> MeterReading | None:
    """The last good reading, unless it is too old to be told as if it were of now."""
    reading = draft.outlet(rank).live.reading
    return reading if reading is not None and draft.now.mono - reading.at <= RECENT else None


def _tell_started(draft: Draft, rank: int, reading: MeterReading | None) -> None:
    visit = draft.visit(rank)
    assert visit is not None and visit.tx is not None
    auth, state = visit.auth, _first_state(draft, rank, visit)
    if rank != LOBBY and state is not ChargingState.CHARGING:  # Preparing is said before anything else (1.6 §4.9 F2)
        draft.set_live(rank, settling_until=draft.now.mono + BEGINNING)
    unwritten = not draft.state.storage  # the disk has failed since its start point was crossed
    draft.set_tx(rank, told=True, state=state, token=auth.token if auth else None, unwritten=unwritten)
    reservation = used(draft, rank, auth)
    draft.tell(
        Transaction(
            at=visit.tx.started,
            tx=visit.tx.uid,
            edge=Edge.STARTED,
            cause=visit.tx.cause,
            outlet=rank or None,
            state=state,
            token=auth.token if auth else None,
            group=auth.group if auth else None,
            remote_id=auth.remote_id if auth else None,
            reservation=reservation,
            reading=reading,
            phases=draft.outlet(rank).site.phases if rank else 3,
        )
    )


def _first_state(draft: Draft, rank: int, visit: Visit) -> ChargingState:
    """Before anything was offered nothing is suspended."""
    if rank != LOBBY and draft.outlet(rank).live.powered:
        return ChargingState.CHARGING
    return ChargingState.CONNECTED if visit.plug else ChargingState.IDLE


def update(
    draft: Draft, rank: int, cause: Cause, *, token: Token | None = None, reading: MeterReading | None = None
) -> None:
    """Tell what changed in the running transaction, if it has been told of; with its charging state as last set.

    Without a vehicle that state is idle at once.
    """
    visit = draft.visit(rank)
    assert visit is not None and visit.tx is not None
    auth, tx = visit.auth, visit.tx
    if not tx.told:
        return
    state = tx.state if visit.plug else ChargingState.IDLE
    if state is not tx.state:
        draft.set_tx(rank, state=state)
    draft.tell(
        Transaction(
            at=draft.now,
            tx=tx.uid,
            edge=Edge.UPDATED,
            cause=cause,
            outlet=rank or None,
            state=state,
            token=token,
            group=auth.group if auth and token else None,
            remote_id=auth.remote_id if auth and token else None,
            reading=reading,
            started=tx.started,
            phases=draft.outlet(rank).site.phases if rank else 3,
        )
    )


def tell_changes(draft: Draft, rank: int) -> None:
    """Updates of a told transaction, once permits are settled: a token, who came or went, the charging state."""
    visit = draft.visit(rank)
    if visit is None or visit.tx is None or not visit.tx.told or visit.tx.stopping is not None:
        return
    if visit.tx.reading_by is not None or (rank != LOBBY and not draft.outlet(rank).live.known):
        return
    tx, auth = visit.tx, visit.auth
    state = tx.state if rank == LOBBY else charging_state(draft.outlet(rank))
    if state is not tx.state:
        draft.set_tx(rank, state=state)
    told = len(draft.records)
    if auth is not None and not auth.token.same(tx.token):
        draft.set_tx(rank, token=auth.token)
        update(draft, rank, Cause.REMOTE_START if auth.remote else Cause.AUTHORIZED, token=auth.token)
    for cause in (cause for at, cause in draft.news if at == rank):
        update(draft, rank, cause)
    if state is not tx.state and len(draft.records) == told:
        update(draft, rank, Cause.CHARGING_STATE)


def resume(draft: Draft, rank: int) -> None:
    """After a restart: a register that was asked for before it is asked for anew."""
    visit = draft.visit(rank)
    assert visit is not None
    tx = visit.tx
    if tx is None:
        return
    if tx.stopping is not None:
        draft.set_tx(rank, stopping=replace(tx.stopping, since=draft.now, reading_by=None))
    elif tx.reading_by is not None:
        ask_register(draft, rank)


def deauthorise(draft: Draft, rank: int, reason: Reason, cause: Cause, token: Token | None = None) -> None:
    """The authorisation at `rank` ends; its transaction ends with it where the window says so, else it is told.

    No energy flows without an authorisation: where EnergyTransfer is a stop point and nothing flows, that is the end;
    a token that the authority took back does not wait for the contactor (E05.FR.10).
    """
    visit = draft.visit(rank)
    assert visit is not None
    draft.set_visit(rank, auth=None, connect_by=None, barred_at=None)
    tx = visit.tx
    if tx is None or tx.stopping is not None:
        return
    held, stops = points(draft, rank), draft.window.stop
    dry = ENERGY in stops and (ENERGY not in held or cause is Cause.DEAUTHORIZED)
    if (visit.points - held) & stops or dry or abandoned(draft, rank):
        stop(draft, rank, reason, cause, token)
    else:
        update(draft, rank, cause, token=token)


def end_unauthorised(draft: Draft, rank: int, reason: Reason, cause: Cause) -> None:
    """A transaction without an authorisation is asked to end: it does where the end of one would end it, else hears."""
    if draft.window.stop & BY_AUTHORITY or abandoned(draft, rank):
        stop(draft, rank, reason, cause)
    else:
        update(draft, rank, cause)


def stop(draft: Draft, rank: int, reason: Reason, cause: Cause, token: Token | None = None) -> None:
    """The transaction at `rank` is to end, whatever the window says; the first cause stays."""
    visit = draft.visit(rank)
    assert visit is not None and visit.tx is not None
    if visit.tx.stopping is None:
        draft.set_visit(rank, auth=None, connect_by=None, barred_at=None)
        draft.set_tx(rank, stopping=Stopping(reason, cause, draft.now, token))


def _advance(draft: Draft, rank: int) -> None:
    """Take an ending transaction as far as it can go now."""
    visit = draft.visit(rank)
    assert visit is not None
    tx = visit.tx
    if tx is None or tx.stopping is None:
        return
    if not tx.told:  # nobody was told of it, and no energy flowed
        draft.set_visit(rank, tx=None)
        return
    if rank == LOBBY:
        _end(draft, rank, None)
        return
    live = draft.outlet(rank).live
    if tx.stopping.reading_by is not None:
        if draft.now.mono >= tx.stopping.reading_by:
            last_register(draft, rank, None)
    elif live.known and not live.powered:
        _ask_last_register(draft, rank, tx.stopping)
    elif draft.now.mono >= tx.stopping.since.mono + OPENING_WAIT:
        last_register(draft, rank, None)


def _ask_last_register(draft: Draft, rank: int, stopping: Stopping) -> None:
    if not draft.outlet(rank).site.metered:
        last_register(draft, rank, None)
        return
    draft.do(ReadMeter(rank))
    draft.set_tx(rank, stopping=replace(stopping, reading_by=draft.now.mono + READING_WAIT))


def last_register(draft: Draft, rank: int, reading: MeterReading | None) -> None:
    """The last register is there, or will not come: the transaction ends with it, or with the last good one."""
    _end(draft, rank, reading or draft.outlet(rank).live.reading)


def _end(draft: Draft, rank: int, reading: MeterReading | None) -> None:
    visit = draft.visit(rank)
    assert visit is not None and visit.tx is not None and visit.tx.stopping is not None
    tx, stopping = visit.tx, visit.tx.stopping
    state = ChargingState.IDLE if rank == LOBBY else charging_state(draft.outlet(rank))
    draft.tell(
        Transaction(
            at=draft.now,
            tx=tx.uid,
            edge=Edge.ENDED,
            cause=stopping.cause,
            outlet=rank or None,
            state=state,
            token=stopping.token,
            reading=reading,
            begin=tx.begin,
            reason=stopping.reason,
            started=tx.started,
            phases=draft.outlet(rank).site.phases if rank else 3,
        )
    )
    draft.tell(
        Session(
            tx=tx.uid,
            outlet=rank or None,
            token=tx.token.id if tx.token else "",
            started=tx.started,
            ended=draft.now,
            begin_wh=tx.begin.energy if tx.begin else None,
            end_wh=reading.energy if reading else None,
            reason=stopping.reason,
        )
    )
    parted = stopping.cause is Cause.VEHICLE_OUT
    there = rank != LOBBY and draft.outlet(rank).live.plug not in (0, visit.plug)
    draft.set_visit(rank, tx=None, auth=None, connect_by=None, barred_at=None)
    draft.set_visit(rank, finished=True, doubtful=there, last=tx.token, parted=parted)
    draft.set_visit(rank, points=points(draft, rank))
