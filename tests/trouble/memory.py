"""`chargerd guard` on a board of memory: the real driver and gpiozero's mock pins, PWM and converter in software.

usage: python -m tests.trouble.memory FOLDER guard --config FILE ...

FOLDER/parts.json says what is wrong with the parts, and is read again when it changes:
`plateau` volts, `ohms` of the cable, `stuck`: the converter gives one code for everything, `repeating`: its last burst,
`gone`: it answers no more, `held`: pins that another program has from the beginning. FOLDER/pins.json has what the
board drives: `duty`, `coil`.
The mirror contact, the lock's feedback and the monitor follow the pins, as the real parts do.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gpiozero import OutputDevice
from gpiozero.pins.mock import MockFactory

from chargerd.main import main
from hal.pi import board, boardfile, pins
from tests.hal.pi.test_board import Bench

LOOK = 0.02
COIL, MIRROR, COIL2, MIRROR2, ENGAGE, RELEASE, FEEDBACK, TEST, TRIP = 24, 17, 25, 4, 19, 20, 21, 22, 27


class Parts(Bench):
    """The parts of the reference board, in the time of the machine."""

    def __init__(self, folder: Path) -> None:
        self._began = time.monotonic()
        super().__init__(boardfile.load("reference-pi4"))
        self._folder, self._said = folder, ""
        self.stuck = False
        self.maker = MockFactory()
        self._others = [OutputDevice(pin, pin_factory=self.maker) for pin in self._parts().get("held", ())]

    @property
    def now(self) -> float:
        return time.monotonic()

    @now.setter
    def now(self, value: float) -> None: ...

    def output(self, pin: int, what: str, high: bool = True) -> Any:
        return pins.Output(self.maker, pin, what, high)

    def input(self, pin: int, what: str, pull_up: bool = True) -> Any:
        made = pins.Input(self.maker, pin, what, pull_up)
        self._drive(pin, self.levels[pin])
        return made

    def sample(self) -> list[int]:
        codes = super().sample()
        return [codes[0]] * len(codes) if self.stuck else codes

    def follow(self) -> None:
        """The world beyond the pins."""
        locked = False
        while True:
            self.__dict__.update({name: value for name, value in self._parts().items() if name != "held"})
            self.failing = self.__dict__.get("gone", False)
            on = {pin: bool(self.maker.pin(pin).state) for pin in (COIL, COIL2, ENGAGE, RELEASE, TEST)}
            locked = (locked or on[ENGAGE]) and not on[RELEASE]
            for pin, level in ((MIRROR, on[COIL]), (MIRROR2, on[COIL2]), (FEEDBACK, locked), (TRIP, on[TEST])):
                self._drive(pin, level)
            said = json.dumps({"duty": self.generators[0].duty if self.generators else None, "coil": on[COIL]})
            if said != self._said:
                written = self._folder / "pins.new"
                written.write_text(said)
                written.rename(self._folder / "pins.json")
                self._said = said
            time.sleep(LOOK)

    def _drive(self, pin: int, high: bool) -> None:
        mock = self.maker.pin(pin)
        if mock.function == "input":
            mock.drive_high() if high else mock.drive_low()

    def _parts(self) -> dict[str, Any]:
        try:
            parts: dict[str, Any] = json.loads((self._folder / "parts.json").read_text())
        except FileNotFoundError:
            return {}
        return parts


def run() -> int:
    parts = Parts(Path(sys.argv[1]))
    real: Any = board
    real.machine.check = lambda soc: None
    real.pins.factory = lambda soc: parts.maker
    real.Wires = lambda *arguments: parts
    real.Adc = lambda *arguments: parts
    threading.Thread(target=parts.follow, daemon=True).start()
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(run())
