"""The pilot's analogue side and the software in one check: ngspice's volts become codes by the board file, and our own
estimator and the guard's borders must read the right state from them, in every corner of the tolerances.
"""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from chargerd.guard import pilot
from hal.pi import boardfile
from hal.pi.board import PiBoard
from hal.pi.spi import DITHER
from tests.hal.pi.spice import NONE, Instance, needs_ngspice, run
from tests.hal.pi.test_board import Bench

BOARD = boardfile.load("reference-pi4")
RATE, BURSTS = 31_000.0, 4
STEP, PERIOD = 1e-6, 1e-3
DUTIES = (0.05, 0.10, 0.266, 0.533, 0.96, 1.0)
VEHICLE = {"A": (NONE, NONE), "B": (2740.0, NONE), "C": (2740.0, 1300.0), "D": (2740.0, 270.0), "E": (NONE, NONE)}
"""2.74 kohm behind the diode, and what S2 adds to it."""
pytestmark = needs_ngspice


class Corner(NamedTuple):
    """Rails of the driver in V; factors on source, vehicle and divider resistors; picofarads of the cable."""

    above: float
    below: float
    source: float
    vehicle: float
    divider: float
    cable: float


RAILS = ((11.4, 11.4), (12.6, 12.6), (11.4, 12.6), (12.6, 11.4))
CORNERS = (
    Corner(12.0, 12.0, 1.0, 1.0, 1.0, 1500),
    # of the other five a quarter of all combinations, each pair of extremes among them
    *(
        Corner(*rails, 1 + 0.03 * source, 1 + 0.03 * vehicle, 1 + 0.001 * source * vehicle * side, cable)
        for (n, rails), source, vehicle in itertools.product(enumerate(RAILS), (-1, 1), (-1, 1))
        for side, cable in [(-1 if n in (0, 3) else 1, 10 if source * vehicle > 0 else 3000)]
    ),
)


def instance(state: str, duty: float, corner: Corner, diode: bool = True) -> Instance:
    divider = BOARD.outlet[0].pilot.divider
    first, second = VEHICLE.get(state, (2740.0, NONE))
    wave = f"PULSE({-corner.below} {corner.above} 0 1u 1u {duty * PERIOD:.9g} 1m)"
    if state == "F" or duty == 1.0:
        wave = f"DC {-corner.below if state == 'F' else corner.above}"
    values = {
        "rsource": 1000 * corner.source,
        "ccable": corner.cable * 1e-12,
        "cev": 1e-9 if state != "A" else 1e-12,
        "rb": first * (corner.vehicle if first < NONE else 1),
        "rs": second * (corner.vehicle if second < NONE else 1),
        "rmissing": NONE if diode else 0.1,
        "rshort": 1.0 if state == "E" else NONE,
        "rtop": divider.top * corner.divider,
        "rground": divider.ground / corner.divider,
        "rbias": divider.bias,
        "bias": divider.bias_volts,
    }
    return Instance({"gen": wave}, values)


class Spice(Bench):
    """The ADC on one period of simulated volts: samples at moments of the bus, to the nearest code."""

    def __init__(self, volts: list[float], corner: Corner) -> None:
        super().__init__(BOARD)
        self._volts = volts
        self._begin = random.Random(1)
        self.supply, self.below = corner.above, -corner.below

    def pilot(self) -> list[int]:
        at = self._begin.random() * PERIOD
        codes = []
        for _, gap in zip(range(self.file.pilot.samples), itertools.cycle(DITHER), strict=False):
            volts = self._volts[int(at % PERIOD / STEP)]
            codes.append(round(volts / BOARD.adc.reference * self.chip.codes))
            at += 1 / RATE + gap * 1e-6
        return codes


def readings(volts: list[float], corner: Corner) -> list[tuple[float, float, float]]:
    """High, low and duty, as the guard is given them, of a few bursts."""
    bench = Spice(volts, corner)
    board = PiBoard(BOARD, bench, bench, lambda: bench.now)  # type: ignore[arg-type]
    found = []
    for _ in range(BURSTS):
        board.exchange()
        seen = board.outlets[0].pilot.read()
        found.append((seen.high, seen.low, seen.duty))
    return found


def periods(folder: Path, instances: list[Instance]) -> list[list[float]]:
    """The second millisecond of each, in microseconds."""
    times, columns = run(folder, "pilot", instances, "tran 1u 2m 0 1u")
    begin = next(n for n, at in enumerate(times) if at >= PERIOD - STEP / 2)
    return [column[begin : begin + round(PERIOD / STEP)] for column in columns]


@pytest.mark.parametrize("corner", CORNERS, ids=str)
def test_every_state_and_duty_in_every_corner(tmp_path: Path, corner: Corner) -> None:
    cases = [*itertools.product(VEHICLE, DUTIES), ("F", 0.0)]
    volts = periods(tmp_path, [instance(state, duty, corner) for state, duty in cases])
    for (state, duty), column in zip(cases, volts, strict=True):
        for high, low, seen in readings(column, corner):
            assert pilot.classify(high, low, None) == state, (state, duty, high, low)
            if state in "BCD" and duty < 1.0:
                assert pilot.diode(low), (state, duty, low)
            if state in "ABCD":
                assert math.isclose(seen, duty, abs_tol=pilot.DUTY_TOLERANCE)
            assert not pilot.mismatch(duty, high, low, seen)


@pytest.mark.parametrize("corner", CORNERS, ids=str)
def test_a_vehicle_without_its_diode(tmp_path: Path, corner: Corner) -> None:
    cases = list(itertools.product("BCD", DUTIES[:-1]))
    volts = periods(tmp_path, [instance(state, duty, corner, diode=False) for state, duty in cases])
    for case, column in zip(cases, volts, strict=True):
        for _, low, _ in readings(column, corner):
            assert not pilot.diode(low), (case, low)


def test_a_filter_that_is_too_slow_is_seen_as_another_state(tmp_path: Path) -> None:
    """The check can fail: with 2.2 nF before the ADC a short plateau is not reached."""
    text = (Path(__file__).parents[3] / "hardware/spice/pilot.cir").read_text()
    (tmp_path / "slow.cir").write_text(text.replace("adc 0 220p", "adc 0 2.2n"))
    made = instance("B", 0.05, CORNERS[0])
    from tests.hal.pi import spice

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spice, "CIRCUITS", tmp_path)
        (tmp_path / "slow.cir").rename(tmp_path / "pilot.cir")
        (volts,) = periods(tmp_path, [made])
    assert any(pilot.classify(high, low, None) != "B" for high, low, _ in readings(volts, CORNERS[0]))
