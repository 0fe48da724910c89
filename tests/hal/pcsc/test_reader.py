"""The reader against a real pcscd with virtual readers: taps, unusable cards, a service that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hal.api import Card, CardRefused, DeviceError, MissingExtra
from hal.pcsc import trouble
from hal.pcsc.lights import LIGHTS
from hal.pcsc.reader import STUCK, PcscReader, open_reader
from tests.hal.pcsc import vpcd

SOON = 10.0
PAUSE = 1.2  # s between two drivers: the virtual reader is looked at every 0.4 s


def test_without_pyscard_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    monkeypatch.setitem(sys.modules, "smartcard.scard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'chargerd\[rfid\]'"):
        open_reader("")


@pytest.mark.parametrize("rest", ["ACR122?lights=acr123", "?lights", "ACR122?light=acr122", "?bytes=backwards"])
def test_an_option_that_is_none_is_refused_with_those_there_are(rest: str) -> None:
    with pytest.raises(DeviceError, match=r"lights=none\|acr122 and bytes=wire\|reversed"):
        open_reader(rest)


@pytest.fixture(scope="module")
def pcscd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vpcd.Pcscd]:
    pytest.importorskip(
        "smartcard.scard", reason="pyscard is not installed (pip install 'chargerd[rfid]')", exc_type=ImportError
    )
    if why := vpcd.missing():
        pytest.skip(why)
    service = vpcd.Pcscd(tmp_path_factory.mktemp("pcscd"))
    # The client library reads it once, at its first use in this process.
    os.environ["PCSCLITE_CSOCK_NAME"] = str(service.socket)
    service.start()
    yield service
    service.stop()


@contextlib.asynccontextmanager
async def opened(rest: str = "Virtual PCD 00 00", interface: Any = None) -> AsyncIterator[PcscReader]:
    """A reader that has looked at its field."""
    reader = open_reader(rest) if interface is None else PcscReader(rest, interface)
    looking = asyncio.ensure_future(reader.next())
    end = time.monotonic() + SOON
    while not reader._seen:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    await ended(looking)
    try:
        yield reader
    finally:
        await reader.close()


async def ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def tapped(reader: PcscReader, within: float = SOON) -> Card | None:
    return await asyncio.wait_for(reader.next(), within)


async def nothing(reader: PcscReader, seconds: float = 1.5) -> None:
    with pytest.raises(TimeoutError):
        await tapped(reader, seconds)


async def test_each_card_is_one_tap_with_its_number(pcscd: vpcd.Pcscd) -> None:
    async with opened() as reader:
        for uid in ("04A2B3C4D5E680", "00112233445566778899"):
            with vpcd.HeldCard(pcscd.port, uid.lower()):
                assert await tapped(reader) == Card(uid)
                await nothing(reader, 0.8)
            await asyncio.sleep(PAUSE)


async def test_an_unusable_card_is_refused_and_the_next_one_read(pcscd: vpcd.Pcscd) -> None:
    async with opened() as reader:
        for uid, words in (("08123456", "random"), ("04" * 30_000, "hold it flat|30000 bytes")):
            with vpcd.HeldCard(pcscd.port, uid), pytest.raises(CardRefused, match=words):
                await tapped(reader)
            await asyncio.sleep(PAUSE)
        with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
            assert await tapped(reader) == Card("AABBCCDD")
    await asyncio.sleep(PAUSE)


async def test_a_card_that_gives_a_garbled_answer_to_reset_harms_nobody(pcscd: vpcd.Pcscd) -> None:
    async with opened() as reader:
        with vpcd.HeldCard(pcscd.port, "AABBCCDD", atr=b"\xff" * 33), contextlib.suppress(CardRefused):
            await tapped(reader, 3.0)
        await asyncio.sleep(PAUSE)
        with vpcd.HeldCard(pcscd.port, "DEADBEEF"):
            assert await tapped(reader) == Card("DEADBEEF")
    await asyncio.sleep(PAUSE)


async def test_a_card_that_lies_there_at_the_start_is_no_tap_until_it_was_lifted(pcscd: vpcd.Pcscd) -> None:
    with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
        await asyncio.sleep(1.0)
        async with opened() as reader:
            await nothing(reader)
    await asyncio.sleep(PAUSE)


async def test_a_reader_that_hangs_is_named_and_its_card_counts_no_more(pcscd: vpcd.Pcscd) -> None:
    """The call cannot be ended from here: it ends when the card has gone."""
    async with opened() as reader:
        with vpcd.HeldCard(pcscd.port, "AABBCCDD", silent=True):
            began = time.monotonic()
            with pytest.raises(DeviceError, match="does not answer: plug it in anew"):
                await tapped(reader)
            assert time.monotonic() - began > STUCK
        assert await tapped(reader) is None, "it answers again"
        with pytest.raises(CardRefused, match="took too long"):
            await tapped(reader)
        await asyncio.sleep(PAUSE)
        with vpcd.HeldCard(pcscd.port, "DEADBEEF"):
            assert await tapped(reader) == Card("DEADBEEF")
    await asyncio.sleep(PAUSE)


async def test_a_reader_that_hangs_is_left_behind_in_a_second(pcscd: vpcd.Pcscd) -> None:
    reader = open_reader("Virtual PCD 00 00")
    waiting = asyncio.ensure_future(reader.next())
    await asyncio.sleep(0.5)
    with vpcd.HeldCard(pcscd.port, "AABBCCDD", silent=True) as held:
        await asyncio.to_thread(held.asked.wait, SOON)
        await ended(waiting)
        began = time.monotonic()
        with pytest.raises(DeviceError, match="does not answer"):
            await reader.close()
        assert time.monotonic() - began < 1.5
    await asyncio.sleep(PAUSE)


# ---------------------------------------------------------------- which reader


async def test_the_reader_that_is_named_is_the_one(pcscd: vpcd.Pcscd) -> None:
    async with opened("Virtual PCD 00 01") as reader:
        with vpcd.HeldCard(pcscd.port, "DEADBEEF"):
            await nothing(reader)
            with vpcd.HeldCard(pcscd.second, "AABBCCDD"):
                assert await tapped(reader) == Card("AABBCCDD")
    await asyncio.sleep(PAUSE)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ACR122U", r"'ACR122U' is not there \(found: Virtual PCD 00 00, Virtual PCD 00 01\): plug it in or correct"),
        ("PCD", "'PCD' may be Virtual PCD 00 00 or Virtual PCD 00 01: write pcsc:<the whole name>"),
        ("", "'' may be Virtual PCD 00 00 or Virtual PCD 00 01"),
    ],
)
async def test_a_reader_that_is_not_there_or_could_be_several_is_named(
    pcscd: vpcd.Pcscd, name: str, words: str
) -> None:
    reader = open_reader(name)
    with pytest.raises(DeviceError, match=words):
        await tapped(reader)
    await nothing(reader, 0.7)  # told once, not at each look
    await reader.close()


# ---------------------------------------------------------------- the service and the plug


async def test_a_restarted_service_costs_one_report(pcscd: vpcd.Pcscd) -> None:
    async with opened() as reader:
        pcscd.stop()
        try:
            with pytest.raises(DeviceError, match="pcscd does not run; check it: sudo systemctl enable --now"):
                await tapped(reader)
            await nothing(reader)  # told once, not at each attempt
        finally:
            pcscd.start()
        assert await tapped(reader) is None, "it is back"
        with vpcd.HeldCard(pcscd.port, "04A2B3C4D5E680"):
            assert await tapped(reader) == Card("04A2B3C4D5E680")
    await asyncio.sleep(PAUSE)


async def test_a_service_killed_while_a_card_lies_there_makes_no_second_tap(pcscd: vpcd.Pcscd) -> None:
    async with opened() as reader:
        with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
            assert await tapped(reader) == Card("AABBCCDD")
            pcscd.kill()
            with pytest.raises(DeviceError, match="pcscd does not run"):
                await tapped(reader)
        pcscd.start()
        with vpcd.HeldCard(pcscd.port, "AABBCCDD"):  # it has lain there all the while
            assert await tapped(reader) is None, "it is back"
            await nothing(reader)
        await asyncio.sleep(PAUSE)
        with vpcd.HeldCard(pcscd.port, "DEADBEEF"):
            assert await tapped(reader) == Card("DEADBEEF")
    await asyncio.sleep(PAUSE)


async def test_a_service_started_by_its_socket_is_started_by_us(pcscd: vpcd.Pcscd) -> None:
    pcscd.stop()
    starter = pcscd.activate()
    try:
        async with opened() as reader:
            assert not starter.is_alive()
            with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
                assert await tapped(reader) == Card("AABBCCDD")
    finally:
        starter.join(5)
        pcscd.stop()
        pcscd.start()


async def test_a_reader_that_appears_later_is_found(pcscd: vpcd.Pcscd) -> None:
    reader = open_reader("Garage 00 00")
    with pytest.raises(DeviceError, match=r"'Garage 00 00' is not there"):
        await tapped(reader)
    pcscd.stop()
    pcscd.fit("Garage")
    with pytest.raises(DeviceError, match="pcscd does not run"):
        await tapped(reader)
    pcscd.start()
    assert await tapped(reader) is None
    with vpcd.HeldCard(pcscd.port, "AABBCCDD"), contextlib.suppress(TimeoutError):
        await tapped(reader, 1.5)  # or none: it may have been there at the first look
    await asyncio.sleep(PAUSE)
    with vpcd.HeldCard(pcscd.port, "DEADBEEF"):
        assert await tapped(reader) == Card("DEADBEEF")
    await reader.close()
    pcscd.stop()
    pcscd.fit("Virtual PCD")
    pcscd.start()


class Pullable:
    """The real interface, but for a reader that can be pulled out, which the virtual one cannot."""

    def __init__(self) -> None:
        self.pulled = False
        self._real = import_module("smartcard.scard")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def SCardGetStatusChange(self, context: Any, wait: int, states: Any) -> Any:
        if self.pulled:
            return self.SCARD_S_SUCCESS, [(states[0][0], self.SCARD_STATE_UNKNOWN, [])]
        return self._real.SCardGetStatusChange(context, wait, states)

    def SCardListReaders(self, context: Any, groups: Any) -> Any:
        return (self.SCARD_E_NO_READERS_AVAILABLE, []) if self.pulled else self._real.SCardListReaders(context, groups)


async def test_an_unplugged_reader_is_named_and_found_again(
    pcscd: vpcd.Pcscd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interface = Pullable()
    async with opened("Virtual PCD 00 00", interface) as reader:
        interface.pulled = True
        with pytest.raises(DeviceError, match="is gone: plug it in again"):
            await tapped(reader)
        with pytest.raises(DeviceError, match=r"is not there \(found: none\): plug it in"):
            await tapped(reader)
        bound = tmp_path / "pn533_usb" / "1-1.2:1.0"  # the kernel was quicker than pcscd
        bound.mkdir(parents=True)
        monkeypatch.setattr(trouble, "DRIVERS", tmp_path)
        with pytest.raises(DeviceError, match="kernel module pn533_usb holds the one at USB 1-1"):
            await tapped(reader)
        await nothing(reader)
        interface.pulled = False
        assert await tapped(reader) is None
        with vpcd.HeldCard(pcscd.port, "04A2B3C4D5E680"):
            assert await tapped(reader) == Card("04A2B3C4D5E680")
    await asyncio.sleep(PAUSE)


# ---------------------------------------------------------------- lights


async def test_the_answer_is_shown_while_the_card_is_held(pcscd: vpcd.Pcscd) -> None:
    async with opened("Virtual PCD 00 00?lights=acr122") as reader:
        for uid, accepted in (("AABBCCDD", True), ("DEADBEEF", False)):
            with vpcd.HeldCard(pcscd.port, uid, lights="9002") as held:
                await tapped(reader)
                reader.answered(accepted)
                await asyncio.sleep(0.6)
                assert held.heard[1:] == [LIGHTS["acr122"].command(accepted)]
            await asyncio.sleep(PAUSE)


async def test_a_reader_that_knows_no_lights_is_asked_once(pcscd: vpcd.Pcscd, caplog: pytest.LogCaptureFixture) -> None:
    async with opened("Virtual PCD 00 00?lights=acr122") as reader:
        asked = []
        for uid in ("AABBCCDD", "DEADBEEF"):
            with vpcd.HeldCard(pcscd.port, uid) as held:
                assert await tapped(reader) == Card(uid)
                reader.answered(True)
                await asyncio.sleep(0.6)
                asked.append(len(held.heard) - 1)
            await asyncio.sleep(PAUSE)
    assert asked == [1, 0]
    assert caplog.text.count("shows no answers (it answers 6D 00): it is not asked again") == 1
