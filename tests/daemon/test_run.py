"""The daemon as a whole, in virtual time: which version it speaks, what it keeps over a restart, how it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
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
        self.refused = on_refused
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
