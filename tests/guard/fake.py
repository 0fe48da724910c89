"""A board of obedient devices, for whoever tests the guard above its rules."""

from __future__ import annotations

from math import inf

from chargerd.guard.pilot import X1, F
from hal.api import DeviceError, Outlet, PilotReading
from tests.guard.bench import OHMS, VOLTS


class FakeOutlet:
    """Every device of one outlet; commands take effect at the board's next exchange."""

    def __init__(self) -> None:
        self.level = "A"
        self.ohm = inf
        self.welded = self.broken = False
        self.drive, self.coil, self.pin, self.lamp = X1, False, False, ""
        self.now = {"drive": X1, "coil": False, "pin": False}
        self.testing = -1
        self.calls: list[str] = []

    def exchange(self) -> None:
        self.now = {"drive": self.drive, "coil": self.coil or self.welded, "pin": self.pin}
        self.testing = max(-1, self.testing - 1)

    def read(self) -> PilotReading:
        if self.broken:
            raise DeviceError("the pilot's converter does not answer")
        volts, drive = VOLTS[self.level], self.now["drive"]
        if drive == F:
            return PilotReading(-12.0, -12.0, 0.0)
        return PilotReading(volts, volts if drive == X1 else -12.0, drive)

    def pwm(self, duty: float) -> None:
        self.drive = duty

    def steady(self, positive: bool) -> None:
        self.drive = X1 if positive else F

    def ohms(self) -> float:
        return self.ohm

    def close(self) -> None:
        self.coil = True

    def open(self) -> None:
        self.coil = False

    def closed(self) -> bool:
        return bool(self.now["coil"])

    def engage(self) -> None:
        self.pin = True

    def release(self) -> None:
        self.pin = False

    def engaged(self) -> bool | None:
        return bool(self.now["pin"])

    def tripped(self) -> bool:
        return False

    def start_test(self) -> None:
        self.testing = 10

    def test_passed(self) -> bool | None:
        return None if self.testing > 0 else True

    def emergency_stop(self) -> bool:
        return False

    def pen_fault(self) -> bool:
        return False

    def shed(self) -> bool:
        return False

    def celsius(self) -> float | None:
        return 25.0

    def show(self, lamp: str) -> None:
        self.lamp = lamp
        self.calls.append(lamp)


class FakeBoard:
    """A `hal.api.Board`."""

    hold: float | None = None
    opens_at_once = False

    def __init__(self, *tethered: bool) -> None:
        self.lines = [FakeOutlet() for _ in tethered]
        for line, fixed in zip(self.lines, tethered, strict=True):
            line.ohm = inf if fixed else OHMS[32]
        self.outlets = tuple(
            Outlet(
                pilot=line,
                contactor=line,
                inputs=line,
                proximity=None if fixed else line,
                lock=None if fixed else line,
                residual=line,
                indicator=line,
                cabinet_sensor=line,
            )
            for line, fixed in zip(self.lines, tethered, strict=True)
        )
        self.gone = False

    def exchange(self) -> None:
        if self.gone:
            raise DeviceError("the board does not answer")
        for line in self.lines:
            line.exchange()

    def close(self) -> None:
        for line in self.lines:
            line.open()
            line.steady(True)
