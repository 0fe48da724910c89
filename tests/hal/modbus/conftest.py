"""A line with meters at its end, put away after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.hal.modbus.peer import Line, Meter


@pytest.fixture
async def lines() -> AsyncIterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(*meters: Meter) -> Line:
        made.append(Line(*meters))
        return made[-1]

    yield make
    for line in made:
        line.unplug()
