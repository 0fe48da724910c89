"""The local authorisation list: tokens that the CSMS sends ahead, for when it cannot be asked (1.6 §3.4.2, §5.15).

Only the CSMS changes it. An update is taken whole or not at all; where it cannot be taken the old list stays.
"""

from __future__ import annotations

from types import MappingProxyType

from chargerd.core.commands import Answer, Outcome
from chargerd.core.draft import Draft
from chargerd.core.events import ListSent
from chargerd.core.state import Station
from chargerd.core.token import Standing, Token, Verdict

CONFLICT = "LocalListConflict"  # the CSMS has contradicted the list that it sent itself
_VALID = (Standing.ACCEPTED, Standing.CONCURRENT)  # 1.6 §3.4.2
UNSUPPORTED = -1  # 1.6 §5.10


def knows(state: Station, token: Token) -> bool:
    """Is the list in use, and this token in it?"""
    return state.variables.get_bool("local_list_enabled") and token.id.casefold() in state.local_list


def accepted(state: Station, token: Token, wall: float) -> Verdict | None:
    """What lets a token of the list in; None: it is marked as not valid, or its time is over."""
    entry = state.local_list[token.id.casefold()]
    if entry.standing not in _VALID or entry.expired(wall):
        return None
    return Verdict(Standing.ACCEPTED, entry.group, entry.expires)


def compare(draft: Draft, token: Token, verdict: Verdict) -> None:
    """The CSMS has spoken of a token of its list: something else than the list says is told (1.6 §3.4.3)."""
    here = accepted(draft.state, token, draft.now.wall) is not None
    if here != (verdict.standing in _VALID):
        draft.set_faults(0, draft.state.faults | {CONFLICT})


def version(state: Station) -> int:
    """0 for an empty list, -1 while lists are not taken (1.6 §5.10)."""
    if not state.variables.get_bool("local_list_enabled"):
        return UNSUPPORTED
    return state.list_version if state.local_list else 0


def sent(draft: Draft, event: ListSent) -> None:
    """SendLocalList: the answer says whether the list is now as sent."""
    outcome = _refusal(draft.state, event)
    if outcome is None:
        entries = {} if event.full else dict(draft.state.local_list)
        for id_, verdict in event.entries:
            if verdict is None:
                entries.pop(id_.casefold(), None)
            else:
                entries[id_.casefold()] = verdict
        if len(entries) > draft.state.variables.get_int("local_list_most"):
            outcome = Outcome.FAILED
        else:
            draft.set(local_list=MappingProxyType(entries), list_version=event.version)
            draft.set_faults(0, draft.state.faults - {CONFLICT})
    draft.do(Answer(event.ask, outcome or Outcome.ACCEPTED))


def _refusal(state: Station, event: ListSent) -> Outcome | None:
    variables = state.variables
    if not variables.get_bool("local_list_enabled"):
        return Outcome.NOT_SUPPORTED
    ids = [id_.casefold() for id_, _ in event.entries]
    if len(ids) > variables.get_int("send_list_most") or len(set(ids)) < len(ids):
        return Outcome.FAILED
    if event.full:
        bare = any(verdict is None for _, verdict in event.entries)  # nothing is there to be taken away from
        return Outcome.FAILED if bare or (ids and event.version < 1) else None
    return Outcome.VERSION_MISMATCH if event.version <= max(0, version(state)) else None
