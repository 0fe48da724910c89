"""Numbers of the guard that an installer may change, each within bounds that keep it safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "cabinet_full": (20.0, 60.0),
        "cabinet_least": (65.0, 75.0),
        "cabinet_stop": (75.0, 80.0),
        "plug_full": (20.0, 75.0),
        "plug_least": (80.0, 85.0),
        "plug_stop": (85.0, 90.0),
        "supply_low": (184.0, 220.0),
        "supply_high": (240.0, 264.5),
        "shed_watts": (0.0, 22_000.0),
        "test_hours": (1.0, 24.0),
        "wake_after": (10.0, 600.0),
        "wake_ups": (0, 5),
        "phase_pause": (10.0, 300.0),
        "phase_rest": (60.0, 3600.0),
        "phase_switches": (0, 50),
    }
)


@dataclass(frozen=True, slots=True)
class Protection:
    """Degrees Celsius, volts, watts, seconds. ValueError names field, value and bounds.

    Current falls from all of it at `full` to 6 A at `least`, and there is none from `stop` on until 5 K lower.
    """

    cabinet_full: float = 60.0
    cabinet_least: float = 75.0
    cabinet_stop: float = 80.0
    plug_full: float = 75.0
    plug_least: float = 85.0
    plug_stop: float = 90.0
    supply_low: float = 195.5  # 230 V - 15 %, each phase
    supply_high: float = 253.0  # + 10 %
    shed_watts: float = 4200.0  # while load shedding asks for less: what is left of an outlet (EnWG § 14a)
    test_hours: float = 24.0  # how old a self-test of the residual-current monitor may be when the contactor closes
    wake_after: float = 30.0  # s of B2 without C until a vehicle is woken (IEC 61851-1 A.5.3)
    wake_ups: int = 3  # for one vehicle
    phase_pause: float = 10.0  # s between two offers when phases were switched
    phase_rest: float = 120.0  # s between two switchings
    phase_switches: int = 10  # for one vehicle, beyond the first choice

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} = {getattr(self, name)}: between {low:g} and {high:g}")


USUAL = Protection()
