"""Every combination of TxStartPoint and TxStopPoint, in every order in which a driver may do what a session is made of.

The judge here knows nothing of the code: it holds the five points as plain facts of what was done, and reads off where
the tables of E01 and E06 let the transaction begin and end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest

from chargerd.core.events import Bay, CableOut, Power, VehicleOut
from chargerd.ocpp.dialect import Json
from tests.ocpp.v2.test_flows import Line, judged
from tests.ocpp.v16.build import CARD

POINTS = ("ParkingBayOccupancy", "EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer")
WINDOWS = [",".join(chosen) for n in range(1, 6) for chosen in itertools.combinations(POINTS, n)]
ROADS = (
    # the usual two
    ("park", "plug", "card", "power", "card", "unplug", "depart"),
    ("park", "card", "plug", "power", "card", "unplug", "depart"),
    # the bay is seen late and left early
    ("card", "plug", "power", "park", "depart", "card", "unplug"),
    # nobody says good-bye
    ("plug", "park", "card", "power", "unplug", "depart"),
    # the vehicle lets go by itself, and later the card
    ("park", "plug", "card", "power", "pause", "card", "unplug", "depart"),
    # a card and no vehicle, a vehicle and no card, nothing but a parked car
    ("park", "card", "card", "depart"),
    ("park", "plug", "unplug", "depart"),
    ("park", "depart"),
)
TRIGGERS = {"park": "EVDetected", "plug": "CablePluggedIn", "card": "Authorized", "power": "ChargingStateChanged"}
ENDINGS = {  # deed → trigger and reason of an Ended
    "card": ("StopAuthorized", "Local"),
    "unplug": ("EVCommunicationLost", "EVDisconnected"),
    "depart": ("EVDeparted", "EVDisconnected"),
    "pause": ("ChargingStateChanged", "StoppedByEV"),
}


def facts(deeds: Sequence[str]) -> frozenset[str]:
    """The points that hold after these deeds, all of one driver."""
    plugged, parked, authorised, powered = False, False, False, False
    for deed in deeds:
        match deed:
            case "park" | "depart":
                parked = deed == "park"
            case "plug" | "unplug":
                plugged = deed == "plug"
                authorised &= plugged
                powered = False
            case "card":
                authorised = not authorised
                powered &= authorised
            case "power" | "pause":
                powered = deed == "power"
    held = {
        "ParkingBayOccupancy": parked or plugged,
        "EVConnected": plugged,
        "Authorized": authorised,
        "PowerPathClosed": plugged and authorised,
        "EnergyTransfer": powered,
    }
    return frozenset(name for name, holds in held.items() if holds)


def beginning(road: Sequence[str], start: frozenset[str]) -> int | None:
    """The deed that starts the transaction."""
    return next((n for n in range(len(road)) if (facts(road[: n + 1]) - facts(road[:n])) & start), None)


def ending(road: Sequence[str], begun: int, stop: frozenset[str]) -> int:
    """The deed that ends it: a stop point falls, energy can flow no more, or nobody is left whose it could be."""
    for n in range(begun + 1, len(road)):
        before, after = facts(road[:n]), facts(road[: n + 1])
        without_energy = "EnergyTransfer" in stop and "EnergyTransfer" not in after and road[n] in ("card", "unplug")
        ceased = "Authorized" in before - after or road[n] == "unplug"
        if (before - after) & stop or (without_energy and ceased) or not after:
            return n
    raise AssertionError("it never ends")


def play(road: Sequence[str], start: str, stop: str) -> Iterator[tuple[str, list[Json]]]:
    """The deeds, each with the transaction events that it brought."""
    line = Line(bays=True, tx_start_points=start, tx_stop_points=stop, sample_interval="0")
    desk = line.desk
    desk.feed(Bay(1, False))
    for deed in road:
        told = len(line.events)
        match deed:
            case "park" | "depart":
                desk.feed(Bay(1, deed == "park"))
            case "plug":
                line.plug()
            case "unplug":
                desk.feed(Power(1, False))
                desk.feed(VehicleOut(1, 5))
                desk.feed(CableOut(1))
            case "card":
                line.tap()
                live = desk.state.outlet(1).live
                if live.powered and live.permit is not None and live.permit[1] == 0:
                    desk.feed(Power(1, False))  # the guard obeys
            case "power" if _permitted(line):
                desk.charge(energy=700)
            case "pause":
                desk.feed(Power(1, False))
        desk.after(1.0)
        yield deed, line.events[told:]
    judged(line.events)


def _permitted(line: Line) -> bool:
    permit = line.desk.state.outlet(1).live.permit
    return permit is not None and permit[1] >= 6


@pytest.mark.req(
    "E01.FR.01", "E01.FR.02", "E01.FR.03", "E01.FR.05", "E01.FR.06", "E01.FR.07", "E01.FR.15", "E01.FR.16",
    "E06.FR.01", "E06.FR.02", "E06.FR.03", "E06.FR.06", "E06.FR.07", "E06.FR.08", "E06.FR.15", "E03.FR.01", "E02.FR.18",
)  # fmt: skip
@pytest.mark.parametrize("road", ROADS, ids=" ".join)
def test_where_a_transaction_begins_and_ends(road: tuple[str, ...]) -> None:
    for start, stop in itertools.product(WINDOWS, WINDOWS):
        starts, stops = frozenset(start.split(",")), frozenset(stop.split(","))
        begun = beginning(road, starts)
        told = list(play(road, start, stop))
        heard = [(deed, event) for deed, events in told for event in events]
        name = f"{start} → {stop}"
        if begun is None:
            assert heard == [], name
            continue
        ended = ending(road, begun, stops)
        firsts = [n for n, (_, events) in enumerate(told) for e in events if e["eventType"] == "Started"]
        lasts = [n for n, (_, events) in enumerate(told) for e in events if e["eventType"] == "Ended"]
        assert (firsts[0], lasts[0]) == (begun, ended), name
        assert len(firsts) == len(lasts), name
        session = [event for n, (_, events) in enumerate(told) if n <= ended for event in events]
        assert [event["seqNo"] for event in session] == list(range(len(session))), name
        assert session[0]["triggerReason"] == TRIGGERS[road[begun]], name
        _check_end(road, ended, stops, session, name)
        _check_between(road, begun, ended, session, name)


def _check_end(road: Sequence[str], ended: int, stops: frozenset[str], session: list[Json], name: str) -> None:
    trigger, reason = ENDINGS[road[ended]]
    last = session[-1]
    if road[ended] == "card" and last["triggerReason"] == "ChargingStateChanged":  # E07: it is told, then energy ends
        assert not stops & {"Authorized", "PowerPathClosed"} and "EnergyTransfer" in stops, name
        assert session[-2]["triggerReason"] == "StopAuthorized", name
        trigger = "ChargingStateChanged"
    by_card = road[:ended].count("card") == 2  # the authorisation had ended before
    assert last["triggerReason"] == trigger, name
    assert last["transactionInfo"]["stoppedReason"] == ("Local" if by_card else reason), name


def _check_between(road: Sequence[str], begun: int, ended: int, session: list[Json], name: str) -> None:
    """Whatever happened to a running transaction was told (E02.FR.17), and where, who and what state with it."""
    triggers = [event["triggerReason"] for event in session]
    for n in range(begun, ended):
        if road[n] in TRIGGERS and road[n] not in road[:n]:
            redundant = road[n] == "park" and "plug" in road[:n]  # who is plugged in is known to be there
            assert redundant or TRIGGERS[road[n]] in triggers, name
    if "plug" in road[: ended + 1]:
        placed = next(n for n, event in enumerate(session) if "evse" in event)
        assert all(e["transactionInfo"]["chargingState"] == "Idle" for e in session[:placed]), name
    cards = sum(event.get("idToken", {}).get("idToken") == CARD.id for event in session)
    before = 1 if "Authorized" in facts(road[: begun + 1]) else 0  # the one that began told with the start
    assert cards == before + road[begun + 1 : ended + 1].count("card"), name
    states = [event["transactionInfo"]["chargingState"] for event in session]
    assert ("Charging" in states) == ("power" in road[: ended + 1]), name
    assert states[-1] == ("EVConnected" if "EVConnected" in facts(road[: ended + 1]) else "Idle"), name


def test_the_judge_knows_the_plain_cases() -> None:
    road = ROADS[0]
    assert road[beginning(road, frozenset({"PowerPathClosed"})) or 0] == "card"
    assert ending(road, 2, frozenset({"PowerPathClosed"})) == 4
    assert ending(road, 0, frozenset({"ParkingBayOccupancy"})) == 6
    assert ending(road, 0, frozenset({"EnergyTransfer"})) == 4
