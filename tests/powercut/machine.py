"""The machine whose power is cut: QEMU without any help of the processor, and an nbdkit disk that forgets.

It is booted once and saved while it waits for its order; each run restores it, which takes a second or two.
"""

from __future__ import annotations

import json
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from chargerd.lab.child import die_with_parent
from tests.powercut.image import Image, Unable

MEMORY = 512  # MiB
PROGRAMS = ("qemu-system-x86_64", "nbdkit", "mke2fs", "cpio", "ldd")
BOOT, ANSWER = 300.0, 120.0  # s, on a machine that has other things to do
SIZE = 64 << 20
PLUGIN = Path(__file__).with_name("volatile.py")


class Silent(Exception):
    """The machine says nothing more; the text has the end of its console."""


def must_be_able() -> None:
    """Raises Unable."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise Unable(f"missing: {', '.join(missing)}")


def format_disk(medium: Path) -> None:
    medium.unlink(missing_ok=True)
    with medium.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", medium], check=True)


class Disk:
    """A disk with a volatile cache over the file `medium`, until it is cut."""

    def __init__(self, folder: Path, medium: Path, seed: int, leak: float) -> None:
        self.socket = folder / "disk.sock"
        self._sick = folder / "disk.sick"
        for path in (self.socket, self._sick):
            path.unlink(missing_ok=True)
        errors = ("error-pwrite=EIO", "error-pwrite-rate=100%", f"error-pwrite-file={self._sick}")
        words = folder / "disk.log"
        with words.open("wb") as log:
            self._server = subprocess.Popen(
                [
                    *("nbdkit", "-f", "-U", self.socket, "--filter=error"),
                    *("python", PLUGIN, f"file={medium}", f"seed={seed}", f"leak={leak}", *errors),
                ],
                stderr=log,
                preexec_fn=die_with_parent,
            )
        end = time.monotonic() + 20.0
        while not self.socket.exists():
            if self._server.poll() is not None or time.monotonic() > end:
                raise Unable(f"nbdkit does not serve the disk: {words.read_text(errors='replace')[-500:]}")
            time.sleep(0.01)

    def fail(self) -> None:
        """From now on every write is an I/O error."""
        self._sick.touch()

    def cut(self) -> None:
        self._server.kill()
        self._server.wait()


class Machine:
    """One life, from a boot or from a saved state (`restore`)."""

    def __init__(self, folder: Path, image: Image, disk: Disk, restore: Path | None = None) -> None:
        self._folder = folder
        serial, control = folder / "serial.sock", folder / "qmp.sock"
        self._console = folder / "console.log"
        for path in (serial, control):
            path.unlink(missing_ok=True)
        arguments = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max", "-smp", "1"),
            *("-m", str(MEMORY), "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"),
            *("-serial", f"file:{self._console}", "-serial", f"unix:{serial},server=on,wait=off"),
            *("-qmp", f"unix:{control},server=on,wait=off"),
            *("-kernel", str(image.kernel), "-initrd", str(image.memory_disk)),
            *("-append", f"console=ttyS0 panic=-1 quiet no_timer_check {image.append}"),
            *("-drive", f"file=nbd+unix:///?socket={disk.socket},format=raw,if=virtio,cache=none"),
            *(("-incoming", f"exec:cat {restore}") if restore else ()),
        ]
        self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self._line = _connect(serial, self._process)
        self._control = _connect(control, self._process).makefile("rwb")
        self._waiting = b""
        self._control.readline()
        self._tell("qmp_capabilities")
        if restore:
            while self._tell("query-status")["status"] == "inmigrate":
                time.sleep(0.02)
            self._tell("cont")

    def hear(self, within: float = ANSWER) -> Any:
        """The next message. Raises Silent."""
        end = time.monotonic() + within
        while b"\n" not in self._waiting:
            ready, _, _ = select.select([self._line], [], [], max(0.0, end - time.monotonic()))
            more = self._line.recv(65536) if ready else b""
            if not more:
                raise Silent(self._console.read_text(errors="replace")[-1500:])
            self._waiting += more
        line, _, self._waiting = self._waiting.partition(b"\n")
        return json.loads(line)

    def say(self, message: Any) -> None:
        self._line.sendall(json.dumps(message).encode() + b"\n")

    def save(self, state: Path) -> None:
        """Write the machine to a file, and end it."""
        self._tell("stop")
        self._tell("migrate", uri=f"exec:cat > {state}")
        while (status := self._tell("query-migrate").get("status")) not in ("completed", "failed"):
            time.sleep(0.05)
        self.cut()
        if status == "failed":
            raise Unable("QEMU could not save the machine")

    def cut(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._line.close()
        self._control.close()

    def _tell(self, command: str, **arguments: Any) -> Any:
        self._control.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._control.flush()
        while True:
            answer = json.loads(self._control.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Unable(f"QEMU refuses {command}: {answer['error']}")


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    end = time.monotonic() + 20.0
    while True:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(path))
            return line
        except OSError:
            line.close()
            if process.poll() is not None or time.monotonic() > end:
                raise Unable(f"QEMU does not serve {path}") from None
            time.sleep(0.02)
