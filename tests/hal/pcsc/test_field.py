"""What cards and services may answer, one by one and as a flood: the interface in software, nothing installed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from hal.api import Card, CardRefused, DeviceError
from hal.pcsc import trouble
from hal.pcsc.field import ATTEMPTS, Field
from hal.pcsc.lights import LIGHTS
from hal.pcsc.reader import PcscReader, open_reader
from hal.pcsc.tap import APART

scard = pytest.importorskip(
    "smartcard.scard", reason="pyscard is not installed (pip install 'chargerd[rfid]')", exc_type=ImportError
)
NAME = "ACS ACR122U PICC Interface 00 00"
SAM = "ACS ACR1252 [SAM] SAM Slot 00 01"


class Service:
    """Its answers are given; everything else is as in the library."""

    def __init__(self, answer: Callable[[bytes], bytes] = lambda command: b"\x90\x00") -> None:
        self.answer = answer
        self.connects: Callable[[], int] = lambda: scard.SCARD_S_SUCCESS
        self.opens = scard.SCARD_S_SUCCESS
        self.readers = [NAME]
        self.changes: Callable[[], tuple[int, int]] = lambda: (scard.SCARD_E_TIMEOUT, 0)
        self.asked: list[bytes] = []
        self.open = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(scard, name)

    def SCardEstablishContext(self, scope: int) -> Any:
        self.open += self.opens == scard.SCARD_S_SUCCESS
        return self.opens, 1

    def SCardReleaseContext(self, context: Any) -> int:
        self.open -= 1
        return int(scard.SCARD_S_SUCCESS)

    def SCardListReaders(self, context: Any, groups: Any) -> Any:
        return scard.SCARD_S_SUCCESS, self.readers

    def SCardGetStatusChange(self, context: Any, wait: int, states: Any) -> Any:
        code, state = self.changes()
        if code == scard.SCARD_E_TIMEOUT:
            time.sleep(wait / 1000)
        return code, [(states[0][0], state, [])]

    def SCardConnect(self, context: Any, reader: str, mode: int, protocols: int) -> Any:
        return self.connects(), 7, scard.SCARD_PROTOCOL_T1

    def SCardTransmit(self, handle: Any, header: Any, command: list[int]) -> Any:
        self.asked.append(bytes(command))
        return scard.SCARD_S_SUCCESS, list(self.answer(bytes(command)))

    def SCardDisconnect(self, handle: Any, how: int) -> int:
        return int(scard.SCARD_S_SUCCESS)


def uid_of(service: Service) -> bytes | None:
    with Field(service, "ACR122") as field:
        assert field.find() is None
        return field.uid()


@pytest.mark.parametrize("answer", ["63 00", "6A 81", "6D 00", "6E 00"])
def test_a_reader_without_numbers_for_this_card_is_asked_once(answer: str) -> None:
    service = Service(lambda command: bytes.fromhex(answer))
    with pytest.raises(CardRefused, match="gives no number for this kind of card"):
        uid_of(service)
    assert service.asked == [bytes.fromhex("FFCA000000")]


@pytest.mark.parametrize("answer", ["", "90", "62 82", "64 00", "AABBCCDD 61 04", "00" * 70])
def test_an_answer_that_is_none_is_asked_for_again_and_then_refused(answer: str) -> None:
    service = Service(lambda command: bytes.fromhex(answer))
    with pytest.raises(CardRefused, match="hold it flat and still"):
        uid_of(service)
    assert len(service.asked) == ATTEMPTS


def test_a_card_at_the_edge_of_the_field_is_read_at_the_second_try() -> None:
    answers = iter([b"", bytes.fromhex("AABBCCDD9000")])
    assert uid_of(Service(lambda command: next(answers))) == bytes.fromhex("AABBCCDD")
    service = Service(lambda command: bytes.fromhex("AABBCCDD9000"))
    codes = iter([scard.SCARD_W_RESET_CARD, scard.SCARD_W_UNPOWERED_CARD, scard.SCARD_S_SUCCESS])
    service.connects = lambda: next(codes)
    assert uid_of(service) == bytes.fromhex("AABBCCDD")


@pytest.mark.parametrize("code", ["SCARD_E_NO_SMARTCARD", "SCARD_W_REMOVED_CARD"])
def test_a_card_that_left_is_none(code: str) -> None:
    service = Service()
    service.connects = lambda: getattr(scard, code)
    assert uid_of(service) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("SCARD_E_SHARING_VIOLATION", "held by another program: end that program"),
        ("SCARD_E_READER_UNAVAILABLE", "is gone: plug it in again"),
        ("SCARD_W_SECURITY_VIOLATION", "polkit rule must allow it org.debian.pcsc-lite.access_pcsc"),
        ("SCARD_E_NO_SERVICE", "pcscd"),
        ("SCARD_F_UNKNOWN_ERROR", "journalctl -u pcscd"),
    ],
)
def test_what_is_wrong_with_reader_or_service_is_said_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    monkeypatch.setattr(trouble, "_listens", lambda: True)
    service = Service()
    service.connects = lambda: getattr(scard, code)
    with pytest.raises(DeviceError, match=words) as error:
        uid_of(service)
    assert not isinstance(error.value, CardRefused)
    assert NAME in str(error.value) or code == "SCARD_E_NO_SERVICE"
    assert service.open == 0, "a context was left open"


def test_what_helps_against_a_missing_service_depends_on_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    service = Service()
    service.opens = scard.SCARD_E_NO_SERVICE
    monkeypatch.setattr(trouble, "PCSCD", tmp_path / "pcscd")
    with pytest.raises(DeviceError, match="pcscd is not installed: sudo apt install pcscd"):
        uid_of(service)
    (tmp_path / "pcscd").touch()
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(tmp_path / "pcscd.comm"))
    with pytest.raises(DeviceError, match=r"pcscd does not run; check it: sudo systemctl enable --now pcscd.socket"):
        uid_of(service)
    (tmp_path / "pcscd.comm").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DeviceError, match=r"may not use .*pcscd\.comm"):
        uid_of(service)


def test_the_whole_name_goes_before_a_part_and_a_slot_for_sams_is_no_reader() -> None:
    service = Service(lambda command: bytes.fromhex("AABBCCDD9000"))
    service.readers = [SAM, NAME]
    for name in ("ACS", "ACR122U", NAME):
        with Field(service, name) as field:
            assert (field.find(), field.reader) == (None, NAME)
    service.readers = [NAME, NAME.replace("00 00", "01 00"), f"{NAME} (7)"]
    with Field(service, NAME) as field:
        assert (field.find(), field.reader) == (None, NAME)
    with Field(service, "ACR122U") as field:
        assert "write pcsc:<the whole name>" in str(field.find())


@pytest.mark.parametrize(("answer", "taken"), [("90 00", True), ("90 02", True), ("63 00", False), ("", False)])
def test_lights_are_taken_by_any_answer_that_begins_with_90(answer: str, taken: bool) -> None:
    service = Service(lambda command: bytes.fromhex(answer))
    with Field(service, "") as field:
        field.find()
        assert (field.command(LIGHTS["acr122"].accepted) == "") is taken


def test_no_command_for_lights_is_anything_else() -> None:
    """FF 00 40 with four bytes of times, below half a second in all: nothing that a reader could remember."""
    for lights in LIGHTS.values():
        for command in (lights.accepted, lights.refused):
            assert command[:3] == b"\xff\x00\x40" and command[4] == 4 and len(command) == 9
            assert (command[5] + command[6]) * command[7] * 0.1 < 0.5


# ---------------------------------------------------------------- floods


def running(service: Service, **options: Any) -> PcscReader:
    return PcscReader("ACR122", service, **options)


async def collect(reader: PcscReader, seconds: float) -> list[Any]:
    got: list[Any] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            got.append(await asyncio.wait_for(reader.next(), left))
        except TimeoutError:
            break
        except DeviceError as error:
            got.append(error)
    return got


def flicker() -> Callable[[], tuple[int, int]]:
    """A card that comes and goes at 50 Hz; the field is empty at first."""
    states = itertools.cycle([scard.SCARD_STATE_EMPTY, scard.SCARD_STATE_PRESENT])

    def change() -> tuple[int, int]:
        time.sleep(0.01)
        return scard.SCARD_S_SUCCESS, next(states)

    return change


async def test_a_card_that_flickers_at_50_hertz_is_one_tap_and_the_loop_is_free() -> None:
    service = Service(lambda command: bytes.fromhex("AABBCCDD9000"))
    service.changes = flicker()
    reader = running(service)
    began, late = time.monotonic(), 0.0

    async def pulse() -> None:
        nonlocal late
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late = max(late, time.monotonic() - due)

    beat = asyncio.ensure_future(pulse())
    assert await collect(reader, APART + 0.5) == [Card("AABBCCDD")]
    beat.cancel()
    assert len(service.asked) > 50 and time.monotonic() - began < APART + 2
    assert late < 1.0
    began = time.monotonic()
    await reader.close()
    assert time.monotonic() - began < 1.0


async def test_other_numbers_at_50_hertz_are_one_tap_and_reversed_where_wanted() -> None:
    numbers = itertools.count(0x04000000)
    service = Service(lambda command: next(numbers).to_bytes(4, "big") + b"\x90\x00")
    service.changes = flicker()
    reader = running(service, backwards=True)
    assert await collect(reader, 1.5) == [Card("00000004")]
    await reader.close()


async def test_garbage_at_50_hertz_is_one_refusal() -> None:
    service = Service(lambda command: b"\x6d\x00")
    service.changes = flicker()
    reader = running(service)
    [refused] = await collect(reader, 1.5)
    assert isinstance(refused, CardRefused)
    await reader.close()


async def test_taps_that_nobody_asks_for_are_forgotten_but_for_the_last() -> None:
    reader = running(Service())
    for n in range(100):
        reader._put(Card(f"{n:08X}"))
    assert reader._queue.qsize() == 8
    assert await reader.next() == Card(f"{92:08X}")
    await reader.close()


async def test_a_service_that_dies_each_time_is_tried_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    service.changes = lambda: (scard.SCARD_E_NO_SERVICE, 0)
    waits: list[float] = []
    reader = running(service)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        time.sleep(0.001)
        return False

    monkeypatch.setattr(reader._stop, "wait", wait)
    got = await collect(reader, 0.5)
    assert waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert service.open <= 1 and all(item is None or "pcscd" in str(item) for item in got)
    await reader.close()


def test_a_name_with_options_opens_what_it_says() -> None:
    reader = open_reader("ACR122U PICC?lights=acr122&bytes=reversed")
    assert (reader._name, reader._lights, reader._backwards) == ("ACR122U PICC", LIGHTS["acr122"], True)
