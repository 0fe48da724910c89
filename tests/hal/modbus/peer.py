"""A meter made of a register image, on a pty or a TCP port, with every bad habit that a line can have.

It answers from bytes, not from a library: what the reader's library believes of a frame is not what judges it here.
"""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

IMAGES = Path(__file__).parent / "images"


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS, bit by bit, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


@dataclass
class Image:
    """Registers by function and address, and what they mean: field of the reading → value, None or text."""

    registers: dict[tuple[int, int], int]
    means: dict[str, float | str | None]
    most: int


def image(name: str) -> Image:
    """`images/NAME.txt`: lines `FUNCTION ADDRESS: WORDS` in hex, `name = value`, `most = registers of one answer`."""
    registers: dict[tuple[int, int], int] = {}
    means: dict[str, float | str | None] = {}
    most = 125
    for line in (IMAGES / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if ":" in text:
            place, _, words = text.partition(":")
            function, start = place.split()
            registers |= {(int(function), int(start, 16) + n): int(word, 16) for n, word in enumerate(words.split())}
        elif text:
            key, _, value = (part.strip() for part in text.partition("="))
            if key == "most":
                most = int(value)
            elif key == "serial":
                means[key] = value
            else:
                means[key] = None if value == "none" else float(value)
    return Image(registers, means, most)


@dataclass
class Meter:
    """One unit. `habit`: what is wrong with its answers, "" for nothing; `times`: how often it is, None: always."""

    unit: int
    image: Image
    habit: str = ""
    times: int | None = None
    code: int = 2
    asked: int = 0
    delay: float = 0.0
    registers: dict[tuple[int, int], int] = field(init=False)

    def __post_init__(self) -> None:
        self.registers = dict(self.image.registers)

    def words(self, function: int, start: int, *words: int) -> None:
        self.registers |= {(function, start + n): word for n, word in enumerate(words)}

    def pdu(self, question: bytes) -> bytes:
        """The answer to function, start and count, without unit and checksum."""
        function, start, count = question[0], int.from_bytes(question[1:3]), int.from_bytes(question[3:5])
        places = [(function, start + n) for n in range(count)]
        if self._is("refuse"):
            return bytes((function | 0x80, self.code))
        if not 1 <= count <= self.image.most or not all(place in self.registers for place in places):
            return bytes((function | 0x80, 2))
        data = b"".join(self.registers[place].to_bytes(2) for place in places)
        return bytes((function, len(data))) + data

    def _is(self, *habits: str) -> bool:
        if self.habit not in habits or self.times == 0:
            return False
        self.times = None if self.times is None else self.times - 1
        return True

    def spoilt(self, frame: bytes, sound: bytes) -> Iterator[bytes]:
        """What goes over the line instead of `frame`, piece by piece; `sound`: a frame that is not meant for us."""
        if self._is("silent"):
            return
        if self._is("noise"):  # the turn-around of an adapter, and what it could be taken for
            yield b"\x00" + frame + b"\xff"
        elif self._is("burst"):
            yield bytes((0xFF, 0x01, 0x03, 0x04)) + frame
        elif self._is("truncated"):
            yield frame[:-3]
        elif self._is("crc"):
            yield frame[:-1] + bytes((frame[-1] ^ 0x55,))
        elif self._is("flipped"):
            yield frame[:4] + bytes((frame[4] ^ 0x10,)) + frame[5:]
        elif self._is("unit"):
            yield sound
        elif self._is("long"):
            yield frame[:2] + bytes((frame[2] + 2,)) + frame[3:] + b"\0\0"
        elif self._is("garbage"):
            yield os.urandom(200)
        elif self._is("flood"):
            for _ in range(200):
                yield os.urandom(512)
        elif self._is("drip"):
            yield from (frame[n : n + 1] for n in range(len(frame)))
        elif self._is("endless"):
            for _ in range(2000):
                yield b"\x01"
        else:
            yield frame


class Line:
    """A pty pair with meters at its far end: the charger opens `path`."""

    pace = 0.002

    def __init__(self, *meters: Meter) -> None:
        self.meters = {meter.unit: meter for meter in meters}
        self._far, self._near = os.openpty()
        for fd in (self._far, self._near):
            tty.setraw(fd)
        self.path = os.ttyname(self._near)
        self._heard = b""
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(self._far, self._hear)

    def _hear(self) -> None:
        try:
            self._heard += os.read(self._far, 4096)
        except OSError:  # nobody has the other end open
            return
        while len(self._heard) >= 8:
            question, self._heard = self._heard[:8], self._heard[8:]
            assert crc(question[:6]) == question[6:], question.hex(" ")
            meter = self.meters.get(question[0])
            if meter is not None:
                meter.asked += 1
                task = asyncio.get_running_loop().create_task(self._answer(meter, question))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _answer(self, meter: Meter, question: bytes) -> None:
        await asyncio.sleep(meter.delay)
        body = meter.pdu(question[1:6])
        frame, other = bytes((meter.unit,)) + body, bytes((meter.unit % 247 + 1,)) + body
        for piece in meter.spoilt(frame + crc(frame), other + crc(other)):
            with suppress(BlockingIOError, OSError):
                os.write(self._far, piece)
            await asyncio.sleep(self.pace)

    def unplug(self) -> None:
        """Everything of the device is gone, for whoever has it open too."""
        asyncio.get_running_loop().remove_reader(self._far)
        for task in self._tasks:
            task.cancel()
        for fd in (self._far, self._near):
            with suppress(OSError):
                os.close(fd)


class Gateway:
    """The same meters behind a TCP port: with the header of Modbus TCP, or `rtu` frames as they are."""

    def __init__(self, *meters: Meter, rtu: bool = False) -> None:
        self.meters = {meter.unit: meter for meter in meters}
        self._rtu = rtu
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                whole = await reader.readexactly(8 if self._rtu else 12)
                unit, question = (whole[0], whole[1:6]) if self._rtu else (whole[6], whole[7:12])
                meter = self.meters.get(unit)
                if meter is None:
                    continue
                meter.asked += 1
                await asyncio.sleep(meter.delay)
                for piece in meter.spoilt(*self._frames(unit, whole[:2], meter.pdu(question))):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        self._writers.discard(writer)
        writer.close()

    def _frames(self, unit: int, number: bytes, body: bytes) -> tuple[bytes, bytes]:
        if self._rtu:
            frame, other = bytes((unit,)) + body, bytes((unit + 1,)) + body
            return frame + crc(frame), other + crc(other)
        size = (len(body) + 1).to_bytes(2)
        late = (int.from_bytes(number) + 7 & 0xFFFF).to_bytes(2)  # the answer to another question
        return number + b"\0\0" + size + bytes((unit,)) + body, late + b"\0\0" + size + bytes((unit,)) + body
