"""Weeks without the backend, and then all of it told: a whole charger in virtual time, judged by the operator's books.

Drivers come and go at two outlets; each session starts, is sampled and ends offline, enough of them that the queue is
thinned. The hours in which nobody comes are left out: the wall clock alone passes over them. When the backend is back,
everything must arrive in order, once, with its registers end to end.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from chargerd.lab.csms import Csms
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.peer import Frame, StationView
from chargerd.lab.roaming import Token
from chargerd.lab.whole import EPOCH, Whole
from tests.crashing.judge import gather, judge_books

OUTLETS = 2
CARDS = ("04A1B2C3", "04D4E5F6")
DAY = 86_400.0
SESSION = 84.0  # s of energy
SETTINGS = """
[ocpp16]
MeterValueSampleInterval = 2
AllowOfflineTxForUnknownId = true
[ocpp2]
"SampledDataCtrlr.TxUpdatedInterval" = 2
"AuthCtrlr.OfflineTxForUnknownIdEnabled" = true
"""
QUIET = 60.0  # s without a message, after which nothing more is waited for


@dataclass(frozen=True, slots=True)
class Report:
    """`lived` and `told`: (virtual, real) seconds of the weeks and of the delivery; sizes in bytes."""

    version: str
    sessions: int
    queued: int
    delivered: int
    database: int
    log: int
    lived: tuple[float, float]
    told: tuple[float, float]
    complaints: tuple[str, ...]


def spend(version: str, days: int, a_day: int, folder: Path, seed: int = 1) -> Report:
    """Live `days` offline days with `a_day` sessions each, come back, and judge."""
    return run(VirtualLoop(1000.0), _Month(version, folder, seed).live(days, a_day))


class _Month:
    def __init__(self, version: str, folder: Path, seed: int) -> None:
        self._version, self._folder, self._seed = version, folder, seed
        self._chance = random.Random(seed)
        self._nights = 0.0
        self._heard = 0
        self._last = (0.0, 0.0)

    def _wall(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self._nights

    def _now(self) -> tuple[float, float]:
        return asyncio.get_running_loop().time(), time.monotonic()

    def _hear(self, station: StationView, frame: Frame) -> None:
        if (frame.direction, frame.kind) == ("<", "call") and frame.action not in ("StatusNotification", "Heartbeat"):
            self._heard += 1
            self._last = self._now()

    async def live(self, days: int, a_day: int) -> Report:
        csms = Csms(clock=self._wall)
        csms.tokens = {card: Token() for card in CARDS}
        csms.watchers.append(self._hear)
        whole = Whole(
            self._folder, csms=csms, version=self._version, outlets=OUTLETS, settings=SETTINGS, seed=self._seed
        )
        whole.wall = self._wall
        await whole.start()
        await whole.until(lambda: any(view.registration == "Accepted" for view in csms.stations.values()))
        await asyncio.sleep(5.0)
        await csms.away()
        began = self._now()
        for _ in range(days):
            await asyncio.gather(*(self._day(whole, outlet, a_day // OUTLETS) for outlet in range(1, OUTLETS + 1)))
            self._nights += DAY - (self._wall() - EPOCH) % DAY
        lived = _since(began, self._now())
        assert whole.daemon is not None and whole.daemon.charger.conversation is not None
        outbox = whole.daemon.charger.conversation.outbox
        queued, sizes = (
            outbox.count,
            [(self._folder / name).stat().st_size for name in ("chargerd.db", "chargerd.db-wal")],
        )
        self._heard, self._last = 0, self._now()
        came_back = self._now()
        await csms.back()
        await self._silence()
        told = _since(came_back, self._last)
        state = await whole.sim("state")
        await whole.stop()
        evidence = gather(csms, state, {"outlets": []}, self._folder / "chargerd.db")
        found = judge_books(evidence, thinned=True)
        if len(csms.books.sessions) != days * a_day:
            found.append(f"{len(csms.books.sessions)} sessions in the books, {days * a_day} were charged")
        return Report(self._version, days * a_day, queued, self._heard, sizes[0], sizes[1], lived, told, tuple(found))

    async def _silence(self) -> None:
        heard = -1
        while heard != self._heard:
            heard = self._heard
            await asyncio.sleep(QUIET)

    async def _day(self, whole: Whole, outlet: int, sessions: int) -> None:
        for _ in range(sessions):
            await asyncio.sleep(1.0 + self._chance.random() * 4.0)
            await whole.plug(outlet, ramp=100.0)
            await asyncio.sleep(1.0)
            await whole.tap(CARDS[outlet - 1])
            await asyncio.sleep(SESSION)
            await whole.unplug(outlet)
            await asyncio.sleep(3.0)


def _since(began: tuple[float, float], ended: tuple[float, float]) -> tuple[float, float]:
    return ended[0] - began[0], ended[1] - began[1]
