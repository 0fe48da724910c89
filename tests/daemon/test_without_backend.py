"""A whole charger without a backend: free charging, local cards, and the history a builder reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chargerd.core.status import Joint, joint
from chargerd.lab.pace import VirtualLoop, run
from chargerd.lab.whole import Whole


def status(whole: Whole, rank: int = 1) -> Joint:
    assert whole.daemon is not None
    return joint(whole.daemon.charger.state, rank)


def test_free_charging_keeps_a_history_with_the_exact_energy(tmp_path: Path) -> None:
    async def story() -> None:
        whole = Whole(tmp_path, mode="free", outlets=2)
        await whole.start()
        await asyncio.sleep(6)
        await whole.plug(1)
        await whole.until(lambda: status(whole) is Joint.CHARGING)
        await asyncio.sleep(600)
        await whole.unplug(1)
        await whole.until(lambda: status(whole) is Joint.AVAILABLE)
        assert whole.daemon is not None
        (session,) = whole.daemon.store.sessions()
        vehicle = whole.world.audit()[0].connections[0]
        assert session.start_wh is not None
        assert session.end_wh is not None
        assert abs(session.end_wh - session.start_wh - vehicle.energy) < 0.01
        assert session.end_wh - session.start_wh > 3000
        assert (session.reason, session.outlet) == ("vehicle-out", 1)
        await whole.stop()

    run(VirtualLoop(1000.0), story())


def test_local_cards_survive_a_restart_and_strangers_get_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        whole = Whole(tmp_path, mode="cards")
        await whole.start()
        await asyncio.sleep(6)
        assert whole.daemon is not None
        await whole.daemon.operator.add_card("04A2B3C4", None)
        await whole.kill_daemon()
        await whole.start_daemon()
        await asyncio.sleep(1)
        await whole.plug(1)
        await asyncio.sleep(1)
        await whole.tap("04FFFFFF")
        await asyncio.sleep(20)
        assert status(whole) is Joint.PREPARING
        await whole.tap("04A2B3C4")
        await whole.until(lambda: status(whole) is Joint.CHARGING)
        await asyncio.sleep(5)
        await whole.tap("04A2B3C4")
        await whole.until(lambda: status(whole) is Joint.FINISHING)
        assert [s.reason for s in whole.daemon.store.sessions()] == ["local"]
        await whole.stop()

    run(VirtualLoop(1000.0), story())


def test_a_power_cut_while_charging_ends_the_session_with_the_register_of_now(tmp_path: Path) -> None:
    async def story() -> None:
        whole = Whole(tmp_path, mode="free")
        await whole.start()
        await asyncio.sleep(6)
        await whole.plug(1)
        await whole.until(lambda: status(whole) is Joint.CHARGING)
        await asyncio.sleep(60)
        await whole.power_cut()
        await whole.start()
        await asyncio.sleep(30)
        assert whole.daemon is not None
        sessions = whole.daemon.store.sessions()
        assert [s.reason for s in sessions][-1] == "power-loss"
        assert whole.world.audit()[0].unsafe == 0
        await whole.stop()

    run(VirtualLoop(1000.0), story())
