"""`deploy/demo`: a day at a simulated charger, live on the screen, and a table of what was seen.

World, guard and daemon run as processes of their own, or with --fast all in this one; the small CSMS runs here. The
exit status is 0 only if everything that was asked for was seen and nothing complained, 130 when it was cut short.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from chargerd.lab.apart import Apart, Broken
from chargerd.lab.csms import Csms
from chargerd.lab.day import Day
from chargerd.lab.orders import Counter
from chargerd.lab.pace import ScaledLoop
from chargerd.lab.rows import table
from chargerd.lab.screen import Screen
from chargerd.lab.together import Together
from chargerd.lab.whole import EPOCH

FACTOR = 10.0
LIMIT = 180.0  # s of the loop's time for the day
SHOWN = 15  # last lines of each log after a failure
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="deploy/demo", description="A day at a simulated charger, on the real wire.")
    parser.add_argument("--ocpp", choices=("1.6", "2.0.1", "2.1"), default="1.6", help="version to speak (default 1.6)")
    parser.add_argument("--csms", metavar="URL", help="ws://… of another backend, without the station's id")
    parser.add_argument("--stay", action="store_true", help="keep the charger running afterwards, for chargerctl")
    parser.add_argument("--fast", action="store_true", help="everything in one process, ten times as fast")
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="chargerd-"))
    if options.fast:
        logging.basicConfig(filename=directory / "all.log", level=logging.INFO)
    try:
        status = _until_interrupted(_demo(options, directory), ScaledLoop(FACTOR) if options.fast else None)
    except Broken as e:
        sys.stdout.write(f"{e}\n")
        status = 1
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = INTERRUPTED
    if status in (0, INTERRUPTED):
        shutil.rmtree(directory)
    else:
        _show_logs(directory)
    return status


def _until_interrupted(job: Coroutine[Any, Any, int], loop: asyncio.AbstractEventLoop | None) -> int:
    """Run it; Ctrl-C and SIGTERM end it in order."""

    async def run() -> int:
        task = asyncio.create_task(job)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED

    with asyncio.Runner(loop_factory=None if loop is None else lambda: loop) as runner:
        return runner.run(run())


async def _demo(options: argparse.Namespace, directory: Path) -> int:
    loop = asyncio.get_running_loop()
    began = loop.time()
    csms = None
    if options.csms is None:
        csms = Csms(clock=lambda: EPOCH + loop.time()) if options.fast else Csms()
        await csms.start()
    url = options.csms or f"{csms.url if csms else ''}/ocpp"
    stage = (Together if options.fast else Apart)(directory, options.ocpp, csms, url)
    screen = Screen(_print, lambda: loop.time() - began, sys.stdout.isatty())
    _print(f"OCPP {options.ocpp} to {url}; logs in {directory}")
    try:
        day = Day(stage, screen)
        whole = await _played(day, stage)
        for line in _report(day, csms):
            _print(line)
        if options.stay and whole:
            await _stay(stage, csms)
        return 0 if day.good else 1
    finally:
        await stage.end()
        if csms is not None:
            await csms.stop()


async def _played(day: Day, stage: Apart | Together) -> bool:
    """The day; False: only as much of it as there was before something broke."""
    playing = asyncio.create_task(day.play())
    breaking = {stage.broken} if isinstance(stage, Apart) else set()
    try:
        await asyncio.wait({playing, *breaking}, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            why = next((str(one.exception()) for one in breaking if one.done()), f"not over within {LIMIT:g} s")
            _print(f"the day was cut short: {why}")
            return False
        if playing.exception() is not None:
            _print(f"the day was cut short: {playing.exception()!r}")
        return playing.exception() is None
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await playing


def _report(day: Day, csms: Csms | None) -> list[str]:
    lines = ["", *table(day.seen)]
    if csms is not None:
        lines += ["", "the small CSMS's record", csms.books.table()]
        complaints = [*csms.books.judge(), *csms.violations()]
        lines += ["", *(f"complaint: {one}" for one in complaints)] if complaints else []
    return [*lines, "", "all that was asked for was seen" if day.good else "NOT all that was asked for was seen"]


async def _stay(stage: Apart | Together, csms: Csms | None) -> None:
    """Until Ctrl-C, or until something breaks."""
    await stage.start_daemon()
    root = Path(__file__).parents[2]
    command = root / ".venv/bin/chargerctl"
    _print("")
    _print("The charger stays. In another terminal:")
    _print(f"  export CHARGERD_SOCKET={stage.socket}")
    for words in ("status", "watch", "sim plug 1", "tap 04A1B2C3D4E5F6", "why 1", "sim unplug 1"):
        _print(f"  {command if command.exists() else 'chargerctl'} {words}")
    orders = None if csms is None else Counter(csms, _print)
    if orders is not None and orders.open():
        _print("Here, orders to the small CSMS, such as: profile 1 tx 10A · schedule 1 60 · help")
    _print("Ctrl-C ends it.")
    with contextlib.suppress(asyncio.CancelledError):
        await (stage.broken if isinstance(stage, Apart) else asyncio.Event().wait())
    if orders is not None:
        orders.close()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show_logs(directory: Path) -> None:
    for log in sorted(directory.glob("*.log")):
        _print(f"\n== end of {log}")
        for line in log.read_text(errors="replace").splitlines()[-SHOWN:]:
            _print(line)


if __name__ == "__main__":
    sys.exit(main())
