"""The workbench of one step: the state as it becomes, the records and commands that came up.

Lives as long as one `station.step` and is thrown away with it when the step fails. Rank 0 is the lobby: the visit
that no cable, reservation or command has bound to an outlet yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from chargerd.core.commands import Command
from chargerd.core.moment import Moment
from chargerd.core.records import Cause, Record
from chargerd.core.state import Outlet, Station, Tx, TxWindow, Visit

LOBBY = 0


class Draft:
    def __init__(self, state: Station, now: Moment, mint: Callable[[], str]) -> None:
        self.state = state
        self.now = now
        self.mint = mint
        self.records: list[Record] = []
        self.commands: list[Command] = []
        self.news: list[tuple[int, Cause]] = []  # what running transactions saw come and go in this step, by rank

    def tell(self, record: Record) -> None:
        self.records.append(record)

    def do(self, command: Command) -> None:
        self.commands.append(command)

    # ---- reading

    def outlet(self, rank: int) -> Outlet:
        return self.state.outlet(rank)

    def ranks(self, evse: int | None = None) -> Iterator[int]:
        """Ranks of the outlets of one EVSE, or of all."""
        return (o.site.rank for o in self.state.outlets if evse is None or o.site.evse == evse)

    def visit(self, rank: int) -> Visit | None:
        return self.state.lobby if rank == LOBBY else self.outlet(rank).visit

    def visits(self) -> Iterator[tuple[int, Visit]]:
        for rank in (LOBBY, *self.ranks()):
            visit = self.visit(rank)
            if visit is not None:
                yield rank, visit

    def find(self, tx: str | None) -> tuple[int, Visit, Tx] | None:
        """Where the transaction of this id runs."""
        for rank, visit in self.visits():
            if visit.tx is not None and visit.tx.uid == tx:
                return rank, visit, visit.tx
        return None

    @property
    def window(self) -> TxWindow:
        return self.state.window

    # ---- writing

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def set_outlet(self, rank: int, **changes: Any) -> None:
        outlets = list(self.state.outlets)
        outlets[rank - 1] = replace(outlets[rank - 1], **changes)
        self.state = replace(self.state, outlets=tuple(outlets))

    def set_live(self, rank: int, **changes: Any) -> None:
        live = self.outlet(rank).live
        if any(getattr(live, name) != value for name, value in changes.items()):  # mostly the guard says it again
            self.set_outlet(rank, live=replace(live, **changes))

    def set_faults(self, rank: int, faults: frozenset[str]) -> None:
        """Of one outlet, or of the station (0); `core.faults` tells those that come and go."""
        if rank:
            self.set_live(rank, faults=faults)
        else:
            self.set(faults=faults)

    def put_visit(self, rank: int, visit: Visit | None) -> None:
        if rank == LOBBY:
            self.set(lobby=visit)
        else:
            self.set_outlet(rank, visit=visit)

    def set_visit(self, rank: int, **changes: Any) -> None:
        visit = self.visit(rank)
        assert visit is not None
        self.put_visit(rank, replace(visit, **changes))

    def set_tx(self, rank: int, **changes: Any) -> None:
        visit = self.visit(rank)
        assert visit is not None and visit.tx is not None
        self.set_visit(rank, tx=replace(visit.tx, **changes))
