"""What can go wrong, whose fault it is, and whether trying again helps.

    Exception
    ├── ConfigInvalid       the installer's: a file, line and key with its remedy. Never retried; nothing half-applies
    ├── hal.DeviceError     a device is missing, refused or talks nonsense. Retried with back-off, shown as a fault
    │   └── hal.MissingExtra    the installer's: an optional package. Not retried; the text names the command
    ├── store.StoreFailed   the disk's. What runs goes on in memory, nothing new starts; retried until it works
    ├── tls.TrustUnusable   the installer's: no roots to verify the backend with. Retried like any failed connection
    ├── LatchUnreadable     the guard's latch file. Counts as latched until a technician clears it
    ├── BadPacket           the other side of the lease socket. The packet is refused, nothing else happens
    └── rpc.Unsendable      ours: a message that our own schema check refuses. A bug; never retried

What a CSMS or a vehicle does wrong is no exception but a value: a CALLERROR, a `Refusal`, a fault.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file; `line` 0 where no line can be named, `key` "" where no key can."""

    file: str
    line: int
    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key + ': ' if self.key else ''}{self.what}; {self.remedy}"


class ConfigInvalid(Exception):
    """The configuration cannot be used. `problems` names every mistake that was found, never only the first.

    `run_dir` is where it wants its sockets, as far as that could be read.
    """

    def __init__(self, *problems: Problem, run_dir: str | None = None) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems, self.run_dir = problems, run_dir
