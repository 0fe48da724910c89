"""Find meters on a line: which unit answers at which settings, and what it is. Only reads, and never to all at once.

Somebody is there who answers anything at all, a refusal too. What it is, `[identity]` of the model files says; of a
model without one every register must hold what a meter on the mains could show, so several may be as likely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hal.api import DeviceError
from hal.modbus import model as models
from hal.modbus.model import Model, Serial, Span
from hal.modbus.port import Address, Port, RegistersRefused, SettingsRefused

PATIENCE = 0.15  # s until an answer begins: a technician waits, and a meter that is slower is rare
_CALLS = (Span(4, 0, 2), Span(3, 0, 2))
_BAUDS = (9600, 19200, 2400, 4800, 38400, 115200, 1200)
_MAINS = {"volts": (80.0, 300.0), "frequency": (45.0, 65.0)}


@dataclass(frozen=True, slots=True)
class Found:
    """A meter. `models`: by name, likeliest first; `sure`: it said so itself; `serial`: its number, "" if unknown."""

    address: Address
    unit: int
    models: tuple[str, ...]
    sure: bool
    serial: str

    def monikers(self) -> list[str]:
        """What to write into the configuration, one for each model that it could be."""
        where, how = self._place(), self._line()
        return [f"modbus:{where}?model={name}&unit={self.unit}{how}" for name in self.models]

    def _place(self) -> str:
        if isinstance(self.address.line, int):
            host = f"[{self.address.place}]" if ":" in self.address.place else self.address.place
            return f"{'rtutcp' if self.address.rtu else 'tcp'}:{host}:{self.address.line}"
        return f"rtu:{self.address.place}"

    def _line(self) -> str:
        line = self.address.line
        if isinstance(line, int):
            return ""
        stop = "" if line.stop_bits == 1 else f"&stop_bits={line.stop_bits}"
        return f"&baud={line.baud}&parity={line.parity}{stop}"


def addresses(place: str) -> Iterator[Address]:
    """Every way to speak to a place, likeliest first: a serial device, or `host` or `host:port`. ValueError."""
    if place.startswith("/"):
        known = {models.load(name).serial: None for name in models.names()}
        rest = (Serial(baud, parity) for baud in _BAUDS for parity in ("N", "E", "O"))
        yield from (Address(place, line) for line in dict.fromkeys((*known, *rest)))
        return
    host, _, port = place.rpartition(":") if place.count(":") == 1 or "]:" in place else (place, "", "502")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{place}: write /dev/…, a host, or host:port")
    for rtu in (False, True):
        yield Address(host.strip("[]"), int(port), rtu=rtu)


async def scan(
    place: str, units: Sequence[int], seconds: float, found: Callable[[Found], None], tell: Callable[[str], object]
) -> None:
    """Give `found` each meter at the first settings at which anybody answers; `tell` hears how far it is.

    `DeviceError`: there is no such line. TimeoutError: `seconds` are over.
    """
    async with asyncio.timeout(seconds):
        for address in addresses(place):
            port, answered = Port(address, PATIENCE), False
            try:
                tell(f"{address}, units {units[0]} to {units[-1]}")
                await port.open()
                for unit in units:
                    if await _there(port, unit):
                        answered = True
                        found(await _what(port, address, unit))
            except SettingsRefused:
                continue
            finally:
                port.close()
            if answered:
                return


async def _there(port: Port, unit: int) -> bool:
    for call in _CALLS:
        if await _asked(port, unit, call) is not None:
            return True
    return False


async def _asked(port: Port, unit: int, span: Span) -> list[int] | None:
    """The registers; none where the meter refuses them, None where nobody answers."""
    try:
        return await port.ask(unit, span)
    except RegistersRefused:
        return []
    except DeviceError:
        return None


async def _what(port: Port, address: Address, unit: int) -> Found:
    likely: dict[str, int] = {}
    for name in models.names():
        model = models.load(name)
        said = await _says(port, unit, model)
        if said:
            return Found(address, unit, (name,), True, await _number(port, unit, model))
        if said is None and (score := await _score(port, unit, model)):
            likely[name] = score
    best = tuple(sorted(likely, key=lambda name: -likely[name]))
    serial = await _number(port, unit, models.load(best[0])) if best else ""
    return Found(address, unit, best, False, serial)


async def _says(port: Port, unit: int, model: Model) -> bool | None:
    """Whether the meter says that it is of this kind; None: it says nothing."""
    if model.identity is None:
        return None
    words = await _asked(port, unit, model.identity.span)
    return model.identity.decode(words) in model.identity.values if words else None


async def _number(port: Port, unit: int, model: Model) -> str:
    words = await _asked(port, unit, model.serial_number.span) if model.serial_number else None
    return model.serial_number.decode(words) if words and model.serial_number else ""


async def _score(port: Port, unit: int, model: Model) -> int:
    """How much of what this model would show is what a meter on the mains shows; 0: it is none."""
    image: dict[int, int] = {}
    for block in model.blocks:
        words = await _asked(port, unit, block)
        if not words:
            return 0
        image |= enumerate(words, block.start)
    try:
        values = model.decode(image)
    except DeviceError:
        return 0
    if values["energy"] is None:
        return 0
    score = 1
    for name, value in values.items():
        low, high = _MAINS.get(name.partition("_l")[0], (None, None))
        if low is not None and high is not None and value is not None:
            score += 2 if low <= value <= high else -1 if value == 0 else -4  # 0: a phase that is not connected
    return max(0, score)
