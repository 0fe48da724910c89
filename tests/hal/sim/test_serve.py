from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hal.api import DeviceError
from hal.sim import serve
from hal.sim.outlet import SimOutlet
from hal.sim.wire import MAX_LINE
from hal.sim.world import World


class Client:
    """A plain line client, as somebody else's test program would write it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def raw(self, line: bytes) -> None:
        self.writer.write(line)
        await self.writer.drain()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            body = json.loads(await self.reader.readline())
        assert isinstance(body, dict) and body["jsonrpc"] == "2.0"
        return body

    async def call(self, method: str, **params: Any) -> Any:
        await self.raw(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode() + b"\n")
        body = await self.next()
        assert body["id"] == 7
        return body.get("result", body.get("error"))

    async def hung_up(self) -> bool:
        """Reads until the other side is gone."""
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(MAX_LINE):
                    pass
        return True

    def close(self) -> None:
        self.writer.close()


class House:
    """A served world and its clients."""

    def __init__(self, world: World, server: serve.Server, path: str) -> None:
        self.world, self.server, self.path = world, server, path
        self.clients: list[Client] = []

    async def client(self) -> Client:
        self.clients.append(Client(*await asyncio.open_unix_connection(self.path, limit=1 << 20)))
        return self.clients[-1]


async def eventually(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    path = str(tmp_path / "world.sock")
    world = World([SimOutlet(), SimOutlet(tethered=True)], asyncio.get_running_loop().time)
    async with serve.serving(world, path) as server:
        house = House(world, server, path)
        yield house
        for client in house.clients:
            client.close()


async def test_a_vehicle_comes_and_goes(house: House) -> None:
    client = await house.client()
    assert await client.call("sim.plug", outlet=1, max_amps=16) == {}
    assert (await client.call("sim.state"))["outlets"][0]["plugged"] is True
    assert await client.call("sim.unplug", outlet=1) == {"cable": False}
    assert (await client.call("sim.audit"))["outlets"][0]["vehicles"] == 1


async def test_a_notification_is_carried_out_without_an_answer(house: House) -> None:
    client = await house.client()
    await client.raw(b'{"jsonrpc":"2.0","method":"sim.plug","params":{"outlet":2}}\n')
    assert (await client.call("sim.state"))["outlets"][1]["plugged"] is True


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"[]", -32600, "not a call"),
        (b'{"id":1}', -32600, "not a call"),
        (b'{"id":{},"method":"sim.state"}', -32600, "id"),
        (b'{"id":1,"method":"sim.fly"}', -32601, "sim.fly"),
        (b'{"id":1,"method":"sim.plug","params":{"outlet":9}}', -32602, "outlet: must be a whole number 1..2"),
        (b'{"id":1,"method":"sim.watch","params":{"outlet":9}}', -32602, "outlet: unknown parameter"),
        (b'{"id":1,"method":"cards.next","params":{"reader":"x"}}', -32602, "reader: must be one of"),
        (b'{"id":1,"method":"sim.unplug","params":{"outlet":1}}', -32000, "nothing is plugged in"),
    ],
)
async def test_a_wrong_call_is_answered_and_no_more(house: House, line: bytes, code: int, text: str) -> None:
    client = await house.client()
    await client.raw(line + b"\n")
    error = (await client.next())["error"]
    assert error["code"] == code and text in error["message"]
    assert await client.call("sim.reset") == {}


async def test_a_silent_meter_is_an_error_of_the_device(house: House) -> None:
    client = await house.client()
    await client.call("sim.meter", outlet=1, silent=True)
    assert (await client.call("meter.read", outlet=1))["code"] == -32001


@pytest.mark.parametrize(
    "hostile",
    [
        b"hello\n",
        b"\xff\xfe\n",
        b'{"id":NaN,"method":"sim.state"}\n',
        b"[" * 60_000 + b"\n",
        b'{"a":' * 12_000 + b"\n",
        b"9" * 60_000 + b"\n",
        b"x" * (MAX_LINE + 1),
        b'{"jsonrpc":"2.0","id":"' + b"x" * MAX_LINE + b'","method":"sim.state"}\n',
    ],
)
async def test_hostile_lines_cost_the_sender_its_connection_only(house: House, hostile: bytes) -> None:
    other, sender = await house.client(), await house.client()
    await other.call("sim.state")
    await sender.raw(hostile)
    error = (await sender.next())["error"]
    assert error["code"] == -32700 and len(error["message"]) < 100
    assert await sender.hung_up()
    assert await other.call("sim.reset") == {}


async def test_a_flood_is_cut_and_others_are_served_meanwhile(house: House) -> None:
    other, sender = await house.client(), await house.client()
    await other.call("sim.state")
    flood = asyncio.create_task(_flood(sender))
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        assert await other.call("sim.reset") == {}
    assert asyncio.get_running_loop().time() - started < 2
    assert await flood


async def _flood(sender: Client) -> bool:
    async def write() -> None:
        with contextlib.suppress(ConnectionError):
            while not sender.writer.is_closing():
                await sender.raw(b'{"jsonrpc":"2.0","id":1,"method":"sim.reset"}\n' * 100)

    writing = asyncio.create_task(write())
    try:
        return await sender.hung_up()
    finally:
        sender.close()
        await writing


async def test_who_never_reads_is_not_served_for_ever(house: House) -> None:
    other, sender = await house.client(), await house.client()
    await other.call("sim.state")
    sender.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sender.writer.write(b'{"jsonrpc":"2.0","id":1,"method":"sim.state"}\n' * 3000)
    for _ in range(20):
        await other.call("sim.reset")
    held = max(peer._transport.get_write_buffer_size() for peer in house.server.peers)
    assert held < 4 * MAX_LINE


async def test_too_many_connections_are_turned_away(house: House) -> None:
    first = await house.client()
    assert await first.call("sim.reset") == {}
    for _ in range(serve.PEERS - 1):
        await house.client()
    await asyncio.sleep(0)
    assert await (await house.client()).hung_up()
    assert await first.call("sim.reset") == {}


async def test_a_watcher_is_told_what_changed_and_nothing_else(house: House) -> None:
    watcher, driver = await house.client(), await house.client()
    assert len((await watcher.call("sim.watch"))["outlets"]) == 2
    await driver.call("sim.plug", outlet=2)
    told = await watcher.next()
    assert told["method"] == "sim.changed" and told["params"]["outlet"] == 2 and told["params"]["plugged"] is True
    await driver.call("sim.supply", volts=225)
    told = await watcher.next()
    assert told["params"]["outlet"] == 0 and told["params"]["volts"] == [225, 225, 225]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await watcher.reader.readline()


async def test_watching_ends_with_the_watcher(house: House) -> None:
    watcher = await house.client()
    await watcher.call("sim.watch")
    watcher.close()
    await eventually(lambda: not house.server.watchers and house.server._ticking is None)


async def test_a_tap_goes_to_who_waits_at_that_reader(house: House) -> None:
    here, there, driver = await house.client(), await house.client(), await house.client()
    await here.raw(b'{"jsonrpc":"2.0","id":1,"method":"cards.next","params":{"reader":"evse1"}}\n')
    await there.raw(b'{"jsonrpc":"2.0","id":2,"method":"cards.next","params":{"reader":"evse2"}}\n')
    assert await driver.call("sim.tap", uid="04A1B2C3", reader="evse2") == {"new": True}
    assert await there.next() == {"jsonrpc": "2.0", "id": 2, "result": {"uid": "04A1B2C3", "kind": "ISO14443"}}
    here.close()
    await eventually(lambda: not house.world.readers["evse1"].waiting)


async def test_one_connection_waits_for_a_few_taps_only(house: House) -> None:
    client = await house.client()
    await client.raw(b'{"jsonrpc":"2.0","id":1,"method":"cards.next"}\n' * (serve.BURST + 1))
    assert (await client.next())["error"]["code"] == -32000
    assert len(house.world.readers["station"].waiting) == serve.BURST


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_world(tmp_path: Path) -> None:
    path = tmp_path / "world.sock"
    world = World([SimOutlet()], asyncio.get_running_loop().time)
    async with serve.serving(world, str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(DeviceError, match="served by another world"):
            async with serve.serving(world, str(path)):
                pass
    assert not path.exists()


async def test_a_leftover_socket_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "world.sock"
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(path))
    leftover.close()
    world = World([SimOutlet()], asyncio.get_running_loop().time)
    async with serve.serving(world, str(path)):
        pass
    path.write_text("precious")
    with pytest.raises(DeviceError, match="not a socket"):
        async with serve.serving(world, str(path)):
            pass
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", ["", "/" + "x" * 200])
async def test_an_impossible_path_is_named(path: str) -> None:
    with pytest.raises(DeviceError, match="path"):
        async with serve.serving(World([SimOutlet()], lambda: 0.0), path):
            pass


@pytest.mark.parametrize("argv", [["--socket", "/x", "--outlets", "0"], ["--socket", "/x", "--tethered", "2"]])
def test_impossible_arguments_end_with_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(argv)
    assert ended.value.code == 2 and "1..64" in capsys.readouterr().err


def test_a_socket_that_cannot_be_made_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--socket", "/nowhere/world.sock"]) == 1
    assert "/nowhere/world.sock" in capsys.readouterr().err


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_no_bytes_stop_the_world(tmp_path: Path, lines: list[bytes]) -> None:
    async def run() -> None:
        path = str(tmp_path / "fuzz.sock")
        async with serve.serving(World([SimOutlet()], asyncio.get_running_loop().time), path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"\n".join([*lines, b""]))
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            client = Client(*await asyncio.open_unix_connection(path))
            assert await client.call("sim.reset") == {}
            client.close()

    asyncio.run(run())
