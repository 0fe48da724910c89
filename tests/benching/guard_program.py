"""`chargerd guard`, measured: `python -m tests.benching.guard_program pi|sim CONFIG RESULT TURNS`.

With `pi` its board is that of `stand`, else the one of the configuration. After so many turns it ends, and leaves what
was measured as JSON in RESULT.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hal
from chargerd.guard import loop, rules
from chargerd.guard.vitals import Stopwatch
from chargerd.main import main
from tests.benching.log import Log

WARM = 250  # turns that are not counted: pages are touched for the first time


class Recorder(Stopwatch):
    """Every lateness as it is; the end after so many turns."""

    warm = turns = 0
    lateness: Log
    result: dict[str, Any]

    def begin(self, now: float, due: float, period: float) -> None:
        super().begin(now, due, period)
        self._count = getattr(self, "_count", 0) + 1
        if self._count > self.warm:
            self.lateness.add(now - due)
        if self._count == self.warm:
            self._from = (time.process_time(), now)
            self._memory = self.vitals(now).memory

    def end(self) -> None:
        super().end()
        if self._count == self.warm + self.turns:
            used, now = time.process_time(), time.monotonic()
            vitals = self.vitals(now)
            self.result |= {
                "cpu": (used - self._from[0]) / (now - self._from[1]),
                "vitals": asdict(vitals),
                "grown": vitals.memory - self._memory,
            }
            signal.raise_signal(signal.SIGTERM)


def run(kind: str, config: str, result: Path, turns: int) -> int:
    rules.RECLOSE = rules.REST = 0.1  # so that it lets go more often
    loop.Stopwatch = Recorder  # type: ignore[attr-defined]
    Recorder.turns, Recorder.warm = turns, min(WARM, turns // 2)
    Recorder.lateness, Recorder.result = Log(turns), {}
    stand: Any = None
    with contextlib.ExitStack() as stack:
        if kind == "pi":
            import tempfile

            import lgpio  # noqa: F401 — a real one has it loaded, too

            from tests.benching.stand import Stand, board

            folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))  # sysfs waits for no disk
            stand = Stand(turns)
            made = board(stand, Path(folder))
            hal.open = lambda moniker: made
        code = main(["guard", "--config", config])
    found = Recorder.result | {"late": Recorder.lateness.all()}
    if stand is not None:
        found |= {name: getattr(stand, name).all() for name in ("command", "gone", "dead")}
        found["reclosed"] = stand.reclosed
    result.with_suffix(".new").write_text(json.dumps(found))
    result.with_suffix(".new").rename(result)
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
