"""The physical world around guard and daemon: outlets with vehicles, mains, cards. It outlives them both.

Nothing here has a clock of its own: `World` is given one, and everybody who looks or acts first lets the world catch
up with it. It moves from event to event, each at its own instant, so results do not depend on how often it is asked.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hal.api import Card, DeviceError, MeterReading, PerPhase
from hal.sim.outlet import Audit, PhysicalOutlet, SimOutlet
from hal.sim.vehicle import NEVER
from hal.sim.wire import Command, Sample

WATCHDOG = 0.150
MAINS: PerPhase = (230.0, 230.0, 230.0)
FIELD_TIME = 1.0  # a card that only passes by can be read this long
WAITING_TAPS = 16


class Refused(Exception):
    """It cannot be done in this world as it is now; the text says why."""


@dataclass(frozen=True, slots=True)
class _Tap:
    card: Card
    until: float


class Reader:
    """One card reader: taps nobody has read yet, and the card that is held to it."""

    def __init__(self) -> None:
        self.held: Card | None = None
        self.held_until = 0.0
        self.taps: deque[_Tap] = deque(maxlen=WAITING_TAPS)
        self.waiting: deque[Callable[[Card], bool]] = deque()


class World:
    """All outlets of one board, numbered from 1, with mains and card readers.

    `clock` gives monotonic seconds; `watchdog` is the time without an exchange after which the hardware gives the guard
    up; `noise` is the standard deviation in volts of each pilot plateau, from the generator seeded with `seed`.
    """

    def __init__(
        self,
        outlets: Sequence[SimOutlet],
        clock: Callable[[], float],
        *,
        watchdog: float = WATCHDOG,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not 1 <= len(outlets) <= 64:
            raise ValueError(f"outlets: {len(outlets)} given, must be 1..64")
        self.clock = clock
        self.now = clock()
        self._setup = tuple(outlets)
        self._watchdog, self._noise, self._random = watchdog, noise, random.Random(seed)
        self._alive_until = -NEVER
        self.readers = {name: Reader() for name in ("station", *(f"evse{n + 1}" for n in range(len(outlets))))}
        self.reset()

    def reset(self) -> None:
        """A new morning: nothing plugged in, no fault, registers at 0 Wh, an empty audit. Waiting readers wait on."""
        self.outlets = tuple(PhysicalOutlet(setup) for setup in self._setup)
        self.volts, self.frequency = MAINS, 50.0
        for reader in self.readers.values():
            reader.held = None
            reader.taps.clear()

    # ---- time

    def catch_up(self) -> float:
        """Advance to the clock; returns the world's time."""
        self.advance(self.clock())
        return self.now

    def advance(self, now: float) -> None:
        """Let everything happen until `now`; an earlier time changes nothing."""
        while self.now < now:
            event = min(outlet.next_event(self.now) for outlet in self.outlets)
            if self._alive_until > self.now:
                event = min(event, self._alive_until)
            until = min(now, max(event, math.nextafter(self.now, NEVER)))
            for outlet in self.outlets:
                outlet.flow(self.now, until)
            self.now = until
            self.settle()

    def settle(self) -> None:
        """Let everything due at this instant happen; called after whatever was done to the world."""
        for outlet in self.outlets:
            outlet.settle(self.now, self.guarded, self.volts)

    def forsake(self, at: float) -> None:
        """The hardware gives the guard up at this time, unless it speaks again."""
        self.catch_up()
        self._alive_until = at
        self.settle()

    @property
    def guarded(self) -> bool:
        """Has the guard spoken lately enough for the hardware to believe in it?"""
        return self.now < self._alive_until

    @property
    def hold(self) -> float | None:
        """As `hal.api.Board.hold`."""
        return self._watchdog if self._watchdog < NEVER else None

    # ---- the devices

    def exchange(self, commands: Sequence[Command], sent: float) -> list[Sample]:
        """One cycle of the guard's board; commands act at the time they were sent. Raises Refused on a wrong count."""
        if len(commands) != len(self.outlets):
            raise Refused(f"{len(commands)} outlets commanded, this world has {len(self.outlets)}")
        now = self.clock()
        self.advance(min(sent, now))
        self._alive_until = now + self._watchdog
        for outlet, command in zip(self.outlets, commands, strict=True):
            outlet.obey(self.now, command)
        self.settle()
        self.advance(now)
        return [outlet.sample((self._hiss(), self._hiss()), self.volts) for outlet in self.outlets]

    def read_meter(self, outlet: int) -> MeterReading:
        """Raises DeviceError while the meter is silent."""
        now = self.catch_up()
        physical = self.outlets[outlet - 1]
        if "meter-silent" in physical.faults:
            raise DeviceError(f"simulated meter of outlet {outlet} does not answer: clear its fault meter-silent")
        return physical.meter(now, self.volts, self.frequency)

    def tap(self, reader: str, card: Card, hold: float) -> bool:
        """Hold a card there for `hold` seconds; False when it is there already. Raises Refused behind another card."""
        now, at = self.catch_up(), self.readers[reader]
        if at.held is not None and now < at.held_until:
            if at.held != card:
                raise Refused(f"another card is held to reader {reader}: withdraw it first")
            at.held_until = max(at.held_until, now + hold)
            return False
        at.held, at.held_until = card, now + hold
        while at.waiting:
            if at.waiting.popleft()(card):
                return True
        at.taps.append(_Tap(card, now + max(hold, FIELD_TIME)))
        return True

    def withdraw(self, reader: str) -> None:
        self.readers[reader].held = None

    def next_tap(self, reader: str, deliver: Callable[[Card], bool]) -> Callable[[], None]:
        """Deliver one tap, now or later; a tap nobody read while the card was there is lost. Returns the cancellation.

        `deliver` answers False when it no longer wants the card.
        """
        now, at = self.catch_up(), self.readers[reader]
        while at.taps:
            if (tap := at.taps.popleft()).until >= now:
                deliver(tap.card)
                return lambda: None
        at.waiting.append(deliver)

        def cancel() -> None:
            if deliver in at.waiting:
                at.waiting.remove(deliver)

        return cancel

    def audit(self) -> list[Audit]:
        """Per outlet, what a judge wants to know; up to this instant."""
        self.catch_up()
        self.settle()
        return [outlet.audit for outlet in self.outlets]

    def _hiss(self) -> float:
        return self._random.gauss(0.0, self._noise) if self._noise else 0.0
