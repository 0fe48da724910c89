"""The daemon as a whole, in virtual time: which version it speaks, what it keeps over a restart, how it leaves."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.commands import BootCause
from chargerd.core.events import LinkDown, RemoteStart
from chargerd.core.token import Token
from chargerd.daemon.csms import LinkSettings, LinkState
from chargerd.daemon.run import Daemon
from chargerd.lab.csms import Csms
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.roaming import Token as Known
from chargerd.lab.whole import EPOCH, Whole

ANN = "04AABBCC"
TIME = "2027-01-15T08:00:00Z"


class HandLink:
    """A link whose other side is the test."""

    def __init__(
        self,
        settings: LinkSettings,
        *,
        on_open: Callable[[str], None],
        on_frame: Callable[[str | bytes], bool],
        on_closed: Callable[[str], None],
        on_refused: Callable[[], None],
        on_security: Callable[[str, str], None],
        chance: Callable[[], float],
    ) -> None:
        self.refused, self.security = on_refused, on_security
        self.settings, self.open, self.frame, self.closed = settings, on_open, on_frame, on_closed
        self.sent: list[str] = []
        self.configured: list[LinkSettings] = []
        self.state = LinkState("off", 0.0)

    def start(self) -> None: ...
    async def stop(self) -> None: ...
    def kill(self) -> None: ...
    def force(self, up: bool) -> None: ...
    def drop(self, reason: str, cause: str) -> None: ...

    def send(self, frame: str) -> bool:
        self.sent.append(frame)
        return True

    def configure(self, settings: LinkSettings) -> None:
        self.configured.append(settings)


def daemon_of(whole: Whole) -> Daemon:
    assert whole.daemon is not None
    return whole.daemon


def link_of(whole: Whole) -> HandLink:
    link = daemon_of(whole).link
    assert isinstance(link, HandLink)
    return link


def in_virtual_time(job: Coroutine[Any, Any, None]) -> None:
    run(VirtualLoop(1000.0), job)


@pytest.mark.parametrize(("orderly", "cause"), [(True, BootCause.UNKNOWN), (False, BootCause.WATCHDOG)])
def test_a_car_does_not_notice_a_restart(tmp_path: Path, orderly: bool, cause: BootCause) -> None:
    async def scene() -> None:
        csms = Csms(clock=lambda: EPOCH + asyncio.get_running_loop().time())
        csms.tokens[ANN] = Known()
        whole = Whole(tmp_path, csms=csms)
        await whole.start()
        await whole.until(lambda: daemon_of(whole).charger.state.boot.status.value == "accepted")
        await whole.tap(ANN)
        await asyncio.sleep(1)
        await whole.plug()
        await whole.until(lambda: daemon_of(whole).charger.state.outlet(1).live.powered)
        await asyncio.sleep(30)
        if orderly:
            await daemon_of(whole).stop()
            whole.daemon = None
        else:
            await whole.kill_daemon()
        await asyncio.sleep(5)
        await whole.start_daemon()
        assert daemon_of(whole).charger.state.boot.cause is cause
        await asyncio.sleep(30)
        assert daemon_of(whole).charger.state.outlet(1).live.powered
        assert whole.world.audit()[0].opened == 0
        await whole.tap(ANN)
        await asyncio.sleep(5)
        await whole.unplug()
        await asyncio.sleep(10)
        assert csms.books.judge() == []
        assert len(daemon_of(whole).store.sessions()) == 1
        await whole.stop()

    in_virtual_time(scene())


def test_it_leaves_in_seconds_from_a_mute_backend(tmp_path: Path) -> None:
    async def scene() -> None:
        whole = Whole(tmp_path, version="1.6", link=HandLink)
        await whole.start()
        link = link_of(whole)
        link.open("ocpp1.6")
        link.state = LinkState("open", 0.0)
        await asyncio.sleep(1)
        before = whole.loop.time()
        await whole.stop()
        assert whole.loop.time() - before < 5

    in_virtual_time(scene())


def test_the_queue_is_counted_per_transaction(tmp_path: Path) -> None:
    async def scene() -> None:
        whole = Whole(tmp_path, version="1.6", link=HandLink)
        await whole.start()
        daemon = daemon_of(whole)
        daemon.charger.feed(LinkDown())
        await whole.plug()
        await asyncio.sleep(3)
        daemon.charger.feed(RemoteStart(daemon.charger.next_ask(), Token(ANN), 1, local=True))
        await asyncio.sleep(1)
        facts = daemon.charger.facts()
        assert (facts["messages_in_queue"], facts["messages_in_queue:tx-1-0-1"]) == ("1", "1")
        await whole.stop()

    in_virtual_time(scene())


@pytest.mark.req("A01.FR.01", "1.6J §6.2.2")
def test_a_password_set_by_the_backend_is_that_of_the_next_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        whole = Whole(tmp_path, version="1.6", link=HandLink)
        await whole.start()
        link, daemon = link_of(whole), daemon_of(whole)
        assert link.settings.endpoint is not None and link.settings.endpoint.password is None
        assert daemon.charger.facts()["security_profile"] == "0"
        link.open("ocpp1.6")
        boot = json.loads(link.sent[-1])
        link.frame(json.dumps([3, boot[1], {"status": "Accepted", "interval": 60, "currentTime": TIME}]))
        change = {"key": "AuthorizationKey", "value": "00112233445566778899AABBCCDDEEFF00112233"}
        link.frame(json.dumps([2, "theirs", "ChangeConfiguration", change]))
        await asyncio.sleep(0.1)
        assert [3, "theirs", {"status": "Accepted"}] in [json.loads(frame) for frame in link.sent]
        endpoint = link.configured[-1].endpoint
        assert endpoint is not None
        token = endpoint.authorization["Authorization"].removeprefix("Basic ")
        assert base64.b64decode(token) == b"CS-0001:" + bytes.fromhex(change["value"])
        assert daemon.charger.facts()["security_profile"] == "1"
        link.frame(json.dumps([2, "theirs-2", "GetConfiguration", {"key": ["AuthorizationKey"]}]))
        await asyncio.sleep(0.1)
        [told] = [json.loads(frame)[2] for frame in link.sent if json.loads(frame)[1] == "theirs-2"]
        assert told == {"configurationKey": [{"key": "AuthorizationKey", "readonly": False}]}
        await whole.stop()

    in_virtual_time(scene())


def test_a_link_s_settings_are_those_of_the_file(tmp_path: Path) -> None:
    async def scene() -> None:
        whole = Whole(tmp_path, version="2.0.1", link=HandLink)
        csms = replace(whole.config.csms, url="wss://csms.example/ocpp", ca_file="/roots.pem", proxy="http://proxy:1")
        whole.config = replace(whole.config, csms=replace(csms, connect_timeout=7.0, pong_timeout=3.0))
        await whole.start()
        settings = link_of(whole).settings
        assert settings.endpoint is not None
        assert (settings.endpoint.proxy, settings.endpoint.trust.ca_file) == ("http://proxy:1", "/roots.pem")
        assert (settings.open_timeout, settings.pong_timeout, settings.endpoint.wildcards) == (7.0, 3.0, False)
        await whole.stop()

    in_virtual_time(scene())


@pytest.mark.req("A04.FR.02", "A00.FR.310")
def test_a_security_event_of_the_link_waits_for_the_backend(tmp_path: Path) -> None:
    async def scene() -> None:
        whole = Whole(tmp_path, version="2.0.1", link=HandLink)
        await whole.start()
        link_of(whole).security("InvalidCsmsCertificate", "it has expired")
        await asyncio.sleep(0.1)
        conversation = daemon_of(whole).charger.conversation
        assert conversation is not None
        rows = conversation.outbox.rows()
        assert [row.facts for row in rows if row.facts.get("type") == "InvalidCsmsCertificate"] == [
            {"type": "InvalidCsmsCertificate", "techInfo": "it has expired"}
        ]
        await whole.stop()

    in_virtual_time(scene())
