"""How often one burst on the pilot tells something wrong, by duty and by what disturbs it.

    python -m tests.hal.pi.error_rates --bursts 1500

Counted of all bursts in states A to D: `state`, another one than the vehicle's; `diode`, said to be missing; `doubt`,
one plateau only, so that the board takes another burst; `duty`, the middle of five bursts, off by more than the guard
allows.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chargerd.guard import pilot
from hal.pi.devices import DUTIES as DUTIES_SEEN
from hal.pi.devices import middle
from hal.pi.front import Scale, estimate
from hal.pi.spi import CHIPS
from tests.hal.pi.waveform import DIVIDER, LEVELS, LOW, burst

DUTIES = (0.05, 0.10, 0.266, 0.533, 0.80, 0.96)
_MCP3008 = CHIPS["mcp3008"].codes
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "noise 0.15 V": {"noise": 0.15},
    "noise 0.5 V": {"noise": 0.5},
    "jitter 5 %": {"jitter": 0.05},
    "0.2 % stalls of 1 ms": {"stalls": 0.002},
    "1 % stalls of 1 ms": {"stalls": 0.01},
    "5 % stalls of 1 ms": {"stalls": 0.05},
    "28 ksps": {"rate": 28_000.0},
    "MCP3008, 38 ksps": {"rate": 38_000.0, "codes": _MCP3008, "scale": Scale.of(DIVIDER, _MCP3008, 3.3)},
}


@dataclass(slots=True)
class Rates:
    """Of `bursts`, how many."""

    bursts: int = 0
    state: int = 0
    diode: int = 0
    doubt: int = 0
    duty: int = 0


def measured(duty: float, condition: str, bursts: int) -> Rates:
    how, found, chance = CONDITIONS[condition], Rates(), random.Random(f"{duty} {condition}")
    scale = how.get("scale", Scale.of(DIVIDER, 4095, 3.3))
    for state in "ABCD":
        duties = deque[float](maxlen=DUTIES_SEEN)
        for _ in range(bursts // 4):
            seen = estimate(burst(chance, LEVELS[state], LOW, duty, **how), scale)
            found.bursts += 1
            if seen.quality is None:
                found.doubt += 1
                continue
            found.state += pilot.classify(seen.high, seen.low, None) != state
            found.diode += not pilot.diode(seen.low)
            duties.append(seen.duty)
            told = middle(duties)
            found.duty += len(duties) == duties.maxlen and abs(told - duty) > pilot.DUTY_TOLERANCE
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bursts", type=int, default=1500, metavar="N", help="for each duty and condition")
    bursts = parser.parse_args().bursts
    sys.stdout.write(f"{bursts} bursts each: state/diode/doubt/duty\n{'':22}")
    sys.stdout.write("".join(f"{duty * 100:>14.1f} %" for duty in DUTIES) + "\n")
    for condition in CONDITIONS:
        sys.stdout.write(f"{condition:22}")
        for duty in DUTIES:
            it = measured(duty, condition, bursts)
            sys.stdout.write(f"{f'{it.state}/{it.diode}/{it.doubt}/{it.duty}':>16}")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
