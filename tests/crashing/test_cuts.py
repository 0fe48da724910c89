"""A handful of cuts, and proof that a charger which forgets is found out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chargerd.daemon.store import Batch, Store
from chargerd.ocpp.outbox import Changes
from tests.crashing.cuts import DOUBLE, KINDS, Cut, perform, plan


def test_nothing_is_lost_at_a_handful_of_cuts() -> None:
    cuts, uncut = plan(20, ["1.6", "2.0.1"], seed=7)
    assert [(outcome.cut.story, outcome.complaints) for outcome in uncut if outcome.complaints] == []
    assert {cut.kind for cut in cuts} == set(KINDS)
    outcomes = [perform(cut) for cut in cuts]
    assert [(str(outcome.cut), outcome.complaints) for outcome in outcomes if outcome.complaints] == []
    assert sum(len(outcome.where) for outcome in outcomes) >= len(cuts)


def test_a_plan_is_the_same_again_and_grows_at_its_end() -> None:
    few, uncut = plan(10, ["1.6"], seed=3)
    points = sum(len(outcome.points) for outcome in uncut)
    many, _ = plan(points * len(KINDS) * 3 // 2, ["1.6"], seed=3)
    assert many[:10] == few
    single = [(cut.story, cut.kind, cut.points) for cut in many if len(cut.points) == 1]
    assert len(set(single)) == len(single) == points * len(KINDS)
    assert {len(cut.points) for cut in many if cut.number % DOUBLE == 0} == {2}


def test_a_charger_that_keeps_no_queue_loses_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    submit = Store.submit

    def forgetful(self: Store, batch: Batch) -> asyncio.Future[None]:
        return submit(self, replace(batch, outbox=Changes()))

    monkeypatch.setattr(Store, "submit", forgetful)
    assert _complaints("offline", "power", "reconnect")


def test_a_charger_that_acts_before_it_writes_is_unsafe_in_its_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "submit", _nothing)
    assert _complaints("card first", "daemon", "charging")


def _nothing(self: Store, batch: Batch) -> Any:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _complaints(story: str, kind: str, phase: str) -> list[str]:
    """Of a cut in the middle of this phase, where nothing is written any more a send."""
    uncut = perform(Cut(0, "1.6", story, "none", ()))
    points = [n for n, (at, _) in enumerate(uncut.points) if at == phase]
    return list(perform(Cut(1, "1.6", story, kind, (points[len(points) // 2],))).complaints)
