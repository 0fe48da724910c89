"""What drivers do while the charger dies under their hands: complete sessions, told from outside.

A story touches what a person or an operator could touch: the world (`sim.*`) and the backend. Drivers do what drivers
do when nothing happens: they tap again after a while; and whoever wants to leave pulls the plug in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chargerd.lab import limits
from chargerd.lab.csms import Csms
from chargerd.lab.desk import Desk
from chargerd.lab.peer import CallFailed

TOKENS = ("04A1B2C3", "04D4E5F6")
LOOK = 0.2  # s between two looks at the world
PATIENCE = 12.0  # s a driver waits for power, the time of a restart included
TRIES = 6
LIMIT = 10.0  # A
REST = 60.0  # s until everything must be told
SILENCE = 2.0  # s with nothing more to say
SETTINGS = "[ocpp16]\nMeterValueSampleInterval = 2\nAllowOfflineTxForUnknownId = true\n"


class Broken(Exception):
    """The story could not be told to its end: the text says what never happened."""


class Sim(Protocol):
    def __call__(self, method: str, **params: Any) -> Awaitable[Any]: ...


def _impossible(*_: object) -> None:
    raise Broken("only the simulation can do this")


@dataclass(slots=True)
class Scene:
    """`phase` is where the story is, for those who count (`where`). What only the simulation can do: `disk` (does it
    take what it is given?) and `clock` (is its time known?)."""

    sim: Sim
    csms: Csms
    station: str
    phase: str = "boot"
    disk: Callable[[bool], None] = _impossible
    clock: Callable[[bool], None] = _impossible

    @property
    def where(self) -> str:
        return f"{self.phase}, offline" if self.csms.absent else self.phase

    # ---- what can be seen

    async def outlet(self, outlet: int) -> Mapping[str, Any]:
        state = await self.sim("state")
        seen: Mapping[str, Any] = state["outlets"][outlet - 1]
        return seen

    async def until(self, what: Callable[[], Awaitable[bool]], within: float) -> bool:
        """Did it become so?"""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while not await what():
            if loop.time() >= end:
                return False
            await asyncio.sleep(LOOK)
        return True

    async def accepted(self) -> bool:
        """The station is connected, and the backend knows it."""
        view = self.csms.stations.get(self.station)
        return view is not None and view.registration == "Accepted" and self.csms.connected(self.station)

    async def at_rest(self) -> None:
        """Wait until every car has left, every session has ended and nothing more is being said; raises Broken."""

        async def quiet() -> bool:
            outlets = (await self.sim("state"))["outlets"]
            left = not any(one["plugged"] or one["cable_amps"] for one in outlets)
            return left and await self.accepted() and not any(one.open for one in self.csms.books.sessions)

        async def silent() -> bool:
            heard = len(wire)
            await asyncio.sleep(SILENCE)
            return heard == len(wire) and await quiet()

        self.phase = "rest"
        wire = self.csms.stations[self.station].wire
        if not await self.until(silent, REST):
            raise Broken(f"no rest within {REST:g} s: {(await self.sim('state'))['outlets']}")

    # ---- what can be done

    async def tap(self, token: str) -> None:
        await self.sim("tap", uid=token)

    async def plug(self, outlet: int) -> None:
        await self.sim("plug", outlet=outlet, ramp=100.0)

    async def start_by_app(self, outlet: int, token: str) -> None:
        """Whether it is heard or not."""
        with contextlib.suppress(CallFailed):
            await self.desk.remote_start(token, outlet)

    async def draws(self, outlet: int) -> bool:
        return bool((await self.outlet(outlet))["watts"] > 0)

    async def charge(self, outlet: int, again: Callable[[], Awaitable[None]], seconds: float = 4.0) -> None:
        """Wait for power, asking for it `again` where none comes, and take it for a while; raises Broken."""
        for attempt in range(TRIES):
            if attempt:
                await again()
            if await self.until(lambda: self.draws(outlet), PATIENCE):
                self.phase = "charging"
                await asyncio.sleep(seconds)
                return
        raise Broken(f"outlet {outlet}: no power after {TRIES} tries: {await self.outlet(outlet)}")

    async def limit(self) -> bool:
        """Ask until the station has accepted a limit for all that charges; False in 2.x, where there is none yet."""
        place, profile = limits.profile(["0", "default", f"{LIMIT:g}A"], self.csms.clock())
        for _ in range(TRIES):
            await self.until(self.accepted, PATIENCE)
            if self.csms.stations[self.station].version != "ocpp1.6":
                return False
            with contextlib.suppress(CallFailed):
                if await self.desk.set_profile(place, profile) == "Accepted":
                    return True
        raise Broken(f"no limit was accepted in {TRIES} tries")

    async def stop_by_card(self, outlet: int, token: str) -> None:
        self.phase = "stop"
        if await self.draws(outlet):
            await self.tap(token)

            async def off() -> bool:
                return not (await self.outlet(outlet))["contactor"]

            await self.until(off, PATIENCE)
            await asyncio.sleep(0.5)

    async def leave(self, outlet: int) -> None:
        self.phase = "leave"
        await self.sim("unplug", outlet=outlet)

    async def come_back(self) -> None:
        self.phase = "reconnect"
        await self.csms.back()
        await self.until(self.accepted, PATIENCE)

    @property
    def desk(self) -> Desk:
        return self.csms.desk(self.station)


async def card_first(scene: Scene) -> None:
    """Card, cable, energy, card, gone."""
    scene.phase = "start"
    await scene.tap(TOKENS[0])
    await asyncio.sleep(0.5)
    await scene.plug(1)
    await scene.charge(1, lambda: scene.tap(TOKENS[0]))
    await scene.stop_by_card(1, TOKENS[0])
    await scene.leave(1)


async def cable_first(scene: Scene) -> None:
    """Cable, card, energy; the driver simply pulls the plug."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]))
    await scene.leave(1)


async def remote(scene: Scene) -> None:
    """The app starts and stops it; where that fails, it asks again."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.start_by_app(1, TOKENS[0])
    await scene.charge(1, lambda: scene.start_by_app(1, TOKENS[0]))
    scene.phase = "stop"
    running = [one.transaction for one in scene.csms.books.sessions if one.open]
    with contextlib.suppress(CallFailed):
        if running:
            await scene.desk.remote_stop(running[-1])
        await asyncio.sleep(2.0)
    await scene.leave(1)


async def offline(scene: Scene) -> None:
    """The backend is away for a whole session, and hears of it afterwards."""
    scene.phase = "start"
    await scene.csms.away()
    await scene.tap(TOKENS[0])
    await asyncio.sleep(0.5)
    await scene.plug(1)
    await scene.charge(1, lambda: scene.tap(TOKENS[0]))
    await scene.stop_by_card(1, TOKENS[0])
    await scene.leave(1)
    await asyncio.sleep(1.0)
    await scene.come_back()


async def broken_link(scene: Scene) -> None:
    """The link breaks while energy flows, and comes back before the end."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 2.5)
    await scene.csms.away()
    await asyncio.sleep(3.0)
    await scene.come_back()
    await asyncio.sleep(1.0)
    await scene.stop_by_card(1, TOKENS[0])
    await scene.leave(1)


async def two(scene: Scene) -> None:
    """Two outlets at once: the second driver comes with an app while the first one charges."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 1.0)
    scene.phase = "start"
    await scene.plug(2)
    await asyncio.sleep(0.5)
    await scene.start_by_app(2, TOKENS[1])
    await scene.charge(2, lambda: scene.start_by_app(2, TOKENS[1]), 2.0)
    await scene.stop_by_card(1, TOKENS[0])
    await scene.leave(1)
    await scene.leave(2)


async def reset(scene: Scene) -> None:
    """The operator resets the station while energy flows; the driver finds it ended and leaves."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 2.5)
    scene.phase = "reset"
    with contextlib.suppress(CallFailed):
        await scene.desk.reset()
    await asyncio.sleep(4.0)
    await scene.leave(1)


async def fault(scene: Scene) -> None:
    """Earth leakage while energy flows; the driver pulls the plug, and tries again."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 2.5)
    scene.phase = "fault"
    await scene.sim("fault", outlet=1, fault="residual-trip", active=True)
    await asyncio.sleep(2.0)
    await scene.sim("fault", outlet=1, fault="residual-trip", active=False)
    await scene.leave(1)
    await asyncio.sleep(2.0)
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 1.0)
    await scene.leave(1)


async def queue(scene: Scene) -> None:
    """The backend is away for three sessions at two outlets, the second of them interrupted by another card's wait."""
    scene.phase = "start"
    await scene.csms.away()
    for outlet, token in ((1, TOKENS[0]), (2, TOKENS[1]), (1, TOKENS[1])):
        scene.phase = "start"
        await scene.plug(outlet)
        await asyncio.sleep(0.5)
        await scene.tap(token)
        await scene.charge(outlet, lambda token=token: scene.tap(token), 2.0)  # type: ignore[misc]
        await scene.stop_by_card(outlet, token)
        await scene.leave(outlet)
        await asyncio.sleep(1.5)
    await scene.come_back()


async def unknown_time(scene: Scene) -> None:
    """Neither NTP nor backend say what time it is, until a session is over."""
    scene.clock(False)
    await scene.csms.away()
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 2.5)
    await scene.stop_by_card(1, TOKENS[0])
    await scene.leave(1)
    await asyncio.sleep(1.0)
    await scene.come_back()
    await scene.plug(2)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[1])
    await scene.charge(2, lambda: scene.tap(TOKENS[1]), 1.0)
    await scene.leave(2)


async def bad_disk(scene: Scene) -> None:
    """The disk takes nothing while energy flows, at the end, or both."""
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]), 2.5)
    scene.phase = "disk fails"
    scene.disk(False)
    await asyncio.sleep(3.0)
    await scene.leave(1)
    scene.phase = "disk fails"
    await asyncio.sleep(2.0)
    scene.disk(True)
    scene.phase = "disk works"
    await asyncio.sleep(8.0)


async def limited(scene: Scene) -> None:
    """A limit that was accepted holds whatever dies afterwards (1.6 §5.16)."""
    scene.phase = "limit"
    promised = await scene.limit()
    scene.phase = "start"
    await scene.plug(1)
    await asyncio.sleep(0.5)
    await scene.tap(TOKENS[0])
    await scene.charge(1, lambda: scene.tap(TOKENS[0]))
    drawn = max((await scene.outlet(1))["amps"])
    if promised and drawn > LIMIT + 0.1:
        raise Broken(f"a limit of {LIMIT:g} A was accepted, and the vehicle draws {drawn:.1f} A")
    await scene.leave(1)


@dataclass(frozen=True, slots=True)
class Story:
    """`cars`: how many are plugged in, each charged once while nothing is cut. `settings`: of the station, in TOML.

    `simulated`: only the simulation can tell it; `expects`: errors in the log that belong to it begin so.
    """

    tell: Callable[[Scene], Awaitable[None]]
    cars: int = 1
    settings: str = ""
    simulated: bool = False
    expects: tuple[str, ...] = ()


RESUME = '[ocpp2]\n"TxCtrlr.ResumptionTimeout" = 600\n'
STORIES = {
    "card first": Story(card_first),
    "cable first": Story(cable_first),
    "remote": Story(remote),
    "offline": Story(offline),
    "broken link": Story(broken_link),
    "two outlets": Story(two, cars=2),
    "reset": Story(reset),
    "fault": Story(fault, cars=2),
    "queue": Story(queue, cars=3),
    "limited": Story(limited),
    "resumed": Story(broken_link, settings=RESUME, simulated=True),
    "unknown time": Story(unknown_time, cars=2, simulated=True),
    "bad disk": Story(bad_disk, simulated=True, expects=("storage: ",)),
}
OUTLETS = 2
