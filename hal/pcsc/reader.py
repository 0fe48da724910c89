"""Card readers on PC/SC (pcscd): contactless cards by their UID.

A thread of its own waits on the low-level interface. The library's monitors end for ever when pcscd restarts; here any
error ends only the context, and a new one is tried until the reader is back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from hal.api import Card, DeviceError, MissingExtra
from hal.pcsc.tap import CardRefused, Taps, card

WAKE = 1000
"""Milliseconds of one wait: how soon a reader that was plugged in is seen."""

RETRY = (1.0, 30.0)
"""Seconds between attempts while the service or the reader is away: the first and the longest."""

_GET_UID = [0xFF, 0xCA, 0x00, 0x00, 0x00]
_QUEUE = 8

log = logging.getLogger(__name__)


class PcscReader:
    """The first reader whose name contains `name`. The thread starts with the first `next`."""

    def __init__(self, name: str, scard: Any) -> None:
        self._name = name
        self._scard = scard
        self._taps = Taps()
        self._queue: asyncio.Queue[Card | DeviceError] = asyncio.Queue(_QUEUE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    async def next(self) -> Card:
        """The next tap. `CardRefused` for an unusable card; `DeviceError` once when the reader is lost: ask again."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=f"pcsc {self._name}", daemon=True)
            self._thread.start()
        item = await self._queue.get()
        if isinstance(item, DeviceError):
            raise item
        return item

    async def close(self) -> None:
        """End the thread; it takes at most one wait."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 2 * WAKE / 1000)

    # ------------------------------------------------------------ in the thread

    def _run(self) -> None:
        delay, lost = RETRY[0], False
        while not self._stop.is_set():
            try:
                with self._context() as context:
                    reader = self._find(context)
                    if lost:
                        log.info("card reader %s is back", reader)
                    delay, lost = RETRY[0], False
                    self._watch(context, reader)
            except DeviceError as error:
                if not lost:
                    self._deliver(error)
                lost = True
                self._stop.wait(delay)
                delay = min(2 * delay, RETRY[1])

    def _watch(self, context: Any, reader: str) -> None:
        """Follow the field until the reader or the service is lost."""
        scard, state = self._scard, self._scard.SCARD_STATE_UNAWARE
        while not self._stop.is_set():
            code, states = scard.SCardGetStatusChange(context, WAKE, [(reader, state)])
            if code == scard.SCARD_E_TIMEOUT:
                continue
            self._check(code, f"card reader {reader}")
            state = states[0][1]
            if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
                raise DeviceError(f"card reader {reader} is gone: plug it in again")
            now = time.monotonic()
            if state & scard.SCARD_STATE_EMPTY:
                self._taps.absent(now)
            elif state & scard.SCARD_STATE_PRESENT and not state & scard.SCARD_STATE_MUTE:
                self._present(context, reader, now)

    def _present(self, context: Any, reader: str, now: float) -> None:
        try:
            uid = self._uid(context, reader)
            if uid is not None and self._taps.present(uid, now):
                self._deliver(card(uid))
        except CardRefused as refused:
            self._deliver(refused)

    def _uid(self, context: Any, reader: str) -> bytes | None:
        """The UID of the card in the field; None when it left again before it could be asked."""
        scard = self._scard
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        code, handle, protocol = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, protocols)
        if code == scard.SCARD_E_SHARING_VIOLATION:
            raise CardRefused(f"card reader {reader} is held by another program: end that program")
        if code != scard.SCARD_S_SUCCESS:
            return None
        try:
            header = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
            code, answer = scard.SCardTransmit(handle, header, _GET_UID)
        finally:
            scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
        if code != scard.SCARD_S_SUCCESS:
            return None
        if bytes(answer[-2:]) != b"\x90\x00":
            raise CardRefused(f"card reader {reader} gives no number for this kind of card")
        return bytes(answer[:-2])

    def _find(self, context: Any) -> str:
        code, readers = self._scard.SCardListReaders(context, [])
        if code != self._scard.SCARD_E_NO_READERS_AVAILABLE:
            self._check(code, "card readers")
        for reader in readers:
            if self._name in reader:
                return str(reader)
        there = ", ".join(readers) or "none"
        raise DeviceError(
            f"card reader {self._name!r} is not there (found: {there}): plug it in or correct pcsc:<name>"
        )

    @contextmanager
    def _context(self) -> Iterator[Any]:
        code, context = self._scard.SCardEstablishContext(self._scard.SCARD_SCOPE_USER)
        self._check(code, "card reader service")
        try:
            yield context
        finally:
            self._scard.SCardReleaseContext(context)

    def _check(self, code: int, what: str) -> None:
        if code != self._scard.SCARD_S_SUCCESS:
            text = self._scard.SCardGetErrorMessage(code).rstrip(". ")
            raise DeviceError(f"{what}: {text}; check that pcscd runs and that this user may use it")

    def _deliver(self, item: Card | DeviceError) -> None:
        if self._loop is not None and not self._stop.is_set():
            self._loop.call_soon_threadsafe(self._put, item)

    def _put(self, item: Card | DeviceError) -> None:
        # Nobody asks for them: the tap of somebody who has left long ago must not start anything.
        if not self._queue.full():
            self._queue.put_nowait(item)


def open_reader(rest: str) -> PcscReader:
    """A reader by (a part of) its PC/SC name; empty: the first one. `MissingExtra` without pyscard."""
    try:
        scard = import_module("smartcard.scard")
    except ImportError as error:
        raise MissingExtra(f"card reader pcsc:{rest}: needs pyscard: pip install 'chargerd[rfid]'") from error
    return PcscReader(rest, scard)
