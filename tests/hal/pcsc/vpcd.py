"""A real pcscd of one's own with the virtual reader of vsmartcard-vpcd, and contactless cards to hold before it.

pcscd has its socket at a fixed place; in a mount namespace of its own that place is a directory of the test.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
_READY = 10.0


def missing() -> str:
    """Why this machine cannot run one; empty when it can."""
    if shutil.which("pcscd", path=os.environ["PATH"] + ":/usr/sbin") is None:
        return "pcscd is not installed (apt-get install pcscd)"
    if not DRIVER.exists():
        return "the virtual reader is not installed (apt-get install vsmartcard-vpcd)"
    if subprocess.run([*_unshare(), "true"], capture_output=True, check=False).returncode != 0:
        return "no right to make a mount namespace"
    return ""


def _unshare() -> list[str]:
    return ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]


class Pcscd:
    """The service; cards are held before TCP port `port` of its first reader (NAME 00 00) and `second` (NAME 00 01).

    The driver has room for these two in a process. `socket`: for clients.
    """

    def __init__(self, folder: Path) -> None:
        self._run = folder / "run"
        self._config = folder / "reader.conf.d"
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self._run / "pcscd.comm"
        self.port = _free_port()
        self.second = self.port + 1
        self._run.mkdir()
        self._config.mkdir()
        self.fit("Virtual PCD")

    def fit(self, name: str) -> None:
        """Have readers of this name from the next start on."""
        port = f"{self.port:#x}"
        text = f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:{port}\nLIBPATH {DRIVER}\nCHANNELID {port}\n'
        (self._config / "vpcd").write_text(text)

    def start(self) -> None:
        self._process = self._launch("exec pcscd -f")
        end = time.monotonic() + _READY
        while not self.socket.exists() or not self._listens():
            assert self._process.poll() is None, "pcscd ended at once"
            assert time.monotonic() < end, "pcscd does not come up"
            time.sleep(0.05)

    def activate(self) -> threading.Thread:
        """As systemd does it: the socket is there, and the service is started by whoever comes first."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.unlink(missing_ok=True)
        listener.bind(str(self.socket))
        listener.listen()

        def wait() -> None:
            with listener:
                while not select.select([listener], [], [], 0.1)[0]:
                    pass
                script = f"exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec pcscd -f --auto-exit"
                self._process = self._launch(script, listener.fileno())

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
        self.socket.unlink(missing_ok=True)
        (self._run / "pcscd.pid").unlink(missing_ok=True)

    def kill(self) -> None:
        """Leave everything behind: the socket and the file with its process id."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._process = None

    def _launch(self, script: str, *descriptors: int) -> subprocess.Popen[bytes]:
        mount = f'mount -t tmpfs none /run && mkdir /run/pcscd && mount --bind "{self._run}" /run/pcscd'
        return subprocess.Popen(  # bash: in dash a descriptor has one digit
            [*_unshare(), "bash", "-c", f'{mount} && {script} -c "$0"', str(self._config)],
            env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
        )

    def _listens(self) -> bool:
        with socket.socket() as probe:
            # only a listener counts, not what has just been closed
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", self.second))
            except OSError:
                return True
        return False


def _free_port() -> int:
    """A port whose successor is free too: the driver takes one for each of its two slots."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("0.0.0.0", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("0.0.0.0", port + 1))
            except (OSError, OverflowError):
                continue
            return port


CONTACTLESS = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")  # storage card, ISO 14443 A


class HeldCard:
    """A contactless card in the field, from `with` to its end; it speaks vpcd's length-prefixed messages.

    `lights`: what the reader answers to the command for its lights; None: as a card does, that it does not know it.
    `silent`: it never answers what it is asked.
    """

    _ASK_ATR = 4

    def __init__(
        self,
        port: int,
        uid: str,
        status: str = "9000",
        *,
        lights: str | None = None,
        silent: bool = False,
        atr: bytes = CONTACTLESS,
    ) -> None:
        self._port, self._silent, self._atr = port, silent, atr
        self._answer = bytes.fromhex(uid + status)
        self._lights = bytes.fromhex(lights or "6D00")
        self.heard: list[bytes] = []
        self.asked = threading.Event()

    def __enter__(self) -> HeldCard:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        self._socket.settimeout(None)  # it may lie there for long
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the service may be gone
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        try:
            while message := self._receive():
                if len(message) > 1:
                    self.heard.append(message)
                    self.asked.set()
                    if not self._silent:
                        self._send(self._reply(message))
                elif message[0] == self._ASK_ATR:
                    self._send(self._atr)
        except OSError:
            return

    def _reply(self, message: bytes) -> bytes:
        if message[:4] == b"\xff\xca\x00\x00":
            return self._answer
        return self._lights if message[:3] == b"\xff\x00\x40" else b"\x6d\x00"

    def _receive(self) -> bytes:
        head = self._exactly(2)
        return self._exactly(struct.unpack(">H", head)[0]) if head else b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                return b""
            data += chunk
        return data

    def _send(self, data: bytes) -> None:
        self._socket.sendall(struct.pack(">H", len(data)) + data)
