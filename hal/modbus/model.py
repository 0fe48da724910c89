"""What a meter's registers mean: the model files `meters/*.toml`, and raw registers decoded by them.

A model names the reads to make (`blocks`, each one request) and where in them each quantity stands. Addresses are those
on the wire, from 0; `scale` leads to volts, amperes, watts, hertz and watt-hours. `not_available` says which raw number
of each width means "no value": the largest or the smallest of its type. A float that is not a number always does.
`wraps_at` is the raw number at which a counter begins anew; a 32-bit counter does so at its width in any case.

`[serial_number]` tells one meter from another of its kind, `[identity]` one kind from another: both have a `function`
of their own, and `[identity]` the `values` that it may have.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hal.api import DeviceError
from hal.tables import Shelf

MAX_REGISTERS = 80
"""Registers of one read: what the tightest meters allow (Eastron: 40 values); the answer timeout is laid out for it."""
MAX_BLOCKS = 8

# What can be, of a meter of one outlet. Anything beyond is another model's register, or another word order.
_CAN_BE = {
    "energy": (0.0, 1e12),
    "export": (0.0, 1e12),
    "power": (-1e6, 1e6),
    "frequency": (0.0, 100.0),
    **{f"volts_l{n}": (0.0, 1000.0) for n in (1, 2, 3)},
    **{f"amps_l{n}": (-1000.0, 1000.0) for n in (1, 2, 3)},
}
QUANTITIES = tuple(_CAN_BE)

_FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
_COUNTERS = {"u16": 2**16, "u32": 2**32, "i32": 2**31}
_PARITIES = ("N", "E", "O")


@dataclass(frozen=True, slots=True)
class Span:
    """One read: `count` registers from `start`, by function 3 (holding registers) or 4 (input registers)."""

    function: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Quantity:
    """Where one value stands and how it is written; `na_value` is the raw number that means "not available"."""

    address: int
    type: str
    high_first: bool
    scale: float = 1.0
    na_value: int | None = None
    wraps_at: float | None = None

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
class Name:
    """A register that names a meter or its kind: a number, or text of two characters a register."""

    span: Span
    type: str
    high_first: bool
    values: tuple[str, ...] = ()

    def decode(self, words: Sequence[int]) -> str:
        """What it says, as text; empty where it says nothing."""
        if self.type == "text":
            raw = struct.pack(f">{len(words)}H", *words).split(b"\0")[0]
            return raw.decode("ascii", "replace").strip()
        ordered = words if self.high_first else tuple(reversed(words))
        number = int.from_bytes(struct.pack(f">{len(words)}H", *ordered), "big")
        return str(number) if number else ""


@dataclass(frozen=True, slots=True)
class Serial:
    """Line settings as the meter leaves its factory."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """One model file."""

    name: str
    blocks: tuple[Span, ...]
    serial: Serial
    quantities: Mapping[str, Quantity]
    serial_number: Name | None = None
    identity: Name | None = None

    def decode(self, image: Mapping[int, int]) -> dict[str, float | None]:
        """Every quantity from a register image (address to word) that holds all blocks. `DeviceError` for nonsense."""
        values: dict[str, float | None] = {}
        for name, quantity in self.quantities.items():
            words = [image[address] for address in range(quantity.address, quantity.address + quantity.width)]
            value = quantity.decode(words)
            low, high = _CAN_BE[name]
            if value is not None and not low <= value <= high:
                shown = " ".join(f"{word:04X}" for word in words)
                raise DeviceError(f"{name} would be {value:g} (registers {shown}): check the meter model")
            values[name] = value
        return values

    @property
    def wraps_at(self) -> float | None:
        """Wh at which the import register begins anew; None: in no lifetime."""
        energy = self.quantities["energy"]
        return None if energy.wraps_at is None else energy.wraps_at * energy.scale


SHELF = Shelf("meter model", __package__, "meters")


def load(name: str) -> Model:
    """A model by the name of its file in `meters/` or /etc/chargerd/meters, or by an absolute path. DeviceError."""
    return SHELF.load(name, parse)


def names() -> list[str]:
    """The models that come with the package, and those in /etc."""
    return SHELF.names()


# ---------------------------------------------------------------- from a parsed file


def parse(raw: Mapping[str, Any]) -> Model:
    """A model from a parsed file. ValueError, TypeError or KeyError name what is wrong in it."""
    known = ("name", "function", "type", "word_order", "not_available", "blocks", "serial", "values")
    _known("the file", raw, (*known, "serial_number", "identity"))
    function = _number("function", raw["function"], 3, 4)
    blocks = tuple(
        Span(function, _number("blocks", start, 0, 0xFFFF), _number("blocks", n, 1, MAX_REGISTERS))
        for start, n in raw["blocks"]
    )
    _number("blocks, their number,", len(blocks), 1, MAX_BLOCKS)
    values = raw["values"]
    _known("[values]", values, QUANTITIES)
    quantities = {name: _quantity(name, value, raw, blocks) for name, value in values.items()}
    if "energy" not in quantities:
        raise ValueError("[values] has no energy: a meter without an import register cannot be used")
    for group in ("volts", "amps"):
        fitted = {name for name in quantities if name.startswith(group)}
        if fitted not in (set(), {f"{group}_l1"}, {f"{group}_l{n}" for n in (1, 2, 3)}):
            raise ValueError(f"[values] has {', '.join(sorted(fitted))}: give {group} of L1, all three phases, or none")
    return Model(
        name=_one_of("name", raw["name"], None),
        blocks=blocks,
        serial=_serial(raw.get("serial", {})),
        quantities=quantities,
        serial_number=_name("serial_number", raw),
        identity=_name("identity", raw),
    )


def _quantity(name: str, raw: Mapping[str, Any], model: Mapping[str, Any], blocks: Sequence[Span]) -> Quantity:
    _known(name, raw, ("address", "type", "word_order", "scale", "na_value", "wraps_at"))
    scale, na_value = raw.get("scale", 1), raw.get("na_value")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or scale == 0:
        raise ValueError(f"{name}.scale = {scale!r}: a finite number other than 0")
    if isinstance(na_value, bool) or not isinstance(na_value, int | None):
        raise ValueError(f"{name}.na_value = {na_value!r}: an integer, the raw number")
    kind = _one_of(f"{name}.type", raw.get("type", model.get("type")), tuple(_FORMATS))
    wraps_at = raw.get("wraps_at", _COUNTERS.get(kind) if name in ("energy", "export") else None)
    if wraps_at is not None:
        wraps_at = _number(f"{name}.wraps_at", wraps_at, 1000, 2**63)
    quantity = Quantity(
        address=_number(f"{name}.address", raw["address"], 0, 0xFFFF),
        type=kind,
        high_first=_high_first(name, raw, model),
        scale=float(scale),
        na_value=_not_available(kind, model) if na_value is None else na_value,
        wraps_at=wraps_at,
    )
    end = quantity.address + quantity.width
    if not any(block.start <= quantity.address and end <= block.start + block.count for block in blocks):
        raise ValueError(f"{name}.address = {quantity.address:#06x}: not wholly inside one of the blocks")
    return quantity


def _not_available(kind: str, model: Mapping[str, Any]) -> int | None:
    which = _one_of("not_available", model.get("not_available", "nothing"), ("largest", "smallest", "nothing"))
    if which == "nothing" or kind[0] == "f":
        return None
    bits, signed = int(kind[1:]), kind[0] == "i"
    if which == "largest":
        return (1 << bits - signed) - 1
    return -(1 << bits - 1) if signed else 0


def _name(key: str, model: Mapping[str, Any]) -> Name | None:
    raw = model.get(key)
    if raw is None:
        return None
    wants = ("function", "address", "type", "word_order", "registers")
    _known(f"[{key}]", raw, (*wants, "values") if key == "identity" else wants)
    kind = _one_of(f"{key}.type", raw["type"], ("text", "u16", "u32", "u64"))
    count = _number(f"{key}.registers", raw["registers"], 1, 32) if kind == "text" else int(kind[1:]) // 16
    values = tuple(str(value) for value in raw.get("values", ()))
    if key == "identity" and not values:
        raise ValueError("identity.values: at least one that this kind of meter has")
    function = _number(f"{key}.function", raw["function"], 3, 4)
    span = Span(function, _number(f"{key}.address", raw["address"], 0, 0xFFFF), count)
    return Name(span, kind, _high_first(key, raw, model), values)


def _high_first(name: str, raw: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    order = raw.get("word_order", model.get("word_order", "high_first"))
    return _one_of(f"{name}.word_order", order, ("high_first", "low_first")) == "high_first"


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
