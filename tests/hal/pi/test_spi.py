"""Bursts against a chip that reads the very transfers which the kernel would."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hal.api import DeviceError
from hal.pi.spi import CHIPS, MOST, Adc

TRANSFER = struct.Struct("=QQIIHBBBBBx")


class Mcp:
    """An MCP3208 or MCP3008 behind `/dev/spidev`: its side of the wire, bit by bit, as in its data sheet."""

    def __init__(self, bits: int, code: Callable[[int], int]) -> None:
        self._bits, self._code = bits, code
        self.requests: list[int] = []
        self.clocks: set[int] = set()

    def ioctl(self, file: int, request: int, argument: bytearray) -> int:
        self.requests.append(request)
        if request & 0xC000FFFF != 0x40006B00:
            return 0
        size = request >> 16 & 0x3FFF
        assert size == len(argument) and size % 32 == 0
        rows = [TRANSFER.unpack_from(argument, at) for at in range(0, size, 32)]
        for n, (sent, got, length, clock, _, width, change, *_) in enumerate(rows):
            assert (length, width, change) == (3, 8, int(n < len(rows) - 1)), "the chip is deselected after each"
            self.clocks.add(clock)
            ctypes.memmove(got, self._converse(ctypes.string_at(sent, 3)), 3)
        return 0

    def _converse(self, sent: bytes) -> bytes:
        bits = f"{int.from_bytes(sent, 'big'):024b}"
        start = bits.index("1")
        assert bits[start + 1] == "1", "single-ended"
        channel = int(bits[start + 2 : start + 5], 2)
        first = start + 7  # one clock to sample, one null bit
        assert first + self._bits == 24, "the answer ends with the frame"
        return (self._code(channel) | 0b11 << (self._bits + 2)).to_bytes(3, "big")


@pytest.mark.parametrize("name", CHIPS)
def test_each_channel_in_its_order(tmp_path: Path, name: str) -> None:
    device = tmp_path / "spidev0.0"
    device.touch()
    chip = CHIPS[name]
    fake = Mcp(chip.bits, lambda channel: chip.codes - channel)
    adc = Adc(str(device), chip, 1_000_000, fake.ioctl)
    plan = adc.plan([0, 7, 3, 3, 5])
    for _ in range(3):
        assert plan.sample() == [chip.codes - channel for channel in (0, 7, 3, 3, 5)]
    assert fake.clocks == {1_000_000}
    adc.close()


def test_the_longest_burst_fits_the_ioctl(tmp_path: Path) -> None:
    device = tmp_path / "spidev0.0"
    device.touch()
    fake = Mcp(12, lambda channel: 7)
    adc = Adc(str(device), CHIPS["mcp3208"], 1_000_000, fake.ioctl)
    assert adc.plan([1] * MOST).sample() == [7] * MOST
    with pytest.raises(ValueError, match="1 to 511"):
        adc.plan([1] * (MOST + 1))


@pytest.mark.parametrize(
    ("name", "line"),
    [("spidev0.0", "dtparam=spi=on"), ("spidev0.1", "dtparam=spi=on"), ("spidev1.1", "dtoverlay=spi1-2cs")],
)
def test_a_bus_that_is_not_there(tmp_path: Path, name: str, line: str) -> None:
    with pytest.raises(DeviceError, match=rf"ADC on .*{name}: No such file.*; add to config\.txt {line}$"):
        Adc(str(tmp_path / name), CHIPS["mcp3208"], 1_000_000)


def test_a_bus_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.open", refused)
    with pytest.raises(DeviceError, match="Permission denied; the user must be in group spi"):
        Adc(str(tmp_path / "spidev0.0"), CHIPS["mcp3208"], 1_000_000)


def test_a_bus_that_fails(tmp_path: Path) -> None:
    def broken(file: int, request: int, argument: bytearray) -> int:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "spidev0.0").touch()
    with pytest.raises(DeviceError, match=r"spidev0\.0: Input/output error"):
        Adc(str(tmp_path / "spidev0.0"), CHIPS["mcp3208"], 1_000_000, broken)
