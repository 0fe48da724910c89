"""Everything that can be asked of a `World`, by name: what `hal.sim.serve` speaks and the daemon passes on.

| method | params (optional ones in brackets) | does |
|---|---|---|
| sim.plug | outlet, [cable_amps 13, 20, 32, 63], [cable_only], [vehicle options] | cable in, a vehicle at its end |
| sim.unplug | outlet, [end vehicle, cable, both] | both (default): vehicle now, plug when the lock lets go |
| sim.vehicle | outlet, [step], [amps, phases], [vehicle options] | a step of its script, or other manners from now on |
| sim.tap | uid (hex), [reader], [hold seconds], [kind] | a card to a reader: `station` (default), `evse1`, … |
| sim.withdraw | [reader] | take the held card away |
| sim.fault | outlet, fault, [active] | raise a fault, or clear it with active = false |
| sim.pilot | outlet, level A..F or null | a tester's box on the control pilot; null takes it off |
| sim.meter | outlet, [energy Wh], [silent] | set the register, silence the meter |
| sim.supply | [volts one or three], [frequency] | mains of all outlets |
| sim.bay | outlet, occupied | somebody parks there |
| sim.emergency_stop | pressed, [outlet] | of one outlet or all |
| sim.temperature | outlet, celsius or null, [sensor plug, cabinet] | cabinet, unless said; null: it is silent |
| sim.state | | the whole picture |
| sim.audit | | contactor closings and their conditions, energy per connection |
| sim.reset | | the first morning again |
| sim.watch | | server only: the state, then `sim.changed` notifications |

`sim.unplug` with `end` vehicle leaves the cable in the socket; with cable it draws the plug, refused while locked.
Vehicle options are the fields of `hal.sim.vehicle.Vehicle`. Steps: `ready`, `not_ready` (opens S2), `draw` (amps on
phases), `pause` (0 A, S2 closed), `resume` (ends draw and pause), `sleep`, `wake`, `leave` (drives off without cable).
Faults are listed in `hal.sim.outlet.FAULTS`. `board.*`, `*.read` and `cards.next` belong to the drivers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from hal import lamps
from hal.api import Card, MeterReading
from hal.sim import pilot
from hal.sim.outlet import FAULTS, PhysicalOutlet
from hal.sim.vehicle import OPTIONS, Car, Vehicle, check_option
from hal.sim.wire import Command
from hal.sim.world import Refused, World

_READING = tuple(field.name for field in fields(MeterReading))
STEPS = ("ready", "not_ready", "draw", "pause", "resume", "sleep", "wake", "leave")
CARD_KINDS = ("ISO14443", "ISO15693")


class UnknownMethod(LookupError):
    """No such method; the text lists those there are."""


class BadParams(ValueError):
    """A parameter is missing, unknown or out of its bounds; the text names it and what is allowed."""


class Params:
    """Checked access to the params of one call; every getter raises BadParams."""

    def __init__(self, world: World, raw: object, allowed: Iterable[str]) -> None:
        if not isinstance(raw, Mapping):
            raise BadParams("params: must be an object with named members")
        names = tuple(allowed)
        if unknown := [str(name) for name in raw if name not in names]:
            raise BadParams(f"{unknown[0][:40]}: unknown parameter; allowed: {', '.join(names) or 'none'}")
        self._world, self._raw = world, raw

    def has(self, name: str) -> bool:
        return name in self._raw

    def get(self, name: str) -> Any:
        if name not in self._raw:
            raise BadParams(f"{name}: missing")
        return self._raw[name]

    def outlet(self) -> PhysicalOutlet:
        return self._world.outlets[self.rank() - 1]

    def rank(self) -> int:
        rank, count = self.get("outlet"), len(self._world.outlets)
        if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= count:
            raise BadParams(f"outlet: must be {'1' if count == 1 else f'a whole number 1..{count}'}")
        return rank

    def reader(self) -> str:
        return self.choice("reader", self._world.readers, "station")

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        value = self.get(name) if default is None or self.has(name) else default
        return _number(name, value, low, high)

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self.get(name) if default is None or self.has(name) else default
        if not isinstance(value, bool):
            raise BadParams(f"{name}: must be true or false")
        return value

    def choice(self, name: str, allowed: Iterable[str], default: str | None = None) -> str:
        value = self.get(name) if default is None or self.has(name) else default
        names = tuple(allowed)
        if not isinstance(value, str) or value not in names:
            raise BadParams(f"{name}: must be one of {', '.join(names)}")
        return value

    def options(self, base: Vehicle, without: str = "") -> Vehicle:
        """`base` with the vehicle options that were given, all but one."""
        given = {name: self._raw[name] for name in OPTIONS if name in self._raw and name != without}
        try:
            for name, value in given.items():
                check_option(name, value)
        except ValueError as e:
            raise BadParams(str(e)) from None
        return replace(base, **given)


def dispatch(world: World, method: str, params: object) -> Any:
    """Carry out one call; returns what JSON can carry.

    Raises UnknownMethod, BadParams, Refused, and DeviceError for a silent meter.
    """
    if method not in _METHODS:
        raise UnknownMethod(f"{method[:40]}: unknown method; there are {', '.join(_METHODS)}")
    run, allowed = _METHODS[method]
    checked = Params(world, params, allowed)
    world.catch_up()
    result = run(world, checked)
    world.settle()
    return result


def state(world: World) -> dict[str, Any]:
    """The whole picture; volts, amperes, watts, watt-hours, ohms."""
    return {
        "now": world.now,
        "guard_alive": world.guarded,
        "volts": list(world.volts),
        "frequency": world.frequency,
        "readers": {
            name: reader.held is not None and world.now < reader.held_until for name, reader in world.readers.items()
        },
        "outlets": [outlet_state(world, rank) for rank in range(1, len(world.outlets) + 1)],
    }


def outlet_state(world: World, rank: int) -> dict[str, Any]:
    """One outlet as `sim.state` and `sim.changed` show it."""
    outlet = world.outlets[rank - 1]
    seen, meter, ohms = outlet.pilot(), outlet.meter(world.now, world.volts, world.frequency), outlet.ohms()
    generator = outlet.generator()
    return {
        "outlet": rank,
        "tethered": outlet.setup.tethered,
        "plugged": outlet.car is not None,
        "cable_amps": outlet.cable_amps,
        "s2": outlet.car is not None and outlet.car.s2,
        "generator": "X1" if generator == 1.0 else "F" if generator == 0.0 else round(generator, 4),
        "pilot_high": round(seen.high, 3),
        "pilot_low": round(seen.low, 3),
        "proximity_ohms": None if ohms == math.inf else ohms,
        "contactor": outlet.closed,
        "second": outlet.second.closed if outlet.setup.switching else None,
        "locked": None if outlet.setup.tethered else outlet.locked(),
        "lamp": outlet.command.lamp,
        "looks": lamps.of(outlet.command.lamp).looks,
        "amps": list(meter.amps or ()),
        "watts": meter.power,
        "energy": meter.energy,
        "vehicle_energy": None if outlet.car is None else outlet.car.taken,
        "celsius": outlet.temperature("cabinet"),
        "plug_celsius": outlet.temperature("plug"),
        "bay_occupied": outlet.bay_occupied,
        "level": outlet.level,
        "faults": sorted(outlet.faults),
    }


def _plug(world: World, p: Params) -> dict[str, Any]:
    outlet, cable_only = p.outlet(), p.flag("cable_only", False)
    cable = p.number("cable_amps", 13, 63, 32)
    if cable not in pilot.CABLES:
        raise BadParams(f"cable_amps: must be one of {', '.join(map(str, pilot.CABLES))}")
    vehicle = None if cable_only else p.options(Vehicle())
    if outlet.car is not None:
        raise Refused("a vehicle is plugged in here: sim.unplug first")
    if outlet.blocked():
        raise Refused("the lock's pin is out in the empty socket: no plug goes in")
    if cable_only and (outlet.setup.tethered or outlet.cable_amps is not None):
        raise Refused("there is a cable here already")
    outlet.plug(world.now, int(cable), vehicle)
    return {}


def _unplug(world: World, p: Params) -> dict[str, Any]:
    outlet, end = p.outlet(), p.choice("end", ("vehicle", "cable", "both"), "both")
    if outlet.car is None and (end == "vehicle" or outlet.cable_amps is None):
        raise Refused("nothing is plugged in here")
    if end == "cable" and outlet.cable_amps is not None and outlet.locked() is not False:
        raise Refused("the plug is locked in the socket")
    outlet.unplug(world.now, cable=end != "vehicle")
    world.settle()
    return {"cable": outlet.cable_amps is not None}


def _vehicle(world: World, p: Params) -> dict[str, Any]:
    outlet, car = p.outlet(), p.outlet().car
    if car is None:
        raise Refused("no vehicle is plugged in here: plug one in first")
    step = p.choice("step", STEPS) if p.has("step") else None
    if step != "draw" and p.has("amps"):
        raise BadParams("amps: only with step draw")
    setup = p.options(car.setup, without="phases" if step == "draw" else "")
    if step == "draw":  # here `phases` is how many carry current, not how many the charger has
        car.draw = (p.number("amps", 0, 200), int(p.number("phases", 1, 3, car.setup.phases)))
    car.setup = setup
    _step(world, outlet, car, step)
    return {}


def _step(world: World, outlet: PhysicalOutlet, car: Car, step: str | None) -> None:
    match step:
        case "ready" | "not_ready":
            car.ready = step == "ready"
        case "pause":
            car.draw = (0.0, outlet.setup.phases)
        case "resume":
            car.draw = None
        case "sleep" | "wake":
            car.awake = step == "wake"
        case "leave":
            outlet.unplug(world.now, cable=False)


def _tap(world: World, p: Params) -> dict[str, Any]:
    uid = p.get("uid")
    if not isinstance(uid, str) or len(uid) not in range(8, 21, 2) or set(uid.upper()) - set("0123456789ABCDEF"):
        raise BadParams("uid: must be 4..10 bytes in hex, for example 04A1B2C3")
    card = Card(uid.upper(), p.choice("kind", CARD_KINDS, "ISO14443"))
    return {"new": world.tap(p.reader(), card, p.number("hold", 0, 86_400, 0))}


def _withdraw(world: World, p: Params) -> dict[str, Any]:
    world.withdraw(p.reader())
    return {}


def _fault(world: World, p: Params) -> dict[str, Any]:
    p.outlet().fault(p.choice("fault", FAULTS), p.flag("active", True))
    return {}


def _pilot(world: World, p: Params) -> dict[str, Any]:
    p.outlet().level = None if p.get("level") is None else p.choice("level", (*pilot.LEVELS, "F"))
    return {}


def _meter(world: World, p: Params) -> dict[str, Any]:
    outlet = p.outlet()
    energy = p.number("energy", 0, 1e9) if p.has("energy") else outlet.energy
    silent = p.flag("silent", "meter-silent" in outlet.faults)
    outlet.energy = energy
    outlet.fault("meter-silent", silent)
    return {}


def _supply(world: World, p: Params) -> dict[str, Any]:
    volts, frequency = world.volts, p.number("frequency", 0, 100, world.frequency)
    if p.has("volts"):
        given = p.get("volts")
        three = given if isinstance(given, list) else [given] * 3
        if len(three) != 3:
            raise BadParams("volts: must be one number or a list of three, 0..500 each")
        one, two, three_ = (_number("volts", value, 0, 500) for value in three)
        volts = (one, two, three_)
    world.volts, world.frequency = volts, frequency
    return {}


def _bay(world: World, p: Params) -> dict[str, Any]:
    p.outlet().bay_occupied = p.flag("occupied")
    return {}


def _emergency_stop(world: World, p: Params) -> dict[str, Any]:
    pressed = p.flag("pressed")
    for outlet in (p.outlet(),) if p.has("outlet") else world.outlets:
        outlet.fault("emergency-stop", pressed)
    return {}


def _temperature(world: World, p: Params) -> dict[str, Any]:
    sensor = p.choice("sensor", ("plug", "cabinet"), "cabinet")
    p.outlet().degrees[sensor] = None if p.get("celsius") is None else p.number("celsius", -60, 200)
    return {}


def _audit(world: World, p: Params) -> dict[str, Any]:
    return {"outlets": [{f.name: _plain(getattr(audit, f.name)) for f in fields(audit)} for audit in world.audit()]}


def _plain(value: Any) -> Any:
    return [asdict(entry) for entry in value] if isinstance(value, deque) else value


def _reset(world: World, p: Params) -> dict[str, Any]:
    world.reset()
    return {}


def _describe(world: World, p: Params) -> dict[str, Any]:
    return {"outlets": [asdict(outlet.setup) for outlet in world.outlets], "hold": world.hold}


def _exchange(world: World, p: Params) -> Any:
    sent, rows = p.number("sent", 0, 1e12), p.get("outlets")
    if not isinstance(rows, list):
        raise BadParams("outlets: must be a list of commands")
    return world.exchange([_command(row) for row in rows], sent)


def _command(row: object) -> Command:
    match row:
        case [
            float() | int() as duty,
            bool() as close,
            int() as lock,
            bool() as test,
            str() as lamp,
            bool() as second,
            bool() as disconnect,
        ] if 0 <= duty <= 1 and lock in (-1, 0, 1) and len(lamp) <= 40:
            return Command(float(duty), close, lock, test, lamp, second, disconnect)
    raise BadParams(
        "outlets: each must be [duty 0..1, close, lock -1, 0 or 1, test, lamp of at most 40 characters, second, "
        "disconnect]"
    )


def _read_meter(world: World, p: Params) -> dict[str, Any]:
    reading = world.read_meter(p.rank())
    return {name: getattr(reading, name) for name in _READING}


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadParams(f"{name}: must be a number {low:g}..{high:g}")
    return float(value)


_METHODS: dict[str, tuple[Callable[[World, Params], Any], tuple[str, ...]]] = {
    "sim.plug": (_plug, ("outlet", "cable_amps", "cable_only", *OPTIONS)),
    "sim.unplug": (_unplug, ("outlet", "end")),
    "sim.vehicle": (_vehicle, ("outlet", "step", "amps", *OPTIONS)),
    "sim.tap": (_tap, ("uid", "reader", "hold", "kind")),
    "sim.withdraw": (_withdraw, ("reader",)),
    "sim.fault": (_fault, ("outlet", "fault", "active")),
    "sim.pilot": (_pilot, ("outlet", "level")),
    "sim.meter": (_meter, ("outlet", "energy", "silent")),
    "sim.supply": (_supply, ("volts", "frequency")),
    "sim.bay": (_bay, ("outlet", "occupied")),
    "sim.emergency_stop": (_emergency_stop, ("pressed", "outlet")),
    "sim.temperature": (_temperature, ("outlet", "celsius", "sensor")),
    "sim.state": (lambda world, p: state(world), ()),
    "sim.audit": (_audit, ()),
    "sim.reset": (_reset, ()),
    "board.describe": (_describe, ()),
    "board.exchange": (_exchange, ("sent", "outlets")),
    "meter.read": (_read_meter, ("outlet",)),
    "bay.read": (lambda world, p: p.outlet().bay_occupied, ("outlet",)),
}
