"""A simulated contactor: its armature takes time to move, may weld or stick, and its mirror contact tells no lies."""

from __future__ import annotations

import math

CLOSE_TIME, OPEN_TIME = 0.020, 0.015


class Armature:
    def __init__(self) -> None:
        self.closed = False
        self.arrives = math.inf
        """When it will have moved."""

    def swing(self, now: float, coil: bool, stuck: bool) -> bool:
        """Follow the coil, unless stuck; True when it arrived just now."""
        if coil == self.closed or stuck:
            self.arrives = math.inf
        elif self.arrives == math.inf:
            self.arrives = now + (CLOSE_TIME if coil else OPEN_TIME)
        if now < self.arrives:
            return False
        self.closed, self.arrives = coil, math.inf
        return True
