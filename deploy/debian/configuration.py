"""Prints the configuration that the package installs: the annotated reference without its simulated devices.

A board is for the installer to name. Until then the file has one mistake, which guard and daemon both name.
"""

from __future__ import annotations

import re
import sys

from chargerd.config_reference import reference

HEAD = """\
# A charger needs a board: name it at guard.board below, then: systemctl restart chargerd
# (a simulated one is in the package chargerd-sim, with a configuration of its own).
"""


def installed() -> str:
    text = _once(r'^url = "ws:.*"$', 'url = "none"', reference())
    text = _once(r'^board = "sim:.*"$', '#board = "pi:reference-pi4"', text)
    text = _once(r"^\[\[reader\]\]$", "#[[reader]]", text)
    text = _once(r'^device = "sim:.*"$', '#device = "pcsc:"', text)
    return re.sub(r'^(\w+) = "sim:.*"$', r'#\1 = "none"', text, flags=re.MULTILINE)


def simulated() -> str:
    """That of chargerd-sim: all devices in the world that its unit serves."""
    text = reference().replace("/run/chargerd/world.sock", "/run/chargerd-world/world.sock")
    return _once(r'^url = "ws:.*"$', 'url = "none"', text)


def _once(pattern: str, by: str, text: str) -> str:
    text, number = re.subn(pattern, by, text, flags=re.MULTILINE)
    assert number == 1, f"{pattern} is {number} times in the reference"
    return text


if __name__ == "__main__":
    sys.stdout.write(simulated() if sys.argv[1:] == ["--simulated"] else installed())
