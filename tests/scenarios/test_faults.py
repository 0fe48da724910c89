"""A fault is told once when it comes and once when it has gone, whoever was away meanwhile (2.x: N07, G05)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest

from chargerd.core.events import Power
from tests.scenarios.round import BOB, Round, each_version, play
from tests.scenarios.states import State, charging, finished, idle, suspended, vehicle

newer = pytest.mark.parametrize("version", ["2.0.1", "2.1"])
HOT, METER = ("over-temperature", "OverTemperature"), ("meter-silent", "PowerMeterFailure")


async def stopped(at: Round, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await at.whole.stop_daemon()
    await meanwhile()
    await at.whole.start_daemon()


async def crashed(at: Round, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await at.whole.kill_daemon()
    await meanwhile()
    await at.whole.start_daemon()


async def cut(at: Round, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await at.whole.power_cut()
    await meanwhile()
    await at.whole.start()


async def alone(at: Round, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Only the guard is away."""
    at.whole.kill_guard()
    await meanwhile()
    at.whole.start_guard()


AWAY = pytest.mark.parametrize("away", [stopped, crashed, cut, alone], ids=lambda away: away.__name__)


def told(at: Round, name: str) -> list[str]:
    return [value for code, value in at.events() if code == name]


def seconds(at: Round, name: str) -> list[float]:
    """When each event of this fault happened, as the station says."""
    data = [data for notice in at.heard("NotifyEvent") for data in notice["eventData"]]
    return [datetime.fromisoformat(d["timestamp"]).timestamp() for d in data if d["techCode"] == name]


@pytest.mark.req("N07.FR.07")
@newer
@AWAY
@pytest.mark.parametrize(("fault", "name"), [HOT, METER])
def test_a_fault_that_ends_meanwhile(
    tmp_path: Path, version: str, away: Callable[..., Awaitable[None]], fault: str, name: str
) -> None:
    async def story(at: Round) -> None:
        async def meanwhile() -> None:
            await at.wait(5.0)
            await at.fault(fault, active=False)
            await at.wait(5.0)

        await at.fault(fault)
        await at.wait(10.0)
        assert told(at, name) == ["true"]
        before = at.csms.clock()
        await away(at, meanwhile)
        await at.accepted()
        await at.wait(60.0)
        assert told(at, name) == ["true", "false"]
        assert before + 5.0 <= seconds(at, name)[-1] <= before + 30.0
        assert at.status() == "Available"
        await at.crash()
        await at.accepted()
        await at.wait(10.0)
        assert told(at, name) == ["true", "false"]

    play(story, tmp_path, version)


@pytest.mark.req("N07.FR.07")
@newer
@AWAY
def test_a_fault_that_stays_or_comes_meanwhile(
    tmp_path: Path, version: str, away: Callable[..., Awaitable[None]]
) -> None:
    async def story(at: Round) -> None:
        async def meanwhile() -> None:
            await at.wait(5.0)
            await at.fault("over-temperature", outlet=2)
            await at.wait(5.0)

        await at.fault("meter-silent", outlet=2)
        await at.fault("emergency-stop")
        await at.wait(10.0)
        await away(at, meanwhile)
        await at.accepted()
        await at.wait(60.0)
        names = ("PowerMeterFailure", "EmergencyStop", "OverTemperature")
        assert [told(at, name) for name in names] == [["true"]] * 3
        for fault, outlet in (("meter-silent", 2), ("emergency-stop", 1), ("over-temperature", 2)):
            await at.fault(fault, active=False, outlet=outlet)
        await at.wait(30.0)
        assert [told(at, name) for name in names] == [["true", "false"]] * 3

    play(story, tmp_path, version, outlets=2)


@pytest.mark.req("N07.FR.07", "1.6 §4.9", "E06.FR.01")
@each_version
@pytest.mark.parametrize("state", [idle, vehicle, charging, suspended, finished], ids=lambda state: state.__name__)
@AWAY
def test_a_fault_that_takes_time_to_be_found_again_is_not_taken_for_gone(
    tmp_path: Path, version: str, away: Callable[..., Awaitable[None]], state: State
) -> None:
    async def story(at: Round) -> None:
        await state(at)
        await at.fault("over-temperature")
        await at.wait(5.0)
        at.clear()
        await away(at, lambda: at.wait(3.0))
        await at.accepted()
        await at.wait(20.0)
        assert set(at.statuses()) <= {"Faulted"} and at.status() == "Faulted"
        await at.fault("over-temperature", active=False)
        await at.wait(30.0)
        assert at.status() != "Faulted"
        if not at.old:
            assert told(at, "OverTemperature") == ["true", "false"]
        if state is not idle:
            await at.whole.unplug()
            await at.wait(5.0)
        await at.charge(card=BOB)
        await at.whole.unplug()
        await at.wait(5.0)

    play(story, tmp_path, version)


@pytest.mark.req("N07.FR.07")
@newer
def test_what_only_a_technician_ends_holds_over_a_restart(tmp_path: Path, version: str) -> None:
    async def story(at: Round) -> None:
        assert at.whole.daemon is not None
        at.whole.daemon.charger.feed(Power(99, True))
        await at.wait(2.0)
        await at.crash()
        await at.accepted()
        assert told(at, "EventSetAside") == ["true"]
        assert at.state.faults == {"EventSetAside"}
        await at.whole.daemon.operator.clear_fault(0, "EventSetAside", "uid 0")
        await at.wait(2.0)
        await at.crash()
        await at.accepted()
        assert told(at, "EventSetAside") == ["true", "false"]

    play(story, tmp_path, version)
