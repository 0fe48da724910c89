"""What a builder does wrong or forgets: each is refused by its name, with what helps, and nothing stays claimed."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

import hal
from hal import tables
from hal.api import DeviceError, MissingExtra
from hal.pi import machine, pins
from hal.pi.board import PiBoard
from hal.pi.pwm import DEVICES
from hal.pi.spi import Adc
from tests.hal.pi.test_pwm import chip as pwm_chip

SHIPPED = Path(__file__).parents[3] / "hardware" / "boards" / "reference-pi4.toml"


class Desk:
    """A Pi 4 with everything in its place, below a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.pins, self.patch = folder, MockFactory(), monkeypatch
        self.held: list[pins.Output] = []
        self.tree = folder / "compatible"
        self.tree.write_bytes(b"raspberrypi,4-model-b\0brcm,bcm2711\0")
        behind = folder / "soc" / "fe200000.gpio" / "gpiochip0"
        behind.mkdir(parents=True)
        self.gpio = folder / "gpio"
        self.gpio.mkdir()
        (self.gpio / "gpiochip0").symlink_to(behind)
        self.pwm = folder / "pwm"
        self.pwm.mkdir()
        pwm_chip(self.pwm, 0, DEVICES["bcm2711"])
        self.spi = folder / "spidev0.0"
        self.spi.touch()
        self.boards = folder / "etc" / "boards"
        self.boards.mkdir(parents=True)
        self.file = self.boards / "mine.toml"
        shutil.copy(SHIPPED, self.file)
        monkeypatch.setattr(tables, "LOCAL", folder / "etc")
        monkeypatch.setattr(machine, "check", partial(machine.check, compatible=self.tree))
        monkeypatch.setattr(pins, "factory", lambda soc: (pins._chip(soc, self.gpio), self.pins)[1])
        monkeypatch.setattr("hal.pi.pwm.ROOT", self.pwm)
        monkeypatch.setattr("hal.pi.spi.DEV", str(folder / "spidev"))
        monkeypatch.setattr("hal.pi.board.Adc", partial(Adc, ioctl=lambda *_: 0))

    def write(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new, 1))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path, monkeypatch)
    yield made
    made.pins.reset()


def test_with_everything_in_its_place_it_opens(desk: Desk) -> None:
    board = hal.open("pi:mine")
    assert isinstance(board, PiBoard) and len(board.outlets) == 1 and board.hold == 0.06
    board.close()


def taken(desk: Desk) -> None:
    """Another program has the coil's pin."""
    desk.held.append(pins.Output(desk.pins, 24, "another program's"))


def unwritable(desk: Desk) -> None:
    def refused(self: Path, *_: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    shutil.rmtree(desk.pwm / "pwmchip0" / "pwm0")
    desk.patch.setattr(Path, "write_text", refused)


def no_pilot_pin(desk: Desk) -> None:
    desk.write("pwm = 12", "pwm = 16")


MISTAKES: list[tuple[Callable[[Desk], Any], str]] = [
    (lambda d: d.write("mirror = 17", "miror = 17"), r"mine\.toml:\d+: outlet\[1\]\.contactor\.miror: .*mean mirror\?"),
    (lambda d: d.write("enable = 24", "enable = 6"), r"mine\.toml:\d+: .*taken by|high while the machine boots"),
    (lambda d: d.write('soc = "bcm2711"', 'soc = "bcm2711'), r"mine\.toml:\d+: not TOML"),
    (
        lambda d: d.write('"bcm2711"', '"rp1"'),
        'soc = "rp1", but this machine is raspberrypi,4-model-b: use a board file',
    ),
    (lambda d: d.tree.unlink(), "no Raspberry Pi"),
    (lambda d: (d.gpio / "gpiochip0").unlink(), r"GPIO: no chip at fe200000\.gpio \(found: none\)"),
    (lambda d: d.spi.unlink(), r"ADC on .*spidev0\.0: No such file.*dtparam=spi=on"),
    (lambda d: shutil.rmtree(d.pwm / "pwmchip0"), r"PWM on GPIO12: no PWM chip at fe20c000\.pwm.*dtoverlay=pwm,pin=12"),
    (taken, r"outlet 1 contactor on GPIO24: .*in use"),
    (unwritable, r"PWM on GPIO12: .*export: Permission denied; the user must be in group gpio"),
    (no_pilot_pin, r"pilot\.pwm: is 16; bcm2711 has hardware PWM on GPIO 12, 18, 13, 19 only, and a software PWM"),
    (lambda d: d.file.unlink(), "board 'mine' is not known: use one of bench, reference-pi4"),
]


@pytest.mark.parametrize(("mistake", "told"), MISTAKES, ids=[told[:30] for _, told in MISTAKES])
def test_a_mistake_is_refused_by_its_name(desk: Desk, mistake: Callable[[Desk], Any], told: str) -> None:
    mistake(desk)
    with pytest.raises(DeviceError, match=told):
        hal.open("pi:mine")
    claimed = {pin.info.name for pin in desk.pins.pins.values() if pin.function == "output"}
    assert claimed <= ({"GPIO24"} if mistake is taken else set()), "what was claimed before is let go"
    assert not [file for file in held_open() if str(desk.folder) in file]


def held_open() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this listing
            found.append(str(link.readlink()))
    return found


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero.pins.lgpio", None)
    monkeypatch.setattr(pins, "_chip", lambda soc, root: 0)
    with pytest.raises(MissingExtra, match=r"install it: pip install 'chargerd\[pi\]'"):
        pins.factory("rp1", tmp_path)
