"""The guard in the simulated world: whatever it can find wrong can be raised there, and taken away again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from chargerd.faults import GUARD, WARNING
from chargerd.guard.desk import Guard
from chargerd.guard.latch import Latched
from chargerd.guard.lease import ClearFault, Hello, Measured, Permit, Replay, ToGuard, Truth, decode, encode
from chargerd.guard.setup import GuardSetup, OutletSetup
from chargerd.protection import Protection
from hal.sim.board import SimBoard
from hal.sim.dispatch import dispatch
from hal.sim.outlet import SimOutlet
from hal.sim.world import World

TURN = 0.02
PLUGS = count(501)  # unique over restarts
CAR = {"reaction": 0.2, "start_delay": 0.2, "abrupt": True, "max_amps": 16}
SETUP = OutletSetup(evse=1, protection=Protection(wake_after=10.0, phase_rest=60.0))


class Street:
    """A socket with everything fitted; a daemon that permits whatever it is told to, and passes readings on."""

    def __init__(self, setup: OutletSetup = SETUP, latched: Latched = frozenset(), world: World | None = None) -> None:
        self.now = 1000.0 if world is None else world.now
        self.world = world or World([SimOutlet(switching=True, relay=True)], lambda: self.now)
        self.world.clock = lambda: self.now
        self.guard = Guard(
            SimBoard.on(self.world),
            GuardSetup((setup,)),
            lambda: next(PLUGS),
            7,
            "t",
            lambda latched: True,
            latched,
            self.now,
        )
        self.guard.connected(self.now)
        self.tell(Hello(2, "d"), Replay(7, 0))
        self.amps, self.phases = 16.0, 3
        self.turns = 0

    def tell(self, *words: ToGuard) -> None:
        for word in words:
            self.guard.hear(encode(word), self.now)
        self.guard.say()

    def sim(self, method: str, **params: Any) -> Any:
        return dispatch(self.world, f"sim.{method}", params)

    def fault(self, name: str, active: bool = True) -> None:
        self.sim("fault", outlet=1, fault=name, active=active)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TURN)):
            self.now += TURN
            self.guard.cycle(self.now)
            self.turns += 1
            if self.turns % 50 == 0:
                self._daemon()

    def _daemon(self) -> None:
        reading = self.world.read_meter(1)
        self.tell(Measured(1, reading.amps, reading.volts, reading.power, 0.0))
        if plug := self.truth.plug:
            self.tell(Permit(1, plug, self.amps, self.phases))

    @property
    def truth(self) -> Truth:
        words = [decode(packet) for packet in self.guard.observe()]
        return next(word for word in words if isinstance(word, Truth))

    @property
    def wrong(self) -> set[str]:
        state = self.guard.bays[0].state
        return {*state.faults, *state.warnings}

    def arrive(self, **vehicle: Any) -> None:
        self.sim("plug", outlet=1, **{**CAR, **vehicle})
        self.run(6.0)

    def until(self, name: str, limit: float = 30.0) -> None:
        start = self.now
        while name not in self.wrong:
            assert self.now - start < limit, f"no {name}, but {self.wrong}"
            self.run(TURN)


def charging() -> Street:
    street = Street()
    street.arrive()
    assert street.truth.closed
    return street


def idle() -> Street:
    street = Street()
    street.run(3.0)
    return street


Deed = Callable[[Street], object]


def on(name: str) -> tuple[Deed, Deed]:
    return lambda s: s.fault(name), lambda s: s.fault(name, False)


def welded(s: Street) -> None:
    s.fault("contactor-welded")
    s.amps = 0.0


def greedy(s: Street) -> None:
    s.sim("vehicle", outlet=1, factor=1.3, max_amps=32)


def hasty(s: Street) -> None:
    s.sim("vehicle", outlet=1, factor=2.0)


def at_arrival(name: str) -> tuple[Deed, Deed]:
    def up(s: Street) -> None:
        s.fault(name)
        s.arrive()

    return up, lambda s: s.fault(name, False)


def mains(volts: float) -> Deed:
    return lambda s: s.sim("supply", volts=[230, volts, 230])


def sleeper(s: Street) -> None:
    s.fault("relay-stuck")
    s.arrive(sleeps=True)


def one_phase(s: Street) -> None:
    s.fault("second-welded")
    s.phases = 1
    s.run(80.0)


RAISED: list[tuple[str, Callable[[], Street], Deed, Deed]] = [
    ("ContactorWelded", charging, welded, lambda s: s.fault("contactor-welded", False)),
    ("ContactorNotClosed", idle, *at_arrival("contactor-stuck-open")),
    ("ResidualCurrent", charging, *on("residual-trip")),
    ("ResidualSelfTest", idle, *at_arrival("self-test-fails")),
    ("EmergencyStop", charging, *on("emergency-stop")),
    ("PenFault", charging, *on("pen-fault")),
    ("CurrentThoughOpen", idle, *on("stray-current")),
    ("PilotShort", charging, *on("pilot-short")),
    ("PilotStuck", charging, *on("pilot-undefined")),
    ("PilotDriverMismatch", charging, *on("pilot-driver-mismatch")),
    ("DiodeFault", charging, *on("missing-diode")),
    ("ProximityChanged", charging, *on("proximity-change")),
    ("ProximityFault", idle, *at_arrival("proximity-fault")),
    ("ConnectorLockFailure", charging, *on("lock-jammed")),
    ("OverTemperature", charging, *on("over-temperature")),
    ("OverTemperature", charging, *on("plug-over-temperature")),
    ("OverCurrent", charging, greedy, lambda s: s.sim("vehicle", outlet=1, factor=1.0)),
    ("OverCurrent", charging, hasty, lambda s: s.sim("vehicle", outlet=1, factor=1.0)),
    ("SupplyOutOfRange", charging, mains(180), mains(230)),
    ("SupplyOutOfRange", charging, mains(0), mains(230)),
    ("SupplyOutOfRange", charging, mains(262), mains(230)),
    ("SecondContactorWelded", charging, one_phase, on("second-welded")[1]),
    ("SecondContactorNotClosed", idle, *at_arrival("second-stuck-open")),
    ("SensorSilent", charging, lambda s: s.sim("temperature", outlet=1, celsius=None, sensor="plug"),
     lambda s: s.sim("temperature", outlet=1, celsius=25, sensor="plug")),
    ("NoCurrent", charging, lambda s: s.sim("vehicle", outlet=1, step="pause"),
     lambda s: s.sim("vehicle", outlet=1, step="resume")),
    ("PilotRelayStuck", idle, sleeper, on("relay-stuck")[1]),
]  # fmt: skip
NOT_OF_THE_WORLD = {"DeviceFailure", "LatchUnreadable", "GuardLate", "GuardSlow"}


def test_all_can_be_raised() -> None:
    assert {name for name, *_ in RAISED} == {*GUARD, *WARNING} - NOT_OF_THE_WORLD


@pytest.mark.parametrize(("name", "start", "up", "down"), RAISED)
def test_it_is_raised_and_cleared(name: str, start: Callable[[], Street], up: Deed, down: Deed) -> None:
    street = start()
    assert not street.wrong
    up(street)
    street.until(name, 700.0 if name == "NoCurrent" else 40.0)
    if name in GUARD:
        street.run(0.5)
        assert street.truth.offered == 0.0
        assert not street.truth.closed or name == "ContactorWelded"
    down(street)
    street.run(3.0)
    if street.truth.plug:
        street.sim("unplug", outlet=1)
    street.tell(ClearFault(1, name, "technician"))
    street.amps, street.phases = 16.0, 3
    street.run(40.0)
    assert not street.wrong
    street.arrive()
    assert street.truth.closed
    (audit,) = street.world.audit()
    assert (audit.unsafe, audit.switched_live) == (0, 0)


def test_one_phase_and_three_and_one() -> None:
    street = charging()
    street.sim("vehicle", outlet=1, max_amps=10)
    street.run(60.0)
    seen = []
    for phases in (1, 3):
        street.phases = phases
        street.run(75.0)
        reading = street.world.read_meter(1)
        assert reading.amps is not None
        seen.append(sum(amps > 5 for amps in reading.amps))
    assert seen == [1, 3]
    (audit,) = street.world.audit()
    assert (audit.switched, audit.switched_live, audit.opened_under_load) == (3, 0, 0)


def test_a_sleeping_vehicle_wakes_when_the_pilot_comes_back() -> None:
    street = Street()
    street.arrive(sleeps=True)
    assert not street.truth.closed
    street.run(20.0)
    assert street.truth.closed and not street.wrong


@pytest.mark.parametrize("shed", [True, False])
def test_load_shedding(shed: bool) -> None:
    street = charging()
    street.fault("load-shedding", shed)
    street.run(8.0)
    assert (street.truth.limit, street.truth.offered) == (
        ("shedding", pytest.approx(6.09, abs=0.01)) if shed else ("lease", 16)
    )


# ---------------------------------------------------------------- restarts


def test_a_guard_that_is_restarted_under_load_begins_with_x1_and_self_tests() -> None:
    """The vehicle still asks; without a new permit for a new plug nothing closes, and with one not before the tests."""
    street = charging()
    street.world.forsake(street.now)  # the guard was killed; the hardware has opened
    street.now += 0.5
    again = Street(world=street.world)
    plug = street.truth.plug
    (physical,) = again.world.outlets
    again.amps = 0.0
    for _ in range(500):
        again.run(TURN)
        again.tell(Permit(1, plug, 16.0))  # the old vehicle's number
        assert not physical.closed and physical.command.pilot == 1.0
    assert again.truth.plug not in (0, plug)
    assert physical.command.test is False and physical.sample((0, 0), (230.0,) * 3).passed is True
    again.amps = 16.0
    again.run(6.0)
    (audit,) = again.world.audit()
    assert physical.closed and audit.unsafe == 0


def test_latched_faults_stand_at_the_next_start() -> None:
    street = Street(latched=frozenset({(1, "ContactorWelded"), (1, "CurrentThoughOpen")}))
    street.arrive()
    street.run(20.0)
    assert street.wrong == {"ContactorWelded", "CurrentThoughOpen"} and not street.truth.closed
    assert street.guard.bays[0].state.drive == 1.0
    street.tell(ClearFault(1, "ContactorWelded", "t"), ClearFault(1, "CurrentThoughOpen", "t"))
    street.run(6.0)
    assert street.truth.closed


def test_a_contactor_that_welded_while_nobody_guarded_is_found_at_once() -> None:
    street = charging()
    street.fault("contactor-welded")
    street.world.forsake(street.now)
    street.now += 0.5
    again = Street(world=street.world)
    again.until("ContactorWelded", 0.3)
    again.run(10.0)
    assert again.guard.bays[0].state.drive == 1.0 and again.truth.offered == 0.0


def test_setups_differ() -> None:
    """What the setup leaves out is not used, though the board has it."""
    street = Street(replace(SETUP, phases=1, wake_up="off"))
    street.phases = 1
    street.arrive(sleeps=True)
    street.run(30.0)
    assert not street.world.outlets[0].second.closed and street.world.audit()[0].switched == 0
    assert not street.truth.closed
