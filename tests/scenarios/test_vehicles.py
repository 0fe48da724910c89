"""Vehicles as they are: with needs and habits of their own, under limits that change."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargerd.lab import limits
from tests.scenarios.round import ANN, BOB, Round, play


async def limit(at: Round, words: str) -> None:
    assert await at.desk.set_profile(*limits.profile(words.split(), at.whole.wall())) == "Accepted"


def amps(at: Round, outlet: int = 1) -> list[float]:
    """What the vehicle draws on each phase."""
    car = at.whole.world.outlets[outlet - 1].car
    wired = at.whole.world.outlets[outlet - 1]
    three = wired.second.closed or not wired.setup.switching
    assert car is not None
    drawn = car.amps(at.whole.loop.time()) if wired.closed else (0.0, 0.0, 0.0)
    return [round(each, 1) for each in (drawn if three else (drawn[0], 0.0, 0.0))]


async def away(at: Round, *outlets: int) -> None:
    for outlet in outlets or (1,):
        await at.whole.unplug(outlet)
    await at.wait(15)


@pytest.mark.req("1.6 §7.14")
def test_a_profile_that_names_one_phase_switches_the_others_off_and_on_again(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        assert amps(at) == [32.0] * 3
        at.clear()
        await at.wait(120)  # after its first choice
        await limit(at, "1 tx 16A phases=1")
        await at.wait(40)
        assert amps(at) == [16.0, 0.0, 0.0]
        assert at.statuses() == ["SuspendedEVSE", "Charging"]
        await limit(at, "1 tx 10A phases=3")
        await at.wait(40)
        assert amps(at) == [10.0, 0.0, 0.0]  # not again so soon
        await at.wait(120)
        assert amps(at) == [10.0] * 3
        assert (await at.desk.get("ConnectorSwitch3to1PhaseSupported")) == {"ConnectorSwitch3to1PhaseSupported": "true"}
        await away(at)

    play(story, tmp_path, "1.6", switching=True)


def test_watts_that_suffice_for_one_phase_only_are_given_on_one(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.plug()
        await limit(at, "1 default 2990W")
        await at.tap()
        await at.wait(40)
        assert amps(at) == [13.0, 0.0, 0.0]
        await limit(at, "1 default 6900W")
        await at.wait(160)
        assert amps(at) == [10.0] * 3
        await limit(at, "1 default 1000W")
        await at.wait(160)
        assert amps(at) == [0.0] * 3
        await limit(at, "1 default 3680W")
        await at.wait(160)
        assert amps(at) == [16.0, 0.0, 0.0]
        await away(at)

    play(story, tmp_path, "1.6", switching=True, each='phase_switch = "auto"')


def test_phases_are_switched_only_a_few_times_for_a_vehicle(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        seen = []
        for phases in (1, 3, 1, 3):
            await limit(at, f"1 tx 16A phases={phases}")
            await at.wait(100)
            seen.append(amps(at))
        assert seen == [[16.0, 0.0, 0.0], [16.0] * 3, [0.0] * 3, [16.0] * 3]
        await away(at)
        await at.plug()
        await at.tap()
        await limit(at, "1 default 10A phases=1")
        await at.wait(120)
        assert amps(at) == [10.0, 0.0, 0.0]
        await away(at)

    play(story, tmp_path, "1.6", switching=True, settings="[protection]\nphase_switches = 2\nphase_rest = 60\n")


def test_where_vehicles_need_more_than_6_a_less_is_a_pause(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.plug(min_amps=10)
        await at.tap()
        await at.wait(15)
        await limit(at, "1 tx 8A")
        await at.wait(15)
        assert (amps(at), at.status()) == ([0.0] * 3, "SuspendedEVSE")
        await limit(at, "1 tx 11A")
        await at.wait(15)
        assert (amps(at), at.status()) == ([11.0] * 3, "Charging")
        await away(at)

    play(story, tmp_path, "1.6", each="min_amps = 10")


def test_where_vehicles_need_much_to_begin_they_go_on_with_less(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.plug()
        await limit(at, "0 default 8A")
        await at.tap()
        await at.wait(15)
        assert (amps(at), at.status()) == ([0.0] * 3, "SuspendedEVSE")
        await limit(at, "0 default 13A")
        await at.wait(15)
        assert amps(at) == [13.0] * 3
        await limit(at, "0 default 8A")
        await at.wait(15)
        assert amps(at) == [8.0] * 3
        await away(at)

    play(story, tmp_path, "1.6", each="begin_amps = 12")


def test_a_vehicle_that_fell_asleep_in_a_pause_is_woken_and_charges(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        await limit(at, "1 tx 0A")
        await at.wait(30)
        assert at.status() == "SuspendedEVSE"
        await at.whole.sim("vehicle", outlet=1, step="sleep")
        await limit(at, "1 tx 16A")
        await at.wait(20)
        assert amps(at) == [0.0] * 3
        await at.wait(60)
        assert (amps(at), at.status()) == ([16.0] * 3, "Charging")
        await away(at)

    play(story, tmp_path, "1.6")


def test_a_vehicle_that_is_full_makes_room_for_the_next(tmp_path: Path) -> None:
    """There is enough for one at a time."""

    async def story(at: Round) -> None:
        await limit(at, "0 max 10A")
        await at.plug(1, energy=100)
        await at.tap(ANN)
        await at.plug(2)
        await at.tap(BOB)
        await at.wait(10)
        assert (amps(at, 1), amps(at, 2)) == ([10.0] * 3, [0.0] * 3)
        await at.wait(90)
        assert (amps(at, 1), amps(at, 2)) == ([0.0] * 3, [10.0] * 3)
        await away(at, 1, 2)

    play(story, tmp_path, "1.6", outlets=2)


@pytest.mark.req("1.6 §9.1.21")
def test_what_a_vehicle_on_one_phase_leaves_free_goes_to_another(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.plug(1, phases=1)
        await at.tap(ANN)
        await at.plug(2, phases=1)
        await at.tap(BOB)
        await at.wait(25)
        assert (amps(at, 1)[0], amps(at, 2)[0]) == (10.0, 10.0)
        await at.wait(60)  # until it is clear that they use no other
        assert (amps(at, 1)[0], amps(at, 2)[0]) == (20.0, 20.0)
        await away(at, 1, 2)

    rotation = '[ocpp16]\nConnectorPhaseRotation = "1.RST,2.STR"\n'
    play(story, tmp_path, "1.6", outlets=2, max_amps=20.0, settings=rotation)
