"""Energy meters on Modbus RTU or TCP, read by the model files.

Monikers (after `modbus:`): `rtu:/dev/ttyUSB0?model=eastron-sdm630&unit=1&baud=9600&parity=N&stop_bits=1`,
`tcp:192.168.1.20:502?model=abb-b23&unit=1`, and `rtutcp:…` for a gateway that passes on RTU frames as they are. Only
`model` is needed; otherwise unit 1 and what the model file says. `chargerd meters probe` finds them.

A meter mounted the wrong way round: `invert=swap` takes its export for import and turns power and currents; one that
counts both ways as import, but shows a negative power, wants `invert=sign`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import parse_qsl

from hal.api import DeviceError, MeterKind, MeterReading, PerPhase
from hal.modbus import model as models
from hal.modbus.port import Address, Port, RegistersRefused

NAME_TRIES = 3

_INVERT = ("no", "swap", "sign")
_TRANSPORTS = ("rtu", "tcp", "rtutcp")


class ModbusMeter:
    """One meter on a line that it may share. Phases that the model does not have read 0."""

    def __init__(self, model: models.Model, port: Port, unit: int, invert: str = "no") -> None:
        self._model, self._port, self._unit, self._invert = model, port, unit, invert
        self._closed = False
        self._serial: str | None = None
        self._to_name = NAME_TRIES
        self.kind = MeterKind(model.name, _gives(model), model.wraps_at)

    async def read(self) -> MeterReading:
        """All blocks as one reading, stamped at the last answer. `DeviceError` from the line, or without a register."""
        try:
            reading = await self._read()
        except BaseException:
            self._to_name = NAME_TRIES  # what answers next may be another one
            raise
        return reading if self._invert == "no" else _turned(reading, swap=self._invert == "swap")

    async def _read(self) -> MeterReading:
        image: dict[int, int] = {}
        for span in self._model.blocks:
            image |= enumerate(await self._port.read(self._unit, span), span.start)
        at = time.monotonic()
        try:
            values = self._model.decode(image)
        except DeviceError as error:
            raise DeviceError(f"{self._model.name}, unit {self._unit}: {error}") from None
        energy = values["energy"]
        if energy is None:
            raise DeviceError(
                f"{self._model.name}, unit {self._unit}: it says that its import register is not available; "
                "check the meter model"
            )
        if self._to_name:
            await self._name()
        return MeterReading(
            at=at,
            energy=energy,
            power=values.get("power"),
            amps=_phases(values, "amps"),
            volts=_phases(values, "volts"),
            frequency=values.get("frequency"),
            export=values.get("export"),
            serial=self._serial,
        )

    async def _name(self) -> None:
        """Ask for the serial number, which not every firmware has: some refuse, some are silent."""
        name = self._model.serial_number
        self._to_name -= 1
        try:
            if name is not None:
                self._serial = name.decode(await self._port.ask(self._unit, name.span)) or None
            self._to_name = 0
        except RegistersRefused:
            self._serial, self._to_name = None, 0
        except DeviceError:
            self._serial = None

    async def close(self) -> None:
        """Give the line back; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._port.release()


def _turned(reading: MeterReading, *, swap: bool) -> MeterReading:
    one, two, three = reading.amps or (0.0, 0.0, 0.0)
    turned = replace(
        reading,
        power=None if reading.power is None else -reading.power,
        amps=None if reading.amps is None else (-one, -two, -three),
    )
    if not swap:
        return turned
    if reading.export is None:
        raise DeviceError("it says that its export register is not available, which invert=swap takes for import")
    return replace(turned, energy=reading.export, export=reading.energy)


def open_meter(rest: str) -> ModbusMeter:
    """A meter by the rest of its moniker; the first read opens the line. `DeviceError` names what is wrong in it."""
    place, _, query = rest.partition("?")
    transport, _, place = place.partition(":")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError as error:
        raise DeviceError(f"meter modbus:{rest}: write options as name=value, joined by & ({error})") from error
    options = dict(pairs)
    known = {"model", "unit", "invert"} | ({"baud", "parity", "stop_bits"} if transport == "rtu" else set())
    for name, _ in pairs:
        if name not in known:
            raise DeviceError(f"meter modbus:{rest}: unknown option {name!r}; known are {', '.join(sorted(known))}")
    if "model" not in options:
        raise DeviceError(
            f"meter modbus:{rest}: add model=, one of {', '.join(models.names())}, or the path of a model file"
        )
    model = models.load(options["model"])
    try:
        unit, invert = int(options.get("unit", "1")), options.get("invert", "no")
        if not 1 <= unit <= 247:
            raise ValueError(f"unit = {unit}: from 1 to 247")
        if invert not in _INVERT:
            raise ValueError(f"invert = {invert}: one of {', '.join(_INVERT)}")
        if invert == "swap" and "export" not in model.quantities:
            raise ValueError(f"invert = swap: {model.name} has no export register; mount it the right way round")
        address = _address(transport, place, options, model.serial)
    except ValueError as error:
        raise DeviceError(f"meter modbus:{rest}: {error}") from error
    return ModbusMeter(model, Port.share(address), unit, invert)


def _address(transport: str, place: str, options: dict[str, str], line: models.Serial) -> Address:
    if transport not in _TRANSPORTS:
        raise ValueError("write rtu:<device>, tcp:<host>:<port> or rtutcp:<host>:<port>")
    if transport != "rtu":
        host, _, port = place.rpartition(":") if place.count(":") == 1 or "]:" in place else (place, "", "502")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"write {transport}:<host>:<port>")
        return Address(host.strip("[]"), int(port), rtu=transport == "rtutcp")
    if not place.startswith("/"):
        raise ValueError("write rtu:/dev/…, best the stable name under /dev/serial/by-id")
    baud, stop_bits = int(options.get("baud", line.baud)), int(options.get("stop_bits", line.stop_bits))
    return Address(place, models.serial(baud, options.get("parity", line.parity), stop_bits))


def _gives(model: models.Model) -> frozenset[str]:
    return frozenset(name.partition("_l")[0] for name in model.quantities)


def _phases(values: dict[str, float | None], what: str) -> PerPhase | None:
    """Three phases of a quantity; None when the model has none of them, or the meter marks one as not available."""
    fitted = [values.get(f"{what}_l{n}", 0.0) for n in (1, 2, 3)]
    l1, l2, l3 = fitted
    if f"{what}_l1" not in values or l1 is None or l2 is None or l3 is None:
        return None
    return l1, l2, l3
