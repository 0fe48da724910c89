"""The command `tests/link`: plays the causes, several at once, and prints what each did."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.linking.causes import CAUSES
from tests.linking.certificates import Certificates
from tests.linking.rates import rates
from tests.linking.scene import Outcome, Played
from tests.linking.surroundings import Surroundings, isolate

VERSIONS = {"1.6": ("1.6",), "2.0.1": ("2.0.1",), "2.1": ("2.1",), "both": ("1.6", "2.0.1")}
SHORT = (
    *("connection refused", "reset in mid-frame", "half-open: pongs stop", "name moves", "certificate expired"),
    *("503, Retry-After", "close 1008", "ping flood", "after our timeout", "to other questions"),
)
ABOUT = """\
The link to the backend under every fault of network and backend, over real sockets. A charger in this process charges
a car, then the cause begins; while it lasts one session ends and another begins; then the cause ends, and the charger
has to come back by itself. A small CSMS, the charger's own history and the meter judge: no message lost, doubled or
reordered, and never a try too soon. Every row shows what chargerctl says, the seconds until it is said, from the end of
the cause until online and until everything is told, and how often something was sent again (which is right).

As root, processes have networks of their own: with lost packets and a name server; else these causes are left out.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "tests/link", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ocpp", choices=VERSIONS, default="both", help="of the sessions (both: 1.6 and 2.0.1)")
    parser.add_argument("--only", nargs="+", metavar="CAUSE", help="only these; part of a name or group is enough")
    parser.add_argument("--short", action="store_true", help=f"only {len(SHORT)} causes, under a minute")
    parser.add_argument("--list", action="store_true", help="the causes")
    parser.add_argument("--rates", action="store_true", help="only measure: reconnect to first message, and messages/s")
    parser.add_argument("--at-once", type=int, default=6, metavar="N", help="scenes at once in each process (6)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (all cores)")
    parser.add_argument("--log", action="store_true", help="what the charger logs")
    given = parser.parse_args(arguments)
    versions = VERSIONS[given.ocpp]
    if given.list:
        _say("\n".join(f"{cause.group:8} {cause.name}" for cause in CAUSES.values()))
        return 0
    if given.rates:
        with tempfile.TemporaryDirectory(prefix="rates") as short:
            _say(asyncio.run(rates(Path(short), versions)))
        return 0
    names = SHORT if given.short else tuple(CAUSES)
    if given.only:
        wanted = [word.casefold() for word in given.only]
        names = tuple(
            name for name, cause in CAUSES.items() if any(w in name.casefold() or w == cause.group for w in wanted)
        )
    plays = [(name, version) for name in names for version in versions]
    began, bad = time.monotonic(), 0
    folder = Path(tempfile.mkdtemp(prefix="link"))
    try:
        certificates = Certificates(folder)
        with ProcessPoolExecutor(max(1, given.jobs), get_context("forkserver")) as pool:
            shares = [plays[n :: given.jobs] for n in range(given.jobs)]
            calls = [
                pool.submit(_share, share, folder, certificates, n, given.at_once, given.log)
                for n, share in enumerate(shares)
                if share
            ]
            outcomes = [outcome for call in calls for outcome in call.result()]
    finally:
        shutil.rmtree(folder)
    order = {play: n for n, play in enumerate(plays)}
    outcomes.sort(key=lambda outcome: order[outcome.cause, outcome.version])
    _say(_table(outcomes))
    for outcome in outcomes:
        for complaint in outcome.complaints:
            _say(f"{outcome.cause}, OCPP {outcome.version}: {complaint}")
        bad += bool(outcome.complaints)
    left = len(plays) - len(outcomes)
    without = f", {left} left out: they need root, nft and ip" if left else ""
    _say(f"{len(outcomes)} scenes in {time.monotonic() - began:.0f} s, {bad} with complaints{without}")
    return 1 if bad else 0


def _share(
    plays: Sequence[tuple[str, str]], folder: Path, certificates: Certificates, number: int, at_once: int, loud: bool
) -> list[Outcome]:
    """What one process plays."""
    logging.basicConfig(level=logging.INFO if loud else logging.CRITICAL, format="%(asctime)s %(name)s: %(message)s")
    own = folder / str(number)
    own.mkdir()
    try:
        isolate(own)
        apart = True
    except OSError as e:
        sys.stderr.write(f"no network of its own: {e}\n")
        apart = False
    plays = [play for play in plays if apart or not CAUSES[play[0]].apart]
    return asyncio.run(_all(plays, own, certificates, apart, at_once))


async def _all(
    plays: Sequence[tuple[str, str]], own: Path, certificates: Certificates, apart: bool, at_once: int
) -> list[Outcome]:
    turn = asyncio.Semaphore(at_once)
    around = Surroundings(apart)
    await around.start()

    async def play(number: int, name: str, version: str) -> Outcome:
        folder = own / f"s{number}"
        folder.mkdir()
        async with turn:
            outcome = await Played(CAUSES[name], version, folder, around, certificates, number).play()
        _say(f"  {name}, OCPP {version}: {'; '.join(outcome.complaints) or 'clean'}"[:300])
        return outcome

    try:
        return list(await asyncio.gather(*(play(n, *one) for n, one in enumerate(plays))))
    finally:
        await around.stop()


def _table(outcomes: Iterable[Outcome]) -> str:
    rows = [
        (
            "cause",
            "OCPP",
            "noticed",
            "online",
            "told",
            "tries",
            "waited",
            "again",
            "lost",
            "double",
            "order",
            "chargerctl",
        )
    ]
    for one in outcomes:
        bad = (str(one.lost), str(one.doubled), str(one.reordered))
        times = (_seconds(one.noticed), _seconds(one.online), _seconds(one.told))
        rows.append((one.cause, one.version, *times, str(one.tries), str(one.rows), str(one.resent), *bad, one.said))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
