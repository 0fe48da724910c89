"""The link to the backend: one websocket, brought back for as long as it is wanted. 1.6 ocppj §3, 2.0.1 part 4 §3, §5.

Every way in which a connection fails or ends — refusal, DNS, TLS, HTTP status, subprotocol, close code, silence — is
retried for ever with the back-off of part 4 §5.4; `LinkState.last_error` says in plain words what it was and what
helps (`trouble`). The back-off starts over only when the link has proved useful (a valid frame), so that a backend
which accepts and closes at once is not hammered. A connection and the wait after it are one inner task: whatever
changes from outside (`configure`, `force`, `drop`, `stop`) cancels it, and the outer task decides anew; it also
survives whatever the inner one dies of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from websockets.exceptions import ConnectionClosed

from chargerd.daemon import trouble
from chargerd.daemon.dial import Attempt, Connection, Names, dial
from chargerd.daemon.endpoint import Endpoint
from chargerd.daemon.trouble import Trouble

log = logging.getLogger(__name__)

MAX_UNSENT = 256
AFTER_SURPRISE = 10.0  # s
Phase = Literal["off", "connecting", "open", "waiting"]


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
    """What is true now. `since`: when it came up or went down; `heard`: the last sign of life; `attempt`: which try
    since the last useful one; `cause`: a word for `last_error`; `surprises`: how often nobody knew what it was.

    Points in time are the loop's.
    """

    phase: Phase
    since: float
    attempt: int = 0
    last_error: str = ""
    next_try: float | None = None
    subprotocol: str = ""
    cause: str = ""
    heard: float | None = None
    surprises: int = 0


class Link:
    """Keeps the connection; call everything from the loop's thread.

    `on_open(subprotocol)` and `on_closed(reason)` come in pairs. `on_frame(frame)` says whether it was a valid CALL or
    CALLRESULT: that proves the link useful. `on_refused()`: a backend answered, and spoke no version that was offered.
    `on_security(name, info)` is told once of each security event until there is a connection again (A00.FR.316).
    `chance()` gives a number in 0..1, `wall()` unix seconds. Callbacks must not block; one that raises ends the
    connection, never the link.
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
        on_security: Callable[[str, str], None] = lambda name, info: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._on_open, self._on_frame, self._on_closed = on_open, on_frame, on_closed
        self._on_refused, self._on_security = on_refused, on_security
        self._chance, self._wall = chance, wall
        self._names = Names()
        self._noticed: set[str] = set()
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
            self.drop("the backend takes no frames any more: the network to it may be broken", "unread")
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

    def drop(self, reason: str, cause: str = "dropped") -> None:
        """End an open connection as failed, back-off included: for CALLs that stay unanswered, say."""
        if self._open is not None:
            self._open.ended = self._open.ended or Trouble(cause, reason)
            self._open.connection.transport.abort()

    # ---- inside

    def _interrupt(self, reason: str) -> None:
        self._interruption = reason
        if self._inner is not None:
            self._inner.cancel()

    def _enter(
        self, phase: Phase, *, failed: Trouble | None = None, next_try: float | None = None, subprotocol: str = ""
    ) -> None:
        now, was = asyncio.get_running_loop().time(), self._state
        still = {phase, was.phase} <= {"connecting", "waiting"}
        self._state = LinkState(
            phase,
            was.since if still else now,
            self._failures + 1,
            was.last_error if failed is None else failed.text,
            next_try,
            subprotocol,
            was.cause if failed is None else failed.cause,
            now if phase == "open" else was.heard,
            was.surprises,
        )

    async def _run(self) -> None:
        try:
            while True:
                endpoint = None if self._held_down else self._settings.endpoint
                self._interruption = ""
                await self._let(self._rest() if endpoint is None else self._live(endpoint))
        finally:
            if self._inner is not None:
                self._inner.cancel()
                await asyncio.wait({self._inner})
            self._enter("off")

    async def _let(self, life: Coroutine[Any, Any, None]) -> None:
        """Run it to its end; one that nobody expected is logged, counted, and not followed by the next at once."""
        self._inner = asyncio.create_task(life)
        await asyncio.wait({self._inner})
        died = None if self._inner.cancelled() else self._inner.exception()
        if died is None and (self._interruption or not self._inner.cancelled()):
            return
        log.error("backend link: a fault of our own", exc_info=died)
        self._failures += 1
        self._state = replace(self._state, surprises=self._state.surprises + 1)
        next_try = asyncio.get_running_loop().time() + AFTER_SURPRISE
        self._enter("waiting", failed=_surprise(died), next_try=next_try)
        self._inner = asyncio.create_task(asyncio.sleep(AFTER_SURPRISE))
        await asyncio.wait({self._inner})

    async def _rest(self) -> None:
        self._enter("off")
        await asyncio.Event().wait()

    async def _live(self, endpoint: Endpoint) -> None:
        self._enter("connecting")
        why = await self._connect(endpoint)
        if why.about_version:
            self._on_refused()
        self._failures += 1
        chance = self._chance()
        wait = self._settings.back_off.wait(self._failures, chance)
        if why.retry_after:
            wait = max(wait, why.retry_after + chance * self._settings.back_off.random_range)
        self._enter("waiting", failed=why, next_try=asyncio.get_running_loop().time() + wait)
        log.warning("no backend link: %s; next try in %.1f s", why.text, wait)
        await asyncio.sleep(wait)

    async def _connect(self, endpoint: Endpoint) -> Trouble:
        """One connection from the look-up of its name to its end; returns why it ended."""
        settings, attempt = self._settings, Attempt()
        try:
            connection = await dial(
                endpoint.target(), attempt, self._names, settings.open_timeout, settings.close_timeout
            )
        except Exception as e:
            why = trouble.of_attempt(e, endpoint, attempt, self._wall())
            if why is None:
                log.exception("backend link: unexpected failure")
                self._state = replace(self._state, surprises=self._state.surprises + 1)
                why = _surprise(e)
            self._notice(why)
            return why
        try:
            if connection.subprotocol is None:
                return trouble.no_version(endpoint)
            self._noticed.clear()
            return await self._serve(connection, connection.subprotocol)
        finally:
            # the library's close_timeout begins only once a full write buffer is gone, which may be never
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.close_timeout):
                    await connection.close()
            connection.transport.abort()

    def _notice(self, why: Trouble) -> None:
        if why.security and why.security not in self._noticed:
            self._noticed.add(why.security)
            self._on_security(why.security, why.text)

    async def _serve(self, connection: Connection, subprotocol: str) -> Trouble:
        self._open = opened = _Open(connection)
        self._enter("open", subprotocol=subprotocol)
        log.info("backend link open, %s", subprotocol)
        helpers = {asyncio.create_task(self._write(opened)), asyncio.create_task(self._ping(opened))}
        why = _surprise(None)
        try:
            self._on_open(subprotocol)
            while True:
                frame = await connection.recv()
                self._hear()
                if self._on_frame(frame):
                    self._failures = 0
        except ConnectionClosed as e:
            why = opened.ended or (Trouble("flood", connection.fault) if connection.fault else trouble.of_close(e))
        except asyncio.CancelledError:
            why = Trouble("interrupted", self._interruption)
            # an answer that was given is still sent: the backend changes the password and waits for "Accepted"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.close_timeout):
                    await opened.unsent.join()
            raise
        except Exception:
            log.exception("backend link: a frame could not be handled")
            self._state = replace(self._state, surprises=self._state.surprises + 1)
        finally:
            self._open = None
            for helper in helpers:
                helper.cancel()
            try:
                self._on_closed(why.text)
            except Exception:
                log.exception("backend link: its end could not be told")
        return why

    def _hear(self) -> None:
        self._state = replace(self._state, heard=asyncio.get_running_loop().time())

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
                self._hear()
            except TimeoutError:
                text = f"silence: no answer to a ping in {settings.pong_timeout:g} s; check the network"
                self.drop(text, "silence")
                return
            except ConnectionClosed:
                return


def _whereto(endpoint: Endpoint | None) -> Endpoint | None:
    return endpoint and replace(endpoint, subprotocols=("any",))


def _surprise(e: BaseException | None) -> Trouble:
    what = "fault of our own" if e is None else type(e).__name__
    return Trouble("surprise", f"unexpected {what}: please report it with the log, journalctl -u chargerd -e")


@dataclass(slots=True)
class _Open:
    """What an open connection needs; `ended` is our own verdict on it, if there is one."""

    connection: Connection
    unsent: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(MAX_UNSENT))
    ended: Trouble | None = None
