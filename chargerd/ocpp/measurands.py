"""Sampled values of one meter reading, in the words that OCPP 1.6 and 2.x share (1.6 §7.31, 2.x MeasurandEnumType)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from chargerd.core.moment import Moment
from chargerd.core.variables import ENTRIES, Variables, whole_of
from hal.api import MeterKind, MeterReading

# Standardised units; `Hz` has none in 1.6 (§7.45), whose dialect leaves it out.
WATT_HOURS, WATTS, AMPERES, VOLTS, HERTZ = "Wh", "W", "A", "V", "Hz"

REGISTER = "Energy.Active.Import.Register"

STALE = 15.0  # s; an older reading is stamped with its own time, not with that of what it is told for


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampledValue: `value` is a plain decimal without exponent, `phase` L1…L3 or L1-N…L3-N."""

    measurand: str
    phase: str | None
    value: str
    unit: str


def samples(reading: MeterReading, wanted: Sequence[str], offered: float | None, phases: int) -> list[Sample]:
    """The wanted measurands that this reading has, in the order asked; `offered` in A per phase, `phases` 1 or 3.

    `Voltage.L1` asks for one phase of it, unless all are wanted (1.6 §9.1.15). A measurand that the reading lacks, or
    whose figure is not a number, is left out.
    """
    return [
        Sample(name, phase, text(value, decimals), unit)
        for one in wanted
        if (name := whole_of(one)) in _MEASURANDS and (name == one or name not in wanted)
        for unit, decimals, figures in (_MEASURANDS[name],)
        for phase, value in figures(reading, offered, phases)
        if value is not None and isfinite(value) and one in (name, f"{name}.{(phase or '')[:2]}")
    ]


def read_at(at: Moment, reading: MeterReading | None) -> Moment:
    """The moment to stamp a reading with that is told at `at`."""
    age = at.mono - reading.at if reading is not None else 0.0
    return Moment(at.mono - age, at.wall - age, at.trusted, at.boot) if age > STALE else at


def lacks(kind: MeterKind, variables: Variables) -> list[str]:
    """What is asked for and this kind of meter cannot tell, and what cannot be checked without."""
    texts = []
    for name in ("sampled", "started", "ended", "stop", "aligned", "aligned_ended"):
        entry = ENTRIES[f"{name}_measurands"]
        asked = dict.fromkeys(map(whole_of, variables.get_list(entry.name)))
        missing = [one for one in asked if one in _FIELDS and _FIELDS[one] not in kind.gives]
        if missing:
            texts.append(f"{kind.name} cannot tell {', '.join(missing)}, which {entry.key or entry.place} asks for")
    if "amps" not in kind.gives:
        texts.append(f"{kind.name} tells no currents: that a vehicle takes more than it is offered, nobody notices")
    return texts


def text(value: float, decimals: int) -> str:
    """A decimal as both versions carry it: fixed point, half to even, never a negative zero."""
    return f"{value:z.{decimals}f}"


_FIELDS = {  # of hal.api.MeterReading
    REGISTER: "energy",
    "Energy.Active.Export.Register": "export",
    "Power.Active.Import": "power",
    "Current.Import": "amps",
    "Voltage": "volts",
    "Frequency": "frequency",
}

_Figures = Callable[[MeterReading, float | None, int], Sequence[tuple[str | None, float | None]]]


def _amps(reading: MeterReading, offered: float | None, phases: int) -> Sequence[tuple[str | None, float | None]]:
    return [(f"L{n}", value) for n, value in enumerate((reading.amps or ())[:phases], 1)]


def _volts(reading: MeterReading, offered: float | None, phases: int) -> Sequence[tuple[str | None, float | None]]:
    return [(f"L{n}-N", value) for n, value in enumerate((reading.volts or ())[:phases], 1)]


_MEASURANDS: Mapping[str, tuple[str, int, _Figures]] = {  # unit, decimals, figures
    REGISTER: (WATT_HOURS, 0, lambda reading, offered, phases: [(None, reading.energy)]),
    "Energy.Active.Export.Register": (WATT_HOURS, 0, lambda reading, offered, phases: [(None, reading.export)]),
    "Power.Active.Import": (WATTS, 1, lambda reading, offered, phases: [(None, reading.power)]),
    "Current.Import": (AMPERES, 1, _amps),
    "Current.Offered": (AMPERES, 1, lambda reading, offered, phases: [(None, offered)]),
    "Voltage": (VOLTS, 1, _volts),
    "Frequency": (HERTZ, 2, lambda reading, offered, phases: [(None, reading.frequency)]),
}
