"""Numbers kept while something is measured that must not be disturbed."""

from __future__ import annotations

import struct
from mmap import mmap


class Log:
    """So many numbers at most, in memory that counts once it is used."""

    def __init__(self, most: int) -> None:
        self._room, self._most, self.count = mmap(-1, 8 * most), most, 0

    def add(self, number: float) -> None:
        if self.count < self._most:
            struct.pack_into("d", self._room, 8 * self.count, number)
            self.count += 1

    def all(self) -> tuple[float, ...]:
        return struct.unpack_from(f"{self.count}d", self._room)
