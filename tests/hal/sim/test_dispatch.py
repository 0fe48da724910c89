from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.api import DeviceError
from hal.sim import dispatch as module
from hal.sim.dispatch import BadParams, UnknownMethod, dispatch
from hal.sim.outlet import FAULTS, SimOutlet
from hal.sim.world import Refused
from tests.hal.sim.rig import PROMPT, Rig


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        ("sim.plug", {}, "outlet: missing"),
        ("sim.plug", {"outlet": 3}, r"outlet: must be a whole number 1\.\.2"),
        ("sim.plug", {"outlet": True}, "outlet"),
        ("sim.plug", {"outlet": 1, "cable_amps": 16}, "cable_amps: must be one of 13, 20, 32, 63"),
        ("sim.plug", {"outlet": 1, "phases": 4}, "phases: must be a whole number 1..3"),
        ("sim.plug", {"outlet": 1, "colour": "red"}, "colour: unknown parameter; allowed: outlet, cable_amps"),
        ("sim.plug", [1], "params: must be an object"),
        ("sim.unplug", {"outlet": 1, "end": "plug"}, "end: must be one of vehicle, cable, both"),
        ("sim.tap", {"uid": "hello"}, "uid: must be 4..10 bytes in hex"),
        ("sim.tap", {"uid": "04A1B2C3", "reader": "evse9"}, "reader: must be one of station, evse1, evse2"),
        ("sim.tap", {"uid": "04A1B2C3", "hold": -1}, "hold: must be a number 0"),
        ("sim.fault", {"outlet": 1, "fault": "gremlins"}, "fault: must be one of contactor-welded"),
        ("sim.fault", {"outlet": 1, "fault": "pilot-short", "active": 1}, "active: must be true or false"),
        ("sim.pilot", {"outlet": 1, "level": "G"}, "level: must be one of A, B, C, D, E, F"),
        ("sim.meter", {"outlet": 1, "energy": -5}, "energy"),
        ("sim.supply", {"volts": [1, 2]}, "volts: must be one number or a list of three"),
        ("sim.supply", {"volts": 501}, r"volts: must be a number 0\.\.500"),
        ("sim.supply", {"frequency": float("nan")}, "frequency"),
        ("sim.temperature", {"outlet": 1}, "celsius: missing"),
        ("sim.temperature", {"outlet": 1, "celsius": 1, "sensor": "sky"}, "sensor: must be one of plug, cabinet"),
        ("sim.state", {"x": 1}, "x: unknown parameter; allowed: none"),
        ("board.exchange", {"sent": 0, "outlets": [[2, False, 0, False, "", False, False]]}, "outlets: each must be"),
        ("board.exchange", {"sent": 0, "outlets": 7}, "outlets: must be a list"),
    ],
)
def test_bad_params_name_the_parameter_and_what_is_allowed(method: str, params: Any, text: str) -> None:
    rig = Rig(SimOutlet(), SimOutlet())
    before = rig.sim("sim.state")
    with pytest.raises(BadParams, match=text):
        dispatch(rig.world, method, params)
    assert rig.sim("sim.state") == before


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(UnknownMethod, match=r"sim\.fly: unknown method; there are sim\.plug"):
        Rig().sim("sim.fly")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sim.unplug", {"outlet": 1}),
        ("sim.vehicle", {"outlet": 1, "step": "ready"}),
        ("board.exchange", {"sent": 0, "outlets": []}),
    ],
)
def test_what_this_world_cannot_do_now_is_refused(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        Rig().sim(method, **params)


def test_a_second_vehicle_does_not_fit() -> None:
    rig = Rig()
    rig.sim("sim.plug", outlet=1)
    with pytest.raises(Refused, match=r"sim\.unplug first"):
        rig.sim("sim.plug", outlet=1)
    with pytest.raises(Refused, match="a vehicle"):
        rig.sim("sim.plug", outlet=1, cable_only=True)


def test_amps_belong_to_draw() -> None:
    rig = Rig()
    rig.sim("sim.plug", outlet=1)
    with pytest.raises(BadParams, match="amps: only with step draw"):
        rig.sim("sim.vehicle", outlet=1, amps=10)


def test_manners_can_change_while_plugged_in() -> None:
    rig = Rig()
    rig.charge(max_amps=16)
    rig.sim("sim.vehicle", outlet=1, step="draw", amps=10, phases=1, factor=2)
    rig.run(0.1)
    assert rig.amps() == (20, 0, 0)
    assert rig.physical.car is not None and rig.physical.car.setup.phases == 3


@pytest.mark.parametrize(("level", "volts"), [("A", 12), ("B", 9), ("C", 6), ("D", 3), ("E", 0)])
def test_a_testers_box_shows_any_level(level: str, volts: float) -> None:
    rig = Rig()
    rig.outlet.pilot.pwm(0.3)
    rig.sim("sim.pilot", outlet=1, level=level)
    rig.run(0.02)
    assert rig.outlet.pilot.read().high == pytest.approx(volts, abs=0.1)
    rig.sim("sim.pilot", outlet=1, level="F")
    rig.run(0.02)
    assert rig.outlet.pilot.read().high == -12
    rig.sim("sim.pilot", outlet=1, level=None)
    rig.run(0.02)
    assert rig.outlet.pilot.read().high == 12


def test_the_register_can_be_set_and_goes_on_from_there() -> None:
    rig = Rig()
    rig.charge(max_amps=10)
    rig.sim("sim.meter", outlet=1, energy=5000.0)
    rig.run(3.6)
    assert rig.sim("meter.read", outlet=1)["energy"] == pytest.approx(5006.9)
    rig.sim("sim.meter", outlet=1, silent=True)
    with pytest.raises(DeviceError):
        rig.sim("meter.read", outlet=1)
    rig.sim("sim.meter", outlet=1, silent=False)
    assert rig.sim("meter.read", outlet=1)["energy"] > 5000


def test_emergency_stop_of_one_or_all() -> None:
    rig = Rig(SimOutlet(), SimOutlet())
    rig.sim("sim.emergency_stop", pressed=True)
    rig.sim("sim.emergency_stop", pressed=False, outlet=2)
    assert [outlet["faults"] for outlet in rig.sim("sim.state")["outlets"]] == [["emergency-stop"], []]


def test_the_state_shows_what_goes_on() -> None:
    rig = Rig()
    rig.charge(max_amps=16)
    rig.sim("sim.bay", outlet=1, occupied=True)
    rig.sim("sim.tap", uid="04a1b2c3", hold=5)
    assert rig.outlet.indicator is not None
    rig.outlet.indicator.show("charging")
    rig.run(0.02)
    picture = rig.sim("sim.state")
    outlet = picture["outlets"][0]
    assert picture["guard_alive"] and picture["readers"] == {"station": True, "evse1": False}
    assert outlet["plugged"] and outlet["s2"] and outlet["contactor"] and outlet["locked"] and outlet["bay_occupied"]
    assert (outlet["generator"], outlet["amps"], outlet["lamp"]) == (0.533, [16, 16, 16], "charging")
    assert outlet["energy"] == outlet["vehicle_energy"] > 0


def test_reset_is_the_first_morning_again() -> None:
    rig = Rig()
    first = rig.sim("sim.state")
    rig.charge()
    rig.sim("sim.supply", volts=210, frequency=49)
    rig.sim("sim.tap", uid="04A1B2C3", hold=60)
    rig.sim("sim.reset")
    again = rig.sim("sim.state")
    assert {**again, "now": 0} == {**first, "now": 0}
    assert rig.sim("sim.audit")["outlets"][0]["closed"] == 0


def test_all_answers_are_json_and_the_audit_fits_a_line() -> None:
    rig = Rig(SimOutlet(), SimOutlet())
    for _ in range(150):
        rig.sim("sim.plug", outlet=1, **PROMPT)
        rig.outlet.contactor.close()
        rig.run(0.1)
        rig.outlet.contactor.open()
        rig.run(0.1)
        rig.sim("sim.unplug", outlet=1)
    audit = rig.sim("sim.audit")
    assert audit["outlets"][0]["closed"] == audit["outlets"][0]["unsafe"] == audit["outlets"][0]["vehicles"] == 150
    assert len(json.dumps(audit)) < 65_536
    json.dumps(rig.sim("sim.state"), allow_nan=False)


def test_every_method_is_in_the_table_and_the_table_names_no_other() -> None:
    documented = set(re.findall(r"^\| (sim\.\w+) \|", module.__doc__ or "", re.MULTILINE))
    assert documented - {"sim.watch"} == {name for name in module._METHODS if name.startswith("sim.")}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(list(FAULTS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_params_break_the_world(data: st.DataObject) -> None:
    rig = Rig()
    for _ in range(data.draw(st.integers(1, 4))):
        method = data.draw(st.sampled_from(list(module._METHODS)))
        names = module._METHODS[method][1]
        likely = st.sampled_from([1, True, False, 0.3, "A", "cable", "draw", "pilot-short", 16, 20]) | JUNK
        optional = {name: likely for name in names if name != "outlet"}
        needed = {"outlet": st.just(1)} if "outlet" in names else {}
        params = data.draw(st.fixed_dictionaries(needed, optional=optional) | JUNK)
        try:
            json.dumps(dispatch(rig.world, method, params), allow_nan=False)
        except (BadParams, Refused, DeviceError) as refusal:
            assert len(str(refusal)) < 400
        rig.run(0.1)
    assert not rig.physical.closed
