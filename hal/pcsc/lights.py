"""The station's answer shown by the reader itself, lights and buzzer, while the card is held.

As commands to the card, which these readers keep for themselves: that needs no option of the driver. After their
manuals, never tried on a real one: so they are sent only where the moniker asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Lights:
    """What to send. It is well where the answer is two bytes and begins with 90."""

    accepted: bytes
    refused: bytes

    def command(self, accepted: bool) -> bytes:
        return self.accepted if accepted else self.refused


LIGHTS: Mapping[str, Lights] = MappingProxyType(
    {
        # FF 00 40 P2 04 T1 T2 repeats buzzer. P2: bits 0, 1 red and green at the end; 2, 3 whether these change; 4, 5
        # how they begin to blink; 6, 7 whether they blink. Times in 0.1 s; buzzer 1: during T1. Below half a second,
        # as the reader answers only when it is done.
        "acr122": Lights(
            accepted=bytes.fromhex("FF00400E0402000101"),  # green, one tone
            refused=bytes.fromhex("FF0040500401010201"),  # red twice with a tone, then as before
        )
    }
)


def taken(answer: bytes) -> bool:
    """Did the reader take the command? Its second byte is the state of the lights, or nothing."""
    return len(answer) == 2 and answer[0] == 0x90
