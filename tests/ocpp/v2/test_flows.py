"""Core and dialect together: what the CSMS hears of whole sessions, judged by the operator's books."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.core.events import (
    AuthorizeAnswered,
    Bay,
    CableOut,
    Event,
    Fault,
    Power,
    RemoteStart,
    RemoteStop,
    ResetAsked,
    ResetKind,
    TokenSeen,
    TransactionAnswered,
    TriggerAsked,
    Triggered,
    VehicleOut,
)
from chargerd.core.state import Authorisation
from chargerd.core.token import Standing, Token, Verdict
from chargerd.lab.books import Books
from chargerd.ocpp.dialect import Fold, Json
from tests.core.desk import Desk
from tests.ocpp.v2.build import DIALECT, project, render, sound
from tests.ocpp.v16.build import CARD, stamp


class Line:
    """A station on the desk that speaks 2.0.1: each step's records are projected with the state after it."""

    def __init__(self, outlets: int = 1, **variables: Any) -> None:
        self.desk = _Told(self, outlets, **variables)
        self.fold: Fold = {}
        self.said: list[tuple[str, Json]] = []
        self.statuses: list[str] = []

    def after_step(self, desk: Desk) -> None:
        records, desk.records = desk.records, []
        self.fold, drafts = project(self.fold, desk.state, records)
        self.said += [(out.action, out.payload) for out in map(render, drafts)]
        slots = DIALECT.statuses(desk.state)
        for slot, facts in slots.items():
            sound(DIALECT.render_status(slot, facts, desk.moment(), desk.state, stamp))
        word = slots["1.1"]["connectorStatus"] if "1.1" in slots else ""
        if self.statuses[-1:] != [word]:
            self.statuses.append(word)

    @property
    def events(self) -> list[Json]:
        return [payload for action, payload in self.said if action == "TransactionEvent"]

    def heard(self) -> list[tuple[str, str, str, str]]:
        """(event, trigger, charging state, stopped reason) of all transaction events."""
        infos = [(event, event["transactionInfo"]) for event in self.events]
        return [
            (event["eventType"], event["triggerReason"], info["chargingState"], info.get("stoppedReason", ""))
            for event, info in infos
        ]

    def tap(self, token: Token = CARD, standing: Standing = Standing.ACCEPTED) -> None:
        self.desk.feed(TokenSeen(token))
        for ask in list(self.desk.state.asks):
            self.desk.feed(AuthorizeAnswered(ask, Verdict(standing)))

    def plug(self, rank: int = 1, number: int = 5) -> None:
        self.desk.truth(rank, plug=number, cable=True)

    def unplug(self, rank: int = 1, number: int = 5) -> None:
        self.desk.feed(VehicleOut(rank, number))
        self.desk.feed(CableOut(rank))


class _Told(Desk):
    def __init__(self, line: Line, outlets: int, **variables: Any) -> None:
        self.line: Line | None = None
        super().__init__(outlets, window=None, **variables)
        self.line = line

    def feed(self, event: Event) -> None:
        super().feed(event)
        if self.line is not None:
            self.line.after_step(self)


def judged(events: Iterable[Json], over: bool = True) -> Books:
    books = Books()
    for event in events:
        books.event("CP1", event)
    assert books.judge(over=over) == []
    return books


@pytest.mark.req("E02.FR.01", "E07.FR.02", "E06.FR.11")
def test_cable_first() -> None:
    line = Line()
    line.plug()
    line.tap()
    line.desk.charge(energy=2500)
    line.desk.after(60)
    line.tap()
    line.desk.feed(Power(1, False))
    line.unplug()
    assert line.heard() == [
        ("Started", "Authorized", "EVConnected", ""),
        ("Updated", "ChargingStateChanged", "Charging", ""),
        ("Updated", "MeterValuePeriodic", "Charging", ""),
        ("Ended", "StopAuthorized", "EVConnected", "Local"),
    ]
    (session,) = judged(line.events).sessions
    assert (session.token, session.place, session.energy_wh) == (CARD.id, (1, 1), 2500)
    assert line.statuses == ["Occupied", "Available"]


@pytest.mark.req("E03.FR.01", "E03.FR.05", "E01.FR.03")
def test_card_first_where_the_card_starts_the_transaction() -> None:
    line = Line(2, tx_start_points="Authorized")
    line.tap()
    assert line.statuses == ["Available"]
    line.plug(2)
    assert line.heard() == [
        ("Started", "Authorized", "Idle", ""),
        ("Updated", "CablePluggedIn", "EVConnected", ""),
    ]
    assert line.events[1]["evse"] == {"id": 2, "connectorId": 1}
    assert line.events[1]["meterValue"][0]["sampledValue"][0]["context"] == "Transaction.Begin"
    judged(line.events, over=False)


@pytest.mark.req("E03.FR.05", "F02.FR.07", "F02.FR.21")
def test_a_remote_start_that_nobody_comes_for() -> None:
    line = Line(2, tx_start_points="Authorized")
    line.desk.feed(RemoteStart(1, Token("APP", "Central"), None, 99))
    line.desk.after(61)
    assert line.heard() == [
        ("Started", "RemoteStart", "Idle", ""),
        ("Ended", "EVConnectTimeout", "Idle", "Timeout"),
    ]
    assert line.events[0]["transactionInfo"]["remoteStartId"] == 99


@pytest.mark.req("F03.FR.03", "F02.FR.21")
def test_remote_start_and_stop() -> None:
    line = Line()
    line.plug()
    line.desk.feed(RemoteStart(1, Token("APP", "Central"), 1, 99))
    line.desk.feed(RemoteStop(2, "tx-1"))
    assert line.heard() == [
        ("Started", "RemoteStart", "EVConnected", ""),
        ("Ended", "RemoteStop", "EVConnected", "Remote"),
    ]
    assert "idToken" not in line.events[1]


@pytest.mark.req("F04.FR.02", "F04.FR.03", "E06.FR.02")
def test_a_remote_stop_where_only_the_cable_ends_the_transaction() -> None:
    line = Line(tx_stop_points="EVConnected")
    line.plug()
    line.tap()
    line.desk.feed(RemoteStop(2, "tx-1"))
    line.unplug()
    assert [(kind, reason) for kind, _, _, reason in line.heard()][-1] == ("Ended", "Remote")
    assert ("Updated", "RemoteStop", "EVConnected", "") in line.heard()
    judged(line.events)


@pytest.mark.req("E06.FR.02", "E09.FR.01")
def test_unplugging_ends_it() -> None:
    line = Line()
    line.plug()
    line.tap()
    line.unplug()
    assert line.heard()[-1] == ("Ended", "EVCommunicationLost", "Idle", "EVDisconnected")


@pytest.mark.req("E05.FR.10")
def test_a_token_that_is_taken_back() -> None:
    line = Line()
    line.plug()
    line.tap()
    line.desk.feed(TransactionAnswered("tx-1", CARD, Verdict(Standing.INVALID)))
    assert line.heard()[-1] == ("Ended", "Deauthorized", "EVConnected", "DeAuthorized")


@pytest.mark.req("E06.FR.16")
def test_a_fault_ends_it_and_is_told() -> None:
    line = Line()
    line.plug()
    line.tap()
    line.desk.feed(Fault(1, "ResidualCurrent", True))
    assert line.heard()[-1] == ("Ended", "AbnormalCondition", "EVConnected", "GroundFault")
    (event,) = [payload["eventData"][0] for action, payload in line.said if action == "NotifyEvent"]
    assert (event["component"]["name"], event["variable"]["name"]) == ("RCD", "Tripped")
    assert line.statuses == ["Occupied", "Faulted"]


@pytest.mark.req("B12.FR.04")
def test_an_immediate_reset_ends_it() -> None:
    line = Line()
    line.plug()
    line.tap()
    line.desk.feed(ResetAsked(3, ResetKind.IMMEDIATE))
    assert line.heard()[-1] == ("Ended", "ResetCommand", "EVConnected", "ImmediateReset")


@pytest.mark.req("F06.FR.06", "F06.FR.07")
def test_triggered_messages() -> None:
    line = Line()
    line.plug()
    line.tap()
    line.desk.feed(TriggerAsked(4, Triggered.TRANSACTION))
    assert line.heard()[-1] == ("Updated", "Trigger", "EVConnected", "")
    assert line.events[-1]["meterValue"][0]["sampledValue"][0]["context"] == "Trigger"
    line.desk.feed(TriggerAsked(5, Triggered.METER_VALUES, 1))
    assert line.said[-1][0] == "MeterValues"


# ---------------------------------------------------------------- in any order

_POINTS = ("ParkingBayOccupancy", "EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer")
_WINDOWS = st.lists(st.sampled_from(_POINTS), min_size=1, unique=True).map(",".join)
_SWITCH = st.sampled_from(["true", "false"])
_DEEDS = st.lists(
    st.sampled_from(
        [
            "plug",
            "unplug",
            "park",
            "depart",
            "card",
            "other",
            "remote",
            "stop",
            "on",
            "off",
            "fault",
            "well",
            "wait",
            "bad",
        ]
    ),
    max_size=25,
)


@pytest.mark.req("E01.FR.07", "E01.FR.08", "E01.FR.14", "E01.FR.16", "E06.FR.11")
@settings(max_examples=150, deadline=None)
@given(start=_WINDOWS, stop=_WINDOWS, deeds=_DEEDS, ended_interval=st.sampled_from(["0", "60"]), stays=_SWITCH)
def test_the_books_are_right_whatever_happens(
    start: str, stop: str, deeds: list[str], ended_interval: str, stays: str
) -> None:
    values: dict[str, Any] = {
        "ended_interval": ended_interval,
        "aligned_interval": "900",
        "stop_on_ev_disconnect": stays,
    }
    line = Line(bays=True, tx_start_points=start, tx_stop_points=stop, **values)
    desk, number = line.desk, 5
    for deed in deeds:
        live = desk.state.outlet(1).live
        match deed:
            case "plug" if not live.plug:
                number += 1
                line.plug(number=number)
            case "unplug" if live.plug:
                desk.feed(Power(1, False))
                line.unplug(number=number)
            case "park" | "depart":
                desk.feed(Bay(1, deed == "park"))
            case "card":
                line.tap()
            case "other":
                line.tap(Token("DEADBEEF"))
            case "remote":
                desk.feed(RemoteStart(1, Token("APP", "Central"), 1, 7))
            case "stop":
                desk.feed(RemoteStop(2, _running(desk)))
            case "on" if live.permit is not None and live.permit[1] >= 6 and live.plug:
                desk.charge(energy=700)
            case "off":
                desk.feed(Power(1, False))
            case "fault":
                desk.feed(Fault(1, "DiodeFault", True))
            case "well":
                desk.feed(Fault(1, "DiodeFault", False))
            case "wait":
                desk.after(400)
            case "bad" if (auth := _auth(desk)) is not None:
                desk.feed(TransactionAnswered(_running(desk) or "", auth.token, Verdict(Standing.BLOCKED)))
    if desk.state.outlet(1).live.plug:
        desk.feed(Power(1, False))
        line.unplug(number=number)
    desk.feed(Bay(1, False))
    desk.feed(Fault(1, "DiodeFault", False))
    desk.after(400)  # everybody has left, so everything is over
    books = judged(line.events)
    assert desk.state.outlet(1).visit is None
    assert [session.gaps for session in books.sessions] == [[]] * len(books.sessions)
    json.dumps(line.fold)


def _running(desk: Desk) -> str | None:
    visit: Any = desk.state.outlet(1).visit
    return None if visit is None or visit.tx is None else visit.tx.uid


def _auth(desk: Desk) -> Authorisation | None:
    visit = desk.state.outlet(1).visit
    return None if visit is None else visit.auth
