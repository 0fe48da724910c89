"""For pytest: which tests hold which clauses (`--clauses FILE`), and only the tests of one clause (`--clause ID`)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--clauses", metavar="FILE", help="write clause → test files as JSON")
    parser.addoption("--clause", metavar="ID", help="only the tests marked with this clause")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted, file = config.getoption("--clause"), config.getoption("--clauses")
    if wanted:
        others = [item for item in items if wanted not in _ids(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if wanted in _ids(item)]
    if file:
        found = defaultdict[str, set[str]](set)
        for item in items:
            for clause in _ids(item):
                found[clause].add(item.nodeid.partition("::")[0])
        Path(file).write_text(json.dumps({clause: sorted(files) for clause, files in found.items()}), encoding="utf-8")


def _ids(item: pytest.Item) -> set[str]:
    return {str(clause) for mark in item.iter_markers("req") for clause in mark.args}
