"""Every measure once, as small as it gets: that it still can be measured, never how much it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.benching import guarding
from tests.benching.catalogue import MEASURES
from tests.benching.figures import Figure, Peer, as_json, table
from tests.benching.measures import Plan
from tests.benching.rig import rig

TINY = Plan(runs=1, window=0.2, windows=1, samples=2)


@pytest.mark.parametrize(("version", "name"), [*(("1.6", name) for name in MEASURES), ("2.0.1", "config")])
async def test_measure(version: str, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        async with rig(Path(folder), version) as world:
            figures = await MEASURES[name](world, TINY)
            assert world.csms.violations() == []
    assert figures
    for figure in figures:
        assert figure.samples, figure.name
        assert all(sample >= 0 for sample in figure.samples), figure.name


async def test_the_guard_on_pins_and_bursts() -> None:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        async with rig(Path(folder), "1.6") as world:
            figures = await guarding.run(guarding.Case("pi", "nothing beside", None), world, 200)
    seen = {figure.name: figure.samples for figure in figures}
    assert len(seen["turn begins late"]) == 200
    assert seen["burst that leaves C → contactor's pin"], "it never charged, or never stopped"


def test_quantiles_are_values_that_were_measured() -> None:
    figure = Figure("x", "ms", tuple(float(n) for n in range(100, 0, -1)))
    assert [figure.quantile(share) for share in (0.0, 0.5, 0.9, 0.99, 1.0)] == [1, 50, 90, 99, 100]


def test_the_table_compares_only_what_was_taken_alike() -> None:
    figure = Figure("start", "ms", (20.0,), aim=10.0, peers=(Peer("calm", 40.0), Peer("pressed", 10.0, "busy")))
    quiet, busy = table("quiet", [figure]), table("busy", [figure])
    assert "calm × 0.500" in quiet and "pressed" not in quiet
    assert "pressed × 2.00" in busy and "calm" not in busy
    assert "p50 ≤ 10.0, over" in quiet
    assert as_json("busy", [figure])[0]["ratios"] == {"pressed": 2.0}
