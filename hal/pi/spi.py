"""Bursts of samples from an MCP3208 or MCP3008: many conversions in one ioctl, the chip deselected between them.

A Python call for each sample gives anything between 200 and 24,000 samples a second; a prepared row of transfers in
one ioctl gives what the bus can do, and frees the GIL meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hal.api import DeviceError

DEV = "/dev/spidev"
MOST = 511  # transfers that the length field of the ioctl can hold
FRAME = 3  # bytes of one conversion
_TRANSFER = struct.Struct("=QQIIHBBBBBx")  # struct spi_ioc_transfer of linux/spi/spidev.h
_WRITE_MODE, _WRITE_SPEED, _MESSAGE = 0x40016B01, 0x40046B04, 0x40006B00
DITHER = tuple(random.Random("dither").choices(range(8), k=MOST))
"""Microseconds of pause after each conversion. Where the bus makes a whole number of samples in a period of the pilot,
every period is sampled at the same places, and the duty is right to one part in that number only: 3 % at 31 ksps.
"""
Ioctl = Callable[[int, int, bytearray], object]


@dataclass(frozen=True, slots=True)
class Chip:
    """Eight single-ended inputs; `fastest` clock in Hz at 3.3 V."""

    bits: int
    fastest: int

    @property
    def codes(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    def question(self, channel: int) -> bytes:
        """Start bit, single-ended, channel; placed so that the answer ends with the last bit of the frame."""
        return ((0b11000 | channel) << (self.bits + 2)).to_bytes(FRAME, "big")

    def code(self, answer: bytes) -> int:
        return int.from_bytes(answer, "big") & self.codes


CHIPS = {"mcp3208": Chip(12, 1_000_000), "mcp3008": Chip(10, 1_350_000)}


def overlay(device: str) -> str:
    """The line of config.txt that makes this device of /dev."""
    bus, _, select = device.rpartition("spidev")[2].partition(".")
    return "dtparam=spi=on" if bus == "0" else f"dtoverlay=spi{bus}-{int(select or 0) + 1}cs"


class Adc:
    """One chip on one bus. Raises DeviceError, with the remedy, when the bus is not there."""

    def __init__(self, device: str, chip: Chip, hertz: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device, self.chip, self._hertz, self._ioctl = device, chip, hertz, ioctl
        try:
            self._file = os.open(device, os.O_RDWR)
        except OSError as e:
            remedy = (
                "the user must be in group spi" if e.errno == errno.EACCES else f"add to config.txt {overlay(device)}"
            )
            raise DeviceError(f"ADC on {device}: {e.strerror}; {remedy}") from None
        try:
            self._do(_WRITE_MODE, bytearray(b"\x00"))
            self._do(_WRITE_SPEED, bytearray(struct.pack("=I", hertz)))
        except DeviceError:
            os.close(self._file)
            raise

    def plan(self, channels: Sequence[int]) -> Plan:
        """A burst that converts these channels one after the other; at most 511."""
        return Plan(self, channels, self._hertz)

    def run(self, row: bytearray) -> None:
        """Carry out a prepared row of transfers."""
        self._do(_MESSAGE | len(row) << 16, row)

    def close(self) -> None:
        os.close(self._file)

    def _do(self, request: int, argument: bytearray) -> None:
        try:
            self._ioctl(self._file, request, argument)
        except OSError as e:
            raise DeviceError(f"ADC on {self._device}: {e.strerror}") from None


class Plan:
    """A prepared burst; its buffers stay where they are, since the kernel is given their addresses."""

    def __init__(self, adc: Adc, channels: Sequence[int], hertz: int) -> None:
        if not 1 <= len(channels) <= MOST:
            raise ValueError(f"a burst of {len(channels)} samples: 1 to {MOST}")
        self._adc, self._count = adc, len(channels)
        questions = b"".join(adc.chip.question(channel) for channel in channels)
        self._sent = ctypes.create_string_buffer(questions, len(questions))
        self._got = ctypes.create_string_buffer(len(questions))
        sent, got = ctypes.addressof(self._sent), ctypes.addressof(self._got)
        last = self._count - 1
        self._row = bytearray(
            b"".join(
                _TRANSFER.pack(
                    sent + n * FRAME, got + n * FRAME, FRAME, hertz, DITHER[n % len(DITHER)], 8, int(n < last), 0, 0, 0
                )
                for n in range(self._count)
            )
        )

    def sample(self) -> list[int]:
        """One code for each channel of the plan, in order; DeviceError from the bus."""
        self._adc.run(self._row)
        answers, code = self._got.raw, self._adc.chip.code
        return [code(answers[at : at + FRAME]) for at in range(0, self._count * FRAME, FRAME)]
