"""All that is measured of a charger, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.benching.figures import Figure
from tests.benching.limiting import limits
from tests.benching.measures import Plan, idle, long_session, questions, sessions, starts
from tests.benching.rig import Rig

MEASURES: dict[str, Callable[[Rig, Plan], Awaitable[list[Figure]]]] = {
    "starts": starts,
    "sessions": sessions,
    "config": questions,
    "idle": idle,
    "hour": long_session,
    "limits": limits,
}
BUSY = ("starts", "sessions", "config")
"""Those that hogs beside them can change."""
