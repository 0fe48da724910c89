"""A disk that begins to fail under the running charger: nothing that was acknowledged is gone once it is well again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.powercut.campaign import Campaign, Way
from tests.powercut.machine import Machine

ERROR = Way(
    "every write an I/O error, the file system read-only", mount="errors=remount-ro,commit=1", errors=("storage:",)
)
FULL = Way("the file system full, and free again", errors=("storage:",))
TROUBLES = (ERROR, FULL)
SICK, WELL = 40, 60  # messages that it lives on like that
JOURNAL = 2.0  # s in which ext4 commits its journal, with `commit=1`, and finds out
PATIENCE = 400  # messages until the trouble must be known, or known to be over


class Trouble(Campaign):
    """Each cycle is a life in which the disk fails at its point; after `ERROR` only a boot makes it well."""

    def _run(self, machine: Machine, points: int | None) -> None:
        if points is None:
            super()._run(machine, None)
            return
        machine.say(self._order(points))
        self._live(machine, points)
        if self._way is ERROR:
            self._disk.fail()
            self._answer(machine)
        else:
            self._answer(machine, ballast=True)
        self._until(machine, "StorageFailure", lambda message: not message.get("storage", True))
        if self._way is ERROR:
            time.sleep(JOURNAL)
        message = self._live(machine, SICK)
        if self._way is ERROR and not message.get("readonly"):
            self._complain("the file system was not made read-only")
        if message["storage"]:
            self._complain("StorageFailure is over though the disk still fails")
        if self._way is FULL:
            self._answer(machine, ballast=False)
            self._until(machine, "the end of StorageFailure", lambda message: bool(message.get("storage")))
            self._live(machine, WELL)
        self.tally.where.append("in trouble" if self._way is ERROR else "after it")

    def _live(self, machine: Machine, points: int) -> dict[str, Any]:
        """So many messages; the last is not answered."""
        message = self._next(machine)
        for _ in range(points - 1):
            self._answer(machine)
            message = self._next(machine)
        return message

    def _next(self, machine: Machine) -> dict[str, Any]:
        message: dict[str, Any] = machine.hear()
        self._hear(message)
        return message

    def _until(self, machine: Machine, what: str, done: Callable[[dict[str, Any]], bool]) -> None:
        for _ in range(PATIENCE):
            known = done(self._next(machine))
            self._answer(machine)
            if known:
                return
        self._complain(f"{what} was not told")
