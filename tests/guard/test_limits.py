"""What bounds the offer beside permit, board and cable: temperature and load shedding."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chargerd.guard.pilot import X1
from chargerd.guard.setup import Fitted
from chargerd.protection import Protection
from tests.guard.bench import SWITCHING, USUAL, Bench, charging


def offered(bench: Bench) -> tuple[float, str]:
    bench.run(6.0)
    return bench.state.offered, bench.state.limit


@pytest.mark.parametrize(("plug", "amps"), [(75, 32), (80, 19), (84.9, 6), (85, 6), (89, 6)])
def test_the_plug_has_a_curve_of_its_own(plug: float, amps: float) -> None:
    bench = charging(amps=32.0)
    bench.plug = plug
    assert offered(bench) == (amps, "lease" if amps == 32 else "temperature")
    assert not bench.faults()


def test_the_hotter_sensor_counts() -> None:
    bench = charging(amps=32.0)
    bench.plug, bench.cabinet = 80.0, 70.0
    assert offered(bench) == (14.0, "temperature")


def test_the_current_rises_again_only_after_it_has_cooled() -> None:
    bench = charging(amps=32.0)
    bench.cabinet = 67.5
    assert offered(bench)[0] == 19.0
    seen = set()
    for turn in range(2000):
        bench.cabinet = 67.5 - 4.9 * (turn % 2)  # it flickers, or cools because it carries less
        bench.cycle()
        seen.add(bench.state.offered)
    assert seen == {19.0}
    bench.cabinet = 60.0
    assert offered(bench)[0] == 23.0  # as much as at 65 degrees
    bench.cabinet = 55.0
    assert offered(bench) == (32.0, "lease")


def test_hotter_counts_at_once() -> None:
    bench = charging(amps=32.0)
    for cabinet, amps in ((61.0, 30.0), (66.0, 21.0), (74.0, 7.0)):
        bench.cabinet = cabinet
        assert offered(bench)[0] == amps


@pytest.mark.parametrize("sensor", ["plug", "cabinet"])
def test_a_silent_sensor_costs_power_and_is_told(sensor: str) -> None:
    bench = charging(amps=32.0)
    setattr(bench, sensor, None)
    assert offered(bench) == (16.0, "temperature")
    assert bench.state.warnings == {"SensorSilent"}
    setattr(bench, sensor, 20.0)
    assert offered(bench)[0] == 32.0
    assert not bench.state.warnings


def test_one_that_is_not_fitted_costs_nothing() -> None:
    bench = charging(replace(USUAL, fitted=Fitted()), amps=32.0)
    assert offered(bench) == (32.0, "lease")
    assert not bench.state.warnings


@pytest.mark.parametrize(
    ("watts", "phases", "amps"), [(4200, 3, 6.0), (4200, 1, 18.2), (4100, 3, 0.0), (0, 3, 0.0), (22_000, 3, 31.8)]
)
def test_load_shedding_leaves_what_is_set(watts: float, phases: int, amps: float) -> None:
    bench = Bench(replace(SWITCHING, protection=Protection(shed_watts=watts)))
    bench.level = "C"
    bench.run(6.0)
    bench.permit(32.0, phases=phases)
    bench.run(6.0)
    assert bench.out.coil and bench.state.offered == 32.0
    bench.shed = True
    bench.run(0.1 if not amps else 6.0)
    assert bench.state.offered == pytest.approx(amps, abs=0.1)
    assert bench.state.limit == "shedding"
    assert (bench.out.drive == X1) is (amps == 0.0)
    assert not bench.faults()
    bench.shed = False
    bench.run(4.5)
    assert bench.state.limit == "shedding"
    bench.run(10.0)
    assert bench.state.offered == 32.0


def test_a_contact_that_chatters_sheds() -> None:
    bench = charging(amps=32.0)
    bench.run(6.0)
    for turn in range(1000):
        bench.shed = turn % 100 == 0
        bench.cycle()
        assert bench.state.limit == "shedding"
