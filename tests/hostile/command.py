"""The command `tests/fuzz frames`: many episodes, what they found, and what the frames cost."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.hostile.corpus import Corpus
from tests.hostile.episode import Plan, perform

EVERY = 10_000
KEPT = Path(__file__).parents[2] / ".fuzz" / "frames"
VERSIONS = ("1.6", "2.0.1", "2.1")
ABOUT = """\
A hostile backend: lawful, twisted, bent and spoiled frames at a whole charger that has a car, in virtual time. Every
CALL must be answered once, nothing else more than once, all of it as the version says; the car must not notice what is
not lawful; the history must equal the meter; nothing may grow; afterwards the next driver must be served.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests/fuzz frames", description=ABOUT)
    parser.add_argument("--frames", type=int, default=20_000, metavar="N", help="frames in all (20,000)")
    parser.add_argument("--minutes", type=float, metavar="M", help="go on for this long instead")
    parser.add_argument("--each", type=int, default=1000, metavar="N", help="frames an episode (1,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first episode (1)")
    parser.add_argument("--ocpp", choices=VERSIONS, help="version (each in turn)")
    parser.add_argument("--lawless", action="store_true", help="only frames that no station may heed")
    parser.add_argument(
        "--corpus", type=Path, default=KEPT, metavar="DIR", help="where frames that were news are kept (.fuzz/frames)"
    )
    given = parser.parse_args(arguments)
    versions = (given.ocpp,) if given.ocpp else VERSIONS
    corpus, answers, seconds = Corpus(given.corpus), Counter[str](), list[float]()
    began, thrown, bad, seed = time.monotonic(), 0, 0, given.seed
    _say(f"{len(corpus)} frames to begin with")
    _memory("before", 0)

    def progress(frames: int) -> None:
        if frames % EVERY == 0:
            _memory(f"  {plan}: after {frames}", len(corpus))

    while (time.monotonic() - began < given.minutes * 60) if given.minutes else thrown < given.frames:
        version = versions[seed % len(versions)]
        plan = Plan(version, seed, given.each, given.lawless or seed % 4 >= 3)
        outcome = perform(plan, corpus, progress)
        account = outcome.account
        answers += account.answers
        thrown += account.thrown
        seconds += account.seconds
        for complaint in account.complaints[:5]:
            _say(f"  VIOLATION ({plan}): {complaint}")
        if account.complaints:
            bad += 1
            lawless = " --lawless" if plan.lawless else ""
            _say(f"  again: tests/fuzz frames --seed {seed} --each {given.each} --frames 1 --ocpp {version}{lawless}")
        seed += 1
        if seed % 10 == 0:
            _memory(f"after {thrown} frames", len(corpus))
    gc.collect()
    _memory(f"after {thrown} frames", len(corpus))
    took = time.monotonic() - began
    _say(f"answers: {', '.join(f'{kind} {count}' for kind, count in answers.most_common())}")
    seconds.sort()
    p50, p99, most = (seconds[int(q * (len(seconds) - 1))] * 1000 for q in (0.5, 0.99, 1))
    _say(f"a frame holds the loop for p50 {p50:.2f} ms, p99 {p99:.2f} ms, at most {most:.1f} ms")
    _say(
        f"{thrown} frames in {took:.0f} s, {thrown / took:.0f}/s; {bad} of {seed - given.seed} episodes with violations"
    )
    return 1 if bad else 0


def _memory(when: str, corpus: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    _say(f"{when}: {mib:.1f} MiB resident, {len(gc.get_objects())} objects, {corpus} frames kept")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
