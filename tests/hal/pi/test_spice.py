"""The analogue side and the software in one check: ngspice's volts become codes by the board file, and our own
estimator and the guard's borders must read the right state from them, in every corner of the tolerances.
"""

from __future__ import annotations

import itertools
import math
import random
import shutil
import subprocess
from bisect import bisect
from pathlib import Path
from typing import NamedTuple

import pytest

from chargerd.guard import pilot
from hal.pi import boardfile
from hal.pi.board import PiBoard
from hal.pi.spi import DITHER
from tests.hal.pi.test_board import Bench

CIRCUIT = Path(__file__).parents[3] / "hardware" / "spice" / "pilot.cir"
BOARD = boardfile.load("reference-pi4")
RATE, BURSTS = 31_000.0, 4
NONE = 1e9  # ohms of what is not there
DUTIES = (0.05, 0.10, 0.533, 0.96, 1.0)
VEHICLE = {"A": (NONE, NONE), "B": (2740.0, NONE), "C": (2740.0, 1300.0), "D": (2740.0, 270.0), "E": (NONE, NONE)}
"""2.74 kohm behind the diode, and what S2 adds to it."""

pytestmark = pytest.mark.skipif(
    shutil.which("ngspice") is None, reason="ngspice is not installed (apt-get install ngspice)"
)


class Corner(NamedTuple):
    """Supply of the driver in V; factors on source, vehicle and divider resistors; picofarads of the cable."""

    supply: float
    source: float
    vehicle: float
    divider: float
    cable: float


CORNERS = (
    Corner(12.0, 1.0, 1.0, 1.0, 1500),
    Corner(11.4, 1.03, 0.97, 0.999, 3000),
    Corner(11.4, 0.97, 1.03, 1.001, 10),
    Corner(12.6, 1.03, 1.03, 0.999, 10),
    Corner(12.6, 0.97, 0.97, 1.001, 3000),
)


def simulated(
    folder: Path, state: str, duty: float, corner: Corner, diode: bool = True
) -> tuple[list[float], list[float]]:
    """Times and volts at the ADC over 20 ms."""
    divider = BOARD.outlet[0].pilot.divider
    first, second = VEHICLE.get(state, (2740.0, NONE))
    wave = f"PULSE({-corner.supply} {corner.supply} 0 1u 1u {duty * 1e-3} 1m)"
    if state == "F" or duty == 1.0:
        wave = f"DC {-corner.supply if state == 'F' else corner.supply}"
    values = {
        "wave": wave,
        "rsource": 1000 * corner.source,
        "cevse": "600p",
        "ccable": f"{corner.cable}p",
        "rtop": divider.top * corner.divider,
        "rground": divider.ground / corner.divider,
        "bias": divider.bias_volts,
        "rbias": divider.bias,
        "cev": "1n" if state != "A" else "1p",
        "rmissing": NONE if diode else 0.1,
        "rb": first * (corner.vehicle if first < NONE else 1),
        "rs": second * (corner.vehicle if second < NONE else 1),
        "rshort": 1.0 if state == "E" else NONE,
    }
    text = CIRCUIT.read_text()
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", f"{value:g}" if isinstance(value, float) else str(value))
    (folder / "pilot.cir").write_text(text.replace("OUTPUT", "volts.txt"))
    done = subprocess.run(
        ["ngspice", "-b", "pilot.cir"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert (folder / "volts.txt").exists(), done.stderr[-500:]
    rows = [line.split() for line in (folder / "volts.txt").read_text().splitlines()]
    return [float(row[0]) for row in rows], [float(row[1]) for row in rows]


class Spice(Bench):
    """The ADC on simulated volts: samples at moments of the bus, to the nearest code."""

    def __init__(self, times: list[float], volts: list[float]) -> None:
        super().__init__(BOARD)
        self._times, self._volts = times, volts
        self._begin = random.Random(1)

    def pilot(self) -> list[int]:
        at = 0.002 + self._begin.random() * 0.011
        codes = []
        for _, gap in zip(range(self.file.pilot.samples), itertools.cycle(DITHER), strict=False):
            n = min(bisect(self._times, at), len(self._times) - 1)
            codes.append(round(self._volts[n] / BOARD.adc.reference * self.chip.codes))
            at += 1 / RATE + gap * 1e-6
        return codes


def readings(
    folder: Path, state: str, duty: float, corner: Corner, diode: bool = True
) -> list[tuple[float, float, float]]:
    """High, low and duty, as the guard is given them, of a few bursts."""
    bench = Spice(*simulated(folder, state, duty, corner, diode))
    bench.supply, bench.below = corner.supply, -corner.supply
    board = PiBoard(BOARD, bench, bench, lambda: bench.now)  # type: ignore[arg-type]
    found = []
    for _ in range(BURSTS):
        board.exchange()
        seen = board.outlets[0].pilot.read()
        found.append((seen.high, seen.low, seen.duty))
    return found


@pytest.mark.parametrize("corner", CORNERS, ids=str)
@pytest.mark.parametrize("state", [*VEHICLE, "F"])
def test_every_state_in_every_corner(tmp_path: Path, state: str, corner: Corner) -> None:
    for duty in DUTIES if state != "F" else (0.0,):
        for high, low, seen in readings(tmp_path, state, duty, corner):
            assert pilot.classify(high, low, None) == state, (duty, high, low)
            if state in "BCD" and duty < 1.0:
                assert pilot.diode(low)
            if state in "ABCD":
                assert math.isclose(seen, duty, abs_tol=pilot.DUTY_TOLERANCE)


@pytest.mark.parametrize("state", ["B", "C", "D"])
def test_a_vehicle_without_its_diode(tmp_path: Path, state: str) -> None:
    for duty, corner in itertools.product(DUTIES[:-1], CORNERS[:3]):
        for _, low, _ in readings(tmp_path, state, duty, corner, diode=False):
            assert not pilot.diode(low), (duty, corner, low)
