"""Typed words become calls that the simulated world takes."""

from __future__ import annotations

from typing import Any

import pytest

from chargerd.cli import sim
from hal.sim.dispatch import _METHODS


@pytest.mark.parametrize(
    ("words", "method", "params"),
    [
        ("plug 1 max_amps=16 diode=off", "plug", {"outlet": 1, "max_amps": 16, "diode": False}),
        ("unplug 1 vehicle", "unplug", {"outlet": 1, "end": "vehicle"}),
        ("vehicle 1 draw amps=10.5 phases=1", "vehicle", {"outlet": 1, "step": "draw", "amps": 10.5, "phases": 1}),
        ("tap 11223344 evse1", "tap", {"uid": "11223344", "reader": "evse1"}),
        ("fault 1 missing-diode off", "fault", {"outlet": 1, "fault": "missing-diode", "active": False}),
        ("pilot 1 none", "pilot", {"outlet": 1, "level": None}),
        ("pilot 1 E", "pilot", {"outlet": 1, "level": "E"}),
        ("meter 1 energy=0 silent=on", "meter", {"outlet": 1, "energy": 0, "silent": True}),
        ("supply volts=[230,0,230]", "supply", {"volts": [230, 0, 230]}),
        ("emergency-stop on", "emergency_stop", {"pressed": True}),
        ("emergency_stop off 2", "emergency_stop", {"pressed": False, "outlet": 2}),
        ("temperature 1 -5", "temperature", {"outlet": 1, "celsius": -5}),
        ("state", "state", {}),
    ],
)
def test_forms(words: str, method: str, params: dict[str, Any]) -> None:
    assert sim.parse(words.split()) == (f"sim.{method}", params)


@pytest.mark.parametrize("words", ["dance 1", "state now", "plug 1 2", "plug 1 outlet=1", "plug =1"])
def test_what_fits_no_form(words: str) -> None:
    with pytest.raises(sim.BadWords, match=f"sim {words.split()[0]}"):
        sim.parse(words.split())


def test_every_method_of_the_world_has_a_form_with_its_own_names() -> None:
    known = {name: allowed for name, (_, allowed) in _METHODS.items() if name.startswith("sim.")}
    forms = {f"sim.{name.replace('-', '_')}": form for name, form in sim.FORMS.items()}
    assert forms.keys() == known.keys()
    for name, form in forms.items():
        assert set(form.places) <= set(known[name])
        assert form.about in sim.overview()


def test_how_a_form_is_written() -> None:
    assert sim.usage("emergency_stop") == "emergency-stop on|off [OUTLET]"
    assert sim.usage("state") == "state"


@pytest.mark.parametrize("words", ["plug", "fault 1", "pilot 1", "tap", "supply", "emergency-stop", "bay outlet=1"])
def test_what_is_missing_is_shown(words: str) -> None:
    with pytest.raises(sim.BadWords, match=f"missing; write: sim {words.split()[0]} "):
        sim.parse(words.split())
