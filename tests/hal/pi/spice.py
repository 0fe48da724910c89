"""One run of ngspice over many instances of a circuit of `hardware/spice`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CIRCUITS = Path(__file__).parents[3] / "hardware" / "spice"
NONE = 1e9  # ohms of what is not there

needs_ngspice = pytest.mark.skipif(
    shutil.which("ngspice") is None, reason="ngspice is not installed (apt-get install ngspice)"
)


@dataclass(frozen=True, slots=True)
class Instance:
    """`sources`: node → waveform, in the order of the subcircuit's nodes; the last node is what is looked at."""

    sources: Mapping[str, str]
    values: Mapping[str, float]


def run(
    folder: Path, circuit: str, instances: Sequence[Instance], analysis: str, linear: bool = True
) -> tuple[list[float], list[list[float]]]:
    """The scale of the analysis (seconds), and for each instance its node's values along it."""
    lines = [f"* {circuit}", f".include {CIRCUITS / circuit}.cir"]
    for n, instance in enumerate(instances):
        nodes = [f"{node}{n}" for node in instance.sources]
        lines += [f"V{node} {node} 0 {wave}" for node, wave in zip(nodes, instance.sources.values(), strict=True)]
        values = " ".join(f"{name}={value:.9g}" for name, value in instance.values.items())
        lines.append(f"X{n} {' '.join(nodes)} out{n} {circuit} {values}")
    outs = " ".join(f"v(out{n})" for n in range(len(instances)))
    lines += [".save " + outs, ".control", "set filetype=ascii", "set wr_singlescale", analysis]
    lines += [f"linearize {outs}"] if linear else []
    lines += [f"wrdata found.txt {outs}", "quit", ".endc", ".end"]
    (folder / "deck.cir").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert (folder / "found.txt").exists(), (done.stdout + done.stderr)[-1000:]
    rows = [list(map(float, line.split())) for line in (folder / "found.txt").read_text().splitlines()]
    columns = list(zip(*rows, strict=True))
    assert len(columns) == len(instances) + 1, done.stderr[-1000:]
    return list(columns[0]), [list(column) for column in columns[1:]]
