"""Names and packets around a process: a name server of its own, and a network namespace in which packets can be lost.

In a namespace the system's own resolver is used, with `zone` behind it; without one the same zone answers in place of
`socket.getaddrinfo`, the one edge at which the charger asks.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.linking.certificates import HOST

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
SILENCE = 2.0  # s that the resolver waits for a name server
_TRIAL = "mount --make-rprivate / && ip link set lo up && nft add table inet link && test -e /etc/nsswitch.conf"
Answers = tuple[str | None, ...]
"""Addresses; () no such name; ("SERVFAIL",); (None,) no answer at all."""


class Surroundings:
    """`apart`: this process has a network of its own (see `isolate`)."""

    def __init__(self, apart: bool) -> None:
        self.apart = apart
        self.zone: dict[str, Answers] = {HOST: ("127.0.0.1",)}
        self._server: asyncio.DatagramTransport | None = None
        self._real = socket.getaddrinfo

    async def start(self) -> None:
        if self.apart:
            loop = asyncio.get_running_loop()
            self._server, _ = await loop.create_datagram_endpoint(
                lambda: _NameServer(self.zone), local_addr=("127.0.0.53", 53)
            )
        else:
            socket.getaddrinfo = self._getaddrinfo

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        socket.getaddrinfo = self._real

    async def drop(self, port: int) -> None:
        """Every packet of this port vanishes, in both directions."""
        for way in ("dport", "sport"):
            await _run("nft", "add", "rule", "inet", "link", "in", "tcp", way, str(port), "drop")

    async def pass_again(self, port: int) -> None:
        await _run("nft", "flush", "chain", "inet", "link", "in")

    def _getaddrinfo(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        answers = self.zone.get(host)
        if answers is None or more.get("flags"):
            return self._real(host, port, *rest, **more)
        if answers == (None,):
            time.sleep(SILENCE)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if answers in ((None,), ("SERVFAIL",)):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [found for one in answers for found in self._real(one, port, *rest, **more)]


def isolate(folder: Path) -> None:
    """Give this process, before it has threads, its own network with its own name server. Raises OSError."""
    tried = subprocess.run(("unshare", "--net", "--mount", "sh", "-c", _TRIAL), capture_output=True, timeout=30)
    if tried.returncode:
        raise OSError(tried.stderr.decode(errors="replace").strip() or "unshare failed")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    resolver, order, hosts = folder / "resolv.conf", folder / "nsswitch.conf", folder / "hosts"
    resolver.write_text(f"nameserver 127.0.0.53\noptions timeout:{SILENCE:.0f} attempts:1\n")
    order.write_text("hosts: files dns\n")
    hosts.write_text("127.0.0.1 localhost\n")
    for command in (
        ("mount", "--make-rprivate", "/"),
        ("mount", "--bind", str(resolver), os.path.realpath("/etc/resolv.conf")),
        ("mount", "--bind", str(order), "/etc/nsswitch.conf"),
        ("mount", "--bind", str(hosts), "/etc/hosts"),
        ("ip", "link", "set", "lo", "up"),
        ("nft", "add", "table", "inet", "link"),
        ("nft", "add", "chain", "inet", "link", "in", "{ type filter hook input priority 0; }"),
    ):
        done = subprocess.run(command, capture_output=True, timeout=30)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait():
        raise OSError(" ".join(command))


class _NameServer(asyncio.DatagramProtocol):
    """A and nothing else (RFC 1035), without a time to live."""

    def __init__(self, zone: dict[str, Answers]) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
        question = data[12 : at + 5]
        answers = self._zone.get(".".join(labels).lower(), ())
        if answers == (None,):
            return
        code = 2 if answers == ("SERVFAIL",) else 0 if answers else 3
        found = [one for one in answers if one not in (None, "SERVFAIL")] if kind == 1 else []
        head = struct.pack("!HHHHHH", int.from_bytes(data[:2]), 0x8180 | code, 1, len(found), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(str(one)) for one in found]
        self._transport.sendto(head + question + b"".join(records), address)
