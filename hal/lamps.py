"""What a lamp and a buzzer do for each word that the guard shows: one table for boards, simulation and people.

Told apart at a glance: a refused card (red, twice, with a tone) is not a fault (red, steady), waiting for the backend
(blue, slow) is not offline but usable (green, with a short blink every three seconds).
"""

from __future__ import annotations

import sys
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

    @property
    def looks(self) -> str:
        """In words, as for a person who stands before it."""
        name = COLOURS["".join(sorted(self.colour))]
        if not self.colour:
            return name
        how = "steady" if not self.every else f"{self.on:g} s lit, {self.every - self.on:g} s dark"
        return f"{name}, {how}" + (f", {self.beeps} beeps" if self.beeps else "")


COLOURS = {
    "": "dark",
    "r": "red",
    "g": "green",
    "b": "blue",
    "br": "purple",
    "bg": "turquoise",
    "gr": "yellow",
    "bgr": "white",
}
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


def of(word: str) -> Pattern:
    """What is shown for this word."""
    return LAMPS.get(word, UNKNOWN)


def page() -> str:
    """`hardware/lamps.md`: the table for people."""
    rows = (f"| {word or '(none)'} | {pattern.looks} | {pattern.meaning} |" for word, pattern in LAMPS.items())
    return "\n".join([PAGE, *rows, f"| (any other) | {UNKNOWN.looks} | {UNKNOWN.meaning} |", ""])


PAGE = """\
# What the lamp says

Printed by `python -m hal.lamps`, from the table by which boards and simulation show it. The guard's words for faults go
before the others; a fault's word is in `hardware/faults.md`. While the machine boots, a reference board is purple.

| word | lamp and buzzer | meaning |
|---|---|---|"""

if __name__ == "__main__":
    sys.stdout.write(page())
