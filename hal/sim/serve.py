"""The world as a process of its own: `python -m hal.sim.serve --socket PATH --outlets 2 [--tethered 2]`.

A Unix socket that speaks newline-delimited JSON-RPC 2.0, one call a line, no batches, for example

    {"jsonrpc": "2.0", "id": 1, "method": "sim.plug", "params": {"outlet": 1, "max_amps": 16}}
    {"jsonrpc": "2.0", "id": 1, "result": {}}

Methods and parameters: the table of `hal.sim.dispatch`. Besides, `sim.watch` answers the state and from then on sends
`sim.changed` notifications, params as an outlet of `sim.state`, at most every 10 ms when something changed and once a
second while current flows; `cards.next` answers at the next tap. `sim.changed` for a world-wide change (mains, guard
alive) comes with `outlet` 0.

Errors: -32700 not JSON, -32600 not a call, -32601 unknown method, -32602 bad parameter (named, with what is allowed),
-32000 refused by the world as it is now, -32001 device does not answer. Lines over 64 kB, what is no JSON, endless
answers nobody reads and over 5000 calls a second cost the sender its connection and nobody else anything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from hal.api import Card, DeviceError
from hal.sim.dispatch import BadParams, Params, UnknownMethod, dispatch, outlet_state, state
from hal.sim.outlet import SimOutlet
from hal.sim.wire import MAX_LINE, bad_path
from hal.sim.world import Refused, World

TICK = 0.010
PEERS, BACKLOG, BURST, CALLS_A_SECOND = 64, 1 << 20, 16, 5000
FLOWING = ("amps", "watts", "energy", "vehicle_energy", "pilot_high", "pilot_low")
Id = int | float | str | None


class Server:
    """The peers of one world and who of them watches."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.peers: set[_Peer] = set()
        self.watchers: set[_Peer] = set()
        self._told: dict[int, dict[str, Any]] = {}
        self._flow_due = 0.0
        self._ticking: asyncio.Task[None] | None = None

    def watch(self, peer: _Peer) -> dict[str, Any]:
        self.watchers.add(peer)
        if self._ticking is None:
            self._told = self._picture()
            self._ticking = asyncio.create_task(self._tick())
        return state(self.world)

    def forget(self, peer: _Peer) -> None:
        self.peers.discard(peer)
        self.watchers.discard(peer)

    async def _tick(self) -> None:
        """Only while somebody watches: physics itself needs no ticking."""
        while self.watchers:
            await asyncio.sleep(TICK)
            self.world.catch_up()
            self._tell()
        self._ticking = None

    def _tell(self) -> None:
        picture, flowing = self._picture(), self.world.now >= self._flow_due
        if flowing:
            self._flow_due = self.world.now + 1.0
        for rank, now in picture.items():
            if _steady(now) != _steady(self._told[rank]) or (flowing and now.get("watts")):
                self._told[rank] = now
                for peer in tuple(self.watchers):
                    peer.send({"jsonrpc": "2.0", "method": "sim.changed", "params": now})

    def _picture(self) -> dict[int, dict[str, Any]]:
        whole = state(self.world)
        everywhere = {"outlet": 0, **{name: whole[name] for name in ("guard_alive", "volts", "frequency", "readers")}}
        return {0: everywhere, **{n: outlet_state(self.world, n) for n in range(1, len(self.world.outlets) + 1)}}


def _steady(outlet: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outlet.items() if name not in FLOWING}


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class _Peer(asyncio.Protocol):
    """One connection: lines in, answers out, its misbehaviour on its own account."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._stuffed = self._pumping = False
        self._second, self._calls = 0.0, 0
        self._cancel: dict[int, Callable[[], None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._server.peers) >= PEERS:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=MAX_LINE)
        self._server.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._buffer.clear()
        self._server.forget(self)
        for cancel in tuple(self._cancel.values()):
            cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._pumping:
            self._pump()

    def pause_writing(self) -> None:
        self._stuffed = True

    def resume_writing(self) -> None:
        self._stuffed = False
        if not self._pumping:
            self._pump()

    def send(self, message: dict[str, Any]) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        if self._transport.get_write_buffer_size() > BACKLOG:
            self._transport.abort()

    def hang_up(self) -> None:
        self._transport.abort()

    def _pump(self) -> None:
        """Serve what has arrived, a few lines at a time so that nobody else waits."""
        self._pumping = False
        for _ in range(BURST):
            end = self._buffer.find(b"\n", 0, MAX_LINE + 1)
            if end < 0 and len(self._buffer) > MAX_LINE:
                self._part(None, -32700, f"line longer than {MAX_LINE} bytes")
            if self._transport.is_closing() or self._stuffed or end < 0:
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._serve(line)
        else:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)
        if self._transport.is_closing():
            return
        if self._stuffed or self._pumping:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _serve(self, line: bytes) -> None:
        if self._too_fast():
            self._part(None, -32000, f"over {CALLS_A_SECOND} calls a second")
            return
        try:
            call = json.loads(line, parse_constant=_not_json)
        except (ValueError, RecursionError):
            self._part(None, -32700, "not JSON")
            return
        if not isinstance(call, dict) or not isinstance(method := call.get("method"), str):
            self._fail(None, -32600, "not a call: an object with jsonrpc, id, method and params is needed")
            return
        id_ = call.get("id")
        if isinstance(id_, bool) or not isinstance(id_, int | float | str | None):
            self._fail(None, -32600, "id: must be a number or a string")
            return
        try:
            self._answer("id" in call, id_, method, call.get("params", {}))
        except UnknownMethod as e:
            self._fail(id_, -32601, str(e))
        except BadParams as e:
            self._fail(id_, -32602, str(e))
        except Refused as e:
            self._fail(id_, -32000, str(e))
        except DeviceError as e:
            self._fail(id_, -32001, str(e))

    def _answer(self, wanted: bool, id_: Id, method: str, params: object) -> None:
        world = self._server.world
        if method == "cards.next":
            self._next_card(id_, Params(world, params, ("reader",)).reader())
            return
        if method == "sim.watch":
            Params(world, params, ())
            result: Any = self._server.watch(self)
        else:
            result = dispatch(world, method, params)
        if wanted:
            self.send({"jsonrpc": "2.0", "id": id_, "result": result})

    def _next_card(self, id_: Id, reader: str) -> None:
        if len(self._cancel) >= BURST:
            raise Refused(f"{BURST} taps are waited for on this connection already")
        key = max(self._cancel, default=0) + 1

        def deliver(card: Card) -> bool:
            self._cancel.pop(key, None)
            self.send({"jsonrpc": "2.0", "id": id_, "result": asdict(card)})
            return not self._transport.is_closing()

        self._cancel[key] = lambda: None
        cancel = self._server.world.next_tap(reader, deliver)
        if key in self._cancel:
            self._cancel[key] = cancel

    def _too_fast(self) -> bool:
        now = time.monotonic()
        if now - self._second >= 1:
            self._second, self._calls = now, 0
        self._calls += 1
        return self._calls > CALLS_A_SECOND

    def _fail(self, id_: Id, code: int, text: str) -> None:
        self.send({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": text}})

    def _part(self, id_: Id, code: int, text: str) -> None:
        self._fail(id_, code, text)
        self._transport.close()


@contextlib.asynccontextmanager
async def serving(world: World, path: str) -> AsyncIterator[Server]:
    """Serve `world` at a Unix socket for as long as the context lasts. Raises DeviceError when another one does."""
    server = Server(world)
    listener = await asyncio.get_running_loop().create_unix_server(lambda: _Peer(server), sock=_listen(path))
    try:
        yield server
    finally:
        listener.close()
        for peer in tuple(server.peers):
            peer.hang_up()
        _remove(path)


def _listen(path: str) -> socket.socket:
    if trouble := bad_path(path) or _taken(path):
        raise DeviceError(f"simulated world: {trouble}")
    _remove(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        Path(path).chmod(0o660)
    except OSError as e:
        listener.close()
        raise DeviceError(f"simulated world: {path}: {e.strerror or e}") from None
    return listener


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _taken(path: str) -> str | None:
    """Why nothing can be served here, or None. A socket nobody listens on is a leftover."""
    if not Path(path).exists():
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return None if Path(path).is_socket() else f"{path} is not a socket; remove it"
        except OSError as e:
            return f"{path}: {e.strerror or e}"
    return f"{path} is served by another world; stop it or choose another path"


def serve(socket_path: str, outlets: Sequence[SimOutlet], noise: float = 0.0) -> None:
    """Serve a new world until SIGTERM or SIGINT. Raises DeviceError."""

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serving(World(outlets, time.monotonic, noise=noise), socket_path):
            await stop.wait()

    asyncio.run(run())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hal.sim.serve", description="The simulated world of chargerd.")
    parser.add_argument("--socket", required=True, help="path of the Unix socket")
    parser.add_argument("--outlets", type=int, default=1, help="how many")
    parser.add_argument("--tethered", type=int, nargs="*", default=[], help="outlets with a fixed cable")
    parser.add_argument("--phases", type=int, default=3, choices=(1, 2, 3), help="wired to every outlet")
    parser.add_argument("--switching", action="store_true", help="with second contactors, for 1 or 3 phases")
    parser.add_argument("--relay", action="store_true", help="with relays that take the pilot from the vehicle")
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation on the pilot, volts")
    given = parser.parse_args(argv)
    if not 1 <= given.outlets <= 64 or set(given.tethered) - set(range(1, given.outlets + 1)):
        parser.error("outlets: 1..64, and tethered must be among them")
    if given.switching and given.phases != 3:
        parser.error("switching: there must be three phases to switch")
    setup = [
        SimOutlet(rank in given.tethered, given.phases, given.switching, given.relay)
        for rank in range(1, given.outlets + 1)
    ]
    try:
        serve(given.socket, setup, given.noise)
    except DeviceError as e:
        sys.stderr.write(f"{e}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
