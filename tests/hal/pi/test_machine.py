"""The machine is known by its device tree, and a board file for another one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal.api import DeviceError
from hal.pi import machine
from hal.pi.pwm import CHANNELS

TREES = {
    "bcm2837": b"raspberrypi,3-model-b-plus\0brcm,bcm2837\0",
    "bcm2711": b"raspberrypi,4-compute-module\0brcm,bcm2711\0",
    "rp1": b"raspberrypi,5-model-b\0brcm,bcm2712\0",
}


@pytest.mark.parametrize("soc", CHANNELS)
def test_each_board_fits_its_machine_and_no_other(tmp_path: Path, soc: str) -> None:
    for other, tree in TREES.items():
        (tmp_path / "compatible").write_bytes(tree)
        if other == soc:
            machine.check(soc, tmp_path / "compatible")
            continue
        with pytest.raises(DeviceError, match=rf'soc = "{soc}", but this machine is raspberrypi.*soc = "{other}"'):
            machine.check(soc, tmp_path / "compatible")


def test_what_is_no_pi_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no Raspberry Pi: .*No such file.*sim:"):
        machine.check("rp1", tmp_path / "compatible")
    (tmp_path / "compatible").write_bytes(b"acme,board\0")
    with pytest.raises(DeviceError, match=r"this machine is acme,board: supported are bcm2837, bcm2711, rp1"):
        machine.check("rp1", tmp_path / "compatible")
