"""Whatever happens, in whatever order: no status follows another that it may not follow (1.6 §4.9), nor does a
charging state of 2.x."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from chargerd.core import events as ev
from chargerd.core.records import ChargingState, Edge, Record, Transaction
from chargerd.core.status import Joint, blocking, joint
from chargerd.ocpp.v2 import status as v2
from tests.core.desk import Desk
from tests.core.test_flow import ANN, plug_in
from tests.core.test_machine import FreeWindowMachine, StationMachine

# The table of 1.6 §4.9, in its letters: from each status the ones that may follow.
LETTERS = dict(
    zip(
        "ABCDEFGHI",
        (
            Joint.AVAILABLE,
            Joint.PREPARING,
            Joint.CHARGING,
            Joint.SUSPENDED_EV,
            Joint.SUSPENDED_EVSE,
            Joint.FINISHING,
            Joint.RESERVED,
            Joint.UNAVAILABLE,
            Joint.FAULTED,
        ),
        strict=True,
    )
)
TABLE = "A:BCDEGHI B:ACDEFI C:ADEFHI D:ACEFHI E:ACDFHI F:ABHI G:ABHI H:ABCDEI I:ABCDEFGH"
MAY = {(LETTERS[line[0]], LETTERS[after]) for line in TABLE.split() for after in line.partition(":")[2]}
# An intended usage ends (B1) where the outlet is to go out of service (A8): at once, and only the last word is said.
MAY.add((Joint.PREPARING, Joint.UNAVAILABLE))


_EFFORT = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class StatusMachine(StationMachine):
    def feed(self, event: ev.Event) -> None:
        before = self._words() if hasattr(self, "state") else {}
        self.ended: set[int | None] = set()
        super().feed(event)
        for rank, word in self._words().items():
            was = before.get(rank, word)
            # The last register came late, and the next vehicle is there already: Finishing took no time.
            hurried = rank in self.ended and (was, Joint.FINISHING) in MAY and (Joint.FINISHING, word) in MAY
            assert was is word or (was, word) in MAY or hurried, f"{was} → {word} by {event}"

    def heard(self, records: tuple[Record, ...]) -> None:
        self.ended |= {r.outlet for r in records if isinstance(r, Transaction) and r.edge is Edge.ENDED}

    def _words(self) -> dict[int, Joint]:
        """Of the outlets that have a status to tell."""
        return {
            o.site.rank: joint(self.state, o.site.rank) for o in self.state.outlets if o.live.known or o.live.faults
        }


class ChargingStateMachine(FreeWindowMachine):
    """2.x has no table: each word must fit what is there (G01, E02.FR.13), and no change of it goes untold."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, ChargingState] = {}

    def heard(self, records: tuple[Record, ...]) -> None:
        for record in records:
            if isinstance(record, Transaction):
                self.told[record.tx] = record.state

    @invariant()
    def the_charging_state_fits(self) -> None:
        for outlet in self.state.outlets:
            visit, live = outlet.visit, outlet.live
            if visit is None or visit.tx is None or not visit.tx.told or not live.known or visit.tx.reading_by:
                continue
            word = self.told[visit.tx.uid]
            assert word is visit.tx.state, "a charging state that nobody was told"
            if visit.tx.stopping is not None:
                continue  # between the end of power and the last register nothing new is said
            settling = live.settling_until is not None
            assert settling or (word is ChargingState.CHARGING) == (live.powered and not live.resting)
            assert live.plug or live.powered or settling or word is ChargingState.IDLE
            suspended = word in (ChargingState.SUSPENDED_EV, ChargingState.SUSPENDED_EVSE)
            assert not suspended or visit.auth is not None

    @invariant()
    def the_connector_status_fits(self) -> None:
        for outlet in self.state.outlets:
            slot = v2.statuses(self.state).get(v2.slot(self.state, outlet.site.rank))
            assert (slot is not None) == bool(outlet.live.known or outlet.live.faults)
            if slot is None:
                continue
            word, visit, live = slot["connectorStatus"], outlet.visit, outlet.live
            runs = visit is not None and visit.tx is not None
            assert (word == "Faulted") == bool(blocking(self.state, outlet))
            assert not (runs and word in ("Available", "Unavailable"))
            if word in ("Available", "Occupied"):
                assert (word == "Occupied") == bool(live.cable or live.plug or runs)


TestStatus16 = pytest.mark.req("1.6 §4.9")(StatusMachine.TestCase)
TestStatus16.settings = _EFFORT
TestChargingState = pytest.mark.req("G01.FR.01", "G01.FR.03", "E02.FR.13")(ChargingStateMachine.TestCase)
TestChargingState.settings = _EFFORT


def unmetered(max_amps: float) -> Desk:
    desk = Desk(backend=False, max_amps=max_amps)
    sites = [replace(outlet, site=replace(outlet.site, metered=False)) for outlet in desk.state.outlets]
    desk.state = replace(desk.state, outlets=tuple(sites))
    plug_in(desk)
    return desk


@pytest.mark.req("1.6 §4.9")
def test_who_begins_again_prepares_before_power_is_refused() -> None:
    desk = unmetered(max_amps=5.0)
    words = [desk.status()]
    for event in (ev.RemoteStart(1, ANN, 1, local=True), ev.RemoteStop(2, "tx-1", local=True)):
        desk.feed(event)
        desk.after(1.0)
        words.append(desk.status())
    desk.feed(ev.RemoteStart(3, ANN, 1, local=True))
    words.append(desk.status())
    desk.after(1.0)
    words.append(desk.status())
    assert words[1:] == [Joint.SUSPENDED_EVSE, Joint.FINISHING, Joint.PREPARING, Joint.SUSPENDED_EVSE]


@pytest.mark.req("1.6 §4.8", "1.6 §4.9")
def test_nothing_begins_while_the_power_of_the_last_one_is_on() -> None:
    desk = unmetered(max_amps=32.0)
    desk.feed(ev.RemoteStart(1, ANN, 1, local=True))
    desk.feed(ev.Power(1, True))
    desk.feed(ev.RemoteStop(2, "tx-1", local=True))
    desk.after(20.0)  # nobody could say that the contactor has opened
    assert desk.status() is Joint.FINISHING
    desk.feed(ev.RemoteStart(3, ANN, 1, local=True))
    assert [edge for edge, _ in desk.told()].count("started") == 1
    desk.feed(ev.Power(1, False))
    assert [edge for edge, _ in desk.told()].count("started") == 2
