"""The life of an installed charger in steps, each for itself checked against what an operator relies on.

A step raises Trouble where something is not as it must be; what it returns is shown beside its time.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator

from tests.systemd.charger import CARD, CONFIG, DAEMON, GUARD, READY, SECRET, WORLD, Charger
from tests.systemd.machine import Machine, must, until
from tests.systemd.packages import Packages
from tests.systemd.trials import LATCH, Trials

EXPOSURE = 2.0
HOME = "/usr/lib/chargerd"
PEOPLE = {"reader": "chargerd", "actor": "chargerd-admin", "stranger": ""}
SIM_CONFIG = "/usr/share/chargerd-sim/chargerd.toml"
Step = tuple[str, Callable[[], str]]


class Story:
    """Steps build upon each other: none may be left out."""

    def __init__(self, machine: Machine, packages: Packages, later: Packages) -> None:
        self.m, self.packages, self.later = machine, packages, later
        self.c = Charger(machine)
        self.trials = Trials(self.c)

    def steps(self) -> Iterator[Step]:
        yield "boot", lambda: f"systemd {self.m.boot() and self.m.out('systemctl', '--version').split()[1]}"
        yield "install, unconfigured: refused by name", self.install
        yield "a board that is not there is an error, never a simulation", self.without_board
        yield "a simulated world, chosen explicitly", self.configure
        yield "a backend by its name, with a password, through the sandbox", self.backend
        yield "people: reads, acts, stranger", self.people
        yield "secrets and files are not theirs", self.files
        yield f"exposure of the units at most {EXPOSURE}", self.exposure
        yield "the guard may become urgent", self.urgent
        yield "pcscd lets the daemon in", self.cards
        yield "kill -9 of the daemon: the car charges on", self.trials.kill_daemon
        yield "restart of the daemon: the car charges on", self.trials.restart_daemon
        yield "a daemon that hangs: watchdog, the car charges on", self.trials.hang_daemon
        yield "soft and hard reset, simulated: started again", self.trials.resets
        yield "upgrade under a charging car", lambda: self.trials.change(self.later, "upgrade")
        yield (
            "downgrade under a charging car, guard one link version ahead",
            lambda: self.trials.change(self.packages, "downgrade"),
        )
        yield "kill -9 of the guard: the contactor opens", lambda: self.trials.lose_guard("KILL")
        yield "a guard that hangs: watchdog, the contactor opens", lambda: self.trials.lose_guard("STOP")
        yield "a daemon that dies again and again", self.trials.hopeless_daemon
        yield "a guard that dies again and again", self.trials.hopeless_guard
        yield "power cut under a charging car", self.trials.power_cut
        yield "power cut with a welded contactor: it stays latched", self.trials.latched
        yield "a latch file that is gone is a fault", self.trials.unlatched
        yield "hard reset with a real board: the computer reboots", self.trials.reboot
        yield "the journal: priorities, and no secrets", self.journal
        yield "nothing was written where the package lives", self.untouched
        yield "remove, install again, purge", self.remove

    # ---- installing

    def install(self) -> str:
        for package in (self.packages, self.later):
            for file in (package.chargerd, package.sim):
                shutil.copy(file, self.m.disk / "root")
        began = time.monotonic()
        self.c.dpkg("-i", self.packages.chargerd.name)
        took = time.monotonic() - began
        until(lambda: self.c.version() == self.packages.version, READY, "the daemon answers")
        code, said = self.c.ctl("status")
        must(code == 0 and "ConfigInvalid" in said, f"chargerctl status: {said}")
        must(re.search(rf"{CONFIG}:\d+: guard\.board: is missing", said), f"the mistake is not named: {said}")
        must(self.m.show(GUARD, "ExecMainStatus") == "78", "the guard did not refuse")
        must(self.m.show(DAEMON, "NRestarts") == "0", "the daemon did not stay")
        return f"dpkg {took:.1f} s"

    def without_board(self) -> str:
        self.m.run("sed", "-i", "s/^#board =/board =/", CONFIG)
        self.m.run("systemctl", "restart", DAEMON, GUARD, check=False)
        until(lambda: self.m.show(GUARD, "ExecMainStatus") == "69", READY, "the guard misses its board")
        said = self.m.out("journalctl", "--no-pager", "-u", GUARD, "-n", "20")
        must("no Raspberry Pi" in said, f"it does not say what is missing: {said}")
        until(lambda: "GuardLost" in self.c.ctl("status")[1], READY, "the daemon says that there is no guard")
        return next(line.partition("chargerd-guard: ")[2] for line in said.splitlines() if "chargerd-guard: " in line)

    def configure(self) -> str:
        self.c.dpkg("-i", self.packages.sim.name)
        text = (self.m.disk / SIM_CONFIG.lstrip("/")).read_text()
        (self.m.disk / CONFIG.lstrip("/")).write_text(text.replace('#password = ""', f'password = "{SECRET}"'))
        self.m.run("systemctl", "restart", DAEMON)
        took = self.c.available()
        must(self.m.show(GUARD, "ActiveState") == "active", "the daemon did not want its guard")
        return f"available after {took:.1f} s"

    def backend(self) -> str:
        lab = ("-m", "chargerd.lab.csms", "--host", "127.0.0.1", "--port", "9000", "--password", SECRET)
        self.m.run("systemd-run", "--quiet", "--unit=backend", f"{HOME}/bin/python3", "-IB", *lab)
        self._csms("none", "ws://backend.test:9000/ocpp")
        self.m.run("systemctl", "restart", DAEMON)
        until(lambda: self.c.ask("link").get("phase") == "open", READY, "the link is open")
        until(lambda: self.c.ask("station").get("boot") == "accepted", READY, "the boot is accepted")
        version = str(self.c.ask("link")["version"])
        self._csms("ws://backend.test:9000/ocpp", "none")
        self.m.run("systemctl", "restart", DAEMON)
        self.m.run("systemctl", "stop", "backend")
        self.c.available()
        return f"OCPP {version}"

    def _csms(self, old: str, new: str) -> None:
        self.m.run("sed", "-i", f's|^url = "{old}"|url = "{new}"|', CONFIG)

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
        kill = ("sh", "-c", f"kill -0 {self.c.pid(GUARD)}")
        must(self.m.run(*kill, user="chargerd", check=False).returncode, "the daemon's user may signal the guard")
        return "configuration, books, latch, lease; nor the guard's the daemon's"

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
        """From here on it is, and so is its world: else a busy host delays the guard by more than it may be late.

        LimitRTPRIO asks for a right that a host may lack (CAP_SYS_RESOURCE): a capability stands in for it.
        """
        given = "CAP_SYS_NICE CAP_IPC_LOCK"
        self.c.drop_in(GUARD, f"CapabilityBoundingSet={given}\nAmbientCapabilities={given}")
        self.c.drop_in(WORLD, "CPUSchedulingPolicy=fifo\nCPUSchedulingPriority=41")
        self.m.run("systemctl", "reset-failed")  # so many restarts within minutes are this story's own
        self.m.run("systemctl", "restart", WORLD, GUARD, DAEMON)
        self.c.available()
        said = self.m.out("chrt", "-p", str(self.c.pid(GUARD)))
        must("SCHED_FIFO" in said and "priority: 40" in said, f"the guard does not run in real time: {said}")
        return said.splitlines()[-1].partition("'s ")[2]

    def cards(self) -> str:
        ask = "import smartcard.scard as s; print(s.SCardEstablishContext(s.SCARD_SCOPE_USER)[0])"
        answers = {}
        for user in ("chargerd", "stranger"):
            command = (f"{HOME}/bin/python3", "-IB", "-c", ask)
            answers[user] = self.m.run(*command, user=user).stdout.strip()
        asks = self.m.run("test", "-e", "/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy", check=False)
        must(answers["chargerd"] == "0", f"the daemon may not use pcscd: {answers}")
        if asks.returncode:
            return "the pcscd of this release lets in everybody"
        must(answers["stranger"] != "0", f"pcscd lets in a stranger: {answers}")
        return "a stranger is refused"

    # ---- what is left behind

    def journal(self) -> str:
        units = ("-u", DAEMON, "-u", GUARD)
        errors = self.m.out("journalctl", "--no-pager", "-p", "err", "_SYSTEMD_UNIT=" + DAEMON)
        must("the configuration is wrong" in errors, "what the daemon calls an error is none in the journal")
        must("connected, link version" not in errors, "information is called an error")
        whole = self.m.out("journalctl", "--no-pager", *units)
        must("link version" in whole, "the journal is not readable")
        for secret in (SECRET, CARD, CARD[:10]):
            must(secret not in whole, f"the journal tells {secret}")
        for no in ("Traceback", "adjtimex"):
            must(no not in whole, f"{no} in the journal:\n{errors}")
        return f"{len(whole.splitlines())} lines, {len(errors.splitlines())} of them errors"

    def untouched(self) -> str:
        said = self.m.run("dpkg", "--verify", "chargerd", "chargerd-sim", check=False).stdout.splitlines()
        changed = [line for line in said if not line.endswith(CONFIG) and "/usr/share/doc/" not in line]
        must(not changed, f"changed: {changed}")
        strange = self.m.out(
            "sh", "-c", "find /usr/lib/chargerd -newer /var/lib/dpkg/info/chargerd.list -type f | head"
        )
        must(not strange, f"new below /usr/lib/chargerd: {strange}")
        compiled = "import os; os.chdir('/tmp'); import gpiozero.pins.lgpio, smartcard.scard, systemd.daemon"
        self.m.run(f"{HOME}/bin/python3", "-IB", "-c", compiled)
        return self._import_times()

    def _import_times(self) -> str:
        load = "import chargerd.daemon.run, chargerd.ocpp.v16, chargerd.cli"
        took = {}
        for name, options in (("with", ()), ("without", ("-X", "pycache_prefix=/nowhere"))):
            began = time.monotonic()
            self.m.run(f"{HOME}/bin/python3", "-IB", *options, "-c", load)
            took[name] = time.monotonic() - began
        return f"the daemon's imports take {took['with']:.2f} s; {took['without']:.2f} s without shipped bytecode"

    def remove(self) -> str:
        state = "/var/lib/chargerd/chargerd.db"
        self.c.dpkg("-r", "chargerd-sim", "chargerd")
        for unit in (DAEMON, GUARD):
            must(self.m.show(unit, "ActiveState") == "inactive", f"{unit} runs on without its package")
        must(
            self.m.run("test", "-e", CONFIG, "-a", "-e", state, "-a", "-e", LATCH, check=False).returncode == 0,
            "remove took state",
        )
        must(self.m.run("test", "-e", "/usr/lib/chargerd", check=False).returncode, "remove left /usr/lib/chargerd")
        self.c.dpkg("-i", self.packages.chargerd.name, self.packages.sim.name)
        self.c.available()
        must(self.c.call("sessions", limit=5), "the history did not survive remove and install")
        self.c.dpkg("-P", "chargerd-sim", "chargerd")
        for gone in (
            "/etc/chargerd",
            "/var/lib/chargerd",
            "/var/lib/chargerd-guard",
            "/run/chargerd",
            "/usr/lib/chargerd",
        ):
            must(self.m.run("test", "-e", gone, check=False).returncode, f"purge left {gone}")
        links = self.m.out("sh", "-c", "find /etc/systemd -name '*chargerd*' -type l")
        must(not links, f"purge left {links}")
        must("chargerd-guard" in self.m.out("getent", "passwd", "chargerd-guard"), "users are to stay")
        return "users and groups stay"
