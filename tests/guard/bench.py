"""One outlet on the bench: ideal hardware with switches for everything that can go wrong, in injected time."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from chargerd.guard import rules, wishes
from chargerd.guard.lease import ClearFault, Indicate, Kind, Lock, Measured, Mode, Permit, Service
from chargerd.guard.pilot import X1, F
from chargerd.guard.setup import Fitted, OutletSetup
from chargerd.guard.state import Outputs, Said, Sample, State

PERIOD = 0.02
VOLTS = {"A": 12.0, "B": 9.0, "C": 6.0, "D": 3.0, "E": 0.0}
OHMS = {13: 1500.0, 20: 680.0, 32: 220.0, 63: 100.0}


USUAL = OutletSetup(evse=1, tethered=True, wake_up="off", fitted=Fitted(plug_sensor=True, cabinet_sensor=True))
SWITCHING = replace(USUAL, fitted=Fitted(second=True, relay=True, plug_sensor=True, cabinet_sensor=True, supply=True))


class Bench:
    """`cycle` is one turn: what was put out before takes effect, then a sample is taken."""

    def __init__(self, setup: OutletSetup | None = None, latched: frozenset[str] = frozenset()) -> None:
        self.setup = setup or USUAL
        self.turns = 0
        self.state: State = rules.initial(0.0, latched)
        self.out = Outputs()
        self.level = "A"
        self.volts: float | None = None  # instead of the level's
        self.diode = True
        self.generator: float | None = None  # instead of what was commanded
        self.frozen: tuple[float, float, float] | None = None
        self.ohms = inf
        self.mirror: bool | None = None  # instead of following the coil
        self.pin: bool | None = False
        self.pin_stuck = False
        self.tripped = self.emergency = self.blocked = self.pen = self.shed = False
        self.second: bool | None = None  # its mirror, instead of following the command
        self.relay_stuck = False
        self.plug: float | None = 20.0
        self.cabinet: float | None = 20.0
        self.mains: tuple[float, ...] = (230.0, 230.0, 230.0)
        self.test_result = True
        self.test_takes = 0.7
        self.test_ends = inf
        self.test_shown: bool | None = None
        self.minted = 100
        self.events: list[tuple[float, Kind, int, str]] = []

    @property
    def now(self) -> float:
        return self.turns * PERIOD

    def sample(self) -> Sample:
        high, low, duty = self.frozen or self.pilot()
        if self.out.lock is not None and not self.pin_stuck:
            self.pin = self.out.lock
        if self.out.start_test:
            self.test_shown, self.test_ends = None, self.now + self.test_takes
        if self.now >= self.test_ends:
            self.test_shown, self.test_ends = self.test_result, inf
        return Sample(
            high=high,
            low=low,
            duty=duty,
            ohms=None if self.setup.tethered else self.ohms,
            closed=self.out.coil if self.mirror is None else self.mirror,
            locked=None if self.setup.tethered else self.pin,
            tripped=self.tripped,
            test_passed=self.test_shown,
            emergency=self.emergency,
            pen=self.pen,
            shed=self.shed,
            second=(self.out.second if self.second is None else self.second) if self.setup.fitted.second else None,
            plug=self.plug if self.setup.fitted.plug_sensor else None,
            cabinet=self.cabinet if self.setup.fitted.cabinet_sensor else None,
            volts=self.mains if self.setup.fitted.supply else None,
        )

    def pilot(self) -> tuple[float, float, float]:
        drive = self.out.drive if self.generator is None else self.generator
        volts = VOLTS[self.level] if self.volts is None else self.volts
        if self.out.disconnect and not self.relay_stuck:
            volts = 12.0
        negative = -12.0 if self.diode and volts else -volts
        if drive == F:
            return negative, negative, 0.0
        return (volts, volts, 1.0) if drive == X1 else (volts, negative, drive)

    def cycle(self) -> Outputs:
        self.turns += 1
        sample = self.sample()
        self.last = sample
        self.state, self.out, said = rules.step(self.setup, self.state, sample, self.now, self.minted, self.blocked)
        if self.state.plug == self.minted:
            self.minted += 1
        self.note(said)
        return self.out

    def fail(self) -> None:
        """A cycle in which the hardware does not answer."""
        self.turns += 1
        self.state, self.out, said = rules.blind(self.state, self.now)
        self.note(said)

    def note(self, said: list[Said]) -> None:
        self.events += [(self.now, *event) for event in said]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / PERIOD)):
            self.cycle()

    def until(self, what: str, limit: float = 60.0) -> float:
        """Seconds until the output or state named `what` ("coil", "!coil", "drive=0.1") is so."""
        start = self.now
        while self.now - start < limit:
            self.cycle()
            if self.is_so(what):
                return self.now - start
        raise AssertionError(f"{what} did not come within {limit} s")

    def is_so(self, what: str) -> bool:
        if "=" in what:
            name, value = what.split("=")
            return bool(getattr(self.out, name) == float(value))
        return not self.out.coil if what == "!coil" else bool(getattr(self.out, what))

    def hear(self, word: Permit | Lock | Measured | Indicate | ClearFault | Service) -> str:
        self.state, why = wishes.hear(self.setup, self.state, word, self.now)
        return why

    def permit(self, amps: float = 16.0, mode: Mode = Mode.BASIC, valid_for: float = 300.0, phases: int = 3) -> str:
        return self.hear(Permit(1, self.state.plug, amps, phases, mode, valid_for))

    def kinds(self, *but: Kind) -> list[Kind]:
        return [kind for _, kind, _, _ in self.events if kind not in but]

    def details(self, kind: Kind) -> list[str]:
        return [detail for _, said, _, detail in self.events if said is kind]

    def faults(self) -> set[str]:
        return set(self.state.faults)


def charging(setup: OutletSetup | None = None, amps: float = 16.0) -> Bench:
    """A bench whose vehicle charges: 6 s after start, contactor just proven closed."""
    bench = Bench(setup)
    if not bench.setup.tethered:
        bench.ohms = OHMS[32]
    bench.level = "B"
    bench.run(6.0)
    assert bench.permit(amps) == ""
    bench.run(0.2)
    bench.level = "C"
    bench.until("coil", 1.0)
    bench.cycle()
    assert bench.state.power
    return bench
