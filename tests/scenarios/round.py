"""A whole charger and its backend on virtual time, for corners that are told as a person would see them.

A story is `async def story(at: Round)`; `play` runs it and then lets the judge speak: no frame broke the protocol's
rules, and the books agree. Card numbers that the backend knows are ANN and BOB.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.state import Station
from chargerd.lab.csms import Boot, Csms
from chargerd.lab.desk import Desk
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.peer import Payload, StationView
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION
from chargerd.lab.whole import EPOCH, Whole

ANN, BOB = "04A1B2C3", "04D4E5F6"
VERSIONS = ("1.6", "2.0.1", "2.1")
each_version = pytest.mark.parametrize("version", VERSIONS)
SPACE = 0.5  # s between two deeds of a person


class Disk:
    """`gate` of a store whose disk takes nothing while it is `broken`."""

    def __init__(self) -> None:
        self.broken = False

    def gate(self, point: str) -> None:
        if self.broken and point == "before-commit":
            raise sqlite3.OperationalError("attempt to write a readonly database")


class Round:
    """`view` is what the backend knows, `desk` its operator; `old` in OCPP 1.6."""

    def __init__(self, whole: Whole, csms: Csms, version: str) -> None:
        self.whole, self.csms, self.version = whole, csms, version
        self.old = version == "1.6"
        self.excused: tuple[str, ...] = ()  # violations that the story provokes: parts of their text

    @property
    def view(self) -> StationView:
        return self.csms.stations[STATION]

    @property
    def desk(self) -> Desk:
        return self.csms.desk(STATION)

    @property
    def state(self) -> Station:
        assert self.whole.daemon is not None
        return self.whole.daemon.charger.state

    # ---- what is done

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, what: Callable[[], bool], within: float = 60.0) -> None:
        await self.whole.until(what, within)

    async def plug(self, outlet: int = 1, **vehicle: Any) -> None:
        await self.whole.plug(outlet, **vehicle)
        await asyncio.sleep(SPACE)

    async def tap(self, card: str = ANN) -> None:
        await self.whole.tap(card)
        await asyncio.sleep(SPACE)

    async def charge(self, outlet: int = 1, card: str = ANN) -> None:
        """Cable first, then the card, and energy flows for a while."""
        await self.plug(outlet)
        await self.tap(card)
        await self.until(lambda: self.whole.world.outlets[outlet - 1].closed)
        await asyncio.sleep(10.0)

    async def fault(self, name: str, active: bool = True, outlet: int = 1) -> None:
        await self.whole.sim("fault", outlet=outlet, fault=name, active=active)

    async def ask(self, action: str, **payload: Any) -> Payload:
        """A request of the backend; the station's answer."""
        return await self.csms.call(STATION, action, payload)

    async def accepted(self) -> None:
        """Connected, booted, and every status told."""
        await self.until(
            lambda: self.csms.connected(STATION) and self.view.registration == "Accepted" and bool(self.view.statuses)
        )
        await asyncio.sleep(1.0)

    async def cut(self, seconds: float = 5.0) -> None:
        """The mains go for a while; back again, everything boots."""
        await self.whole.power_cut()
        await asyncio.sleep(seconds)
        await self.whole.start()

    async def crash(self, seconds: float = 2.0) -> None:
        """The daemon dies, the guard goes on, the daemon returns."""
        await self.whole.kill_daemon()
        await asyncio.sleep(seconds)
        await self.whole.start_daemon()

    async def restarted(self) -> int:
        """Wait until the daemon asks to be started again, and do as its supervisor does; the exit code."""
        assert self.whole.daemon is not None
        code = await asyncio.wait_for(self.whole.daemon.exit, 120.0)
        if code == 65:  # a hard reset takes the computer down
            await self.whole.stop_daemon()
            await self.cut()
        else:
            await self.whole.stop_daemon()
            await self.whole.start_daemon()
        await self.until(lambda: self.csms.connected(STATION))
        await asyncio.sleep(1.0)
        return code

    # ---- what the backend was told

    def heard(self, action: str) -> list[Payload]:
        """Payloads of all calls of this action."""
        return self.view.calls(action)

    def statuses(self, outlet: int = 1) -> list[str]:
        """Every status told of one connector; each outlet is an EVSE of its own."""
        return [told.status for told in self.view.status_history if told.place == (outlet, 1)]

    def status(self, outlet: int = 1) -> str | None:
        return self.view.status(outlet)

    def ends(self) -> list[tuple[str | None, str | None]]:
        """(reason, trigger reason) of each transaction's end; 1.6 has no trigger reason."""
        if self.old:
            return [(stop.get("reason"), None) for stop in self.heard("StopTransaction")]
        return [
            (event["transactionInfo"].get("stoppedReason"), event["triggerReason"])
            for event in self.heard("TransactionEvent")
            if event["eventType"] == "Ended"
        ]

    def starts(self) -> int:
        if self.old:
            return len(self.heard("StartTransaction"))
        return sum(event["eventType"] == "Started" for event in self.heard("TransactionEvent"))

    def events(self) -> list[tuple[str, str]]:
        """(techCode, actualValue) of every NotifyEvent of 2.x."""
        return [
            (data["techCode"], data["actualValue"])
            for notice in self.heard("NotifyEvent")
            for data in notice["eventData"]
        ]

    def clear(self) -> None:
        """Forget the statuses that were told so far."""
        self.view.status_history.clear()


Story = Callable[[Round], Awaitable[None]]


def play(
    story: Story,
    folder: Path,
    version: str,
    *,
    over: bool = True,
    boot: Boot | None = None,
    settings: str = "",
    **options: Any,
) -> None:
    """Tell the story of a charger that has booted; `boot`: the backend's answer, and nothing is waited for.

    `over`: every transaction must have ended in the books.
    """

    async def tell() -> None:
        loop = asyncio.get_running_loop()
        csms = Csms(clock=lambda: EPOCH + loop.time())
        csms.tokens = {card: Token() for card in (ANN, BOB)}
        whole = Whole(folder, csms=csms, version=version, settings=settings, **options)
        at = Round(whole, csms, version)
        if boot is not None:
            csms.boot = boot
        await whole.start()
        if boot is None:
            await at.accepted()
            at.clear()
        async with asyncio.timeout(100_000.0):
            await story(at)
        await asyncio.sleep(1.0)
        bad = [v for v in csms.violations() if not any(part in v for part in at.excused)]
        assert bad == []
        assert csms.books.judge(over=over) == []
        await whole.stop()

    run(VirtualLoop(1000.0), tell())
