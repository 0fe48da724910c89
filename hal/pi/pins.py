"""Digital lines through gpiozero, on a chip that is named and never guessed; polled, without edges or threads.

gpiozero by itself would take whichever back end imports, with a warning only; here it is lgpio on the header's chip,
which is found by the device behind it because its number changes between machines and kernels.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hal.api import DeviceError, MissingExtra

ROOT = Path("/sys/bus/gpio/devices")
DEV = "/dev/gpiochip"
DEVICES = {"bcm2837": "3f200000.gpio", "bcm2711": "fe200000.gpio", "rp1": "1f000d0000.gpio"}


def factory(soc: str, root: Path = ROOT) -> Any:
    """A gpiozero pin factory on the header's chip. DeviceError or MissingExtra with the remedy."""
    number = _chip(soc, root)
    # lgpio leaves a pipe in its working directory: ours may be read-only
    os.environ.setdefault("LG_WD", os.environ.get("RUNTIME_DIRECTORY", "/tmp").split(":")[0])
    try:
        from gpiozero.pins.lgpio import LGPIOFactory
    except ImportError as e:
        raise MissingExtra(f"GPIO: {e}; install it: pip install 'chargerd[pi]'") from None
    try:
        return LGPIOFactory(chip=number)
    except Exception as e:  # gpiozero and lgpio raise their own trees
        raise DeviceError(f"{DEV}{number}: {_why(f'{DEV}{number}', e)}") from None


def _why(device: str, e: Exception) -> str:
    """lgpio says of each device only that it could not be opened."""
    if not Path(device).exists():
        return "is not there; in a container or a sandbox it must be let in"
    if not os.access(device, os.R_OK | os.W_OK):
        return "is not ours to use; the user must be in group gpio"
    return _said(e)


def _chip(soc: str, root: Path) -> int:
    chips = sorted(root.glob("gpiochip*"))
    for chip in chips:
        if DEVICES[soc] in chip.resolve().parts:
            return int(chip.name.removeprefix("gpiochip"))
    found = ", ".join(chip.resolve().parent.name for chip in chips) or "none"
    raise DeviceError(
        f"GPIO: no chip at {DEVICES[soc]} (found: {found}); the kernel's driver for the header is missing"
    )


class Output:
    """One pin, driven from the first moment; DeviceError when something else has it."""

    def __init__(self, maker: Any, pin: int, what: str, high: bool = True, on: bool = False) -> None:
        from gpiozero import OutputDevice

        self._what, self._on = f"{what} on GPIO{pin}", on
        self._device = _opened(
            maker, pin, self._what, lambda: OutputDevice(pin, active_high=high, initial_value=on, pin_factory=maker)
        )

    def set(self, on: bool) -> None:
        if on is not self._on:
            _guarded(self._what, self._device.on if on else self._device.off)
            self._on = on

    def toggle(self) -> None:
        self.set(not self._on)

    def close(self) -> None:
        self._device.close()


class Input:
    """One pin, pulled to the level that a broken wire must read as; `read` is the level, True for high."""

    def __init__(self, maker: Any, pin: int, what: str, pull_up: bool) -> None:
        from gpiozero import InputDevice

        self._what = f"{what} on GPIO{pin}"
        self._device = _opened(maker, pin, self._what, lambda: InputDevice(pin, pull_up=pull_up, pin_factory=maker))
        self._pull_up = pull_up

    def read(self) -> bool:
        active = bool(_guarded(self._what, lambda: self._device.value))
        return active is not self._pull_up  # gpiozero calls low active where the pull is up

    def close(self) -> None:
        self._device.close()


def _opened(maker: Any, pin: int, what: str, make: Any) -> Any:
    try:
        return make()
    except _errors() as e:
        raise DeviceError(f"{what}: {_said(e)}; {_holder(maker, pin)}") from None


def _guarded(what: str, do: Any) -> Any:
    try:
        return do()
    except _errors() as e:
        raise DeviceError(f"{what}: {_said(e)}") from None


def _said(e: Exception) -> str:
    """lgpio's own error shows itself in quotes."""
    return str(e).strip("'")


def _errors() -> tuple[type[Exception], ...]:
    """What gpiozero and the library below it raise: lgpio's errors are no kin of gpiozero's."""
    from gpiozero import GPIOZeroError

    lgpio = sys.modules.get("lgpio")
    return (GPIOZeroError, OSError, *((lgpio.error,) if lgpio is not None else ()))


def _holder(maker: Any, pin: int) -> str:
    """Who has the line, as the kernel knows it."""
    user: Any = ""
    with suppress(Exception):  # only for the text: whatever fails here, the line is in use
        import lgpio

        handle = lgpio.gpiochip_open(maker.chip)
        try:
            user = lgpio.gpio_get_line_info(handle, pin)[4]
        finally:
            lgpio.gpiochip_close(handle)
    user = user.decode("ascii", "replace") if isinstance(user, bytes) else user
    return f"it is held by {user!r}" if user else "is it in use by another program, or by an overlay in config.txt?"
