"""Meters over a real serial line (a pair of ptys) and TCP, answered by pymodbus's simulator: good days and bad ones."""

from __future__ import annotations

import asyncio
import os
import time
import tty
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hal.api import DeviceError
from hal.modbus.meter import open_meter

VOLTS_AND_AMPS = "4366 199A 4365 CCCD 4367 0000 417E 6666 4180 0000 417C CCCD"
GOLDEN = {0x0000: VOLTS_AND_AMPS, 0x0034: "462B 9000", 0x0046: "4247 F5C3 449A 5225 3F00 0000"}


class Sdm630:
    """A simulated meter of this model; `registers` may be changed, `refuse` makes it answer by an exception."""

    def __init__(self, unit: int) -> None:
        self.registers = [0] * 76
        for start, text in GOLDEN.items():
            words = [int(word, 16) for word in text.split()]
            self.registers[start : start + len(words)] = words
        self.refuse: ExcCodes | None = None
        self.asked = 0
        none = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        inputs = [SimData(0, count=76, values=0, datatype=DataType.REGISTERS)]
        holding = [SimData(0, count=76, values=0, datatype=DataType.REGISTERS)]
        self.device = SimDevice(id=unit, simdata=(none, none, holding, inputs), action=self._answer)

    async def _answer(
        self, _function: int, start: int, _address: int, count: int, regs: list[int], _set: object
    ) -> ExcCodes | None:
        self.asked += 1
        regs[:count] = self.registers[start : start + count]
        return self.refuse


class Line:
    """Two ptys joined by a pump: the charger's end is `path`. The way back can be cut or disturbed."""

    def __init__(self) -> None:
        self.cut = self.noisy = False
        self.delay = 0.0
        self._near, near_end = os.openpty()
        self._far, far_end = os.openpty()
        self._ends = [near_end, far_end]
        for fd in (self._near, self._far, near_end, far_end):
            tty.setraw(fd)
        self.path, self.far_path = os.ttyname(near_end), os.ttyname(far_end)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._near, lambda: os.write(self._far, os.read(self._near, 4096)))
        loop.add_reader(self._far, self._back)

    def _back(self) -> None:
        data = os.read(self._far, 4096)
        if self.noisy:
            data = bytes([data[0] ^ 0xFF]) + data[1:]
        if not self.cut:
            asyncio.get_running_loop().call_later(self.delay, os.write, self._near, data)

    def unplug(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._near)
        loop.remove_reader(self._far)
        for fd in (self._near, self._far, *self._ends):
            with suppress(OSError):
                os.close(fd)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    wire = Line()
    yield wire
    wire.unplug()


@pytest.fixture
async def meters(line: Line) -> AsyncIterator[tuple[Sdm630, Sdm630]]:
    """Two meters on the line, unit 1 and unit 2."""
    pair = Sdm630(1), Sdm630(2)
    server = ModbusSerialServer(
        [meter.device for meter in pair],
        framer=FramerType.RTU,
        port=line.far_path,
        baudrate=9600,
        ignore_missing_devices=True,
    )
    await server.serve_forever(background=True)
    yield pair
    await server.shutdown()


async def test_reads_everything_in_si_units(line: Line, meters: tuple[Sdm630, Sdm630]) -> None:
    meter = open_meter(f"rtu:{line.path}?model=eastron-sdm630&unit=1&baud=9600")
    before = time.monotonic()
    reading = await meter.read()
    assert before <= reading.at <= time.monotonic()
    assert reading.energy == pytest.approx(1234567.0, rel=1e-6)
    assert reading.export == pytest.approx(500.0)
    assert reading.power == pytest.approx(10980.0)
    assert reading.frequency == pytest.approx(49.99)
    assert reading.volts == pytest.approx((230.1, 229.8, 231.0))
    assert reading.amps == pytest.approx((15.9, 16.0, 15.8))
    await meter.close()


async def test_a_value_that_the_meter_lacks_is_none_and_a_phase_that_the_model_lacks_is_0(
    line: Line, meters: tuple[Sdm630, Sdm630]
) -> None:
    meters[0].registers[0x34:0x36] = [0x7FC0, 0]
    meters[0].registers[0x02:0x04] = [0x7FC0, 0]
    three, one = (
        open_meter(f"rtu:{line.path}?model={model}&baud=9600") for model in ("eastron-sdm630", "eastron-sdm120")
    )
    reading = await three.read()
    assert (reading.power, reading.volts) == (None, None)
    assert reading.amps is not None
    assert (await one.read()).volts == pytest.approx((230.1, 0.0, 0.0))
    meters[0].registers[0x48:0x4A] = [0x7FC0, 0]
    with pytest.raises(DeviceError, match="no plausible import register"):
        await three.read()
    await three.close()
    await one.close()


async def test_meters_on_one_line_take_turns(line: Line, meters: tuple[Sdm630, Sdm630]) -> None:
    meters[1].registers[0x48:0x4A] = [0x3F80, 0]
    one, two = (open_meter(f"rtu:{line.path}?model=eastron-sdm630&unit={unit}") for unit in (1, 2))
    readings = await asyncio.gather(*(meter.read() for meter in (one, two) * 3))
    assert [round(reading.energy) for reading in readings] == [1234567, 1000] * 3
    await one.close()
    assert (await two.read()).energy == 1000.0, "the line stays open for the other meter"
    with pytest.raises(DeviceError, match=r"in use as .* 9600 baud"):
        open_meter(f"rtu:{line.path}?model=eastron-sdm630&baud=19200")
    await two.close()
    faster = open_meter(f"rtu:{line.path}?model=eastron-sdm630&baud=19200")
    assert (await faster.read()).energy > 0, "given back by the last one, the line takes other settings"
    await faster.close()


async def test_silence_and_noise_end_soon_and_pass(line: Line, meters: tuple[Sdm630, Sdm630]) -> None:
    meter = open_meter(f"rtu:{line.path}?model=eastron-sdm630&baud=115200")
    for trouble in ("cut", "noisy"):
        setattr(line, trouble, True)
        asked = meters[0].asked
        with pytest.raises(DeviceError, match=r"meter 1 on .* does not answer: check A/B wiring"):
            await asyncio.wait_for(meter.read(), 3.0)
        assert meters[0].asked == asked + 2, "asked once more before giving up"
        setattr(line, trouble, False)
        assert (await meter.read()).power == pytest.approx(10980.0)
    await meter.close()


async def test_a_late_answer_is_not_taken_for_the_next_one(line: Line, meters: tuple[Sdm630, Sdm630]) -> None:
    meter = open_meter(f"rtu:{line.path}?model=eastron-sdm630&baud=115200")
    line.delay = 0.45  # more than one timeout: asked twice, and answered twice
    assert (await meter.read()).power == pytest.approx(10980.0)
    assert meters[0].asked == 2
    meters[0].registers[0x34:0x36] = [0x3F80, 0]
    assert (await meter.read()).power == 1.0
    await meter.close()


async def test_a_refusal_names_the_registers(line: Line, meters: tuple[Sdm630, Sdm630]) -> None:
    meter = open_meter(f"rtu:{line.path}?model=eastron-sdm630")
    meters[0].refuse = ExcCodes.ILLEGAL_ADDRESS
    with pytest.raises(DeviceError, match=r"refuses registers 0x0000\.\.0x004b \(exception 2\): check the meter model"):
        await meter.read()
    meters[0].refuse = ExcCodes.GATEWAY_NO_RESPONSE
    with pytest.raises(DeviceError, match="its gateway gets no answer"):
        await meter.read()
    meters[0].refuse = None
    assert (await meter.read()).energy > 0
    await meter.close()


async def test_an_unplugged_adapter_is_named_and_found_again(
    line: Line, meters: tuple[Sdm630, Sdm630], tmp_path: Path
) -> None:
    stable = tmp_path / "adapter"
    stable.symlink_to(line.path)
    meter = open_meter(f"rtu:{stable}?model=eastron-sdm630&baud=115200")
    assert (await meter.read()).energy > 0
    line.unplug()
    stable.unlink()
    for _ in range(2):
        with pytest.raises(
            DeviceError, match=r"connection broke|cannot be opened; check that the adapter is plugged in"
        ):
            await asyncio.wait_for(meter.read(), 3.0)
    again = Line()
    stable.symlink_to(again.path)
    server = ModbusSerialServer(meters[0].device, framer=FramerType.RTU, port=again.far_path, baudrate=115200)
    await server.serve_forever(background=True)
    assert (await meter.read()).power == pytest.approx(10980.0)
    await meter.close()
    await server.shutdown()
    again.unplug()


async def test_modbus_tcp() -> None:
    sim = Sdm630(1)
    server = ModbusTcpServer(sim.device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    port = server.transport.sockets[0].getsockname()[1]
    meter = open_meter(f"tcp:127.0.0.1:{port}?model=eastron-sdm630")
    assert (await meter.read()).volts == pytest.approx((230.1, 229.8, 231.0))
    await server.shutdown()
    with pytest.raises(DeviceError, match=f"127.0.0.1:{port}"):
        await meter.read()
    await meter.close()


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("rtu:/dev/ttyUSB0", "add model="),
        ("rtu:/dev/ttyUSB0?model=eastron-sdm9", "not known: use one of abb-b23"),
        ("rtu:ttyUSB0?model=abb-b23", "write rtu:/dev/"),
        ("usb:/dev/ttyUSB0?model=abb-b23", "write rtu:<device> or tcp:"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&speed=9600", "unknown option 'speed'"),
        ("tcp:host?model=abb-b23&baud=9600", "unknown option 'baud'"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&unit=0", "unit = 0: from 1 to 247"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&unit=one", "invalid literal"),
        ("rtu:/dev/ttyUSB0?model=abb-b23&baud=12", "baud = 12"),
        ("rtu:/dev/ttyUSB0?model", "name=value"),
        ("tcp:host:99999?model=abb-b23", "write tcp:<host>:<port>"),
    ],
)
def test_a_wrong_moniker_says_what_to_write(rest: str, words: str) -> None:
    with pytest.raises(DeviceError) as caught:
        open_meter(rest)
    assert words in str(caught.value)
