"""Orders to the small CSMS, as a person types them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable

import pytest

from chargerd.lab.csms import Csms
from chargerd.lab.limits import profile
from chargerd.lab.orders import Counter, obey
from chargerd.lab.peer import Payload

NOW = 1_800_000_000.0
MAX = "ChargePointMaxProfile"


def test_a_profile_in_words() -> None:
    words = "1 tx 16/600:10.5/1200:0A id=3 level=2 phases=1 for=1800 least=6 kind=daily start=-60 from=0 until=90 tx=7"
    period = {"numberPhases": 1}
    assert profile(words.split(), NOW) == (
        1,
        {
            "chargingProfileId": 3,
            "stackLevel": 2,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Recurring",
            "recurrencyKind": "Daily",
            "transactionId": 7,
            "validFrom": "2027-01-15T08:00:00Z",
            "validTo": "2027-01-15T08:01:30Z",
            "chargingSchedule": {
                "chargingRateUnit": "A",
                "startSchedule": "2027-01-15T07:59:00Z",
                "duration": 1800,
                "minChargingRate": 6.0,
                "chargingSchedulePeriod": [
                    {"startPeriod": 0, "limit": 16.0, **period},
                    {"startPeriod": 600, "limit": 10.5, **period},
                    {"startPeriod": 1200, "limit": 0.0, **period},
                ],
            },
        },
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("1 tx", "a profile is PLACE PURPOSE LIMITS, as in: 1 tx 10A"),
        ("1 some 10A", "some: choose max, default, tx"),
        ("x tx 10A", "'x' is not a whole number"),
        ("1 tx tenA", "'ten' is not a number"),
        ("1 tx 10A kind=odd", "kind=odd: choose relative, absolute, daily, weekly"),
        ("1 tx 10A level", "level: known are id=, level="),
    ],
)
def test_what_is_wrong_with_a_profile(words: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        profile(words.split(), NOW)


class Station:
    """Answers every call of the CSMS, and remembers it."""

    def __init__(self, csms: Csms, name: str, answer: Payload) -> None:
        self.asked: list[tuple[str, Payload]] = []
        self._answer = answer
        self._peer = csms.attach(name, "ocpp1.6", self._hear)

    def _hear(self, text: str) -> None:
        _, message_id, action, payload = json.loads(text)
        self.asked.append((action, payload))
        asyncio.get_running_loop().call_soon(self._peer.receive, json.dumps([3, message_id, self._answer]))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("clear", ("ClearChargingProfile", {})),
        (
            "clear max place=0 level=2",
            (
                "ClearChargingProfile",
                {"chargingProfilePurpose": "ChargePointMaxProfile", "connectorId": 0, "stackLevel": 2},
            ),
        ),
        ("start CARD 1", ("RemoteStartTransaction", {"idTag": "CARD", "connectorId": 1})),
        ("stop 7", ("RemoteStopTransaction", {"transactionId": 7})),
        ("@A reset hard", ("Reset", {"type": "Hard"})),
        ("call ClearCache", ("ClearCache", {})),
        ("""call Reset '{"type": "Soft"}'""", ("Reset", {"type": "Soft"})),
        ("""@A call Reset {"type": "Soft"} """, ("Reset", {"type": "Soft"})),
    ],
)
async def test_an_order_is_asked_of_the_station(line: str, asked: tuple[str, Payload]) -> None:
    csms = Csms()
    station = Station(csms, "A", {"status": "Accepted"})
    assert "Accepted" in await obey(csms, line)
    assert station.asked == [asked]


async def test_a_profile_is_set() -> None:
    csms = Csms(clock=lambda: NOW)
    station = Station(csms, "A", {"status": "Rejected"})
    assert await obey(csms, "profile 0 max 10A") == "Rejected"
    action, payload = station.asked[0]
    assert (action, payload["connectorId"]) == ("SetChargingProfile", 0)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("", ""),
        ("profile 1 tx 10A", "no station is connected"),
        ("@B clear", "station B is not connected"),
        ('call "', "No closing quotation"),
    ],
)
async def test_orders_that_nobody_can_carry_out(line: str, answer: str) -> None:
    assert await obey(Csms(), line) == answer


async def test_which_station_is_meant_must_be_said_where_there_are_two() -> None:
    csms = Csms()
    Station(csms, "A", {"status": "Accepted"})
    two = Station(csms, "B", {"status": "Accepted"})
    assert await obey(csms, "clear") == "say which: @A, @B"
    assert await obey(csms, "@B clear") == "Accepted"
    assert len(two.asked) == 1
    assert await obey(csms, "@B dance") == "dance: no such order; try help"
    assert "profile PLACE PURPOSE" in await obey(csms, "help")


async def test_lines_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    csms = Csms()
    reading, writing = os.pipe()
    heard: asyncio.Queue[str] = asyncio.Queue()
    say: Callable[[str], None] = heard.put_nowait
    with os.fdopen(reading) as ours:
        monkeypatch.setattr(sys, "stdin", ours)
        counter = Counter(csms, say)
        assert counter.open()
        os.write(writing, b"clear\npro")
        assert await heard.get() == "no station is connected"
        os.write(writing, b"file 1\n")
        assert await heard.get() == "no station is connected"
        os.close(writing)
        await asyncio.sleep(0.01)
        counter.close()


async def test_without_anybody_to_type_there_is_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(os.open(os.devnull, os.O_RDONLY)) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert not Counter(Csms(), lambda text: None).open()
