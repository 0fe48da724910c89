"""Which machine this is, by its device tree: a board file for another one would find other pins behind its numbers."""

from __future__ import annotations

from pathlib import Path

from hal.api import DeviceError

COMPATIBLE = Path("/proc/device-tree/compatible")
SOCS = {"bcm2837": "brcm,bcm2837", "bcm2711": "brcm,bcm2711", "rp1": "brcm,bcm2712"}
"""`soc` of a board file → what the device tree calls it (the header of a Pi 5 hangs on RP1, beside the BCM2712)."""


def check(soc: str, compatible: Path = COMPATIBLE) -> None:
    """Raises DeviceError when this is no Raspberry Pi, or one with another header chip than the board file's."""
    try:
        names = compatible.read_bytes().decode("ascii", "replace").strip("\0").split("\0")
    except OSError as e:
        raise DeviceError(
            f"no Raspberry Pi: {compatible}: {e.strerror}; a board pi:… needs one (without hardware: sim:…)"
        ) from None
    if SOCS[soc] in names:
        return
    others = [other for other, name in SOCS.items() if name in names]
    remedy = f'use a board file with soc = "{others[0]}"' if others else f"supported are {', '.join(SOCS)}"
    raise DeviceError(f'the board file says soc = "{soc}", but this machine is {names[0]}: {remedy}')
