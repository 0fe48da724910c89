"""What a person sees and does, on a whole charger in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from chargerd.core.events import ListSent, Power, ProfileSet, ReserveAsked, SetAsked, Storage
from chargerd.core.profiles import Kind, Period, Profile, Purpose, Schedule, Unit
from chargerd.core.token import Standing, Token, Verdict
from chargerd.daemon.control import BadParams, Refused
from chargerd.daemon.operator import Operator
from chargerd.daemon.store import Batch
from chargerd.lab.csms import Csms
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import EPOCH, Whole
from chargerd.ocpp.outbox import Changes, Row

CARD = "04A1B2C3"
Story = Callable[[Whole, Operator], Coroutine[Any, Any, None]]


def play(tmp_path: Path, story: Story, **options: Any) -> None:
    async def job() -> None:
        whole = Whole(tmp_path, **options)
        await whole.start()
        assert whole.daemon is not None
        await whole.until(lambda: all(o.live.known for o in _state(whole).outlets))
        await asyncio.sleep(10)  # the guard paces its first pilot as if one had been there
        await story(whole, whole.daemon.operator)
        await whole.stop()

    run(VirtualLoop(1000.0), job())


def _state(whole: Whole) -> Any:
    assert whole.daemon is not None
    return whole.daemon.charger.state


async def _charging(whole: Whole) -> None:
    await whole.until(lambda: bool(_state(whole).outlets[0].live.powered))


def test_a_card_is_learned_charges_and_is_shortened_everywhere(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        learned: list[Any] = []
        news: list[Any] = []
        operator.watch(news.append)
        assert await operator.learn_card(learned.append) == {"seconds": 30.0}
        with pytest.raises(Refused, match="already"):
            await operator.learn_card(learned.append)
        await whole.tap(CARD)
        await whole.until(lambda: bool(learned))
        assert learned == [{"card": "…B2C3", "known": False, "why": ""}]
        assert await operator.cards() == [{"card": "…B2C3", "group": None}]

        await whole.plug(max_amps=16)
        await operator.tap(CARD.lower(), None)
        await _charging(whole)
        await whole.until(lambda: _state(whole).outlets[0].live.reading.energy > 100, 200)
        seen = await operator.status()
        (outlet,) = seen["outlets"]
        assert (outlet["status"], outlet["limit"]) == ("Charging", "outlet")
        assert outlet["plug"] and outlet["powered"]
        assert outlet["lamp"] == {"word": "charging", "looks": "blue, steady"}
        assert outlet["offered"] == pytest.approx(32, abs=0.2)
        assert outlet["transaction"]["token"] == outlet["token"] == "…b2c3"
        assert outlet["transaction"]["energy_wh"] > 100
        assert outlet["transaction"]["state"] == "charging"
        assert seen["link"] is None and seen["guard"]["connected"] and seen["clock"]["trusted"]

        await operator.stop(1)
        await whole.until(lambda: any(e["kind"] == "session" for e in news))
        with pytest.raises(Refused, match="no transaction"):
            await operator.stop(1)
        assert (await operator.status())["outlets"][0]["limit"] == "finished"
        (session,) = await operator.sessions(10, 0.0)
        assert (session["token"], session["reason"], session["trusted"]) == ("…b2c3", "local", True)
        assert session["energy_wh"] == next(e["energy_wh"] for e in news if e["kind"] == "session") > 100
        assert [(e["was"], e["status"]) for e in news if e["kind"] == "status"] == [
            ("Available", "Preparing"),
            ("Preparing", "Charging"),
            ("Charging", "Finishing"),
        ]
        told = json.dumps([seen, news, session, learned, await operator.cards()])
        assert CARD.casefold() not in told.casefold()
        assert {"card", "plug", "transaction", "refused"} <= {e["kind"] for e in news}

    play(tmp_path, story)


def test_nobody_taps_and_the_learning_ends(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        learned: list[Any] = []
        await operator.learn_card(learned.append)
        await whole.until(lambda: bool(learned), 40)
        assert learned[0]["card"] is None and "30 s" in learned[0]["why"]
        await operator.learn_card(learned.append)
        await whole.tap(CARD)
        await whole.until(lambda: len(learned) == 2)

    play(tmp_path, story)


def test_cache_list_and_reservations_are_shown_and_the_cache_is_changed(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        await operator.put_in_cache(CARD, "FAMILY", "Accepted")
        await operator.put_in_cache("05D4E5F6", None, "Blocked")
        ann = {"card": "…B2C3", "status": "Accepted", "group": "FAMILY", "expires": None}
        bob = {"card": "…E5F6", "status": "Blocked", "group": None, "expires": None}
        assert await operator.cache() == {"enabled": True, "entries": [ann, bob]}
        await operator.clear_cache()
        assert (await operator.cache())["entries"] == []

        assert whole.daemon is not None
        charger, now = whole.daemon.charger, EPOCH + asyncio.get_running_loop().time()
        over = Verdict(Standing.ACCEPTED, None, now - 1)
        await charger.ask(lambda n: ListSent(n, 7, True, ((CARD, over),)))
        told = await operator.local_list()
        assert (told["version"], [entry["status"] for entry in told["entries"]]) == (7, ["Expired"])
        await charger.ask(lambda n: ReserveAsked(n, 17, Token(CARD), 1, now + 60))
        (kept,) = await operator.reservations()
        assert (kept["number"], kept["card"], kept["outlet"], kept["group"]) == (17, "…B2C3", 1, None)
        assert CARD not in json.dumps([told, kept])

        await charger.ask(lambda n: SetAsked(n, (("auth_cache_enabled", "false"),)))
        for change in (operator.put_in_cache(CARD, None, "Accepted"), operator.clear_cache()):
            with pytest.raises(Refused, match="switched off"):
                await change

    play(tmp_path, story)


def test_cards_are_added_and_removed_by_their_end(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        for card, group in (("04A1B2C3", None), ("05A1B2C3", "FLEET"), ("AA11", None)):
            await operator.add_card(card, group)
        assert [row["group"] for row in await operator.cards()] == [None, "FLEET", None]
        for unclear, why in (
            ("B2C3", "2 cards end"),
            ("2C3", "at least the last 4"),
            ("A1", "no such"),
            ("ZZZZ", "no such"),
        ):
            with pytest.raises(Refused, match=why):
                await operator.remove_card(unclear)
        await operator.remove_card("5a1b2c3")
        await operator.remove_card("AA11")
        assert list(_state(whole).cards) == ["04a1b2c3"]

    play(tmp_path, story)


def test_start_without_a_card_and_what_it_waits_for(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        await operator.start(2, None)
        outlet = (await operator.status())["outlets"][1]
        assert (outlet["token"], outlet["limit"]) == ("LOCAL", "no-vehicle")
        with pytest.raises(Refused, match="outlet 2 is Preparing"):
            await operator.start(2, None)
        with pytest.raises(BadParams, match=r"1\.\.2"):
            await operator.start(3, None)
        with pytest.raises(BadParams, match="1, 2"):
            await operator.tap(CARD, 3)
        await whole.plug(1)
        await whole.until(lambda: _state(whole).outlets[0].live.plug != 0)
        assert (await operator.status())["outlets"][0]["limit"] == "no-card"

    play(tmp_path, story, outlets=2)


def test_a_card_before_the_cable_waits_in_the_lobby(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        await operator.add_card(CARD, None)
        await operator.tap(CARD, None)
        lobby = (await operator.status())["lobby"]
        assert lobby["token"] == "…B2C3" and 0 < lobby["wait"] <= 120

    play(tmp_path, story, outlets=2)


def test_a_fault_is_seen_and_cleared_by_the_guard_alone(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        news: list[Any] = []
        stop = operator.watch(news.append)
        await whole.sim("fault", outlet=1, fault="emergency-stop")
        await whole.until(lambda: "EmergencyStop" in _state(whole).outlets[0].live.faults)
        seen = await operator.status()
        assert seen["faults"] == [{"outlet": 1, "fault": "EmergencyStop"}]
        assert seen["outlets"][0]["lamp"] == {"word": "fault", "looks": "red, steady"}
        assert (seen["outlets"][0]["status"], seen["outlets"][0]["limit"]) == ("Faulted", "no-vehicle")
        (risen,) = [e for e in news if e["kind"] == "fault"]
        assert (risen["outlet"], risen["fault"], risen["active"]) == (1, "EmergencyStop", True)
        with pytest.raises(Refused, match="it has EmergencyStop"):
            await operator.clear_fault(1, "ContactorWelded", "uid 0")
        await operator.clear_fault(1, "EmergencyStop", "uid 0")
        stop()
        heard = len(news)
        await operator.sim("sim.emergency_stop", {"pressed": False})
        await whole.until(lambda: not _state(whole).outlets[0].live.faults)
        assert len(news) == heard
        with pytest.raises(Refused, match="unknown parameter"):
            await operator.sim("sim.plug", {"nonsense": 1})

    play(tmp_path, story)


def test_the_link_is_held_down_and_let_go(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        await whole.until(lambda: _state(whole).online)
        link = await operator.link()
        assert (link["phase"], link["version"], link["held_down"]) == ("open", "1.6", False)
        await operator.force_link(False)
        await whole.until(lambda: not _state(whole).online)
        assert (await operator.link())["held_down"]
        await operator.add_card(CARD, None)
        await operator.tap(CARD, None)
        await whole.plug()
        await _charging(whole)
        queue = await operator.queue()
        assert queue["waiting"] >= 1 and queue["oldest"]["kind"] == "start" and queue["kinds"]["start"] == 1
        assert (await operator.status())["queue"]["waiting"] == queue["waiting"]
        await operator.force_link(None)
        await whole.until(lambda: _state(whole).online)
        assert not (await operator.link())["held_down"]

    play(tmp_path, story, csms=Csms())


def test_without_a_backend_there_is_no_link_to_force(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        assert await operator.link() is None
        with pytest.raises(Refused, match="no backend"):
            await operator.force_link(True)

    play(tmp_path, story)


def test_dead_letters_are_counted_without_the_disk_and_shown(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        assert whole.daemon is not None
        store, at = whole.daemon.store, whole.daemon.clock.now()
        row = Row(id=1 << 40, queue="transactions", tx="t", kind="start", facts={}, at=at, attempts=3)
        await store.commit(Batch(outbox=Changes(dead=(row,))))
        assert (await operator.status())["queue"]["dead"] == 1
        (letter,) = (await operator.queue())["letters"]
        assert (letter["kind"], letter["tx"], letter["attempts"]) == ("start", "t", 3)

    play(tmp_path, story)
    play(tmp_path, _one_dead)


async def _one_dead(whole: Whole, operator: Operator) -> None:
    assert (await operator.status())["queue"]["dead"] == 1


def test_settings_are_shown_and_secrets_are_not(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        (one,) = await operator.variables("HEARTBEATINTERVAL")
        assert one == (await operator.variables("heartbeat_interval"))[0]
        assert (one["value"].isdigit(), one["from"], one["access"]) == (True, "default", "ReadWrite")
        every = await operator.variables(None)
        assert {row["value"] for row in every if row["access"] == "WriteOnly"} == {None}
        with pytest.raises(BadParams, match="no such variable"):
            await operator.variables("nonsense")
        config = await operator.config()
        assert config["station"]["id"] == "CS-0001"
        assert "password" not in config["csms"]
        json.dumps([every, config], allow_nan=False)

    play(tmp_path, story)


def test_the_lock_lets_go_unless_somebody_charges(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        await operator.unlock(1)
        await whole.plug()
        await operator.start(1, None)
        await whole.until(lambda: whole.world.outlets[0].closed)
        with pytest.raises(Refused, match="chargerctl stop 1"):
            await operator.unlock(1)
        with pytest.raises(BadParams):
            await operator.unlock(2)

    play(tmp_path, story)


def test_a_fault_of_the_program_is_shown_and_cleared(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        assert whole.daemon is not None
        with pytest.raises(Refused, match="has no fault"):
            await operator.clear_fault(0, "EventSetAside", "uid 0")
        whole.daemon.charger.feed(Power(99, True))
        assert (await operator.status())["faults"] == [{"outlet": 0, "fault": "EventSetAside"}]
        await operator.clear_fault(0, "EventSetAside", "uid 0")
        assert (await operator.status())["faults"] == []
        whole.daemon.charger.feed(Storage(False))
        with pytest.raises(Refused, match="by itself"):
            await operator.clear_fault(0, "StorageFailure", "uid 0")

    play(tmp_path, story)


def test_a_soft_reset_ends_the_process_with_its_code(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        assert whole.daemon is not None
        assert await operator.reset("soft") == {"outcome": "accepted"}
        assert await whole.daemon.exit == 64

    play(tmp_path, story)


def test_shutdown_leaves_time_for_the_answer(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        assert whole.daemon is not None
        await operator.shutdown()
        assert not whole.daemon.exit.done()
        assert await whole.daemon.exit == 0

    play(tmp_path, story)


def test_a_watcher_that_fails_disturbs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        def broken(body: Any) -> None:
            raise ZeroDivisionError

        operator.watch(broken)
        await whole.plug()
        await whole.until(lambda: _state(whole).outlets[0].live.plug != 0)

    play(tmp_path, story)
    assert "could not be shown" in caplog.text


def test_profiles_that_no_backend_clears_any_more_are_cleared_by_hand(tmp_path: Path) -> None:
    async def story(whole: Whole, operator: Operator) -> None:
        assert whole.daemon is not None
        schedule = Schedule(Unit.AMPERES, (Period(0, 8.0),))
        profile = Profile(8, 0, Purpose.STATION_MAX, Kind.RELATIVE, schedule)
        await whole.daemon.charger.ask(lambda ask: ProfileSet(ask, 0, profile))
        (told,) = await operator.why()
        assert told["limits"][0]["amps"] == 8.0
        assert await operator.clear_profiles() == {"cleared": 1}
        (told,) = await operator.why()
        assert told["limits"][0]["source"] == "outlet"
        assert await operator.clear_profiles() == {"cleared": 0}

    play(tmp_path, story)
