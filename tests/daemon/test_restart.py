"""The daemon dies and returns, and the car does not notice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chargerd.guard.lease import Permit, decode
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import Whole


def test_a_daemon_that_returns_takes_nothing_back(tmp_path: Path) -> None:
    run(VirtualLoop(), _return_while_charging(tmp_path))


async def _return_while_charging(folder: Path) -> None:
    whole = Whole(folder, mode="free")
    await whole.start()
    await whole.plug()
    outlet = whole.world.outlets[0]
    await whole.until(lambda: outlet.closed)
    await whole.kill_daemon()
    await asyncio.sleep(5.0)
    assert whole.guard is not None
    permits: list[float] = []
    hear = whole.guard.hear

    def listen(raw: bytes, now: float) -> None:
        word = decode(raw)
        if isinstance(word, Permit):
            permits.append(word.amps)
        hear(raw, now)

    whole.guard.hear = listen  # type: ignore[method-assign]
    await whole.start_daemon()
    await asyncio.sleep(5.0)
    assert set(permits) == {32.0}
    assert (outlet.closed, outlet.audit.closed) == (True, 1)
    await whole.stop()
