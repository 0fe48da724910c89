"""Out of service and back, unlocking, starting anew (1.6 §5.2, §5.14, §5.18; B11, B12, F05, G03, G04)."""

from __future__ import annotations

from chargerd.core.commands import Answer, BootCause, Outcome, Restart
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import AvailabilityAsked, ResetAsked, ResetKind, Scope, UnlockAsked
from chargerd.core.records import Cause, Reason
from chargerd.core.state import Resetting, Unlocking
from chargerd.core.transaction import stop, update

_NEXT_BOOT = {
    ResetKind.SOFT: BootCause.SOFT_RESET,
    ResetKind.HARD: BootCause.HARD_RESET,
    ResetKind.IMMEDIATE: BootCause.SOFT_RESET,
    ResetKind.ON_IDLE: BootCause.SCHEDULED_RESET,
    ResetKind.RESUME: BootCause.SOFT_RESET,
}
LOCK_FAULT = "ConnectorLockFailure"
TRIES = 5.0  # s after which a guard that tries in vain has said so
_GRAVITY = {
    ResetKind.ON_IDLE: 0,
    ResetKind.RESUME: 1,
    ResetKind.SOFT: 2,
    ResetKind.IMMEDIATE: 2,
    ResetKind.HARD: 3,
}
UNLOCK_WAIT = 20.0  # s: ending a transaction under load, and three tries of the motor


def availability(draft: Draft, event: AvailabilityAsked) -> None:
    """Set at once; what runs here goes on to its end, and the answer says so (scheduled)."""
    ranks = _touched(draft, event)
    draft.do(Answer(event.ask, Outcome.SCHEDULED if not event.operative and _busy(draft, ranks) else Outcome.ACCEPTED))
    _set(draft, event, ranks)
    if event.operative:
        return
    for rank, visit in list(draft.visits()):
        served = any(draft.state.in_service(o) for o in draft.state.outlets) if rank == LOBBY else rank not in ranks
        if visit.tx is None and not served:  # nothing was told of it yet, or all of it: only the change is to be seen
            draft.set_visit(rank, auth=None, connect_by=None, finished=False)


def _touched(draft: Draft, event: AvailabilityAsked) -> list[int]:
    if event.scope is Scope.STATION:
        return [LOBBY, *draft.ranks()]
    return list(draft.ranks(event.number)) if event.scope is Scope.EVSE else [event.number]


def _busy(draft: Draft, ranks: list[int]) -> bool:
    return any(visit.tx is not None for rank, visit in draft.visits() if rank in ranks)


def _set(draft: Draft, event: AvailabilityAsked, ranks: list[int]) -> None:
    """Station, EVSE and outlet each keep their own word (G03.FR.07, G04.FR.08)."""
    if event.scope is Scope.EVSE:
        shut = draft.state.shut
        draft.set(shut=shut - {event.number} if event.operative else shut | {event.number})
    elif event.scope is Scope.STATION:
        draft.set(operative=event.operative)
    elif event.operative and event.every:
        draft.set(operative=True)
    if event.every and event.operative:
        draft.set(shut=frozenset())
    if event.scope is Scope.OUTLET or event.every:
        for rank in ranks:
            if rank != LOBBY:
                draft.set_outlet(rank, operative=event.operative)


def reset(draft: Draft, event: ResetAsked) -> None:
    """What runs ends first; on idle it is waited for, and a graver reset overtakes a milder one (B12.FR.01, FR.04).

    2.1 has one that ends nothing (B13), for stations where a transaction may outlive a start.
    """
    resumes = event.kind is ResetKind.RESUME
    if resumes and not draft.state.variables.get_int("resumption_timeout"):
        draft.do(Answer(event.ask, Outcome.REJECTED))
        return
    ranks = set(draft.ranks(event.evse)) | ({LOBBY} if event.evse is None else set())
    running = [rank for rank, visit in draft.visits() if rank in ranks and visit.tx is not None]
    waits = event.kind is ResetKind.ON_IDLE and bool(running)
    draft.do(Answer(event.ask, Outcome.SCHEDULED if waits else Outcome.ACCEPTED, lasting=False))
    if resumes and event.evse is not None:
        return  # an EVSE holds no program of its own, so nothing is interrupted
    for rank in running if not waits else ():
        if not resumes:
            stop(draft, rank, _reason(event), Cause.RESET)
        elif _goes_on(draft, rank):
            update(draft, rank, Cause.RESET)
    if event.evse is None:
        before = draft.state.reset
        if before is None or _GRAVITY[event.kind] > _GRAVITY[before.kind]:
            draft.set(reset=Resetting(event.kind, event.local))
    elif not running:
        # An EVSE holds no program of its own: it is as after a start once nobody is authorised there.
        for rank in ranks & {rank for rank, _ in draft.visits()}:
            draft.set_visit(rank, auth=None, connect_by=None, held=None)


def _reason(event: ResetAsked) -> Reason:
    if event.local:
        return Reason.REBOOT
    return Reason.SOFT_RESET if event.kind is ResetKind.SOFT else Reason.HARD_RESET


def settle_reset(draft: Draft) -> None:
    """Once nothing runs any more, or nothing but what goes on afterwards, leave."""
    wanted = draft.state.reset
    if wanted is None or draft.state.stopped:
        return
    resumes = wanted.kind is ResetKind.RESUME
    if any(visit.tx is not None and not (resumes and _goes_on(draft, rank)) for rank, visit in draft.visits()):
        return
    draft.set(stopped=True, next_boot=BootCause.LOCAL_RESET if wanted.local else _NEXT_BOOT[wanted.kind])
    draft.do(Restart(wanted.kind))


def _goes_on(draft: Draft, rank: int) -> bool:
    """Is a transaction here that can be taken up again after a start?"""
    visit = draft.visit(rank)
    return visit is not None and visit.tx is not None and visit.tx.told and visit.tx.stopping is None


def unlock(draft: Draft, event: UnlockAsked) -> None:
    """The lock is driven anew in any case (F05.FR.06), and the answer waits for its own word."""
    outlet = draft.outlet(event.outlet)
    visit, live = outlet.visit, outlet.live
    authorised = visit is not None and visit.tx is not None and visit.auth is not None
    if outlet.site.tethered:
        draft.do(Answer(event.ask, Outcome.NOT_SUPPORTED))
    elif not live.known or live.unlock is not None:
        draft.do(Answer(event.ask, Outcome.UNLOCK_FAILED))
    elif authorised and not event.stop:
        draft.do(Answer(event.ask, Outcome.ONGOING_TRANSACTION))  # F05.FR.02
    else:
        now = draft.now.mono
        waiting = Unlocking(event.ask, now if live.locked else now + TRIES, now + UNLOCK_WAIT)
        draft.set_live(event.outlet, unlock=waiting, lock=None)
        if visit is not None:
            if visit.tx is not None and event.stop:
                stop(draft, event.outlet, Reason.UNLOCK, Cause.UNLOCK)
            draft.set_visit(event.outlet, auth=None, connect_by=None, held=None)


def settle_unlock(draft: Draft, rank: int) -> None:
    live, now = draft.outlet(rank).live, draft.now.mono
    if live.unlock is None:
        return
    released = live.known and not live.locked and live.lock is False and LOCK_FAULT not in live.faults
    if released and now >= live.unlock.word_at:
        outcome = Outcome.UNLOCKED
    elif now >= live.unlock.by or not live.known:
        outcome = Outcome.UNLOCK_FAILED
    else:
        return
    draft.set_live(rank, unlock=None)
    draft.do(Answer(live.unlock.ask, outcome))
