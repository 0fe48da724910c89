"""Lines on gpiozero's mock pins, and the chip by the device behind it on a tree like the kernel's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import lgpio
import pytest
from gpiozero.pins.lgpio import LGPIOFactory
from gpiozero.pins.mock import MockFactory

from hal.api import DeviceError
from hal.pi import pins


@pytest.fixture
def maker() -> Iterator[MockFactory]:
    made = MockFactory()
    yield made
    made.reset()


@pytest.mark.parametrize("high", [True, False])
def test_an_output_is_off_from_the_first_moment(maker: MockFactory, high: bool) -> None:
    line = pins.Output(maker, 24, "contactor", high)
    pin = maker.pin(24)
    assert bool(pin.state) is not high
    pin.clear_states()
    for on in (True, True, False, True):
        line.set(on)
    assert [bool(state.state) is high for state in pin.states] == [False, True, False, True]


def test_edges_come_from_toggling_only(maker: MockFactory) -> None:
    line, pin = pins.Output(maker, 23, "monostable"), maker.pin(23)
    pin.clear_states()
    for _ in range(4):
        line.toggle()
    assert [bool(state.state) for state in pin.states] == [False, True, False, True, False]


@pytest.mark.parametrize("pull_up", [True, False])
def test_an_input_reads_levels_and_a_broken_wire_as_its_pull(maker: MockFactory, pull_up: bool) -> None:
    line, pin = pins.Input(maker, 17, "mirror contact", pull_up), maker.pin(17)
    assert line.read() is pull_up
    for drive, level in ((pin.drive_high, True), (pin.drive_low, False)):
        drive()
        assert line.read() is level


def test_a_pin_in_use_is_an_error_that_names_it(maker: MockFactory) -> None:
    held = pins.Output(maker, 24, "contactor")
    with pytest.raises(DeviceError, match=r"lock on GPIO24: .*in use"):
        pins.Output(maker, 24, "lock")
    held.close()


@pytest.mark.parametrize(("soc", "number"), [("rp1", 4), ("bcm2711", 0)])
def test_the_chip_is_found_by_its_device(tmp_path: Path, soc: str, number: int) -> None:
    for n, device in ((0, "fe200000.gpio"), (4, "1f000d0000.gpio"), (10, "107d508500.gpio")):
        behind = tmp_path / "soc" / device / f"gpiochip{n}"
        behind.mkdir(parents=True)
        (tmp_path / f"gpiochip{n}").symlink_to(behind)
    assert pins._chip(soc, tmp_path) == number
    with pytest.raises(DeviceError, match="found: fe200000"):
        pins._chip("bcm2837", tmp_path)


# ---- lgpio itself, below which only the kernel's answers are put


def real(monkeypatch: pytest.MonkeyPatch, **answers: object) -> object:
    """gpiozero's own factory on lgpio, whose calls into C give these answers."""
    for name, answer in {"gpiochip_open": 1, "gpiochip_close": 0, "gpio_claim_input": 0, **answers}.items():
        monkeypatch.setattr(lgpio._lgpio, f"_{name}", lambda *_, answer=answer: answer)
    monkeypatch.setattr(LGPIOFactory, "_get_revision", lambda self: 0xC03111)
    monkeypatch.setattr(LGPIOFactory, "_reservations", defaultdict(list))  # of all factories
    monkeypatch.setattr(LGPIOFactory, "pins", {})
    return LGPIOFactory(chip=0)


@pytest.mark.parametrize(
    ("info", "told"),
    [([0, 24, 1, b"GPIO24", b"spi0 CS1"], "it is held by 'spi0 CS1'"), (-77, "is it in use by another program")],
)
def test_a_line_that_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch, info: object, told: str) -> None:
    maker = real(monkeypatch, gpio_claim_input=lgpio.GPIO_BUSY, gpio_get_line_info=info)
    with pytest.raises(DeviceError, match=f"contactor on GPIO24: GPIO busy; {told}"):
        pins.Output(maker, 24, "contactor")
    with pytest.raises(DeviceError, match=f"mirror on GPIO17: GPIO busy; {told}"):
        pins.Input(maker, 17, "mirror", True)


def test_a_line_that_fails_later(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = real(monkeypatch, gpio_claim_output=0, gpio_read=0, gpio_write=0, gpio_get_mode=2)
    line = pins.Output(maker, 24, "contactor")
    monkeypatch.setattr(lgpio._lgpio, "_gpio_write", lambda *_: lgpio.GPIO_NOT_ALLOCATED)
    with pytest.raises(DeviceError, match="contactor on GPIO24: GPIO not allocated"):
        line.set(True)


@pytest.mark.parametrize("there", [True, False])
def test_a_chip_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    behind = tmp_path / "soc" / "fe200000.gpio" / "gpiochip0"
    behind.mkdir(parents=True)
    (tmp_path / "gpiochip0").symlink_to(behind)
    monkeypatch.setattr(LGPIOFactory, "_get_revision", lambda self: 0xC03111)
    monkeypatch.setattr(pins, "DEV", str(tmp_path / "dev"))
    if there:
        (tmp_path / "dev0").touch()
        monkeypatch.setattr("os.access", lambda *_: False)
    told = "is not ours to use; the user must be in group gpio" if there else "is not there"
    with pytest.raises(DeviceError, match=told):
        pins.factory("bcm2711", tmp_path)
