"""The Debian packages of this tree, and a later version of them whose guard and daemon speak one link version more."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.systemd.machine import Trouble, do, root

ROOT = Path(__file__).resolve().parents[2]
LATER = "9.0.0"
BUILD = (
    "swig",
    "python3-venv", "python3-dev", "gcc", "pkg-config", "libpcsclite-dev", "libsystemd-dev", "dpkg-dev", "binutils",
    "ca-certificates",
)  # fmt: skip
HOME = "usr/lib/chargerd/lib"
SOURCES = ("chargerd", "hal", "hardware", "deploy", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Packages:
    """Files, and the version that `chargerd --version` will name."""

    chargerd: Path
    sim: Path
    version: str


def build(cache: Path, suite: str) -> Packages:
    """By `deploy/package` on that release; not again when nothing has changed since. Raises Trouble."""
    folder = cache / f"packages-{suite}-{_sum()}"
    if not folder.exists():
        for old in cache.glob(f"packages-{suite}-*"):
            shutil.rmtree(old)
        made = cache / f"packages-{suite}.new"
        made.mkdir(exist_ok=True)
        if platform.freedesktop_os_release().get("VERSION_CODENAME") == suite:
            do(str(ROOT / "deploy/package"), "--out", str(made), timeout=600)
        else:
            _build_elsewhere(root(cache, suite, BUILD), made)
        made.rename(folder)
    return _found(folder)


def _build_elsewhere(builder: Path, out: Path) -> None:
    """In a root of another release, with the network, trust and pip settings of this machine."""
    places = [f"--bind-ro={path}" for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    settings = [f"--setenv={name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
    nspawn = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--resolv-conf=bind-host")
    inside = (f"--bind-ro={ROOT}:/src", f"--bind={out}:/out", "/src/deploy/package", "--out", "/out")
    do(*nspawn, "-D", str(builder), *places, *settings, *inside, timeout=900)


def later(packages: Packages, folder: Path) -> Packages:
    """What an upgrade brings: the same code by another name."""
    folder.mkdir()
    for package in (packages.chargerd, packages.sim):
        tree = folder / package.stem
        do("dpkg-deb", "-R", str(package), str(tree))
        control = tree / "DEBIAN/control"
        text = control.read_text().replace(f"Version: {packages.version}", f"Version: {LATER}")
        control.write_text(text.replace(f"(= {packages.version})", f"(= {LATER})"))
        if package == packages.chargerd:
            (lib,) = (tree / HOME).glob("python3.*/site-packages")
            _replace(lib / "chargerd/__init__.py", rf'"{re.escape(packages.version)}"', f'"{LATER}"')
            _replace(lib / "chargerd/guard/lease.py", r"^LINK_VERSION = 2$", "LINK_VERSION = 3")
        do("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(tree), str(folder))
        shutil.rmtree(tree)
    return _found(folder)


def _found(folder: Path) -> Packages:
    (chargerd,), (sim,) = folder.glob("chargerd_*.deb"), folder.glob("chargerd-sim_*.deb")
    return Packages(chargerd, sim, chargerd.name.split("_")[1])


def _sum() -> str:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *SOURCES], cwd=ROOT, capture_output=True, check=True, text=True
    )
    whole = hashlib.sha256()
    for name in sorted(listed.stdout.split()):
        if (ROOT / name).is_file():
            whole.update(name.encode() + (ROOT / name).read_bytes())
    return whole.hexdigest()[:12]


def _replace(path: Path, pattern: str, by: str) -> None:
    text, number = re.subn(pattern, by, path.read_text(), flags=re.MULTILINE)
    if number != 1:
        raise Trouble(f"{path.name}: {pattern} is {number} times there")
    path.write_text(text)
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()
