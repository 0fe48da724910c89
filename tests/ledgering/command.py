"""`tests/ledger`: print the counts, write the page anew, or try whether the tests of clauses notice."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from tests.ledgering.clauses import CLAUSES, KEYS, MESSAGES
from tests.ledgering.mutants import MUTANTS, trial
from tests.ledgering.table import PAGE, Holders, counts, holders, page, stand, unknown


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/ledger", description=__doc__.partition(":")[2].strip().capitalize())
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} anew")
    parser.add_argument("--open", action="store_true", help="list what nothing holds")
    parser.add_argument("--mutants", action="store_true", help=f"take {len(MUTANTS)} pieces of code out, one by one")
    parser.add_argument("--only", metavar="CLAUSE", help="with --mutants: those of this clause")
    args = parser.parse_args(argv)
    try:
        by = holders()
    except subprocess.CalledProcessError as e:
        sys.stderr.write(f"{e.stdout.decode()[-2000:]}\ntests/ledger: the tests cannot be collected\n")
        return 1
    if args.mutants:
        return _mutants(args.only, by)
    _say(f"messages: {counts(MESSAGES, by)}\nkeys: {counts(KEYS, by)}\nclauses: {counts(CLAUSES, by)}")
    if args.open:
        _say("\n".join(f"open: {c.id} {c.what}" for c in (*KEYS, *CLAUSES) if stand(c, by) == "OPEN"))
    strangers = unknown(by)
    if strangers:
        _say("markers that name no clause: " + ", ".join(strangers))
    if args.write:
        PAGE.write_text(page(by), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page(by):
        _say(f"{PAGE.name} is not what the tests say now: tests/ledger --write")
        return 1
    return 1 if strangers else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _mutants(only: str | None, by: Holders) -> int:
    chosen = [mutant for mutant in MUTANTS if only in (None, mutant.clause)]
    missed = 0
    for mutant in chosen:
        verdict = trial(mutant, by.get(mutant.clause, ()))
        missed += verdict != "noticed"
        _say(f"{verdict:<10} {mutant.clause:<14} {mutant.file}: {mutant.old.strip().splitlines()[0]}")
    _say(f"{len(chosen) - missed} of {len(chosen)} noticed")
    return 1 if missed or not chosen else 0
