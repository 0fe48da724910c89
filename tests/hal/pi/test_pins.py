"""Lines on gpiozero's mock pins, and the chip by the device behind it on a tree like the kernel's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
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
