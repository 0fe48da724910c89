"""How the daemon's simulated devices reach the world: in the same process, or through its socket. Both `call` alike."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any, Protocol
from urllib.parse import parse_qsl

from hal.api import Card, DeviceError
from hal.sim.dispatch import BadParams, Params, UnknownMethod, dispatch
from hal.sim.wire import MAX_LINE, bad_path
from hal.sim.world import Refused, World

TIMEOUT = 2.0


class Way(Protocol):
    async def call(self, method: str, params: dict[str, Any], timeout: float | None = TIMEOUT) -> Any:
        """The result; `timeout` None waits for ever. Raises DeviceError."""

    async def close(self) -> None: ...


class Near:
    """A world in this process."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def call(self, method: str, params: dict[str, Any], timeout: float | None = TIMEOUT) -> Any:
        try:
            if method == "cards.next":
                return await self._next_card(Params(self._world, params, ("reader",)).reader())
            return dispatch(self._world, method, params)
        except (BadParams, Refused, UnknownMethod) as e:
            raise DeviceError(str(e)) from None

    async def close(self) -> None:
        pass

    async def _next_card(self, reader: str) -> dict[str, Any]:
        tapped: asyncio.Future[Card] = asyncio.get_running_loop().create_future()

        def deliver(card: Card) -> bool:
            if tapped.done():
                return False
            tapped.set_result(card)
            return True

        cancel = self._world.next_tap(reader, deliver)
        try:
            return asdict(await tapped)
        finally:
            cancel()


class Far:
    """A world behind a socket: one connection, one call at a time, made anew by the next call after it broke."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def call(self, method: str, params: dict[str, Any], timeout: float | None = TIMEOUT) -> Any:
        async with self._turn:
            answered = False
            try:
                async with asyncio.timeout(timeout):
                    body = await self._ask(method, params)
                answered = True
            except TimeoutError:
                raise self._trouble(f"did not answer within {timeout} s") from None
            except OSError as e:
                raise self._trouble(e.strerror or str(e)) from None
            except (ValueError, RecursionError):
                raise self._trouble("answers nonsense") from None
            finally:
                if not answered:  # also when cancelled: an answer still under way must not meet the next call
                    await self.close()
        if "result" not in body:
            error = body.get("error")
            raise DeviceError(str(error.get("message") if isinstance(error, dict) else error)[:1000])
        return body["result"]

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
        reader, writer = self._streams
        writer.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
        if not line:
            raise OSError("connection closed")
        body = json.loads(line)
        if not isinstance(body, dict):
            raise ValueError("not an object")
        return body

    def _trouble(self, why: str) -> DeviceError:
        return DeviceError(
            f"simulated world {self._path}: {why}; start it: python -m hal.sim.serve --socket {self._path}"
        )


def outlet_address(role: str, rest: str) -> tuple[Far, int]:
    """Reads `/path/world.sock?outlet=1`: the way there and the outlet. Raises DeviceError."""
    way, outlet = address(role, rest, "outlet")
    if outlet is None or not outlet.isdecimal() or int(outlet) < 1:
        raise DeviceError(f"simulated {role} 'sim:{rest}': which outlet? write sim:/path/world.sock?outlet=1")
    return way, int(outlet)


def address(role: str, rest: str, known: str) -> tuple[Far, str | None]:
    """Reads `/path/world.sock?known=value`: the way there and the value, if given. Raises DeviceError."""
    path, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = [name for name in options if name != known]
    trouble = bad_path(path) or (f"unknown option {unknown[0]!r}" if unknown else None)
    if trouble:
        raise DeviceError(f"simulated {role} 'sim:{rest}': {trouble}; write sim:/path/world.sock?{known}=…")
    return Far(path), options.get(known)
