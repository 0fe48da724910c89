"""The link to the backend: one websocket, brought back for as long as it is wanted. 1.6 ocppj §3, 2.0.1 part 4 §3, §5.

Every way in which a connection fails or ends — refusal, DNS, TLS, HTTP status, subprotocol, close code, silence — is
retried for ever with the back-off of part 4 §5.4; `LinkState.last_error` says in plain words what it was and what
helps. The back-off starts over only when the link has proved useful (a valid frame), so that a backend which accepts
and closes at once is not hammered. A connection and the wait after it are one inner task: whatever changes from
outside (`configure`, `force`, `drop`, `stop`) cancels it, and the outer task decides anew.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
)
from websockets.typing import Subprotocol

log = logging.getLogger(__name__)

MAX_FRAME = 1024 * 1024  # above the engine's own limit: a frame between the two still gets its CALLERROR
MAX_UNSENT = 256
Phase = Literal["off", "connecting", "open", "waiting"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to, as whom. `url` without the station id; `password` (bytes: a binary 1.6 key) is sent as Basic.

    `subprotocols` in order of preference (`ocpp2.0.1`, `ocpp1.6`). `tls` None = the system's trust store.
    """

    url: str
    station: str
    subprotocols: tuple[str, ...]
    password: str | bytes | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment or "@" in self.url:
            raise ValueError(f"backend address {self.url!r}: use ws://host[:port]/path or wss://…, nothing after it")
        if not self.station or ":" in self.station:
            raise ValueError(f"station id {self.station!r}: must not be empty nor hold a colon")
        if not self.subprotocols:
            raise ValueError("no OCPP version to offer: name at least one subprotocol")
        if self.tls is not None and parts.scheme == "ws":
            raise ValueError(f"backend address {self.url!r}: use wss:// where TLS is configured")

    @property
    def connection_url(self) -> str:
        """The endpoint URL, a slash, and the percent-encoded station id (part 4 §3.1.1)."""
        return f"{self.url.rstrip('/')}/{quote(self.station, safe='')}"

    @property
    def authorization(self) -> dict[str, str]:
        """The HTTP Basic header, user = station id (1.6 ocppj §6.2.2, A00.FR.204); empty without a password."""
        if self.password is None:
            return {}
        password = self.password if isinstance(self.password, bytes) else self.password.encode()
        token = base64.b64encode(self.station.encode() + b":" + password).decode()
        return {"Authorization": f"Basic {token}"}


@dataclass(frozen=True, slots=True)
class BackOff:
    """RetryBackOffWaitMinimum and -RandomRange in seconds, RetryBackOffRepeatTimes doublings (part 4 §8.1-8.3)."""

    minimum: float = 10.0
    random_range: float = 10.0
    repeat_times: int = 5

    def __post_init__(self) -> None:
        if self.minimum <= 0 or self.random_range < 0 or self.repeat_times < 0:
            raise ValueError("back-off: RetryBackOffWaitMinimum must be above 0, the other two not negative")

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds before reconnection `attempt` (first = 1); `chance` is a fresh random number in 0..1."""
        doublings = min(attempt - 1, self.repeat_times, 30)  # 30 are centuries already, and 2 ** 2000 is no float
        return self.minimum * 2.0**doublings + chance * self.random_range


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """All that may change at run time; `endpoint` None = no backend. Times in seconds; `ping_interval` 0 = no pings."""

    endpoint: Endpoint | None
    back_off: BackOff = BackOff()
    ping_interval: float = 60.0
    pong_timeout: float = 20.0
    open_timeout: float = 30.0
    close_timeout: float = 2.0


@dataclass(frozen=True, slots=True)
class LinkState:
    """What is true now. `since` and `next_try` in the loop's time; `attempt`: which try since the last useful one."""

    phase: Phase
    since: float
    attempt: int = 0
    last_error: str = ""
    next_try: float | None = None
    subprotocol: str = ""


class Link:
    """Keeps the connection; call everything from the loop's thread.

    `on_open(subprotocol)` and `on_closed(reason)` come in pairs. `on_frame(frame)` says whether it was a valid CALL or
    CALLRESULT: that proves the link useful. `on_refused()`: a backend answered, and spoke no version that was offered.
    `chance()` gives a number in 0..1. Callbacks must not block; one that raises ends the connection, never the link.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        on_open: Callable[[str], None],
        on_frame: Callable[[str | bytes], bool],
        on_closed: Callable[[str], None],
        chance: Callable[[], float],
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_open, self._on_frame, self._on_closed = on_open, on_frame, on_closed
        self._on_refused = on_refused
        self._chance = chance
        self._held_down = False
        self._failures = 0
        self._outer: asyncio.Task[None] | None = None
        self._inner: asyncio.Task[None] | None = None
        self._open: _Open | None = None
        self._interruption = ""
        self._ping_changed = asyncio.Event()
        self._state = LinkState("off", 0.0)

    @property
    def state(self) -> LinkState:
        """The link's true state, for status and watch."""
        return self._state

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._outer = asyncio.create_task(self._run(), name="csms link")

    async def stop(self) -> None:
        """Close for good; what was queued is sent first. Takes twice `close_timeout` at most."""
        if self._outer is None:
            return
        self._interruption = "stopped"
        self._outer.cancel()
        await asyncio.wait({self._outer})
        self._outer = None

    def kill(self) -> None:
        """Cut the connection in the middle of whatever goes on, as a killed process does."""
        if self._outer is not None:
            self._outer.cancel()
        if self._open is not None:
            self._open.connection.transport.abort()

    def send(self, frame: str) -> bool:
        """Queue a frame of text; False when the link is not open (the frame is not kept)."""
        if self._open is None:
            return False
        try:
            self._open.unsent.put_nowait(frame)
        except asyncio.QueueFull:
            self.drop("the backend takes no frames any more: the network to it may be broken")
            return False
        return True

    def configure(self, settings: LinkSettings) -> None:
        """Take new settings: another endpoint or credential reconnects at once, the rest applies as it is.

        The subprotocols are those of the next connection: a version once agreed on is no reason to hang up.
        """
        old, self._settings = self._settings, settings
        self._ping_changed.set()
        if _whereto(old.endpoint) != _whereto(settings.endpoint):
            self._failures = 0
            self._interrupt("the backend's address or credentials were changed")

    def force(self, up: bool) -> None:
        """Hold the link down until it is forced up again; up also ends a back-off wait at once."""
        if up == self._held_down or (up and self._state.phase == "waiting"):
            self._held_down = not up
            self._interrupt("connecting on request" if up else "held down on request")

    def drop(self, reason: str) -> None:
        """End an open connection as failed, back-off included: for CALLs that stay unanswered, say."""
        if self._open is not None:
            self._open.ended = self._open.ended or reason
            self._open.connection.transport.abort()

    # ---- inside

    def _interrupt(self, reason: str) -> None:
        self._interruption = reason
        if self._inner is not None:
            self._inner.cancel()

    def _enter(self, phase: Phase, *, failed: str = "", next_try: float | None = None, subprotocol: str = "") -> None:
        now = asyncio.get_running_loop().time()
        error = failed or self._state.last_error
        self._state = LinkState(phase, now, self._failures + 1, error, next_try, subprotocol)

    async def _run(self) -> None:
        try:
            while True:
                endpoint = None if self._held_down else self._settings.endpoint
                self._inner = asyncio.create_task(self._rest() if endpoint is None else self._live(endpoint))
                await asyncio.wait({self._inner})
        finally:
            if self._inner is not None:
                self._inner.cancel()
                await asyncio.wait({self._inner})
            self._enter("off")

    async def _rest(self) -> None:
        self._enter("off")
        await asyncio.Event().wait()

    async def _live(self, endpoint: Endpoint) -> None:
        self._enter("connecting")
        try:
            why = await self._connect(endpoint)
        except Exception as e:
            if _is_about_the_version(e):
                self._on_refused()
            why = _explain(e, endpoint)
        self._failures += 1
        wait = self._settings.back_off.wait(self._failures, self._chance())
        self._enter("waiting", failed=why, next_try=asyncio.get_running_loop().time() + wait)
        log.warning("no backend link: %s; next try in %.1f s", why, wait)
        await asyncio.sleep(wait)

    async def _connect(self, endpoint: Endpoint) -> str:
        """One connection from handshake to end; returns why it ended."""
        settings = self._settings
        connection = await _Connect(
            endpoint.connection_url,
            subprotocols=[Subprotocol(name) for name in endpoint.subprotocols],
            additional_headers=endpoint.authorization,
            user_agent_header="chargerd",
            ssl=(endpoint.tls or True) if endpoint.url.startswith("wss") else None,
            proxy=None,
            compression=None,
            ping_interval=None,  # the interval changes at run time, so the pings are our own
            open_timeout=settings.open_timeout,
            close_timeout=settings.close_timeout,
            max_size=MAX_FRAME,
            happy_eyeballs_delay=0.25,  # a dead IPv6 route must not eat the whole open_timeout
        )
        try:
            if connection.subprotocol is None:
                self._on_refused()
                return f"the server there chose none of {', '.join(endpoint.subprotocols)}: check port and path"
            return await self._serve(connection, connection.subprotocol)
        finally:
            # the library's close_timeout begins only once a full write buffer is gone, which may be never
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.close_timeout):
                    await connection.close()
            connection.transport.abort()

    async def _serve(self, connection: ClientConnection, subprotocol: str) -> str:
        self._open = opened = _Open(connection)
        self._enter("open", subprotocol=subprotocol)
        log.info("backend link open, %s", subprotocol)
        helpers = {asyncio.create_task(self._write(opened)), asyncio.create_task(self._ping(opened))}
        why = "a fault of our own: see the log"
        try:
            self._on_open(subprotocol)
            while True:
                if self._on_frame(await connection.recv()):
                    self._failures = 0
        except ConnectionClosed as e:
            why = opened.ended or _explain_close(e)
        except asyncio.CancelledError:
            why = self._interruption
            # an answer that was given is still sent: the backend changes the password and waits for "Accepted"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.close_timeout):
                    await opened.unsent.join()
            raise
        except Exception:
            log.exception("backend link: a frame could not be handled")
        finally:
            self._open = None
            for helper in helpers:
                helper.cancel()
            try:
                self._on_closed(why)
            except Exception:
                log.exception("backend link: its end could not be told")
        return why

    async def _write(self, opened: _Open) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await opened.connection.send(await opened.unsent.get())
                opened.unsent.task_done()

    async def _ping(self, opened: _Open) -> None:
        """Detects silence: a ping that no pong follows ends the connection."""
        while True:
            settings = self._settings
            self._ping_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.ping_interval or None):
                    await self._ping_changed.wait()
                continue
            try:
                async with asyncio.timeout(settings.pong_timeout):  # also over a ping that the full buffer holds up
                    await (await opened.connection.ping())
            except TimeoutError:
                self.drop(f"silence: no answer to a ping in {settings.pong_timeout:g} s; check the network")
                return
            except ConnectionClosed:
                return


def _whereto(endpoint: Endpoint | None) -> Endpoint | None:
    return endpoint and replace(endpoint, subprotocols=("any",))


@dataclass(slots=True)
class _Open:
    """What an open connection needs; `ended` is our own verdict on it, if there is one."""

    connection: ClientConnection
    unsent: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(MAX_UNSENT))
    ended: str = ""


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # nothing crosses to another operator because an answer says so


def _is_about_the_version(e: Exception) -> bool:
    """400 is what servers answer that want a subprotocol and are offered none of theirs."""
    return isinstance(e, NegotiationError) or (isinstance(e, InvalidStatus) and e.response.status_code == 400)


def _explain(e: Exception, endpoint: Endpoint) -> str:
    """The failed attempt in plain words, with what helps."""
    host = urlsplit(endpoint.url).netloc
    match e:
        case TimeoutError():
            return f"{host} does not answer: check address, network and firewall"
        case ConnectionRefusedError():
            return f"nobody listens at {host}: check the address, or the backend is down"
        case socket.gaierror():
            return f"the name {host} is not found: check the address and DNS"
        case ssl.SSLCertVerificationError():
            return f"the certificate of {host} is not trusted ({e.verify_message}): check root certificate, name, clock"
        case ssl.SSLError():
            return f"TLS with {host} fails ({e.reason}): check port, certificates and TLS version"
        case ConnectionResetError() | ConnectionAbortedError():
            return f"{host} hung up: check the port, and whether it wants wss:// (TLS) or ws://"
        case OSError():
            return f"no connection to {host} ({e.strerror or e}): check address and network"
        case InvalidStatus():
            return _explain_status(e.response.status_code, endpoint)
        case NegotiationError():
            return f"{host} chose an OCPP version that was not offered: offer the one it speaks"
        case InvalidMessage() if endpoint.tls is not None:
            return f"{host} hung up in the handshake: it may refuse our certificate"
        case InvalidHandshake() | EOFError():
            return f"no websocket server at {host}: check port and path"
    log.exception("backend link: unexpected failure", exc_info=e)
    return f"unexpected {type(e).__name__}: see the log"


def _explain_status(status: int, endpoint: Endpoint) -> str:
    match status:
        case 401:
            return f"the backend refuses the password of {endpoint.station} (HTTP 401): set the one it expects"
        case 403:
            return f"the backend forbids {endpoint.station} to connect (HTTP 403): allow it there"
        case 404:
            return f"the backend does not know {endpoint.station} (HTTP 404): register it there, or check the path"
        case _ if 300 <= status < 400:
            return f"the backend sends us elsewhere (HTTP {status}), which is not followed: set the new address"
        case _ if status >= 500:
            return f"the backend is in trouble (HTTP {status}): it is tried again"
    return f"the backend refuses (HTTP {status}): check address and that it speaks {', '.join(endpoint.subprotocols)}"


def _explain_close(e: ConnectionClosed) -> str:
    if e.rcvd is None:
        return "the connection broke off: check network and backend"
    reason = f" {e.rcvd.reason!a}" if e.rcvd.reason else ""
    return f"closed by the backend with {e.rcvd.code}{reason}: it may have to accept this station first"
