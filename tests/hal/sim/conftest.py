from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hal.sim.board import SimBoard, open_board


class Served:
    """A world in a process of its own, which can be ended and started again at the same path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "hal.sim.serve", "--socket", self.path]
        setup = arguments or ("--outlets", "2", "--tethered", "2")
        self._process = subprocess.Popen([*command, *setup], cwd=Path(__file__).parents[3])
        limit = time.monotonic() + 20
        while not self._listens():
            assert self._process.poll() is None and time.monotonic() < limit, "the world did not start"
            time.sleep(0.01)

    def _listens(self) -> bool:
        """Its path is there before it is: bound, but nobody is let in yet."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.path) == 0

    def stop(self, kill: bool = False) -> int:
        assert self._process is not None
        (self._process.kill if kill else self._process.terminate)()
        return self._process.wait(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(str(tmp_path / "world.sock"))
    served.start()
    yield served
    served.stop(kill=True)


@pytest.fixture
def board(served: Served) -> Iterator[Callable[[], SimBoard]]:
    """Opens boards on the served world and hangs them up afterwards."""
    opened: list[SimBoard] = []

    def make() -> SimBoard:
        opened.append(open_board(served.path))
        return opened[-1]

    yield make
    for one in opened:
        one._hang_up()
