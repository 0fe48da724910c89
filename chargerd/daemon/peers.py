"""Who is at the other end of a local socket, as the kernel knows it, and what they may do."""

from __future__ import annotations

import grp
import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

READERS, ACTORS = "chargerd", "chargerd-admin"
SO_PEERGROUPS = 59  # unix(7); not named by the socket module


class May(IntEnum):
    NOTHING = 0
    READ = 1
    ACT = 2


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: user and every group of the process, as the kernel knows them."""

    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """The daemon's own user, and the ids of the two groups where they exist."""

    owner: int
    readers: int | None
    actors: int | None

    def may(self, peer: Peer) -> May:
        if peer.uid in (0, self.owner) or self.actors in peer.groups:
            return May.ACT
        return May.READ if self.readers in peer.groups else May.NOTHING


def doorkeeper() -> Doorkeeper:
    """The rules of this host."""
    return Doorkeeper(os.geteuid(), _group(READERS), _group(ACTORS))


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def peer_of(connection: Any) -> Peer:
    """SO_PEERCRED and SO_PEERGROUPS of a connected socket; without the latter, the primary group alone."""
    _, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:
        raw = b""
    return Peer(uid, frozenset((gid, *struct.unpack(f"{len(raw) // 4}I", raw))))
