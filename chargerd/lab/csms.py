"""A small CSMS for the demo, dry runs and tests: OCPP 1.6J, 2.0.1, 2.1, several stations, the judge of what is sent.

It knows nothing of chargerd: framing, checks and books are its own. Its behaviour may be changed at any time:

    boot          what BootNotification is answered with (per station after that: `StationView.registration`)
    tokens        known tokens; others are asked from `partner`, if there is one, else refused
    script(...)   how one action is answered wrongly: error, silence, delay, twice, wrong id, link cut
    away/back     the listener goes and comes back on the same port; `drop` only cuts links
    numbers       how 1.6 transactionIds are given: `sequential`, `epoch`, `zero_unless_accepted`

`python -m chargerd.lab.csms --port 9000 [--version ocpp1.6]` prints the wire and takes orders (`lab.orders`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.headers import parse_authorization_basic
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from chargerd.lab import schema
from chargerd.lab.books import Books, shorten
from chargerd.lab.desk import Desk
from chargerd.lab.orders import Counter
from chargerd.lab.peer import (
    HONEST,
    MAX_FRAME,
    CallFailed,
    Frame,
    Payload,
    Peer,
    Script,
    StationView,
    Status,
    Then,
)
from chargerd.lab.roaming import Partner, Token, stamp, token_info, without_card

VERSIONS = tuple(schema.FOLDERS)
Numbers = Callable[[bool], int]
"""Gives the next 1.6 transactionId; told whether the token was accepted."""

ONLY_ACKNOWLEDGED = """
ClearedChargingLimit DiagnosticsStatusNotification FirmwareStatusNotification LogStatusNotification MeterValues
NotifyChargingLimit NotifyCustomerInformation NotifyDisplayMessages NotifyEvent NotifyMonitoringReport NotifyReport
PublishFirmwareStatusNotification ReportChargingProfiles ReservationStatusUpdate SecurityEventNotification
SignedFirmwareStatusNotification StatusNotification
"""


@dataclass(frozen=True, slots=True)
class Boot:
    """Accepted, Pending or Rejected; the interval in s is the heartbeat's, or the time to the next boot."""

    status: str = "Accepted"
    interval: int = 300


def sequential(first: int = 1) -> Numbers:
    counter = itertools.count(first)
    return lambda accepted: next(counter)


def epoch(clock: Callable[[], float]) -> Numbers:
    """Seconds since 1970: big, and the same for two starts in one second."""
    return lambda accepted: int(clock())


def zero_unless_accepted(numbers: Numbers) -> Numbers:
    return lambda accepted: numbers(True) if accepted else 0


class Csms:
    """`clock` is wall time in s and only stamps; waiting runs on the event loop's time."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        versions: Iterable[str] = VERSIONS,
        password: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.port = port
        self.versions: tuple[str, ...] = tuple(versions)
        self.password = password
        self.boot = Boot()
        self.tokens: dict[str, Token] = {}
        self.partner: Partner | None = None
        self.numbers: Numbers = sequential()
        self.books = Books()
        self.stations: dict[str, StationView] = {}
        self.admit: frozenset[str] | None = None
        """Stations that are known; None: all. Others are answered with 404."""
        self.slam = False
        """Accept the handshake, then close with 1000 at once."""
        self.absent = False
        """Links are refused; with `drop()` this is `away()` for stations without sockets."""
        self.patience = 5.0
        """Seconds of `clock` after which a station may take a CALL for lost and send the next."""
        self.watchers: list[Callable[[StationView, Frame], None]] = []
        self._clock = clock
        self._server: Server | None = None
        self._listened = False
        self._peers: dict[str, Peer] = {}
        self._scripts: dict[tuple[str | None, str], deque[Script]] = {}
        self._standing: dict[tuple[str | None, str], Script] = {}
        self._ids = itertools.count(1)
        self._lookups: set[asyncio.Task[None]] = set()

    # ---- open and closed

    @property
    def url(self) -> str:
        """Without the station's identity, which follows after a slash."""
        return f"ws://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen; OSError when the port is taken. Port 0 becomes the one the system gave."""
        self._server = await serve(
            self._serve,
            self.host,
            self.port,
            process_request=self._process_request,
            select_subprotocol=self._select,
            compression=None,
            max_size=MAX_FRAME,
            ping_interval=None,
            close_timeout=1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._listened = True
        self.absent = False

    async def stop(self) -> None:
        """Close links and listener."""
        for lookup in self._lookups:
            lookup.cancel()
        await self.away()

    async def away(self) -> None:
        """No links, nobody listens. Sessions and stations are remembered."""
        self.absent = True
        self.drop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def back(self) -> None:
        """Let stations in again; on the same port, if there was one."""
        self.absent = False
        if self._listened and self._server is None:
            await self.start()

    def drop(self, station: str | None = None) -> None:
        """Cut the link of one station, or all."""
        for peer in list(self._peers.values()):
            if station in (None, peer.station.id):
                peer.close()

    def attach(
        self, station: str, subprotocol: str, deliver: Callable[[str], None], closed: Callable[[], None] | None = None
    ) -> Peer:
        """Connect a station without a socket; ConnectionRefusedError while away. A second link replaces the first.

        `deliver` may be called before `Peer.receive` returns; `closed` once, whoever ends the link.
        """
        if self.absent:
            raise ConnectionRefusedError("the CSMS is away")
        if subprotocol not in schema.FOLDERS:
            raise ValueError(f"{subprotocol!r} is none of {', '.join(VERSIONS)}")
        if station in self._peers:
            self._peers[station].close()
        view = self.stations.setdefault(station, StationView(station, subprotocol))
        view.version = subprotocol
        view.connections += 1

        def gone() -> None:
            if self._peers.get(station) is peer:
                del self._peers[station]
            if closed is not None:
                closed()

        peer = Peer(self, view, deliver, gone)
        self._peers[station] = peer
        return peer

    def connected(self, station: str) -> bool:
        return station in self._peers

    def violations(self) -> list[str]:
        """Of all stations, with their names."""
        return [f"{view.id}: {violation}" for view in self.stations.values() for violation in view.violations]

    # ---- bad manners on purpose

    def script(self, action: str, script: Script, *, times: int | None = 1, station: str | None = None) -> None:
        """Answer the next `times` CALLs of `action` (None: all, from now on) so; queued after earlier scripts."""
        if times is None:
            self._standing[station, action] = script
        else:
            self._scripts.setdefault((station, action), deque()).extend([script] * times)

    def unscript(self) -> None:
        """Be honest again."""
        self._scripts.clear()
        self._standing.clear()

    def script_for(self, station: StationView, action: str) -> Script:
        keys = ((station.id, action), (None, action))
        for key in keys:
            if self._scripts.get(key):
                return self._scripts[key].popleft()
        return next((self._standing[key] for key in keys if key in self._standing), HONEST)

    # ---- requests to a station

    async def call(
        self, station: str, action: str, payload: Payload, timeout: float = 30.0, *, check: bool = True
    ) -> Payload:
        """The station's result; CallFailed with its error code, `Timeout` or `LinkLost`.

        ValueError when the request itself is not what the version says, unless `check` is off.
        """
        peer = self._peers.get(station)
        if peer is None:
            raise CallFailed("LinkLost", f"station {station} is not connected")
        fault = schema.fault(peer.version, action, payload) if check else None
        if fault is not None:
            raise ValueError(fault.text)
        answered: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()

        def then(result: Payload | CallFailed) -> None:
            if answered.done():
                return
            if isinstance(result, CallFailed):
                answered.set_exception(result)
            else:
                answered.set_result(result)

        message_id = peer.ask(action, payload, then)
        try:
            async with asyncio.timeout(timeout):
                return await answered
        except TimeoutError:
            raise CallFailed("Timeout", f"no answer to {action} in {timeout:g} s") from None
        finally:
            peer.give_up(message_id)

    def desk(self, station: str) -> Desk:
        """The operator's usual requests, in the station's version."""
        return Desk(self.call, self.stations[station])

    # ---- what a peer needs (peer.House)

    def clock(self) -> float:
        return self._clock()

    def new_id(self) -> str:
        return f"csms-{next(self._ids)}"

    def log(self, station: StationView, frame: Frame) -> None:
        station.wire.append(frame)
        for watcher in self.watchers:
            watcher(station, frame)

    def answer(self, peer: Peer, action: str, payload: Payload, then: Then) -> None:
        """The honest answer to a CALL that is in order, now or after the partner has been asked."""
        view = peer.station
        match action:
            case "BootNotification":
                view.boots.append(payload)
                view.registration = self.boot.status
                view.invited.clear()
                then({"currentTime": self._now(), "interval": self.boot.interval, "status": self.boot.status})
            case "Heartbeat":
                view.last_heartbeat = self.clock()
                then({"currentTime": self._now()})
            case "Authorize":
                self._authorize(view, payload, then)
            case "StartTransaction":
                self._start(view, payload, then)
            case "StopTransaction":
                self.books.stopped(view.id, payload)
                self._inform(view, payload.get("idTag"), then)
            case "TransactionEvent":
                self.books.event(view.id, payload)
                token = payload.get("idToken")
                self._inform(view, token and token["idToken"], then, known=without_card(token))
            case "DataTransfer":
                then({"status": "UnknownVendorId"})
            case _ if action in ONLY_ACKNOWLEDGED.split():
                self._note(view, action, payload)
                then({})
            case _:
                then(CallFailed("NotSupported", f"this CSMS does not serve {action}"))

    def _note(self, view: StationView, action: str, payload: Payload) -> None:
        if action == "StatusNotification":
            if view.version == "ocpp1.6":
                place, status = (payload["connectorId"], 1), payload["status"]
            else:
                place, status = (payload["evseId"], payload["connectorId"]), payload["connectorStatus"]
            told = Status(self.clock(), place, status, payload.get("errorCode"))
            view.statuses[place] = told
            view.status_history.append(told)
            self.books.status(view.id, told.at, place, status)
        elif action == "MeterValues" and view.version == "ocpp1.6":
            self.books.metered(view.id, payload)

    def _authorize(self, view: StationView, payload: Payload, then: Then) -> None:
        if view.version == "ocpp1.6":
            self._inform(view, payload["idTag"], then)
        else:
            token = payload["idToken"]
            self._inform(view, token["idToken"], then, known=without_card(token))

    def _start(self, view: StationView, payload: Payload, then: Then) -> None:
        def decided(token: Token) -> None:
            accepted = token.status == "Accepted"
            session = self.books.started(view.id, payload, lambda: self.numbers(accepted))
            then({"transactionId": session.transaction, "idTagInfo": token_info(view.version, token)})

        self._look_up(payload["idTag"], decided)

    def _inform(self, view: StationView, id_token: str | None, then: Then, known: Token | None = None) -> None:
        """Answer with what is known of the token, if there is one."""
        field = "idTagInfo" if view.version == "ocpp1.6" else "idTokenInfo"

        def decided(token: Token) -> None:
            then({field: token_info(view.version, token)})

        if known is not None:
            decided(known)
        elif id_token is None:
            then({})
        else:
            self._look_up(id_token, decided)

    def _look_up(self, id_token: str, decided: Callable[[Token], None]) -> None:
        wanted = id_token.casefold()
        token = next((token for known, token in self.tokens.items() if known.casefold() == wanted), None)
        if token is not None or self.partner is None:
            decided(self._aged(token))
            return
        partner = self.partner

        async def ask() -> None:
            decided(self._aged(await partner.lookup(id_token)))

        task = asyncio.get_running_loop().create_task(ask())
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    def _aged(self, token: Token | None) -> Token:
        if token is None:
            return Token("Unknown")
        if token.status == "Accepted" and token.expiry is not None and token.expiry.timestamp() <= self.clock():
            return Token("Expired", token.group, token.expiry)
        return token

    def _now(self) -> str:
        return stamp(datetime.fromtimestamp(self.clock(), UTC))

    # ---- websockets

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        station = _identity(request.path)
        if not station or (self.admit is not None and station not in self.admit):
            return connection.respond(HTTPStatus.NOT_FOUND, "no such station\n")
        if self.password is None:
            return None
        try:
            given = parse_authorization_basic(request.headers["Authorization"])
        except (KeyError, WebSocketException):
            given = ("", "")
        if given == (station, self.password):
            return None
        refused = connection.respond(HTTPStatus.UNAUTHORIZED, "wrong identity or password\n")
        refused.headers["WWW-Authenticate"] = 'Basic realm="csms"'
        return refused

    def _select(self, connection: ServerConnection, offered: Iterable[Subprotocol]) -> Subprotocol | None:
        """The station's first choice that is served; without one the handshake still completes (1.6J §3.1.2)."""
        return next((name for name in offered if name in self.versions), None)

    async def _serve(self, connection: ServerConnection) -> None:
        if connection.subprotocol is None or self.slam or self.absent:
            await connection.close(1000 if connection.subprotocol else 1002)
            return
        assert connection.request is not None
        outgoing: asyncio.Queue[str | None] = asyncio.Queue()
        peer = self.attach(
            _identity(connection.request.path),
            connection.subprotocol,
            outgoing.put_nowait,
            lambda: outgoing.put_nowait(None),
        )
        sender = asyncio.create_task(_send(connection, outgoing.get))
        try:
            async for text in connection:
                peer.receive(text)
        except ConnectionClosed:
            pass
        finally:
            peer.close()
            await sender


async def _send(connection: ServerConnection, following: Callable[[], Awaitable[str | None]]) -> None:
    try:
        while (text := await following()) is not None:
            await connection.send(text)
        await connection.close()
    except ConnectionClosed:
        return


def _identity(path: str) -> str:
    """The station's name: the last part of the path, unquoted (1.6J §3.1.1)."""
    return unquote(path.partition("?")[0].rpartition("/")[2])


# ---- from the command line


def _print(station: StationView, frame: Frame) -> None:
    text = json.dumps(_masked(frame.payload), separators=(",", ":"), ensure_ascii=False)
    when = datetime.fromtimestamp(frame.at).strftime("%H:%M:%S.%f")[:-3]
    _say(f"{when} {station.id} {frame.direction} {frame.kind:6} {frame.action} {text[:200]}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _masked(value: object) -> object:
    """The same with tokens shortened."""
    if isinstance(value, list):
        return [_masked(one) for one in value]
    if not isinstance(value, dict):
        return value
    tokens = ("idTag", "parentIdTag", "idToken")
    return {key: shorten(one) if key in tokens and isinstance(one, str) else _masked(one) for key, one in value.items()}


async def _run(options: argparse.Namespace) -> None:
    csms = Csms(options.host, options.port, options.version or VERSIONS, options.password)
    csms.boot = Boot(interval=options.interval)
    csms.tokens = {token: Token() for token in options.token}
    csms.watchers.append(_print)
    await csms.start()
    orders = Counter(csms, _say)
    hint = "; orders are taken here, try: help" if orders.open() else ""
    _say(f"listening at {csms.url}/<station>{hint}")
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    orders.close()
    await csms.stop()
    _say("\n".join([csms.books.table(), *csms.violations(), *csms.books.judge(over=False)]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m chargerd.lab.csms", description="A small CSMS that prints the wire and takes orders: type help."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--version", action="append", choices=VERSIONS, help="serve only this one; may be repeated")
    parser.add_argument("--password", help="HTTP Basic password of every station")
    parser.add_argument("--interval", type=int, default=300, help="heartbeat interval in s")
    parser.add_argument("--token", action="append", default=[], help="an accepted token; may be repeated")
    asyncio.run(_run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
