"""Meters, card readers and bay detectors: one task each, polled at their own pace, never in the way of the rest.

A meter is read once a second. What is asked for (`ask`) gets a fresh reading within 2 s or None. Three misses in a row
are a fault of that outlet until the meter answers again. A detector that does not answer three times detects nothing.
A reader that has not worked for half a minute is a fault of the station that stops nothing. It is shown what became of
a card while that is still held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from chargerd.core.commands import AnswerTap
from chargerd.core.events import Bay, CardUnusable, Event, Fault, Metered, TokenSeen
from chargerd.core.faults import METER, READER
from chargerd.core.token import Token
from chargerd.daemon.registers import Registers
from hal.api import BayDetector, CardReader, CardRefused, DeviceError, Meter, MeterReading

log = logging.getLogger(__name__)

POLL = 1.0
POLL_WAIT = 5.0  # s until a meter that hangs is asked anew
IDLE_EVERY = 10.0
ASKED_WAIT = 1.9  # s; the core gives up after 2
MISSES = 3
READER_RETRY = 1.0
READER_GRACE = 30.0  # s: a service is restarted, a plug drawn and pushed in again
CLOSING = 2.0  # s


@dataclass(frozen=True, slots=True)
class Reader:
    """A card reader of one EVSE, or of the whole station."""

    name: str
    device: CardReader
    evse: int | None = None


class Devices:
    """`meters` and `bays` are by outlet. `feed` takes events; `measured` passes every reading on to the guard.

    Without `registers`, what a meter shows is told as it is.
    """

    def __init__(
        self,
        meters: Mapping[int, Meter],
        readers: Sequence[Reader],
        feed: Callable[[Event], None],
        measured: Callable[[int, MeterReading, float], None],
        bays: Mapping[int, BayDetector] = MappingProxyType({}),
        registers: Registers | None = None,
    ) -> None:
        self.registers = registers
        self._meters, self._readers, self._bays = meters, readers, bays
        self._feed, self._measured = feed, measured
        self._locks = {rank: asyncio.Lock() for rank in meters}
        self._misses = dict.fromkeys(meters, 0)
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._lost: dict[str, asyncio.TimerHandle] = {}  # readers that do not work
        self._failed: set[str] = set()  # those for too long
        self._held: dict[str, Token] = {}  # the last card of a reader, until it is answered
        self.readings: dict[int, MeterReading] = {}
        self.errors: dict[str, str] = {}
        """What does not work at present: device → why, for people to look at."""

    def start(self) -> None:
        if self.registers is not None:
            for rank, reading in self.registers.recall().items():
                self.readings[rank] = reading
                self._feed(Metered(rank, reading, recalled=True))
        self._spawn(self._readers_settle())
        for rank in self._meters:
            self._spawn(self._poll(rank))
        for reader in self._readers:
            self._spawn(self._taps(reader))
        for rank in self._bays:
            self._spawn(self._watch_bay(rank))

    def abandon(self) -> None:
        """Fall silent, as a killed process does."""
        for task in list(self._tasks):
            task.cancel()
        for grace in self._lost.values():
            grace.cancel()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        self.abandon()
        await asyncio.gather(*tasks, return_exceptions=True)
        readers = (reader.device for reader in self._readers)
        devices: list[Meter | CardReader | BayDetector] = [*self._meters.values(), *readers, *self._bays.values()]
        await asyncio.gather(*map(self._close, devices))

    def ask(self, rank: int) -> None:
        """`Metered(asked=True)` follows within 2 s."""
        self._spawn(self._answer(rank))

    def answer_tap(self, command: AnswerTap) -> None:
        """Show it at the reader that had this card last."""
        for reader in self._readers:
            held = self._held.get(reader.name)
            if held is not None and held.same(command.token):
                del self._held[reader.name]
                reader.device.answered(command.accepted)

    # ---- inside

    async def _close(self, device: Meter | CardReader | BayDetector) -> None:
        try:
            async with asyncio.timeout(CLOSING):
                await device.close()
        except (DeviceError, TimeoutError) as e:
            log.warning("closing a device: %s", e or "it takes too long")

    def _spawn(self, job: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _answer(self, rank: int) -> None:
        reading = await self._read_within(rank, ASKED_WAIT, edge=True)
        if reading is None and (last := self.readings.get(rank)) is not None:
            age = asyncio.get_running_loop().time() - last.at
            log.warning("meter of outlet %d: no fresh register; the last good one is %.0f s old", rank, age)
        self._feed(Metered(rank, reading, asked=True))

    async def _read_within(self, rank: int, seconds: float, *, edge: bool = False) -> MeterReading | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._read(rank, edge)
        except TimeoutError:
            self._missed(rank, "no answer in time")
            return None

    async def _read(self, rank: int, edge: bool) -> MeterReading | None:
        async with self._locks[rank]:
            try:
                reading = await self._meters[rank].read()
                told = reading if self.registers is None else self.registers.take(rank, reading, edge=edge)
            except Exception as e:  # one that its driver did not foresee is no reading either
                if not isinstance(e, DeviceError) and self._misses[rank] < MISSES:
                    log.exception("meter of outlet %d", rank)
                self._missed(rank, str(e) or type(e).__name__)
                return None
        if told is None:
            assert self.registers is not None
            self._missed(rank, self.registers.why(rank))
            return None
        if self._misses[rank] >= MISSES:
            log.info("meter of outlet %d answers again", rank)
            self._feed(Fault(rank, METER, False))
        self._misses[rank] = 0
        self._note(f"meter {rank}", "" if self.registers is None else self.registers.note(rank))
        self.readings[rank] = told
        self._measured(rank, told, max(0.0, asyncio.get_running_loop().time() - told.at))
        return told

    def _note(self, device: str, why: str) -> None:
        if why:
            self.errors[device] = why
        else:
            self.errors.pop(device, None)

    def _missed(self, rank: int, why: str) -> None:
        self._misses[rank] += 1
        self.errors[f"meter {rank}"] = why
        if self._misses[rank] == MISSES:
            log.error("meter of outlet %d: %s", rank, why)
            self._feed(Fault(rank, METER, True))

    async def _poll(self, rank: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        told: MeterReading | None = None
        while True:
            reading = await self._read_within(rank, POLL_WAIT)
            if reading is not None and (
                told is None or reading.energy != told.energy or reading.at - told.at >= IDLE_EVERY
            ):
                told = reading
                self._feed(Metered(rank, reading))
            due = max(due + POLL, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _watch_bay(self, rank: int) -> None:
        told: bool | None = None
        misses = 0
        while True:
            try:
                async with asyncio.timeout(POLL_WAIT):
                    taken: bool | None = await self._bays[rank].occupied()
                misses = 0
                self.errors.pop(f"bay {rank}", None)
            except Exception as e:
                misses += 1
                if not isinstance(e, DeviceError | TimeoutError) and misses <= MISSES:
                    log.exception("bay detector of outlet %d", rank)
                self.errors[f"bay {rank}"] = str(e) or "no answer in time"
                if misses == MISSES:
                    log.error("bay detector of outlet %d: %s", rank, self.errors[f"bay {rank}"])
                taken = told if misses < MISSES else False
            if taken is not None and taken != told:
                told = taken
                self._feed(Bay(rank, taken))
            await asyncio.sleep(POLL)

    async def _taps(self, reader: Reader) -> None:
        while True:
            try:
                card = await reader.device.next()
            except CardRefused as e:
                log.warning("%s: %s", reader.name, e)
                self._reader_works(reader)
                reader.device.answered(False)
                self._feed(CardUnusable(reader.evse))
            except Exception as e:
                self._reader_fails(reader, e)
                await asyncio.sleep(READER_RETRY)
            else:
                self._reader_works(reader)
                if card is not None:
                    token = self._held[reader.name] = Token(card.uid, card.kind)
                    self._feed(TokenSeen(token, reader.evse))

    def _reader_fails(self, reader: Reader, error: Exception) -> None:
        name, why = reader.name, str(error) or type(error).__name__
        if self.errors.get(name) != why:
            log.error("%s: %s", name, why, exc_info=None if isinstance(error, DeviceError) else error)
        self.errors[name] = why
        if name not in self._lost:
            self._lost[name] = asyncio.get_running_loop().call_later(READER_GRACE, self._reader_failed, name)

    def _reader_failed(self, name: str) -> None:
        self._failed.add(name)
        if len(self._failed) == 1:
            self._feed(Fault(0, READER, True))

    async def _readers_settle(self) -> None:
        """What failed in an earlier run has its time to fail again: a reader that works says nothing."""
        await asyncio.sleep(READER_GRACE + CLOSING)
        if not self._failed:
            self._feed(Fault(0, READER, False))

    def _reader_works(self, reader: Reader) -> None:
        name = reader.name
        if name not in self._lost:
            return
        log.info("%s works again", name)
        self.errors.pop(name, None)
        self._lost.pop(name).cancel()
        if self._failed == {name}:
            self._feed(Fault(0, READER, False))
        self._failed.discard(name)
