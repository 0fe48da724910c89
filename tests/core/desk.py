"""A station on the desk: feed it events, look at what it says. Time is a number."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

from chargerd.core.commands import Answer, Command, ReadMeter, SetPermit
from chargerd.core.events import (
    BootAnswered,
    BootStatus,
    Event,
    LinkUp,
    Metered,
    OutletTruth,
    Power,
    Wake,
)
from chargerd.core.moment import Moment
from chargerd.core.records import Record, Transaction
from chargerd.core.state import OutletSite, Site, Station, TxWindow
from chargerd.core.station import initial, step, wake_at
from chargerd.core.status import Joint, joint
from chargerd.core.variables import Variables
from hal.api import MeterReading

V16 = TxWindow(frozenset({"PowerPathClosed"}), frozenset({"Authorized"}))
T = TypeVar("T")


class Desk:
    """`outlets` sockets, `connectors` of them to an EVSE, a guard that knows them, and a backend unless it is False."""

    def __init__(
        self,
        outlets: int = 1,
        *,
        connectors: int = 1,
        bays: bool = False,
        backend: bool = True,
        free: bool = False,
        window: TxWindow | None = V16,
        tethered: bool = False,
        accepted: bool = True,
        max_amps: float = 1000.0,
        **variables: str,
    ) -> None:
        sites = tuple(
            OutletSite(n + 1, n // connectors + 1, n % connectors + 1, 32.0, tethered=tethered, bay=bays)
            for n in range(outlets)
        )
        base = Variables()
        for name, text in variables.items():
            base = base.with_(name, text)
        self.state: Station = initial(Site(sites, max_amps, backend, free, window=window), base)
        self.now = 1000.0
        self.wall = 1_800_000_000.0
        self.register = 5000.0
        self.records: list[Record] = []
        self.commands: list[Command] = []
        self.meter = True
        self.ids = map("tx-{}".format, itertools.count(1))
        for rank in range(1, outlets + 1):
            self.truth(rank)
        if backend:
            self.feed(LinkUp())
            if accepted:
                self.feed(BootAnswered(BootStatus.ACCEPTED, 300))
        self.drain()

    def moment(self) -> Moment:
        return Moment(self.now, self.wall, True, 1)

    def feed(self, event: Event) -> None:
        """One event, and the meter's answers to it."""
        done = step(self.state, event, self.moment(), lambda: next(self.ids))
        self.state = done.state
        self.records += done.records
        self.commands += done.commands
        for command in done.commands:
            if isinstance(command, ReadMeter) and self.meter:
                self.feed(Metered(command.outlet, self.reading(), asked=True))

    def reading(self) -> MeterReading:
        return MeterReading(self.now, self.register, 0.0)

    def truth(self, rank: int = 1, plug: int = 0, cable: bool = False, **rest: Any) -> None:
        values: dict[str, Any] = {
            "cable_amps": 32.0 if cable else 0.0,
            "ready": False,
            "powered": False,
            "locked": False,
            "offered": 0.0,
            "faults": (),
        } | rest
        self.feed(OutletTruth(rank, plug, cable, **values))

    def after(self, seconds: float) -> None:
        """Let time pass, waking the station whenever it asked for it."""
        end = self.now + seconds
        while (at := wake_at(self.state, self.moment())) is not None and at <= end:
            step_by = max(0.0, at - self.now)
            self.now += step_by
            self.wall += step_by
            before = self.state
            self.feed(Wake())
            assert step_by or self.state is not before, "a wake-up that changes nothing would spin"
        self.wall += end - self.now
        self.now = end

    def charge(self, rank: int = 1, energy: float = 1000.0) -> None:
        """The vehicle takes the offer: contactor closed, energy flows."""
        self.feed(Power(rank, True))
        self.register += energy
        self.feed(Metered(rank, self.reading()))

    def drain(self) -> tuple[list[Record], list[Command]]:
        seen = self.records, self.commands
        self.records, self.commands = [], []
        return seen

    def told(self) -> list[tuple[str, str]]:
        """(edge, cause) of the transaction records since the last drain."""
        return [(r.edge.value, r.cause.value) for r in self.records if isinstance(r, Transaction)]

    def transactions(self) -> list[Transaction]:
        return [r for r in self.records if isinstance(r, Transaction)]

    def sent(self, kind: type[T]) -> list[T]:
        return [c for c in self.commands if isinstance(c, kind)]

    def permit(self, rank: int = 1) -> float:
        permits = [c for c in self.sent(SetPermit) if c.outlet == rank]
        if permits:
            return permits[-1].amps
        live = self.state.outlet(rank).live
        return live.permit[1] if live.permit else 0.0

    def answers(self) -> list[Answer]:
        return self.sent(Answer)

    def status(self, rank: int = 1) -> Joint:
        return joint(self.state, rank)
