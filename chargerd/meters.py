"""`chargerd meters`: which meters there are models of, and which are on a line."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from hal.api import DeviceError
from hal.modbus import model as models
from hal.modbus.probe import Found, scan


def show() -> int:
    """Each model: what it can tell, and how it comes from its factory."""
    for name in models.names():
        model = models.load(name)
        line = model.serial
        told = sorted({quantity.partition("_l")[0] for quantity in model.quantities})
        number = ", serial number" if model.serial_number else ""
        sys.stdout.write(f"{name:<22} {line.baud:>5} 8{line.parity}{line.stop_bits}  {', '.join(told)}{number}\n")
    return 0


def probe(place: str, units: Sequence[int], seconds: float) -> int:
    """Print what to write for each meter at `place`; the exit code: 1 where none is."""
    try:
        return asyncio.run(_probe(place, units, seconds))
    except (DeviceError, ValueError) as e:
        sys.stderr.write(f"{e}\n")
        return os.EX_UNAVAILABLE


async def _probe(place: str, units: Sequence[int], seconds: float) -> int:
    count = 0

    def found(one: Found) -> None:
        nonlocal count
        count += 1
        sys.stdout.write("\n".join(lines(one)) + "\n")
        sys.stdout.flush()

    try:
        await scan(place, units, seconds, found, lambda text: sys.stderr.write(f"asking {text}\n"))
    except TimeoutError:
        sys.stderr.write(f"{seconds:.0f} s are over, and not everybody was asked: --seconds, or fewer --units\n")
    if not count:
        sys.stderr.write("nobody answers: check supply, A and B (some makers swap the letters), and the unit number\n")
    return 0 if count else 1


def lines(found: Found) -> list[str]:
    """What a person copies; a meter of no known model has only a remark."""
    number = f", serial number {found.serial}" if found.serial else ""
    if not found.models:
        return [f"# unit {found.unit} on {found.address}: answers, and is of no model that is known here"]
    why = "it says so itself" if found.sure else "by its registers"
    if len(found.models) > 1:
        why = "one of these, by its registers: read the name on its front"
    head = f"# unit {found.unit}{number}: {why}"
    return [head, *(f'meter = "{moniker}"' for moniker in found.monikers())]


def numbers(text: str) -> range:
    """`1-10` or `7`: unit numbers. ValueError."""
    low, dash, high = text.partition("-")
    first, last = int(low), int(high if dash else low)
    if not 1 <= first <= last <= 247:
        raise ValueError(f"{text}: from 1 to 247, like 1-10")
    return range(first, last + 1)
