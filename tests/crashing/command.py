"""The command `tests/crash`: plans cuts and kills, performs them, shows what was cut where and what went wrong."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.crashing import cuts, kills

VERSIONS = {**{each: (each,) for each in ("1.6", "2.0.1", "2.1")}, "all": ("1.6", "2.0.1", "2.1")}
AT_ONCE = 3  # rounds of real processes, for each job
EVERY = 5.0  # s between two words about progress
ABOUT = """\
Power cuts and crashes over complete charging sessions. Cuts: the whole charger in one process and in virtual time,
stopped dead at every write to its store and every frame to its backend. Kills: SIGKILL for guard, daemon or both, as
real processes over a real websocket. Judged by a small CSMS, the charger's own history and the simulated world: no
transaction lost, none doubled, every register exact, the contactor never closed without its conditions.
"""
Table = Counter[tuple[str, str]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests/crash", description=ABOUT)
    parser.add_argument("--cuts", type=int, default=300, metavar="N", help="simulated cuts (300)")
    parser.add_argument("--kills", type=int, default=5, metavar="M", help="real kills (5)")
    parser.add_argument("--seed", type=int, default=1, help="which points and times are chosen (1)")
    parser.add_argument("--ocpp", choices=VERSIONS, default="all", help="version of the sessions (all)")
    parser.add_argument("--only", type=int, metavar="K", help="only cut K of --cuts, or round K where --cuts is 0")
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help=f"processes for cuts, with {AT_ONCE} rounds of kills each (all cores)",
    )
    given = parser.parse_args(arguments)
    versions, bad = VERSIONS[given.ocpp], 0
    again = f"tests/crash --seed {given.seed} --ocpp {given.ocpp}"
    if given.cuts > 0:
        bad += _cuts(given.cuts, versions, given.seed, given.only, given.jobs, f"{again} --cuts {given.cuts}")
    if given.kills > 0 and (given.only is None or given.cuts <= 0):
        rounds = kills.plan(given.kills, versions, given.seed)
        chosen = [one for one in rounds if given.only in (None, one.number)]
        bad += asyncio.run(_kills(chosen, given.jobs * AT_ONCE, f"{again} --cuts 0 --kills {given.kills}"))
    _say("no violations" if not bad else f"{bad} with violations")
    return 1 if bad else 0


def _cuts(count: int, versions: Sequence[str], seed: int, only: int | None, jobs: int, again: str) -> int:
    began = time.monotonic()
    table: dict[str, Table] = {kind: Counter() for kind in (*cuts.KINDS, "violations")}
    with ProcessPoolExecutor(max(1, jobs), get_context("forkserver")) as pool:
        planned, uncut = cuts.plan(count, versions, seed, pool.map)
        points = sum(len(outcome.points) for outcome in uncut)
        _say(f"{len(uncut)} stories with {points} points, {len(cuts.KINDS)} kinds of death; {len(planned)} cuts")
        chosen = planned if only is None else [cut for cut in planned if cut.number == only]
        bad = [outcome for outcome in uncut if outcome.complaints]
        for outcome in bad:
            _blame(str(outcome.cut), outcome.where, outcome.complaints, "the story alone")
        performed = pool.map(cuts.perform, chosen, chunksize=4)
        for outcome in _progress(performed, len(chosen), "cuts"):
            for at in outcome.where:
                table[outcome.cut.kind][at] += 1
            if outcome.complaints:
                bad.append(outcome)
                table["violations"][outcome.where[0] if outcome.where else ("nowhere", "")] += 1
                _blame(str(outcome.cut), outcome.where, outcome.complaints, f"{again} --only {outcome.cut.number}")
    took = time.monotonic() - began
    _show(table, "phase", "point")
    _say(f"{len(chosen)} cuts in {took:.0f} s, {len(chosen) / took:.1f}/s, {len(bad)} with violations\n")
    return len(bad)


async def _kills(rounds: Sequence[kills.Round], at_once: int, again: str) -> int:
    began = time.monotonic()
    table: dict[str, Table] = {victim: Counter() for victim in (*kills.VICTIMS, "violations")}
    turn, bad = asyncio.Semaphore(at_once), 0
    total = sum(len(one.kills) for one in rounds)
    _say(f"{total} kills in {len(rounds)} rounds, {at_once} at once")

    async def perform(one: kills.Round) -> kills.Outcome:
        async with turn:
            return await kills.perform(one)

    tasks = [asyncio.create_task(perform(one)) for one in rounds]
    for number, running in enumerate(asyncio.as_completed(tasks), 1):
        outcome = await running
        for phase, victim in outcome.where:
            table[victim][phase, ""] += 1
        _say(f"  {number}/{len(rounds)}  {outcome.round}: {'VIOLATION' if outcome.complaints else 'clean'}")
        if outcome.complaints:
            bad += 1
            table["violations"][outcome.where[0][0] if outcome.where else "nowhere", ""] += 1
            kept = (*outcome.complaints, f"logs and database: {outcome.kept}")
            _blame(str(outcome.round), outcome.where, kept, f"{again} --only {outcome.round.number}")
    _show(table, "phase", "")
    _say(f"{total} kills in {time.monotonic() - began:.0f} s, {bad} rounds with violations\n")
    return bad


def _progress(outcomes: Iterator[cuts.Outcome], total: int, what: str) -> Iterator[cuts.Outcome]:
    began = said = time.monotonic()
    violations = 0
    for done, outcome in enumerate(outcomes, 1):
        violations += bool(outcome.complaints)
        now = time.monotonic()
        if now - said >= EVERY or done == total:
            said = now
            _say(f"  {done}/{total} {what}, {done / (now - began):.1f}/s, {violations} with violations")
        yield outcome


def _show(table: dict[str, Table], *names: str) -> None:
    """What was cut where: one line per place, one column per kind of death."""
    places = sorted({place for column in table.values() for place in column})
    rows = [(*names, *table), *((*place, *(str(column[place] or "") for column in table.values())) for place in places)]
    rows.append(("all", "", *(str(column.total()) for column in table.values())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _blame(what: str, where: Sequence[tuple[str, str]], complaints: Sequence[str], again: str) -> None:
    _say(f"VIOLATION in {what} ({', '.join(' '.join(at) for at in where)}); again: {again}")
    for complaint in complaints:
        _say(f"    {complaint}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
