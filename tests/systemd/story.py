"""The life of an installed charger in steps, each for itself checked against what an operator relies on.

A step raises Trouble where something is not as it must be; what it returns is shown beside its time.
"""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator

from chargerd.guard.lease import VALID_DEFAULT
from tests.systemd.charger import CARD, CONFIG, DAEMON, GUARD, READY, SECRET, WORLD, Charger
from tests.systemd.machine import Machine, Trouble, until
from tests.systemd.packages import Packages

EXPOSURE = 2.0
PEOPLE = {"reader": "chargerd", "actor": "chargerd-admin", "stranger": ""}
SIM_CONFIG = "/usr/share/chargerd-sim/chargerd.toml"
LATCH = "/var/lib/chargerd-guard/latch"
Step = tuple[str, Callable[[], str]]


def must(true: object, what: str) -> None:
    if not true:
        raise Trouble(what)


class Story:
    """Steps build upon each other: none may be left out."""

    def __init__(self, machine: Machine, packages: Packages, later: Packages) -> None:
        self.m, self.packages, self.later = machine, packages, later
        self.c = Charger(machine)

    def steps(self) -> Iterator[Step]:
        yield "boot", lambda: f"systemd {self.m.boot() and self.m.out('systemctl', '--version').split()[1]}"
        yield "install, unconfigured: refused by name", self.install
        yield "a simulated world, chosen explicitly", self.configure
        yield "people: reads, acts, stranger", self.people
        yield "secrets and files are not theirs", self.files
        yield f"exposure of the units at most {EXPOSURE}", self.exposure
        yield "the guard may become urgent", self.urgent
        yield "pcscd lets the daemon in", self.cards
        yield "kill -9 of the daemon: the car charges on", self.kill_daemon
        yield "restart of the daemon: the car charges on", self.restart_daemon
        yield "a daemon that hangs: watchdog, the car charges on", self.hang_daemon
        yield "soft and hard reset, simulated: started again", self.resets
        yield "upgrade under a charging car", lambda: self.change(self.later, "upgrade")
        yield (
            "downgrade under a charging car, guard one link version ahead",
            lambda: self.change(self.packages, "downgrade"),
        )
        yield "kill -9 of the guard: the contactor opens", lambda: self.lose_guard("KILL")
        yield "a guard that hangs: watchdog, the contactor opens", lambda: self.lose_guard("STOP")
        yield "a daemon that dies again and again", self.hopeless_daemon
        yield "a guard that dies again and again", self.hopeless_guard
        yield "power cut under a charging car", self.power_cut
        yield "power cut with a welded contactor: it stays latched", self.latched
        yield "a latch file that is gone is a fault", self.unlatched
        yield "hard reset with a real board: the computer reboots", self.reboot
        yield "the journal: priorities, and no secrets", self.journal
        yield "nothing was written where the package lives", self.untouched
        yield "remove, install again, purge", self.remove

    # ---- installing

    def install(self) -> str:
        for package in (self.packages, self.later):
            for file in (package.chargerd, package.sim):
                shutil.copy(file, self.m.disk / "root")
        began = time.monotonic()
        self.dpkg("-i", self.packages.chargerd.name)
        took = time.monotonic() - began
        until(lambda: self.c.version() == self.packages.version, READY, "the daemon answers")
        code, said = self.c.ctl("status")
        must(code == 0 and "ConfigInvalid" in said, f"chargerctl status: {said}")
        must(re.search(rf"{CONFIG}:\d+: guard\.board: is missing", said), f"the mistake is not named: {said}")
        must(self.m.show(GUARD, "ExecMainStatus") == "78", "the guard did not refuse")
        must(self.m.show(DAEMON, "NRestarts") == "0", "the daemon did not stay")
        return f"dpkg {took:.1f} s"

    def configure(self) -> str:
        self.dpkg("-i", self.packages.sim.name)
        text = (self.m.disk / SIM_CONFIG.lstrip("/")).read_text()
        (self.m.disk / CONFIG.lstrip("/")).write_text(text.replace('#password = ""', f'password = "{SECRET}"'))
        self.m.run("systemctl", "restart", DAEMON)
        took = self.c.available()
        must(self.m.show(GUARD, "ActiveState") == "active", "the daemon did not want its guard")
        return f"available after {took:.1f} s"

    def dpkg(self, how: str, *names: str) -> None:
        self.m.run("sh", "-c", f"cd /root && dpkg {how} {' '.join(names)}", timeout=120)

    # ---- people

    def people(self) -> str:
        for name, group in PEOPLE.items():
            self.m.run("useradd", name, *(("-G", group) if group else ()))
        c = self.c
        for user in (None, "reader", "actor"):
            code, said = c.ctl("status", user=user)
            must(code == 0 and "Available" in said, f"{user} may not read: {said}")
        for user, words in (("reader", ("tap", CARD)), ("reader", ("shutdown",)), ("reader", ("sim", "plug", "1"))):
            code, said = c.ctl(*words, user=user)
            must(code == 1 and "not allowed; join the group chargerd-admin" in said, f"{user} {words}: {said}")
        code, said = c.ctl("cards", "add", CARD, user="actor")
        must(code == 0, f"actor may not act: {said}")
        code, said = c.ctl("status", user="stranger")
        must(code == 1 and "not allowed; join the group chargerd," in said, f"a stranger: {said}")
        self.m.run("systemctl", "stop", DAEMON)
        for user in (None, "reader", "actor"):
            code, said = c.ctl("status", user=user)
            must(code == 3 and "The guard does, and says" in said, f"{user} is not told by the guard: {said}")
        code, said = c.ctl("status", user="stranger")
        must(code == 3 and "The guard does" not in said, f"the guard told a stranger: {said}")
        self.m.run("systemctl", "start", DAEMON)
        c.available()
        return "root, reader, actor; a stranger is told which group"

    def files(self) -> str:
        for user in ("reader", "actor", "stranger"):
            for path in (CONFIG, "/var/lib/chargerd/chargerd.db", LATCH):
                done = self.m.run("cat", path, user=user, check=False)
                must(done.returncode and "Permission denied" in done.stderr, f"{user} may read {path}")
            knock = "import socket as s; s.socket(s.AF_UNIX, s.SOCK_SEQPACKET).connect('/run/chargerd/guard.sock')"
            done = self.m.run("python3", "-c", knock, user=user, check=False)
            must("PermissionError" in done.stderr, f"{user} may speak to the guard")
        for user, path in (("chargerd", LATCH), ("chargerd-guard", "/var/lib/chargerd/chargerd.db")):
            must(self.m.run("cat", path, user=user, check=False).returncode, f"{user} may read {path}")
        done = self.m.run("rm", "-f", "/run/chargerd/guard.sock", user="chargerd", check=False)
        must(done.returncode, "the daemon's user may take the guard's socket away")
        return "configuration, books, latch, lease"

    def exposure(self) -> str:
        found = {}
        for unit in (DAEMON, GUARD, WORLD):
            said = self.m.out("systemd-analyze", "security", "--no-pager", unit)
            level = re.search(r"exposure level for .*: ([\d.]+)", said)
            must(level, f"no level of {unit}")
            found[unit] = float(level[1]) if level else 10.0
        must(max(found.values()) <= EXPOSURE, f"too exposed: {found}")
        bad = self.m.run("systemd-analyze", "verify", DAEMON, GUARD, WORLD, check=False)
        must(not bad.stderr, f"systemd-analyze verify: {bad.stderr}")
        return ", ".join(f"{unit.removesuffix('.service')} {level}" for unit, level in found.items())

    def urgent(self) -> str:
        """LimitRTPRIO asks for a right that a host may lack (CAP_SYS_RESOURCE): a capability stands in for it."""
        given = "CAP_SYS_NICE CAP_IPC_LOCK"
        self.c.drop_in(GUARD, "urgent", f"[Service]\nCapabilityBoundingSet={given}\nAmbientCapabilities={given}\n")
        self.m.run("systemctl", "restart", GUARD)
        said = self.m.out("chrt", "-p", str(self.c.pid(GUARD)))
        self.c.undo(GUARD, "urgent")
        self.m.run("systemctl", "restart", GUARD)
        self.c.available()
        must("SCHED_FIFO" in said and "priority: 40" in said, f"the guard does not run in real time: {said}")
        return said.splitlines()[-1].partition("'s ")[2]

    def cards(self) -> str:
        ask = "import smartcard.scard as s; print(s.SCardEstablishContext(s.SCARD_SCOPE_USER)[0])"
        answers = {}
        for user in ("chargerd", "stranger"):
            command = ("/usr/lib/chargerd/bin/python3", "-IB", "-c", ask)
            answers[user] = self.m.run(*command, user=user).stdout.strip()
        asks = self.m.run("test", "-e", "/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy", check=False)
        must(answers["chargerd"] == "0", f"the daemon may not use pcscd: {answers}")
        if asks.returncode:
            return "the pcscd of this release lets in everybody"
        must(answers["stranger"] != "0", f"pcscd lets in a stranger: {answers}")
        return "a stranger is refused"

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
        boots = self.m.boots
        for kind in ("soft", "hard"):
            restarts = int(self.m.show(DAEMON, "NRestarts"))
            self.c.call("reset", kind=kind)
            until(lambda n=restarts: int(self.m.show(DAEMON, "NRestarts")) == n + 1, READY, f"{kind} reset")  # type: ignore[misc]
            self.c.available()
        must(self.m.boots == boots, "the computer rebooted for a simulated charger")
        return ""

    def change(self, to: Packages, what: str) -> str:
        """Another version while a car charges: the daemon at once, the guard when the car has left."""
        c = self.c
        c.charge()
        openings, guard = c.openings, c.pid(GUARD)
        began = time.monotonic()
        self.dpkg("-i", to.chargerd.name, to.sim.name)
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
        """Its database is a folder that is not empty. Ends with the lease; then it is told, and tried again."""
        c = self.c
        c.charge()
        openings = c.openings
        self.m.run("systemctl", "reset-failed", DAEMON)
        books = "/var/lib/chargerd/chargerd.db"
        self.m.signal(DAEMON, "STOP")
        self.m.run(
            "sh",
            "-c",
            f"mkdir /root/books && mv {books}* /root/books && mkdir -p {books}/x && chown -R chargerd {books}",
        )
        began = time.monotonic()
        self.m.signal(DAEMON, "KILL")
        until(lambda: self.m.show(DAEMON, "ActiveState") == "failed", 120, "the start limit")
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
        self.m.run("sh", "-c", f"rm -r {books} && mv /root/books/* /var/lib/chargerd && rmdir /root/books")
        self.m.run(
            "systemctl", "start", "chargerd-retry@chargerd.service"
        )  # what the timer does in a quarter of an hour
        until(lambda: c.outlet, READY, "another try")
        must(c.physical["lamp"] != "service", "the lamp still calls for service")
        c.leave()
        return f"given up after {failed:.0f} s, contactor open after {opened:.0f} s, named after {named:.0f} s"

    def hopeless_guard(self) -> str:
        c = self.c
        c.charge()
        openings = c.openings
        self.m.run("systemctl", "reset-failed", GUARD)
        began = time.monotonic()
        while self.m.show(GUARD, "ActiveState") != "failed":
            must(time.monotonic() - began < 60, "no start limit of the guard")
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
        until(lambda: c.outlet.get("faults") == ["ContactorWelded"], READY, "it is remembered")
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
        until(lambda: c.outlet.get("faults") == ["LatchUnreadable"], READY, "the missing file is a fault")
        self.m.run("install", "-o", "chargerd-guard", "-g", "chargerd-service", "-m", "600", "/dev/null", LATCH)
        self.m.run("systemctl", "restart", GUARD)
        c.available()
        return ""

    def reboot(self) -> str:
        """Without what chargerd-sim changes in the unit."""
        boots = self.m.boots
        self.m.run("mv", "/usr/lib/systemd/system/chargerd.service.d/simulated.conf", "/root/")
        self.m.run("systemctl", "daemon-reload")
        self.c.call("reset", kind="hard")
        took = until(lambda: self.m.boots not in (0, boots), 30, "the computer reboots")
        until(self.m.running, 60, "the next boot")
        self.m.run("mv", "/root/simulated.conf", "/usr/lib/systemd/system/chargerd.service.d/")
        self.m.run("systemctl", "daemon-reload")
        self.c.available()
        return f"seen after {took:.1f} s"

    # ---- what is left behind

    def journal(self) -> str:
        units = ("-u", DAEMON, "-u", GUARD)
        errors = self.m.out("journalctl", "--no-pager", "-p", "err", "_SYSTEMD_UNIT=" + DAEMON)
        must("the configuration is wrong" in errors, "what the daemon calls an error is none in the journal")
        must("connected, link version" not in errors, "information is called an error")
        whole = self.m.out("journalctl", "--no-pager", *units)
        must("link version 1" in whole, "the journal is not readable")
        for secret in (SECRET, CARD, CARD[:10]):
            must(secret not in whole, f"the journal tells {secret}")
        for no in ("Traceback", "adjtimex"):
            must(no not in errors.replace("Fatal Python error", ""), f"{no} in the journal:\n{errors}")
        return f"{len(whole.splitlines())} lines, {len(errors.splitlines())} of them errors"

    def untouched(self) -> str:
        said = self.m.run("dpkg", "--verify", "chargerd", "chargerd-sim", check=False).stdout.splitlines()
        must(all(line.endswith(CONFIG) for line in said), f"changed: {said}")
        strange = self.m.out(
            "sh", "-c", "find /usr/lib/chargerd -newer /var/lib/dpkg/info/chargerd.list -type f | head"
        )
        must(not strange, f"new below /usr/lib/chargerd: {strange}")
        return self._import_times()

    def _import_times(self) -> str:
        load = "import chargerd.daemon.run, chargerd.ocpp.v16, chargerd.cli"
        took = {}
        for name, options in (("with", ()), ("without", ("-X", "pycache_prefix=/nowhere"))):
            began = time.monotonic()
            self.m.run("/usr/lib/chargerd/bin/python3", "-IB", *options, "-c", load)
            took[name] = time.monotonic() - began
        return f"the daemon's imports take {took['with']:.2f} s; {took['without']:.2f} s without shipped bytecode"

    def remove(self) -> str:
        state = "/var/lib/chargerd/chargerd.db"
        self.dpkg("-r", "chargerd-sim", "chargerd")
        for unit in (DAEMON, GUARD):
            must(self.m.show(unit, "ActiveState") == "inactive", f"{unit} runs on without its package")
        must(
            self.m.run("test", "-e", CONFIG, "-a", "-e", state, "-a", "-e", LATCH, check=False).returncode == 0,
            "remove took state",
        )
        must(self.m.run("test", "-e", "/usr/lib/chargerd", check=False).returncode, "remove left /usr/lib/chargerd")
        self.dpkg("-i", self.packages.chargerd.name, self.packages.sim.name)
        self.c.available()
        must(self.c.call("sessions", limit=5), "the history did not survive remove and install")
        self.dpkg("-P", "chargerd-sim", "chargerd")
        for gone in (
            "/etc/chargerd",
            "/var/lib/chargerd",
            "/var/lib/chargerd-guard",
            "/run/chargerd",
            "/usr/lib/chargerd",
        ):
            must(self.m.run("test", "-e", gone, check=False).returncode, f"purge left {gone}")
        links = self.m.out("sh", "-c", "find /etc/systemd -name '*chargerd*'")
        must(not links, f"purge left {links}")
        must("chargerd-guard" in self.m.out("getent", "passwd", "chargerd-guard"), "users are to stay")
        return "users and groups stay"
