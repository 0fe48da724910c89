"""One serial line or TCP gateway, shared by every meter on it: one client, one request at a time.

A meter that is away must not hold the line for the others: each try takes its turn among theirs, one that has missed
`PATIENCE` reads in a row gets a single try, and is left alone for longer and longer, up to `LONGEST_REST`. So a dead
meter costs a living one at most one `Address.timeout` and `ANSWER` of waiting at a time. A port that is lost - an
adapter that is unplugged - is opened again by the next read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import termios
import traceback
from dataclasses import dataclass
from pathlib import Path

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer.rtu import FramerRTU

from hal.api import DeviceError
from hal.modbus.model import MAX_REGISTERS, Serial, Span

ANSWER = 0.5
"""Seconds that a meter may think before its answer begins."""

GAP = 0.05
"""Seconds of silence that a meter wants between two frames."""

PATIENCE = 3
LONGEST_REST = 10.0

_GATEWAY_EXCEPTIONS = (10, 11)  # path unavailable, target failed to respond

# The library reports each lost answer at ERROR, with a dump; what matters of it comes back as DeviceError.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class RegistersRefused(DeviceError):
    """The meter is there, and does not have these registers."""


class SettingsRefused(DeviceError):
    """The adapter does not take these line settings."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a line is: the path of a serial device with its settings, or a host with its TCP port.

    `rtu`: the frames are those of a serial line; over TCP, where a gateway passes them on as they are.
    """

    place: str
    line: Serial | int
    rtu: bool = True

    def __str__(self) -> str:
        if isinstance(self.line, int):
            return f"{self.place}:{self.line}" + (" (RTU)" if self.rtu else "")
        return f"{self.place} at {self.line.baud} baud 8{self.line.parity}{self.line.stop_bits}"

    @property
    def key(self) -> str:
        """What two meters on one line have in common, whatever settings they ask for."""
        return f"{self.place}:{self.line}" if isinstance(self.line, int) else self.place

    @property
    def timeout(self) -> float:
        """Seconds for a whole answer: thinking time, and the longest question and answer at eleven bits a byte."""
        baud = 9600 if isinstance(self.line, int) else self.line.baud  # of the line behind a gateway, mostly
        return ANSWER + 11 * (8 + 5 + 2 * MAX_REGISTERS) / baud


@dataclass(slots=True)
class _Unit:
    """What is known of one meter on the line; `rest_until` loop time before which it is not asked again."""

    misses: int = 0
    rest_until: float = 0.0
    why: str = ""


class Port:
    """A line in use. Get one by `share`, give it back by `release`. `answer`: seconds, where `ANSWER` is too long."""

    def __init__(self, address: Address, answer: float | None = None) -> None:
        self._address, self._answer = address, ANSWER if answer is None else answer
        self._users = 0
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._sieve = Sieve(address.rtu)
        self._turn = asyncio.Lock()
        self._quiet_until = 0.0
        self._units: dict[int, _Unit] = {}

    async def open(self) -> None:
        """Open the line, which the first question does otherwise. `DeviceError` with the remedy."""
        await self._connected()

    async def read(self, unit: int, span: Span) -> list[int]:
        """The registers of `span`, asked for twice if need be. `DeviceError` names line, unit and remedy.

        Raises at once while the unit is being left alone.
        """
        known, loop = self._units.setdefault(unit, _Unit()), asyncio.get_running_loop()
        if loop.time() < known.rest_until:
            raise DeviceError(known.why)
        for last in (known.misses >= PATIENCE, True):
            try:
                words = await self.ask(unit, span)
            except RegistersRefused:
                known.misses = 0
                raise
            except DeviceError as error:
                if not last:
                    continue
                known.misses, known.why = known.misses + 1, str(error)
                if known.misses >= PATIENCE:
                    known.rest_until = loop.time() + min(LONGEST_REST, 2.0 ** (known.misses - PATIENCE + 1))
                raise
            known.misses = 0
            return words
        raise AssertionError("unreachable")

    async def ask(self, unit: int, span: Span) -> list[int]:
        """One try."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._quiet_until - loop.time()))
            # RTU answers carry no number: one that may still be under way has to arrive before the next question.
            silence = self._answer
            try:
                registers = await self._exchange(unit, span)
                silence = GAP
            except RegistersRefused:
                silence = GAP
                raise
            finally:
                self._quiet_until = loop.time() + silence
            return registers

    async def _exchange(self, unit: int, span: Span) -> list[int]:
        who = f"meter {unit} on {self._address}"
        client = await self._connected()
        read = client.read_holding_registers if span.function == 3 else client.read_input_registers
        self._sieve.expect(unit, span)
        try:
            answer = await read(span.start, count=span.count, device_id=unit)
        except (ModbusException, OSError) as error:
            if not client.connected:
                raise DeviceError(f"{who}: the connection broke; check the adapter and its cable") from error
            if self._sieve.heard:
                raise DeviceError(
                    f"{who}: {self._sieve.heard} bytes came and no whole answer; check line settings, A/B wiring, "
                    "termination, and for two meters with one unit number"
                ) from error
            raise DeviceError(
                f"{who} does not answer: check A/B wiring, supply, unit number and line settings"
            ) from error
        if answer.isError() and answer.exception_code in _GATEWAY_EXCEPTIONS:
            raise DeviceError(f"{who}: its gateway gets no answer; check A/B wiring, supply and unit number")
        if answer.isError():
            where = f"{span.start:#06x}..{span.start + span.count - 1:#06x}"
            raise RegistersRefused(
                f"{who} refuses registers {where} (exception {answer.exception_code}): check the meter model"
            )
        return list(answer.registers)

    async def _connected(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if self._client is None:
            self._client = _client(self._address, self._answer, self._sieve)
        try:
            connected = self._client.connected or await self._client.connect()
        except termios.error as error:  # the library lets it pass, and holds the device open in its frames
            traceback.clear_frames(error.__traceback__)
            raise SettingsRefused(
                f"{self._address}: the adapter does not take these settings ({error.args[-1]}); try another"
            ) from error
        if not connected:
            raise DeviceError(f"{self._address}: cannot be opened; {self._why_not()}")
        return self._client

    def _why_not(self) -> str:
        """The library does not say why it could not open it."""
        if isinstance(self._address.line, int):
            return "check host, port and network"
        if not Path(self._address.place).exists():
            return "it is not there: plug the adapter in, or correct the name (ls /dev/serial/by-id)"
        if not os.access(self._address.place, os.R_OK | os.W_OK):
            return "this user may not: add it to the device's group (sudo adduser chargerd dialout), start it anew"
        return "check that no other program has it"

    def release(self) -> None:
        """One user less; the last one closes the line."""
        self._users -= 1
        if self._users == 0:
            del _ports[self._address.key]
            self.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    @staticmethod
    def share(address: Address) -> Port:
        """The port at this address, for one more user. `DeviceError` when it is in use with other line settings."""
        port = _ports.setdefault(address.key, Port(address))
        if port._address != address:
            raise DeviceError(f"{address}: in use as {port._address}; all meters on one line need the same settings")
        port._users += 1
        return port


_ports: dict[str, Port] = {}


class Sieve:
    """Lets nothing through to the library but the one answer that is waited for, whole and sound.

    The library takes the first bytes that could begin a frame for one, and throws away what follows: with a stray zero
    before it - the turn-around of many adapters - no answer of unit 1 ever arrives. What it cannot decode it raises
    out of the event loop, and what is meant for others it logs.
    """

    def __init__(self, rtu: bool) -> None:
        self._rtu = rtu
        self._unit, self._span, self._number = 0, Span(3, 0, 0), b""
        self.heard = 0
        """Bytes that came since the question."""

    def expect(self, unit: int, span: Span) -> None:
        self._unit, self._span, self.heard = unit, span, 0

    def __call__(self, sending: bool, data: bytes) -> bytes:
        """The library's `trace_packet`: what it hands over is all that has come since the question."""
        if sending:
            self._number = data[:2]
            return data
        self.heard = len(data)
        return self._serial(data) if self._rtu else self._tcp(data)

    def _serial(self, data: bytes) -> bytes:
        for head, rest in self._answers():
            at = data.find(head)
            while at >= 0:
                frame = data[at : at + len(head) + rest + 2]
                whole = len(frame) == len(head) + rest + 2
                if whole and FramerRTU.compute_CRC(frame[:-2]) == int.from_bytes(frame[-2:]):
                    return frame
                at = data.find(head, at + 1)
        return b""

    def _tcp(self, data: bytes) -> bytes:
        for head, rest in self._answers():
            start = self._number + b"\0\0" + (len(head) + rest).to_bytes(2) + head
            at = data.find(start)
            if at >= 0 and len(data) >= at + len(start) + rest:
                return data[at : at + len(start) + rest]
        return b""

    def _answers(self) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        """How the answer begins and how many bytes follow: the registers, or an exception."""
        unit, function, size = self._unit, self._span.function, 2 * self._span.count
        return (bytes((unit, function, size)), size), (bytes((unit, function | 0x80)), 1)


def _client(address: Address, answer: float, sieve: Sieve) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
    framer = FramerType.RTU if address.rtu else FramerType.SOCKET
    timeout = address.timeout - ANSWER + answer
    if isinstance(address.line, int):
        return AsyncModbusTcpClient(
            address.place,
            framer=framer,
            port=address.line,
            timeout=timeout,
            retries=0,
            reconnect_delay=0,
            trace_packet=sieve,
        )
    return AsyncModbusSerialClient(
        address.place,
        framer=framer,
        baudrate=address.line.baud,
        parity=address.line.parity,
        stopbits=address.line.stop_bits,
        timeout=timeout,
        retries=0,
        reconnect_delay=0,
        trace_packet=sieve,
    )
