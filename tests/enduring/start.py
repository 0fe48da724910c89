"""The service as a process of its own, started with a long queue: how soon it is ready, and what it weighs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargerd.core.moment import Moment
from chargerd.daemon.store import Batch, Store
from chargerd.lab.peer import Frame, StationView
from chargerd.lab.whole import EPOCH
from chargerd.ocpp.outbox import START, Changes, Row
from tests.benching.measures import memory_of
from tests.benching.rig import Rig, rig

EACH = 42  # rows of a session
SETTLED = 3.0  # s after which its memory is looked at
AT = Moment(0.0, EPOCH, True, 1)


@dataclass(frozen=True, slots=True)
class Report:
    """Seconds to READY; MiB resident; bytes of the database; messages a second over a real websocket."""

    queued: int
    ready: float
    resident: float
    database: int
    rate: float


async def start(folder: Path, queued: int, seconds: float) -> Report:
    """Start with `queued` messages and no backend; then let it come and count for `seconds` what arrives."""
    async with rig(folder, "1.6") as made:
        made.fresh()
        database = made.state / "chargerd.db"
        _fill(database, queued)
        await made.csms.away()
        await made.start_guard().ready()
        daemon = made.start_daemon()
        ready = await daemon.ready()
        await asyncio.sleep(SETTLED)
        resident = memory_of(daemon).resident
        rate = await _rate(made, seconds)
        return Report(queued, ready, resident, database.stat().st_size, rate)


async def _rate(made: Rig, seconds: float) -> float:
    if not seconds:
        return 0.0
    first = made.wire.next(lambda frame: frame.action in ("StartTransaction", "MeterValues"))
    await made.csms.back()
    await first
    heard = 0

    def hear(station: StationView, frame: Frame) -> None:
        nonlocal heard
        heard += (frame.direction, frame.kind) == ("<", "call")

    made.csms.watchers.append(hear)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    return heard / (asyncio.get_running_loop().time() - began)


def _fill(database: Path, count: int) -> None:
    store = Store.open(database, inline=True)
    loaded = store.load(AT.mono, AT.wall, True)
    rows = list(_rows(loaded.next_row, count))
    fold: dict[str, Any] = {
        f"fold/{row.tx}": {"id": None, "kept": [], "seen": 0, "every": 1} for row in rows if row.kind == START
    }
    store.commit_now(Batch({"dialect": "1.6", **fold}, Changes(put=tuple(rows))))
    store.close()


def _rows(first: int, count: int) -> Iterator[Row]:
    for n in range(count):
        session, place = divmod(n, EACH)
        kind, facts = _said(session, place)
        at = Moment(n * 60.0, EPOCH + n * 60.0, True, 1)
        yield Row(first + n, "transactions", f"tx-{session}", kind, facts, at, offline=True, thin=kind == "meter")


def _said(session: int, place: int) -> tuple[str, dict[str, Any]]:
    wh = (session * EACH + place) * 184
    token = {"token": {"id": "04A1B2C3", "kind": "ISO14443"}}
    if place == 0:
        return START, {"connectorId": 1, "meterStart": wh, **token}
    if place == EACH - 1:
        return "stop", {"meterStop": wh, "reason": "EVDisconnected"}
    register = {"measurand": "Energy.Active.Import.Register", "unit": "Wh", "context": "Sample.Periodic"}
    return "meter", {"connectorId": 1, "sampledValue": [{"value": f"{wh}.0", **register}]}
