"""Every transcript, in every version that it is for: see `tests.scenarios.transcript`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.transcript import Scenario, parse, perform

FILES = sorted(Path(__file__).with_name("transcripts").glob("*.txt"))


def _cases() -> Iterator[Any]:
    for file in FILES:
        for scenario in parse(file.read_text(encoding="utf-8")):
            for version in scenario.versions:
                name = f"{file.stem}: {scenario.title} [{version}]"
                yield pytest.param(scenario, version, id=name, marks=pytest.mark.req(*scenario.clauses))


@pytest.mark.parametrize(("scenario", "version"), list(_cases()))
def test_transcript(scenario: Scenario, version: str, tmp_path: Path) -> None:
    assert scenario.clauses, "a transcript names what it shows"
    assert perform(scenario, tmp_path, version) == scenario.expected(version)
