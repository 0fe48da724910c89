"""The states that a session can be in at outlet 1, and the way there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.scenarios.round import Round

State = Callable[[Round], Coroutine[Any, Any, None]]


async def idle(at: Round) -> None:
    pass


async def vehicle(at: Round) -> None:
    await at.plug()


async def charging(at: Round) -> None:
    await at.charge()


async def suspended(at: Round) -> None:
    await at.charge()
    await at.whole.sim("vehicle", outlet=1, step="not_ready")
    await at.wait(10.0)


async def finished(at: Round) -> None:
    await at.charge()
    await at.tap()
    await at.wait(10.0)
