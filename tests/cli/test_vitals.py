"""How the guard keeps its time, as a technician reads it."""

from __future__ import annotations

from typing import Any

import pytest

from chargerd.cli import show
from chargerd.cli.vitals import vitals
from tests.daemon import api

PLAIN = show.Ink(False)


def test_a_guard_that_does_well() -> None:
    seen = api.vitals(opened=3, command=[0.04, 0.0402, 0.0402], mirror=[0.06, 0.0603, 0.0603])
    assert vitals(seen, PLAIN) == (
        "Guard up 3 h 12 min · real-time · memory locked\n"
        "576,000 turns, 0 missed; no pause in which a contactor let go\n"
        "1.8 % of a core, 18.9 MiB; 212 modules, none of them loaded since it was ready\n"
        "\n"
        "ms           median     99 %    worst   in the last minutes\n"
        "late           0.06     0.22     0.93   from when a turn was due to when it began\n"
        "jitter         0.02     0.13     0.90   by which the period of 20 ms was off\n"
        "exchange       0.21     0.42     1.20   with the board: put out, then sample\n"
        "turn           0.42     0.83     1.87   all of it\n"
        "late           0.06     0.26     3.38   since the start\n"
        "\n"
        "A vehicle stopped asking while it charged: 3 times since the start\n"
        "command       40.00    40.20    40.20   to the contactor\n"
        "contact       60.00    60.30    60.30   until its mirror contact showed it open"
    )


@pytest.mark.parametrize(
    ("wrong", "seen", "advice"),
    [
        ({"fifo": False}, "not real-time", "LimitRTPRIO=40"),
        ({"locked": False}, "memory may be swapped", "LimitMEMLOCK=infinity"),
        ({"late": [0.001, 0.006, 0.03]}, "6.00", "low voltage"),
        ({"grown": 2}, "2 of them loaded since", "report this"),
        ({"pauses": 4}, "4 pauses in which the contactors let go", ""),
    ],
)
def test_what_is_wrong_is_named_with_what_helps(wrong: dict[str, Any], seen: str, advice: str) -> None:
    text = vitals(api.vitals(**wrong), PLAIN)
    assert seen in text and advice in text


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (api.vitals(), "0.2 ms late at most in 99 turns of 100"),
        (api.vitals(fifo=False), "not real-time: chargerctl guard"),
        (api.vitals(locked=False), "memory may be swapped: chargerctl guard"),
        (api.vitals(late=None), ""),
    ],
)
def test_one_line_of_the_status(seen: Any, told: str) -> None:
    guard = {**api.status()["guard"], "vitals": seen}
    line = next(row for row in show.status(api.status(guard=guard), PLAIN).splitlines() if row.startswith("Guard"))
    assert line == "Guard     connected for 3 h 12 min" + (f", {told}" if told else "")
