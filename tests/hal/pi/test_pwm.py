"""Hardware PWM on a directory tree that looks like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal.api import DeviceError
from hal.pi.pwm import DEVICES, SysfsPwm


def chip(root: Path, number: int, device: str, channels: tuple[int, ...] = (0, 1, 2, 3)) -> Path:
    """`/sys/class/pwm/pwmchipN` with these channels exported already."""
    behind = root / "devices" / device
    behind.mkdir(parents=True)
    folder = root / f"pwmchip{number}"
    folder.mkdir()
    (folder / "device").symlink_to(behind)
    (folder / "export").write_text("")
    for channel in channels:
        (folder / f"pwm{channel}").mkdir()
        for name in ("period", "duty_cycle", "enable"):
            (folder / f"pwm{channel}" / name).write_text("0")
    return folder


def told(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in ("period", "duty_cycle", "enable")}


@pytest.mark.parametrize(("soc", "pin", "channel"), [("bcm2711", 18, 0), ("bcm2711", 13, 1), ("rp1", 18, 2)])
def test_the_chip_is_found_by_its_device(tmp_path: Path, soc: str, pin: int, channel: int) -> None:
    chip(tmp_path, 0, "1f0009c000.pwm")
    folder = chip(tmp_path, 7, DEVICES[soc])
    SysfsPwm(soc, pin, tmp_path)
    assert told(folder / f"pwm{channel}") == {"period": "1000000", "duty_cycle": "1000000", "enable": "1"}


def test_the_duty_never_codes_more_than_was_asked(tmp_path: Path) -> None:
    folder = chip(tmp_path, 0, DEVICES["rp1"])
    made = SysfsPwm("rp1", 12, tmp_path)
    for duty, nanoseconds in ((0.1, 100000), (0.2666666, 266666), (0.05, 50000), (0.0, 0), (1.0, 1000000)):
        (folder / "pwm0" / "duty_cycle").write_text("")
        made.set(duty)
        assert told(folder / "pwm0")["duty_cycle"] == str(nanoseconds)


def test_what_does_not_change_is_not_written(tmp_path: Path) -> None:
    folder = chip(tmp_path, 0, DEVICES["rp1"])
    made = SysfsPwm("rp1", 12, tmp_path)
    made.set(0.5)
    (folder / "pwm0" / "duty_cycle").write_text("untouched")
    made.set(0.5)
    assert told(folder / "pwm0")["duty_cycle"] == "untouched"


def test_it_leaves_x1_behind(tmp_path: Path) -> None:
    folder = chip(tmp_path, 0, DEVICES["rp1"])
    made = SysfsPwm("rp1", 12, tmp_path)
    made.set(0.5)
    (folder / "pwm0" / "duty_cycle").write_text("")
    made.close()
    assert told(folder / "pwm0") == {"period": "1000000", "duty_cycle": "1000000", "enable": "1"}


def test_no_chip_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    chip(tmp_path, 0, "1f0009c000.pwm")
    with pytest.raises(DeviceError, match=r"found: 1f0009c000\.pwm.*dtoverlay=pwm-2chan.*audio=off"):
        SysfsPwm("bcm2711", 12, tmp_path)


def test_a_channel_that_stays_away_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip(tmp_path, 0, DEVICES["rp1"], channels=())
    monkeypatch.setattr("hal.pi.pwm.EXPORT_WAIT", 0.0)
    with pytest.raises(DeviceError, match="group gpio"):
        SysfsPwm("rp1", 12, tmp_path)
    assert (tmp_path / "pwmchip0" / "export").read_text() == "0"
