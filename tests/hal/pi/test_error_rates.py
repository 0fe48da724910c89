"""The bounds of `python -m tests.hal.pi.error_rates`: what may be wrong of bursts under each disturbance."""

from __future__ import annotations

import pytest

from tests.hal.pi.error_rates import CONDITIONS, DUTIES, Rates, measured

BURSTS = 160
WORST = {"noise 0.5 V": 0.06, "5 % stalls of 1 ms": 0.4}
"""The share of all bursts that may err where the disturbance is beyond what a board that is fit for use has."""


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("duty", DUTIES)
def test_bursts_err_within_bounds(duty: float, condition: str) -> None:
    found = measured(duty, condition, BURSTS)
    assert found.bursts == BURSTS and found.diode == 0
    allowed = WORST.get(condition, 0.0) * BURSTS
    assert found.state <= (allowed if "noise" in condition else 0), found
    assert found.duty <= allowed and found.doubt <= 0.02 * BURSTS, found


def test_the_rates_can_be_bad() -> None:
    """Noise that drowns a plateau of a few samples shows."""
    found = Rates()
    for duty in (0.05, 0.96):
        one = measured(duty, "noise 0.5 V", 400)
        found.state += one.state
    assert found.state > 0
