"""What a technician finds on a line: every model, whatever the line settings, the other units, and nobody at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chargerd import meters
from hal.api import DeviceError
from hal.modbus import model as models
from hal.modbus import probe
from hal.modbus.meter import open_meter
from hal.modbus.probe import Found, addresses, scan
from tests.hal.modbus.peer import Gateway, Line, Meter, image

Lines = Callable[..., Line]

# Meters whose maps are alike, and which have no register that tells them apart.
ALIKE = {
    "eastron-sdm120": {"eastron-sdm120", "eastron-sdm220", "eastron-sdm230"},
    "eastron-sdm220": {"eastron-sdm120", "eastron-sdm220", "eastron-sdm230"},
    "eastron-sdm230": {"eastron-sdm120", "eastron-sdm220", "eastron-sdm230"},
    "orno-we-516": {"orno-we-516", "orno-we-517"},
    "orno-we-517": {"orno-we-516", "orno-we-517"},
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.03)
    monkeypatch.setattr("hal.modbus.port.GAP", 0.0)
    monkeypatch.setattr("hal.modbus.port.ANSWER", 0.03)
    monkeypatch.setattr("hal.modbus.port.Address.timeout", 0.03)


async def find(place: str, units: range = range(1, 3), seconds: float = 20.0) -> list[Found]:
    found: list[Found] = []
    await scan(place, units, seconds, found.append, lambda text: None)
    return found


@pytest.mark.parametrize("name", models.names())
async def test_every_model_is_found_and_its_line_reads_it(name: str, lines: Lines) -> None:
    peer = Meter(2, image(name))
    line = lines(peer)
    (one,) = await find(line.path)
    assert set(one.models) >= ALIKE.get(name, {name})
    assert one.models[0] in ALIKE.get(name, {name}), "and the likeliest is right"
    assert one.sure is (models.load(name).identity is not None)
    assert one.serial == (peer.image.means.get("serial") or "")
    moniker = next(text for text in one.monikers() if f"model={name}&" in text)
    meter = open_meter(moniker.removeprefix("modbus:"))
    assert (await meter.read()).energy == pytest.approx(peer.image.means["energy"])
    await meter.close()


async def test_every_unit_at_the_settings_of_the_first(lines: Lines) -> None:
    line = lines(Meter(1, image("abb-b23")), Meter(3, image("eastron-sdm630")))
    found = await find(line.path, range(1, 5))
    assert [(one.unit, one.models) for one in found] == [(1, ("abb-b23",)), (3, ("eastron-sdm630",))]


async def test_a_device_that_is_no_meter_is_told_apart(lines: Lines) -> None:
    stranger = Meter(1, image("eastron-sdm630"))
    stranger.registers = {(3, n): 0 for n in range(16)}
    (one,) = await find(lines(stranger).path, range(1, 2))
    assert one.models == ()
    assert meters.lines(one)[0].endswith("answers, and is of no model that is known here")


@pytest.mark.parametrize("rtu", [False, True])
async def test_behind_a_gateway(rtu: bool) -> None:
    gateway = Gateway(Meter(1, image("abb-b23")), rtu=rtu)
    await gateway.start()
    (one,) = await find(f"127.0.0.1:{gateway.port}", range(1, 2))
    kind = "rtutcp" if rtu else "tcp"
    assert one.monikers() == [f"modbus:{kind}:127.0.0.1:{gateway.port}?model=abb-b23&unit=1"]
    await gateway.stop()


async def test_it_ends_in_time_and_says_so(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    path = lines().path
    with pytest.raises(TimeoutError):
        await find(path, range(1, 248), 0.2)
    with pytest.raises(DeviceError, match="cannot be opened"):
        await find("/dev/no-such-adapter")
    assert await asyncio.to_thread(meters.probe, path, range(1, 248), 0.2) == 1
    told = capsys.readouterr().err
    assert "0 s are over, and not everybody was asked" in told
    assert "nobody answers: check supply" in told
    assert await asyncio.to_thread(meters.probe, "/dev/no-such-adapter", range(1, 2), 1.0) == 69


def test_the_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert meters.show() == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == models.names()
    assert "eastron-sdm72           9600 8N1  energy, export, power, serial number" in told
    assert max(map(len, told.splitlines())) <= 100


def test_settings_that_meters_come_with_are_tried_first() -> None:
    tried = [str(address) for address in addresses("/dev/ttyUSB0")]
    assert tried[:4] == [
        f"/dev/ttyUSB0 at {text}" for text in ("9600 baud 8E1", "9600 baud 8N1", "2400 baud 8N1", "19200 baud 8E1")
    ]
    assert len(tried) == len(set(tried)) == 21


@pytest.mark.parametrize(("text", "units"), [("7", range(7, 8)), ("1-10", range(1, 11)), ("247", range(247, 248))])
def test_unit_numbers(text: str, units: range) -> None:
    assert meters.numbers(text) == units


@pytest.mark.parametrize("text", ["0", "5-3", "1-248", "x", "", "1-"])
def test_unit_numbers_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        assert meters.numbers(text) == range(1, 2)
