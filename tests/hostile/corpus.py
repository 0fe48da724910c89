"""Frames worth keeping: the first of each kind of answer that the station was ever seen to give."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

COMMITTED = Path(__file__).parents[1] / "fixtures" / "frames"
LONGEST = 4096


class Corpus:
    """Frames by version, told apart by the news that they brought (action, kind of answer, rule). None is written
    unless `folder` is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, set[str]] = {}
        self._new: dict[str, list[bytes]] = {}
        self.seeds = [path.read_bytes() for path in sorted(COMMITTED.glob("*.frame"))]
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.seeds += [path.read_bytes() for path in sorted(folder.glob("*.frame"))]

    def __len__(self) -> int:
        return len(self.seeds) + sum(map(len, self._new.values()))

    def choose(self, chance: random.Random, version: str) -> bytes:
        new = self._new.get(version)
        return chance.choice(new) if new and chance.random() < 0.5 else chance.choice(self.seeds)

    def learn(self, version: str, raw: bytes, news: str) -> None:
        """Keep it if its answer was news."""
        known = self._known.setdefault(version, set())
        if not news or news in known or len(raw) > LONGEST:
            return
        known.add(news)
        self._new.setdefault(version, []).append(raw)
        if self._folder is not None:
            (self._folder / f"{hashlib.sha1(raw).hexdigest()[:16]}.frame").write_bytes(raw)
