"""The meter is changed, reset or lies while a vehicle charges: what is told of its register, and what is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.round import Round, play


def warned(at: Round, name: str) -> list[bool]:
    """The comings and goings of a warning as the backend heard of them."""
    if at.old:
        heard = [
            name in (said.get("vendorErrorCode", ""), *said.get("info", "").split(", "))
            for said in at.heard("StatusNotification")
            if said["connectorId"] == 1
        ]
        return [now for now, before in zip(heard, [False, *heard], strict=False) if now is not before]
    return [value == "true" for code, value in at.events() if code == name]


def faults(at: Round) -> frozenset[str]:
    return at.state.outlet(1).live.faults


@pytest.mark.parametrize(("version", "shows"), [("1.6", 0.0), ("2.0.1", 777_000.0)])
def test_another_meter_in_the_middle_of_a_transaction(tmp_path: Path, version: str, shows: float) -> None:
    async def story(at: Round) -> None:
        meter = at.whole.world.outlets[0]
        await at.charge()
        await at.wait(60.0)
        first = meter.energy
        await at.whole.sim("meter", outlet=1, energy=shows)
        await at.wait(30.0)
        assert faults(at) == {"MeterReplaced"}
        assert at.view.status(1) in ("Charging", "Occupied"), "it goes on"
        await at.wait(10.0)
        await at.tap()
        await at.until(lambda: len(at.ends()) == 1)
        (session,) = at.csms.books.sessions
        told = [reading.wh for reading in sorted(session.readings, key=lambda one: one.time)]
        assert told == sorted(told)
        assert session.begin_wh is not None
        counted = first - session.begin_wh + meter.energy - shows
        assert session.energy_wh == pytest.approx(counted, abs=20.0), "but for the moments in between"
        assert warned(at, "MeterReplaced") == [True]
        await at.crash()
        await at.wait(15.0)
        assert faults(at) == {"MeterReplaced"}, "it outlives a restart"
        daemon = at.whole.daemon
        assert daemon is not None
        last = (await daemon.operator.status())["outlets"][0]["reading"]
        assert last["energy"] >= told[-1] - 1.0
        assert last["shown"] == pytest.approx(meter.energy, abs=1.0)
        await daemon.operator.clear_fault(1, "MeterReplaced", "me")
        await at.wait(5.0)
        assert faults(at) == frozenset()
        assert (warned(at, "MeterReplaced")[0], warned(at, "MeterReplaced")[-1]) == (True, False)
        await at.crash()
        await at.wait(15.0)
        assert faults(at) == frozenset()

    play(story, tmp_path, version)


def test_a_meter_that_leaps_once_is_not_believed(tmp_path: Path) -> None:
    async def story(at: Round) -> None:
        await at.charge()
        true = at.whole.world.outlets[0].energy
        await at.whole.sim("meter", outlet=1, energy=true + 50_000.0)
        await at.wait(1.2)
        await at.whole.sim("meter", outlet=1, energy=true + 10.0)
        await at.wait(30.0)
        await at.tap()
        await at.until(lambda: len(at.ends()) == 1)
        (session,) = at.csms.books.sessions
        assert session.energy_wh is not None and session.energy_wh < 1000.0
        assert faults(at) == frozenset()

    play(story, tmp_path, "1.6")
