"""Card readers on PC/SC (pcscd): contactless cards by their UID.

A thread of its own waits on the low-level interface. The library's monitors end for ever when pcscd restarts; here any
error ends only the context, and a new one is tried until the reader is back. A call that hangs holds only that thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from importlib import import_module
from typing import Any, cast
from urllib.parse import parse_qsl

from hal.api import Card, CardRefused, DeviceError, MissingExtra
from hal.pcsc.field import Field
from hal.pcsc.lights import LIGHTS, Lights
from hal.pcsc.tap import Taps, card, known_by

WAKE = 0.5
"""Seconds of one wait: how soon a reader that was plugged in is seen, and how soon the thread ends."""

ANSWERING = (0.1, 10.0)
"""Seconds of one wait while the station's answer to a tap is due, and how long it is due at the most."""

STUCK = 3.0
"""Seconds after which a reader that has not given a number does not work, and its card counts no more."""

RETRY = (1.0, 30.0)
"""Seconds between attempts while the service is away: the first and the longest."""

STEADY = 60.0
"""Seconds after which a service that came back counts as well, and the next loss begins with the first attempt."""

_QUEUE = 8

log = logging.getLogger(__name__)


class PcscReader:
    """The reader whose name is or contains `name`. The thread starts with the first `next`."""

    def __init__(self, name: str, scard: Any, lights: Lights | None = None, backwards: bool = False) -> None:
        self._name, self._scard, self._lights, self._backwards = name, scard, lights, backwards
        self._taps = Taps()
        self._seen = False  # the field has been looked at since the process began
        self._queue: asyncio.Queue[Card | DeviceError | None] = asyncio.Queue(_QUEUE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ended = asyncio.Event()
        self._lost = ""  # what was told last of a reader or service that is away
        self._busy: float | None = None  # since when a card is being asked, monotonic
        self._stuck = False  # that was told
        self._due = 0.0  # until when an answer of the station is waited for, monotonic
        self._answer: bool | None = None
        self._dark: set[str] = set()  # readers that refused the command for their lights

    async def next(self) -> Card | None:
        """As `hal.api.CardReader`; a loss is told once, and again when its cause has changed."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=f"pcsc {self._name}", daemon=True)
            self._thread.start()
        while True:
            try:
                async with asyncio.timeout(STUCK / 3):
                    item = await self._queue.get()
            except TimeoutError:
                since = self._busy
                if since is not None and not self._stuck and time.monotonic() - since > STUCK:
                    self._stuck = True
                    raise self._hangs() from None
                continue
            if isinstance(item, DeviceError):
                raise item
            return item

    def answered(self, accepted: bool) -> None:
        self._answer = accepted

    async def close(self) -> None:
        """End the thread, which takes at most one wait. One that hangs in a call is left behind."""
        self._stop.set()
        if self._thread is not None:
            try:
                async with asyncio.timeout(2 * WAKE):
                    await self._ended.wait()
            except TimeoutError:
                raise self._hangs() from None

    def _hangs(self) -> DeviceError:
        return DeviceError(
            f"card reader {self._name!r} does not answer: plug it in anew, or: sudo systemctl restart pcscd"
        )

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        try:
            self._follow()
        finally:
            self._call(self._ended.set)

    def _follow(self) -> None:
        """One context after the other."""
        delay = RETRY[0]
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with Field(self._scard, self._name) as field:
                    self._wait_for(field)
                    self._watch(field)
            except DeviceError as error:
                self._tell_lost(error)
            if time.monotonic() - began > STEADY:
                delay = RETRY[0]
            self._stop.wait(delay)
            delay = min(2 * delay, RETRY[1])

    def _wait_for(self, field: Field) -> None:
        """Until the reader is there: the service is well, and asking it costs little."""
        while not self._stop.is_set() and (missing := field.find()) is not None:
            self._tell_lost(missing)
            self._stop.wait(WAKE)
        if self._lost and not self._stop.is_set():
            log.info("card reader %s is back", field.reader)
            self._lost = ""
            self._deliver(None)

    def _tell_lost(self, error: DeviceError) -> None:
        if str(error) != self._lost:
            self._deliver(error)
        self._lost = str(error)

    def _watch(self, field: Field) -> None:
        """Follow the field until the reader or the service is lost."""
        while not self._stop.is_set():
            due = self._due > time.monotonic()
            seen = field.wait(ANSWERING[0] if due else WAKE)
            now = time.monotonic()
            if seen is False:
                self._taps.absent(now)
                self._due = 0.0
            elif seen is True:
                self._present(field, now)
            if seen is not None:
                self._seen = True
            if due:
                self._show(field)

    def _present(self, field: Field, now: float) -> None:
        self._busy = now
        by, item = b"", cast("Card | CardRefused | None", None)
        try:
            uid = field.uid()
            if uid is not None:
                by = known_by(uid)
                item = card(uid[::-1] if self._backwards else uid)
        except CardRefused as refused:
            item = refused
        finally:
            self._busy = None
            late = time.monotonic() - now > STUCK
            if self._stuck:
                self._stuck = False
                self._deliver(None)
        if item is None:
            return
        if not self._seen:
            self._taps.lies(by)
        elif self._taps.present(by, now):
            if late:  # whoever held it may have left
                item = CardRefused("the reader took too long for this card's number: hold it again")
            self._answer, self._due = None, now + ANSWERING[1] if self._lights else 0.0
            self._deliver(item)

    def _show(self, field: Field) -> None:
        """Show the station's answer, once it is there."""
        accepted, lights = self._answer, self._lights
        if accepted is None or lights is None or not self._due:
            return
        self._due = 0.0
        if field.reader in self._dark:
            return
        self._busy = time.monotonic()
        refused = field.command(lights.command(accepted))
        self._busy = None
        if refused:
            self._dark.add(field.reader)
            log.warning("card reader %s shows no answers (%s): it is not asked again", field.reader, refused)

    def _deliver(self, item: Card | DeviceError | None) -> None:
        if not self._stop.is_set():
            self._call(self._put, item)

    def _call(self, what: Any, *arguments: Any) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed: there is nobody any more
            self._stop.set()

    def _put(self, item: Card | DeviceError | None) -> None:
        if self._queue.full():  # nobody asks: the oldest tap is that of somebody who has left long ago
            self._queue.get_nowait()
        self._queue.put_nowait(item)


def open_reader(rest: str) -> PcscReader:
    """`name?lights=acr122&bytes=reversed`: a reader by (a part of) its PC/SC name, the only one without a name.

    DeviceError for an option that is none, `MissingExtra` without pyscard.
    """
    name, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    lights, order = options.pop("lights", "none"), options.pop("bytes", "wire")
    if options or lights not in ("none", *LIGHTS) or order not in ("wire", "reversed"):
        known = f"lights=none|{'|'.join(LIGHTS)} and bytes=wire|reversed"
        raise DeviceError(f"card reader 'pcsc:{rest}': unknown option after the question mark; there are {known}")
    try:
        scard = import_module("smartcard.scard")
    except ImportError as error:
        raise MissingExtra(f"card reader pcsc:{rest}: needs pyscard: pip install 'chargerd[rfid]'") from error
    return PcscReader(name, scard, LIGHTS.get(lights), order == "reversed")
