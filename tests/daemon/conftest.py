"""Stores on the disk, for the tests that open them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chargerd.daemon.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chargerd.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Store]]:
    """Open stores at `path` that are closed after the test."""
    stores: list[Store] = []

    def open_(**options: Any) -> Store:
        stores.append(Store.open(path, **{"inline": True, **options}))
        return stores[-1]

    yield open_
    for each in stores:
        each.close()
