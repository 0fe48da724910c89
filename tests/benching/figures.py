"""Distributions beside aims and beside what others need for the same, as a table or as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["quiet", "busy"]
QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
COLUMNS = ("min", "p50", "p90", "p99", "p99.9", "max")


@dataclass(frozen=True, slots=True)
class Peer:
    """The median of somebody else's program, in the unit of the figure."""

    name: str
    p50: float
    mode: Mode = "quiet"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `aim`: what the quantile `of` should not exceed; `note`: what one must know to read it."""

    name: str
    unit: str
    samples: tuple[float, ...]
    aim: float | None = None
    note: str = ""
    peers: tuple[Peer, ...] = ()
    of: float = 0.5

    def quantile(self, share: float) -> float:
        """Nearest rank: always a value that was measured."""
        ordered = sorted(self.samples)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# Medians on two x86 cores; quiet, but for RemoteStart of the first three, which was taken on a busy machine. EVerest is
# the whole of it (16 processes); "tuned" is the same with TCP_NODELAY at its message broker.
_TUNED = "EVerest, tuned"
PEERS: dict[str, tuple[Peer, ...]] = {
    "boot": (
        Peer("MicroOcpp", 4.2),
        Peer("libocpp", 73),
        Peer("SAP simulator", 6000),
        Peer("EVerest", 2780),
        Peer(_TUNED, 450),
    ),
    "card": (Peer("EVerest", 229), Peer(_TUNED, 88)),
    "remote": (
        Peer("MicroOcpp", 2.6, "busy"),
        Peer("SAP simulator", 6.1, "busy"),
        Peer("EVerest", 246),
        Peer(_TUNED, 89),
    ),
    "gone": (Peer("EVerest", 537), Peer(_TUNED, 21)),
    "config": (Peer("MicroOcpp", 0.69), Peer("libocpp", 0.99), Peer("SAP simulator", 1.96), Peer("EVerest", 1.0)),
    "memory": (Peer("MicroOcpp", 4.7), Peer("libocpp", 19), Peer("SAP simulator", 485)),
    "memory-pss": (Peer("EVerest", 77),),
    "cpu": (
        Peer("MicroOcpp", 0.07),
        Peer("libocpp", 0.008),
        Peer("SAP simulator", 0.025),
        Peer("EVerest", 9.9),
        Peer(_TUNED, 8.8),
    ),
}


def table(mode: str, figures: Sequence[Figure]) -> str:
    """Aligned text; under each row how our median compares with the peers' of the same mode."""
    width = max([len(figure.name) for figure in figures], default=0)
    heads = "".join(f"{head:>9}" for head in COLUMNS)
    lines = [f"{mode:<{width}}  unit {heads}{'n':>7}  aim"]
    for figure in figures:
        values = "".join(f"{_short(figure.quantile(share)):>9}" for share in QUANTILES) if figure.samples else ""
        aim = "" if figure.aim is None else f"{_head(figure.of)} ≤ {_short(figure.aim)}"
        over = ", over" if figure.aim is not None and figure.samples and figure.quantile(figure.of) > figure.aim else ""
        lines.append(f"{figure.name:<{width}}  {figure.unit:<5}{values}{len(figure.samples):>7}  {aim}{over}")
        ratios = [f"{name} × {_short(ratio)}" for name, ratio in _ratios(mode, figure)]
        lines += [f"    {text}" for text in ("p50 = " + ", ".join(ratios) if ratios else "", figure.note) if text]
    return "\n".join(line.rstrip() for line in lines)


def as_json(mode: str, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The same for programs, samples included."""
    return [
        asdict(figure)
        | {"mode": mode, "n": len(figure.samples), "ratios": dict(_ratios(mode, figure))}
        | (
            {head: figure.quantile(share) for head, share in zip(COLUMNS, QUANTILES, strict=True)}
            if figure.samples
            else {}
        )
        for figure in figures
    ]


def _head(share: float) -> str:
    return COLUMNS[QUANTILES.index(share)]


def _ratios(mode: str, figure: Figure) -> list[tuple[str, float]]:
    if not figure.samples:
        return []
    ours = figure.quantile(0.5)
    return [(peer.name, ours / peer.p50) for peer in figure.peers if peer.mode == mode]


def _short(value: float) -> str:
    """Three digits that matter."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
