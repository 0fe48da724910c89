"""The command `tests/endure`: lives through weeks, starts with long queues, shows figures and what went wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.enduring import month, start

VERSIONS = ("1.6", "2.0.1", "2.1")
MEMORY = Path("/dev/shm")  # of the weeks only the program's part is measured
ABOUT = """\
Weeks without a backend, then delivery of all of it, by a whole charger in virtual time: in order, once, every register
end to end (`month`). And the real service started with a long queue on the disk: time to READY, memory, messages a
second over a websocket (`start`).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests/endure", description=ABOUT)
    parser.add_argument("what", nargs="*", default=["month", "start"], help="month, start (both)")
    parser.add_argument("--days", type=int, default=30, help="offline days (30)")
    parser.add_argument("--sessions", type=int, default=40, help="sessions a day (40)")
    parser.add_argument("--ocpp", choices=VERSIONS, nargs="+", default=VERSIONS, help="versions of the weeks (all)")
    parser.add_argument("--queue", type=int, nargs="+", default=[0, 10_000, 50_000], help="messages at the start")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the delivery is counted (20)")
    parser.add_argument("--jobs", type=int, default=2, help="processes for the weeks (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the drivers (1)")
    given = parser.parse_args(arguments)
    if unknown := set(given.what) - {"month", "start"}:
        parser.error(f"what is {', '.join(sorted(unknown))}?")
    bad = 0
    if "month" in given.what:
        bad = _months(given.ocpp, given.days, given.sessions, given.seed, given.jobs)
    if "start" in given.what:
        _starts(given.queue, given.seconds)
    return 1 if bad else 0


def _months(versions: Sequence[str], days: int, a_day: int, seed: int, jobs: int) -> int:
    bad = 0
    with ProcessPoolExecutor(jobs, get_context("forkserver")) as pool:
        for version, running in [(v, pool.submit(_month, v, days, a_day, seed)) for v in versions]:
            one = running.result()
            bad += len(one.complaints)
            _say(f"OCPP {version}: {one.sessions} sessions in {days} offline days, lived in {one.lived[1]:.0f} s")
            _say(f"    {one.queued} messages queued; database {_kb(one.database)}, its log {_kb(one.log)}")
            virtual, real = one.told
            rates = ", ".join(f"{one.delivered / s:.0f}/s {kind}" for s, kind in ((virtual, "virtual"), (real, "real")))
            _say(f"    {one.delivered} delivered in {virtual:.1f} s virtual, {real:.1f} s real time: {rates}")
            for complaint in one.complaints[:20]:
                _say(f"    VIOLATION {complaint}")
            _say(f"    {len(one.complaints)} violations")
    return bad


def _month(version: str, days: int, a_day: int, seed: int) -> month.Report:
    with tempfile.TemporaryDirectory(prefix="endure-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        return month.spend(version, days, a_day, Path(folder), seed)


def _starts(queues: Sequence[int], seconds: float) -> None:
    _say(f"{'queued':>8}{'ready s':>9}{'RSS MiB':>9}{'database':>11}{'told/s':>8}")
    for queued in queues:
        with tempfile.TemporaryDirectory(prefix="endure-") as folder:
            one = asyncio.run(start.start(Path(folder), queued, seconds if queued else 0.0))
        _say(f"{one.queued:>8}{one.ready:>9.2f}{one.resident:>9.1f}{_kb(one.database):>11}{one.rate:>8.0f}")


def _kb(size: int) -> str:
    return f"{size / 1000:.0f} kB"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
