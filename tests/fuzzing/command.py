"""The command `tests/fuzz worlds`: worlds by the day, what befell them, and how to see one again."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from tests.fuzzing.plan import Plan, plan
from tests.fuzzing.shrink import listed, shrink
from tests.fuzzing.world import Outcome, perform

VERSIONS = ("1.6", "2.0.1", "2.1")
LENGTHS = (0.5, 0.5, 1.0, 1.0, 1.0, 2.0, 4.0)  # hours of a world; acts are dense, so a day is many of them
EVERY = 10.0  # s between two words about progress
ABOUT = """\
Whole stations by chance: outlets, settings, drivers, vehicles, backend, network, power, clocks, disk and devices, all
from a seed, played in virtual time by the real guard, daemon and world and the judging CSMS in one process. In every
world the contactor's rules, the statuses and the messages are judged at all times; then everybody calms down, a driver
charges at every outlet, and the meter, the history and the backend's books must say the same.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests/fuzz worlds", description=ABOUT)
    parser.add_argument("--days", type=float, default=1.0, metavar="N", help="charger-days in all (1)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first world (1)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="J", help="(all cores)")
    parser.add_argument("--ocpp", choices=VERSIONS, help="version (each in turn)")
    parser.add_argument("--only", action="store_true", help="only the world of this seed")
    parser.add_argument("--log", type=Path, metavar="FILE", help="with --only: write everything that happened there")
    parser.add_argument("--shrink", type=float, default=60.0, metavar="SECONDS", help="for each world that fails (60)")
    given = parser.parse_args(arguments)
    versions = (given.ocpp,) if given.ocpp else VERSIONS
    if given.only:
        outcome = perform(planned(given.seed, versions), keep=given.log is not None)
        if given.log is not None:
            given.log.write_text("\n".join(outcome.log) + "\n")
        _say(f"{outcome.plan}; digest of its log {outcome.digest[:16]}")
        outcomes = iter([outcome])
    else:
        outcomes = _campaign(given.days, given.seed, versions, given.jobs)
    return 1 if _report(outcomes, given.ocpp, given.shrink) else 0


def planned(seed: int, versions: Sequence[str]) -> Plan:
    """The world of a seed: its version and its length are the seed's too."""
    return plan(seed, versions[seed % len(versions)], random.Random(seed).choice(LENGTHS))


def _campaign(days: float, seed: int, versions: Sequence[str], jobs: int) -> Iterator[Outcome]:
    """Worlds from this seed on, until they have lasted long enough; as they come."""
    with ProcessPoolExecutor(max(1, jobs), get_context("forkserver")) as pool:
        running: dict[Future[Outcome], Plan] = {}
        left = days * 24
        while left > 0 or running:
            while left > 0 and len(running) < jobs + 1:
                one = planned(seed, versions)
                running[pool.submit(perform, one)] = one
                seed, left = seed + 1, left - one.hours * one.outlets
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                one = running.pop(future)
                try:
                    yield future.result()
                except Exception as e:  # of whatever kind: the others go on
                    yield Outcome(one, (f"0: it broke off: {e!r}",), "", (), Counter(), 0.0)


def _report(outcomes: Iterator[Outcome], ocpp: str | None, seconds: float) -> int:
    began = said = time.monotonic()
    ledger, worlds, bad, days, shrinking = Counter[str](), 0, 0, 0.0, 0.0
    for outcome in outcomes:
        worlds += 1
        days += outcome.plan.outlets * outcome.seconds / 86_400
        ledger += outcome.ledger
        if outcome.complaints:
            bad += 1
            start = time.monotonic()
            _blame(outcome, ocpp, seconds)
            shrinking += time.monotonic() - start
        now = time.monotonic()
        if now - said >= EVERY:
            said = now
            _say(f"  {worlds} worlds, {days:.2f} charger-days, {bad} with violations")
    minutes = max(1e-9, (time.monotonic() - began - shrinking) / 60)
    for name, count in ledger.most_common():
        _say(f"  {count:8} {name}")
    _say(f"{worlds} worlds, {days:.2f} charger-days in {minutes:.1f} min: {days / minutes:.2f} charger-days a minute")
    _say("no violations" if not bad else f"{bad} worlds with violations")
    return bad


def _blame(outcome: Outcome, ocpp: str | None, seconds: float) -> None:
    _say(f"VIOLATION in {outcome.plan}")
    for complaint in outcome.complaints:
        _say(f"    {complaint[:1000]}")
    version = f" --ocpp {ocpp}" if ocpp else ""
    _say(f"    again: tests/fuzz worlds --only --seed {outcome.plan.seed}{version} --log FILE")
    if not outcome.digest:
        return
    small = shrink(outcome.plan, outcome.complaints, lambda plan: perform(plan).complaints, seconds)
    _say(f"    with {len(small.acts)} of {len(outcome.plan.acts)} acts:\n{listed(small.acts)}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
