"""How sleeping vehicles are woken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chargerd.guard.pilot import X1, F
from chargerd.guard.setup import Fitted, OutletSetup
from chargerd.protection import Protection
from tests.guard.bench import PERIOD, USUAL, Bench

RELAY = Fitted(relay=True)


def waiting(way: str, fitted: Fitted = RELAY, wake_ups: int = 3) -> Bench:
    protection = Protection(wake_after=10.0, wake_ups=wake_ups)
    bench = Bench(replace(USUAL, wake_up=way, fitted=fitted, protection=protection))
    bench.level = "B"
    bench.run(2.0)
    bench.permit()
    bench.until("drive=0.266")
    return bench


@pytest.mark.req("IEC 61851-1 A.5.3")
@pytest.mark.parametrize(
    ("way", "fitted", "drive", "cut"),
    [
        ("auto", RELAY, X1, True),
        ("auto", Fitted(), F, False),
        ("disconnect", RELAY, X1, True),
        ("f", RELAY, F, False),
        ("x1", RELAY, X1, False),
    ],
)
def test_the_pulse(way: str, fitted: Fitted, drive: float, cut: bool) -> None:
    bench = waiting(way, fitted)
    plug = bench.state.plug
    assert 10.0 - 1e-6 <= bench.until(f"drive={drive}") <= 10.04
    assert (bench.state.limit, bench.out.disconnect) == ("wake-up", cut)
    for _ in range(round(4.0 / PERIOD) - 1):
        bench.cycle()
        assert (bench.out.drive, bench.out.disconnect) == (drive, cut)
    bench.cycle()
    assert (bench.out.drive, bench.out.disconnect) == (X1, False)
    assert 0.75 - 0.04 <= bench.until("drive=0.266") <= 0.79
    assert bench.state.plug == plug and not bench.faults()
    bench.level = "C"
    assert 0.3 <= bench.until("coil") <= 0.36


def test_never_where_it_is_off() -> None:
    bench = waiting("off")
    bench.run(60.0)
    assert bench.out.drive == 0.266


def pulses(bench: Bench, seconds: float) -> int:
    found, was = 0, False
    for _ in range(round(seconds / PERIOD)):
        bench.cycle()
        found += bench.state.wake_at is not None and not was
        was = bench.state.wake_at is not None
    return found


def test_one_an_offer_and_a_few_a_vehicle() -> None:
    bench = waiting("disconnect", wake_ups=2)
    assert pulses(bench, 60.0) == 1
    for expected in (1, 0, 0):
        bench.permit(0.0)
        bench.run(5.0)
        bench.permit()
        assert pulses(bench, 60.0) == expected
    bench.level = "A"
    bench.run(1.0)
    bench.level = "B"
    bench.run(2.0)
    bench.permit()
    assert pulses(bench, 60.0) == 1


def test_a_vehicle_that_has_answered_sleeps_not() -> None:
    bench = waiting("disconnect")
    bench.level = "C"
    bench.run(2.0)
    bench.level = "B"
    assert pulses(bench, 60.0) == 0


@pytest.mark.parametrize("way", ["f", "x1", "disconnect"])
def test_a_permit_that_ends_ends_the_pulse_and_the_next_offer_waits(way: str) -> None:
    bench = waiting(way)
    bench.run(10.5)
    assert bench.state.wake_at is not None
    bench.permit(0.0)
    bench.run(2 * PERIOD)
    assert (bench.out.drive, bench.out.disconnect) == (X1, False)
    bench.permit()
    assert bench.until("drive=0.266") >= 2.3  # 3 s since it was last offered anything


@pytest.mark.parametrize("level", ["A", "B", "C"])
def test_what_the_board_sees_meanwhile_is_its_own_generator(level: str) -> None:
    bench = waiting("disconnect")
    bench.run(10.5)
    assert bench.out.disconnect
    bench.level = level
    events = len(bench.events)
    bench.run(3.0)
    assert bench.out.disconnect and bench.events[events:] == []
    bench.run(1.0)
    assert (bench.state.plug == 0) is (level == "A")
    assert bench.state.ready is (level == "C")


def test_a_relay_that_takes_nothing_away_is_a_warning() -> None:
    bench = waiting("disconnect")
    bench.relay_stuck = True
    bench.run(11.0)
    assert bench.state.warnings == {"PilotRelayStuck"} and not bench.faults()
    bench.run(5.0)
    assert not bench.state.warnings


def test_the_ways_are_named() -> None:
    with pytest.raises(ValueError, match="one of 'auto', 'disconnect', 'f', 'x1', 'off'"):
        OutletSetup(evse=1, wake_up="shout")
