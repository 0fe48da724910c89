"""The one address that the charger knows. Behind it an honest CSMS, before it whatever a cause makes of it.

Bytes come to a listener that may hand them on, keep them, break them or answer itself; handed on, they meet a websocket
server whose frames may be tampered with before they reach the CSMS, or the charger.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from chargerd.lab.csms import VERSIONS, Csms
from chargerd.lab.site import STATION

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Behaviour = Callable[[Reader, Writer], Awaitable[None]]
Speech = Callable[[ServerConnection, str], Awaitable[None]]
Manners = Callable[[ServerConnection], Awaitable[bool]]
CHUNK = 65536


class Front:
    """`behave` is what happens to a new connection, `greet` to a new websocket (True: go on), `speak` to a frame."""

    def __init__(self, csms: Csms, host: str = "127.0.0.1") -> None:
        self.csms, self.host, self.port = csms, host, 0
        self.tls: ssl.SSLContext | None = None
        self.behave: Behaviour = self.hand_on
        self.greet: Manners = _go_on
        self.speak: Speech = _say
        self.hear: Callable[[str | bytes], bool] = lambda text: True
        """Is a frame of the charger handed on to the CSMS?"""
        self.subprotocols: list[Subprotocol] | None = [Subprotocol(name) for name in VERSIONS]
        self.tries: list[float] = []
        """When somebody came, in the loop's time."""
        self._listener: asyncio.Server | None = None
        self._inner: Server | None = None
        self._inner_port = 0
        self._clients: set[Writer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._websockets: set[asyncio.Task[None]] = set()
        self._fillers: list[socket.socket] = []

    # ---- open and closed

    async def start(self) -> None:
        self._inner = await serve(
            self._websocket,
            "127.0.0.1",
            0,
            select_subprotocol=self._select,
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
            max_size=1 << 22,
        )
        self._inner_port = next(iter(self._inner.sockets)).getsockname()[1]
        await self.listen()

    async def listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._client,
            self.host,
            self.port,
            ssl=self.tls,
            reuse_address=True,
            ssl_handshake_timeout=3 if self.tls else None,
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self.refuse()
        if self._inner is not None:
            self._inner.close()
        for task in self._websockets:
            task.cancel()

    async def refuse(self) -> None:
        """Nobody listens any more, and nobody is connected."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self.cut()
        await asyncio.sleep(0.05)

    async def honest(self) -> None:
        """All is well again; what is left of the cause is gone."""
        self.behave, self.greet, self.speak = self.hand_on, _go_on, _say
        self.hear = lambda text: True
        self.subprotocols = [Subprotocol(name) for name in VERSIONS]
        if self._listener is None:
            await self.refuse()
            await self.listen()

    async def relisten(self, tls: ssl.SSLContext | None) -> None:
        """The same address with another certificate, or with none."""
        await self.refuse()
        self.tls = tls
        await self.listen()

    async def black_hole(self) -> None:
        """No answer to a SYN: the kernel drops what does not fit a full queue of a listener that accepts nobody."""
        await self.refuse()
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deaf.bind((self.host, self.port))
        deaf.listen(0)
        self._fillers = [deaf]
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.host, self.port))
            self._fillers.append(filler)

    def cut(self, *, reset: bool = True) -> None:
        """End every connection, by RST or in order."""
        for writer in list(self._clients):
            if reset:
                _reset(writer)
            else:
                writer.close()
        for task in list(self._tasks):
            task.cancel()

    # ---- bytes

    async def hand_on(self, reader: Reader, writer: Writer) -> None:
        """As it should be."""
        await self.pipe(reader, writer, _same)

    async def pipe(
        self, reader: Reader, writer: Writer, change: Callable[[bytes], AsyncIterator[bytes]], back: bool = True
    ) -> None:
        """Both ways; what goes to the charger is changed. Without `back` nothing more goes there."""
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._inner_port)

        async def up() -> None:
            while data := await reader.read(CHUNK):
                ours.write(data)
                await ours.drain()
            ours.write_eof()

        async def down() -> None:
            while data := await theirs.read(CHUNK):
                async for part in change(data):
                    writer.write(part)
                    await writer.drain()
            writer.close()

        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(up())
                if back:
                    both.create_task(down())
        except* (ConnectionError, ssl.SSLError, OSError):
            pass
        finally:
            ours.close()
            writer.close()

    async def _client(self, reader: Reader, writer: Writer) -> None:
        self.tries.append(asyncio.get_running_loop().time())
        self._clients.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            self._clients.discard(writer)
            writer.close()

    # ---- frames

    def _select(self, connection: ServerConnection, offered: Any) -> Subprotocol | None:
        return next((name for name in offered if self.subprotocols and name in self.subprotocols), None)

    async def _websocket(self, connection: ServerConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._websockets.add(task)
        try:
            await self._talk(connection)
        finally:
            self._websockets.discard(task)

    async def _talk(self, connection: ServerConnection) -> None:
        if not await self.greet(connection):
            return
        if connection.subprotocol is None or self.csms.absent:
            await connection.close(1002)
            return
        outgoing: asyncio.Queue[str | None] = asyncio.Queue()
        peer = self.csms.attach(STATION, connection.subprotocol, outgoing.put_nowait, lambda: outgoing.put_nowait(None))

        async def answer() -> None:
            with contextlib.suppress(ConnectionClosed):
                while (text := await outgoing.get()) is not None:
                    await self.speak(connection, text)
                await connection.close()

        answering = asyncio.create_task(answer())
        try:
            async for text in connection:
                if self.hear(text):
                    peer.receive(text)
        except ConnectionClosed:
            pass
        finally:
            peer.close()
            answering.cancel()


async def _same(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _go_on(connection: ServerConnection) -> bool:
    return True


async def _say(connection: ServerConnection, text: str) -> None:
    await connection.send(text)


def _reset(writer: Writer) -> None:
    plain = writer.get_extra_info("socket")
    if plain is not None:
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
