"""A world, its board and a clock that stands still until told: what the tests of the simulation play with."""

from __future__ import annotations

from typing import Any

from hal.api import Outlet
from hal.sim.board import SimBoard
from hal.sim.dispatch import dispatch
from hal.sim.outlet import PhysicalOutlet, SimOutlet
from hal.sim.world import World

PROMPT = {"reaction": 0.0, "start_delay": 0.0, "abrupt": True}


class Rig:
    """`board` is exchanged by hand or every 20 ms in `run`."""

    def __init__(self, *outlets: SimOutlet, noise: float = 0.0) -> None:
        self.time = 1000.0
        self.world = World(outlets or (SimOutlet(),), lambda: self.time, noise=noise)
        self.board = SimBoard.on(self.world)
        self.board.exchange()

    @property
    def outlet(self) -> Outlet:
        return self.board.outlets[0]

    @property
    def physical(self) -> PhysicalOutlet:
        return self.world.outlets[0]

    def sim(self, method: str, **params: Any) -> Any:
        return dispatch(self.world, method, params)

    def fault(self, name: str, active: bool = True) -> None:
        self.sim("sim.fault", outlet=1, fault=name, active=active)

    def run(self, seconds: float) -> None:
        """Cycle after cycle for this long."""
        for _ in range(round(seconds / 0.02)):
            self.board.exchange()
            self.time += 0.02
        self.board.exchange()

    def amps(self) -> tuple[float, float, float]:
        amps = self.world.read_meter(1).amps
        assert amps is not None
        return amps

    def charge(self, duty: float = 0.533, **vehicle: Any) -> None:
        """Plug in (with the prompt manners unless others are named) and close as a careful guard would."""
        self.sim("sim.plug", outlet=1, **{**PROMPT, **vehicle})
        self.outlet.pilot.pwm(duty)
        assert self.outlet.residual is not None
        self.outlet.residual.start_test()
        if self.outlet.lock is not None:
            self.outlet.lock.engage()
        self.run(1.0)
        self.outlet.contactor.close()
        self.run(0.06)
        assert self.outlet.contactor.closed()
