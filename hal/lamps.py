"""What a lamp and a buzzer do for each word that the guard shows: one table for boards, simulation and people.

Told apart at a glance: a refused card (red, twice, with a tone) is not a fault (red, steady), waiting for the backend
(blue, slow) is not offline but usable (green, with a short blink every three seconds).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """`colour`: any of r, g, b together; lit for `on` of every `every` seconds (0: steady); `beeps` when it begins."""

    colour: str
    meaning: str
    on: float = 0.0
    every: float = 0.0
    beeps: int = 0

    def lit(self, since: float) -> str:
        """Colours that are lit `since` seconds after it began."""
        return self.colour if not self.every or since % self.every < self.on else ""

    def sounds(self, since: float) -> bool:
        """Whether the buzzer is on then."""
        return since < self.beeps * 2 * BEEP and since % (2 * BEEP) < BEEP


BEEP = 0.15  # s of tone, and of silence after it
LAMPS: dict[str, Pattern] = {
    "": Pattern("", "nothing is known yet"),
    "ready": Pattern("g", "free: plug in or hold a card"),
    "offline-ready": Pattern("g", "free, without its backend", on=2.7, every=3.0),
    "waiting": Pattern("b", "waits for the vehicle, the card or the backend", on=0.5, every=1.0),
    "charging": Pattern("b", "energy flows"),
    "paused": Pattern("b", "charging pauses", on=0.3, every=3.0),
    "finished": Pattern("g", "finished: take the cable", on=0.5, every=1.0),
    "refused": Pattern("r", "this card may not charge here", on=0.2, every=0.4, beeps=2),
    "reserved": Pattern("gb", "reserved: a card for it opens it"),
    "unavailable": Pattern("rb", "out of service"),
    "fault": Pattern("r", "a fault: unplug, or wait until it has cleared"),
    "service": Pattern("r", "a fault that needs a technician", on=0.1, every=1.0),
}
UNKNOWN = Pattern("r", "a word that this board does not know", on=0.9, every=1.0)
