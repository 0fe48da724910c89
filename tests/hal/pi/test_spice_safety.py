"""What the guard's numbers of proximity and monostable are worth, by ngspice: codes through the board file to the
current a cable allows, and how long the hardware keeps power on after the last edge.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import pytest

from chargerd.guard import pilot
from hal.pi import boardfile
from hal.pi.devices import Codes, Resistor
from hal.pi.spi import CHIPS
from tests.hal.pi.spice import NONE, Instance, needs_ngspice, run

BOARD = boardfile.load("reference-pi4")
PROXIMITY, MONOSTABLE = BOARD.outlet[0].proximity, BOARD.monostable
assert PROXIMITY is not None and MONOSTABLE is not None
FULL = CHIPS[BOARD.adc.chip].codes
CABLES = {100.0: 63.0, 220.0: 32.0, 680.0: 20.0, 1500.0: 13.0}  # ohms → amperes, IEC 61851-1 B.2
SPREAD = (0.97, 1.0, 1.03)
pytestmark = needs_ngspice


def amps(volts: float) -> float | None:
    assert PROXIMITY is not None
    codes = Codes(BOARD.adc.reference / FULL)
    codes.take({PROXIMITY.channel: round(volts / BOARD.adc.reference * FULL)})
    return pilot.cable(Resistor(PROXIMITY, codes).ohms())


def plug(ohms: float, pull_up: float, contact: float, leak: float) -> Instance:
    assert PROXIMITY is not None
    values = {"pull_up": PROXIMITY.pull_up * pull_up, "rplug": ohms, "rcontact": contact, "leak": leak}
    return Instance({"vcc": f"DC {PROXIMITY.volts}"}, values)


def test_every_cable_in_every_corner(tmp_path: Path) -> None:
    """Plug and pull-up at their tolerances, a worn contact, and a leaking protection diode."""
    corners = list(itertools.product(CABLES, SPREAD, (0.99, 1.01), (0.0, 2.0), (0.0, 10e-6)))
    instances = [plug(ohms * spread, *rest) for ohms, spread, *rest in corners]
    _, columns = run(tmp_path, "proximity", instances, "tran 1m 10m", linear=False)
    for corner, column in zip(corners, columns, strict=True):
        assert amps(column[-1]) == CABLES[corner[0]], corner


def test_no_plug_and_what_is_no_plug(tmp_path: Path) -> None:
    cases = [
        (NONE, None),
        (20_000.0, None),
        (2.0, pilot.BAD_CABLE),
        (330.0, pilot.BAD_CABLE),
        (3000.0, pilot.BAD_CABLE),
    ]
    corners = list(itertools.product(cases, (0.99, 1.01), (0.0, 10e-6)))
    instances = [plug(ohms, pull_up, 0.0, leak) for (ohms, _), pull_up, leak in corners]
    _, columns = run(tmp_path, "proximity", instances, "tran 1m 10m", linear=False)
    for corner, column in zip(corners, columns, strict=True):
        assert amps(column[-1]) == corner[0][1], corner


# ---- the monostable

NOMINAL_AMPS = 24 / 720
RELEASED = 0.1 * NOMINAL_AMPS  # below what any contactor still holds
TURN = 0.02


class Parts(NamedTuple):
    """Factors on resistor and capacitor, the circuit's own factor, and the coil's inductance in henry."""

    ohms: float
    farads: float
    k: float
    coil: float


WORST = [Parts(*parts) for parts in itertools.product((0.99, 1.01), (0.95, 1.05), (0.41, 0.49), (0.2, 2.0))]


def edges(moments: list[float]) -> str:
    """A pin that toggles at these moments, and stays as it is after the last."""
    points, level = ["0 0"], 0.0
    for at in moments:
        points.append(f"{at:.6f} {level}")
        level = 3.3 - level
        points.append(f"{at + 1e-6:.6f} {level}")
    return f"PWL({' '.join(points)})"


def killed(parts: Parts, moments: list[float], enable: str = "DC 3.3") -> Instance:
    assert MONOSTABLE is not None
    values = {
        "rt": MONOSTABLE.ohms * parts.ohms,
        "ct": MONOSTABLE.farads * parts.farads,
        "k": parts.k,
        "lcoil": parts.coil,
    }
    return Instance({"alive": edges(moments), "enable": enable}, values)


@pytest.mark.parametrize("turns", [5, 6], ids=["frozen-high", "frozen-low"])
def test_with_the_guard_dead_the_coil_lets_go_as_the_board_file_says(tmp_path: Path, turns: int) -> None:
    assert MONOSTABLE is not None
    moments = [TURN * n for n in range(1, turns + 1)]
    times, columns = run(tmp_path, "monostable", [killed(p, moments) for p in WORST], "tran 100u 300m 0 100u")
    released = []
    for parts, coil in zip(WORST, columns, strict=True):
        on = [n for n, at in enumerate(times) if at > moments[0] + 0.019]
        assert coil[on[0]] > 0.9 * NOMINAL_AMPS, parts
        off = next(times[n] for n in on if coil[n] < RELEASED) - moments[-1]
        released.append(off)
        assert MONOSTABLE.holds < off < MONOSTABLE.releases, (parts, off)
        assert max(coil[n] for n in on if times[n] > moments[-1] + MONOSTABLE.releases) < RELEASED
    assert pytest.approx((min(released), max(released)), abs=0.003) == (0.070, 0.103)  # told in hardware/safety.md


def test_late_turns_within_the_hold_time_do_not_open(tmp_path: Path) -> None:
    assert MONOSTABLE is not None
    moments = [TURN * n for n in range(1, 5)] + [TURN * 4 + MONOSTABLE.holds * n for n in range(1, 4)]
    times, columns = run(tmp_path, "monostable", [killed(p, moments) for p in WORST], "tran 100u 260m 0 100u")
    for parts, coil in zip(WORST, columns, strict=True):
        least = min(amps for at, amps in zip(times, coil, strict=True) if 0.06 < at < moments[-1])
        assert least > 0.9 * NOMINAL_AMPS, parts


def test_the_enable_pin_alone_opens_at_once_and_closes_nothing(tmp_path: Path) -> None:
    """A Pi that lets go of its pin (killed, rebooting) opens by the resistor; a high pin without edges is idle."""
    parts = WORST[0]
    moments = [TURN * n for n in range(1, 12)]
    instances = [killed(parts, moments, "PWL(0 3.3 0.1 3.3 0.1001 0)"), killed(parts, [])]
    times, (dropped, idle) = run(tmp_path, "monostable", instances, "tran 100u 250m 0 100u")
    assert max(amps for at, amps in zip(times, dropped, strict=True) if at > 0.12) < RELEASED
    assert max(amps for at, amps in zip(times, idle, strict=True) if at > 0.15) < RELEASED
