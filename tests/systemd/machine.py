"""A Debian that boots: a root made by mmdebstrap and kept, an overlay for each run, systemd-nspawn around it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

INCLUDE = (
    "systemd", "systemd-sysv", "dbus", "udev", "polkitd", "pcscd",
    "python3", "libpcsclite1", "libsystemd0", "libgcc-s1",
)  # fmt: skip
MIRROR = "http://deb.debian.org/debian"
UNWANTED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
BOOT, COMMAND = 60.0, 60.0  # s
ASKED = "--system-call-filter=adjtimex clock_adjtime"  # the state of the clock, which a container hides otherwise
REBOOT = 133  # exit status of systemd-nspawn with --keep-unit


class Trouble(Exception):
    """The machine does not do what it should; the text says what."""


def must(true: object, what: str) -> None:
    """Raises Trouble."""
    if not true:
        raise Trouble(what)


def until(what: Callable[[], object], limit: float, name: str) -> float:
    """Wait until `what` is true, for at most `limit` seconds; how long it took. Raises Trouble."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > limit:
            raise Trouble(f"{name}: not within {limit:g} s")
        time.sleep(0.1)
    return time.monotonic() - began


def root(cache: Path, suite: str, include: Sequence[str] = INCLUDE) -> Path:
    """A minimal root of `suite` with these packages, by default what chargerd depends on; made once."""
    mark = hashlib.sha256(" ".join((suite, *include)).encode()).hexdigest()[:8]
    home = cache / f"{suite}-{mark}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = cache / f"{home.name}.new"
        shutil.rmtree(made, ignore_errors=True)
        options = [f"--dpkgopt=path-exclude={path}" for path in UNWANTED]
        command = ["eatmydata", "mmdebstrap", "--quiet", "--variant=minbase", *options]
        mirror = os.environ.get("DEBIAN_MIRROR", MIRROR)
        do(*command, f"--include={','.join(include)}", suite, str(made), mirror, timeout=900)
        made.rename(home)
    return home


class Machine:
    """One machine and its disk. It boots, loses its power, and boots again."""

    def __init__(self, below: Path, folder: Path) -> None:
        self.folder, self.disk = folder, folder / "root"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        for each in ("upper", "work", "root"):
            (folder / each).mkdir(parents=True)
        layers = f"lowerdir={below},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        do("mount", "-t", "overlay", "overlay", "-o", layers, str(self.disk))
        (self.disk / "etc/machine-id").write_text(f"{hashlib.sha256(bytes(folder)).hexdigest()[:32]}\n")
        (self.disk / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.0.1 backend.test\n")
        (self.disk / "var/log/journal").mkdir(exist_ok=True)  # the journal outlives a boot

    # ---- power

    def boot(self) -> float:
        """Seconds until the machine says that it runs."""
        command = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--private-network")
        with (self.folder / "console.log").open("ab") as console:
            self._nspawn = subprocess.Popen(
                [*command, ASKED, "--console=read-only", "--machine=charger", "-D", str(self.disk)],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        return until(self.running, BOOT, "boot")

    def running(self) -> bool:
        self._leader = self._first()
        return bool(self._leader) and self.out("systemctl", "is-system-running", check=False) in ("running", "degraded")

    def cut(self) -> None:
        """As a power cut for whatever runs; what was written, also without fsync, stays written."""
        if first := self._first():  # never a number kept from before: it may be another's by now
            os.kill(first, signal.SIGKILL)
        if self._nspawn is not None:
            self._nspawn.wait(20)
            self._nspawn = None

    @property
    def reboots(self) -> bool:
        """It has ended in order to be booted again."""
        return self._nspawn is not None and self._nspawn.poll() == REBOOT

    def end(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.cut()
        if self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait(20)
        subprocess.run(["umount", "--lazy", str(self.disk)], check=False)

    def _first(self) -> int:
        if self._nspawn is None or self._nspawn.poll() is not None:
            return 0
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return 0

    # ---- commands

    def run(
        self, *command: str, user: str | None = None, check: bool = True, timeout: float = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        """Inside, as root or as `user`. Raises Trouble when `check` and it fails."""
        inside = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "--"]
        person = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        place = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            [*inside, *person, *command], env=place, text=True, capture_output=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise Trouble(f"{' '.join(command)}: exit status {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def out(self, *command: str, check: bool = True) -> str:
        return self.run(*command, check=check).stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.out("systemctl", "show", unit, "-p", name, "--value")

    def signal(self, unit: str, name: str) -> None:
        self.run("systemctl", "kill", f"--signal={name}", "--kill-whom=main", unit)

    def inside(self, path: str) -> Path:
        """A path of the running machine as seen from here, sockets included."""
        return Path(f"/proc/{self._leader}/root{path}")


@contextlib.contextmanager
def machine(below: Path, folder: Path) -> Iterator[Machine]:
    made = Machine(below, folder)
    try:
        yield made
    finally:
        made.end()


def do(*command: str, timeout: float = COMMAND) -> None:
    """A command out here. Raises Trouble."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=timeout, check=False)
    if done.returncode:
        raise Trouble(f"{' '.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
