"""What each pin and each channel of a board is for: said once beside its key, walked by checks, drivers and pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

HEADER_PINS = {
    2: 3,
    3: 5,
    4: 7,
    14: 8,
    15: 10,
    17: 11,
    18: 12,
    27: 13,
    22: 15,
    23: 16,
    24: 18,
    10: 19,
    9: 21,
    25: 22,
    11: 23,
    8: 24,
    7: 26,
    5: 29,
    6: 31,
    12: 32,
    13: 33,
    19: 35,
    16: 36,
    26: 37,
    20: 38,
    21: 40,
}
"""GPIO by BCM's number → pin of the header."""
LOW_AT_BOOT = range(9, 28)  # pulled down until somebody configures them; the others are pulled up
SERIAL = 14  # but its sending end idles high as soon as the firmware has the serial line on
FIXED_UP = (2, 3)  # by resistors on the machine itself
SPI_PINS = {
    "0.0": {8: "CE0", 9: "MISO", 10: "MOSI", 11: "SCLK", 7: "CE1, which the kernel takes as well"},
    "0.1": {7: "CE1", 9: "MISO", 10: "MOSI", 11: "SCLK", 8: "CE0, which the kernel takes as well"},
    "1.0": {18: "CE0", 19: "MISO", 20: "MOSI", 21: "SCLK"},
    "1.1": {17: "CE1", 19: "MISO", 20: "MOSI", 21: "SCLK", 18: "CE0, which the kernel takes as well"},
}


@dataclass(frozen=True, slots=True)
class Role:
    """What one pin does. `powers`: it switches power, the pilot or a motor, and must be low while the machine boots."""

    what: str
    output: bool = False
    powers: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """One pin or channel in use: its number, the key that says so, and what it does."""

    number: int
    key: str
    role: Role


def drives(what: str, *, powers: bool = False, default: Any = MISSING) -> Any:
    """A field that names an output pin."""
    return field(default=default, metadata={"pin": Role(what, output=True, powers=powers)})


def senses(what: str, *, default: Any = MISSING) -> Any:
    """A field that names an input pin."""
    return field(default=default, metadata={"pin": Role(what)})


def measures(what: str, *, default: Any = MISSING) -> Any:
    """A field that names one or several channels of the ADC."""
    return field(default=default, metadata={"channel": Role(what), "low": 0, "high": 7})


def pins(board: Any) -> Iterator[Use]:
    """Every pin, in the order of the file: the converter's bus, what is reserved, then key by key."""
    for pin, what in SPI_PINS[board.adc.spi].items():
        yield Use(pin, "adc.spi", Role(f"SPI {what}", output=what != "MISO"))
    for n, pin in enumerate(board.reserved, 1):
        yield Use(pin, f"reserved[{n}]", Role("not the guard's"))
    yield from _walked(board, "pin", "")


def channels(board: Any) -> Iterator[Use]:
    """Every channel of the ADC."""
    yield from _walked(board, "channel", "")


def _walked(part: Any, kind: str, where: str) -> Iterator[Use]:
    for one in fields(part):
        value, key = getattr(part, one.name), f"{where}.{one.name}".removeprefix(".")
        role = one.metadata.get(kind)
        several = isinstance(value, tuple)
        for n, item in enumerate(value if several else (value,), 1):
            place = f"{key}[{n}]" if several else key
            if role is not None and item is not None:
                yield Use(item, place, role)
            elif is_dataclass(item) and not isinstance(item, type):
                yield from _walked(item, kind, place)


# ---------------------------------------------------------------- for people


def table(board: Any) -> list[str]:
    """The wiring as a Markdown table, in the order of the header's pins."""
    rows = [("header pin", "GPIO", "to", "way", "at boot", "key")]
    for use in sorted(pins(board), key=lambda use: HEADER_PINS[use.number]):
        boot = "low" if use.number in LOW_AT_BOOT else "high"
        way = "-" if use.key.startswith("reserved") else "out" if use.role.output else "in"
        rows.append((f"{HEADER_PINS[use.number]}", f"{use.number}", use.role.what, way, boot, f"`{use.key}`"))
    return _drawn(rows)


def channel_table(board: Any) -> list[str]:
    """The channels of the ADC likewise."""
    uses = sorted(channels(board), key=lambda use: use.number)
    return _drawn([("channel", "from", "key"), *((f"CH{use.number}", use.role.what, f"`{use.key}`") for use in uses)])


def _drawn(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [
        f"| {lines[0]} |",
        f"|{'|'.join('-' * (width + 2) for width in widths)}|",
        *(f"| {at} |" for at in lines[1:]),
    ]
