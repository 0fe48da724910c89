"""What an installer may say about the guard: few numbers, each with bounds that keep within the standard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MIN_AMPS, MAX_AMPS = 6.0, 80.0


def _within(field: str, value: Any, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{field} = {value}: between {low:g} and {high:g}")


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the board has at an outlet beyond what every outlet needs."""

    second: bool = False  # a contactor for L2 and L3
    relay: bool = False  # one that takes the pilot from the vehicle
    plug_sensor: bool = False
    cabinet_sensor: bool = False
    supply: bool = False  # volts are measured


@dataclass(frozen=True, slots=True)
class OutletSetup:
    """One outlet: amperes, seconds, degrees Celsius. ValueError names field, value and bound."""

    evse: int
    amps: float = 32.0  # of the board and its wiring, per phase
    phases: int = 3
    tethered: bool = False  # fixed cable: no proximity, no lock
    ventilation: bool = False  # state D may be served
    residual: bool = True  # a residual-current monitor with self-test is fitted
    wake_up: str = "f"  # "off", or "f": one pulse of state F
    wake_after: float = 30.0  # of B2 without C (IEC 61851-1 A.5.3)
    derate_from: float = 60.0  # full current up to here, linear down to 6 A ...
    derate_to: float = 75.0  # ... here
    stop_at: float = 80.0  # no power from here until 5 K lower
    fitted: Fitted = Fitted()

    def __post_init__(self) -> None:
        _within("evse", self.evse, 1, 64)
        _within("amps", self.amps, MIN_AMPS, MAX_AMPS)
        _within("phases", self.phases, 1, 3)
        _within("wake_after", self.wake_after, 10.0, 600.0)
        _within("derate_from", self.derate_from, 20.0, 60.0)
        _within("derate_to", self.derate_to, self.derate_from + 5.0, 75.0)
        _within("stop_at", self.stop_at, self.derate_to, 80.0)
        if self.wake_up not in ("off", "f"):
            raise ValueError(f"wake_up = {self.wake_up!r}: one of 'off', 'f'")


@dataclass(frozen=True, slots=True)
class TimingSetup:
    """From when on the guard does not trust its own time: `pauses` within a minute, `turn` seconds in the mean."""

    pauses: int = 5
    turn: float = 0.018  # of a period of 20 ms

    def __post_init__(self) -> None:
        _within("pauses", self.pauses, 1, 20)
        _within("turn", self.turn, 0.005, 0.019)


@dataclass(frozen=True, slots=True)
class GuardSetup:
    """All outlets in rank order: outlet 1 is `outlets[0]`. Outlets of the same `evse` exclude each other."""

    outlets: tuple[OutletSetup, ...]
    timing: TimingSetup = TimingSetup()

    def __post_init__(self) -> None:
        _within("outlets", len(self.outlets), 1, 64)
