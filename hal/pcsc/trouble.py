"""What is wrong with a reader or its service, in plain words with what helps."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hal.api import DeviceError

PCSCD = Path("/usr/sbin/pcscd")
SOCKET = Path("/run/pcscd/pcscd.comm")
DRIVERS = Path("/sys/bus/usb/drivers")
MODULES = ("pn533_usb", "port100")
"""Kernel modules that take NFC readers for themselves, under the names of their USB drivers: pcscd never sees these."""


def explain(scard: Any, code: int, what: str) -> DeviceError:
    """The error for a return code of PC/SC that `what` met."""
    match code:
        case scard.SCARD_E_NO_SERVICE | scard.SCARD_E_SERVICE_STOPPED | scard.SCARD_F_COMM_ERROR:
            return DeviceError(f"card readers: {_no_service()}")
        case scard.SCARD_W_SECURITY_VIOLATION | scard.SCARD_E_NO_ACCESS:
            return DeviceError(f"{what}: {_not_allowed()}" if _listens() else f"card readers: {_no_service()}")
        case scard.SCARD_E_READER_UNAVAILABLE | scard.SCARD_E_UNKNOWN_READER:
            return DeviceError(f"{what} is gone: plug it in again")
        case scard.SCARD_E_SHARING_VIOLATION:
            return DeviceError(f"{what} is held by another program: end that program (sudo lsof {SOCKET})")
    said = scard.SCardGetErrorMessage(code).rstrip(". ")
    return DeviceError(f"{what}: {said} ({code & 0xFFFFFFFF:08X}): look into journalctl -u pcscd")


def absent(name: str, there: Sequence[str]) -> DeviceError:
    """No reader is called `name`; `there` are those that are."""
    what = f"card reader {name!r} is not there" if name else "there is no card reader"
    taken = [(module, at) for module in MODULES for at in _bound(module)]
    if taken and not there:
        module, at = taken[0]
        return DeviceError(
            f"{what}: kernel module {module} holds the one at USB {at}: "
            f"echo blacklist {module} | sudo tee -a /etc/modprobe.d/chargerd.conf; sudo modprobe -r {module}; "
            "then plug the reader in again"
        )
    found = ", ".join(there) or "none"
    return DeviceError(f"{what} (found: {found}): plug it in or correct pcsc:<name>; is it one that libccid knows?")


def _bound(driver: str) -> list[str]:
    """USB interfaces that a driver has, like `1-1.2:1.0`."""
    try:
        return sorted(entry.name for entry in (DRIVERS / driver).iterdir() if ":" in entry.name)
    except OSError:
        return []


def _listens() -> bool:
    """One that was killed hangs up like one that refuses."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(os.environ.get("PCSCLITE_CSOCK_NAME") or str(SOCKET))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def _no_service() -> str:
    place = Path(os.environ.get("PCSCLITE_CSOCK_NAME") or SOCKET)
    if not PCSCD.exists():
        return "pcscd is not installed: sudo apt install pcscd"
    if place.exists() and not os.access(place, os.W_OK):
        return f"{_user()} may not use {place}: let it be writable for all, or add {_user()} to its group"
    return "pcscd does not run; check it: sudo systemctl enable --now pcscd.socket"


def _not_allowed() -> str:
    """It hangs up on whom it does not let in, and so does one that is about to end."""
    return (
        f"pcscd hangs up on the user {_user()}: a polkit rule must allow it org.debian.pcsc-lite.access_pcsc and "
        ".access_card (the package's: /usr/share/polkit-1/rules.d/chargerd.rules), see journalctl -u pcscd -u polkit"
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
