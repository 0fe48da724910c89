"""Which meter values are due: sampled ones on each transaction's own schedule, clock-aligned ones for every outlet.

Both keep an absolute schedule: a late sample does not push the next one (1.6 §4.7, J01, J02). What is told is the
last reading, which the shell keeps at most about a second old while power flows; one that is too old is not told as
if it were of now.
"""

from __future__ import annotations

from chargerd.core.draft import Draft
from chargerd.core.records import Cause, Sampled
from chargerd.core.transaction import recent, update

JITTER = 10.0  # s that the wall clock may be put back without a moment coming twice
LATE = 10.0  # s after which a reading is none of that moment any more: the clock was put forward


def settle(draft: Draft) -> None:
    if not draft.state.site.backend:
        return
    for rank in draft.ranks():
        _sample(draft, rank)
    _align(draft)


def _sample(draft: Draft, rank: int) -> None:
    """The schedule counts from the transaction's start: a restart finds it again, and nothing of it is written down."""
    outlet = draft.outlet(rank)
    tx = outlet.visit.tx if outlet.visit is not None else None
    interval = draft.state.variables.get_int("sample_interval")
    due, now = outlet.live.next_sample, draft.now.mono
    if tx is None or not tx.told or tx.stopping is not None or tx.reading_by is not None or not interval:
        if due is not None:
            draft.set_live(rank, next_sample=None)
    elif due is None:
        draft.set_live(rank, next_sample=_following(tx.started.mono, now, interval))
    elif due <= now:
        draft.set_live(rank, next_sample=_following(due, now, interval))
        if (reading := recent(draft, rank)) is not None:
            update(draft, rank, Cause.PERIODIC, reading=reading)


def _following(since: float, now: float, interval: int) -> float:
    """The first moment after `now` that lies whole intervals after `since`."""
    return since + ((now - since) // interval + 1) * interval


def reschedule(draft: Draft) -> None:
    """An interval was changed: running transactions follow it from now on."""
    for rank in draft.ranks():
        draft.set_live(rank, next_sample=None)
    draft.set(aligned_at=None)


def _align(draft: Draft) -> None:
    interval = draft.state.variables.get_int("aligned_interval")
    wall, at = draft.now.wall, draft.state.aligned_at
    if not interval:
        if at is not None:
            draft.set(aligned_at=None)
        return
    following = (wall // interval + 1) * interval
    if at is None or at - wall > interval + JITTER:  # switched on, or the clock was put back
        draft.set(aligned_at=following)
    elif at <= wall:
        draft.set(aligned_at=following)
        for rank in draft.ranks() if wall - at < LATE else ():
            tell(draft, rank, Cause.CLOCK)


def tell(draft: Draft, rank: int, cause: Cause) -> bool:
    """Meter values of one outlet now; False where there is no reading."""
    outlet = draft.outlet(rank)
    reading, visit = recent(draft, rank), outlet.visit
    if reading is None:
        return False
    tx = visit.tx if visit is not None and visit.tx is not None and visit.tx.told else None
    if tx is not None and cause is Cause.CLOCK:
        update(draft, rank, cause, reading=reading)
    else:
        draft.tell(Sampled(draft.now, rank, cause, reading, tx.uid if tx else None))
    return True
