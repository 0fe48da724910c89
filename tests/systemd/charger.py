"""The installed charger as the steps see it: its sockets from outside, its units, the contactor of its world."""

from __future__ import annotations

from typing import Any

from chargerd.cli.talk import Control, Failed, Unreachable
from tests.systemd.machine import Machine, Trouble, until

CARD = "04A1B2C3D4E5F6"
SECRET = "not-for-the-journal"
CONFIG = "/etc/chargerd/chargerd.toml"
DAEMON, GUARD, WORLD = "chargerd.service", "chargerd-guard.service", "chargerd-world.service"
ANSWER = 5.0
READY = 30.0


class Charger:
    """One outlet in a simulated world, on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    # ---- talking

    def call(self, method: str, **params: Any) -> Any:
        """At the control socket, as root. Raises Failed, Unreachable."""
        with Control(str(self.machine.inside("/run/chargerd/control.sock")), ANSWER) as control:
            return control.call(method, **params)

    def sim(self, method: str, **params: Any) -> Any:
        """At the world's own socket, whatever the daemon does."""
        with Control(str(self.machine.inside("/run/chargerd-world/world.sock")), ANSWER) as world:
            return world.call(f"sim.{method}", **params)

    def ctl(self, *words: str, user: str | None = None) -> tuple[int, str]:
        """`chargerctl` inside: exit status and what it says."""
        done = self.machine.run("chargerctl", *words, user=user, check=False)
        return done.returncode, done.stdout + done.stderr

    # ---- seeing

    @property
    def status(self) -> Any:
        return self.call("status")

    def ask(self, part: str) -> Any:
        """A part of the status; {} while the daemon does not answer."""
        try:
            return self.status[part] or {}
        except (Unreachable, Failed):
            return {}

    @property
    def outlet(self) -> Any:
        """The outlet as the daemon sees it; {} while it does not answer."""
        return next(iter(self.ask("outlets")), {})

    @property
    def physical(self) -> Any:
        return self.sim("state")["outlets"][0]

    @property
    def openings(self) -> int:
        """How often the contactor has opened."""
        return int(self.sim("audit")["outlets"][0]["opened"])

    @property
    def charging(self) -> bool:
        return bool(self.outlet.get("status") == "Charging" and self.physical["contactor"])

    def pid(self, unit: str) -> int:
        return int(self.machine.show(unit, "MainPID") or 0)

    def version(self) -> str:
        try:
            return str(self.call("hello")["version"])
        except (Unreachable, Failed):
            return ""

    # ---- doing

    def available(self, limit: float = READY) -> float:
        return until(lambda: self.outlet.get("status") == "Available", limit, "the outlet is available")

    def charge(self) -> None:
        """From an empty outlet to a vehicle that charges."""
        self.available()
        if not self.call("cards.list"):
            self.call("cards.add", card=CARD)
        self.sim("plug", outlet=1, max_amps=16)
        until(lambda: self.outlet.get("plug"), READY, "the vehicle is seen")
        self.sim("tap", uid=CARD)
        until(lambda: self.charging, READY, "the vehicle charges")

    def leave(self) -> None:
        """The session ends and the vehicle drives off."""
        if self.outlet.get("transaction"):
            self.call("stop", outlet=1)
            until(lambda: not self.physical["contactor"], READY, "the contactor opens")
        if self.physical["plugged"]:
            self.sim("unplug", outlet=1)
        self.available()

    def dpkg(self, how: str, *names: str) -> None:
        """Of packages that lie in /root."""
        self.machine.run("sh", "-c", f"cd /root && dpkg {how} {' '.join(names)}", timeout=120)

    def must_charge_on(self, openings: int, what: str) -> None:
        if self.openings != openings or not self.physical["contactor"]:
            raise Trouble(f"{what}: the contactor opened, the car did not charge on")

    def drop_in(self, unit: str, settings: str) -> None:
        """Service settings of this machine for a unit."""
        folder = self.machine.disk / "etc/systemd/system" / f"{unit}.d"
        folder.mkdir()
        (folder / "here.conf").write_text(f"[Service]\n{settings}\n")
        self.machine.run("systemctl", "daemon-reload")
