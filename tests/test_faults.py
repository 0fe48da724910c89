"""The table of faults: whole, short enough to be read on a screen, and the same in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd import faults
from chargerd.core.faults import OWN
from chargerd.core.status import ENDING_FAULTS
from chargerd.faults import FAULTS, GUARD, STATION, Clears
from chargerd.guard.checks import CHECKS
from chargerd.guard.lease import DAEMON_LOST, MISMATCH
from hal.lamps import LAMPS


def test_the_documentation_is_the_table() -> None:
    written = Path(__file__).parents[1] / "hardware" / "faults.md"
    assert written.read_text().splitlines() == list(faults.table()), f"python -m chargerd.faults > {written.name}"


def test_every_fault_has_a_check_and_every_check_a_fault_in_the_same_order() -> None:
    assert list(CHECKS) == list(GUARD)
    assert not set(GUARD) & set(STATION)
    assert {*OWN, *ENDING_FAULTS, DAEMON_LOST, MISMATCH} <= set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_each_is_told_in_a_line_or_two(name: str) -> None:
    fault = FAULTS[name]
    assert fault.lamp in LAMPS
    assert len(fault.meaning) <= 80 and len(fault.remedy) <= 110
    assert not fault.latched or fault.clears in (Clears.TECHNICIAN, Clears.NEVER)
    assert (name in faults.explain(name, 2)) is (fault.clears is Clears.TECHNICIAN)
    assert "|" not in fault.meaning + fault.remedy
