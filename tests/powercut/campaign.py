"""Cut after cut on one disk, and what must be true after each: nothing that was promised is gone, nothing is torn.

Outside the machine are the backend, which remembers over all cuts, the register of the meter and the car. What the
machine has said before its power went is all that has happened; what it does not say at once it has not done.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chargerd.daemon.store import Session
from chargerd.lab.csms import Csms
from chargerd.lab.peer import Peer
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION
from chargerd.lab.whole import EPOCH
from tests.crashing.judge import Evidence, judge_books
from tests.powercut.guest import TOKEN
from tests.powercut.image import Image
from tests.powercut.machine import Disk, Machine, Silent, format_disk

POINTS = (3, 70)  # commits and sends of a run, until the power goes
LINGER = 0.06  # s within which it goes then, while the machine is at work
CARS = 1000  # more than any run sees
OUTAGE = 5.0  # s


@dataclass(frozen=True, slots=True)
class Way:
    """How the machine is told to write; `sound`: it must lose nothing."""

    name: str
    sound: bool = True
    careless: bool = False  # SQLite with synchronous = OFF
    mount: str = ""
    errors: tuple[str, ...] = ()  # beginnings of what may be logged


SOUND = Way("as it is")
CONTROLS = (
    Way("control: synchronous = OFF", sound=False, careless=True),
    Way("control: ext4 without barriers", sound=False, mount="barrier=0"),
)


@dataclass(slots=True)
class Tally:
    """Of one disk: `seconds` of each cycle, `where` the power went, and what was wrong."""

    seconds: list[float] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    commits: int = 0
    complaints: list[str] = field(default_factory=list)


class Campaign:
    """One disk from empty to its account; `folder` holds what the machine needs."""

    def __init__(self, folder: Path, image: Image, state: Path, way: Way, version: str, seed: int, leak: float) -> None:
        self._folder, self._image, self._state, self._way, self._version = folder, image, state, way, version
        self._seed, self._leak, self._random = seed, leak, random.Random(f"{seed}{way.name}{version}")
        self._now, self._energy, self._plugged = 1000.0, 0.0, False
        self._csms = Csms(clock=lambda: EPOCH + self._now)
        self._csms.tokens = {TOKEN: Token()}
        self._peer: Peer | None = None
        self._frames: list[str] = []
        self._promised = ""  # digest of the last commit that was acknowledged
        self._committing = False
        self._boot = 0
        self.tally = Tally()

    def play(self, cycles: int, progress: Callable[[str], None]) -> None:
        """`cycles` cuts, then to rest and to account. A way that is not sound ends with its first complaint."""
        medium = self._folder / "medium"
        format_disk(medium)
        for number in range(1, cycles + 1):
            self._cycle(medium, self._random.randint(*POINTS))
            progress(f"  {number}/{cycles}  {self.tally.where[-1]}, {self.tally.seconds[-1]:.1f} s")
            if self.tally.complaints and not self._way.sound:
                return
        self._cycle(medium, None)

    def _cycle(self, medium: Path, points: int | None) -> None:
        began, self._boot = time.monotonic(), self._boot + 1
        disk = self._disk = Disk(self._folder, medium, self._seed * 1000 + self._boot, self._leak)
        machine = Machine(self._folder, self._image, disk, self._state)
        try:
            self._run(machine, points)
        except Silent as e:
            self._complain(f"the machine fell silent: {e}")
        finally:
            disk.cut()
            machine.cut()
        self._now += OUTAGE
        if self._peer is not None:
            self._peer.close()
        self.tally.seconds.append(time.monotonic() - began)

    def _run(self, machine: Machine, points: int | None) -> None:
        """Until the power is to go; None: until the machine has accounted for everything."""
        machine.say(self._order(points))
        passed = 0
        while True:
            message = machine.hear()
            self._hear(message)
            if "end" in message:
                self._account(message["end"])
                return
            passed += "point" in message or "frame" in message
            last = passed == points
            patience = self._random.uniform(-LINGER, LINGER) if last else 0.0
            if patience >= 0.0:
                self._answer(machine)
            if last:
                time.sleep(max(0.0, patience))
                self.tally.where.append(f"{message.get('point', 'send')} {'and on' if patience >= 0 else ''}".strip())
                return

    def _order(self, points: int | None) -> dict[str, Any]:
        plugged, self._plugged = self._plugged, False
        return {
            "version": self._version,
            "boot": self._boot,
            "now": self._now,
            "energy": self._energy,
            "plugged": plugged and self._random.random() < 0.5,
            "cars": 1 if points is None else CARS,
            "careless": self._way.careless,
            "mount": self._way.mount,
            "chance": self._random.getrandbits(32),
        }

    def _answer(self, machine: Machine, **more: Any) -> None:
        machine.say({"frames": self._frames, **more})
        self._frames.clear()

    def _hear(self, message: dict[str, Any]) -> None:
        self._now = max(self._now, message.get("now", 0.0))
        self._energy, self._plugged = message.get("energy", self._energy), message.get("plugged", self._plugged)
        self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"error": text} if not text.startswith(self._way.errors or "\0"):
                self._complain(f"logged: {text}")
            case {"disk": digest, "aside": aside}:
                self._compare(digest)
                if aside:
                    self._complain(f"a database was found damaged and set aside: {aside}")
            case {"point": "before-commit"}:
                self._committing = True
            case {"point": "after-commit", "disk": digest}:
                self._promised, self._committing = digest, False
                self.tally.commits += 1
            case {"open": subprotocol}:
                self._peer = self._csms.attach(STATION, subprotocol, self._frames.append)
            case {"closed": True} if self._peer is not None:
                self._peer.close()
            case {"frame": frame} if self._peer is not None:
                self._peer.receive(frame)

    def _compare(self, digest: str) -> None:
        if digest.startswith("damaged"):
            self._complain(digest)
        elif digest != self._promised and not self._committing:
            self._complain(f"the disk has {digest or 'nothing'}, promised was {self._promised or 'nothing'}")
        self._promised, self._committing = digest, False

    def _account(self, end: dict[str, Any]) -> None:
        history = [Session(**one) for one in end["sessions"]]
        evidence = Evidence(self._csms, [self._energy], [], history, end["waiting"], end["dead"])
        for complaint in judge_books(evidence):
            self._complain(complaint)

    def _complain(self, text: str) -> None:
        self.tally.complaints.append(f"boot {self._boot}: {text}")
