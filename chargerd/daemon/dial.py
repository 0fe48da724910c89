"""One try at the backend, from its name to the open websocket; where it stands is known at every moment.

The steps are our own where it matters that they can be told apart: a name server that is silent is another trouble than
a dead address or a deaf web server. Names are looked up in a thread that nobody has to wait for, so that leaving never
takes as long as a name server does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import Subprotocol

from chargerd.daemon.tls import by_wildcard

STAGGER = 0.25  # s until the next address is tried beside one that does not answer (RFC 8305 §8)
MOST_ADDRESSES = 8
SLICE = 4096  # bytes looked at before it is asked whether that was a flood
MAX_FRAME = 1024 * 1024  # above the engine's own limit: a frame between the two still gets its CALLERROR
MAX_BUFFER = 1024 * 1024  # bytes that wait for a peer that does not read
FRAMES_RATE, FRAMES_BURST = 200.0, 2000.0  # websocket frames of theirs, pings and fragments included

Stage = Literal["name", "tcp", "proxy", "tls", "http"]
Address = tuple[int, int, int, str, Any]  # of getaddrinfo


class Wildcard(Exception):
    """The certificate is valid for a whole domain (1.6 security §7.7, 2.x AllowCSMSTLSWildcards)."""


@dataclass(slots=True)
class Attempt:
    """How far it got; `addresses` are those that the name stands for now; `first`: the first bytes of the answer."""

    stage: Stage = "name"
    addresses: tuple[str, ...] = ()
    first: bytes = b""


@dataclass(frozen=True, slots=True)
class Target:
    """`url` with the station's id; `tls` for wss://; `wildcards`: certificates for a whole domain are good enough."""

    url: str
    host: str
    port: int
    subprotocols: tuple[str, ...]
    headers: dict[str, str] = field(repr=False)
    tls: ssl.SSLContext | None
    wildcards: bool
    proxy: str | None


class Connection(ClientConnection):
    """A websocket whose peer cannot make it grow or keep it busy; `fault` says why it was cut."""

    fault = ""

    def __init__(self, *arguments: Any, target: Target, attempt: Attempt, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._target, self._attempt = target, attempt
        self._left, self._counted_at = FRAMES_BURST, self.loop.time()

    async def handshake(self, *arguments: Any, **more: Any) -> None:
        """The HTTP part; the certificate is looked at before the password is sent."""
        self._attempt.stage = "http"
        connected = self.transport.get_extra_info("ssl_object")
        if connected is not None and not self._target.wildcards:
            found = by_wildcard(connected, self._target.host)
            if found is not None:
                raise Wildcard(found)
        await super().handshake(*arguments, **more)

    def data_received(self, data: bytes) -> None:
        self._attempt.first = self._attempt.first or bytes(data[:3])
        now = self.loop.time()
        self._left = min(FRAMES_BURST, self._left + (now - self._counted_at) * FRAMES_RATE)
        self._counted_at = now
        for at in range(0, len(data), SLICE):
            super().data_received(data[at : at + SLICE])
            if self._left < 0:
                self._cut("the backend floods us with frames: it is faulty, or not a backend")
                return
            if self.transport.get_write_buffer_size() > MAX_BUFFER:
                self._cut("the backend sends but does not read: it is faulty, or the network to it is broken")
                return

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode is not Opcode.CLOSE:
            self._left -= 1
        super().process_event(event)

    def _cut(self, why: str) -> None:
        self.fault = why
        self.transport.abort()


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        # Nowhere in OCPP is a redirect; followed, it would carry the password along on the word of an answer that may
        # be anybody's (profile 1), and hide that the configured address is out of date.
        return exc


class Names:
    """Looks names up, each time anew: an answer may change. One thread for each name at most."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def lookup(self, host: str, port: int) -> Sequence[Address]:
        """Raises OSError, socket.gaierror among them."""
        with contextlib.suppress(socket.gaierror):  # numbers need no thread
            return _getaddrinfo(host, port, socket.AI_NUMERICHOST)
        key = host, port
        if key not in self._running:
            loop = asyncio.get_running_loop()
            self._running[key] = future = loop.create_future()
            future.add_done_callback(partial(self._looked_up, key))
            threading.Thread(target=_look_up, args=(loop, future, host, port), name="names", daemon=True).start()
        return await asyncio.shield(self._running[key])

    def _looked_up(self, key: tuple[str, int], done: asyncio.Future[list[Address]]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # nobody may wait for it any more


def _getaddrinfo(host: str, port: int, flags: int = 0) -> list[Address]:
    return cast(list[Address], socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


def _look_up(loop: asyncio.AbstractEventLoop, future: asyncio.Future[list[Address]], host: str, port: int) -> None:
    tell: partial[None]
    try:
        tell = partial(future.set_result, _getaddrinfo(host, port))
    except (OSError, UnicodeError) as e:
        tell = partial(future.set_exception, e if isinstance(e, OSError) else socket.gaierror(str(e)))
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(tell)


async def dial(target: Target, attempt: Attempt, names: Names, timeout: float, close_timeout: float) -> Connection:
    """The open connection. Raises what went wrong: OSError, TimeoutError, Wildcard or a WebSocketException."""
    making = partial(Connection, target=target, attempt=attempt)
    settings: dict[str, Any] = {
        "subprotocols": [Subprotocol(name) for name in target.subprotocols],
        "additional_headers": target.headers,
        "user_agent_header": "chargerd",
        "ssl": target.tls,
        "compression": None,
        "ping_interval": None,  # the interval changes at run time, so the pings are the link's own
        "open_timeout": None,
        "close_timeout": close_timeout,
        "max_size": MAX_FRAME,
        "create_connection": making,
    }
    async with asyncio.timeout(timeout):
        if target.proxy is not None:
            attempt.stage = "proxy"
            proxy = await _numbered(target.proxy, names)
            return cast(Connection, await _Connect(target.url, proxy=proxy, **settings))
        addresses = await names.lookup(target.host, target.port)
        attempt.addresses = tuple(dict.fromkeys(str(address[4][0]) for address in addresses))
        attempt.stage = "tcp"
        reached = await _reach_one(addresses[:MOST_ADDRESSES])
        attempt.stage = "http" if target.tls is None else "tls"
        try:
            return cast(Connection, await _Connect(target.url, proxy=None, sock=reached, **settings))
        except BaseException:
            reached.close()
            raise


async def _numbered(proxy: str, names: Names) -> str:
    """The proxy by its number: the library would look its name up in a thread that leaving has to wait for.

    Of several, the first that answers: the library tries one alone.
    """
    parts = urlsplit(proxy)
    addresses = await names.lookup(parts.hostname or "", parts.port or 80)
    host = str(addresses[0][4][0])
    if len(addresses) > 1:
        with await _reach_one(addresses[:MOST_ADDRESSES]) as reached:
            host = str(reached.getpeername()[0])
    return f"http://[{host}]:{parts.port}" if ":" in host else f"http://{host}:{parts.port}"


async def _reach_one(addresses: Sequence[Address]) -> socket.socket:
    """The first that answers; the others are tried beside one that is slow, or after one that fails."""
    left, failed = list(addresses), []
    trying: set[asyncio.Task[socket.socket]] = set()
    try:
        while left or trying:
            if left:
                trying.add(asyncio.create_task(_reach(left.pop(0))))
            done, trying = await asyncio.wait(
                trying, timeout=STAGGER if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            reached = [task.result() for task in done if task.exception() is None]
            failed += [task.exception() for task in done if task.exception() is not None]
            if reached:
                for spare in reached[1:]:
                    spare.close()
                return reached[0]
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_close_late)
    raise failed[0] if failed and failed[0] is not None else OSError("the name has no address")


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _reach(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        # Notices a peer that vanished also where pings are off: 60 s of silence, then 4 probes 15 s apart.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made
