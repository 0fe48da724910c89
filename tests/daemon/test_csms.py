"""The link against real websocket servers on loopback: whatever they do, it comes back by itself and says why."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from chargerd.daemon import csms, dial
from chargerd.daemon.csms import BackOff, Link, LinkSettings
from chargerd.daemon.endpoint import Endpoint
from chargerd.daemon.tls import Trust
from tests.linking.proxy import Proxy

FAST = BackOff(minimum=0.005, random_range=0.0, repeat_times=2)


@dataclass
class Watched:
    """A link with everything it told."""

    settings: LinkSettings
    useful: Callable[[str | bytes], bool] = lambda _: True
    opened: list[str] = field(default_factory=list)
    frames: list[str | bytes] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # why, each time a backend spoke none of our versions
    link: Link = field(init=False)

    def __post_init__(self) -> None:
        def on_frame(frame: str | bytes) -> bool:
            self.frames.append(frame)
            return self.useful(frame)

        self.link = Link(
            self.settings,
            on_open=self.opened.append,
            on_frame=on_frame,
            on_closed=self.closed.append,
            on_refused=lambda: self.refused.append("version"),
            chance=lambda: 0.0,
        )


@contextlib.asynccontextmanager
async def running(watched: Watched) -> AsyncIterator[Watched]:
    watched.link.start()
    try:
        yield watched
    finally:
        await watched.link.stop()
        assert watched.link.state.phase == "off"
        assert len(watched.opened) == len(watched.closed)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the link has no event for what tests look at
            await asyncio.sleep(0.002)


@dataclass
class Backend:
    """A server whose manners a test sets: `behave` runs per connection, `answer` may refuse the handshake."""

    behave: Callable[[ServerConnection], Awaitable[object]]
    answer: Callable[[ServerConnection, Request], Response | None] = lambda _c, _r: None
    subprotocols: list[Subprotocol] | None = field(default_factory=lambda: [Subprotocol("ocpp1.6")])
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def listening(self, **more: Any) -> AsyncIterator[Backend]:
        def process_request(connection: ServerConnection, request: Request) -> Response | None:
            self.requests.append(request)
            return self.answer(connection, request)

        async def handler(connection: ServerConnection) -> None:
            await self.behave(connection)

        more = {"subprotocols": self.subprotocols, "compression": None, "close_timeout": 0.2} | more
        async with serve(handler, "127.0.0.1", self.port, process_request=process_request, **more) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    def settings(self, **more: Any) -> LinkSettings:
        endpoint = Endpoint(f"ws://127.0.0.1:{self.port}/ocpp", "CP 1", ("ocpp1.6",))
        return replace(
            LinkSettings(endpoint, back_off=FAST, open_timeout=2, close_timeout=0.2, ping_interval=0), **more
        )


async def greet(connection: ServerConnection) -> None:
    """A backend that is fine: says something and stays."""
    await connection.send("hello")
    await connection.wait_closed()


async def test_open_frames_both_ways_and_stop() -> None:
    heard: list[str | bytes] = []

    async def echo(connection: ServerConnection) -> None:
        async for frame in connection:
            heard.append(frame)
            await connection.send(frame)

    async with Backend(echo).listening() as backend, running(Watched(backend.settings())) as w:
        assert not w.link.send("too early")
        await until(lambda: w.opened)
        assert w.opened == ["ocpp1.6"]
        assert w.link.state.phase == "open"
        assert w.link.state.subprotocol == "ocpp1.6"
        assert w.link.send("one")
        assert w.link.send("two")
        await until(lambda: len(w.frames) == 2)
        assert heard == w.frames == ["one", "two"]
        await w.link.stop()
        assert w.closed == ["stopped"]
        assert not w.link.send("too late")


@pytest.mark.req("1.6J §3.1.1", "2.0.1 part 4 §3.1.1", "1.6J §6.2.2")
async def test_address_and_credentials_on_the_wire() -> None:
    async with Backend(greet).listening() as backend:
        endpoint = Endpoint(f"ws://127.0.0.1:{backend.port}/a/", "RDAM|1 2/3", ("ocpp1.6",), password="hex:00FF6b6579")
        async with running(Watched(backend.settings(endpoint=endpoint))) as w:
            await until(lambda: w.opened)
    [request] = backend.requests
    assert request.path == "/a/RDAM%7C1%202%2F3"
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"RDAM|1 2/3:\x00\xffkey").decode()
    assert request.headers["Sec-WebSocket-Protocol"] == "ocpp1.6"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert request.headers["User-Agent"] == "chargerd"


async def test_a_proxy_of_the_environment_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws_proxy", "http_proxy", "https_proxy", "socks_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with Backend(greet).listening() as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.frames)


async def test_one_dead_address_of_two_does_not_hold_up_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with contextlib.AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Backend(greet).listening())
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.2", backend.port))
        deaf.listen(0)
        for _ in range(4):  # with its queue full, the kernel drops what comes next: a black hole
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.2", backend.port))

        real = socket.getaddrinfo

        def both(host: str, *rest: Any, **more: Any) -> list[Any]:
            if host != "both.example":
                return list(real(host, *rest, **more))
            if more.get("flags"):
                raise socket.gaierror(socket.EAI_NONAME, "no number")
            tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*tcp, (number, backend.port)) for number in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", both)
        endpoint = Endpoint(f"ws://both.example:{backend.port}", "CP", ("ocpp1.6",))
        w = await stack.enter_async_context(running(Watched(backend.settings(endpoint=endpoint))))
        await until(lambda: w.frames)
        assert w.link.state.attempt == 1


@pytest.mark.req("1.6J §3.1.2", "2.0.1 part 4 §3.1.2")
async def test_the_server_s_choice_of_version_is_told() -> None:
    backend = Backend(greet, subprotocols=[Subprotocol("ocpp1.6")])
    async with backend.listening():
        endpoint = Endpoint(f"ws://127.0.0.1:{backend.port}", "CP", ("ocpp2.0.1", "ocpp1.6"))
        async with running(Watched(backend.settings(endpoint=endpoint))) as w:
            await until(lambda: w.opened)
            assert w.opened == ["ocpp1.6"]
    assert backend.requests[0].headers["Sec-WebSocket-Protocol"] == "ocpp2.0.1, ocpp1.6"


async def test_accept_then_close_again_and_again_then_adopted() -> None:
    backend = Backend(lambda connection: connection.close(1000, "not adopted\u202e"))
    async with backend.listening(), running(Watched(backend.settings())) as w:
        await until(lambda: len(w.closed) == 5)
        assert w.link.state.attempt >= 5  # never proved useful: the back-off went on growing
        assert w.closed[0].startswith("closed by the backend with 1000 'not adopted\\u202e'")
        backend.behave = greet
        await until(lambda: w.frames)
        assert w.link.state.phase == "open"


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 503])
async def test_refusals_are_retried_and_explained(status: int) -> None:
    said = {301: "not followed", 400: "ocpp1.6", 401: "password", 403: "allow it", 404: "register", 503: "tried again"}

    def refuse(connection: ServerConnection, _: Request) -> Response:
        response = connection.respond(HTTPStatus(status), "no")
        response.headers["Location"] = "ws://127.0.0.1:9/elsewhere"
        return response

    backend = Backend(greet, answer=refuse)
    async with backend.listening(), running(Watched(backend.settings())) as w:
        await until(lambda: len(backend.requests) >= 3)
        assert f"HTTP {status}" in w.link.state.last_error
        assert said[status] in w.link.state.last_error
        assert w.opened == []
        assert bool(w.refused) is (status == 400)  # what servers say that want a subprotocol and see none of theirs
        backend.answer = lambda _c, _r: None
        await until(lambda: w.opened)


@pytest.mark.req("1.6J §3.2", "2.0.1 part 4 §3.2")
async def test_a_server_without_subprotocol_is_left() -> None:
    left = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        left.set()

    backend = Backend(wait, subprotocols=None)
    async with backend.listening(), running(Watched(backend.settings())) as w:
        await until(lambda: len(backend.requests) >= 3)
        await left.wait()
        assert "chose none of ocpp1.6: check port and path" in w.link.state.last_error
        assert w.opened == []
        assert len(w.refused) >= 2


async def test_a_subprotocol_that_was_not_offered_is_left() -> None:
    async def choose_wrong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.utils import accept_key

        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept_key(key)}\r\nSec-WebSocket-Protocol: ocpp2.1\r\n\r\n".encode()
        )
        await reader.read()
        writer.close()

    await _raw_server(choose_wrong, "not offered")


async def test_a_server_that_is_no_websocket() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    await _raw_server(hang_up, "no websocket server")


async def test_a_server_that_says_nothing() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    await _raw_server(mute, "does not finish the handshake", open_timeout=0.05)


async def _raw_server(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], error: str, **more: Any
) -> None:
    tries: list[int] = []

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(1)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)

    server = await asyncio.start_server(counted, "127.0.0.1", 0)
    async with server:
        settings = Backend(greet, port=server.sockets[0].getsockname()[1]).settings(**more)
        async with running(Watched(settings)) as w:
            await until(lambda: len(tries) >= 3)
            assert error in w.link.state.last_error
            assert w.opened == []


async def test_a_refused_port_until_somebody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    backend = Backend(greet, port=port)
    async with running(Watched(backend.settings())) as w:
        await until(lambda: w.link.state.attempt >= 3)
        assert (
            w.link.state.last_error == f"nobody listens at 127.0.0.1:{port}: check the address, or the backend is down"
        )
        async with backend.listening():
            await until(lambda: w.opened)
            await w.link.stop()


async def test_a_name_that_is_not_found() -> None:
    settings = replace(Backend(greet).settings(), endpoint=Endpoint("ws://no.such.host.invalid", "CP", ("ocpp1.6",)))
    async with running(Watched(settings)) as w:
        await until(lambda: w.link.state.last_error)
        assert "is not found" in w.link.state.last_error


async def test_tls_where_none_is_spoken() -> None:
    async with Backend(greet).listening() as backend:
        endpoint = Endpoint(f"wss://127.0.0.1:{backend.port}", "CP", ("ocpp1.6",))
        async with running(Watched(backend.settings(endpoint=endpoint))) as w:
            await until(lambda: w.link.state.attempt >= 2)
            assert w.link.state.last_error == (
                f"127.0.0.1:{backend.port} hung up: check the port, and whether it speaks TLS at all (ws://); "
                "or it is starting or overloaded"
            )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key, for the name localhost only."""
    folder = tmp_path_factory.mktemp("tls")
    where = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", *kind, *name, *where], check=True, capture_output=True, timeout=60)
    return folder


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl: apt install openssl")
async def test_tls_trusted_untrusted_and_of_another_name(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trusting = Trust(str(certificate / "cert.pem"))
    async with Backend(greet).listening(ssl=server) as backend:

        def to(host: str, trust: Trust) -> LinkSettings:
            endpoint = Endpoint(f"wss://{host}:{backend.port}", "CP", ("ocpp1.6",), trust=trust)
            return backend.settings(endpoint=endpoint)

        async with running(Watched(to("localhost", Trust()))) as w:
            await until(lambda: w.link.state.attempt >= 2)
            assert "is self-signed: give it as csms.ca_file" in w.link.state.last_error
            w.link.configure(to("127.0.0.1", trusting))
            await until(lambda: "is for another name" in w.link.state.last_error)
            w.link.configure(to("localhost", trusting))
            await until(lambda: w.opened)


async def test_the_server_dies_and_comes_back() -> None:
    backend = Backend(greet)
    async with running(Watched(backend.settings())) as w:
        async with backend.listening():
            w.link.configure(backend.settings())
            await until(lambda: w.frames)
        await until(lambda: w.closed and w.link.state.attempt >= 2)
        async with backend.listening():
            await until(lambda: len(w.opened) >= 2)
            await w.link.stop()


async def test_half_open_is_noticed_by_silence() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(0.5)

    backend = Backend(deaf)
    settings: dict[str, Any] = {"ping_interval": 0.01, "pong_timeout": 0.03}
    async with backend.listening(ping_interval=None), running(Watched(backend.settings(**settings))) as w:
        await until(lambda: len(w.closed) >= 2)
        assert w.closed[0] == "silence: no answer to a ping in 0.03 s; check the network"
        backend.behave = greet
        w.link.configure(backend.settings(ping_interval=0.01, pong_timeout=5))
        await until(lambda: w.frames)
        opened = len(w.opened)
        await asyncio.sleep(0.1)  # pings are answered now: ten intervals, and still the same connection
        assert len(w.opened) == opened


@pytest.mark.req("1.6J §7", "2.0.1 part 4 §8.4", "1.6 §9.1.34")
async def test_the_ping_interval_changes_on_the_open_link() -> None:
    pings: list[bytes] = []

    async def count(connection: ServerConnection) -> None:
        original = connection.protocol.receive_data

        def receive(data: bytes | bytearray) -> None:
            pings.extend([b""] if data[:1] == b"\x89" else [])
            original(data)

        connection.protocol.receive_data = receive  # type: ignore[method-assign]
        await greet(connection)

    async with Backend(count).listening() as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.frames)
        await asyncio.sleep(0.03)
        assert pings == []
        w.link.configure(backend.settings(ping_interval=0.005))
        await until(lambda: len(pings) >= 3)
        w.link.configure(backend.settings(ping_interval=0))
        await asyncio.sleep(0.02)
        before = len(pings)
        await asyncio.sleep(0.03)
        assert len(pings) == before
        assert len(w.opened) == 1


@pytest.mark.req("2.0.1 part 4 §5.4", "2.0.1 part 4 §8.1", "2.0.1 part 4 §8.2", "2.0.1 part 4 §8.3")
def test_the_back_off_doubles_and_stops_growing() -> None:
    back_off = BackOff(minimum=10, random_range=4, repeat_times=3)
    assert [back_off.wait(n, 0.0) for n in (1, 2, 3, 4, 5, 5000)] == [10, 20, 40, 80, 80, 80]
    assert back_off.wait(1, 1.0) == 14
    assert back_off.wait(3, 0.5) == 42
    assert BackOff(minimum=1, random_range=0, repeat_times=10**9).wait(10**9, 0.0) < float("inf")


@pytest.mark.parametrize("wrong", [{"minimum": 0.0}, {"random_range": -1.0}, {"repeat_times": -1}])
def test_a_back_off_that_would_spin_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="back-off"):
        BackOff(**wrong)


class NotedBackOff(BackOff):
    """Keeps which attempts it was asked about."""

    asked: ClassVar[list[int]] = []

    def wait(self, attempt: int, chance: float) -> float:
        self.asked.append(attempt)
        return super().wait(attempt, chance)


async def test_the_back_off_starts_over_only_when_the_link_was_useful() -> None:
    async def useful_then_gone(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.close()

    back_off = NotedBackOff(minimum=0.005, random_range=0.0, repeat_times=2)
    back_off.asked.clear()
    backend = Backend(lambda connection: connection.close())
    async with backend.listening(), running(Watched(backend.settings(back_off=back_off))) as w:
        await until(lambda: len(back_off.asked) >= 4)
        assert back_off.asked[:4] == [1, 2, 3, 4]
        backend.behave = useful_then_gone
        await until(lambda: len(w.frames) >= 2)
        assert back_off.asked[-1] == 1


async def test_says_when_it_tries_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = Backend(greet, port=probe.getsockname()[1]).settings(back_off=BackOff(3600, 0, 0))
    async with running(Watched(settings)) as w:
        await until(lambda: w.link.state.phase == "waiting")
        assert w.link.state.next_try is not None
        assert w.link.state.next_try - w.link.state.since == pytest.approx(3600, abs=1)
        assert w.link.state.attempt == 2


async def test_frames_that_mean_nothing_do_not_reset_the_back_off() -> None:
    async def babble(connection: ServerConnection) -> None:
        await connection.send("garbage")
        await connection.close()

    async with (
        Backend(babble).listening() as backend,
        running(Watched(backend.settings(), useful=lambda _: False)) as w,
    ):
        await until(lambda: len(w.frames) >= 4)
        assert w.link.state.attempt >= 4


async def test_forced_down_and_up() -> None:
    async with Backend(greet).listening() as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.opened)
        w.link.force(up=True)  # is up: nothing happens
        w.link.force(up=False)
        await until(lambda: w.link.state.phase == "off")
        assert w.closed == ["held down on request"]
        w.link.force(up=False)
        await asyncio.sleep(0.03)
        assert len(w.opened) == 1
        w.link.force(up=True)
        await until(lambda: len(w.opened) == 2)


async def test_forcing_up_ends_a_long_wait() -> None:
    backend = Backend(lambda connection: connection.close())
    async with backend.listening(), running(Watched(backend.settings(back_off=BackOff(3600, 0, 0)))) as w:
        await until(lambda: w.link.state.phase == "waiting")
        backend.behave = greet
        w.link.force(up=True)
        await until(lambda: w.link.state.phase == "open")


async def test_dropped_by_us_backs_off() -> None:
    async with Backend(greet).listening() as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.frames)
        w.link.drop("three heartbeats unanswered")
        w.link.drop("too late to count")
        await until(lambda: w.link.state.phase == "waiting")
        assert w.closed == ["three heartbeats unanswered"]
        assert w.link.state.last_error == "three heartbeats unanswered"
        await until(lambda: len(w.opened) == 2)


async def test_no_endpoint_is_off_until_there_is_one() -> None:
    async with Backend(greet).listening() as backend, running(Watched(LinkSettings(None))) as w:
        await asyncio.sleep(0.01)
        assert w.link.state.phase == "off"
        w.link.configure(backend.settings())
        await until(lambda: w.opened)
        w.link.configure(LinkSettings(None))
        await until(lambda: w.link.state.phase == "off")


async def test_new_credentials_reconnect_after_the_answer_is_out() -> None:
    heard: list[str | bytes] = []

    async def listen(connection: ServerConnection) -> None:
        await connection.send("change")
        async for frame in connection:
            heard.append(frame)

    async with Backend(listen).listening() as backend, running(Watched(backend.settings(close_timeout=5))) as w:
        await until(lambda: w.frames)
        for _ in range(100):
            w.link.send("x" * 100_000)  # more than the socket takes at once
        w.link.send("accepted")
        endpoint = w.settings.endpoint
        assert endpoint is not None
        w.link.configure(replace(w.settings, endpoint=replace(endpoint, password="new")))
        await until(lambda: len(w.opened) == 2)
        assert heard[100:] == ["accepted"]
        assert "Authorization" not in backend.requests[0].headers
        assert "Authorization" in backend.requests[1].headers


async def test_a_backend_that_takes_no_frames_is_left() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(0.5)

    async with Backend(deaf).listening(ping_interval=None) as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.opened)
        accepted = 0
        while w.link.send("x" * 100_000):
            accepted += 1
            assert accepted < 1000
            await asyncio.sleep(0)
        await until(lambda: w.closed)
        assert w.closed[0].startswith("the backend takes no frames")


async def test_stopping_does_not_wait_for_a_mute_backend() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(1.5)

    async with Backend(deaf).listening(ping_interval=None) as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.opened)
        for _ in range(200):
            w.link.send("x" * 100_000)
        began = asyncio.get_running_loop().time()
        await w.link.stop()
        assert asyncio.get_running_loop().time() - began < 1.0
        assert w.closed == ["stopped"]


async def test_a_frame_beyond_the_size_closes_and_recovers() -> None:
    backend = Backend(lambda connection: connection.send("x" * (1024 * 1024 + 1)))
    async with backend.listening(), running(Watched(backend.settings())) as w:
        await until(lambda: w.closed)
        assert w.frames == []
        backend.behave = greet
        await until(lambda: w.frames)


@pytest.mark.parametrize("faulty", ["open", "frame", "closed"])
async def test_a_callback_that_raises_never_ends_the_link(faulty: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def callback(name: str) -> Callable[[object], Any]:
        def called(_: object) -> bool:
            told.append(name)
            if name == faulty:
                raise ZeroDivisionError
            return False

        return called

    async def greet_and_close(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.close()

    async with Backend(greet_and_close).listening() as backend:
        link = Link(
            backend.settings(),
            on_open=callback("open"),
            on_frame=callback("frame"),
            on_closed=callback("closed"),
            chance=lambda: 0.0,
        )
        link.start()
        await until(lambda: told.count("closed") >= 3)
        await link.stop()
    assert told.count("open") == told.count("closed")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("url", "station", "subprotocols"),
    [
        ("http://host", "CP", ("ocpp1.6",)),
        ("ws://", "CP", ("ocpp1.6",)),
        ("ws://host/?a=1", "CP", ("ocpp1.6",)),
        ("ws://user:pw@host/", "CP", ("ocpp1.6",)),
        ("ws://host", "", ("ocpp1.6",)),
        ("ws://host", "CP:1", ("ocpp1.6",)),
        ("ws://host", "CP", ()),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_at_once(url: str, station: str, subprotocols: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"backend address|station id|OCPP version"):
        Endpoint(url, station, subprotocols)


def test_a_password_is_never_shown() -> None:
    endpoint = Endpoint("ws://host", "CP", ("ocpp1.6",), password="s3cret")
    assert "s3cret" not in repr(endpoint)
    assert "s3cret" not in repr(LinkSettings(endpoint))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl: apt install openssl")
@pytest.mark.req("A00.FR.302", "A00.FR.304", "A00.FR.312")
async def test_security_profile_2_sends_its_password_through_tls(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with Backend(greet).listening(ssl=server) as backend:
        trust = Trust(str(certificate / "cert.pem"))
        endpoint = Endpoint(f"wss://localhost:{backend.port}", "CP", ("ocpp1.6",), "sixteen ümläuts!", trust)
        async with running(Watched(backend.settings(endpoint=endpoint))) as w:
            await until(lambda: w.frames)
    told = base64.b64encode("CP:sixteen ümläuts!".encode()).decode()
    assert backend.requests[0].headers["Authorization"] == f"Basic {told}"


@pytest.mark.req("A00.FR.316")
async def test_a_security_event_is_told_once_until_there_is_a_connection_again() -> None:
    heard: list[str] = []
    wrong = True

    def refuse(connection: ServerConnection, _: Request) -> Response | None:
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no") if wrong else None

    backend = Backend(greet, answer=refuse)
    async with backend.listening():
        w = Watched(backend.settings())
        w.link._on_security = lambda name, info: heard.append(name)
        async with running(w):
            await until(lambda: len(backend.requests) >= 4)
            assert heard == ["FailedToAuthenticateAtCsms"]
            wrong = False
            await until(lambda: w.opened)
            wrong = True
            w.link.drop("so that it comes again")
            await until(lambda: len(heard) == 2)


async def test_who_asks_to_wait_is_not_asked_before() -> None:
    def busy(connection: ServerConnection, _: Request) -> Response:
        response = connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "later")
        response.headers["Retry-After"] = "50"
        return response

    backend = Backend(greet, answer=busy)
    async with backend.listening(), running(Watched(backend.settings())) as w:
        await until(lambda: w.link.state.phase == "waiting")
        assert w.link.state.next_try is not None
        assert w.link.state.next_try - asyncio.get_running_loop().time() == pytest.approx(50, abs=2)


@pytest.mark.parametrize("how", [ZeroDivisionError("ours"), asyncio.CancelledError()])
async def test_it_outlives_what_nobody_expected(
    how: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(csms, "AFTER_SURPRISE", 0.01)
    tries = 0
    real = Link._connect

    async def strange(link: Link, endpoint: Endpoint) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise how
        return await real(link, endpoint)

    monkeypatch.setattr(Link, "_connect", strange)
    async with Backend(greet).listening() as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.frames)
        assert w.link.state.surprises == 3
        assert len([r for r in caplog.records if "a fault of our own" in r.message]) == 3


async def test_a_back_off_that_fails_is_no_reason_to_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> float:
        raise OverflowError

    monkeypatch.setattr(BackOff, "wait", broken)
    async with running(Watched(Backend(greet, port=1).settings())) as w:
        await until(lambda: w.link.state.surprises)
        assert w.link.state.phase == "waiting"
        assert w.link.state.cause == "surprise"


async def test_how_long_it_is_down_does_not_start_over_with_each_try() -> None:
    backend = Backend(lambda connection: connection.close(), answer=lambda c, _: c.respond(HTTPStatus(500), ""))
    async with backend.listening(), running(Watched(backend.settings())) as w:
        await until(lambda: backend.requests)
        since = w.link.state.since
        await until(lambda: len(backend.requests) >= 4)
        assert w.link.state.since == since


async def test_leaving_does_not_wait_for_a_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def silent(host: str, *rest: Any, **more: Any) -> Any:
        if host != "slow.example" or more.get("flags"):
            return real(host, *rest, **more)
        asked.set()
        answer.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    endpoint = Endpoint("ws://slow.example:1", "CP", ("ocpp1.6",))
    settings = replace(Backend(greet).settings(), endpoint=endpoint, open_timeout=0.05)
    try:
        async with running(Watched(settings)) as w:
            await until(lambda: w.link.state.attempt >= 4)
            assert w.link.state.last_error.startswith("no name server answers for slow.example:1")
            threads = [thread for thread in threading.enumerate() if thread.name == "names"]
            assert len(threads) == 1 and threads[0].daemon  # however often it was tried, and nobody has to wait for it
    finally:
        answer.set()
    assert asked.is_set()


async def test_an_address_that_answers_late_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dial._reach
    closed: list[socket.socket] = []

    async def slow(address: Any) -> socket.socket:
        if address[4][0] == "127.0.0.2":
            await asyncio.sleep(0.4)  # it answers after all, when nobody wants it any more
        made = await real((*address[:4], ("127.0.0.1", address[4][1])))
        closed.append(made)
        return made

    monkeypatch.setattr(dial, "_reach", slow)
    async with Backend(greet).listening() as backend:
        tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        reached = await dial._reach_one([(*tcp, (host, backend.port)) for host in ("127.0.0.2", "127.0.0.3")])
        assert reached is closed[0]
        reached.close()
        await asyncio.sleep(0.5)
        assert all(made.fileno() == -1 for made in closed)


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x8a\x00", b"\x01\x00\x80\x00"], ids=["pings", "pongs", "fragments"])
async def test_a_flood_ends_the_connection_and_costs_little(frame: bytes) -> None:
    async def flood(connection: ServerConnection) -> None:
        while not connection.transport.is_closing():
            connection.transport.write(frame * 5000)
            await asyncio.sleep(0)

    async with Backend(flood).listening(ping_interval=None) as backend, running(Watched(backend.settings())) as w:
        await until(lambda: w.closed)
        assert w.closed[0].startswith("the backend floods us with frames")
        assert len(w.frames) < 3000


@pytest.mark.parametrize("through", [True, False])
async def test_a_proxy_is_used_where_one_is_configured(through: bool) -> None:
    proxy = Proxy()
    await proxy.start()
    try:
        async with Backend(greet).listening() as backend:
            at = f"http://localhost:{proxy.port}" if through else None
            endpoint = Endpoint(f"ws://127.0.0.1:{backend.port}/ocpp", "CP", ("ocpp1.6",), proxy=at)
            async with running(Watched(backend.settings(endpoint=endpoint))) as w:
                await until(lambda: w.frames)
            assert proxy.asked == ([f"127.0.0.1:{backend.port}"] if through else [])
    finally:
        await proxy.stop()
