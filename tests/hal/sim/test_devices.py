"""Meter and card reader of the daemon, on a world in this process and behind a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hal.api import Card, DeviceError
from hal.sim.cards import SimReader, open_reader
from hal.sim.client import Far, Near, Way
from hal.sim.dispatch import dispatch
from hal.sim.meter import SimMeter, open_meter
from hal.sim.outlet import SimOutlet
from hal.sim.serve import serving
from hal.sim.world import World


class Place:
    def __init__(self, world: World, path: str | None) -> None:
        self.world, self.path = world, path
        self._ways: list[Way] = []

    def way(self) -> Way:
        self._ways.append(Near(self.world) if self.path is None else Far(self.path))
        return self._ways[-1]

    async def leave(self) -> None:
        for way in self._ways:
            await way.close()


@pytest.fixture(params=["near", "far"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    world = World([SimOutlet(), SimOutlet()], asyncio.get_running_loop().time)
    if request.param == "near":
        yield Place(world, None)
        return
    async with serving(world, str(tmp_path / "world.sock")):
        place = Place(world, str(tmp_path / "world.sock"))
        yield place
        await place.leave()


async def test_a_reading_has_everything(place: Place) -> None:
    dispatch(place.world, "sim.meter", {"outlet": 2, "energy": 1234.5})
    reading = await SimMeter(place.way(), 2).read()
    assert (reading.energy, reading.power, reading.frequency, reading.export) == (1234.5, 0, 50, 0)
    assert reading.amps == (0, 0, 0) and reading.volts == (230, 230, 230)
    assert reading.at == pytest.approx(asyncio.get_running_loop().time(), abs=1)


async def test_a_silent_meter_is_an_error_and_answers_again_when_it_can(place: Place) -> None:
    meter = SimMeter(place.way(), 1)
    dispatch(place.world, "sim.meter", {"outlet": 1, "silent": True})
    with pytest.raises(DeviceError, match="meter of outlet 1 does not answer"):
        await meter.read()
    dispatch(place.world, "sim.meter", {"outlet": 1, "silent": False})
    assert (await meter.read()).energy == 0


async def test_a_meter_of_no_outlet_is_an_error(place: Place) -> None:
    with pytest.raises(DeviceError, match=r"outlet: must be a whole number 1\.\.2"):
        await SimMeter(place.way(), 9).read()


async def test_what_the_world_refuses_is_an_error_with_its_words(place: Place) -> None:
    way = place.way()
    with pytest.raises(DeviceError, match="nothing is plugged in here"):
        await way.call("sim.unplug", {"outlet": 1})
    with pytest.raises(DeviceError, match=r"sim\.fly: unknown method"):
        await way.call("sim.fly", {})
    assert await way.call("sim.plug", {"outlet": 1}) == {}


async def test_each_tap_comes_once_and_in_order(place: Place) -> None:
    reader = SimReader(place.way(), "evse2")
    waiting = asyncio.create_task(reader.next())
    await asyncio.sleep(0.02)
    for uid in ("04A1B2C3", "04FFFFFF"):
        dispatch(place.world, "sim.tap", {"uid": uid, "reader": "evse2"})
    assert await waiting == Card("04A1B2C3")
    assert await reader.next() == Card("04FFFFFF")


async def test_a_reader_that_gave_up_swallows_no_tap(place: Place) -> None:
    reader = SimReader(place.way())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.next()
    await asyncio.sleep(0.05)
    dispatch(place.world, "sim.tap", {"uid": "04A1B2C3"})
    async with asyncio.timeout(5):
        assert await reader.next() == Card("04A1B2C3")


async def test_a_tap_between_giving_up_and_being_told_goes_to_the_next(place: Place) -> None:
    reader = SimReader(place.way())
    waiting = asyncio.create_task(reader.next())
    await asyncio.sleep(0.05)
    waiting.cancel()
    if place.path is None:
        dispatch(place.world, "sim.tap", {"uid": "04A1B2C3"})
        async with asyncio.timeout(5):
            assert await reader.next() == Card("04A1B2C3")
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_unknown_reader_is_an_error_that_lists_them(place: Place) -> None:
    with pytest.raises(DeviceError, match="reader: must be one of station, evse1, evse2"):
        await SimReader(place.way(), "garage").next()


async def test_a_world_that_went_away_is_an_error_and_found_back(tmp_path: Path) -> None:
    path = str(tmp_path / "world.sock")
    world = World([SimOutlet()], asyncio.get_running_loop().time)
    meter, reader = open_meter(f"{path}?outlet=1"), open_reader(path)
    with pytest.raises(DeviceError, match=r"start it: python -m hal\.sim\.serve"):
        await meter.read()
    async with serving(world, path):
        await meter.read()
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0.02)
    with pytest.raises(DeviceError, match="connection closed"):
        await waiting
    with pytest.raises(DeviceError):
        await meter.read()
    async with serving(world, path):
        assert (await meter.read()).energy == 0
        await meter.close()
        await reader.close()


@pytest.mark.parametrize("answer", [b"nonsense\n", b"[]\n", b'{"result":5}\n', b'{"error":7}\n', b"", b"x" * 70_000])
async def test_a_mad_world_is_an_error_not_a_crash(tmp_path: Path, answer: bytes) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    path = str(tmp_path / "mad.sock")
    server = await asyncio.start_unix_server(act, path)
    for device, what in ((open_meter(f"{path}?outlet=1"), "read"), (open_reader(path), "next")):
        ask: Any = getattr(device, what)
        with pytest.raises(DeviceError):
            await ask()
        await device.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("rest", ["", "/x", "/x?outlet=0", "/x?outlet=one", "/x?plug=1", "/x?outlet="])
def test_a_meter_needs_its_outlet(rest: str) -> None:
    with pytest.raises(DeviceError, match=r"write sim:/path/world\.sock\?outlet="):
        open_meter(rest)


def test_a_reader_takes_no_other_option() -> None:
    with pytest.raises(DeviceError, match="unknown option 'outlet'"):
        open_reader("/x.sock?outlet=1")
