from __future__ import annotations

from typing import Any

import pytest

from chargerd.guard.setup import GuardSetup, OutletSetup


@pytest.mark.parametrize(
    ("field", "value"),
    [("evse", 0), ("amps", 5.9), ("amps", 81), ("phases", 4), ("wake_after", 5), ("derate_from", 61),
     ("derate_to", 64), ("derate_to", 76), ("stop_at", 81), ("stop_at", 70), ("amps", float("nan")), ("wake_up", "e")],
)  # fmt: skip
def test_nothing_beyond_the_standard(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        OutletSetup(**{"evse": 1, field: value})


def test_a_guard_has_an_outlet() -> None:
    with pytest.raises(ValueError, match="outlets"):
        GuardSetup(())
