"""The control pilot's generator: a hardware PWM of the kernel, through sysfs.

The chip is found by the device behind it, since its number changes with the kernel. Software PWM is refused: of the
periods that a thread makes at 1 kHz, more than half are off by more than the 5 µs of IEC 61851-1, some by a quarter of
a period, and a vehicle takes that for another current.

The hardware goes on when this process dies: what makes that safe is the board's monostable, which takes the pilot to
+12 V steady and the contactor open.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from hal.api import DeviceError

PERIOD = 1_000_000  # ns
GRAIN = 100  # ns; of the coarsest clock behind a channel (10 MHz), to which the kernel would round either way
EXPORT_WAIT = 2.0  # s until udev has given the channel to our group
ROOT = Path("/sys/class/pwm")
GROUP = "the user must be in group gpio (and udev's rules for PWM installed)"
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
FUNCTIONS = {12: 4, 13: 4, 18: 2, 19: 2}
"""Pin → number of its PWM function, as overlays count it on all of them."""


def overlay(*pins: int) -> str:
    """The lines of config.txt that put hardware PWM on these one or two pins."""
    name = "pwm" if len(pins) == 1 else "pwm-2chan"
    keys = (f"pin{n}={pin},func{n}={FUNCTIONS[pin]}" for n, pin in zip(("", "2"), pins, strict=False))
    return f"dtoverlay={name},{','.join(keys)} and dtparam=audio=off"


class SysfsPwm:
    """One channel at 1 kHz. Raises DeviceError with the remedy when it is not there, or not ours to write."""

    def __init__(self, soc: str, pin: int, root: Path = ROOT) -> None:
        self._where = f"PWM on GPIO{pin}"
        chip = self._chip(soc, pin, root)
        channel = CHANNELS[soc][pin]
        self._folder = chip / f"pwm{channel}"
        if not self._folder.exists():
            self._put(chip / "export", channel)
            self._await()
        self._duty = -1
        self._normal()
        if self._period() != PERIOD:
            # What an earlier run has left may be longer than the period, which the kernel would refuse.
            self._put(self._folder / "duty_cycle", 0)
            self._put(self._folder / "period", PERIOD)
        self._files = {name: self._open(name) for name in ("duty_cycle", "enable")}
        try:
            self.set(1.0)
            self._write("enable", 1)
        except DeviceError:
            self._release()
            raise

    def set(self, duty: float) -> None:
        """1.0 is +12 V steady (X1), 0.0 -12 V steady (F); between them the share of the period, rounded down."""
        wanted = int(duty * PERIOD / GRAIN + 1e-6) * GRAIN
        if wanted != self._duty:
            self._write("duty_cycle", wanted)
            self._duty = wanted

    def close(self) -> None:
        """X1, and let go of the files; the channel stays as it is."""
        try:
            self.set(1.0)
        finally:
            self._release()

    # ---- inside

    def _chip(self, soc: str, pin: int, root: Path) -> Path:
        """The chip whose device is this SoC's block: never another, such as a PWM that the kernel makes by timer."""
        chips = sorted(root.glob("pwmchip*"))
        for chip in chips:
            if (chip / "device").resolve().name == DEVICES[soc]:
                return chip
        found = ", ".join(sorted((chip / "device").resolve().name for chip in chips)) or "none"
        raise DeviceError(
            f"{self._where}: no PWM chip at {DEVICES[soc]} (found: {found}); "
            f"add to config.txt {overlay(pin)}, and reboot"
        )

    def _await(self) -> None:
        """Until udev has handed the new channel to our group."""
        end = time.monotonic() + EXPORT_WAIT
        while not all(os.access(self._folder / name, os.W_OK) for name in ("period", "duty_cycle", "enable")):
            if time.monotonic() > end:
                raise DeviceError(f"{self._where}: {self._folder} is not ours to write; {GROUP}")
            time.sleep(0.01)

    def _normal(self) -> None:
        """A channel that somebody has inverted would say X1 for F."""
        try:
            polarity = (self._folder / "polarity").read_text().strip()
        except OSError as e:
            raise self._failed("polarity", e) from None
        if polarity != "normal":
            raise DeviceError(f"{self._where}: its polarity is {polarity!r}; reboot, or free it: unexport the channel")

    def _period(self) -> int:
        try:
            return int((self._folder / "period").read_text())
        except (OSError, ValueError):
            return 0

    def _open(self, name: str) -> int:
        try:
            return os.open(self._folder / name, os.O_WRONLY)
        except OSError as e:
            raise self._failed(name, e) from None

    def _put(self, file: Path, value: int) -> None:
        try:
            file.write_text(str(value))
        except OSError as e:
            raise self._failed(file.name, e) from None

    def _write(self, name: str, value: int) -> None:
        try:
            os.pwrite(self._files[name], str(value).encode(), 0)
        except OSError as e:
            raise self._failed(name, e) from None

    def _release(self) -> None:
        for file in self._files.values():
            os.close(file)

    def _failed(self, name: str, e: OSError) -> DeviceError:
        match e.errno:
            case errno.EACCES | errno.EPERM:
                remedy = f"; {GROUP}"
            case errno.EBUSY:
                remedy = "; another driver has this channel: is audio off (dtparam=audio=off)?"
            case _:
                remedy = ""
        return DeviceError(f"{self._where}: {self._folder}: {name}: {e.strerror}{remedy}")
