"""The two sockets from outside: JSON-RPC with the daemon, and the guard's truth where there is no daemon."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANSWER = 40.0  # s; the daemon itself gives up after 30
GUARD_ANSWER = 2.0
MAX_PACKET = 512
WORDS_MOST = 70


class Unreachable(Exception):
    """Nobody is there to talk to; the text says what to check."""


class Failed(Exception):
    """The daemon said no; `code` is that of JSON-RPC."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Control:
    """One connection to the control socket. Everything may raise Unreachable."""

    def __init__(self, path: str, timeout: float = ANSWER) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError as e:
            self._socket.close()
            raise Unreachable(_why(path, e)) from None
        self._lines = self._socket.makefile("rb")
        self._early: list[dict[str, Any]] = []

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        """The result. Raises Failed."""
        call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        with contextlib.suppress(OSError):  # it may have said why before it hung up
            self._socket.sendall(call.encode() + b"\n")
        while "method" in (body := self._next()):
            self._early.append(body)
        if "error" in body:
            raise Failed(body["error"]["code"], clean(body["error"]["message"]))
        return clean(body["result"])

    def notifications(self, timeout: float | None = None) -> Iterator[tuple[str, Any]]:
        """Method and params of each, until the connection ends (Unreachable) or nothing came for `timeout` seconds."""
        self._socket.settimeout(timeout)
        while True:
            body = self._early.pop(0) if self._early else self._next()
            yield body["method"], clean(body["params"])

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise Unreachable(f"{self._path}: chargerd does not answer; see: journalctl -u chargerd -e") from None
        except OSError as e:
            raise Unreachable(_why(self._path, e)) from None
        if not line:
            raise Unreachable(f"{self._path}: chargerd closed the connection; see: systemctl status chargerd")
        body: dict[str, Any] = json.loads(line)
        return body


def guard_words(path: Path) -> dict[str, list[dict[str, Any]]] | None:
    """What the guard's read-only socket says, by kind of word (`truth` of each outlet, `vitals`); None: nothing."""
    words: dict[str, list[dict[str, Any]]] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
        guard.settimeout(GUARD_ANSWER)
        try:
            guard.connect(str(path))
            for _ in range(WORDS_MOST):
                if not (packet := guard.recv(MAX_PACKET)):
                    break
                word = clean(json.loads(packet))
                if isinstance(word, dict) and isinstance(kind := word.get("t"), str):
                    words.setdefault(kind, []).append(word)
        except (OSError, ValueError):
            pass
    return words if "truth" in words else None


def clean(value: Any) -> Any:
    """JSON with every control character replaced: what others said must not steer this terminal."""
    match value:
        case str():
            return "".join(c if c.isprintable() else "�" for c in value)
        case list():
            return [clean(each) for each in value]
        case dict():
            return {clean(name): clean(each) for name, each in value.items()}
    return value


def _why(path: str, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            help_ = (
                "chargerd does not run (systemctl status chargerd), or listens elsewhere (--socket, CHARGERD_SOCKET)"
            )
            return f"no control socket {path}: {help_}"
        case ConnectionRefusedError():
            return f"nobody listens at {path}: chargerd has ended; see: journalctl -u chargerd -e"
        case PermissionError():
            return f"{path} may not be opened: join the group chargerd, or use sudo"
    return f"{path}: {error.strerror or error}"
