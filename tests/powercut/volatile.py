"""An nbdkit plugin: a disk with a volatile write cache, `file=PATH [leak=0.1] [seed=0]`.

Writes stay in memory until FLUSH or FUA; whoever kills the server loses them. Some sectors of 512 bytes reach the
medium early, as cards reorder and tear what they are given. The share of them is an assumption, not a measured card.
"""

from __future__ import annotations

import os
import random
from typing import Any

import nbdkit  # type: ignore[import-not-found]  # the server brings it

API_VERSION = 2
SECTOR = 512
_given: dict[str, str] = {}


def config(key: str, value: str) -> None:
    _given[key] = value


def thread_model() -> Any:
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


class Disk:
    """`cached`: sectors by offset that the medium need not have yet."""

    def __init__(self, path: str, leak: float, seed: str) -> None:
        self.medium = os.open(path, os.O_RDWR)
        self.cached: dict[int, bytes] = {}
        self._leak, self._random = leak, random.Random(seed)

    def read(self, buffer: Any, offset: int) -> None:
        data = bytearray(os.pread(self.medium, len(buffer), offset))
        for at in range(0, len(buffer), SECTOR):
            if (sector := self.cached.get(offset + at)) is not None:
                data[at : at + SECTOR] = sector
        buffer[:] = data

    def write(self, data: bytes, offset: int, through: bool) -> None:
        for at in range(0, len(data), SECTOR):
            sector = data[at : at + SECTOR]
            self.cached[offset + at] = sector
            if through or self._random.random() < self._leak:
                os.pwrite(self.medium, sector, offset + at)
            if through:
                del self.cached[offset + at]

    def flush(self) -> None:
        for offset, sector in self.cached.items():
            os.pwrite(self.medium, sector, offset)
        self.cached.clear()


def open(readonly: bool) -> Disk:
    return Disk(_given["file"], float(_given.get("leak", "0.1")), _given.get("seed", "0"))


def get_size(disk: Disk) -> int:
    return os.fstat(disk.medium).st_size


def can_flush(disk: Disk) -> bool:
    return True


def can_fua(disk: Disk) -> Any:
    return nbdkit.FUA_NATIVE


def block_size(disk: Disk) -> tuple[int, int, int]:
    return SECTOR, 4096, 0xFFFFFFFF


def pread(disk: Disk, buffer: Any, offset: int, flags: int) -> None:
    disk.read(buffer, offset)


def pwrite(disk: Disk, buffer: Any, offset: int, flags: int) -> None:
    disk.write(bytes(buffer), offset, bool(flags & nbdkit.FLAG_FUA))


def flush(disk: Disk, flags: int) -> None:
    disk.flush()
