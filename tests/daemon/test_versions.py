"""Which version is spoken with the backend, and what becomes of what is unfinished when it wants another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.events import RemoteStart
from chargerd.core.token import Token
from chargerd.daemon import backend
from chargerd.daemon.backend import INSIST
from chargerd.daemon.conversation import Conversation
from chargerd.daemon.csms import Link, LinkSettings
from chargerd.lab.csms import Csms
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.roaming import Token as Known
from chargerd.lab.site import STATION
from chargerd.lab.whole import EPOCH, Whole

ANN, BOB = "04AABBCC", "04DDEEFF"
ALL = ("2.1", "2.0.1", "1.6")


class Place:
    """A charger that can speak `versions`, and a backend whose mind can be changed."""

    def __init__(self, path: Path, versions: tuple[str, ...]) -> None:
        self.csms = Csms(clock=lambda: EPOCH + asyncio.get_running_loop().time())
        self.csms.tokens |= {ANN: Known(), BOB: Known()}
        self.whole = Whole(path, csms=self.csms, version='", "'.join(versions))

    def backend_speaks(self, *versions: str) -> None:
        """From the next connection on; the one that is there is cut."""
        self.csms.versions = tuple(f"ocpp{version}" for version in versions)
        self.csms.drop()

    @property
    def talk(self) -> Conversation:
        assert self.whole.daemon is not None
        conversation = self.whole.daemon.charger.conversation
        assert conversation is not None
        return conversation

    @property
    def dead(self) -> list[str]:
        assert self.whole.daemon is not None
        return [row.kind for row in self.whole.daemon.store.dead() if row.queue == "transactions"]

    async def spoken(self, version: str) -> None:
        def so() -> bool:
            view = self.csms.stations.get(STATION)
            booted = self.csms.connected(STATION) and view is not None and view.registration == "Accepted"
            return booted and view is not None and view.version == f"ocpp{version}" and not self.talk.outbox.telling

        await self.whole.until(so, 60)
        assert self.talk.dialect.version == version

    async def charging(self, card: str = ANN) -> None:
        await self.whole.plug()
        await asyncio.sleep(2)
        await self.whole.tap(card)
        await self.whole.until(lambda: self.whole.world.outlets[0].closed)
        await asyncio.sleep(30)

    async def done(self, card: str = ANN) -> None:
        await self.whole.tap(card)
        await asyncio.sleep(5)
        await self.whole.unplug()
        await asyncio.sleep(5)

    def complaints(self) -> list[str]:
        return [*self.csms.books.judge(), *self.csms.violations()]


@pytest.mark.req("1.6 §9.1.34")
def test_a_setting_of_the_link_reaches_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(at: Place) -> None:
        await at.spoken("1.6")
        daemon = at.whole.daemon
        assert daemon is not None and daemon.link is not None
        settings: list[LinkSettings] = []
        monkeypatch.setattr(daemon.link, "configure", settings.append)
        for text, seconds in (("7", 7), ("0", 0)):
            said = await at.csms.call(STATION, "ChangeConfiguration", {"key": "WebSocketPingInterval", "value": text})
            assert said == {"status": "Accepted"}
            assert settings[-1].ping_interval == seconds

    story(tmp_path, play, ("1.6",))


def story(path: Path, play: Callable[[Place], Awaitable[None]], versions: tuple[str, ...] = ALL) -> None:
    async def scene() -> None:
        place = Place(path, versions)
        await place.whole.start()
        await play(place)
        await place.whole.stop()

    run(VirtualLoop(1000.0), scene())


@pytest.mark.req("2.0.1 part 4 §3.1.2")
@pytest.mark.parametrize(
    ("offered", "spoken", "agreed"),
    [
        (ALL, ("1.6", "2.0.1", "2.1"), "2.1"),
        (ALL, ("1.6", "2.0.1"), "2.0.1"),
        (ALL, ("1.6",), "1.6"),
        (("1.6", "2.1"), ("1.6", "2.0.1", "2.1"), "1.6"),
    ],
)
def test_the_first_choice_that_the_backend_speaks(
    tmp_path: Path, offered: tuple[str, ...], spoken: tuple[str, ...], agreed: str
) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks(*spoken)
        await at.spoken(agreed)
        await at.charging()
        await at.done()
        assert len(at.csms.books.sessions) == 1
        assert at.complaints() == []

    story(tmp_path, play, offered)


def test_with_nothing_unfinished_the_next_connection_is_open_to_all(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        for version in ("1.6", "2.1", "2.0.1", "1.6"):
            at.backend_speaks(version)
            await at.spoken(version)
            await at.charging()
            await at.done()
        assert len(at.csms.books.sessions) == 4
        assert at.complaints() == []
        assert "start" not in at.dead

    story(tmp_path, play)


def test_another_version_is_greeted_with_a_boot(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks("2.0.1")
        await at.spoken("2.0.1")
        boots = len(at.csms.stations[STATION].boots)
        at.csms.drop()
        await asyncio.sleep(10)
        assert len(at.csms.stations[STATION].boots) == boots  # the same one is not
        at.csms.stations[STATION].registration = None
        at.backend_speaks("2.1")
        await at.spoken("2.1")
        assert len(at.csms.stations[STATION].boots) == boots + 1
        assert at.complaints() == []

    story(tmp_path, play)


@pytest.mark.parametrize("restart", [False, True])
def test_2_1_finishes_what_2_0_1_has_begun(tmp_path: Path, restart: bool) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks("2.0.1")
        await at.spoken("2.0.1")
        await at.charging()
        if restart:
            at.csms.versions = ("ocpp2.1",)
            await at.whole.kill_daemon()
            await at.whole.start_daemon()
        else:
            at.backend_speaks("2.1")
        await at.spoken("2.1")
        await asyncio.sleep(70)
        await at.done()
        [session] = at.csms.books.sessions
        assert not session.open
        assert session.gaps == []
        assert at.complaints() == []
        assert at.dead == []

    story(tmp_path, play)


def test_what_waited_in_2_0_1_is_told_in_2_1(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks("2.0.1")
        await at.spoken("2.0.1")
        await at.charging()
        await at.csms.away()
        await asyncio.sleep(90)
        await at.done()
        assert at.talk.outbox.telling
        at.backend_speaks("2.1")
        await at.csms.back()
        await at.spoken("2.1")
        await at.whole.until(lambda: not at.talk.outbox.telling)
        [session] = at.csms.books.sessions
        assert (session.open, session.gaps, at.dead, at.complaints()) == (False, [], [], [])

    story(tmp_path, play)


@pytest.mark.parametrize(("old", "new"), [("2.0.1", "2.1"), ("1.6", "2.1"), ("2.1", "2.0.1"), ("1.6", "2.0.1")])
def test_a_backend_that_speaks_both_hears_the_end_in_the_first(tmp_path: Path, old: str, new: str) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks(old)
        await at.spoken(old)
        await at.charging()
        at.backend_speaks(old, new)
        await at.spoken(old)
        await at.done()
        at.csms.drop()
        await at.spoken(new)
        assert not at.csms.books.sessions[0].open
        assert at.complaints() == []
        assert "end" not in at.dead

    story(tmp_path, play, (new, old))


@pytest.mark.parametrize(("old", "new"), [("1.6", "2.1"), ("2.1", "2.0.1"), ("2.0.1", "1.6")])
def test_the_version_of_what_is_unfinished_is_insisted_on_and_then_given_up(
    tmp_path: Path, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks(old)
        await at.spoken(old)
        await at.charging()
        at.backend_speaks(new)
        await asyncio.sleep(0.5 * (INSIST - 2))
        assert not at.csms.connected(STATION)
        assert at.talk.dialect.version == old
        await at.spoken(new)
        await at.done()
        assert f"began in OCPP {old}: its end is only in the history" in caplog.text
        assert not at.talk.outbox.telling
        await at.charging(BOB)
        await at.done(BOB)
        lost, whole = at.csms.books.sessions
        assert lost.open and not whole.open
        assert at.csms.violations() == []

    story(tmp_path, play, (old, new))


def test_what_a_switch_has_cut_off_holds_up_nothing_after_a_restart_either(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks("2.0.1")
        await at.spoken("2.0.1")
        await at.charging()
        at.backend_speaks("1.6")
        await at.spoken("1.6")
        await at.whole.kill_daemon()
        await at.whole.start_daemon()
        await at.spoken("1.6")
        await asyncio.sleep(300)
        await at.done()
        assert not at.talk.outbox.telling
        await at.charging(BOB)
        await at.done(BOB)
        lost, whole = at.csms.books.sessions
        assert lost.open and not whole.open
        assert at.csms.violations() == []

    story(tmp_path, play, ("1.6", "2.0.1"))


def test_a_refusal_in_passing_changes_nothing(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks("1.6")
        await at.spoken("1.6")
        await at.charging()
        for _ in range(3):
            at.backend_speaks()  # nothing at all, for a while
            await asyncio.sleep(0.5 * (INSIST - 3))
            at.backend_speaks("1.6", "2.1")
            await at.spoken("1.6")
        await at.done()
        assert at.complaints() == []
        assert at.dead == []

    story(tmp_path, play)


def test_offline_after_a_restart_it_writes_as_was_agreed_last(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        at.backend_speaks("1.6")
        await at.spoken("1.6")
        await at.charging()
        await at.done()
        await at.csms.away()
        await at.whole.kill_daemon()
        await at.whole.start_daemon()
        assert at.talk.dialect.version == "1.6"
        await asyncio.sleep(5)
        daemon: Any = at.whole.daemon
        await at.whole.plug()
        daemon.charger.feed(RemoteStart(daemon.charger.next_ask(), Token(ANN), 1, local=True))
        await at.whole.until(lambda: at.whole.world.outlets[0].closed)
        await asyncio.sleep(20)
        await at.done()
        await at.csms.back()
        await at.spoken("1.6")
        assert [session.open for session in at.csms.books.sessions] == [False, False]
        assert at.complaints() == []
        assert at.dead == []

    story(tmp_path, play)


def test_before_any_agreement_what_was_put_into_the_wrong_words_is_a_dead_letter(tmp_path: Path) -> None:
    async def play(at: Place) -> None:
        await at.csms.away()
        at.backend_speaks("1.6")
        daemon: Any = at.whole.daemon
        await at.whole.plug()
        await asyncio.sleep(3)
        daemon.charger.feed(RemoteStart(daemon.charger.next_ask(), Token(ANN), 1, local=True))
        await at.whole.until(lambda: at.whole.world.outlets[0].closed)
        queued = sum(row.queue == "transactions" for row in at.talk.outbox.rows())
        assert queued > 0
        await at.csms.back()
        await at.spoken("1.6")
        await at.whole.unplug()
        await asyncio.sleep(5)
        assert not at.talk.outbox.telling
        assert len(at.dead) > queued
        assert len(daemon.store.sessions()) == 1
        assert at.complaints() == []

    story(tmp_path, play)


async def test_over_a_real_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "INSIST", 2)
    csms = Csms(versions=["ocpp2.0.1"])
    csms.tokens[ANN] = Known()
    await csms.start()
    settings = '[ocpp2]\n"OCPPCommCtrlr.RetryBackOffWaitMinimum" = 1\n"OCPPCommCtrlr.RetryBackOffRandomRange" = 0\n'
    settings += '"OCPPCommCtrlr.RetryBackOffRepeatTimes" = 0\n'
    whole = Whole(tmp_path, version='", "'.join(ALL), link=Link, url=csms.url, settings=settings)
    await whole.start()

    def spoken(version: str) -> bool:
        view = csms.stations.get(STATION)
        booted = view is not None and view.registration == "Accepted" and csms.connected(STATION)
        return booted and view is not None and view.version == f"ocpp{version}"

    try:
        await whole.until(lambda: spoken("2.0.1"))
        await whole.plug()
        await asyncio.sleep(1)
        await whole.tap(ANN)
        await whole.until(lambda: whole.world.outlets[0].closed)
        csms.versions = ("ocpp2.1",)
        csms.drop()
        await whole.until(lambda: spoken("2.1"))
        await whole.tap(ANN)
        await whole.until(lambda: not csms.books.sessions[0].open)
        await whole.unplug()
        csms.versions = ("ocpp1.6",)
        csms.drop()
        await whole.until(lambda: spoken("1.6"))
        assert [*csms.books.judge(), *csms.violations()] == []
        await whole.plug()
        await asyncio.sleep(1)
        await whole.tap(ANN)
        await whole.until(lambda: whole.world.outlets[0].closed)
        csms.versions = ("ocpp2.1",)  # 1.6 is refused twice, and then given up
        csms.drop()
        await whole.until(lambda: spoken("2.1"))
        assert csms.violations() == []
    finally:
        await whole.stop()
        await csms.stop()
