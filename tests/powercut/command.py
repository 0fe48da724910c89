"""The command `tests/system powercut`: sound ways must keep every promise, the controls must be found out."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from chargerd.ocpp.versions import VERSIONS
from tests.powercut.campaign import CONTROLS, SOUND, Campaign, Way
from tests.powercut.image import Image, Unable, build
from tests.powercut.machine import Disk, Machine, format_disk, must_be_able
from tests.powercut.trouble import TROUBLES, Trouble

ABOUT = """\
Power cuts on a disk with a volatile cache. A virtual machine (QEMU, no KVM needed) with Debian's kernel writes the
charger's books on ext4; the disk keeps what it was told to flush, loses the rest and tears some of it. Cut at commits
and sends; after each restart the disk must have every commit that was acknowledged, and in the end the books of the
backend, the charger's history and the meter must agree. Two controls must fail: SQLite that does not wait for the disk,
and ext4 that does not flush it. Then the disk itself fails under the running charger, until the next boot, or is full
for a while. World, guard and backend are simulated, the daemon's parts run in virtual time.
"""
CONTROL_CYCLES = 15
TROUBLE_CYCLES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests/system powercut", description=ABOUT)
    parser.add_argument("--cycles", type=int, default=20, metavar="N", help="cuts of the charger as it is (20)")
    parser.add_argument("--ocpp", choices=(*VERSIONS, "all"), default="all", help="versions that share them (all)")
    parser.add_argument("--seed", type=int, default=1, help="where it is cut, and what leaks (1)")
    parser.add_argument("--leak", type=float, default=0.1, metavar="P", help="share of sectors kept early (0.1)")
    parser.add_argument("--no-controls", action="store_true", help="leave out what must fail")
    parser.add_argument("--no-troubles", action="store_true", help="leave out the disk that fails, and the full one")
    given = parser.parse_args(arguments)
    versions = VERSIONS if given.ocpp == "all" else (given.ocpp,)
    began = time.monotonic()
    try:
        must_be_able()
        with tempfile.TemporaryDirectory(prefix="cut-") as name:
            folder = Path(name)
            image = build(folder)
            made = time.monotonic()
            state = _boot(folder, image)
            _say(f"image {made - began:.1f} s, boot and save {time.monotonic() - made:.1f} s")
            plans = [(SOUND, version, len(range(n, given.cycles, len(versions)))) for n, version in enumerate(versions)]
            if not given.no_controls:
                plans += [(way, versions[0], CONTROL_CYCLES) for way in CONTROLS]
            good = True
            for way, version, cycles in plans:
                campaign = Campaign(folder, image, state, way, version, given.seed, given.leak)
                good = _perform(campaign, way, version, cycles) and good
            for way, version in [] if given.no_troubles else zip(TROUBLES, reversed(versions), strict=False):
                trouble = Trouble(folder, image, state, way, version, given.seed, given.leak)
                good = _perform(trouble, way, version, TROUBLE_CYCLES) and good
    except Unable as e:
        _say(f"tests/system powercut: {e}")
        return 2
    _say(f"{'all as it must be' if good else 'NOT as it must be'}, {time.monotonic() - began:.0f} s")
    return 0 if good else 1


def _boot(folder: Path, image: Image) -> Path:
    """Boot once; where the machine is saved, waiting for its order."""
    format_disk(folder / "medium")
    disk = Disk(folder, folder / "medium", 0, 0.0)
    machine = Machine(folder, image, disk)
    machine.hear(300.0)
    machine.save(folder / "state")
    disk.cut()
    return folder / "state"


def _perform(campaign: Campaign, way: Way, version: str, cycles: int) -> bool:
    """Is it as it must be?"""
    _say(f"{way.name}, OCPP {version}:")
    campaign.play(cycles, _say)
    tally = campaign.tally
    places = ", ".join(f"{count} {place}" for place, count in Counter(tally.where).most_common())
    _say(f"  {len(tally.where)} cuts ({places}), {tally.commits} commits, {median(tally.seconds):.1f} s a cycle")
    for complaint in tally.complaints[:10]:
        _say(f"  {'VIOLATION' if way.sound else 'found'}: {complaint}")
    if way.sound is not bool(tally.complaints):
        return True
    if not way.sound:
        _say("  NOT FOUND OUT: this disk does not forget as it should")
    return False


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
