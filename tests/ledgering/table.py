"""The ledger as a page: every message, key and clause of OCPP 1.6, and the test files that hold it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.ledgering.clauses import CLAUSES, KEYS, MESSAGES, Clause

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path(__file__).with_name("ocpp16.md")
Holders = Mapping[str, Sequence[str]]
HEAD = """\
# OCPP 1.6: what holds it

Made by `tests/ledger --write` from the markers on the tests; `tests/ledger --mutants` takes the code of clauses out and
looks whether their tests notice. **held**: by the tests of these files. **OPEN**: nothing holds it. *absent*: optional,
and not offered. *text*: asks nothing of a charge point. Clauses are those of the specification, edition 2 (1.6) and of
OCPP-J 1.6 (1.6J); messages are held by the clauses that tell how they are used, fields by their types in §7 and by the
schemas, which every message of ours is checked against.
"""


def holders() -> dict[str, list[str]]:
    """Clause → test files, by collecting all tests. CalledProcessError where they cannot be collected."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clauses.json"
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "tests.ledgering.plugin"]
        subprocess.run([*command, "--clauses", str(file)], cwd=ROOT, check=True, capture_output=True)
        found: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def stand(clause: Clause, by: Holders) -> str:
    """held, OPEN, absent or text."""
    if by.get(clause.id):
        return "held"
    return "OPEN" if clause.stand in ("", "open") else clause.stand


def page(by: Holders) -> str:
    tables: list[str] = []
    for head, clauses in (("message", MESSAGES), ("key", KEYS), ("about", CLAUSES)):
        tables += [*_rows(head, clauses, by), ""]
    return "\n".join([HEAD, *_counts(by), "", *tables])


def counts(clauses: Sequence[Clause], by: Holders) -> str:
    """In words: how many of each stand."""
    stands = Counter(stand(clause, by) for clause in clauses)
    return ", ".join(f"{stands[word]} {word}" for word in ("held", "OPEN", "absent", "text") if stands[word])


def _counts(by: Holders) -> Iterator[str]:
    yield f"- messages: {counts(MESSAGES, by)}"
    yield f"- keys: {counts(KEYS, by)}"
    yield f"- clauses: {counts(CLAUSES, by)}"


def _rows(head: str, clauses: Sequence[Clause], by: Holders) -> Iterator[str]:
    yield from (f"| {head} | clause | stand | tests |", "|---|---|---|---|")
    for clause in clauses:
        number = clause.id.removeprefix("1.6 ")
        yield f"| {clause.what} | {number} | {_bold(stand(clause, by))} | {_short(by.get(clause.id, ()))} |"


def _bold(word: str) -> str:
    return {"OPEN": "**OPEN**", "absent": "*absent*", "text": "*text*"}.get(word, word)


def _short(files: Sequence[str]) -> str:
    """Without what all paths share."""
    return ", ".join(file.removeprefix("tests/").removesuffix(".py").replace("/test_", "/") for file in files)


def unknown(by: Holders) -> list[str]:
    """Markers of 1.6 that name no clause of ours; the parts of a message (§6) are held by the schemas."""
    known = {clause.id for clause in (*CLAUSES, *KEYS)}
    ours = (clause for clause in by if clause.startswith(("1.6 §", "1.6J §")))
    return sorted(clause for clause in ours if clause not in known and not clause.startswith("1.6 §6."))
