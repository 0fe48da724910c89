"""Energy meters on Modbus RTU or TCP, read by the model files.

Monikers (after `modbus:`): `rtu:/dev/ttyUSB0?model=eastron-sdm630&unit=1&baud=9600&parity=N&stop_bits=1` and
`tcp:192.168.1.20:502?model=abb-b23&unit=1`. Only `model` is needed; otherwise unit 1 and what the model file says.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from hal.api import DeviceError, MeterReading, PerPhase
from hal.modbus import model as models
from hal.modbus.port import Address, Port


class ModbusMeter:
    """One meter on a line that it may share. Phases that the model does not have read 0."""

    def __init__(self, model: models.Model, port: Port, unit: int) -> None:
        self._model = model
        self._port = port
        self._unit = unit
        self._closed = False

    async def read(self) -> MeterReading:
        """All blocks as one reading, stamped at the last answer. `DeviceError` from the line, or without a register."""
        image: dict[int, int] = {}
        for start, count in self._model.blocks:
            image |= enumerate(await self._port.read(self._model.function, self._unit, start, count), start)
        at = time.monotonic()
        values = self._model.decode(image)
        energy = values["energy"]
        if energy is None or energy < 0:
            raise DeviceError(
                f"{self._model.name}, unit {self._unit}: no plausible import register ({energy}); check the meter model"
            )
        return MeterReading(
            at=at,
            energy=energy,
            power=values.get("power"),
            amps=_phases(values, "amps"),
            volts=_phases(values, "volts"),
            frequency=values.get("frequency"),
            export=values.get("export"),
        )

    async def close(self) -> None:
        """Give the line back; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._port.release()


def open_meter(rest: str) -> ModbusMeter:
    """A meter by the rest of its moniker; the first read opens the line. `DeviceError` names what is wrong in it."""
    place, _, query = rest.partition("?")
    transport, _, place = place.partition(":")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError as error:
        raise DeviceError(f"meter modbus:{rest}: write options as name=value, joined by & ({error})") from error
    options = dict(pairs)
    known = {"model", "unit"} | ({"baud", "parity", "stop_bits"} if transport == "rtu" else set())
    for name, _ in pairs:
        if name not in known:
            raise DeviceError(f"meter modbus:{rest}: unknown option {name!r}; known are {', '.join(sorted(known))}")
    if "model" not in options:
        raise DeviceError(
            f"meter modbus:{rest}: add model=, one of {', '.join(models.names())}, or the path of a model file"
        )
    model = models.load(options["model"])
    try:
        unit = int(options.get("unit", "1"))
        if not 1 <= unit <= 247:
            raise ValueError(f"unit = {unit}: from 1 to 247")
        address = _address(transport, place, options, model.serial)
    except ValueError as error:
        raise DeviceError(f"meter modbus:{rest}: {error}") from error
    return ModbusMeter(model, Port.share(address), unit)


def _address(transport: str, place: str, options: dict[str, str], line: models.Serial) -> Address:
    if transport == "tcp":
        host, _, port = place.rpartition(":") if place.count(":") == 1 or "]:" in place else (place, "", "502")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("write tcp:<host>:<port>")
        return Address(host.strip("[]"), int(port))
    if transport == "rtu":
        if not place.startswith("/"):
            raise ValueError("write rtu:/dev/…, best the stable name under /dev/serial/by-id")
        baud, stop_bits = int(options.get("baud", line.baud)), int(options.get("stop_bits", line.stop_bits))
        return Address(place, models.serial(baud, options.get("parity", line.parity), stop_bits))
    raise ValueError("write rtu:<device> or tcp:<host>:<port>")


def _phases(values: dict[str, float | None], what: str) -> PerPhase | None:
    """Three phases of a quantity; None when the model has none of them, or the meter marks one as not available."""
    fitted = [values.get(f"{what}_l{n}", 0.0) for n in (1, 2, 3)]
    l1, l2, l3 = fitted
    if f"{what}_l1" not in values or l1 is None or l2 is None or l3 is None:
        return None
    return l1, l2, l3
