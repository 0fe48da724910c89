"""One program of ours as a process: with a log of its own, and never outliving this one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import chargerd

LEAVE = 10.0  # s to end in order
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: however this process ends, the child ends with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """`python -m ARGUMENTS`; what it says goes to `directory/NAME.log`.

    `ended` is told the exit code when it ends without having been told to; with True it is started again. Whoever
    starts it next may change `arguments`.
    """

    def __init__(
        self, name: str, directory: Path, arguments: Sequence[str], ended: Callable[[int], bool] = lambda code: False
    ) -> None:
        self.name, self.log = name, directory / f"{name}.log"
        self.arguments = tuple(arguments)
        self.starts = 0
        self._ended = ended
        self._process: asyncio.subprocess.Process | None = None
        self._minding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._run()
        self._minding = asyncio.create_task(self._mind())

    async def end(self, how: signal.Signals) -> int:
        """Its exit code; 0 when it did not run. What does not end in time is killed."""
        process, minding = self._process, self._minding
        if process is None or minding is None:
            return 0
        self._process = self._minding = None
        minding.cancel()
        if process.returncode is None:
            process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), LEAVE)
            except TimeoutError:
                process.kill()
        return await process.wait()

    async def _run(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(chargerd.__file__).parents[1])},
                process_group=0,  # Ctrl-C is for this process, which ends its children in order
                preexec_fn=die_with_parent,
            )

    async def _mind(self) -> None:
        while self._process is not None:
            if not self._ended(await self._process.wait()):
                return
            await self._run()
