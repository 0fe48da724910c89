"""What the station says it is, judged at every step: by OCPP 1.6's table of transitions, and by what it then tells."""

from __future__ import annotations

from collections.abc import Callable

from chargerd.core.state import Station
from chargerd.core.status import Joint, joint
from chargerd.lab.peer import Frame
from chargerd.ocpp.dialect import Dialect

_WORDS = "Available Preparing Charging SuspendedEV SuspendedEVSE Finishing Reserved Unavailable Faulted"
_LETTERS = dict(zip("ABCDEFGHI", _WORDS.split(), strict=True))
_TABLE = "A:BCDEGHI B:ACDEFGHI C:ADEFHI D:ACEFHI E:ACDFHI F:ABHI G:ABHI H:ABCDEI I:ABCDEFGH"
LEGAL = {_LETTERS[row[0]]: frozenset(_LETTERS[letter] for letter in row[2:]) for row in _TABLE.split()}
"""1.6 §4.9, connectorId above 0; and B8, which is B1 and A8 in one: whoever prepared is sent away for good; and B7: who
had reserved has shown a card and not come, and has it still."""
Complain = Callable[[str], None]


class StatusWatch:
    """One run of the daemon. `step` after each step of the station, `frame` for each frame that the backend sees."""

    def __init__(self, version: str, complain: Complain) -> None:
        self._old, self._complain = version == "1.6", complain
        self._now: dict[int, Joint] = {}
        self._been: dict[str, list[str]] = {}  # slot -> the words it could have been told with, since the last one told

    def step(self, state: Station, dialect: Dialect, event: object) -> None:
        for outlet in state.outlets:
            rank = outlet.site.rank
            if not (outlet.live.known or outlet.live.faults):
                continue
            new, old = joint(state, rank), self._now.get(rank)
            if self._old and old is not None and new is not old and new.value not in LEGAL[old.value]:
                self._complain(f"outlet {rank}: from {old} to {new} is no transition of 1.6 §4.9, at {event!r}")
            self._now[rank] = new
        for slot, facts in dialect.statuses(state).items():
            word = str(facts.get("status") or facts.get("connectorStatus"))
            been = self._been.setdefault(slot, [])
            if not been or been[-1] != word:
                been.append(word)

    def frame(self, frame: Frame) -> None:
        """A status that is told is one that was, and none is told after a later one."""
        if frame.action != "StatusNotification" or (frame.direction, frame.kind) != ("<", "call"):
            return
        told = frame.payload
        old = "status" in told
        slot = str(told["connectorId"]) if old else f"{told['evseId']}.{told['connectorId']}"
        word = told["status"] if old else told["connectorStatus"]
        been = self._been.get(slot, [])
        if word not in been:
            self._complain(f"slot {slot}: told {word}, but since the last one told it was {been}")
            return
        del been[: been.index(word)]
