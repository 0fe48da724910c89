"""Devices by moniker, `scheme:rest`. A backend is imported only when it is asked for; none ever stands in for another.

Boards   `sim:/path/world.sock`, `pi:name` of a board file
Meters   `sim:/path/world.sock?outlet=1`, `modbus:rtu:/dev/ttyUSB0?model=…`
Bays     `sim:/path/world.sock?outlet=1`
Readers  `sim:/path/world.sock?reader=station`, `pcsc:reader name?lights=acr122&bytes=reversed`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hal.api import BayDetector, Board, CardReader, DeviceError, Meter

if TYPE_CHECKING:
    from hal.pi.boardfile import OutletFile


def open(moniker: str) -> Board:
    """The guard's board. Raises DeviceError when the scheme is unknown or the device is not there."""
    match _split(moniker):
        case "sim", rest:
            from hal.sim.board import open_board

            return open_board(rest)
        case "pi", rest:
            from hal.pi.board import open_board as pi_board

            return pi_board(rest)
    raise _unknown_board(moniker)


def check_board(moniker: str) -> Sequence[OutletFile] | None:
    """What `open` would refuse of the moniker and of the file it names, without touching a line. Raises DeviceError.

    What the file says of each outlet; None where there is no file.
    """
    match _split(moniker):
        case "sim", _:
            return None
        case "pi", rest:
            from hal.pi.boardfile import load

            return load(rest).outlet
    raise _unknown_board(moniker)


def open_meter(moniker: str) -> Meter:
    """One outlet's energy meter. Raises DeviceError, or MissingExtra when an optional package is not installed."""
    match _split(moniker):
        case "sim", rest:
            from hal.sim.meter import open_meter as sim_meter

            return sim_meter(rest)
        case "modbus", rest:
            from hal.modbus.meter import open_meter as modbus_meter

            return modbus_meter(rest)
    raise _unknown("meter", moniker, "sim:/path/world.sock?outlet=1, modbus:rtu:/dev/ttyUSB0?model=…")


def open_bay(moniker: str) -> BayDetector:
    """The detector in one outlet's parking bay. Raises DeviceError when the scheme is unknown."""
    match _split(moniker):
        case "sim", rest:
            from hal.sim.bay import open_bay as sim_bay

            return sim_bay(rest)
    raise _unknown("bay detector", moniker, "sim:/path/world.sock?outlet=1")


def open_reader(moniker: str) -> CardReader:
    """One card reader. Raises DeviceError, or MissingExtra when an optional package is not installed."""
    match _split(moniker):
        case "sim", rest:
            from hal.sim.cards import open_reader as sim_reader

            return sim_reader(rest)
        case "pcsc", rest:
            from hal.pcsc.reader import open_reader as pcsc_reader

            return pcsc_reader(rest)
    raise _unknown("card reader", moniker, "sim:/path/world.sock?reader=station, pcsc:<reader name>")


def _split(moniker: str) -> tuple[str, str]:
    scheme, _, rest = moniker.partition(":")
    return scheme, rest


def _unknown_board(moniker: str) -> DeviceError:
    return _unknown("board", moniker, "sim:/path/world.sock, pi:<board>")


def _unknown(role: str, moniker: str, known: str) -> DeviceError:
    return DeviceError(f"{role} {moniker!r}: this build has no such backend; write one of: {known}")
