"""What a meter's registers mean: the model files `meters/*.toml`, and raw registers decoded by them.

A model names the reads to make (`blocks`, each one request) and where in them each quantity stands. Addresses are those
on the wire, from 0; `scale` leads to volts, amperes, watts, hertz and watt-hours.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hal.tables import Shelf

MAX_REGISTERS = 80
"""Registers of one read: what the tightest meters allow (Eastron: 40 values); the answer timeout is laid out for it."""

QUANTITIES = (
    *("energy", "export", "power", "frequency"),
    *("volts_l1", "volts_l2", "volts_l3", "amps_l1", "amps_l2", "amps_l3"),
)

_FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
_PARITIES = ("N", "E", "O")


@dataclass(frozen=True, slots=True)
class Quantity:
    """Where one value stands and how it is written; `na_value` is the raw number that means "not available"."""

    address: int
    type: str
    high_first: bool
    scale: float = 1.0
    na_value: int | None = None

    @property
    def width(self) -> int:
        """Registers that the value takes."""
        return struct.calcsize(_FORMATS[self.type]) // 2

    def decode(self, words: Sequence[int]) -> float | None:
        """The value in its unit; None when not available: the meter's own mark, or no finite number."""
        ordered = words if self.high_first else tuple(reversed(words))
        (raw,) = struct.unpack(">" + _FORMATS[self.type], struct.pack(f">{self.width}H", *ordered))
        if raw == self.na_value or not math.isfinite(raw):
            return None
        return float(raw) * self.scale


@dataclass(frozen=True, slots=True)
class Serial:
    """Line settings as the meter leaves its factory."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """One model file. `function`: 3 (holding registers) or 4 (input registers); `blocks`: (first address, count)."""

    name: str
    function: int
    blocks: tuple[tuple[int, int], ...]
    serial: Serial
    quantities: Mapping[str, Quantity]

    def decode(self, image: Mapping[int, int]) -> dict[str, float | None]:
        """Every quantity of the model from a register image (address to word) that holds all of its blocks."""
        return {
            name: q.decode([image[address] for address in range(q.address, q.address + q.width)])
            for name, q in self.quantities.items()
        }


SHELF = Shelf("meter model", __package__, "meters")


def load(name: str) -> Model:
    """A model by the name of its file in `meters/` or /etc/chargerd/meters, or by an absolute path. DeviceError."""
    return SHELF.load(name, parse)


def names() -> list[str]:
    """The models that come with the package, and those in /etc."""
    return SHELF.names()


def parse(raw: Mapping[str, Any]) -> Model:
    """A model from a parsed file. ValueError, TypeError or KeyError name what is wrong in it."""
    _known("the file", raw, ("name", "function", "type", "word_order", "blocks", "serial", "values"))
    blocks = tuple(
        (_number("blocks", start, 0, 0xFFFF), _number("blocks", n, 1, MAX_REGISTERS)) for start, n in raw["blocks"]
    )
    values = raw["values"]
    _known("[values]", values, QUANTITIES)
    quantities = {name: _quantity(name, value, raw, blocks) for name, value in values.items()}
    if "energy" not in quantities:
        raise ValueError("[values] has no energy: a meter without an import register cannot be used")
    return Model(
        name=_one_of("name", raw["name"], None),
        function=_number("function", raw["function"], 3, 4),
        blocks=blocks,
        serial=_serial(raw.get("serial", {})),
        quantities=quantities,
    )


def _quantity(
    name: str, raw: Mapping[str, Any], model: Mapping[str, Any], blocks: Sequence[tuple[int, int]]
) -> Quantity:
    _known(name, raw, ("address", "type", "word_order", "scale", "na_value"))
    scale, na_value = raw.get("scale", 1), raw.get("na_value")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or scale == 0:
        raise ValueError(f"{name}.scale = {scale!r}: a finite number other than 0")
    if isinstance(na_value, bool) or not isinstance(na_value, int | None):
        raise ValueError(f"{name}.na_value = {na_value!r}: an integer, the raw number")
    order = _one_of(
        f"{name}.word_order", raw.get("word_order", model.get("word_order", "high_first")), ("high_first", "low_first")
    )
    quantity = Quantity(
        address=_number(f"{name}.address", raw["address"], 0, 0xFFFF),
        type=_one_of(f"{name}.type", raw.get("type", model.get("type")), tuple(_FORMATS)),
        high_first=order == "high_first",
        scale=float(scale),
        na_value=na_value,
    )
    if not any(
        start <= quantity.address and quantity.address + quantity.width <= start + count for start, count in blocks
    ):
        raise ValueError(f"{name}.address = {quantity.address:#06x}: not wholly inside one of the blocks")
    return quantity


def _serial(raw: Mapping[str, Any]) -> Serial:
    _known("[serial]", raw, ("baud", "parity", "stop_bits"))
    return serial(raw.get("baud", 9600), raw.get("parity", "N"), raw.get("stop_bits", 1))


def serial(baud: object, parity: object, stop_bits: object) -> Serial:
    """Checked line settings; ValueError names the one that is wrong."""
    return Serial(
        _number("baud", baud, 300, 115200), _one_of("parity", parity, _PARITIES), _number("stop_bits", stop_bits, 1, 2)
    )


def _known(where: str, raw: Mapping[str, Any], keys: Sequence[str]) -> None:
    if not isinstance(raw, dict):
        raise TypeError(f"{where}: a table is needed")
    for key in raw:
        if key not in keys:
            raise ValueError(f"{where}: unknown key {key!r}; known are {', '.join(keys)}")


def _number(key: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{key} = {value!r}: an integer from {low} to {high}")
    return value


def _one_of(key: str, value: object, choices: Sequence[str] | None) -> str:
    if not isinstance(value, str) or (choices is not None and value not in choices):
        raise ValueError(f"{key} = {value!r}: {'a text' if choices is None else 'one of ' + ', '.join(choices)}")
    return value
