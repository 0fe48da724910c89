"""Out of service and back, unlocking, starting anew (1.6 §5.2, §5.14, §5.18; B11, B12, F05, G03, G04)."""

from __future__ import annotations

from chargerd.core.commands import Answer, BootCause, Outcome, Restart
from chargerd.core.draft import Draft
from chargerd.core.events import AvailabilityAsked, ResetAsked, ResetKind, Scope, UnlockAsked
from chargerd.core.records import Cause, Reason
from chargerd.core.transaction import stop

_NEXT_BOOT = {
    ResetKind.SOFT: BootCause.SOFT_RESET,
    ResetKind.HARD: BootCause.HARD_RESET,
    ResetKind.IMMEDIATE: BootCause.SOFT_RESET,
    ResetKind.ON_IDLE: BootCause.SCHEDULED_RESET,
}
UNLOCK_WAIT = 20.0  # s: ending a transaction under load, and three tries of the motor


def availability(draft: Draft, event: AvailabilityAsked) -> None:
    """Set at once; what runs here goes on to its end, and the answer says so (scheduled)."""
    if event.scope is Scope.STATION:
        ranks = list(draft.ranks())
        draft.set(operative=event.operative)
        touched = ranks if event.every else []
    elif event.scope is Scope.EVSE:
        touched = ranks = list(draft.ranks(event.number))
    else:
        touched = ranks = [event.number]
    for rank in touched:
        draft.set_outlet(rank, operative=event.operative)
    if event.operative:
        draft.do(Answer(event.ask, Outcome.ACCEPTED))
        return
    busy = False
    for rank in ranks:
        visit = draft.visit(rank)
        if visit is not None and visit.tx is not None:
            busy = True
        elif visit is not None and visit.auth is not None:  # nothing was told of it yet
            draft.set_visit(rank, auth=None, connect_by=None)
    draft.do(Answer(event.ask, Outcome.SCHEDULED if busy else Outcome.ACCEPTED))


def reset(draft: Draft, event: ResetAsked) -> None:
    ranks = list(draft.ranks(event.evse))
    running = [r for r in ranks if (v := draft.visit(r)) is not None and v.tx is not None]
    if draft.state.lobby is not None and event.evse is None and draft.state.lobby.tx is not None:
        running.insert(0, 0)
    waits = event.kind is ResetKind.ON_IDLE and bool(running)
    if event.evse is not None and event.kind is ResetKind.ON_IDLE and running:
        # One EVSE holds no program of its own: once its transaction has ended it is idle, which is all that was asked.
        draft.do(Answer(event.ask, Outcome.SCHEDULED))
        return
    draft.do(Answer(event.ask, Outcome.SCHEDULED if waits else Outcome.ACCEPTED))
    if not waits:
        reason = Reason.SOFT_RESET if event.kind is ResetKind.SOFT else Reason.HARD_RESET
        for rank in running:
            stop(draft, rank, reason, Cause.RESET)
    if event.evse is None:
        draft.set(reset=event.kind)


def settle_reset(draft: Draft) -> None:
    """Once nothing runs any more, leave."""
    kind = draft.state.reset
    if kind is None or draft.state.stopped or any(visit.tx is not None for _, visit in draft.visits()):
        return
    draft.set(stopped=True, next_boot=_NEXT_BOOT[kind])
    draft.do(Restart(kind))


def unlock(draft: Draft, event: UnlockAsked) -> None:
    """The answer waits for the lock's own word."""
    outlet = draft.outlet(event.outlet)
    visit, live = outlet.visit, outlet.live
    if outlet.site.tethered:
        draft.do(Answer(event.ask, Outcome.NOT_SUPPORTED))
    elif not live.known or live.unlock is not None:
        draft.do(Answer(event.ask, Outcome.UNLOCK_FAILED))
    elif visit is not None and visit.auth is not None and not event.stop:
        draft.do(Answer(event.ask, Outcome.ONGOING_TRANSACTION))  # F05.FR.02
    else:
        draft.set_live(event.outlet, unlock=(event.ask, draft.now.mono + UNLOCK_WAIT), lock=None)
        if visit is not None:
            if visit.tx is not None and event.stop:
                stop(draft, event.outlet, Reason.UNLOCK, Cause.UNLOCK)
            draft.set_visit(event.outlet, auth=None, connect_by=None, held=None)


def settle_unlock(draft: Draft, rank: int) -> None:
    live = draft.outlet(rank).live
    if live.unlock is None:
        return
    ask, until = live.unlock
    if live.known and not live.locked and live.lock is False:
        outcome = Outcome.UNLOCKED
    elif draft.now.mono >= until or not live.known:
        outcome = Outcome.UNLOCK_FAILED
    else:
        return
    draft.set_live(rank, unlock=None)
    draft.do(Answer(ask, outcome))
