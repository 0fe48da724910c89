"""The meter of one simulated outlet."""

from __future__ import annotations

from typing import Any

from hal.api import DeviceError, MeterKind, MeterReading, PerPhase
from hal.sim.client import Way, outlet_address


class SimMeter:
    """A `hal.api.Meter` on a world's outlet; both clocks are CLOCK_MONOTONIC, so `at` needs no conversion."""

    kind = MeterKind("simulated meter")

    def __init__(self, way: Way, outlet: int) -> None:
        self._way, self._outlet = way, outlet

    async def read(self) -> MeterReading:
        """Raises DeviceError when the meter is silent or the world is gone."""
        row = await self._way.call("meter.read", {"outlet": self._outlet})
        try:
            return MeterReading(**{**row, "amps": _three(row["amps"]), "volts": _three(row["volts"])})
        except (TypeError, ValueError, KeyError):
            raise DeviceError(f"simulated meter of outlet {self._outlet} answers nonsense: {str(row)[:200]}") from None

    async def close(self) -> None:
        await self._way.close()


def _three(values: Any) -> PerPhase:
    one, two, three = values
    return float(one), float(two), float(three)


def open_meter(rest: str) -> SimMeter:
    """`/path/world.sock?outlet=1`; connects when read. Raises DeviceError."""
    return SimMeter(*outlet_address("meter", rest))
