"""What may happen to an installed charger: daemon, guard or power go, for a while or for good. Steps of `story`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from chargerd.guard.lease import VALID_DEFAULT
from tests.systemd.charger import DAEMON, GUARD, READY, Charger
from tests.systemd.machine import must, until
from tests.systemd.packages import Packages

LATCH = "/var/lib/chargerd-guard/latch"


class Trials:
    """Each begins with an empty outlet or a car that charges, as the one before left it."""

    def __init__(self, charger: Charger) -> None:
        self.c, self.m = charger, charger.machine

    # ---- the daemon goes, the car charges on

    def kill_daemon(self) -> str:
        self.c.charge()
        return self._charges_on(lambda: self.m.signal(DAEMON, "KILL"), "kill -9 of the daemon")

    def restart_daemon(self) -> str:
        return self._charges_on(lambda: self.m.run("systemctl", "restart", DAEMON), "restart of the daemon")

    def hang_daemon(self) -> str:
        return self._charges_on(lambda: self.m.signal(DAEMON, "STOP"), "a daemon that hangs")

    def _charges_on(self, act: Callable[[], object], what: str) -> str:
        openings, pid, tx = self.c.openings, self.c.pid(DAEMON), self.c.outlet["transaction"]["tx"]
        began = time.monotonic()
        act()
        until(lambda: self.c.pid(DAEMON) not in (0, pid), 60, f"{what}: a new daemon")
        until(lambda: self.c.charging, READY, f"{what}: it charges")
        took = time.monotonic() - began
        time.sleep(2)
        self.c.must_charge_on(openings, what)
        must(self.c.outlet["transaction"]["tx"] == tx, f"{what}: another transaction")
        return f"told again after {took:.1f} s"

    def resets(self) -> str:
        self.c.leave()
        for kind in ("soft", "hard"):
            restarts = int(self.m.show(DAEMON, "NRestarts"))
            self.c.call("reset", kind=kind)
            until(lambda n=restarts: int(self.m.show(DAEMON, "NRestarts")) == n + 1, READY, f"{kind} reset")  # type: ignore[misc]
            self.c.available()
        must(not self.m.reboots and self.m.running(), "the computer rebooted for a simulated charger")
        return ""

    def change(self, to: Packages, what: str) -> str:
        """Another version while a car charges: the daemon at once, the guard when the car has left."""
        c = self.c
        c.charge()
        openings, guard = c.openings, c.pid(GUARD)
        began = time.monotonic()
        self.c.dpkg("-i", to.chargerd.name, to.sim.name)
        took = time.monotonic() - began
        until(lambda: c.version() == to.version and c.charging, READY, f"{what}: the new daemon and its car")
        time.sleep(3)
        c.must_charge_on(openings, what)
        must(c.pid(GUARD) == guard, f"{what}: the guard was restarted under a vehicle")
        c.leave()
        until(lambda: c.pid(GUARD) not in (0, guard), READY, f"{what}: the new guard")
        c.available()
        must(to.version in self._guard_build(), f"{what}: the guard is of another version")
        return f"dpkg {took:.1f} s; the guard followed when the car had left"

    def _guard_build(self) -> str:
        """What it tells those who look."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
            guard.settimeout(5)
            guard.connect(str(self.m.inside("/run/chargerd/guard-ro.sock")))
            return guard.recv(512).decode()

    # ---- the guard goes, the contactor opens

    def lose_guard(self, signal: str) -> str:
        c = self.c
        c.charge()
        openings, pid = c.openings, c.pid(GUARD)
        began = time.monotonic()
        self.m.signal(GUARD, signal)
        until(lambda: c.openings == openings + 1, 5, "the contactor opens")
        opened = time.monotonic() - began
        until(lambda: c.pid(GUARD) not in (0, pid), READY, "another guard")
        again = time.monotonic() - began
        until(lambda: c.outlet.get("transaction") is None, READY, "the transaction of the lost vehicle has ended")
        must(not self.unsafe, f"{self.unsafe} unsafe closings")
        c.leave()
        return f"open after {opened:.1f} s, another guard after {again:.1f} s"

    @property
    def unsafe(self) -> int:
        return int(self.c.sim("audit")["outlets"][0]["unsafe"])

    # ---- start limits

    def hopeless_daemon(self) -> str:
        """It is killed before it can do anything. Ends with the lease; then it is told, and tried again."""
        c = self.c
        c.charge()
        openings = c.openings
        self.m.run("systemctl", "reset-failed", DAEMON)
        began = time.monotonic()
        while self.m.show(DAEMON, "ActiveState") != "failed":
            must(time.monotonic() - began < 90, "no start limit of the daemon")
            if c.pid(DAEMON):
                self.m.signal(DAEMON, "KILL")
            time.sleep(0.05)
        failed = time.monotonic() - began
        until(lambda: c.openings == openings + 1, VALID_DEFAULT + 10 - min(failed, VALID_DEFAULT), "the lease ends")
        opened = time.monotonic() - began
        until(lambda: "DaemonLost" in c.ctl("status")[1], VALID_DEFAULT + 10, "the guard names it")
        code, said = c.ctl("faults", user="reader")
        code, said = c.ctl("status", user="reader")
        must(code == 3 and "chargerd does not run" in said, f"no remedy: {said}")
        must(c.physical["lamp"] == "service", f"the lamp shows {c.physical['lamp']}")
        named = time.monotonic() - began
        timer = "chargerd-retry@chargerd.timer"
        must(self.m.show(timer, "ActiveState") == "active", "nobody will try again")
        self.m.run(
            "systemctl", "start", "chargerd-retry@chargerd.service"
        )  # what the timer does in a quarter of an hour
        until(lambda: c.outlet, READY, "another try")
        until(lambda: c.physical["lamp"] != "service", 5, "the lamp no longer calls for service")
        c.leave()
        return f"given up after {failed:.0f} s, contactor open after {opened:.0f} s, named after {named:.0f} s"

    def hopeless_guard(self) -> str:
        c = self.c
        c.charge()
        openings = c.openings
        self.m.run("systemctl", "reset-failed", GUARD)
        began = time.monotonic()
        while self.m.show(GUARD, "ActiveState") != "failed":
            must(time.monotonic() - began < 90, "no start limit of the guard")
            if c.pid(GUARD):
                self.m.signal(GUARD, "KILL")
            time.sleep(0.2)
        took = time.monotonic() - began
        must(c.openings > openings and not c.physical["contactor"], "the contactor is closed without a guard")
        until(lambda: "GuardLost" in c.ctl("status", user="reader")[1], READY, "the daemon names it")
        time.sleep(3)
        must(not c.physical["contactor"] and not self.unsafe, "the contactor closed without a guard")
        timer = "chargerd-retry@chargerd-guard.timer"
        must(self.m.show(timer, "ActiveState") == "active", "nobody will try again")
        self.m.run("systemctl", "stop", GUARD)
        must(
            self.m.show(timer, "ActiveState") == "inactive",
            "a guard that was stopped by hand would come back by itself",
        )
        self.m.run("systemctl", "start", "chargerd-retry@chargerd-guard.service")
        until(lambda: c.outlet.get("limit") != "no-guard", READY, "another try")
        c.leave()
        return f"given up after {took:.0f} s"

    # ---- power

    def power_cut(self) -> str:
        c = self.c
        c.charge()
        time.sleep(1)
        tx = c.outlet["transaction"]["tx"]
        self.m.cut()
        booted = self.m.boot()
        c.available()
        must(not c.physical["contactor"], "the contactor is closed after a power cut")
        last = c.call("sessions", limit=1)[0]
        must(last["tx"] == tx, f"the session is not in the books: {last}")
        return f"boot {booted:.1f} s; session ended: {last['reason']}"

    def latched(self) -> str:
        c = self.c
        c.charge()
        c.sim("fault", outlet=1, fault="contactor-welded")
        c.call("stop", outlet=1)
        until(lambda: "ContactorWelded" in c.outlet.get("faults", ()), READY, "it is noticed")
        self.m.cut()
        self.m.boot()
        until(lambda: "ContactorWelded" in c.outlet.get("faults", ()), READY, "it is remembered")
        must(c.physical["contactor"] is False, "the world began anew with an open contactor")
        code, said = c.ctl("clear", "1", "ContactorWelded", user="reader")
        must(code == 1, f"a reader cleared it: {said}")
        code, said = c.ctl("clear", "1", "ContactorWelded", user="actor")
        must(code == 0, f"the technician could not clear it: {said}")
        c.available()
        return ""

    def unlatched(self) -> str:
        c = self.c
        self.m.run("systemctl", "stop", GUARD)
        self.m.run("rm", LATCH)
        self.m.run("systemctl", "start", GUARD)
        until(lambda: "LatchUnreadable" in c.outlet.get("faults", ()), READY, "the missing file is a fault")
        self.m.run("install", "-o", "chargerd-guard", "-g", "chargerd-service", "-m", "600", "/dev/null", LATCH)
        self.m.run("systemctl", "restart", GUARD)
        c.available()
        return ""

    def reboot(self) -> str:
        """Without what chargerd-sim changes in the unit."""
        self.m.run("mv", "/usr/lib/systemd/system/chargerd.service.d/simulated.conf", "/root/")
        self.m.run("systemctl", "daemon-reload")
        self.c.call("reset", kind="hard")
        took = until(lambda: self.m.reboots, 30, "the computer reboots")
        self.m.boot()
        self.m.run("mv", "/root/simulated.conf", "/usr/lib/systemd/system/chargerd.service.d/")
        self.m.run("systemctl", "daemon-reload")
        self.c.available()
        return f"seen after {took:.1f} s"
