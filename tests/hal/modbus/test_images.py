"""Every model's register image, read over a serial line, Modbus TCP and RTU frames over TCP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hal.api import DeviceError, MeterReading
from hal.modbus import model
from hal.modbus.meter import open_meter
from tests.hal.modbus.peer import IMAGES, Gateway, Image, Line, Meter, image


def judge(reading: MeterReading, image: Image) -> None:
    for name, value in image.means.items():
        what, _, phase = name.partition("_l")
        found = getattr(reading, what)
        if phase and found is not None:
            found = found[int(phase) - 1]
        assert found == (value if value is None or isinstance(value, str) else pytest.approx(value, rel=1e-6)), name


def test_every_model_has_an_image() -> None:
    assert sorted(file.stem for file in IMAGES.glob("*.txt")) == model.names()


@pytest.mark.parametrize("name", model.names())
async def test_over_a_serial_line(name: str, lines: Callable[..., Line]) -> None:
    peer = Meter(7, image(name))
    line = lines(peer)
    meter = open_meter(f"rtu:{line.path}?model={name}&unit=7&baud=115200&parity=N")
    judge(await meter.read(), peer.image)
    judge(await meter.read(), peer.image)  # by now without the serial number being asked for
    assert meter.kind.gives == {key.partition("_l")[0] for key in peer.image.means} - {"serial"}
    await meter.close()


@pytest.mark.parametrize("name", model.names())
@pytest.mark.parametrize("transport", ["tcp", "rtutcp"])
async def test_over_tcp(name: str, transport: str) -> None:
    peer = Meter(7, image(name))
    gateway = Gateway(peer, rtu=transport == "rtutcp")
    await gateway.start()
    meter = open_meter(f"{transport}:127.0.0.1:{gateway.port}?model={name}&unit=7")
    judge(await meter.read(), peer.image)
    await meter.close()
    await gateway.stop()


@pytest.mark.parametrize("name", model.names())
async def test_with_the_words_the_wrong_way_round_nothing_passes_for_a_reading(
    name: str, lines: Callable[..., Line]
) -> None:
    peer = Meter(1, image(name))
    chosen = model.load(name)
    for quantity in chosen.quantities.values():
        places = [(chosen.blocks[0].function, quantity.address + n) for n in range(quantity.width)]
        words = [peer.registers[place] for place in places]
        peer.registers |= zip(places, reversed(words), strict=True)
    meter = open_meter(f"rtu:{lines(peer).path}?model={name}&baud=115200&parity=N")
    try:
        reading = await meter.read()
    except DeviceError as error:
        assert "check the meter model" in str(error)
    else:  # floats of nothing: no current, no energy
        assert reading.energy == pytest.approx(0.0, abs=1.0), name
    await meter.close()
