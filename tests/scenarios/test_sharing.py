"""Vehicles of every manner at one station: what they draw together never exceeds what the station may have."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from chargerd.lab import limits
from chargerd.lab.roaming import Token
from tests.scenarios.round import Round, play

CARDS = ("04A1B2C3", "04D4E5F6", "04CCCCCC")
ROTATION = ("RST", "STR", "TRS")
FUSE = 40.0
FOLLOWS = 11.0  # s: 5 until a lower offer is on the pilot, 5 of the vehicle, and a turn
MANNERS: dict[str, dict[str, Any]] = {
    "usual": {},
    "one phase": {"phases": 1},
    "full power at once": {"abrupt": True, "ramp": 1000},
    "slow to follow": {"reaction": 4.9},
    "not below 10 A": {"min_amps": 10},
    "full soon": {"energy": 600},
    "one phase, full power at once": {"phases": 1, "abrupt": True},
    "leaves soon": {"departure": 150},
}


class Watch:
    """Looks at every turn of the guard, at what the world's vehicles draw on each phase of the station."""

    def __init__(self, at: Round) -> None:
        self._at = at
        self._limits: deque[tuple[float, float]] = deque([(0.0, FUSE)])  # since when, A
        self.worst = 0.0
        self.most = 0.0
        at.whole.on_turn = self._look

    def limit(self, amps: float) -> None:
        self._limits.append((self._at.whole.loop.time(), min(amps, FUSE)))

    def _look(self, now: float) -> None:
        while len(self._limits) > 1 and self._limits[1][0] + FOLLOWS < now:
            self._limits.popleft()
        allowed = max(amps for _, amps in self._limits)
        loads = dict.fromkeys("RST", 0.0)
        for outlet, rotation in zip(self._at.whole.world.outlets, ROTATION, strict=True):
            if outlet.car is not None and outlet.closed:
                for letter, amps in zip(rotation, outlet.car.amps(now), strict=True):
                    loads[letter] += amps
        self.most = max(self.most, *loads.values())
        self.worst = max(self.worst, *(load - allowed for load in loads.values()))


def profile(at: Round, words: str) -> tuple[int, Any]:
    return limits.profile(words.split(), at.whole.wall())


@pytest.mark.req("1.6 §3.12.3")
def test_what_a_slow_vehicle_still_takes_nobody_else_is_given(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        at.csms.tokens |= {card: Token() for card in CARDS}
        watch = Watch(at)
        watch.limit(20.0)
        await at.desk.set_profile(*profile(at, "0 max 20A id=9"))
        for outlet, manners in ((1, {"reaction": 4.9}), (2, {"abrupt": True, "reaction": 0.2})):
            await at.plug(outlet, **manners)
            await at.desk.remote_start(CARDS[outlet - 1], outlet)
        await at.wait(40)
        assert [round(o.car.amps(at.whole.loop.time())[0]) for o in at.whole.world.outlets[:2] if o.car] == [10, 10]
        await at.desk.set_profile(*profile(at, "1 tx 6A"))
        await at.wait(5)
        assert at.state.outlet(2).live.permit == (at.state.outlet(2).live.plug, 10.0, 3, True)
        await at.wait(15)
        assert watch.worst <= 0.05
        assert watch.most == pytest.approx(20.0, abs=0.1)
        assert at.whole.world.outlets[1].car is not None
        assert at.whole.world.outlets[1].car.amps(at.whole.loop.time())[0] == pytest.approx(14.0, abs=0.1)
        for outlet in (1, 2):
            await at.whole.unplug(outlet)
        await at.wait(10)

    play(story, tmp_path, "1.6", outlets=3, max_amps=FUSE)


@pytest.mark.req("1.6 §3.12.3", "1.6 §9.1.21")
@pytest.mark.parametrize("seed", range(2))
def test_together_they_never_draw_more_than_the_station_may_have(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    async def story(at: Round) -> None:
        at.csms.tokens |= {card: Token() for card in CARDS}
        watch = Watch(at)
        plugged: set[int] = set()
        for _ in range(14):
            outlet = chance.randint(1, 3)
            match chance.choice(("car", "car", "car", "station", "station", "transaction", "nothing")):
                case "car" if outlet in plugged:
                    await at.whole.unplug(outlet)
                    plugged.discard(outlet)
                case "car":
                    await at.plug(outlet, **MANNERS[chance.choice(list(MANNERS))])
                    await at.desk.remote_start(CARDS[outlet - 1], outlet)
                    plugged.add(outlet)
                case "station":
                    amps = chance.choice((0, 6, 9.5, 13, 20, 32, 50))
                    watch.limit(amps)
                    await at.desk.set_profile(*profile(at, f"0 max {amps}A"))
                case "transaction":
                    await at.desk.set_profile(*profile(at, f"{outlet} tx {chance.choice((0, 7, 12, 32))}A id={outlet}"))
            await at.wait(chance.choice((1, 4, 12, 20, 40)))
        assert watch.worst <= 0.05
        assert watch.most > 6.0
        for outlet in plugged:
            await at.whole.unplug(outlet)
        await at.wait(20)

    rotation = ",".join(f"{rank}.{letters}" for rank, letters in enumerate(ROTATION, 1))
    settings = f'[ocpp16]\nConnectorPhaseRotation = "{rotation}"\n'
    play(story, tmp_path, "1.6", outlets=3, max_amps=FUSE, settings=settings)
