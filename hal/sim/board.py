"""The guard's board in the simulated world: on a `World` in the same process, or a blocking client of its socket.

Light on purpose: the guard loads this, and neither the world nor asyncio.
"""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hal.api import DeviceError, Outlet, PilotReading
from hal.sim.wire import MAX_LINE, X1, Command, F, Fitting, Sample, bad_path

if TYPE_CHECKING:
    from hal.sim.world import World

TIMEOUT = 0.5
Exchange = Callable[[list[Command]], list[Sample]]
Described = tuple[list[Fitting], float | None]


class _Line:
    """All devices of one outlet: remembers what was commanded, shows the last sample."""

    def __init__(self) -> None:
        self.command = Command()
        self.sample = Sample(
            12.0, 12.0, X1, None, False, None, False, None, False, False, False, False, None, None, (0.0,)
        )

    def taken(self, sample: Sample) -> None:
        self.sample = sample
        self.command = self.command._replace(lock=0, test=False)

    def read(self) -> PilotReading:
        return PilotReading(self.sample.high, self.sample.low, self.sample.duty)

    def pwm(self, duty: float) -> None:
        if not 0.05 <= duty <= 0.96:
            raise ValueError(f"duty {duty}: must be 0.05..0.96")
        self.command = self.command._replace(pilot=duty)

    def steady(self, positive: bool) -> None:
        self.command = self.command._replace(pilot=X1 if positive else F)

    def ohms(self) -> float:
        return math.inf if self.sample.ohms is None else self.sample.ohms

    def close(self) -> None:
        self.command = self.command._replace(close=True)

    def open(self) -> None:
        self.command = self.command._replace(close=False)

    def closed(self) -> bool:
        return self.sample.closed

    def engage(self) -> None:
        self.command = self.command._replace(lock=1)

    def release(self) -> None:
        self.command = self.command._replace(lock=-1)

    def engaged(self) -> bool | None:
        return self.sample.engaged

    def tripped(self) -> bool:
        return self.sample.tripped

    def start_test(self) -> None:
        self.command = self.command._replace(test=True)

    def test_passed(self) -> bool | None:
        return None if self.command.test else self.sample.passed

    def emergency_stop(self) -> bool:
        return self.sample.stop

    def pen_fault(self) -> bool:
        return self.sample.pen

    def shed(self) -> bool:
        return self.sample.shed

    def volts(self) -> tuple[float, ...]:
        return tuple(self.sample.volts)

    def connect(self) -> None:
        self.command = self.command._replace(disconnect=False)

    def disconnect(self) -> None:
        self.command = self.command._replace(disconnect=True)

    def show(self, lamp: str) -> None:
        self.command = self.command._replace(lamp=lamp[:40])


class _Second:
    """The contactor of L2 and L3."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def close(self) -> None:
        self._line.command = self._line.command._replace(second=True)

    def open(self) -> None:
        self._line.command = self._line.command._replace(second=False)

    def closed(self) -> bool:
        return self._line.sample.second


class _Sensor:
    def __init__(self, line: _Line, name: str) -> None:
        self._line, self._name = line, name

    def celsius(self) -> float | None:
        degrees: float | None = getattr(self._line.sample, self._name)
        return degrees


class SimBoard:
    """A `hal.api.Board`. `fitted` says per outlet what is there; `hold` as there."""

    opens_at_once = False

    def __init__(
        self,
        fitted: Sequence[Fitting],
        exchange: Exchange,
        hang_up: Callable[[], None] = lambda: None,
        hold: float | None = None,
    ) -> None:
        self._lines = tuple(_Line() for _ in fitted)
        self._exchange, self._hang_up, self.hold = exchange, hang_up, hold
        self.outlets: tuple[Outlet, ...] = tuple(
            Outlet(
                pilot=line,
                contactor=line,
                inputs=line,
                second=_Second(line) if has.switching else None,
                relay=line if has.relay else None,
                proximity=None if has.tethered else line,
                lock=None if has.tethered else line,
                residual=line,
                indicator=line,
                plug_sensor=_Sensor(line, "plug"),
                cabinet_sensor=_Sensor(line, "cabinet"),
                supply=line,
            )
            for line, has in zip(self._lines, fitted, strict=True)
        )

    @classmethod
    def on(cls, world: World) -> SimBoard:
        """On a world in this process, in that world's time."""
        fitted = [outlet.setup.fitting for outlet in world.outlets]
        return cls(fitted, lambda commands: world.exchange(commands, world.clock()), hold=world.hold)

    def exchange(self) -> None:
        """Raises DeviceError while the world is gone; what was commanded is kept for the next call."""
        for line, sample in zip(self._lines, self._exchange([line.command for line in self._lines]), strict=True):
            line.taken(sample)

    def close(self) -> None:
        for line in self._lines:
            line.command = Command(lamp=line.command.lamp)
        try:
            self.exchange()
        finally:
            self._hang_up()


class _Wire:
    """One connection to the world's socket, made anew by the next call after it broke."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._described: Described | None = None
        self._ids = 0

    def describe(self) -> Described:
        """What each outlet of the world has, and how long its hardware holds; raises DeviceError."""
        return self._connect()

    def exchange(self, commands: list[Command]) -> list[Sample]:
        self._connect()
        rows = self._call("board.exchange", {"sent": time.monotonic(), "outlets": commands})
        try:
            samples = [Sample(*row) for row in rows]
        except TypeError:
            raise self._broken("answers nonsense") from None
        if len(samples) != len(commands):
            raise self._broken(f"has {len(samples)} outlets now, not {len(commands)}")
        return samples

    def hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> Described:
        if self._socket is not None and self._described is not None:
            return self._described
        if trouble := bad_path(self._path):
            raise DeviceError(f"simulated board: {trouble}; write sim:/path/world.sock")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(self._path)
        except OSError as e:
            raise self._broken(e.strerror or str(e)) from None
        try:
            told = self._call("board.describe", {})
            found = (
                [Fitting(*(bool(outlet[name]) for name in Fitting._fields)) for outlet in told["outlets"]],
                told["hold"],
            )
        except (TypeError, KeyError):
            raise self._broken("answers nonsense") from None
        if self._described not in (None, found):
            raise self._broken("has other outlets than before; restart the guard")
        self._described = found
        return found

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        assert self._socket is not None
        self._ids += 1
        call = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}
        try:
            self._socket.sendall(json.dumps(call).encode() + b"\n")
            answer = self._line(self._socket)
            body = json.loads(answer)
            return body["result"]
        except TimeoutError:
            raise self._broken(f"did not answer within {TIMEOUT} s") from None
        except OSError as e:
            raise self._broken(e.strerror or str(e)) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._broken(f"refused {method}: {answer[:200]!r}") from None

    def _line(self, connection: socket.socket) -> bytes:
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = connection.recv(MAX_LINE)
            if not chunk or len(answer) > MAX_LINE:
                raise OSError("connection closed" if not chunk else "endless answer")
            answer += chunk
        return answer

    def _broken(self, why: str) -> DeviceError:
        self.hang_up()
        return DeviceError(
            f"simulated world {self._path}: {why}; start it: python -m hal.sim.serve --socket {self._path}"
        )


def open_board(path: str) -> SimBoard:
    """The board of the world served at this socket. Raises DeviceError when none is there."""
    wire = _Wire(path)
    fitted, hold = wire.describe()
    return SimBoard(fitted, wire.exchange, wire.hang_up, hold)
