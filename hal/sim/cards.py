"""A simulated card reader: one belongs to an EVSE (`evse1`, `evse2`, …), one to the whole station (`station`)."""

from __future__ import annotations

from hal.api import Card, DeviceError
from hal.sim.client import Way, address


class SimReader:
    """A `hal.api.CardReader` at a world's reader."""

    def __init__(self, way: Way, reader: str = "station") -> None:
        self._way, self._reader = way, reader
        self._lost = False

    async def next(self) -> Card | None:
        """Raises DeviceError when the world is gone; call again to find it back."""
        if self._lost:
            await self._way.call("sim.state", {})
            self._lost = False
            return None
        try:
            row = await self._way.call("cards.next", {"reader": self._reader}, timeout=None)
        except DeviceError:
            self._lost = True
            raise
        try:
            return Card(**row)
        except TypeError:
            raise DeviceError(f"simulated reader {self._reader} answers nonsense: {str(row)[:200]}") from None

    def answered(self, accepted: bool) -> None:
        """It has no lights of its own."""

    async def close(self) -> None:
        await self._way.close()


def open_reader(rest: str) -> SimReader:
    """`/path/world.sock?reader=station`, the station's when none is named; connects when asked. Raises DeviceError."""
    way, reader = address("card reader", rest, "reader")
    return SimReader(way, reader or "station")
