from __future__ import annotations

from dataclasses import replace

import pytest

from chargerd.core.records import Cause
from chargerd.core.state import Authorisation, Live, Station, Tx, Visit
from tests.ocpp.v2.build import DIALECT, sound, station
from tests.ocpp.v16.build import CARD, moment, stamp


def word(here: Station, slot: str = "1.1") -> str:
    said = DIALECT.statuses(here)[slot]["connectorStatus"]
    assert isinstance(said, str)
    return said


def visited(visit: Visit, live: Live | None = None, operative: bool = True) -> Station:
    here = station()
    first = replace(here.outlets[0], visit=visit, live=live or Live(known=True), operative=operative)
    return replace(here, outlets=(first, *here.outlets[1:]))


RUNNING = Visit(moment(), auth=Authorisation(CARD, moment()), tx=Tx("tx-1", moment(), Cause.AUTHORIZED, told=True))


@pytest.mark.req("G01.FR.01")
def test_each_connector_has_a_slot() -> None:
    assert DIALECT.statuses(station()) == {
        "1.1": {"evseId": 1, "connectorId": 1, "connectorStatus": "Available"},
        "2.1": {"evseId": 2, "connectorId": 1, "connectorStatus": "Available"},
        "2.2": {"evseId": 2, "connectorId": 2, "connectorStatus": "Available"},
    }
    assert [DIALECT.slot(station(), rank) for rank in (1, 2, 3)] == ["1.1", "2.1", "2.2"]


def test_an_outlet_that_nobody_has_spoken_of_has_none() -> None:
    assert list(DIALECT.statuses(station(Live(), Live(faults=frozenset({"GuardLost"}))))) == ["2.1", "2.2"]


@pytest.mark.req("E02.FR.05", "G01.FR.03", "G01.FR.04")
@pytest.mark.parametrize(
    ("live", "said"),
    [
        (Live(known=True), "Available"),
        (Live(known=True, cable=True), "Occupied"),
        (Live(known=True, plug=4), "Occupied"),
        (Live(known=True, faults=frozenset({"DiodeFault"})), "Faulted"),
        (Live(known=True, cable=True, faults=frozenset({"DiodeFault"})), "Faulted"),
    ],
)
def test_what_is_plugged_decides(live: Live, said: str) -> None:
    assert word(station(live)) == said


@pytest.mark.req("G01.FR.03")
def test_a_card_alone_does_not_occupy_a_connector_but_a_transaction_does() -> None:
    assert word(visited(replace(RUNNING, tx=None))) == "Available"
    assert word(visited(RUNNING)) == "Occupied"


@pytest.mark.req("G03.FR.05", "G04.FR.07", "G01.FR.05")
def test_out_of_service_shows_when_the_transaction_is_over() -> None:
    assert word(visited(RUNNING, operative=False)) == "Occupied"
    assert word(visited(replace(RUNNING, tx=None), Live(known=True, cable=True), operative=False)) == "Unavailable"
    assert word(replace(station(), operative=False), "2.2") == "Unavailable"


@pytest.mark.req("G01.FR.03")
def test_a_status_notification() -> None:
    here = station(Live(known=True, cable=True))
    said = sound(DIALECT.render_status("1.1", DIALECT.statuses(here)["1.1"], moment(7), here, stamp))
    assert said.action == "StatusNotification"
    assert said.payload == {
        "evseId": 1,
        "connectorId": 1,
        "connectorStatus": "Occupied",
        "timestamp": "2027-01-15T08:00:07Z",
    }
