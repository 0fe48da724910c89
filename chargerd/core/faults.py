"""Each fault is told once when it comes and once when it has gone, whoever was away meanwhile.

`Live.faults` and `Station.faults` are what holds now; `reported` is what was told, and survives a start. A fault has
gone when whoever would know says so: none of the guard's is over until the guard is there, none of a meter before it
was read. Other faults of the daemon itself end with it, but for those that stand until somebody ends them.
"""

from __future__ import annotations

from chargerd.core.draft import Draft
from chargerd.core.events import OutletTruth
from chargerd.core.local_list import CONFLICT
from chargerd.core.records import Faulted
from chargerd.core.status import HISTORY_LOST, METER_WARNINGS, QUEUE_FULL, SET_ASIDE
from chargerd.core.transaction import recent

Names = frozenset[str]
METER, READER, GUARD_LOST, MISMATCH = "PowerMeterFailure", "ReaderFailure", "GuardLost", "GuardMismatch"
OF_METERS = METER_WARNINGS | {METER}
LOOKS = 8.0  # s in which the guard finds every fault there is without a current
OWN = OF_METERS | {GUARD_LOST}  # the daemon finds them itself: the guard's list does not speak of them
# Of the station: they hold until somebody ends them.
STANDING = frozenset({HISTORY_LOST, SET_ASIDE, CONFLICT, READER, QUEUE_FULL})
OF_BACKEND = frozenset({CONFLICT, QUEUE_FULL})  # without one they are nobody's


def doubted(draft: Draft, event: OutletTruth) -> tuple[frozenset[str], float]:
    """What held before the guard was there (anew), until it has had time to find it again; and when that is.

    Its checks object only after a while (`chargerd.faults`, hold). Where power flows they are content.
    """
    outlet, now = draft.outlet(event.outlet), draft.now.mono
    found, sure_at = outlet.live.doubted, outlet.live.sure_at
    if not outlet.live.known:
        found, sure_at = outlet.reported - OWN, now + LOOKS
    return (frozenset() if event.powered or now >= sure_at else found), sure_at


def settle(draft: Draft) -> None:
    state = draft.state
    guarded = any(outlet.live.known for outlet in state.outlets)
    reported = _tell(draft, 0, state.reported, state.faults, frozenset() if guarded else frozenset({MISMATCH}))
    if reported != state.reported:
        draft.set(reported=reported)
    for outlet in state.outlets:
        live, unsure = outlet.live, frozenset[str]()
        if not live.known:
            unsure |= outlet.reported - OF_METERS
        if outlet.site.metered and (not live.read or recent(draft, outlet.site.rank) is None):
            unsure |= OF_METERS
        reported = _tell(draft, outlet.site.rank, outlet.reported, live.faults, unsure)
        if reported != outlet.reported:
            draft.set_outlet(outlet.site.rank, reported=reported)


def _tell(
    draft: Draft, rank: int, before: frozenset[str], now: frozenset[str], unsure: frozenset[str]
) -> frozenset[str]:
    after = now | (before & unsure)
    for name in sorted(before ^ after):
        draft.tell(Faulted(draft.now, rank, name, name in after))
    return after
