"""The detector in the parking bay of one simulated outlet."""

from __future__ import annotations

from hal.api import DeviceError
from hal.sim.client import Way, outlet_address


class SimBay:
    """A `hal.api.BayDetector` on a world's outlet."""

    def __init__(self, way: Way, outlet: int) -> None:
        self._way, self._outlet = way, outlet

    async def occupied(self) -> bool:
        """Raises DeviceError when the world is gone."""
        taken = await self._way.call("bay.read", {"outlet": self._outlet})
        if not isinstance(taken, bool):
            raise DeviceError(f"simulated bay detector of outlet {self._outlet} answers nonsense: {str(taken)[:200]}")
        return taken

    async def close(self) -> None:
        await self._way.close()


def open_bay(rest: str) -> SimBay:
    """`/path/world.sock?outlet=1`; connects when asked. Raises DeviceError."""
    return SimBay(*outlet_address("bay detector", rest))
