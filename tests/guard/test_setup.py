from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from chargerd.config_schema import ProtectionConfig
from chargerd.guard.setup import GuardSetup, OutletSetup
from chargerd.protection import BOUNDS, USUAL, Protection


@pytest.mark.parametrize(
    ("field", "value"),
    [("evse", 0), ("amps", 5.9), ("amps", 81), ("phases", 4), ("amps", float("nan")), ("wake_up", "e")],
)  # fmt: skip
def test_nothing_beyond_the_standard(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        OutletSetup(**{"evse": 1, field: value})


@pytest.mark.parametrize("field", BOUNDS)
def test_nothing_beyond_the_safe_bounds(field: str) -> None:
    low, high = BOUNDS[field]
    change: dict[str, Any]
    assert low <= getattr(USUAL, field) <= high
    for value in (low - 1, high + 1, float("nan")):
        with pytest.raises(ValueError, match=field):
            change = {field: value}
            replace(USUAL, **change)
    for bound in (low, high):
        change = {field: bound}
        replace(USUAL, **change)


def test_a_guard_has_an_outlet() -> None:
    with pytest.raises(ValueError, match="outlets"):
        GuardSetup(())


def test_the_configuration_says_all_of_it_in_the_same_words() -> None:
    config = ProtectionConfig()
    assert asdict(config) == asdict(USUAL)
    assert Protection(**asdict(config)) == USUAL
