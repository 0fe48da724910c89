"""Short campaigns with the hostile backend, and the proof that its judge would notice."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from chargerd.lab import schema
from chargerd.ocpp.rpc import Call, Rpc
from tests.hostile.command import VERSIONS
from tests.hostile.episode import KNOWN, Outcome, Plan, perform
from tests.hostile.reading import read
from tests.hostile.speech import Speech, written

EACH = pytest.mark.parametrize("version", VERSIONS)


@EACH
@pytest.mark.parametrize("seed", [1, 2])
def test_a_charger_survives_its_backend(version: str, seed: int) -> None:
    outcome = perform(Plan(version, seed, 400))
    assert outcome.account.complaints == []
    answers = outcome.account.answers
    assert answers["result"] + answers["SecurityError"] > 10  # the latter where the boot is rejected


@EACH
def test_a_car_does_not_notice_what_is_not_lawful(version: str) -> None:
    outcome = perform(Plan(version, 3, 400, lawless=True))
    assert outcome.account.complaints == []
    assert not outcome.account.answers["result"] > 2  # the kind ones at the end
    assert outcome.account.thrown >= 400


@EACH
def test_a_seed_replays_byte_for_byte(version: str) -> None:
    first, second = (perform(Plan(version, 5, 150)).log for _ in range(2))
    assert list(first.latest) == list(second.latest)
    assert first.digest == second.digest


@EACH
def test_what_is_called_lawful_is_lawful(version: str) -> None:
    subprotocol = f"ocpp{version}"
    speech = Speech(subprotocol, random.Random(1), KNOWN)
    for action in speech.actions:
        for _ in range(10):
            assert schema.fault(subprotocol, action, speech.request(action)) is None
            found = read(written([2, "1", action, speech.request(action)]), subprotocol)
            assert found is not None and found.lawful


# ---- the judge


def _with(monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., Any]) -> Outcome:
    lawful = getattr(Rpc, name)
    monkeypatch.setattr(Rpc, name, lambda self, *arguments: fault(lawful, self, *arguments))
    return perform(Plan("2.0.1", 1, 150))


def test_it_notices_an_answer_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(lawful: Callable[..., Any], self: Rpc, text: str, now: float) -> Any:
        got = lawful(self, text, now)
        return [one for one in got if not isinstance(one, Call)]

    assert any(
        "no answer within" in complaint for complaint in _with(monkeypatch, "receive", forget).account.complaints
    )


def test_it_notices_an_answer_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def repeat(lawful: Callable[..., Any], self: Rpc) -> list[str]:
        frames: list[str] = lawful(self)
        return [frame for frame in frames for _ in range(1 if json.loads(frame)[0] == 2 else 2)]

    assert any("nobody is owed" in complaint for complaint in _with(monkeypatch, "send", repeat).account.complaints)


def test_it_notices_words_that_the_version_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(lawful: Callable[..., Any], self: Rpc) -> list[str]:
        return [frame.replace("TypeConstraintViolation", "TypeViolation") for frame in lawful(self)]

    assert any("no frame" in complaint for complaint in _with(monkeypatch, "send", other).account.complaints)
