"""The contactor's judge: looks at every turn of the guard from outside, and knows the rules in other words.

It sees samples, outputs, the packets that the guard takes and what is on the disk, and keeps a picture of its own:
closed means that a diode was seen at this vehicle, that no fault is active, that it is still the vehicle at which it
closed, that the pilot asked in one of the last two bursts, and that a lease runs or ended at most 6 s and two turns
ago. A closing needs an authorised transaction, or what may become one, on the disk.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from chargerd.guard import lease
from chargerd.guard.desk import Bay, Guard
from hal.sim.outlet import PhysicalOutlet
from hal.sim.world import World

ASKS = (4.25, 7.75)  # V, state C with its hysteresis
DIODE = -11.0  # V
PATIENCE = 6.0 + 2 * 0.02 + 1e-3
OPENS = 0.1  # s after the vehicle left C
BLIND = frozenset(("contactor-welded", "pilot-stuck", "pilot-driver-mismatch"))  # the guard cannot see or do it
Complain = Callable[[str], None]


class Sentry:
    def __init__(self, world: World, database: Path, complain: Complain, say: Callable[[str, str], None]) -> None:
        self._world, self._database, self._complain, self._say = world, database, complain, say
        self._posts: list[_Post] = []
        self._guard: Guard | None = None
        self._unasked = [inf] * len(world.outlets)
        self.closings = 0

    def watch(self, guard: Guard) -> None:
        """A new guard: whatever the old one did is over."""
        self._guard = guard
        self._posts = [_Post() for _ in guard.bays]
        hear = guard.hear

        def listen(raw: bytes, now: float) -> None:
            hear(raw, now)
            if b'"permit"' not in raw:
                return
            word = lease.decode(raw)
            if isinstance(word, lease.Permit):
                post, bay = self._posts[word.outlet - 1], guard.bays[word.outlet - 1]
                if word.plug == bay.state.plug != 0:
                    post.permit, post.until = word, now + word.valid_for

        guard.hear = listen  # type: ignore[method-assign]

    def turn(self, now: float) -> None:
        assert self._guard is not None
        for rank, (bay, post) in enumerate(zip(self._guard.bays, self._posts, strict=True), 1):
            for why in post.judge(bay, now):
                self._complain(f"contactor {rank}: {why}")
            if post.closes:
                self.closings += 1
                self._say("power", f"{rank} closes")
                if not self._authorised(rank):
                    self._complain(f"contactor {rank}: closes with no authorisation on the disk")
            elif post.opens:
                self._say("power", f"{rank} opens")
            self._physical(rank, self._world.outlets[rank - 1], now)

    def _physical(self, rank: int, outlet: PhysicalOutlet, now: float) -> None:
        asked = outlet.level in ("C", "D") if outlet.level is not None else outlet.car is not None and outlet.car.s2
        if not outlet.closed or asked or outlet.faults & BLIND or outlet.level is not None:
            self._unasked[rank - 1] = inf
            return
        self._unasked[rank - 1] = min(self._unasked[rank - 1], now)
        if now - self._unasked[rank - 1] > OPENS:
            self._complain(f"contactor {rank}: closed for {now - self._unasked[rank - 1]:.2f} s with nobody asking")

    def _authorised(self, rank: int) -> bool:
        with sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True) as db:
            found = db.execute("SELECT body FROM state WHERE key = ?", (f"outlet/{rank}",)).fetchone()
        visit: Any = json.loads(found[0])["visit"] if found else None
        if visit is None:
            return False
        tx = visit["tx"]
        return visit["auth"] is not None and (tx is None or (tx["told"] and tx["stopping"] is None))


class _Post:
    """What the sentry remembers of one outlet."""

    def __init__(self) -> None:
        self.permit: lease.Permit | None = None
        self.until = -inf
        self.closes = self.opens = False
        self._coil = False
        self._plug = self._closed_for = 0
        self._asked = False
        self._diode = False
        self._drive = 1.0
        self._dry_since = -inf  # since when the pilot has offered nothing

    def judge(self, bay: Bay, now: float) -> list[str]:
        """What is wrong in this turn."""
        sample, out, state = bay.sample, bay.outputs, bay.state
        self.closes = self.opens = False
        if sample is None:
            self._coil = False
            return []
        if state.plug != self._plug:
            self._plug, self._diode = state.plug, False
        asks = ASKS[0] <= sample.high <= ASKS[1]
        self._diode = self._diode or (0.0 < self._drive < 1.0 and sample.low <= DIODE and state.plug != 0)
        offers = 0.1 <= out.drive <= 0.96
        if offers:
            self._dry_since = inf
        elif self._dry_since == inf:
            self._dry_since = now
        self._drive = out.drive
        self.closes, self.opens = out.coil and not self._coil, self._coil and not out.coil
        self._coil = out.coil
        found = list(self._rules(bay, asks, now)) if out.coil else []
        self._asked = asks
        return found

    def _rules(self, bay: Bay, asks: bool, now: float) -> list[str]:
        leased = self.permit is not None and self.permit.plug == self._plug and now < self.until
        leased = leased and self.permit is not None and self.permit.amps >= 6 and self.permit.mode is lease.Mode.BASIC
        if self.closes:
            self._closed_for = self._plug
        return [
            why
            for wrong, why in (
                (bool(bay.state.faults), f"closed in spite of {sorted(bay.state.faults)}"),
                (not asks and not self._asked, "closed though the vehicle did not ask in the last two bursts"),
                (not self._diode, "closed though no diode was seen"),
                (
                    self._plug == 0 or self._plug != self._closed_for,
                    "closed for another vehicle than at first",
                ),
                (self.closes and not leased, "closes without a lease"),
                (not leased and now - self._dry_since > PATIENCE, "closed longer than 6 s after the lease"),
            )
            if wrong
        ]
