"""What networks and backends do, on purpose: each deed changes what the charger meets from now on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from chargerd.lab.csms import Csms
from chargerd.lab.peer import Script
from tests.linking.certificates import Certificates
from tests.linking.front import CHUNK, Front, Reader, Writer
from tests.linking.surroundings import Surroundings

ACTIONS = (
    *("BootNotification", "Heartbeat", "Authorize", "StatusNotification", "StartTransaction", "StopTransaction"),
    *("MeterValues", "TransactionEvent", "SecurityEventNotification", "NotifyEvent"),
)
WRONG_KEY = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: wrong\r\n\r\n"
)
MESSAGE_TIMEOUT = 5.0  # s, the least that can be set


class Scene(Protocol):
    """What a cause may touch."""

    front: Front
    csms: Csms
    around: Surroundings
    name: str
    ca_file: Path

    @property
    def certificates(self) -> Certificates: ...

    def configure(self, **endpoint: Any) -> None:
        """Give the running link another endpoint."""

    def break_link(self, how: BaseException) -> None:
        """Make the next tries die of this."""

    def mend_link(self) -> None: ...


Deed = Callable[[Scene], Awaitable[None]]


async def honest(scene: Scene) -> None:
    scene.csms.unscript()
    await scene.front.honest()


# ---------------------------------------------------------------- what a connection meets


def behaving(behave: Callable[[Reader, Writer], Awaitable[None]], *, cut: bool = True) -> Deed:
    async def hurt(scene: Scene) -> None:
        scene.front.behave = behave
        if cut:
            scene.front.cut()

    return hurt


async def reset(reader: Reader, writer: Writer) -> None:
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang_up(reader: Reader, writer: Writer) -> None:
    await reader.read(CHUNK)


async def mute(reader: Reader, writer: Writer) -> None:
    while await reader.read(CHUNK):
        pass


async def drip(reader: Reader, writer: Writer) -> None:
    await reader.read(CHUNK)
    for byte in b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.3)


def http(status: str, *headers: str, body: bytes = b"no") -> Callable[[Reader, Writer], Awaitable[None]]:
    """Answer every request so."""

    async def answer(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", "")
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


async def plain(reader: Reader, writer: Writer) -> None:
    """A web server without TLS, to whatever is said."""
    await reader.read(CHUNK)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await writer.drain()


async def alert(reader: Reader, writer: Writer) -> None:
    """A TLS server, to a request without it: fatal, unexpected_message (RFC 8446 §6)."""
    await reader.read(CHUNK)
    writer.write(b"\x15\x03\x01\x00\x02\x02\x0a")
    await writer.drain()


def refusing(**how: Any) -> Deed:
    """A TLS server that cannot agree with us, and says so before it hangs up (asyncio's does not)."""

    async def hurt(scene: Scene) -> None:
        context = scene.certificates.server(**how)

        async def refuse(reader: Reader, writer: Writer) -> None:
            hello, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
            server = context.wrap_bio(hello, answer, server_side=True)
            hello.write(await reader.read(CHUNK))
            with contextlib.suppress(ssl.SSLError):
                server.do_handshake()
            writer.write(answer.read())
            await writer.drain()

        await scene.front.relisten(None)
        scene.front.behave = refuse

    return hurt


def unserved(behave: Callable[[Reader, Writer], Awaitable[None]]) -> Deed:
    """No TLS any more, and somebody else there."""

    async def hurt(scene: Scene) -> None:
        await scene.front.relisten(None)
        scene.front.behave = behave

    return hurt


async def served_again(scene: Scene) -> None:
    await scene.front.honest()
    await scene.front.relisten(scene.certificates.server())


def raw(answer: bytes) -> Callable[[Reader, Writer], Awaitable[None]]:
    async def say(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.2)

    return say


async def wrong_version(reader: Reader, writer: Writer) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    answer = WRONG_KEY.replace(b"wrong\r\n", accept + b"\r\nSec-WebSocket-Protocol: ocpp1.2\r\n")
    writer.write(answer)
    await writer.drain()
    await reader.read(CHUNK)


async def mid_frame(scene: Scene) -> None:
    """Every connection breaks off by RST after the first half of an answer."""

    async def broken(reader: Reader, writer: Writer) -> None:
        async def change(data: bytes) -> AsyncIterator[bytes]:
            if data.startswith(b"HTTP/"):
                yield data
                return
            yield data[: len(data) // 2]
            await reset(reader, writer)

        await scene.front.pipe(reader, writer, change)

    scene.front.behave = broken
    scene.front.cut()


async def half_open(scene: Scene) -> None:
    """Connections live on as far as TCP knows, but nobody is behind them."""

    async def frozen(reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(3600)

    async def silent(data: bytes) -> AsyncIterator[bytes]:
        if data.startswith(b"HTTP/"):
            yield data
        return

    async def one_way(reader: Reader, writer: Writer) -> None:
        await scene.front.pipe(reader, writer, silent)

    scene.front.behave = one_way
    scene.front.cut()


async def black_hole(scene: Scene) -> None:
    await scene.front.black_hole()


async def refuse(scene: Scene) -> None:
    await scene.front.refuse()


async def packets_dropped(scene: Scene) -> None:
    await scene.around.drop(scene.front.port)


async def packets_again(scene: Scene) -> None:
    await scene.around.pass_again(scene.front.port)


# ---------------------------------------------------------------- names


def named(*answers: str | None) -> Deed:
    """The name stands for these from now on; the connection ends, so that it is asked again."""

    async def hurt(scene: Scene) -> None:
        scene.around.zone[scene.name] = answers
        scene.front.cut()

    return hurt


async def named_again(scene: Scene) -> None:
    scene.around.zone[scene.name] = ("127.0.0.1",)


async def moved(scene: Scene) -> None:
    """The backend moves to another address, and its name follows later."""
    await scene.front.refuse()
    scene.front.host = "127.0.0.2"
    await scene.front.listen()


async def followed(scene: Scene) -> None:
    scene.around.zone[scene.name] = ("127.0.0.2",)


async def first_dead(scene: Scene) -> None:
    scene.around.zone[scene.name] = ("127.0.0.9", "127.0.0.1")  # nobody listens at the first
    scene.front.cut()


# ---------------------------------------------------------------- TLS


def served(certificate: str | None, **how: Any) -> Deed:
    async def hurt(scene: Scene) -> None:
        tls = None if certificate is None else scene.certificates.server(certificate, **how)
        await scene.front.relisten(tls)

    return hurt


async def well_served(scene: Scene) -> None:
    await scene.front.relisten(scene.certificates.server())


async def without_tls(scene: Scene) -> None:
    await scene.front.relisten(None)


async def rotated(scene: Scene) -> None:
    """The backend's authority is another one now."""
    await scene.front.relisten(scene.certificates.server("unknown"))


async def roots_follow(scene: Scene) -> None:
    scene.ca_file.write_bytes(scene.certificates.other_ca.read_bytes())


# ---------------------------------------------------------------- websockets


def greeting(greet: Callable[[ServerConnection], Awaitable[bool]]) -> Deed:
    async def hurt(scene: Scene) -> None:
        scene.front.greet = greet
        scene.front.cut()

    return hurt


def closing(code: int) -> Deed:
    async def greet(connection: ServerConnection) -> bool:
        if code in LAWFUL or 3000 <= code <= 4999:
            await connection.close(code, "because")
        else:  # no server may send these
            connection.transport.write(b"\x88\x02" + struct.pack("!H", code))
            await asyncio.sleep(0.2)
            connection.transport.close()
        return False

    return greeting(greet)


LAWFUL = {CloseCode(code) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)}


def offering(*subprotocols: str) -> Deed:
    async def hurt(scene: Scene) -> None:
        scene.front.subprotocols = [Subprotocol(name) for name in subprotocols]
        scene.front.cut()

    return hurt


def flooding(frame: bytes, *, reading: bool = True) -> Deed:
    async def greet(connection: ServerConnection) -> bool:
        if not reading:
            connection.transport.pause_reading()
        with contextlib.suppress(ConnectionError):
            while not connection.transport.is_closing():
                if connection.transport.get_write_buffer_size() < CHUNK:
                    connection.transport.write(frame * 500)
                await asyncio.sleep(0.005)
        return False

    return greeting(greet)


async def never_reads(connection: ServerConnection) -> bool:
    connection.transport.pause_reading()
    await asyncio.sleep(3600)
    return False


def speaking(*before: str | bytes | list[str], how: str = "text") -> Deed:
    """Each answer follows these frames, and is said as binary, in fragments, or plainly; the connection stays."""

    async def speak(connection: ServerConnection, text: str) -> None:
        for frame in before:
            await connection.send(frame)
        match how:
            case "binary":
                await connection.send(text.encode())
            case "fragments":
                await connection.send([text[at : at + 7] for at in range(0, len(text), 7)])
            case _:
                await connection.send(text)

    async def hurt(scene: Scene) -> None:
        scene.front.speak = speak
        scene.front.hear = lambda text: '"-1"' not in str(text)  # 2.x answers what it cannot read, the CSMS said none

    return hurt


async def not_utf8(connection: ServerConnection) -> bool:
    connection.transport.write(b"\x81\x02\xc3\x28")
    await asyncio.sleep(1)
    return False


# ---------------------------------------------------------------- answers


def answering(script: Script, actions: Iterable[str] = ACTIONS) -> Deed:
    async def hurt(scene: Scene) -> None:
        for action in actions:
            scene.csms.script(action, script, times=None)

    return hurt


# ---------------------------------------------------------------- our own side


async def url_changes(scene: Scene) -> None:
    """The backend is gone for good; the address of another place is set while the link is down."""
    await scene.front.refuse()


async def url_changed(scene: Scene) -> None:
    scene.front.port = 0
    await scene.front.listen()
    scene.configure(url=f"ws://127.0.0.1:{scene.front.port}/ocpp")


def surprising(how: BaseException) -> Deed:
    async def hurt(scene: Scene) -> None:
        scene.break_link(how)
        scene.front.cut()

    return hurt


async def mended(scene: Scene) -> None:
    scene.mend_link()
