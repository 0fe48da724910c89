"""One instant, on both clocks: what a stamp must carry to be put right later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """Monotonic seconds of boot `boot` and the best known unix seconds then; `trusted`: that clock was known good."""

    mono: float
    wall: float
    trusted: bool
    boot: int
