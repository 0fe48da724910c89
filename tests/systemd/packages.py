"""The Debian packages of this tree, and a later version of them whose guard and daemon speak one link version more."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.systemd.machine import Trouble

ROOT = Path(__file__).resolve().parents[2]
LATER = "9.0.0"
HOME = "usr/lib/chargerd/lib"
SOURCES = ("chargerd", "hal", "hardware", "deploy", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Packages:
    """Files, and the version that `chargerd --version` will name."""

    chargerd: Path
    sim: Path
    version: str


def build(cache: Path) -> Packages:
    """By `deploy/package`; not again when nothing has changed since. Raises Trouble."""
    folder = cache / f"packages-{_sum()}"
    if not folder.exists():
        for old in cache.glob("packages-*"):
            shutil.rmtree(old)
        made = cache / "packages.new"
        _run(str(ROOT / "deploy/package"), "--out", str(made), timeout=600)
        made.rename(folder)
    return _found(folder)


def later(packages: Packages, folder: Path) -> Packages:
    """What an upgrade brings: the same code by another name."""
    folder.mkdir()
    for package in (packages.chargerd, packages.sim):
        tree = folder / package.stem
        _run("dpkg-deb", "-R", str(package), str(tree))
        control = tree / "DEBIAN/control"
        text = control.read_text().replace(f"Version: {packages.version}", f"Version: {LATER}")
        control.write_text(text.replace(f"(= {packages.version})", f"(= {LATER})"))
        if package == packages.chargerd:
            (lib,) = (tree / HOME).glob("python3.*/site-packages")
            _replace(lib / "chargerd/__init__.py", rf'"{re.escape(packages.version)}"', f'"{LATER}"')
            _replace(lib / "chargerd/guard/lease.py", r"^LINK_VERSION = 1$", "LINK_VERSION = 2")
            _run("/usr/bin/python3", "-m", "compileall", "-q", "-s", str(tree), str(lib / "chargerd"))
        _run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(tree), str(folder))
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


def _run(*command: str, timeout: float = 120) -> None:
    done = subprocess.run(command, text=True, capture_output=True, timeout=timeout, check=False)
    if done.returncode:
        raise Trouble(f"{' '.join(command)}: {done.stderr[-2000:]}")
