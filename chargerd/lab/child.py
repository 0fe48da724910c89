"""One program of ours as a process: with a log of its own, and never outliving this one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import chargerd

LEAVE = 10.0  # s to end in order
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: however this process ends, the child ends with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """`python -m ARGUMENTS`; what it says goes to `directory/NAME.log`. `code` is how it ended, None while it runs."""

    def __init__(self, name: str, directory: Path, arguments: Sequence[str]) -> None:
        self.name, self.log = name, directory / f"{name}.log"
        self._arguments = tuple(arguments)
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    @property
    def code(self) -> int | None:
        return 0 if self._process is None else self._process.returncode

    async def start(self) -> None:
        """In a process group of its own: Ctrl-C is for this process, which ends its children in order."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(chargerd.__file__).parents[1])},
                process_group=0,
                preexec_fn=die_with_parent,
            )

    async def wait(self) -> int:
        """Until it ends by itself; its exit code, 0 when it does not run."""
        return 0 if self._process is None else await self._process.wait()

    async def end(self, how: signal.Signals) -> int:
        """Its exit code; 0 when it did not run. What does not end in time is killed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), LEAVE)
            except TimeoutError:
                process.kill()
        return await process.wait()
