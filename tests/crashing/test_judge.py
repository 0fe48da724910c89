"""The judge sees what it is there to see, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chargerd.daemon.store import Session as Kept
from chargerd.lab.books import Session
from chargerd.lab.csms import Csms
from tests.crashing.judge import Evidence, judge

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
AUDIT: dict[str, Any] = {"unsafe": 0, "offences": [], "longest_unasked": 0.07, "closed": 2}


def told(number: int, begin: float, end: float | None) -> Session:
    started = NOON + timedelta(minutes=10 * number)
    stopped = None if end is None else started + timedelta(minutes=5)
    return Session("CS-0001", number, (1, 1), "04A1", started, begin, stopped, end, "Local")


def kept(begin: float, end: float) -> Kept:
    return Kept("tx", 1, "04a1", 0.0, 1.0, True, begin, end, "local")


def evidence() -> Evidence:
    """Two clean sessions of one car each, the second up to 30.2 Wh."""
    csms = Csms()
    csms.books.sessions = [told(1, 0, 12), told(2, 12, 30)]
    return Evidence(csms, [30.2], [AUDIT], [kept(0.0, 12.4), kept(12.4, 30.2)], [], 0)


def test_a_clean_record() -> None:
    assert judge(evidence(), 2, 0) == []


@pytest.mark.parametrize(
    ("sessions", "complaint"),
    [
        ([told(2, 12, 30)], "begins at 12 Wh, the one before ended at 0 Wh"),
        ([told(1, 0, 12)], "the books end at 12 Wh, the meter shows 30.20 Wh"),
        ([told(1, 0, 12), told(2, 13, 30)], "begins at 13 Wh, the one before ended at 12 Wh"),
        ([told(1, 0, 12), told(2, 0, 12), told(3, 12, 30)], "begins at 0 Wh, the one before ended at 12 Wh"),
        ([told(1, 0, 12), told(2, 12, 31)], "the books end at 31 Wh"),
        ([told(1, 0, 12), told(2, 12, None)], "never ended"),
    ],
)
def test_books_that_are_not_what_the_meter_says(sessions: list[Session], complaint: str) -> None:
    found = evidence()
    found.csms.books.sessions = sessions
    assert any(complaint in one for one in judge(found, 2, 0))


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (lambda e: replace(e, history=e.history[:1]), "in the books, but not in the charger's history"),
        (
            lambda e: replace(e, history=[*e.history, kept(30.2, 30.2)]),
            "in the charger's history, but not in the books",
        ),
        (lambda e: replace(e, waiting=["stop of tx"]), "left in the queue: stop of tx"),
        (lambda e: replace(e, audits=[AUDIT | {"closed": 3}]), "2 sessions and 3 closings of the contactor for 2 cars"),
        (lambda e: replace(e, dead=1), "1 dead letters"),
        (lambda e: replace(e, audits=[AUDIT | {"unsafe": 1}]), "without its conditions"),
        (lambda e: replace(e, audits=[AUDIT | {"longest_unasked": 6.0}]), "closed for 6.00 s with nobody asking"),
    ],
)
def test_other_evidence(tamper: Callable[[Evidence], Evidence], complaint: str) -> None:
    assert any(complaint in one for one in judge(tamper(evidence()), 2, 0))


def test_a_power_cut_may_part_a_session_in_two() -> None:
    found = evidence()
    assert judge(found, 1, 1) == []
    assert judge(found, 1, 0) == ["2 sessions and 2 closings of the contactor for 1 cars"]
