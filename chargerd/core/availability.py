"""Out of service and back, unlocking, starting anew (1.6 §5.2, §5.14, §5.18; B11, B12, F05, G03, G04)."""

from __future__ import annotations

from types import MappingProxyType

from chargerd.core.commands import Answer, BootCause, Outcome, Restart
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import AvailabilityAsked, ResetAsked, ResetKind, Scope, UnlockAsked
from chargerd.core.records import Cause, Reason
from chargerd.core.state import Resetting, Unlocking, Visit
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
    if event.kind is ResetKind.RESUME and not draft.state.variables.get_int("resumption_timeout"):
        draft.do(Answer(event.ask, Outcome.REJECTED))
    elif event.evse is not None:
        _reset_evse(draft, event, event.evse)
    else:
        _reset_station(draft, event)


def _reset_station(draft: Draft, event: ResetAsked) -> None:
    """It may be what helps a disk that fails, and any start makes good for one that was forgotten: no answer waits."""
    running = [rank for rank, visit in draft.visits() if visit.tx is not None]
    waits = event.kind is ResetKind.ON_IDLE and bool(running)
    draft.do(Answer(event.ask, Outcome.SCHEDULED if waits else Outcome.ACCEPTED, lasting=False))
    for rank in running if not waits else ():
        if event.kind is not ResetKind.RESUME:
            stop(draft, rank, _reason(event), Cause.RESET)
        elif _goes_on(draft, rank):
            update(draft, rank, Cause.RESET)
    before = draft.state.reset
    if before is None or _GRAVITY[event.kind] > _GRAVITY[before.kind]:
        draft.set(reset=Resetting(event.kind, event.local))


def _reset_evse(draft: Draft, event: ResetAsked, evse: int) -> None:
    """An EVSE is idle when nobody charges, is expected, or has left a cable (B11 remarks); `settle_resets` goes on."""
    found = _of(draft, evse)
    waits = event.kind is ResetKind.ON_IDLE and any(_serving(visit) for _, visit in found)
    draft.do(Answer(event.ask, Outcome.SCHEDULED if waits else Outcome.ACCEPTED, lasting=waits))
    if event.kind is ResetKind.RESUME:
        return  # an EVSE holds no program of its own, so nothing is interrupted
    for rank, visit in found if not waits else ():
        if visit.tx is not None:
            stop(draft, rank, _reason(event), Cause.RESET)
        draft.set_visit(rank, auth=None, connect_by=None, held=None)
    draft.set(resets=draft.state.resets | {evse})


def _serving(visit: Visit) -> bool:
    return visit.tx is not None or visit.auth is not None or visit.held is not None


def _of(draft: Draft, evse: int | None) -> list[tuple[int, Visit]]:
    """The visits at an EVSE, with the one that waits for its cables and no other's; None: all."""
    ranks = set(draft.ranks(evse))
    return [
        (rank, visit)
        for rank, visit in draft.visits()
        if evse is None or rank in ranks or (rank == LOBBY and visit.evse == evse)
    ]


def _reason(event: ResetAsked) -> Reason:
    if event.local:
        return Reason.REBOOT
    return Reason.SOFT_RESET if event.kind is ResetKind.SOFT else Reason.HARD_RESET


def settle_resets(draft: Draft) -> None:
    """An EVSE starts anew once it is idle (B11.FR.08, B12.FR.14): what was shown or asked there is void, and the guard
    is told everything again. What the CSMS set (B12.FR.06) and what is plugged stays.

    It is remembered over a restart, since what it waits for may go on (B12.FR.01).
    """
    for evse in sorted(draft.state.resets):
        if any(_serving(visit) for _, visit in _of(draft, evse)):
            continue
        ranks = set(draft.ranks(evse))
        asks = {n: asked for n, asked in draft.state.asks.items() if asked.evse != evse and asked.outlet not in ranks}
        draft.set(resets=draft.state.resets - {evse}, asks=MappingProxyType(asks))
        for rank in ranks:
            draft.set_live(rank, permit=None, lock=None, lamp=None, refused_until=None)


def retry(draft: Draft, failed: bool) -> None:
    """A hard reset that did not reboot the computer is tried again, so often and no more (1.6 §9.1.20)."""
    again = failed and draft.state.reset_tries < draft.state.variables.get_int("reset_retries")
    draft.set(reset_tries=draft.state.reset_tries + 1 if again else 0)
    if again:
        draft.set(reset=Resetting(ResetKind.HARD))


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
