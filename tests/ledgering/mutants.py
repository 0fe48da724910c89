"""Code of a clause taken out, to see whether the tests that are marked with the clause notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("chargerd", "hal", "hardware", "deploy", "tests", "pyproject.toml")
LIMIT = 300.0  # s for the tests of one clause


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `file` the only `old` becomes `new`."""

    clause: str
    file: str
    old: str
    new: str


def _core(clause: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(clause, f"chargerd/core/{file}.py", old, new)


def _v16(clause: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(clause, f"chargerd/ocpp/v16/{file}.py", old, new)


MUTANTS = (
    _core("1.6 §3.4.1", "known", "if v.accepted and not v.expired(draft.now.wall)}", "}"),
    _core("1.6 §3.4.2", "local_list", "entry.standing not in _VALID or ", ""),
    _core("1.6 §3.4.3", "known", "    if local_list.knows(state, token):\n        return", "    if 0:\n        return"),
    _core("1.6 §3.4.3", "local_list", "    if here != (verdict.standing in _VALID):\n", "    if 0:\n"),
    _core("1.6 §3.4.4", "known", "    if cached or local_list.knows(state, token):\n", "    if cached:\n"),
    _core("1.6 §4.9", "status", "        return Joint.RESERVED ", "        pass "),
    _core("1.6 §5.1", "reservation", "        _drop(draft, event.id)\n", "        pass\n"),
    _core("1.6 §5.10", "local_list", "state.list_version if state.local_list else 0", "state.list_version"),
    _core("1.6 §5.13", "reservation", "    if own is not None:\n        return _for", "    if 0:\n        return _for"),
    _core("1.6 §5.13", "reservation", "return mine or spare >= promised", "return True"),
    _core("1.6 §5.13", "reservation", "one.expires <= draft.now.wall or not any", "not any"),
    _core("1.6 §5.13", "reservation", "not any(_serves(draft.state, outlet) for outlet in places)", "False"),
    _core("1.6 §5.13", "reservation", "id_ != event.id}", "True}"),
    _v16("1.6 §5.13", "transactions", '    if "reservationId" in facts:', "    if 0:"),
    _core("1.6 §5.15", "local_list", "event.version <= max(0, version(state))", "event.version < version(state)"),
    _core("1.6 §5.15", "local_list", " or len(set(ids)) < len(ids)", ""),
    _core("1.6 §7.40", "reservation", "        return Outcome.UNAVAILABLE\n", "        return Outcome.OCCUPIED\n"),
    _core("1.6 §9.1.1", "known", 'if variables.get_bool("offline_unknown_ids") else None', ""),
    _core("1.6 §9.1.2", "known", '    if not state.variables.get_bool("auth_cache_enabled"):\n', "    if 0:\n"),
    _core("1.6 §9.1.10", "known", 'if variables.get_bool("local_authorize_offline") else None', ""),
    _core("1.6 §9.2.1", "local_list", 'state.variables.get_bool("local_list_enabled") and token', "token"),
    _core("1.6 §9.2.2", "local_list", 'if len(entries) > draft.state.variables.get_int("local_list_most"):', "if 0:"),
)


def trial(mutant: Mutant) -> str:
    """`noticed`, or `MISSED`, or what else came of it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(source, tree / part)
        file = tree / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return f"{text.count(mutant.old)} places"
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.ledgering.plugin"]
        try:
            done = subprocess.run(
                [*command, "--clause", mutant.clause], cwd=tree, env=_env(tree), capture_output=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return "too long"
        return {0: "MISSED", 1: "noticed", 5: "no tests"}.get(done.returncode, "broken")


def _env(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
