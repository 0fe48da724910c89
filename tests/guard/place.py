"""A folder with a simulated world, a guard as a process, and sockets to talk to them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GUARD = """
import os, sys
from chargerd.guard import rules
from chargerd.guard.loop import run
rules.RECLOSE = rules.REST  # s that a test need not wait
from chargerd.guard.setup import GuardSetup, OutletSetup
folder, uid = sys.argv[1], int(sys.argv[2])
notes = os.open(folder + "/notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
setup = GuardSetup((OutletSetup(evse=1, tethered=True), OutletSetup(evse=2)))
sys.exit(run(setup, f"sim:{folder}/world.sock", folder + "/guard.sock", folder + "/truth.sock", folder + "/latch", uid,
             build="b7", notify=lambda text: os.write(notes, text.encode() + b"\\n")))
"""


def wait_for(what: Callable[[], object], limit: float = 10.0) -> None:
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _listens(path: str) -> bool:
    """The path is there before its server is."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class Place:
    """A folder with a world, a guard, and a socket to talk to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "latch").touch()

    def world(self) -> subprocess.Popen[bytes]:
        path = str(self.folder / "world.sock")
        world = self.start("-m", "hal.sim.serve", "--socket", path, "--outlets", "2", "--tethered", "1")
        wait_for(lambda: _listens(path))
        return world

    def guard(self, uid: int = os.getuid()) -> subprocess.Popen[bytes]:
        guard = self.start("-c", GUARD, str(self.folder), str(uid))
        wait_for(lambda: "READY=1" in self.notes() or guard.poll() is not None)
        return guard

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE)
        self.running.append(process)
        return process

    def notes(self) -> list[str]:
        path = self.folder / "notes"
        return path.read_text().split() if path.exists() else []

    def sim(self, method: str, **params: object) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.folder / "world.sock"))
            line.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            answer: dict[str, object] = json.loads(line.makefile().readline())
        assert "error" not in answer, answer
        return answer

    def connect(self, name: str = "guard.sock") -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.settimeout(5)
        peer.connect(str(self.folder / name))
        return peer

    def end(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
