"""How fast a queue leaves once the backend is there again: printed, never judged.

The charger is a process of its own, over a real websocket, with its database on the disk of the folder; the backend, in
this process, answers at once. The queue is that of a session that charged with a sample every second while offline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chargerd.lab.apart import call
from chargerd.lab.peer import Frame, Peer, StationView
from tests.benching.rig import CARD, Rig, rig, said

LENGTH = 30  # samples, one a second
TRIES = 2
TOLD = ("StartTransaction", "MeterValues", "StopTransaction", "TransactionEvent")


async def rates(folder: Path, versions: Sequence[str]) -> str:
    """A line for each version and try."""
    lines = [f"{'OCPP':6} {'queued':>6} {'first':>9} {'all':>9} {'rate':>11}"]
    for version in versions:
        (folder / version).mkdir()
        async with rig(folder / version, version) as bench:
            for _ in range(TRIES):
                lines.append(await _one(bench, folder / version))
    return "\n".join(lines)


async def _one(bench: Rig, folder: Path) -> str:
    async with bench.charging_station(interval=1):
        card = bench.wire.next(said("Authorize"))
        await bench.sim("plug", outlet=1, ramp=100.0)
        await asyncio.sleep(0.5)
        await bench.sim("tap", uid=CARD)
        await card
        await bench.until("contactor", True)
        await bench.csms.away()
        await asyncio.sleep(LENGTH)
        await bench.sim("unplug", outlet=1)
        await asyncio.sleep(1.0)
        waiting = (await bench.ask("status"))["queue"]["waiting"]
        heard: list[float] = []
        opened: list[float] = []

        def hear(_: StationView, frame: Frame) -> None:
            if (frame.direction, frame.kind) == ("<", "call") and frame.action in TOLD:
                heard.append(time.monotonic())

        def attach(*arguments: Any) -> Peer:
            opened.append(time.monotonic())
            return real(*arguments)

        real = bench.csms.attach
        vars(bench.csms)["attach"] = attach
        bench.csms.watchers.append(hear)
        await bench.csms.back()
        await call(folder / "control.sock", "link.force", {"up": True})
        while (await bench.ask("status"))["queue"]["waiting"]:  # noqa: ASYNC110 - a process of its own has no event
            await asyncio.sleep(0.05)
        bench.csms.watchers.remove(hear)
        del vars(bench.csms)["attach"]
    first, took = heard[0] - opened[-1], heard[-1] - heard[0]
    return f"{bench.version:6} {waiting:6} {first * 1e3:6.1f} ms {took * 1e3:6.0f} ms {(len(heard) - 1) / took:8.0f} /s"
