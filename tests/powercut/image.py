"""What the machine boots: Debian's kernel for clouds, and a memory disk with this Python, its libraries and the tree.

No root, no mount, no package of the host is touched: the kernel's package is fetched and unpacked, and the program in
the machine is what runs the tests here. The first program is Python itself.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORE = ROOT / ".venv" / "powercut"  # the fetched package stays
META = "linux-image-cloud-amd64"
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
GUEST = "tests.powercut.guest"
TREE = ("chargerd", "hal", "tests/powercut", "hardware", "tests/__init__.py")
NEEDLESS = (
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "dist-packages",
)


class Unable(Exception):
    """The machine cannot be made here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Image:
    kernel: Path
    memory_disk: Path
    append: str
    """Kernel arguments that start the guest."""


def build(folder: Path) -> Image:
    """Make both in `folder`. Raises Unable."""
    kernel = _unpack(_fetch(), folder / "kernel")
    modules = next((kernel / "lib" / "modules").iterdir()) / "kernel"
    root = folder / "root"
    (root / "modules").mkdir(parents=True)
    for number, name in enumerate(MODULES):
        found = next(modules.rglob(f"{name}.ko"), None)
        if found is None:
            raise Unable(f"{META} has no module {name}")
        shutil.copy(found, root / "modules" / f"{number}.ko")
    for name in ("proc", "sys", "dev", "mnt", "tmp"):
        (root / name).mkdir()
    _python(root)
    disk = folder / "memory-disk"
    with disk.open("wb") as out:
        names = subprocess.run(["find", ".", "-print0"], cwd=root, check=True, capture_output=True).stdout
        subprocess.run(
            ["cpio", "--null", "--create", "--format=newc", "--quiet"], cwd=root, check=True, input=names, stdout=out
        )
    python = str(Path(sys.executable).resolve())
    arguments = f"rdinit={python} PYTHONPATH=/tree:/packages PYTHONDONTWRITEBYTECODE=1 -- -m {GUEST}"
    return Image(next((kernel / "boot").glob("vmlinuz-*")), disk, arguments)


def _fetch() -> Path:
    """Debian's newest package of the kernel, fetched once."""
    try:
        told = subprocess.run(["apt-cache", "depends", META], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        told = ""
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", told)
    if found is None:
        raise Unable(f"apt does not know {META}: this needs Debian 12 or newer on amd64, and `apt-get update`")
    name = found.group(1)
    STORE.mkdir(exist_ok=True)
    if not (have := sorted(STORE.glob(f"{name}_*.deb"))):
        subprocess.run(["apt-get", "download", "-qq", name], cwd=STORE, check=True, stderr=subprocess.DEVNULL)
        have = sorted(STORE.glob(f"{name}_*.deb"))
    return have[-1]


def _unpack(package: Path, folder: Path) -> Path:
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def _python(root: Path) -> None:
    """This interpreter at its own path, the libraries it maps, the tree at /tree and its packages at /packages."""
    executable = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    _copy(executable, root)
    needless = shutil.ignore_patterns(*NEEDLESS, "*.a", "config-*", "*.opt-*.pyc", "pydoc_data", "distutils")
    shutil.copytree(library, root / library.relative_to("/"), ignore=needless)
    packages = Path(sysconfig.get_path("purelib"))
    wanted = [(ROOT / part, root / "tree" / part) for part in TREE]
    wanted += [(packages / name, root / "packages" / name) for name in _packages()]
    for source, target in wanted:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("test_*"))
        else:
            shutil.copy(source, target)
    objects = [executable, *root.rglob("*.so")]
    told = subprocess.run(["ldd", *objects], capture_output=True, text=True, check=False).stdout
    for library in {Path(path) for path in re.findall(r"(/\S+\.so[.\d]*) \(0x", told)}:
        _copy(library, root)


def _packages() -> list[str]:
    """Names in site-packages that the guest imports, as it says itself."""
    said = subprocess.run(
        [sys.executable, "-m", GUEST, "--packages"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return said.split()


def _copy(file: Path, root: Path) -> None:
    target = root / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)
    os.chmod(target, 0o755)  # noqa: PTH101
