"""The first word with the backend, and the pulse afterwards (1.6 §4.2 and §4.6, B01–B03, G02).

One BootNotification after each start, repeated until it is accepted; a new link alone does not repeat it, but one in
another version does. `Pending` and `Rejected` name the pause until the next try. Accepted, everything queued may leave.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from chargerd.core.commands import BootCause, SendBoot, SendHeartbeat
from chargerd.core.draft import Draft
from chargerd.core.events import BootAnswered, BootStatus
from chargerd.core.local_list import CONFLICT
from chargerd.core.profiles import NONE
from chargerd.core.variables_table import DAY

LONGEST = 30 * DAY  # s; a backend that says more has mistaken its unit, and would never hear of us again
RETRY = 30.0  # s; after no usable answer, and where the backend leaves the pause to us


def link_up(draft: Draft, anew: bool) -> None:
    draft.set(online=True)
    if anew:
        draft.set(boot=replace(draft.state.boot, status=BootStatus.NONE, next_try=None))
        _forget(draft)
    boot = draft.state.boot
    if boot.status is BootStatus.ACCEPTED:
        _schedule_heartbeat(draft)
    elif boot.next_try is None or boot.next_try <= draft.now.mono:
        send(draft, boot.cause)


def _forget(draft: Draft) -> None:
    """Local list, reservations and profiles were set in another version: whoever speaks this one does not know of them,
    and in 2.x could not take them back. (What the cache remembers can be cleared in every version.)
    """
    nothing = MappingProxyType[Any, Any]({})
    draft.set(local_list=nothing, list_version=0, reservations=nothing, profiles=NONE)
    draft.set_faults(0, draft.state.faults - {CONFLICT})


def link_down(draft: Draft) -> None:
    draft.set(online=False, boot=replace(draft.state.boot, asked=False, heartbeat_at=None))


def send(draft: Draft, cause: BootCause) -> None:
    draft.set(boot=replace(draft.state.boot, asked=True, next_try=None))
    draft.do(SendBoot(cause))


def answered(draft: Draft, event: BootAnswered) -> None:
    state, now = draft.state, draft.now.mono
    if event.status is BootStatus.ACCEPTED:
        if event.interval > 0:  # B01.FR.04
            draft.set(variables=state.variables.with_("heartbeat_interval", str(_bounded(event.interval))))
        draft.set(boot=replace(state.boot, status=event.status, asked=False, next_try=None))
        _schedule_heartbeat(draft)
        return
    # An answer that was lost takes nothing back; a refusal does.
    status = state.boot.status if event.status is BootStatus.NONE else event.status
    pause = float(_bounded(event.interval)) if event.interval > 0 else RETRY
    # What was lost with its link is asked again with the next one.
    next_try = now + pause if state.online else None
    draft.set(boot=replace(state.boot, status=status, asked=False, next_try=next_try, heartbeat_at=None))


def _bounded(interval: int) -> int:
    return int(min(interval, LONGEST))


def settle(draft: Draft) -> None:
    """Send what has become due."""
    boot, now = draft.state.boot, draft.now.mono
    if not draft.state.online:
        return
    if boot.next_try is not None and boot.next_try <= now and not boot.asked:
        send(draft, boot.cause)
    elif boot.heartbeat_at is not None and boot.heartbeat_at <= now:
        draft.do(SendHeartbeat())
        _schedule_heartbeat(draft)


def reschedule(draft: Draft) -> None:
    """The interval was changed."""
    if draft.state.boot.heartbeat_at is not None:
        _schedule_heartbeat(draft)


def _schedule_heartbeat(draft: Draft) -> None:
    interval = draft.state.variables.get_int("heartbeat_interval")
    at = draft.now.mono + interval if interval > 0 else None
    draft.set(boot=replace(draft.state.boot, heartbeat_at=at))
