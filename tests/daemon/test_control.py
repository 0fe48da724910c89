"""The control socket over a real Unix socket, with a daemon that only pretends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargerd.daemon import control, peers
from chargerd.daemon.control import BACKLOG, CLIENTS, MAX_LINE, ControlServer
from chargerd.daemon.peers import Doorkeeper, May, Peer
from tests.daemon.api import SESSION, FakeApi


class Line:
    """A plain line client, as somebody else's program would write it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def raw(self, line: bytes) -> None:
        self.writer.write(line)

    async def next(self) -> Any:
        async with asyncio.timeout(5):
            body = json.loads(await self.reader.readline())
        assert body["jsonrpc"] == "2.0"
        return body

    async def call(self, method: str, **params: Any) -> Any:
        """The result, or the error."""
        self.raw(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode() + b"\n")
        body = await self.next()
        assert body["id"] == 7
        return body["result"] if "result" in body else body["error"]

    async def ended(self) -> bytes:
        """What comes until the other side is gone."""
        async with asyncio.timeout(5):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


class House:
    def __init__(self, path: Path, api: FakeApi, server: ControlServer) -> None:
        self.path, self.api, self.server = path, api, server
        self._lines: list[Line] = []

    async def line(self) -> Line:
        self._lines.append(Line(*await asyncio.open_unix_connection(str(self.path), limit=1 << 22)))
        return self._lines[-1]

    def close(self) -> None:
        for line in self._lines:
            line.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(path: Path, keeper: Doorkeeper | None = None) -> AsyncIterator[House]:
    api = FakeApi()
    house = House(path, api, ControlServer(str(path), api, keeper))
    await house.server.start()
    yield house
    house.close()
    await house.server.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path / "control.sock") as house:
        yield house


async def test_calls_are_carried_out_in_order(house: House) -> None:
    line = await house.line()
    assert await line.call("hello") == {"version": "0.1.0", "protocol": 1, "may": "act"}
    assert await line.call("status") == house.api.picture
    assert await line.call("sessions", limit=2) == [SESSION]
    assert await line.call("tap", token="04A1B2C3", evse=1) == {}
    assert await line.call("tap", token="04A1B2C3", evse=None) == {}
    assert await line.call("start", outlet=2, token="CARD") == {}
    assert await line.call("link.force", up=None) == {}
    assert await line.call("faults.clear", outlet=1, fault="ContactorWelded") == {}
    assert await line.call("sim.plug", outlet=1) == {}
    assert house.api.done == [
        ("sessions", 2, 0.0),
        ("tap", "04A1B2C3", 1),
        ("tap", "04A1B2C3", None),
        ("start", 2, "CARD"),
        ("link", None),
        ("clear", 1, "ContactorWelded", f"uid {os.geteuid()}"),
        ("sim.plug", {"outlet": 1}),
    ]


async def test_calls_sent_ahead_are_all_answered(house: House) -> None:
    line = await house.line()
    for number in range(200):
        line.raw(json.dumps({"jsonrpc": "2.0", "id": number, "method": "hello"}).encode() + b"\n")
    assert [(await line.next())["id"] for _ in range(200)] == list(range(200))


@pytest.mark.parametrize(
    ("method", "params", "code", "word"),
    [
        ("nonsense", {}, -32601, "status"),
        ("sim.watch", {}, -32601, "unknown"),
        ("status", {"x": 1}, -32602, "x"),
        ("tap", {}, -32602, "token"),
        ("tap", {"token": "\ud800"}, -32602, "token"),
        ("tap", {"token": "A" * 37}, -32602, "token"),
        ("tap", {"token": "04", "evse": True}, -32602, "evse"),
        ("start", {"outlet": "1"}, -32602, "outlet"),
        ("start", {"outlet": 3}, -32602, "1..2"),
        ("sessions", {"limit": 1001}, -32602, "1..1000"),
        ("sessions", {"since": -1}, -32602, "since"),
        ("link.force", {"up": 1}, -32602, "up"),
        ("link.force", {}, -32602, "up"),
        ("reset", {"kind": "now"}, -32602, "kind"),
        ("variables", {"name": "\n"}, -32602, "name"),
        ("stop", {"outlet": 1}, -32000, "no transaction"),
        ("shutdown", {}, -32603, "log"),
        ("sim.supply", {}, -32603, "log"),
    ],
)
async def test_what_cannot_be_done_is_said(
    house: House, method: str, params: dict[str, Any], code: int, word: str
) -> None:
    line = await house.line()
    error = await line.call(method, **params)
    assert (error["code"], word in error["message"]) == (code, True), error
    assert await line.call("hello")


@pytest.mark.parametrize(
    ("raw", "code", "id_"),
    [
        (b"", -32700, None),
        (b"not json", -32700, None),
        (b'"\xff"', -32700, None),
        (b"[" * 60_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"hello"}', -32700, None),
        (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"hello"}', -32700, None),
        (b"[]", -32600, None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"hello"}]', -32600, None),
        (b'{"id":1,"method":"hello"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"hello"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1e999,"method":"hello"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":"x","method":"hello","params":[1]}', -32602, "x"),
    ],
)
async def test_what_is_no_call_is_refused_and_forgiven(house: House, raw: bytes, code: int, id_: object) -> None:
    line = await house.line()
    line.raw(raw + b"\n")
    body = await line.next()
    assert (body["error"]["code"], body["id"]) == (code, id_)
    assert await line.call("hello")


async def test_a_notification_is_carried_out_and_not_answered(house: House) -> None:
    line = await house.line()
    line.raw(b'{"jsonrpc":"2.0","method":"tap","params":{"token":"A"}}\n{"jsonrpc":"2.0","method":"nonsense"}\n')
    assert await line.call("hello")
    assert house.api.done == [("tap", "A", None)]


async def test_a_line_too_long_ends_its_connection_only(house: House) -> None:
    other, line = await house.line(), await house.line()
    line.raw(b"x" * (3 * MAX_LINE))
    body = await line.next()
    assert (body["error"]["code"], str(MAX_LINE) in body["error"]["message"]) == (-32700, True)
    assert await line.ended() == b""
    assert await other.call("hello")


async def test_half_a_line_is_no_call(house: House) -> None:
    line = await house.line()
    line.raw(b'{"jsonrpc":"2.0","id":1,"method":"tap","params":{"token":"A"}}')
    line.writer.write_eof()
    assert await line.ended() == b""
    assert house.api.done == []


async def test_the_client_after_the_last_is_told_so(house: House) -> None:
    lines = [await house.line() for _ in range(CLIENTS)]
    for line in lines:
        assert await line.call("hello")
    late = await house.line()
    assert "clients" in (await late.next())["error"]["message"]
    assert await late.ended() == b""
    lines[0].writer.close()
    await lines[0].ended()
    async with asyncio.timeout(5):
        while True:
            again = await house.line()
            again.raw(b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n')
            if "result" in await again.next():
                break


async def test_watchers_are_told_until_they_leave(house: House) -> None:
    line = await house.line()
    assert await line.call("watch") == {}
    assert await line.call("watch") == {}
    assert len(house.api.watchers) == 1
    house.api.watchers[0]({"kind": "status"})
    assert await line.next() == {"jsonrpc": "2.0", "method": "event", "params": {"kind": "status"}}
    line.writer.close()
    for _ in range(1000):
        await asyncio.sleep(0.005)
        if not house.api.watchers:
            return
    raise AssertionError("nobody reads, and it is told all the same")


async def test_a_watcher_that_does_not_read_is_dropped_with_a_notice(house: House) -> None:
    line, other = await house.line(), await house.line()
    await line.call("watch")
    line.reader._transport.pause_reading()  # type: ignore[attr-defined]
    tell = house.api.watchers[0]
    for _ in range(2 * BACKLOG // 10_000 + 60):
        tell({"kind": "x" * 10_000})
    assert house.api.watchers == []
    line.reader._transport.resume_reading()  # type: ignore[attr-defined]
    last = json.loads((await line.ended()).splitlines()[-1])
    assert (last["method"], "not read" in last["params"]["why"]) == ("dropped", True)
    assert await other.call("hello")


async def test_a_client_that_does_not_read_its_answers_is_left_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STUCK", 0.05)
    house.api.picture = "x" * (1 << 20)
    line = await house.line()
    line.reader._transport.pause_reading()  # type: ignore[attr-defined]
    line.raw(b'{"jsonrpc":"2.0","id":1,"method":"status"}\n' * 3)
    await asyncio.sleep(0.3)
    line.reader._transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await line.ended()) < 3 << 20


async def test_a_learned_card_comes_as_a_notification(house: House) -> None:
    line = await house.line()
    line.raw(b'{"jsonrpc":"2.0","id":1,"method":"cards.learn"}\n')
    assert [(await line.next()).get("method") for _ in range(2)] == ["cards.learned", None]


# ---- who may do what


ME, OTHER, READS, ACTS = os.geteuid(), 4000, 4001, 4002


@pytest.mark.parametrize(
    ("uid", "groups", "may"),
    [
        (0, (), May.ACT),
        (OTHER, (), May.ACT),
        (5, (READS,), May.READ),
        (5, (READS, ACTS), May.ACT),
        (5, (5,), May.NOTHING),
    ],
)
def test_the_doorkeeper(uid: int, groups: tuple[int, ...], may: May) -> None:
    assert Doorkeeper(OTHER, READS, ACTS).may(Peer(uid, frozenset(groups))) is may


def test_groups_that_do_not_exist_let_nobody_in() -> None:
    assert Doorkeeper(OTHER, None, None).may(Peer(5, frozenset({5}))) is May.NOTHING


def test_the_kernel_says_who_is_there() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = peers.peer_of(here)
    assert peer.uid == ME
    assert {os.getegid(), *os.getgroups()} <= peer.groups


async def test_a_reader_sees_and_does_not_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "peer_of", lambda connection: Peer(5, frozenset({READS})))
    async with serving(tmp_path / "c.sock", Doorkeeper(OTHER, READS, ACTS)) as house:
        line = await house.line()
        assert (await line.call("hello"))["may"] == "read"
        assert await line.call("status") == house.api.picture
        assert await line.call("sim.state") == {}
        for method in ("tap", "start", "shutdown", "sim.plug", "cards.add"):
            error = await line.call(method)
            assert (error["code"], "chargerd-admin" in error["message"]) == (-32001, True)
        assert house.api.done == [("sim.state", {})]


async def test_a_stranger_is_told_how_to_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "peer_of", lambda connection: Peer(5, frozenset({5})))
    async with serving(tmp_path / "c.sock", Doorkeeper(OTHER, READS, ACTS)) as house:
        line = await house.line()
        error = (await line.next())["error"]
        assert (error["code"], "group chargerd," in error["message"]) == (-32001, True)
        assert await line.ended() == b""


# ---- the place


async def test_a_left_over_socket_is_replaced_and_a_served_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path) as house:
        with pytest.raises(OSError, match="another chargerd"):
            await ControlServer(str(path), FakeApi()).start()
        assert await (await house.line()).call("hello")
    assert not path.exists()


async def test_something_else_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match="something else"):
        await ControlServer(str(path), FakeApi()).start()
    assert path.read_text() == "precious"


async def test_stopping_ends_every_connection(tmp_path: Path) -> None:
    async with serving(tmp_path / "c.sock") as house:
        line = await house.line()
        await line.call("watch")
        await house.server.stop()
        assert await line.ended() == b""
        assert house.api.watchers == []


# ---- anything at all

HOSTILE = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=20,
    ).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {
            "jsonrpc": st.sampled_from(["2.0", 2, None]),
            "id": st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just([]),
            "method": st.sampled_from([*control._METHODS, "sim.plug", "", "\ud800"]) | st.integers(),
            "params": st.dictionaries(
                st.sampled_from(["outlet", "token", "card", "name", "since", "limit", "up", "kind", "fault"]),
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just([]),
            )
            | st.just([]),
        }
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=st.lists(HOSTILE, min_size=1, max_size=20))
def test_no_line_ends_the_server_or_goes_unanswered(tmp_path: Path, raws: list[bytes]) -> None:
    async def attack() -> None:
        async with serving(tmp_path / "hostile.sock") as house:
            line = await house.line()
            for raw in raws:
                line.raw(raw.replace(b"\n", b" ") + b"\n")
            line.raw(b'{"jsonrpc":"2.0","id":"the last one","method":"hello"}\n')
            answers = 0
            while (body := await line.next()).get("id") != "the last one":
                answers += "method" not in body
                assert "result" in body or "method" in body or isinstance(body["error"]["code"], int)
            assert answers == len(raws)

    asyncio.run(attack())
