"""Hardware PWM on a directory tree that looks like the kernel's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hal.api import DeviceError
from hal.pi.pwm import DEVICES, SysfsPwm, overlay


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
        for name, content in (("period", "0"), ("duty_cycle", "0"), ("enable", "0"), ("polarity", "normal")):
            (folder / f"pwm{channel}" / name).write_text(content)
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
    for duty, nanoseconds in ((0.1, 100000), (0.2666666, 266600), (0.05, 50000), (0.0, 0), (1.0, 1000000)):
        (folder / "pwm0" / "duty_cycle").write_text("")
        made.set(duty)
        assert told(folder / "pwm0")["duty_cycle"] == str(nanoseconds)


def test_a_pilot_that_runs_is_not_taken_to_minus_twelve_volts(tmp_path: Path) -> None:
    """A guard that starts again under a vehicle goes from PWM to X1 at once."""
    folder = chip(tmp_path, 0, DEVICES["rp1"]) / "pwm0"
    (folder / "period").write_text("1000000")
    (folder / "duty_cycle").write_text("266000")
    written: list[str] = []

    class Watched(SysfsPwm):
        def _put(self, file: Path, value: int) -> None:
            written.append(f"{file.name}={value}")
            super()._put(file, value)

        def _write(self, name: str, value: int) -> None:
            written.append(f"{name}={value}")
            super()._write(name, value)

    Watched("rp1", 12, tmp_path)
    assert written == ["duty_cycle=1000000", "enable=1"]
    (folder / "period").write_text("500000")
    written.clear()
    Watched("rp1", 12, tmp_path)
    assert written == ["duty_cycle=0", "period=1000000", "duty_cycle=1000000", "enable=1"]


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


@pytest.mark.parametrize(("soc", "pin", "line"), [("bcm2711", 12, "pin=12,func=4"), ("rp1", 18, "pin=18,func=2")])
def test_no_chip_is_an_error_with_its_remedy(tmp_path: Path, soc: str, pin: int, line: str) -> None:
    """Nor is one taken that the kernel makes by timer (dtoverlay=pwm-gpio), or the fan's."""
    chip(tmp_path, 0, "1f0009c000.pwm")
    chip(tmp_path, 1, "pwm-gpio@12")
    with pytest.raises(DeviceError, match=rf"found: 1f0009c000\.pwm, pwm-gpio@12.*dtoverlay=pwm,{line} .*audio=off"):
        SysfsPwm(soc, pin, tmp_path)


def test_a_channel_that_stays_away_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip(tmp_path, 0, DEVICES["rp1"], channels=())
    monkeypatch.setattr("hal.pi.pwm.EXPORT_WAIT", 0.0)
    with pytest.raises(DeviceError, match="group gpio"):
        SysfsPwm("rp1", 12, tmp_path)
    assert (tmp_path / "pwmchip0" / "export").read_text() == "0"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, r"Permission denied; the user must be in group gpio"),
        (errno.EBUSY, r"busy; another driver has this channel: is audio off"),
        (errno.EINVAL, r"Invalid argument"),
    ],
)
@pytest.mark.parametrize("at", ["export", "period", "duty_cycle", "enable"])
def test_what_the_kernel_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, number: int, told: str
) -> None:
    folder = chip(tmp_path, 0, DEVICES["rp1"], channels=() if at == "export" else (0,))
    real = os.pwrite, Path.write_text
    refused = OSError(number, os.strerror(number))

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if Path(f"/proc/self/fd/{file}").readlink().name == at:
            raise refused
        return real[0](file, data, offset)

    def write_text(self: Path, text: str) -> int:
        if self.name == at:
            raise refused
        return real[1](self, text)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(DeviceError, match=rf"PWM on GPIO12: .*{folder.name}.*: {at}: .*{told}"):
        SysfsPwm("rp1", 12, tmp_path)


def test_an_inverted_channel_is_refused(tmp_path: Path) -> None:
    folder = chip(tmp_path, 0, DEVICES["rp1"])
    (folder / "pwm0" / "polarity").write_text("inversed\n")
    with pytest.raises(DeviceError, match="polarity is 'inversed'"):
        SysfsPwm("rp1", 12, tmp_path)


def test_the_overlay_of_two_pilots() -> None:
    assert overlay(12, 13) == "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4 and dtparam=audio=off"
