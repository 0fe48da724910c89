"""The control socket: newline-delimited JSON-RPC 2.0 at a Unix socket, version 1 of the protocol.

| method | params (optional ones in brackets) | result |
|---|---|---|
| hello | | version, protocol, may: `read` or `act` |
| status | | the whole picture of `picture.station`; points in time are RFC 3339, durations seconds |
| why | | for each outlet what it may give and why, as in `reasons.why` |
| profiles.clear | | {cleared: how many}: the backend's charging profiles, all of them * |
| watch | | {}; from then on `event` notifications as listed in `picture.news` |
| sessions | [limit 1..1000, 50], [since unix seconds] | closed transactions, newest first |
| queue | | waiting, kinds, oldest, dead (how many), letters (the newest dead letters) |
| variables | [name: ours, or that of OCPP 1.6 or 2.x] | settings with their values |
| config.get | | the configuration file as read, without secrets |
| link.status | | null without a backend, else as in `status` |
| cards.list | | local cards, numbers shortened |
| cards.add | card, [group] | {} * |
| cards.remove | card: its number, or the unambiguous end of it | {} * |
| cards.learn | | {seconds}; then one `cards.learned` notification: card or null, known before, why * |
| list | | the CSMS's local list: version, enabled, entries, numbers shortened |
| cache.list | | the authorisation cache: enabled, entries, newest last |
| cache.put | card, [group], [status: a word of the OCPP authorisation status, Accepted] | {} * |
| cache.clear | | {} * |
| reservations | | number, card, outlet (0: any), group, until |
| tap | token, [evse] | {}: as if a card were tapped * |
| start | outlet, [token] | {}: nobody is asked whether it may * |
| stop | outlet | {} * |
| unlock | outlet | {}: the lock has let go; refused while an authorised transaction runs * |
| link.force | up: true, false, or null for by itself | {} * |
| faults.clear | outlet (0: the station), fault | {}: the guard was asked, if it is an outlet's; it decides * |
| reset | kind: soft or hard | {outcome: accepted or scheduled} * |
| shutdown | | {}; what charges goes on by its lease * |
| sim.… | as in `hal.sim.dispatch`; not sim.watch | of the simulated world, where the board is one * |

Methods with * act: for root, the daemon's own user and the group `chargerd-admin`; the rest (and sim.state, sim.audit)
also for the group `chargerd`. Errors: -32700 not JSON, -32600 not a call (batches are not taken), -32601 unknown
method, -32602 a parameter is missing, unknown or out of bounds, -32603 a fault of ours, -32000 refused as things are
now, -32001 not allowed. A client's calls are carried out in order, one at a time and 500 a second at most; what it
sends ahead waits in its 128 kB. A line over 64 kB ends its connection, and so does a watcher's not reading, after a
`dropped` notification that says why; nobody else notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import math
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chargerd.core.token import Standing
from chargerd.daemon.peers import ACTORS, READERS, Doorkeeper, May, Peer, doorkeeper, peer_of

log = logging.getLogger(__name__)

PROTOCOL = 1
MAX_LINE = 65_536
CLIENTS = 32
CALLS_A_SECOND = 500
BACKLOG = 1 << 20  # bytes a watcher may leave unread
STUCK = 10.0  # s for a client to read what it asked for
SEEING = ("sim.state", "sim.audit")

Json = Any
Tell = Callable[[Json], None]


class Refused(Exception):
    """The call cannot be carried out as things are; the text says why and what helps."""


class BadParams(ValueError):
    """A parameter is missing, unknown or out of its bounds; the text names it and what is allowed."""


class Api(Protocol):
    """What the socket needs of the daemon: results are JSON, errors `Refused` and `BadParams`."""

    version: str

    async def status(self) -> Json: ...
    async def why(self) -> Json: ...
    async def clear_profiles(self) -> Json: ...
    def watch(self, tell: Tell) -> Callable[[], None]:
        """Tell every event from now on; the result ends it."""

    async def sessions(self, limit: int, since: float) -> Json: ...
    async def queue(self) -> Json: ...
    async def variables(self, name: str | None) -> Json: ...
    async def config(self) -> Json: ...
    async def link(self) -> Json: ...
    async def force_link(self, up: bool | None) -> None: ...
    async def cards(self) -> Json: ...
    async def add_card(self, card: str, group: str | None) -> None: ...
    async def remove_card(self, card: str) -> None: ...
    async def learn_card(self, learned: Tell) -> Json: ...
    async def local_list(self) -> Json: ...
    async def cache(self) -> Json: ...
    async def put_in_cache(self, card: str, group: str | None, status: str) -> None: ...
    async def clear_cache(self) -> None: ...
    async def reservations(self) -> Json: ...
    async def tap(self, token: str, evse: int | None) -> None: ...
    async def start(self, outlet: int, token: str | None) -> None: ...
    async def stop(self, outlet: int) -> None: ...
    async def unlock(self, outlet: int) -> None: ...
    async def clear_fault(self, outlet: int, fault: str, who: str) -> None: ...
    async def reset(self, kind: str) -> Json: ...
    async def shutdown(self) -> None: ...
    async def sim(self, method: str, params: dict[str, Json]) -> Json: ...


# ---------------------------------------------------------------- one call


class _Failed(Exception):
    def __init__(self, code: int, text: str, id_: Json = None) -> None:
        super().__init__(text)
        self.code, self.id = code, id_


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    params: dict[str, Json]
    id: Json
    wanted: bool  # False: a notification, which gets no answer


def _parse(line: bytes) -> _Call:
    try:
        body = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Failed(-32700, "not JSON") from None
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0" or not isinstance(body.get("method"), str):
        raise _Failed(-32600, "not a call: an object with jsonrpc 2.0, id, method and params is needed")
    id_ = body.get("id")
    if isinstance(id_, bool) or not isinstance(id_, int | float | str | None) or id_ in (math.inf, -math.inf):
        raise _Failed(-32600, "id: must be a number or a text")
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise _Failed(-32602, "params: must be an object with named members", id_)
    return _Call(body["method"], params, id_, "id" in body)


def _no_constant(constant: str) -> None:
    raise ValueError(constant)


class Params:
    """Checked access to the params of one call; everything raises BadParams."""

    def __init__(self, raw: Mapping[str, Json], allowed: Iterable[str]) -> None:
        names = tuple(allowed)
        if unknown := [name for name in raw if name not in names]:
            raise BadParams(f"{unknown[0][:40]}: unknown parameter; allowed: {', '.join(names) or 'none'}")
        self._raw = raw

    def has(self, name: str) -> bool:
        """Given, and not null."""
        return self._raw.get(name) is not None

    def get(self, name: str) -> Json:
        if name not in self._raw:
            raise BadParams(f"{name}: missing")
        return self._raw[name]

    def text(self, name: str, form: re.Pattern[str], what: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise BadParams(f"{name}: must be {what}")
        return value

    def token(self, name: str) -> str:
        """An idToken: identifierString of OCPP 2.x."""
        return self.text(name, _TOKEN, "1 to 36 letters, digits or *-_=:+|@.")

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self.get(name) if default is None or self.has(name) else default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise BadParams(f"{name}: must be a whole number {low}..{high}")
        return value

    def seconds(self, name: str) -> float:
        value = self.get(name) if self.has(name) else 0.0
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1e11:
            raise BadParams(f"{name}: must be unix seconds")
        return float(value)

    def outlet(self) -> int:
        return self.whole("outlet", 1, 64)

    def flag_or_null(self, name: str) -> bool | None:
        value = self.get(name)
        if not isinstance(value, bool | None):
            raise BadParams(f"{name}: must be true, false or null")
        return value


_TOKEN = re.compile(r"[A-Za-z0-9*\-_=:+|@.]{1,36}")
_NAME = re.compile(r"[ -~]{1,100}")
_FAULT = re.compile(r"[A-Za-z0-9-]{1,40}")
_STANDING = re.compile("|".join(Standing))
_KIND = re.compile(r"soft|hard")


@dataclass(frozen=True, slots=True)
class _Method:
    run: Callable[[Api, Params, _Client], Awaitable[Json]]
    allowed: tuple[str, ...] = ()
    may: May = May.ACT


async def _hello(api: Api, p: Params, client: _Client) -> Json:
    return {"version": api.version, "protocol": PROTOCOL, "may": client.may.name.lower()}


async def _watch(api: Api, p: Params, client: _Client) -> Json:
    client.watch(api)
    return {}


_METHODS: dict[str, _Method] = {
    "hello": _Method(_hello, may=May.READ),
    "status": _Method(lambda api, p, c: api.status(), may=May.READ),
    "why": _Method(lambda api, p, c: api.why(), may=May.READ),
    "profiles.clear": _Method(lambda api, p, c: api.clear_profiles()),
    "watch": _Method(_watch, may=May.READ),
    "sessions": _Method(
        lambda api, p, c: api.sessions(p.whole("limit", 1, 1000, 50), p.seconds("since")), ("limit", "since"), May.READ
    ),
    "queue": _Method(lambda api, p, c: api.queue(), may=May.READ),
    "variables": _Method(
        lambda api, p, c: api.variables(p.text("name", _NAME, "a name of a variable") if p.has("name") else None),
        ("name",),
        May.READ,
    ),
    "config.get": _Method(lambda api, p, c: api.config(), may=May.READ),
    "link.status": _Method(lambda api, p, c: api.link(), may=May.READ),
    "link.force": _Method(lambda api, p, c: api.force_link(p.flag_or_null("up")), ("up",)),
    "cards.list": _Method(lambda api, p, c: api.cards(), may=May.READ),
    "cards.add": _Method(
        lambda api, p, c: api.add_card(p.token("card"), p.token("group") if p.has("group") else None),
        ("card", "group"),
    ),
    "cards.remove": _Method(lambda api, p, c: api.remove_card(p.token("card")), ("card",)),
    "cards.learn": _Method(lambda api, p, c: api.learn_card(lambda body: c.notify("cards.learned", body))),
    "list": _Method(lambda api, p, c: api.local_list(), may=May.READ),
    "cache.list": _Method(lambda api, p, c: api.cache(), may=May.READ),
    "cache.put": _Method(
        lambda api, p, c: api.put_in_cache(
            p.token("card"),
            p.token("group") if p.has("group") else None,
            p.text("status", _STANDING, f"one of {', '.join(Standing)}") if p.has("status") else Standing.ACCEPTED,
        ),
        ("card", "group", "status"),
    ),
    "cache.clear": _Method(lambda api, p, c: api.clear_cache()),
    "reservations": _Method(lambda api, p, c: api.reservations(), may=May.READ),
    "tap": _Method(
        lambda api, p, c: api.tap(p.token("token"), p.whole("evse", 1, 64) if p.has("evse") else None),
        ("token", "evse"),
    ),
    "start": _Method(
        lambda api, p, c: api.start(p.outlet(), p.token("token") if p.has("token") else None), ("outlet", "token")
    ),
    "stop": _Method(lambda api, p, c: api.stop(p.outlet()), ("outlet",)),
    "unlock": _Method(lambda api, p, c: api.unlock(p.outlet()), ("outlet",)),
    "faults.clear": _Method(
        lambda api, p, c: api.clear_fault(
            p.whole("outlet", 0, 64), p.text("fault", _FAULT, "the name of a fault"), c.who
        ),
        ("outlet", "fault"),
    ),
    "reset": _Method(lambda api, p, c: api.reset(p.text("kind", _KIND, "soft or hard")), ("kind",)),
    "shutdown": _Method(lambda api, p, c: api.shutdown()),
}


async def _carry_out(api: Api, client: _Client, call: _Call) -> Json:
    """The result of one call. Raises _Failed."""
    simulated = call.method.startswith("sim.") and call.method != "sim.watch"
    method = _METHODS.get(call.method)
    if method is None and not simulated:
        known = ", ".join((*_METHODS, "sim.…"))
        raise _Failed(-32601, f"{call.method[:40]}: unknown method; there are {known}", call.id)
    needed = method.may if method is not None else May.READ if call.method in SEEING else May.ACT
    if client.may < needed:
        group = READERS if needed is May.READ else ACTORS
        raise _Failed(-32001, f"{call.method[:40]}: not allowed; join the group {group}, or use sudo", call.id)
    try:
        if method is None:
            return await api.sim(call.method, call.params)
        result = await method.run(api, Params(call.params, method.allowed), client)
    except BadParams as e:
        raise _Failed(-32602, str(e), call.id) from None
    except Refused as e:
        raise _Failed(-32000, str(e), call.id) from None
    return {} if result is None else result


# ---------------------------------------------------------------- connections


class _Client:
    """One connection: what is said to it, and what it watches."""

    who: str
    may: May

    def __init__(self, writer: asyncio.StreamWriter, peer: Peer, may: May) -> None:
        self.who, self.may = f"uid {peer.uid}", may
        self._writer = writer
        self._unwatch: Callable[[], None] | None = None
        self._second, self._calls = 0.0, 0

    def watch(self, api: Api) -> None:
        if self._unwatch is None:
            self._unwatch = api.watch(lambda body: self.notify("event", body))

    def notify(self, method: str, body: Json) -> None:
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > BACKLOG:
            self.say({"jsonrpc": "2.0", "method": "dropped", "params": {"why": "events are not read: connect again"}})
            self.hang_up()
        else:
            self.say({"jsonrpc": "2.0", "method": method, "params": body})

    def say(self, body: Json) -> None:
        """Raises ValueError for what JSON cannot carry."""
        self._writer.write(json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n")

    async def said(self) -> None:
        """Wait until it has read most of it; one that does not read loses its connection."""
        try:
            async with asyncio.timeout(STUCK):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()

    async def pace(self) -> None:
        """Nobody's flood stands in the way of the others."""
        now = asyncio.get_running_loop().time()
        if now - self._second >= 1.0:
            self._second, self._calls = now, 0
        self._calls += 1
        await asyncio.sleep(self._second + 1.0 - now if self._calls > CALLS_A_SECOND else 0)

    def hang_up(self) -> None:
        """Close once what was said is read, at the latest after `STUCK` seconds."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if not self._writer.is_closing():
            self._writer.close()
            asyncio.get_running_loop().call_later(STUCK, self._writer.transport.abort)


class ControlServer:
    """Serves `api` at `path` from `start` to `stop`."""

    def __init__(self, path: str, api: Api, keeper: Doorkeeper | None = None) -> None:
        self.api = api
        self._path, self._keeper = Path(path), keeper or doorkeeper()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises OSError, naming the path, where nothing can be served there."""
        self._listener = await asyncio.start_unix_server(self._serve, sock=_listen(self._path), limit=MAX_LINE)

    async def stop(self) -> None:
        """Close every connection and remove the socket."""
        if self._listener is None:
            return
        self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        self._listener = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        client = _Client(writer, peer, self._keeper.may(peer))
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) > CLIENTS:
                client.say(_error(_Failed(-32000, f"{CLIENTS} clients are connected already: close one")))
            elif client.may is May.NOTHING:
                client.say(_error(_Failed(-32001, f"not allowed; join the group {READERS}, or use sudo")))
            else:
                await self._converse(client, reader)
        except asyncio.CancelledError:
            writer.transport.abort()
        except ConnectionError:
            pass
        finally:
            self._tasks.discard(task)
            client.hang_up()

    async def _converse(self, client: _Client, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                client.say(_error(_Failed(-32700, f"line longer than {MAX_LINE} bytes")))
                return
            if not line.endswith(b"\n"):
                return
            await self._answer(client, line)
            await client.said()
            await client.pace()

    async def _answer(self, client: _Client, line: bytes) -> None:
        try:
            call = _parse(line)
        except _Failed as e:
            client.say(_error(e))
            return
        try:
            result = await _carry_out(self.api, client, call)
            if call.wanted:
                client.say({"jsonrpc": "2.0", "id": call.id, "result": result})
            return
        except _Failed as e:
            error = e
        except Exception:
            log.exception("control socket: %.40s met a fault of ours", call.method)
            error = _Failed(-32603, "a fault of chargerd itself; its log says more", call.id)
        if call.wanted:
            client.say(_error(error))


def _error(failed: _Failed) -> Json:
    return {"jsonrpc": "2.0", "id": failed.id, "error": {"code": failed.code, "message": str(failed)}}


def _listen(path: Path) -> socket.socket:
    """A socket anybody may open: who may do what is decided by credentials, with a word about it."""
    must_be_free(path)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o666)
    except OSError as e:
        listener.close()
        raise OSError(e.errno, f"control socket: {e.strerror or e}", str(path)) from None
    return listener


def must_be_free(path: Path) -> None:
    """Raises OSError when another process serves `path`, or something that is no socket is there."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        with contextlib.suppress(ConnectionRefusedError):
            probe.connect(str(path))
            raise OSError(errno.EADDRINUSE, "control socket: another chargerd serves it; stop it first", str(path))
    if not path.is_socket():
        raise OSError(errno.EEXIST, "control socket: something else is there; remove it", str(path))
