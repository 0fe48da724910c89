"""The reader against a real pcscd with a virtual reader: taps, unusable cards, a restarted service."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import Any

import pytest

from hal.api import Card, DeviceError, MissingExtra
from hal.pcsc.reader import PcscReader, open_reader
from hal.pcsc.tap import CardRefused
from tests.hal.pcsc import vpcd

SOON = 10.0


def test_without_pyscard_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    monkeypatch.setitem(sys.modules, "smartcard.scard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'chargerd\[rfid\]'"):
        open_reader("")


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


@pytest.fixture
async def reader(pcscd: vpcd.Pcscd) -> AsyncIterator[PcscReader]:
    opened = open_reader("Virtual PCD 00 00")
    yield opened
    await opened.close()


async def tapped(reader: PcscReader) -> Card:
    return await asyncio.wait_for(reader.next(), SOON)


async def test_each_card_is_one_tap_with_its_number(pcscd: vpcd.Pcscd, reader: PcscReader) -> None:
    for uid in ("04A2B3C4D5E680", "DEADBEEF", "00112233445566778899"):
        with vpcd.HeldCard(pcscd.port, uid.lower()):
            assert await tapped(reader) == Card(uid)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.next(), 1.5)


@pytest.mark.parametrize(("uid", "status", "words"), [("08123456", "9000", "random"), ("", "6A81", "gives no number")])
async def test_an_unusable_card_is_refused_and_the_next_one_read(
    pcscd: vpcd.Pcscd, reader: PcscReader, uid: str, status: str, words: str
) -> None:
    with vpcd.HeldCard(pcscd.port, uid, status), pytest.raises(CardRefused, match=words):
        await tapped(reader)
    with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
        assert await tapped(reader) == Card("AABBCCDD")


async def test_a_restarted_service_costs_one_report(pcscd: vpcd.Pcscd, reader: PcscReader) -> None:
    with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
        assert await tapped(reader) == Card("AABBCCDD")
    pcscd.stop()
    try:
        with pytest.raises(DeviceError, match="check that pcscd runs"):
            await tapped(reader)
        waiting = asyncio.ensure_future(reader.next())
        await asyncio.sleep(1.5)
        assert not waiting.done(), "told once, not at each attempt"
    finally:
        pcscd.start()
    with vpcd.HeldCard(pcscd.port, "04A2B3C4D5E680"):
        assert await asyncio.wait_for(waiting, SOON) == Card("04A2B3C4D5E680")


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


async def test_an_unplugged_reader_costs_one_report(pcscd: vpcd.Pcscd) -> None:
    interface = Pullable()
    reader = PcscReader("Virtual PCD 00 00", interface)
    with vpcd.HeldCard(pcscd.port, "AABBCCDD"):
        assert await tapped(reader) == Card("AABBCCDD")
    interface.pulled = True
    with pytest.raises(DeviceError, match="is gone: plug it in again"):
        await tapped(reader)
    waiting = asyncio.ensure_future(reader.next())
    await asyncio.sleep(1.5)
    assert not waiting.done(), "told once, not at each attempt"
    interface.pulled = False
    with vpcd.HeldCard(pcscd.port, "04A2B3C4D5E680"):
        assert await asyncio.wait_for(waiting, SOON) == Card("04A2B3C4D5E680")
    await reader.close()


async def test_a_reader_that_is_not_there_is_named(pcscd: vpcd.Pcscd) -> None:
    absent = open_reader("ACR122U")
    with pytest.raises(DeviceError, match=r"'ACR122U' is not there \(found: Virtual PCD 00 00, Virtual PCD 00 01\)"):
        await tapped(absent)
    await absent.close()
