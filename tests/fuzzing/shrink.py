"""A world that fails, made smaller: fewer acts, and still the same complaint."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.fuzzing.plan import Act, Plan

Complaints = Callable[[Plan], Sequence[str]]


def shrink(plan: Plan, complaints: Sequence[str], play: Complaints, seconds: float) -> Plan:
    """The smallest plan found in `seconds` whose world still brings the first of these complaints."""
    wanted, end = kind(complaints[0]), time.monotonic() + seconds
    best, size = plan, max(1, len(plan.acts) // 2)
    while time.monotonic() < end:
        smaller = _without_some(best, size, wanted, play, end)
        if smaller is not best:
            best = smaller
            size = max(1, min(size, len(best.acts) // 2))
        elif size == 1:
            break
        else:
            size //= 2
    return best


def kind(complaint: str) -> str:
    """A complaint without its time and its numbers."""
    return re.sub(r"[0-9a-fA-F-]*\d[\d.]*", "#", complaint.partition(": ")[2])[:80]


def _without_some(plan: Plan, size: int, wanted: str, play: Complaints, end: float) -> Plan:
    """`plan` without some of its runs of `size` acts; the last ones are tried first."""
    start = (len(plan.acts) - 1) // size * size
    while start >= 0 and time.monotonic() < end:
        tried = replace(plan, acts=plan.acts[:start] + plan.acts[start + size :])
        if len(tried.acts) < len(plan.acts) and any(kind(each) == wanted for each in play(tried)):
            plan = tried
        start -= size
    return plan


def listed(acts: Sequence[Act]) -> str:
    return "\n".join(f"      {act}" for act in acts)
