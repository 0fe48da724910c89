"""The words of `chargerctl why`."""

from __future__ import annotations

from typing import Any

from chargerd.cli.show import Ink
from chargerd.cli.why import why
from tests.daemon.api import WHY

PLAIN = Ink(False)


def test_a_profile_that_decides() -> None:
    assert why([WHY], PLAIN) == (
        "Outlet 1  10.0 A offered on 3 phases: limited by a charging profile of the backend\n"
        "  shares the station's limits with outlet 2: its part is 10.0 A\n"
        "  temperature 41 °C\n"
        "  limits, the least first (A per phase):\n"
        "     10.0  charging profile 8 of the backend (for this transaction, stack level 2, set 2 min ago)"
        "; in 1 min: 16.0 A\n"
        "     20.0  the cable, as coded in its plug\n"
        "     40.0  the station's fuse (station.max_amps), for all outlets together"
    )


def test_a_pause_and_what_the_vehicle_shows() -> None:
    limits: Any = WHY["limits"]
    low = limits[0] | {"amps": 4.0, "changes": 5.0, "then": None, "source": "station-profile"}
    paused = WHY | {
        "offered": 0.0,
        "permitted": 0.0,
        "share": 0.0,
        "sharing": [],
        "decides": "station-profile",
        "limits": [low],
        "celsius": None,
        "uses": [1],
        "sated": True,
    }
    assert why([paused], PLAIN).splitlines()[1:4] == [
        "  paused: 4.0 A would be left, and a vehicle needs 6.0 A here",
        "  the vehicle uses phase L1 only",
        "  the vehicle takes nothing of what it was offered; where others need it, it comes last",
    ]
    assert why([paused], PLAIN).endswith("; in 5 s: none")


def test_the_guard_may_offer_less_and_others_may_not_have_let_go() -> None:
    waiting = WHY | {"permitted": 16.0, "waits": True, "guard": "temperature", "decides": "temperature"}
    assert why([waiting], PLAIN).splitlines()[2:4] == [
        "  gets more as soon as the vehicles at the other outlets have surely let go of it (10 s at most)",
        "  chargerd permits 16.0 A; the guard offers less: limited by temperature: the outlet is hot",
    ]
