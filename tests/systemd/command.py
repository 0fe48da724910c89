"""The command `tests/system systemd`: builds the package, boots a Debian, and lives through the life of a charger."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.systemd.machine import Machine, Trouble, machine, root
from tests.systemd.packages import ROOT, build, later
from tests.systemd.story import Story

ABOUT = """\
chargerd as a service on a real Debian: systemd boots in a container (systemd-nspawn, no network inside), the packages
of deploy/package are installed, and a charger in a simulated world is used, killed, hung, upgraded under a charging
car, cut from power, removed and purged. Real: packages, units, sandbox, users, sockets, journal, watchdogs. Simulated:
board, vehicle, meter, cards. A power cut here kills every process; for disks see `tests/system powercut`. Needs root.
"""
TAIL = 60
Made = TypeVar("Made")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests/system systemd", description=ABOUT)
    parser.add_argument(
        "--suite", default="bookworm", help="Debian release; the packages must fit its Python (bookworm)"
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".cache" / "system", metavar="DIR", help="for root and packages"
    )
    parser.add_argument("--until", metavar="WORDS", help="end after the first step whose name has these words")
    given = parser.parse_args(arguments)
    if os.geteuid() != 0:
        _say("tests/system systemd: containers need root")
        return 2
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chargerd-system-", dir="/var/tmp"))
    try:
        below = _timed("root", lambda: root(given.cache, given.suite))
        packages = _timed("packages", lambda: build(given.cache, given.suite))
        newer = _timed("a later version of them", lambda: later(packages, folder / "later"))
        for file in (packages.chargerd, packages.sim):
            _say(f"               {file.name}: {file.stat().st_size // 1000} kB")
        with machine(below, folder / "machine") as made:
            good = _live(made, Story(made, packages, newer), given.until)
    except Trouble as e:
        _say(f"tests/system systemd: {e}")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _say(f"{'all as it must be' if good else 'NOT as it must be'}, {time.monotonic() - began:.0f} s")
    return 0 if good else 1


def _live(made: Machine, story: Story, last: str | None) -> bool:
    for name, step in story.steps():
        began = time.monotonic()
        try:
            detail = step()
        except Exception as e:
            _say(
                f"FAILED {time.monotonic() - began:6.1f} s  {name}\n{type(e).__name__}: {e}\n\nthe last of the journal:"
            )
            _say(made.out("journalctl", "--no-pager", "-n", str(TAIL), check=False))
            return False
        _say(f"ok     {time.monotonic() - began:6.1f} s  {name}" + (f": {detail}" if detail else ""))
        if last is not None and last in name:
            break
    return True


def _timed(name: str, make: Callable[[], Made]) -> Made:
    began = time.monotonic()
    made = make()
    _say(f"made   {time.monotonic() - began:6.1f} s  {name}")
    return made


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
