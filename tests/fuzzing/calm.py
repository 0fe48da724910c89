"""After the storm: everybody behaves, and what must then come true comes true.

`calm_down` ends whatever still goes on and waits until nothing more is said; `serve` lets a driver charge everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from chargerd.core.events import BootStatus
from chargerd.daemon.control import BadParams, Refused
from chargerd.lab.desk import Desk
from chargerd.lab.peer import CallFailed
from chargerd.lab.site import STATION
from hal.api import DeviceError
from hal.sim.outlet import FAULTS
from tests.fuzzing.deeds import Hands, NotNow
from tests.fuzzing.plan import FRIEND, NUMBERS

ONLINE = 400.0  # s: the longest pause that a backend has asked for before the next boot, and a slow answer before it
REST = 1200.0  # s until all is told, the pauses between attempts included
POWER = 60.0  # s from the tap to the first watt
SILENCE = 8.0  # s


class Unrest(Exception):
    """What should have come true did not; the text says what is so instead."""


async def calm_down(hands: Hands) -> None:
    """Raises Unrest."""
    hands.fresh()
    await hands.csms.back()
    for outlet in range(1, len(hands.whole.world.outlets) + 1):
        for fault in FAULTS:
            await hands.whole.sim("fault", outlet=outlet, fault=fault, active=False)
        await hands.whole.sim("temperature", outlet=outlet, celsius=25.0)
        await _gone(hands, outlet)
    await _until(hands, "online", lambda: _online(hands), ONLINE)
    await _operative(hands)
    if hands.whole.config.csms.version == ("1.6",):
        await _heard(hands, lambda desk: desk.clear_profiles())
        for number in NUMBERS:
            await _heard(hands, lambda desk, n=number: desk.cancel_reservation(n))  # type: ignore[misc]
    await _until(hands, "at rest", lambda: _rests(hands), REST, lambda: _hurry(hands))
    heard = -1
    wire = hands.csms.stations[STATION].wire
    while heard != len(wire):
        heard = len(wire)
        await asyncio.sleep(SILENCE)


async def serve(hands: Hands) -> None:
    """At each outlet a driver charges and leaves. Raises Unrest."""
    for outlet in range(1, len(hands.whole.world.outlets) + 1):
        physical = hands.whole.world.outlets[outlet - 1]
        reader = "station" if hands.whole.config.readers[0].evse is None else f"evse{outlet}"
        before = physical.energy
        await hands.whole.sim("plug", outlet=outlet, ramp=100.0)
        await asyncio.sleep(3.0)
        await hands.whole.sim("tap", uid=FRIEND, reader=reader)
        await _until(hands, f"power at outlet {outlet}", lambda p=physical, b=before: p.energy > b + 1, POWER)  # type: ignore[misc]
        await asyncio.sleep(20.0)
        await hands.whole.sim("tap", uid=FRIEND, reader=reader)
        await asyncio.sleep(10.0)
        await _gone(hands, outlet)
        await asyncio.sleep(10.0)


async def _until(
    hands: Hands, what: str, so: Callable[[], bool], within: float, meanwhile: Callable[[], object] | None = None
) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not so():
        if loop.time() > end:
            raise Unrest(f"not {what} within {within:g} s: {hands.whole.picture()}, {_open(hands)}")
        if meanwhile is not None:
            await meanwhile()  # type: ignore[misc]
        await asyncio.sleep(1.0)


def _online(hands: Hands) -> bool:
    daemon, view = hands.whole.daemon, hands.csms.stations.get(STATION)
    if daemon is None or view is None or not hands.csms.connected(STATION):
        return False
    accepted = daemon.charger.state.boot.status is BootStatus.ACCEPTED and view.registration == "Accepted"
    return accepted and all(o.live.known for o in daemon.charger.state.outlets)


def _rests(hands: Hands) -> bool:
    daemon = hands.whole.daemon
    if daemon is None or daemon.charger.conversation is None or not _online(hands):
        return False
    state = daemon.charger.state
    idle = state.lobby is None and all(o.visit is None and not o.live.faults for o in state.outlets)
    idle = idle and state.storage and not daemon.charger.conversation.outbox.pending
    told = hands.csms.stations[STATION]
    return idle and all(told.status(o.site.evse, o.site.connector) == "Available" for o in state.outlets)


def _open(hands: Hands) -> list[str]:
    return [one.name for one in hands.csms.books.sessions if one.open]


async def _hurry(hands: Hands) -> None:
    """The technician clears what waits for one, and ends what goes on without a vehicle."""
    daemon = hands.whole.daemon
    if daemon is None:
        return
    try:
        await hands._clear_faults()
    except NotNow:
        return
    for outlet in daemon.charger.state.outlets:
        await _gone(hands, outlet.site.rank)
        if outlet.visit is not None and outlet.visit.held is not None:  # the owner of the cable does not come
            with contextlib.suppress(CallFailed):
                await hands.csms.desk(STATION).unlock(outlet.site.evse)
        if outlet.visit is not None and outlet.visit.tx is not None and outlet.live.known and not outlet.live.plug:
            try:
                await daemon.operator.stop(outlet.site.rank)
            except (Refused, BadParams):
                continue


async def _gone(hands: Hands, outlet: int) -> None:
    await hands.whole.sim("pilot", outlet=outlet, level=None)
    try:
        await hands.whole.sim("unplug", outlet=outlet)
    except DeviceError:
        return  # nothing is plugged in


async def _operative(hands: Hands) -> None:
    """The whole station and every EVSE."""
    for evse in range(len(hands.whole.world.outlets) + 1):
        await _heard(hands, lambda desk, n=evse: desk.change_availability(True, n))  # type: ignore[misc]


async def _heard(hands: Hands, say: Callable[[Desk], Awaitable[object]]) -> None:
    """A reset may cut it short, so it is said until it is heard."""
    for _ in range(5):
        try:
            await say(hands.csms.desk(STATION))
            break
        except CallFailed:
            await asyncio.sleep(20.0)
