"""Was anything lost, doubled or unsafe? Compared are the operator's books, the charger's own history and the world.

The meter of the world counts from 0 Wh, and power may flow in a transaction only. So the transactions of an outlet,
by their registers, must lie end to end: the first begins at 0, each begins exactly where the one before ended, and the
last ends at what the meter shows, to the rounding of a Wh. A gap is energy that nobody pays, or a transaction that was
lost; an overlap is one that was told twice.

What a cut may do: a transaction that was not yet on the disk, and for which therefore no energy has flowed, need never
have been (the driver taps again). A power cut, or the death of the guard, ends what ran; a second transaction for the
same car is then right. The death of the daemon alone ends nothing: the car does not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargerd.daemon.store import HISTORY_MOST, Session, Store
from chargerd.lab.csms import Csms

SAME = 0.01  # Wh
ROUNDED = 0.51  # Wh
UNASKED = 1.0  # s the contactor may stay closed with no vehicle asking, the hardware's watchdog included


@dataclass(frozen=True, slots=True)
class Evidence:
    """`registers` in Wh and `audits` (`sim.audit`) per outlet; `waiting` rows of the queue; `dead` letters."""

    csms: Csms
    registers: Sequence[float]
    audits: Sequence[Mapping[str, Any]]
    history: Sequence[Session]
    waiting: Sequence[str]
    dead: int


def gather(csms: Csms, state: Mapping[str, Any], audit: Mapping[str, Any], database: Path) -> Evidence:
    """The evidence once the daemon has left: the word of the world (`sim.state`, `sim.audit`), and what is on disk."""
    store = Store.open(database, inline=True)
    try:
        rows = store.load(0.0, 0.0, False).rows
        return Evidence(
            csms,
            [outlet["energy"] for outlet in state["outlets"]],
            audit["outlets"],
            store.sessions(HISTORY_MOST),
            [f"{row.kind} of {row.tx}" for row in rows],
            store.dead_count,
        )
    finally:
        store.close()


def judge(evidence: Evidence, cars: int, endings: int) -> list[str]:
    """Everything that is wrong, in words; [] is a clean record.

    `cars` were charged, once each; `endings`: cuts that may end what runs, and so part each session in two.
    """
    found = judge_books(evidence)
    for outlet, audit in enumerate(evidence.audits, 1):
        found.extend(_contactor(outlet, audit))
    sessions, closings = len(evidence.csms.books.sessions), sum(audit["closed"] for audit in evidence.audits)
    if not all(cars <= count <= cars * (1 + endings) for count in (sessions, closings)):
        found.append(f"{sessions} sessions and {closings} closings of the contactor for {cars} cars")
    return found


def judge_books(evidence: Evidence, thinned: bool = False) -> list[str]:
    """Only what was told and written: the contactor's closings are another matter. `thinned`: samples may be gone."""
    found = [*evidence.csms.violations(), *evidence.csms.books.judge(thinned=thinned)]
    for outlet, register in enumerate(evidence.registers, 1):
        found.extend(_end_to_end(evidence, outlet, register))
    found.extend(_history(evidence))
    found.extend(f"left in the queue: {row}" for row in evidence.waiting)
    if evidence.dead:
        found.append(f"{evidence.dead} dead letters")
    return found


def _end_to_end(evidence: Evidence, outlet: int, register: float) -> Iterator[str]:
    at = 0.0
    sessions = [one for one in evidence.csms.books.sessions if one.place is not None and one.place[0] == outlet]
    for one in sessions:
        if one.begin_wh is None or one.end_wh is None:
            yield f"{one.name}: no registers"
            continue
        if abs(one.begin_wh - at) > SAME:
            yield f"{one.name}: begins at {one.begin_wh:g} Wh, the one before ended at {at:g} Wh"
        at = one.end_wh
    if abs(at - register) > ROUNDED:
        yield f"outlet {outlet}: the books end at {at:g} Wh, the meter shows {register:.2f} Wh"


Entry = tuple[int | None, str, float | None, float | None]


def _history(evidence: Evidence) -> Iterator[str]:
    told: Counter[Entry] = Counter(
        (one.place and one.place[0], (one.token or "").casefold(), one.begin_wh, one.end_wh)
        for one in evidence.csms.books.sessions
    )
    kept: Counter[Entry] = Counter(
        (one.outlet, one.token.casefold(), _whole(one.start_wh), _whole(one.end_wh)) for one in evidence.history
    )
    for what in (told - kept).elements():
        yield f"in the books, but not in the charger's history: {what}"
    for what in (kept - told).elements():
        yield f"in the charger's history, but not in the books: {what}"


def _whole(wh: float | None) -> int | None:
    """As it is told: half to even."""
    return None if wh is None else round(wh)


def _contactor(outlet: int, audit: Mapping[str, Any]) -> Iterator[str]:
    if audit["unsafe"]:
        yield f"outlet {outlet}: contactor closed {audit['unsafe']} times without its conditions: {audit['offences']}"
    if audit["longest_unasked"] > UNASKED:
        yield f"outlet {outlet}: contactor closed for {audit['longest_unasked']:.2f} s with nobody asking"
