"""One serial line or TCP gateway, shared by every meter on it: one client, one request at a time.

The library's own retries are kept short: a meter that is away must not hold the line for the others. A port that is
lost is opened again by the next read.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from hal.api import DeviceError
from hal.modbus.model import MAX_REGISTERS, Serial

ANSWER = 0.3
"""Seconds that a meter may think before its answer begins."""

GAP = 0.05
"""Seconds of silence that a meter wants between two frames."""

_GATEWAY_EXCEPTIONS = (10, 11)  # path unavailable, target failed to respond

# The library reports each lost answer at ERROR, with a dump; what matters of it comes back as DeviceError.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a line is: the path of a serial device with its settings, or a host with its TCP port."""

    place: str
    line: Serial | int

    def __str__(self) -> str:
        if isinstance(self.line, int):
            return f"{self.place}:{self.line}"
        return f"{self.place} at {self.line.baud} baud 8{self.line.parity}{self.line.stop_bits}"

    @property
    def key(self) -> str:
        """What two meters on one line have in common, whatever settings they ask for."""
        return str(self) if isinstance(self.line, int) else self.place

    @property
    def timeout(self) -> float:
        """Seconds for a whole answer: thinking time, and the longest question and answer at eleven bits a byte."""
        return ANSWER if isinstance(self.line, int) else ANSWER + 11 * (8 + 5 + 2 * MAX_REGISTERS) / self.line.baud


class Port:
    """A line in use. Get one by `share`, give it back by `release`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._users = 0
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._turn = asyncio.Lock()
        self._quiet_until = 0.0

    async def read(self, function: int, unit: int, start: int, count: int) -> list[int]:
        """`count` registers from `start` (function 3 or 4). `DeviceError` names the line, the unit and the remedy."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._quiet_until - loop.time()))
            # RTU answers carry no number: one that may still be under way has to arrive before the next question.
            silence = ANSWER
            try:
                registers, asked_again = await self._exchange(function, unit, start, count)
                silence = GAP + self._address.timeout if asked_again else GAP
            finally:
                self._quiet_until = loop.time() + silence
            return registers

    async def _exchange(self, function: int, unit: int, start: int, count: int) -> tuple[list[int], bool]:
        who = f"meter {unit} on {self._address}"
        client = await self._connected()
        read = client.read_holding_registers if function == 3 else client.read_input_registers
        try:
            answer = await read(start, count=count, device_id=unit)
        except ModbusException as error:
            if not client.connected:
                raise DeviceError(f"{who}: the connection broke; check the adapter and its cable") from error
            raise DeviceError(
                f"{who} does not answer: check A/B wiring, supply, unit number and line settings"
            ) from error
        if answer.isError() and answer.exception_code in _GATEWAY_EXCEPTIONS:
            raise DeviceError(f"{who}: its gateway gets no answer; check A/B wiring, supply and unit number")
        if answer.isError():
            span = f"{start:#06x}..{start + count - 1:#06x}"
            raise DeviceError(
                f"{who} refuses registers {span} (exception {answer.exception_code}): check the meter model"
            )
        if len(answer.registers) != count:
            raise DeviceError(
                f"{who} answers {len(answer.registers)} registers for {count}: two meters with one unit number?"
            )
        return list(answer.registers), answer.retries > 0

    async def _connected(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if self._client is None:
            self._client = _client(self._address)
        if not self._client.connected and not await self._client.connect():
            remedy = "that the adapter is plugged in and that this user may open it"
            if isinstance(self._address.line, int):
                remedy = "host, port and network"
            raise DeviceError(f"{self._address}: cannot be opened; check {remedy}")
        return self._client

    def release(self) -> None:
        """One user less; the last one closes the line."""
        self._users -= 1
        if self._users == 0:
            del _ports[self._address.key]
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


def _client(address: Address) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
    if isinstance(address.line, int):
        return AsyncModbusTcpClient(
            address.place, port=address.line, timeout=address.timeout, retries=1, reconnect_delay=0
        )
    return AsyncModbusSerialClient(
        address.place,
        framer=FramerType.RTU,
        baudrate=address.line.baud,
        parity=address.line.parity,
        stopbits=address.line.stop_bits,
        timeout=address.timeout,
        retries=1,
        reconnect_delay=0,
    )
