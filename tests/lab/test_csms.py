"""The small CSMS as a station meets it: by attach() and over real websockets."""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from chargerd.lab import schema
from chargerd.lab.csms import VERSIONS, Csms, _masked, epoch, sequential, zero_unless_accepted
from chargerd.lab.peer import CallFailed, Script
from chargerd.lab.roaming import Partner, Token
from tests.lab.station import BOOT, V16, V21, V201, Station, start16, stop16, values16, whole201

NOW = 1_790_000_000.0


@pytest.fixture
async def csms() -> AsyncIterator[Csms]:
    made = Csms(clock=lambda: NOW)
    made.tokens = {"CARD": Token(), "BAD": Token("Blocked", "G")}
    yield made
    await made.stop()


def id_token(text: str, kind: str = "ISO14443") -> dict[str, Any]:
    return {"idToken": {"idToken": text, "type": kind}}


async def dial(csms: Csms, version: str = V16, name: str = "CP1", **more: Any) -> ClientConnection:
    return await connect(
        f"{csms.url}/{name}", subprotocols=[Subprotocol(version)], proxy=None, compression=None, **more
    )


async def say(link: ClientConnection, message_id: str, action: str, payload: dict[str, Any]) -> Any:
    await link.send(json.dumps([2, message_id, action, payload]))
    async with asyncio.timeout(5):
        return json.loads(await link.recv())


# ---- without a socket, without a loop


def test_a_whole_16_session_needs_no_event_loop() -> None:
    csms = Csms(clock=lambda: NOW)
    csms.tokens["card"] = Token()
    station = Station(csms)
    assert station.result("Authorize", {"idTag": "CARD"}) == {"idTagInfo": {"status": "Accepted"}}
    station.result("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"})
    number = station.result("StartTransaction", start16())["transactionId"]
    station.result("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"})
    station.result("MeterValues", values16(number, 30, "500"))
    station.result("StopTransaction", stop16(number, idTag="CARD"))
    assert station.view.status(1) == "Charging"
    assert csms.books.sessions[0].statuses == [(NOW, "Charging")]
    assert csms.books.judge() == [] and csms.violations() == []


@pytest.mark.parametrize("version", [V201, V21])
def test_a_whole_session_of_2_needs_no_event_loop(version: str) -> None:
    csms = Csms(clock=lambda: NOW)
    csms.tokens["CARD"] = Token(group="G")
    station = Station(csms, version)
    status = {"timestamp": "2026-03-01T12:00:00Z", "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
    station.result("StatusNotification", status)
    whole201(station.result)
    group = {"idToken": "G", "type": "Central"}
    assert station.result("Authorize", id_token("CARD"))["idTokenInfo"] == {"status": "Accepted", "groupIdToken": group}
    assert station.view.status(1) == "Occupied"
    assert [session.energy_wh for session in csms.books.sessions] == [800]
    assert csms.books.judge() == [] and csms.violations() == []


def test_every_honest_answer_fits_its_schema() -> None:
    csms = Csms(clock=lambda: NOW)
    csms.tokens["CARD"] = Token("Accepted", "G", datetime(2030, 1, 1, tzinfo=UTC))
    old, new = Station(csms, V16, "OLD"), Station(csms, V201, "NEW")
    for tag in ("CARD", "STRANGER"):
        old.call("Authorize", {"idTag": tag})
        new.call("Authorize", id_token(tag))
        old.call("StartTransaction", start16(tag=tag, second=ord(tag[0]) - 60))
    old.call("StopTransaction", stop16(1, idTag="CARD"))
    old.call("DataTransfer", {"vendorId": "V"})
    old.call("Heartbeat", {})
    old.call("MeterValues", values16(2, 90, "900"))
    old.call("FirmwareStatusNotification", {"status": "Idle"})
    new.call("SecurityEventNotification", {"type": "StartupOfTheDevice", "timestamp": "2026-03-01T12:00:00Z"})
    whole201(new.call)
    asked = [frame for view in (old.view, new.view) for frame in view.wire if frame.direction == ">"]
    assert len(asked) == 18
    for view in (old.view, new.view):
        for frame in view.wire:
            if frame.direction == ">":
                assert frame.kind == "result"
                assert schema.fault(view.version, frame.action, frame.payload, response=True) is None
    assert csms.violations() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens(version: str) -> None:
    csms = Csms(clock=lambda: NOW)
    csms.tokens = {
        "CARD": Token(expiry=datetime.fromtimestamp(NOW + 1, UTC)),
        "OLD": Token(expiry=datetime.fromtimestamp(NOW, UTC)),
        "BAD": Token("Blocked"),
    }
    station = Station(csms, version)

    def status(tag: str) -> str:
        payload = {"idTag": tag} if version == V16 else id_token(tag)
        (info,) = station.result("Authorize", payload).values()
        return str(info["status"])

    unknown = "Invalid" if version == V16 else "Unknown"
    assert [status(tag) for tag in ("card", "OLD", "BAD", "WHO")] == ["Accepted", "Expired", "Blocked", unknown]


def test_no_authorization_is_accepted() -> None:
    station = Station(Csms(clock=lambda: NOW), V201)
    assert station.result("Authorize", id_token("", "NoAuthorization"))["idTokenInfo"] == {"status": "Accepted"}


def test_transaction_numbers() -> None:
    csms = Csms(clock=lambda: NOW)
    csms.tokens["CARD"] = Token()
    station = Station(csms)
    given = []
    for index, numbers in enumerate((sequential(5), epoch(csms.clock), zero_unless_accepted(sequential(9)))):
        csms.numbers = numbers
        for tag in ("CARD", "WHO"):
            given.append(station.result("StartTransaction", start16(index, tag=tag))["transactionId"])
    assert given == [5, 6, int(NOW), int(NOW), 9, 0]


def test_a_second_link_replaces_the_first() -> None:
    csms = Csms()
    first = Station(csms)
    second = Station(csms, boot=False)
    assert (first.closed, second.closed) == (1, 0)
    assert csms.connected("CP1") and second.view is first.view and second.view.connections == 2
    csms.drop("CP2")
    assert csms.connected("CP1")
    csms.drop()
    assert not csms.connected("CP1") and second.closed == 1


async def test_attach_while_away_is_refused(csms: Csms) -> None:
    station = Station(csms)
    await csms.away()
    assert station.closed == 1
    with pytest.raises(ConnectionRefusedError):
        Station(csms)
    await csms.back()
    assert csms.port == 0
    assert Station(csms, boot=False).result("Heartbeat", {})
    assert csms.violations() == []


def test_attach_names_the_subprotocols() -> None:
    with pytest.raises(ValueError, match=r"ocpp1\.6, ocpp2\.0\.1"):
        Station(Csms(), "ocpp1.5")


# ---- the partner


@pytest.mark.parametrize("version", VERSIONS)
async def test_unknown_tokens_are_asked_from_the_partner(csms: Csms, version: str) -> None:
    csms.partner = Partner(prefixes={"DE-": Token()}, delay=0.01)
    station = Station(csms, version)
    payload = {"idTag": "DE-1"} if version == V16 else id_token("DE-1")
    assert station.call("Authorize", payload) is None
    await asyncio.sleep(0.1)
    (info,) = station.said[-1][2].values()
    assert info["status"] == "Accepted"
    known = {"idTag": "CARD"} if version == V16 else id_token("CARD")
    assert station.call("Authorize", known) is not None
    assert csms.partner.asked == ["DE-1"]


async def test_a_start_with_a_partners_token(csms: Csms) -> None:
    csms.partner = Partner({"GUEST": Token()})
    csms.numbers = zero_unless_accepted(sequential(3))
    station = Station(csms)
    station.call("StartTransaction", start16(tag="GUEST"))
    await asyncio.sleep(0.05)
    assert station.said[-1][2] == {"transactionId": 3, "idTagInfo": {"status": "Accepted"}}


async def test_a_delayed_answer(csms: Csms) -> None:
    station = Station(csms)
    csms.script("Heartbeat", Script(delay=0.01))
    assert station.call("Heartbeat", {}) is None
    await asyncio.sleep(0.1)
    assert station.said[-1][0] == 3


class HurriedSelector(selectors.SelectSelector):
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout and timeout / 1000)


class HurriedLoop(asyncio.SelectorEventLoop):
    """A thousand seconds in one."""

    def time(self) -> float:
        return super().time() * 1000


def test_scaled_time() -> None:
    async def day() -> float:
        loop = asyncio.get_running_loop()
        csms = Csms(clock=lambda: NOW + loop.time())
        csms.partner = Partner({"GUEST": Token()}, delay=10)
        station = Station(csms)
        begin = loop.time()
        csms.script("Authorize", Script(delay=20))
        station.call("Authorize", {"idTag": "GUEST"})
        with pytest.raises(CallFailed, match="Timeout"):
            await csms.call("CP1", "ClearCache", {}, timeout=60)
        assert station.said[-1][2] == {"idTagInfo": {"status": "Accepted"}}
        return loop.time() - begin

    with asyncio.Runner(loop_factory=lambda: HurriedLoop(HurriedSelector())) as runner:
        started = time.monotonic()
        assert runner.run(day()) >= 60
        assert time.monotonic() - started < 10


# ---- requests to a station


async def test_call_returns_or_raises(csms: Csms) -> None:
    station = Station(csms)

    async def ask(answer: Any) -> Any:
        asked = asyncio.create_task(csms.call("CP1", "ClearCache", {}, timeout=0.2))
        await asyncio.sleep(0)
        message_id = station.said[-1][1]
        if answer is not None:
            station.peer.receive(json.dumps([answer[0], message_id, *answer[1:]]))
        return await asked

    assert await ask([3, {"status": "Accepted"}]) == {"status": "Accepted"}
    with pytest.raises(CallFailed, match="NotSupported: no cache") as refused:
        await ask([4, "NotSupported", "no cache", {}])
    assert refused.value.code == "NotSupported"
    with pytest.raises(CallFailed, match=r"Timeout: no answer to ClearCache in 0\.2 s"):
        await ask(None)
    station.peer.receive(json.dumps([3, station.said[-1][1], {"status": "Accepted"}]))
    assert station.violations() == []
    csms.drop()
    with pytest.raises(CallFailed, match="LinkLost"):
        await csms.call("CP1", "ClearCache", {})


async def test_our_own_requests_are_checked_unless_a_bad_one_is_meant(csms: Csms) -> None:
    station = Station(csms)
    with pytest.raises(ValueError, match="Reset"):
        await csms.call("CP1", "Reset", {"type": "Gently"})
    with pytest.raises(CallFailed, match="Timeout"):
        await csms.call("CP1", "Reset", {"type": "Gently"}, timeout=0.01, check=False)
    assert station.said[-1][3] == {"type": "Gently"}


# ---- over websockets


@pytest.mark.parametrize("version", VERSIONS)
async def test_boot_and_heartbeat_over_a_socket(csms: Csms, version: str) -> None:
    await csms.start()
    async with await dial(csms, version, "CP%201") as link:
        answer = await say(link, "1", "BootNotification", BOOT[version])
        assert answer == [
            3,
            "1",
            {"currentTime": "2026-09-21T14:13:20.000Z", "interval": 300, "status": "Accepted"},
        ]
        assert (await say(link, "2", "Heartbeat", {}))[2] == {"currentTime": "2026-09-21T14:13:20.000Z"}
        view = csms.stations["CP 1"]
        assert (view.version, view.last_heartbeat, len(view.boots)) == (version, NOW, 1)
        asked = asyncio.create_task(csms.call("CP 1", "ClearCache", {}))
        _, message_id, action, _ = json.loads(await link.recv())
        await link.send(json.dumps([3, message_id, {"status": "Accepted"}]))
        assert action == "ClearCache" and await asked == {"status": "Accepted"}
    await asyncio.sleep(0.05)
    assert not csms.connected("CP 1") and csms.violations() == []


async def test_away_and_back_on_the_same_port(csms: Csms) -> None:
    await csms.start()
    port = csms.port
    link = await dial(csms)
    await say(link, "1", "BootNotification", BOOT[V16])
    await csms.away()
    with pytest.raises(ConnectionClosed):
        await link.recv()
    with pytest.raises(OSError):
        await dial(csms)
    await csms.back()
    assert csms.port == port
    async with await dial(csms) as link:
        assert (await say(link, "1", "Heartbeat", {}))[0] == 3
    assert csms.stations["CP1"].connections == 2 and csms.violations() == []


async def test_a_cut_over_a_socket(csms: Csms) -> None:
    await csms.start()
    link = await dial(csms)
    csms.script("BootNotification", Script(cut=True))
    with pytest.raises(ConnectionClosed):
        await say(link, "1", "BootNotification", BOOT[V16])


async def test_the_stations_first_choice_is_taken(csms: Csms) -> None:
    await csms.start()
    both = [Subprotocol("ocpp9"), Subprotocol(V21), Subprotocol(V201), Subprotocol(V16)]
    async with connect(f"{csms.url}/CP1", subprotocols=both, proxy=None) as link:
        assert link.subprotocol == V21


async def test_no_common_version_completes_the_handshake_and_closes(csms: Csms) -> None:
    await csms.start()
    csms.versions = (V201,)
    link = await dial(csms, V16)
    assert link.subprotocol is None
    with pytest.raises(ConnectionClosed) as closed:
        await link.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1002


async def test_slamming_the_door(csms: Csms) -> None:
    await csms.start()
    csms.slam = True
    link = await dial(csms)
    with pytest.raises(ConnectionClosed) as closed:
        await link.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
    assert csms.stations == {}


async def test_basic_authentication_and_unknown_stations() -> None:
    csms = Csms(password="secret")
    csms.admit = frozenset(("CP1", "CP2"))
    await csms.start()

    async def status(name: str, user: str, password: str) -> int:
        url = f"ws://{user}:{password}@{csms.host}:{csms.port}/{name}"
        try:
            async with connect(url, subprotocols=[Subprotocol(V16)], proxy=None):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    try:
        assert await status("CP1", "CP1", "secret") == 101
        assert await status("CP1", "CP1", "wrong") == 401
        assert await status("CP1", "CP2", "secret") == 401
        assert await status("CP3", "CP3", "secret") == 404
        with pytest.raises(InvalidStatus, match="401"):
            await dial(csms)
    finally:
        await csms.stop()


async def test_a_new_socket_of_the_same_station_closes_the_old(csms: Csms) -> None:
    await csms.start()
    first = await dial(csms)
    async with await dial(csms) as second:
        with pytest.raises(ConnectionClosed):
            await first.recv()
        assert (await say(second, "1", "BootNotification", BOOT[V16]))[0] == 3
        assert csms.connected("CP1")


async def test_the_command_prints_the_wire_and_the_books() -> None:
    command = (sys.executable, "-m", "chargerd.lab.csms", "--port", "0", "--version", V16, "--token", "04A2B3C4")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            url = (await process.stdout.readline()).decode().split()[-1].replace("<station>", "CP1")
            async with connect(url, subprotocols=[Subprotocol(V16)], proxy=None) as link:
                await say(link, "1", "BootNotification", BOOT[V16])
                await say(link, "2", "StartTransaction", start16(tag="04A2B3C4"))
            process.terminate()
            told = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    assert "CP1 < call   StartTransaction" in told and "…B3C4" in told and "04A2B3C4" not in told
    assert "open" in told.splitlines()[-1]


def test_printed_tokens_are_shortened() -> None:
    shown = _masked({"idTag": "04A2B3C4", "list": [{"idToken": {"idToken": "04A2B3C4", "type": "Central"}}], "n": 1})
    assert shown == {"idTag": "…B3C4", "list": [{"idToken": {"idToken": "…B3C4", "type": "Central"}}], "n": 1}
