"""The polkit rule, in a JavaScript of its own: what pcscd asks about its callers, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "deploy" / "systemd" / "polkit.rules"
PCSC = "org.debian.pcsc-lite."  # src/auth.c of pcsc-lite appends access_pcsc at a connection, access_card at a card

POLKIT = """
const rules = [], asked = JSON.parse(process.argv[2]);
const polkit = {Result: {YES: "yes", NO: "no"}, addRule: rule => rules.push(rule)};
new Function("polkit", require("fs").readFileSync(process.argv[1], "utf8"))(polkit);
const answer = ([id, user]) => {
  for (const rule of rules) {
    const subject = {user, local: false, active: false, isInGroup: () => false};
    const said = rule({id, lookup: () => "ACS ACR122U 00 00"}, subject);
    if (said) return said;
  }
  return null;
};
console.log(JSON.stringify(asked.map(answer)));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_daemon_s_user_may_read_cards_and_nobody_else_is_helped() -> None:
    asked = [
        (PCSC + "access_pcsc", "chargerd"),
        (PCSC + "access_card", "chargerd"),
        (PCSC + "access_pcsc", "chargerd-guard"),
        (PCSC + "access_card", "nobody"),
        ("org.freedesktop.login1.reboot", "chargerd"),
    ]
    done = subprocess.run(
        ["node", "-e", POLKIT, str(RULES), json.dumps(asked)], capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(done.stdout) == ["yes", "yes", None, None, None]
