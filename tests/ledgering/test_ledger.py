"""The committed ledger is what the tests' markers say, and its mutants still fit the code."""

from __future__ import annotations

from tests.ledgering.mutants import MUTANTS, ROOT
from tests.ledgering.table import PAGE, holders, page, unknown


def test_the_page_is_what_the_tests_say() -> None:
    by = holders()
    assert unknown(by) == []
    assert PAGE.read_text(encoding="utf-8") == page(by), "tests/ledger --write"


def test_every_mutant_has_its_place() -> None:
    places = [(ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) for mutant in MUTANTS]
    assert places == [1] * len(MUTANTS)
