"""Which meter values are due: sampled ones on each transaction's own schedule, clock-aligned ones for every outlet.

Both keep an absolute schedule: a late sample does not push the next one (1.6 §4.7, J01, J02). What is told is the
last reading, which the shell keeps at most about a second old while power flows.
"""

from __future__ import annotations

from chargerd.core.draft import LOBBY, Draft
from chargerd.core.records import Cause, Sampled
from chargerd.core.transaction import update


def settle(draft: Draft) -> None:
    if not draft.state.site.backend:
        return
    for rank in draft.ranks():
        _sample(draft, rank)
    _align(draft)


def _sample(draft: Draft, rank: int) -> None:
    visit = draft.visit(rank)
    tx = visit.tx if visit is not None else None
    now = draft.now.mono
    if tx is None or tx.stopping is not None or tx.next_sample is None or tx.next_sample > now:
        return
    interval = draft.state.variables.get_int("sample_interval")
    if not interval:
        draft.set_tx(rank, next_sample=None)
        return
    missed = int((now - tx.next_sample) // interval)
    draft.set_tx(rank, next_sample=tx.next_sample + (missed + 1) * interval)
    reading = draft.outlet(rank).live.reading
    if reading is not None:
        update(draft, rank, Cause.PERIODIC, reading=reading)


def reschedule(draft: Draft) -> None:
    """The sampling interval was changed: running transactions follow it from now on."""
    interval = draft.state.variables.get_int("sample_interval")
    for rank, visit in draft.visits():
        if rank != LOBBY and visit.tx is not None and visit.tx.told:
            draft.set_tx(rank, next_sample=draft.now.mono + interval if interval else None)
    draft.set(aligned_at=None)


def _align(draft: Draft) -> None:
    interval = draft.state.variables.get_int("aligned_interval")
    wall, at = draft.now.wall, draft.state.aligned_at
    if not interval:
        if at is not None:
            draft.set(aligned_at=None)
        return
    following = (wall // interval + 1) * interval
    if at is None or at > following:  # switched on, or the clock was put back
        draft.set(aligned_at=following)
    elif at <= wall:
        draft.set(aligned_at=following)
        for rank in draft.ranks():
            tell(draft, rank, Cause.CLOCK)


def tell(draft: Draft, rank: int, cause: Cause) -> bool:
    """Meter values of one outlet now; False where there is no reading."""
    outlet = draft.outlet(rank)
    reading, visit = outlet.live.reading, outlet.visit
    if reading is None:
        return False
    tx = visit.tx if visit is not None and visit.tx is not None and visit.tx.told else None
    if tx is not None and cause is Cause.CLOCK:
        update(draft, rank, cause, reading=reading)
    else:
        draft.tell(Sampled(draft.now, rank, cause, reading, tx.uid if tx else None))
    return True
