"""Do the books balance? The world's meter, the charger's history and the backend's records, one against the other.

Power flows in a transaction only, so the transactions of an outlet, by their registers, lie end to end from 0 Wh to
what the meter shows. What may part them is known: a meter that was silent, and a transaction that only power begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

from chargerd.daemon.store import Session
from tests.crashing.judge import SAME, Evidence
from tests.fuzzing.plan import BLOCKED, LOCAL, STRANGER, Plan

UNKNOWN_OFFLINE = ("AllowOfflineTxForUnknownId", '"AuthCtrlr.OfflineTxForUnknownIdEnabled"')
LATE = 70.0  # Wh: what 3 x 32 A draw until a transaction that power begins has its register


def judge(plan: Plan, evidence: Evidence, touched: Set[tuple[int, str]]) -> list[str]:
    """Everything that is wrong, in words. `touched`: (outlet, fault) that was ever raised."""
    found = [*evidence.csms.violations(), *_books(plan, evidence)]
    for outlet, register in enumerate(evidence.registers, 1):
        silent = (outlet, "meter-silent") in touched
        if plan.metered:
            found.extend(_end_to_end(plan, evidence, outlet, register, silent))
    found.extend(f"session {one.uid}: ended before it began" for one in evidence.history if one.ended < one.started)
    found.extend(_told(plan, evidence))
    found.extend(_let_in(plan, evidence))
    # the answer to meter values is written down with what comes next: when nothing does, they are told again
    found.extend(f"left in the queue: {row}" for row in evidence.waiting if not row.startswith("meter of"))
    return found


def _books(plan: Plan, evidence: Evidence) -> Iterator[str]:
    for complaint in evidence.csms.books.judge():
        if not plan.metered and complaint.endswith("without begin and end register"):
            continue
        if evidence.dead and any(loss in complaint for loss in ("never ended", "never came", "still open when")):
            continue
        yield complaint


def _end_to_end(plan: Plan, evidence: Evidence, outlet: int, register: float, silent: bool) -> Iterator[str]:
    slack = register if silent else LATE if "EnergyTransfer" in plan.settings else SAME
    at = 0.0
    sessions = [one for one in evidence.history if one.outlet == outlet]
    for one in sorted(sessions, key=lambda one: (one.start_wh or 0.0, one.end_wh or 0.0)):
        if one.start_wh is None or one.end_wh is None:
            if not silent:
                yield f"session {one.uid}: no registers"
            continue
        if not -SAME <= one.start_wh - at <= slack:
            yield f"session {one.uid} at {outlet}: begins at {one.start_wh:.2f} Wh, the one before ended at {at:.2f} Wh"
        at = one.end_wh
    if not -SAME <= register - at <= slack:
        yield f"outlet {outlet}: the history ends at {at:.2f} Wh, the meter shows {register:.2f} Wh"


def _let_in(plan: Plan, evidence: Evidence) -> Iterator[str]:
    """Who is not known may charge only by the backend's own start, or where strangers may while it is away."""
    strangers = {BLOCKED, STRANGER, LOCAL} - {act.given.get("token") for act in plan.acts}
    if "card" in [act.given.get("what") for act in plan.acts]:
        strangers.discard(LOCAL)
    allowed = any(f"{key} = true" in plan.settings for key in UNKNOWN_OFFLINE)
    for one in evidence.history:
        if not allowed and one.token.upper() in strangers:
            yield f"session {one.uid}: {one.token} was let in"


Entry = tuple[int | None, str, float | None, float | None]


def _told(plan: Plan, evidence: Evidence) -> Iterator[str]:
    """Each session of the history is in the books once, and nothing else; but for what became dead letters."""
    told: Counter[Entry] = Counter(
        (one.place and one.place[0], (one.token or "").casefold(), one.begin_wh, one.end_wh)
        for one in evidence.csms.books.sessions
        if not one.open
    )
    kept: Counter[Entry] = Counter(_entry(one, plan.version) for one in evidence.history)
    if evidence.dead:
        return
    for what in (told - kept).elements():
        yield f"in the books, but not in the charger's history: {what}"
    for what in (kept - told).elements():
        yield f"in the charger's history, but not in the books: {what}"


def _entry(one: Session, version: str) -> Entry:
    """As it is told: in whole Wh, half to even; 1.6 has no word for a register that nobody could read."""

    def said(wh: float | None) -> float | None:
        return (0 if version == "1.6" else None) if wh is None else round(wh)

    return one.outlet, one.token.casefold(), said(one.start_wh), said(one.end_wh)
