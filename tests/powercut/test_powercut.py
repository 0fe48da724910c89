"""The judge and the disk of the power cuts find out what they are there for. The machine itself: tests/system."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from tests.powercut.campaign import SOUND, Campaign, Way
from tests.powercut.image import Image
from tests.powercut.machine import Disk, Machine
from tests.powercut.trouble import ERROR, FULL, Trouble


@pytest.fixture
def volatile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    server = SimpleNamespace(FLAG_FUA=2, FUA_NATIVE=2, THREAD_MODEL_SERIALIZE_ALL_REQUESTS=1)
    monkeypatch.setitem(sys.modules, "nbdkit", cast(ModuleType, server))
    from tests.powercut import volatile

    return volatile


@pytest.mark.parametrize(("leak", "kept"), [(0.0, b"\0"), (1.0, b"x")])
def test_what_was_not_flushed_is_lost_but_for_what_leaked(
    volatile: ModuleType, tmp_path: Path, leak: float, kept: bytes
) -> None:
    medium = tmp_path / "medium"
    medium.write_bytes(bytes(4096))
    disk = volatile.Disk(str(medium), leak, "1")
    disk.write(b"f" * 512, 0, False)
    disk.flush()
    disk.write(b"t" * 512, 512, True)
    disk.write(b"x" * 512, 1024, False)
    seen = bytearray(1536)
    disk.read(seen, 0)
    assert seen == b"f" * 512 + b"t" * 512 + b"x" * 512
    assert medium.read_bytes()[:1536] == b"f" * 512 + b"t" * 512 + kept * 512


class Spoken:
    """A machine that says what it was told to, and notes what it hears."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = list(messages)
        self.orders: list[Any] = []

    def hear(self) -> dict[str, Any]:
        return self._messages.pop(0)

    def say(self, message: Any) -> None:
        self.orders.append(message)


BEFORE, AFTER = {"point": "before-commit"}, {"point": "after-commit", "disk": "two"}
END = {"end": {"sessions": [], "waiting": [], "dead": 0}}


def complaints(*boots: tuple[dict[str, Any], ...]) -> list[str]:
    """Of a campaign in which each boot says this, and is cut at its last point."""
    campaign = Campaign(Path(), Image(Path(), Path(), ""), Path(), SOUND, "1.6", 1, 0.1)
    for messages in boots:
        points = sum("point" in message for message in messages)
        campaign._run(cast(Machine, Spoken(*messages)), None if "end" in messages[-1] else points)
    return campaign.tally.complaints


def found(digest: str, aside: list[str] | None = None) -> dict[str, Any]:
    return {"disk": digest, "aside": aside or []}


def test_a_commit_that_was_acknowledged_must_be_there() -> None:
    assert complaints((found(""), BEFORE, AFTER), (found("two"), END)) == []
    [lost] = complaints((found(""), BEFORE, AFTER), (found("one"), END))
    assert "the disk has one, promised was two" in lost


def test_a_commit_that_was_under_way_may_be_there_or_not() -> None:
    for digest in ("two", "three"):
        assert complaints((found(""), BEFORE, AFTER, BEFORE), (found(digest), END)) == []


def test_damage_is_never_allowed() -> None:
    assert "damaged" in complaints((found(""), BEFORE), (found("damaged: malformed"), END))[0]
    assert "set aside" in complaints((found(""), BEFORE), (found("", ["chargerd.db.corrupt-1"]), END))[0]


class Diskless:
    def fail(self) -> None: ...


def trouble(way: Way, *messages: dict[str, Any]) -> list[str]:
    """Of a life in which the machine says this."""
    campaign = Trouble(Path(), Image(Path(), Path(), ""), Path(), way, "1.6", 1, 0.1)
    campaign._disk = cast(Disk, Diskless())
    campaign._run(cast(Machine, Spoken(*messages)), 1)
    return campaign.tally.complaints


WELL, SICK, DEAD = {"storage": True}, {"storage": False}, {"storage": False, "readonly": True}


def test_a_disk_that_fails_must_be_told_and_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SICK", 2), ("WELL", 1), ("PATIENCE", 2), ("JOURNAL", 0.0)):
        monkeypatch.setattr(f"tests.powercut.trouble.{name}", value)
    assert trouble(ERROR, WELL, SICK, SICK, DEAD) == []
    assert "not made read-only" in trouble(ERROR, WELL, SICK, SICK, SICK)[0]
    assert "was not told" in trouble(FULL, WELL, WELL, WELL, SICK, SICK, WELL, WELL)[0]
    assert trouble(FULL, WELL, SICK, SICK, SICK, WELL, WELL) == []
    assert "still fails" in trouble(FULL, WELL, SICK, SICK, WELL, WELL, WELL)[0]
    assert "the end of StorageFailure" in trouble(FULL, WELL, SICK, SICK, SICK, SICK, SICK, SICK)[0]
    logged = {"storage": False, "error": "storage: full"}
    assert trouble(FULL, WELL, logged, SICK, SICK, WELL, WELL) == []
    assert "logged" in trouble(FULL, WELL, {"storage": False, "error": "other"}, SICK, SICK, WELL, WELL)[0]


def test_in_the_end_the_books_are_judged() -> None:
    end = {"end": {"sessions": [], "waiting": ["stop of tx"], "dead": 0}, "energy": 12.0}
    assert len(complaints((found(""), end))) == 2
