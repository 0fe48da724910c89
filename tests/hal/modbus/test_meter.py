"""Meters over a real serial line (a pty) and TCP, on good days and bad ones; the peer answers byte by byte."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hal.api import DeviceError
from hal.modbus import port as port_module
from hal.modbus.meter import ModbusMeter, open_meter
from tests.hal.modbus.peer import Gateway, Line, Meter, image

Lines = Callable[..., Line]
SDM630 = "model=eastron-sdm630&baud=115200"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meters of these tests think fast, and rest briefly."""
    monkeypatch.setattr(port_module, "_ports", {})
    monkeypatch.setattr(port_module, "ANSWER", 0.1)
    monkeypatch.setattr(port_module.Address, "timeout", 0.12)
    monkeypatch.setattr(port_module, "LONGEST_REST", 0.4)


def sdm630(unit: int = 1) -> Meter:
    return Meter(unit, image("eastron-sdm630"))


async def test_what_the_meter_lacks_is_none_and_a_phase_that_the_model_lacks_is_0(lines: Lines) -> None:
    peer = sdm630()
    line = lines(peer)
    peer.words(4, 0x34, 0x7FC0, 0)
    peer.words(4, 0x02, 0x7FC0, 0)
    models = ("eastron-sdm630", "eastron-sdm120")
    three, one = (open_meter(f"rtu:{line.path}?model={model}&baud=115200") for model in models)
    before = time.monotonic()
    reading = await three.read()
    assert before <= reading.at <= time.monotonic()
    assert (reading.power, reading.volts) == (None, None)
    assert reading.amps is not None
    assert (await one.read()).volts == pytest.approx((230.1, 0.0, 0.0))
    peer.words(4, 0x48, 0x7FC0, 0)
    with pytest.raises(DeviceError, match="import register is not available; check the meter model"):
        await three.read()
    peer.words(4, 0x48, 0x7E96, 0x7699)
    with pytest.raises(DeviceError, match=r"energy would be 1e\+41 \(registers 7E96 7699\): check the meter model"):
        await three.read()
    await three.close()
    await one.close()


async def test_a_meter_mounted_backwards(lines: Lines) -> None:
    path = lines(sdm630()).path
    swapped = open_meter(f"rtu:{path}?{SDM630}&invert=swap")
    reading = await swapped.read()
    assert (reading.energy, reading.export) == pytest.approx((500.0, 1234567.0))
    assert reading.power == pytest.approx(-10985.2)
    assert reading.amps == pytest.approx((-15.9, -16.0, -15.8))
    signed = open_meter(f"rtu:{path}?{SDM630}&invert=sign")
    reading = await signed.read()
    assert (reading.energy, reading.power) == pytest.approx((1234567.0, -10985.2))
    await swapped.close()
    await signed.close()


async def test_meters_on_one_line_take_turns(lines: Lines) -> None:
    line = lines(sdm630(1), sdm630(2))
    line.meters[2].words(4, 0x48, 0x3F80, 0)
    one, two = (open_meter(f"rtu:{line.path}?{SDM630}&unit={unit}") for unit in (1, 2))
    readings = await asyncio.gather(*(meter.read() for meter in (one, two) * 3))
    assert [round(reading.energy) for reading in readings] == [1234567, 1000] * 3
    await one.close()
    assert (await two.read()).energy == 1000.0, "the line stays open for the other meter"
    with pytest.raises(DeviceError, match=r"in use as .* 115200 baud"):
        open_meter(f"rtu:{line.path}?model=eastron-sdm630&baud=19200")
    await two.close()
    faster = open_meter(f"rtu:{line.path}?model=eastron-sdm630&baud=19200")
    assert (await faster.read()).energy > 0, "given back by the last one, the line takes other settings"
    await faster.close()


NOW_AND_THEN = ("noise", "burst", "drip", "unit", "silent", "truncated", "crc", "flipped", "garbage", "long")


@pytest.mark.parametrize("habit", NOW_AND_THEN)
async def test_what_a_line_does_now_and_then_costs_nothing(habit: str, lines: Lines) -> None:
    peer = sdm630()
    peer.habit, peer.times = habit, 1
    line = lines(peer)
    line.pace = 0.0002
    meter = open_meter(f"rtu:{line.path}?{SDM630}")
    for _ in range(3):
        assert (await meter.read()).power == pytest.approx(10985.2)
    await meter.close()


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        ("silent", "does not answer: check A/B wiring"),
        ("truncated", r"164 bytes? came and no whole answer; check line settings|15\d bytes came and no whole answer"),
        ("crc", "157 bytes came and no whole answer"),
        ("flipped", "157 bytes came"),
        ("long", "159 bytes came"),
        ("unit", "157 bytes came and no whole answer.*two meters with one unit number"),
        ("garbage", "bytes came and no whole answer"),
        ("flood", "no whole answer|does not answer"),
        ("endless", "bytes came and no whole answer"),
        ("refuse", r"refuses registers 0x0000\.\.0x004b \(exception 2\): check the meter model"),
    ],
)
async def test_what_a_line_always_does_is_a_named_error_that_ends_soon(
    habit: str, words: str, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    peer = sdm630()
    line = lines(peer)
    meter = open_meter(f"rtu:{line.path}?{SDM630}")
    await meter.read()
    peer.habit = habit
    asked = peer.asked
    with pytest.raises(DeviceError, match=words):
        await asyncio.wait_for(meter.read(), 3.0)
    assert peer.asked - asked == (1 if habit == "refuse" else 2), "asked once more before giving up"
    peer.habit = ""
    await asyncio.sleep(0.5 if habit in ("flood", "endless") else 0.0)  # what the pty still holds
    assert (await meter.read()).power == pytest.approx(10985.2)
    await meter.close()
    assert caplog.records == []


async def test_noise_that_comes_with_every_answer_is_no_trouble(lines: Lines) -> None:
    peer = sdm630()
    peer.habit = "noise"  # unit 1 behind a zero: the library alone never finds this answer
    meter = open_meter(f"rtu:{lines(peer).path}?{SDM630}")
    for _ in range(3):
        assert (await meter.read()).power == pytest.approx(10985.2)
    assert peer.asked == 4
    await meter.close()


async def test_a_late_answer_is_not_taken_for_the_next_one(lines: Lines) -> None:
    peer = sdm630()
    meter = open_meter(f"rtu:{lines(peer).path}?{SDM630}")
    await meter.read()
    peer.delay = 0.16  # longer than is waited, and shorter than the silence after
    with pytest.raises(DeviceError, match="does not answer"):
        await meter.read()
    peer.words(4, 0x34, 0x3F80, 0)
    peer.delay = 0.0
    assert (await meter.read()).power == 1.0
    await meter.close()


async def test_a_dead_meter_does_not_hold_up_the_others(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "PATIENCE", 1)
    line = lines(sdm630(1), sdm630(2))
    line.meters[2].habit = "silent"
    living, dead = (open_meter(f"rtu:{line.path}?{SDM630}&unit={unit}") for unit in (1, 2))
    ends = asyncio.get_running_loop().time() + 1.5
    misses, longest = 0, 0.0

    async def die() -> None:
        nonlocal misses
        while asyncio.get_running_loop().time() < ends:
            with pytest.raises(DeviceError, match=r"meter 2 .* does not answer"):
                await dead.read()
            misses += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(die())
    while asyncio.get_running_loop().time() < ends:
        before = asyncio.get_running_loop().time()
        assert (await living.read()).energy > 0
        longest = max(longest, asyncio.get_running_loop().time() - before)
    await task
    assert misses > 20, "while it is left alone it is refused at once"
    assert line.meters[2].asked < 12, "each time it is asked less often"
    line.meters[2].habit = ""
    await asyncio.sleep(0.4)
    assert (await dead.read()).energy > 0
    await living.close()
    await dead.close()


async def test_an_unplugged_adapter_is_named_and_found_again(lines: Lines, tmp_path: Path) -> None:
    stable = tmp_path / "adapter"
    first = lines(sdm630())
    stable.symlink_to(first.path)
    meter = open_meter(f"rtu:{stable}?{SDM630}")
    for n in range(2):
        assert (await meter.read()).energy > 0
        first.unplug()
        stable.unlink()
        for _ in range(2 + n):
            with pytest.raises(DeviceError, match=r"connection broke|does not answer|cannot be opened"):
                await asyncio.wait_for(meter.read(), 3.0)
        first = lines(sdm630())
        stable.symlink_to(first.path)
        await asyncio.sleep(0.4)
    assert (await meter.read()).power == pytest.approx(10985.2)
    await meter.close()


async def test_an_adapter_that_has_not_what_is_asked_of_it(lines: Lines) -> None:
    meter = open_meter(f"rtu:{lines(sdm630()).path}?{SDM630}&parity=E")  # a pty has no parity
    with pytest.raises(DeviceError, match="does not take these settings"):
        await meter.read()
    await meter.close()


@pytest.mark.parametrize("rtu", [False, True])
@pytest.mark.parametrize("habit", ["silent", "truncated", "unit", "garbage", "drip", "refuse"])
async def test_bad_days_behind_a_gateway(habit: str, rtu: bool, caplog: pytest.LogCaptureFixture) -> None:
    peer = sdm630()
    gateway = Gateway(peer, rtu=rtu)
    await gateway.start()
    meter = open_meter(f"{'rtutcp' if rtu else 'tcp'}:127.0.0.1:{gateway.port}?model=eastron-sdm630")
    await meter.read()
    peer.habit, peer.code = habit, 11
    if habit == "drip":
        await meter.read()
    else:
        with pytest.raises(DeviceError, match="gateway gets no answer" if habit == "refuse" else "answer"):
            await asyncio.wait_for(meter.read(), 3.0)
    peer.habit = ""
    assert (await meter.read()).power == pytest.approx(10985.2)
    await gateway.stop()
    with pytest.raises(DeviceError, match=f"127.0.0.1:{gateway.port}"):
        await meter.read()
    await gateway.start()
    assert (await meter.read()).power == pytest.approx(10985.2)
    await meter.close()
    await gateway.stop()
    assert caplog.records == []


async def test_against_another_implementation_of_modbus_tcp() -> None:
    peer = sdm630()
    words = [peer.registers.get((4, n), 0) for n in range(76)]
    none = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    inputs = [SimData(0, values=words, datatype=DataType.REGISTERS)]
    holding = [SimData(0, count=4, values=0, datatype=DataType.REGISTERS)]
    device = SimDevice(id=1, simdata=(none, none, holding, inputs))
    server = ModbusTcpServer(device, framer=FramerType.SOCKET, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    meter = open_meter(f"tcp:127.0.0.1:{server.transport.sockets[0].getsockname()[1]}?model=eastron-sdm630")
    reading = await meter.read()
    assert reading.volts == pytest.approx((230.1, 229.8, 231.0))
    assert reading.serial is None, "its registers are refused, and that is no trouble"
    await meter.close()
    await server.shutdown()


async def test_the_serial_number_is_asked_for_whenever_another_meter_could_be_there(lines: Lines) -> None:
    peer = sdm630()
    meter = open_meter(f"rtu:{lines(peer).path}?{SDM630}")
    assert [(await meter.read()).serial for _ in range(2)] == ["22140838"] * 2
    assert peer.asked == 3
    peer.habit = "silent"
    with pytest.raises(DeviceError):
        await meter.read()
    peer.habit = ""
    peer.words(3, 0xFC00, 0, 7)
    assert (await meter.read()).serial == "7"
    await meter.close()


async def test_an_hour_without_an_answer_leaves_no_lines_and_no_garbage(
    lines: Lines, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead line is asked some 360 times an hour, the rest of the polls is refused at once."""
    monkeypatch.setattr(port_module, "ANSWER", 0.0005)
    monkeypatch.setattr(port_module, "GAP", 0.0)
    monkeypatch.setattr(port_module, "LONGEST_REST", 0.0)
    caplog.set_level(logging.INFO)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    peer = sdm630()
    peer.habit = "garbage"
    meter = open_meter(f"rtu:{lines(peer).path}?model=eastron-sdm630&baud=115200")
    monkeypatch.setattr(port_module.Address, "timeout", 0.002)
    before = 0
    for n in range(400):
        with pytest.raises(DeviceError):
            await meter.read()
        if n == 100:
            gc.collect()
            before = len(gc.get_objects())
    gc.collect()
    assert len(gc.get_objects()) - before < 500
    assert (caplog.records, told) == ([], [])
    await meter.close()


def _open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_of_the_line_stays_open(lines: Lines) -> None:
    line = lines(sdm630())
    open_before = _open()
    for _ in range(5):
        meter = open_meter(f"rtu:{line.path}?{SDM630}")
        await meter.read()
        await meter.close()
        await meter.close()
    await asyncio.sleep(0)
    assert _open() == open_before


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("rtu:/dev/ttyUSB0", "add model="),
        ("rtu:/dev/ttyUSB0?model=eastron-sdm9", "not known: use one of abb-b23"),
        ("rtu:ttyUSB0?model=abb-b23", "write rtu:/dev/"),
        ("usb:/dev/ttyUSB0?model=abb-b23", "write rtu:<device>, tcp:<host>:<port> or"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&speed=9600", "unknown option 'speed'"),
        ("tcp:host?model=abb-b23&baud=9600", "unknown option 'baud'"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&unit=0", "unit = 0: from 1 to 247"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&unit=one", "invalid literal"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&baud=12", "baud = 12"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&invert=yes", "invert = yes: one of no, swap, sign"),
        ("rtu:/dev/ttyUSB0?model=carlo-gavazzi-em24&invert=swap", "has no export register"),
        ("rtu:/dev/ttyUSB0?model", "name=value"),
        ("tcp:host:99999?model=abb-b23", "write tcp:<host>:<port>"),
        ("rtutcp:?model=abb-b23", "write rtutcp:<host>:<port>"),
    ],
)
def test_a_wrong_moniker_says_what_to_write(rest: str, words: str) -> None:
    with pytest.raises(DeviceError) as caught:
        open_meter(rest)
    assert words in str(caught.value)


def test_what_a_meter_can_tell_is_known_before_it_is_asked() -> None:
    meter: ModbusMeter = open_meter("rtu:/dev/ttyUSB0?model=eastron-sdm72")
    assert meter.kind.gives == {"energy", "export", "power"}
    assert open_meter("tcp:host?model=eastron-sdm120").kind.wraps_at == 1e8
