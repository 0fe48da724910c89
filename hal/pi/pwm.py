"""The control pilot's generator: a hardware PWM of the kernel, through sysfs.

The chip is found by the device behind it, since its number changes with the kernel. Software PWM is refused: of the
periods that a thread makes at 1 kHz, more than half are off by more than the 5 µs of IEC 61851-1, some by a quarter of
a period, and a vehicle takes that for another current.

The hardware goes on when this process dies: what makes that safe is the board's monostable, which takes the pilot to
+12 V steady and the contactor open.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from hal.api import DeviceError

PERIOD = 1_000_000  # ns
EXPORT_WAIT = 2.0  # s until udev has given the channel to our group
ROOT = Path("/sys/class/pwm")
DEVICES = {
    "bcm2837": "3f20c000.pwm",
    "bcm2711": "fe20c000.pwm",
    "rp1": "1f00098000.pwm",
}
"""SoC → device of the PWM block on the header's pins."""
CHANNELS = {
    "bcm2837": {12: 0, 18: 0, 13: 1, 19: 1},
    "bcm2711": {12: 0, 18: 0, 13: 1, 19: 1},
    "rp1": {12: 0, 13: 1, 18: 2, 19: 3},
}
"""SoC → pin → channel."""


class SysfsPwm:
    """One channel at 1 kHz. Raises DeviceError with the remedy when it is not there, or not ours to write."""

    def __init__(self, soc: str, pin: int, root: Path = ROOT) -> None:
        self._where = f"PWM on GPIO{pin}"
        chip = self._chip(soc, root)
        channel = CHANNELS[soc][pin]
        self._folder = chip / f"pwm{channel}"
        if not self._folder.exists():
            self._put(chip / "export", channel)
            self._await()
        self._duty = -1
        # What an earlier run has left may be longer than the period, which the kernel would refuse.
        self._put(self._folder / "duty_cycle", 0)
        self._put(self._folder / "period", PERIOD)
        self._files = {name: os.open(self._folder / name, os.O_WRONLY) for name in ("duty_cycle", "enable")}
        self.set(1.0)
        self._write("enable", 1)

    def set(self, duty: float) -> None:
        """1.0 is +12 V steady (X1), 0.0 -12 V steady (F); between them the share of the period, rounded down."""
        wanted = int(duty * PERIOD + 1e-6)
        if wanted != self._duty:
            self._write("duty_cycle", wanted)
            self._duty = wanted

    def close(self) -> None:
        """X1, and let go of the files; the channel stays as it is."""
        try:
            self.set(1.0)
        finally:
            for file in self._files.values():
                os.close(file)

    # ---- inside

    def _chip(self, soc: str, root: Path) -> Path:
        """The chip whose device is this SoC's block."""
        chips = sorted(root.glob("pwmchip*"))
        for chip in chips:
            if (chip / "device").resolve().name == DEVICES[soc]:
                return chip
        found = ", ".join(sorted((chip / "device").resolve().name for chip in chips)) or "none"
        raise DeviceError(
            f"{self._where}: no PWM chip at {DEVICES[soc]} (found: {found}); add to config.txt "
            "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4 and dtparam=audio=off, and see that the board file's "
            "soc is this machine's"
        )

    def _await(self) -> None:
        end = time.monotonic() + EXPORT_WAIT
        while not os.access(self._folder / "duty_cycle", os.W_OK):
            if time.monotonic() > end:
                raise DeviceError(f"{self._where}: {self._folder} is not ours to write; the user must be in group gpio")
            time.sleep(0.01)

    def _put(self, file: Path, value: int) -> None:
        try:
            file.write_text(str(value))
        except OSError as e:
            raise DeviceError(f"{self._where}: {file}: {e.strerror}; the user must be in group gpio") from None

    def _write(self, name: str, value: int) -> None:
        try:
            os.pwrite(self._files[name], str(value).encode(), 0)
        except OSError as e:
            raise DeviceError(f"{self._where}: {self._folder / name}: {e.strerror}") from None
