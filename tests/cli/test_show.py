"""The golden text of everything a person reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from chargerd.cli import show
from chargerd.core.faults import OWN
from chargerd.faults import FAULTS, UNKNOWN, explain
from tests.daemon import api

PLAIN = show.Ink(False)


@pytest.fixture(autouse=True)
def vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local times are an hour after UTC."""
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("offset", "shown"),
    [(0.0, "trusted"), (-0.04, "trusted"), (-2.5, "trusted, by the backend: -2.5 s to the system's")],
)
def test_the_clock_as_it_is_told(offset: float, shown: str) -> None:
    told = show.status(api.status(clock={"trusted": True, "offset": offset}, outlets=[]), PLAIN)
    assert f"Clock     {shown}\n" in told


def test_without_a_backend_nobody_but_ntp_tells_the_time() -> None:
    told = show.status(api.status(clock={"trusted": False, "offset": 0.0}, link=None, outlets=[]), PLAIN)
    assert "until NTP tells the time" in told


def test_a_backend_that_has_said_nothing_for_long_is_told() -> None:
    told = show.link(api.link(heard=400.0), api.NOW, PLAIN, "accepted")
    assert told.startswith("connected for 12 min, OCPP 1.6, boot accepted, last heard 6 min ago · wss://")


def test_status_when_all_is_well() -> None:
    picture = api.status(outlets=[api.charging(), api.outlet(2, evse=1, connector=2, locked=None)])
    assert show.status(picture, PLAIN) == (
        "CS-0001 · chargerd 0.1.0 · up 3 h 12 min · in service\n"
        "Backend   connected for 12 min, OCPP 1.6, boot accepted · wss://csms.example/ocpp\n"
        "Queue     empty\n"
        "Guard     connected for 3 h 12 min\n"
        "Clock     trusted\n"
        "\n"
        "Outlet 1  Charging for 9 min\n"
        "  vehicle asks for power, plug locked, contactor closed\n"
        "  lamp blue, steady\n"
        "  16.0 A offered: limited by the cable\n"
        "  1.234 kWh taken in 9 min, charging\n"
        "  card …C3D4, transaction 3f2a\n"
        "  meter: register 13.579 kWh, 10.89 kW, 15.9 15.9 16.0 A (read 12 s ago)\n"
        "\n"
        "Outlet 2 (EVSE 1, connector 2)  Available for 3 h 12 min\n"
        "  nothing plugged in, contactor open\n"
        "  lamp green, steady\n"
        "  meter: register 12.345 kWh, 0.00 kW, 0.0 0.0 0.0 A\n"
        "\n"
        "No faults."
    )


def test_a_plug_that_is_held_says_for_whom_and_how_to_get_it_out() -> None:
    told = show.status(api.status(outlets=[api.outlet(2, cable=True, locked=True, held="…C3D4")]), PLAIN)
    assert "plug held for card …C3D4 (or: chargerctl unlock 2)" in told


def test_while_the_board_is_silent_nobody_says_that_power_flows() -> None:
    told = show.status(api.status(outlets=[api.charging() | {"faults": ["DeviceFailure"]}]), PLAIN)
    assert "contactor told to open, not seen to" in told and "taken in 9 min, power unknown\n" in told
    alone = {"outlet": 1, "pilot": "", "closed": True, "offered": 0.0, "limit": "fault", "faults": ["DeviceFailure"]}
    told = show.guard_only([alone], "no such file", PLAIN)
    assert "Outlet 1  pilot unknown, contactor told to open, not seen to\n" in told


def test_a_parking_bay_is_told_of_where_there_is_a_detector() -> None:
    for seen, words in ((True, "the bay is taken"), (False, "the bay is free"), (None, "contactor open\n")):
        assert words in show.status(api.status(outlets=[api.outlet(1, bay=seen)]), PLAIN)


def test_a_reset_that_waits_is_told() -> None:
    station = api.status()["station"] | {"reset": "on-idle", "resets": [2]}
    head = show.status(api.status(station=station), PLAIN).splitlines()[0]
    assert head.endswith("in service · on-idle reset once nothing runs · EVSE 2 starts anew once nothing runs there")


def test_status_when_nothing_is_well() -> None:
    link = api.link(phase="waiting", attempt=4, last_error="DNS: no such host", next_try=35.2)
    picture = api.status(
        station={"id": "CS-0001", "operative": False, "boot": "none", "uptime": 42, "reset": "soft"},
        link=link,
        guard={"connected": False, "since": None},
        clock={"trusted": False, "offset": 0.0},
        queue={"waiting": 1, "dead": 2},
        store={"failed": "/var/lib/chargerd: disk full; free some"},
        devices={"meter 1": "no answer in time"},
        lobby={"token": "…C3D4", "wait": 55},
        outlets=[
            api.outlet(
                status="Faulted", plug=True, operative=False, limit="no-guard", lamp=None, reading=None, token="…C3D4"
            )
        ],
        faults=[
            {"outlet": 1, "fault": "GuardLost"},
            {"outlet": 2, "fault": "GuardLost"},
            {"outlet": 2, "fault": "ContactorWelded"},
            {"outlet": 0, "fault": "ConfigInvalid", "why": "chargerd.toml:3: csms.url: is missing"},
            {"outlet": 1, "fault": "Novelty"},
        ],
    )
    assert show.status(picture, PLAIN) == (
        "CS-0001 · chargerd 0.1.0 · up 42 s · out of service · soft reset once nothing runs\n"
        "Backend   lost for 12 min, attempt 4 · wss://csms.example/ocpp\n"
        "          next try in 35 s (now: chargerctl link up)\n"
        "          last error: DNS: no such host\n"
        "Queue     1 message waits, 2 dead letters: chargerctl queue\n"
        "Guard     NOT CONNECTED: systemctl status chargerd-guard\n"
        "Clock     NOT TRUSTED: stamps may be wrong until NTP or the backend tells the time\n"
        "Storage   FAILED: /var/lib/chargerd: disk full; free some\n"
        "Device    meter 1: no answer in time\n"
        "Card      …C3D4 accepted, waits for a cable; it counts for 55 s more\n"
        "\n"
        "Outlet 1  Faulted for 3 h 12 min\n"
        "  set out of service\n"
        "  seen last: vehicle plugged in, contactor open\n"
        "  nobody knows what is offered: the guard does not answer\n"
        "  card …C3D4 accepted\n"
        "  meter: no reading\n"
        "\n"
        "Faults\n"
        "  GuardLost, outlet 1, 2: no word from the guard, nothing new starts: systemctl status chargerd-guard; "
        "ends by itself once its cause is gone\n"
        "  ContactorWelded, outlet 2: the contactor is closed against its command: cut the supply, replace the "
        "contactor; then: chargerctl clear 2 ContactorWelded\n"
        "  ConfigInvalid, station: chargerd.toml:3: csms.url: is missing\n"
        "  Novelty, outlet 1: not known to this chargerctl; see the log: journalctl -u chargerd -u chargerd-guard -e"
    )


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (None, "none configured"),
        (
            api.link(phase="off", held_down=True, last_error="held down on request"),
            "held down on request for 12 min, attempt 1 · wss://csms.example/ocpp\n"
            "          let go: chargerctl link auto",
        ),
        (api.link(phase="connecting"), "connecting for 12 min, attempt 1 · wss://csms.example/ocpp"),
    ],
)
def test_the_link(link: Any, text: str) -> None:
    assert show.link(link, api.NOW, PLAIN) == text


def test_the_guard_alone() -> None:
    truth = {"outlet": 1, "pilot": "C", "closed": True, "offered": 16.0, "limit": "lease", "faults": [], "lease": 48.2}
    other = {"outlet": 2, "pilot": "", "closed": False, "offered": 0.0, "limit": "", "faults": ["PilotShort"]}
    other["warnings"] = ["SensorSilent"]
    assert show.guard_only([truth, other], "no control socket", PLAIN) == (
        "chargerd does not answer: no control socket\n"
        "The guard does, and says:\n"
        "Outlet 1  pilot C, contactor closed\n"
        "  16.0 A offered: limited by chargerd's permit, which ends in 48 s\n"
        "Outlet 2  pilot unknown, contactor open\n"
        "  0.0 A offered: no vehicle\n"
        "  warning SensorSilent: a temperature sensor does not answer, so that 16 A are the most: check its wires; "
        "ends by itself once its cause is gone\n"
        "Faults\n"
        "  PilotShort, outlet 2: CP is shorted to PE (state E): try without the vehicle, then check cable and socket; "
        "ends by itself once its cause is gone"
    )


def test_sessions_as_table_and_csv() -> None:
    odd = {**api.SESSION, "outlet": None, "token": "", "energy_wh": None, "trusted": False, "reason": "power-loss"}
    assert show.sessions([]) == "No sessions."
    assert show.sessions([api.SESSION, odd]) == (
        "started               duration outlet card             kWh  end\n"
        "2026-11-22 11:00     2 h 5 min      1 …C3D4         11.040  local\n"
        "2026-11-22 11:00?    2 h 5 min      - -                  ?  power-loss\n"
        "2 sessions, 11.040 kWh"
    )
    assert show.sessions_csv([api.SESSION, odd]) == (
        "tx,outlet,card,started,ended,clock_trusted,kwh,reason\r\n"
        "3f2a,1,…C3D4,2026-11-22T10:00:00.000Z,2026-11-22T12:05:00.000Z,yes,11.040,local\r\n"
        "3f2a,,,2026-11-22T10:00:00.000Z,2026-11-22T12:05:00.000Z,no,,power-loss\r\n"
    )


def test_the_queue() -> None:
    nothing = {"waiting": 0, "kinds": {}, "oldest": None, "dead": 0, "letters": []}
    full = {"waiting": 2, "kinds": {"start": 1, "stop": 1}, "oldest": api.ROW, "dead": 1, "letters": [api.ROW]}
    assert show.queue(nothing, PLAIN) == "Nothing waits."
    assert show.queue(full, PLAIN) == (
        "2 messages wait: 1 start, 1 stop\n"
        "oldest: start of 2026-11-22 19:30:00 in transaction 3f2a, 3 attempts\n"
        "1 dead letter, refused by the backend for good:\n"
        "  start of 2026-11-22 19:30:00 in transaction 3f2a, 3 attempts"
    )


NOTHING: dict[str, Any] = {"token": None, "register": None, "reason": None}


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"kind": "status", "outlet": 1, "was": "Available", "status": "Preparing"}, "outlet 1  Available → Preparing"),
        ({"kind": "card", "token": "…C3D4", "evse": 2}, "card …C3D4 tapped at EVSE 2"),
        ({"kind": "refused", "outlet": 1}, "outlet 1  card refused"),
        ({"kind": "plug", "outlet": 1, "what": "vehicle-in"}, "outlet 1  vehicle in"),
        (
            NOTHING
            | {
                "kind": "transaction",
                "outlet": 1,
                "edge": "started",
                "cause": "plugged",
                "tx": "a",
                "state": "charging",
            }
            | {"token": "…C3D4", "register": 5000.0},
            "outlet 1  transaction started: plugged, charging, card …C3D4, register 5.000 kWh",
        ),
        (
            NOTHING
            | {"kind": "transaction", "outlet": None, "edge": "ended", "cause": "x", "tx": "a", "state": "idle"}
            | {"reason": "timeout"},
            "transaction ended: timeout, idle",
        ),
        (
            {"kind": "session", "outlet": 1, "token": "…C3D4", "energy_wh": 11040.0, "reason": "local"},
            "outlet 1  session closed: 11.040 kWh, card …C3D4, local",
        ),
        ({"kind": "meter", "outlet": 1, "register": 5000.0, "power": None}, "outlet 1  register 5.000 kWh"),
        ({"kind": "fault", "outlet": 1, "fault": "PilotShort", "active": False}, "outlet 1  PilotShort is gone"),
        ({"kind": "security", "name": "ResetOrReboot", "info": ""}, "security event ResetOrReboot"),
        ({"kind": "link", "up": False}, "backend lost: chargerctl link"),
        ({"kind": "boot", "status": "rejected"}, "backend on our boot: rejected"),
        ({"kind": "storage", "works": True}, "storage works again"),
        ({"kind": "new", "x": 1}, 'new {"at": "2026-11-22T18:30:00.000Z", "kind": "new", "x": 1}'),
    ],
)
def test_events(event: dict[str, Any], text: str) -> None:
    assert show.event({"at": api.NOW, **event}, PLAIN) == f"19:30:00  {text}"


def test_a_fault_event_says_what_helps() -> None:
    event = {"at": api.NOW, "kind": "fault", "outlet": 2, "fault": "ContactorWelded", "active": True}
    assert show.event(event, PLAIN).endswith("chargerctl clear 2 ContactorWelded")


def test_lists() -> None:
    assert show.cards([]) == "No cards. Add one: chargerctl cards learn"
    assert show.cards([{"card": "…C3D4", "group": None}, {"card": "…E5F6", "group": "F"}]) == "…C3D4\n…E5F6  group F"
    assert show.known({"enabled": True, "entries": []}, "The cache") == "The cache is empty."
    assert show.known({"enabled": False, "entries": [api.ENTRY]}, "The cache") == "The cache is switched off."
    assert show.reservations([]) == "Nothing is reserved."
    row = {"name": "n", "key16": "Key", "place2": None, "value": "3", "from": "set", "unit": "s", "access": "ReadWrite"}
    secret = {
        **row,
        "value": None,
        "from": "default",
        "unit": "",
        "access": "WriteOnly",
        "key16": None,
        "place2": "A.B",
    }
    assert show.variables([row, {**secret, "place2": "A.B"}]) == "Key = 3 s  (set)\nA.B = (secret)"


def test_any_json_a_line_each() -> None:
    value = {"a": True, "b": None, "amps": [1.0, 2.0], "none": [], "outlets": [{"n": 1, "inner": {"x": "y"}}]}
    assert show.plain(value) == (
        "a: yes\nb: -\namps: 1.0 2.0\nnone: -\noutlets:\n  1:\n    n: 1\n    inner:\n      x: y"
    )
    assert show.plain("word") == "word"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert show.spell(seconds) == text


def test_phases_and_warnings_of_an_outlet() -> None:
    outlet = api.outlet(plug=True, offered=16.0, limit="shedding", phases=1, switching=True, warnings=["NoCurrent"])
    told = show.status(api.status(outlets=[outlet]), PLAIN)
    assert "  16.0 A offered on 1 phase: limited by load shedding\n" in told
    assert "  warning NoCurrent: closed for ten minutes, the vehicle asks, and no current flows: it may rest; " in told
    assert " phase" not in show.status(api.status(outlets=[api.outlet(plug=True)]), PLAIN)


def test_colour_is_for_a_screen_only() -> None:
    assert show.Ink(True).word("Faulted") == "\x1b[1;31mFaulted\x1b[0m"
    assert "\x1b" in show.status(api.status(), show.Ink(True))
    assert "\x1b" not in show.status(api.status(), PLAIN)


def test_every_fault_has_a_remedy() -> None:
    assert set(FAULTS) >= OWN
    assert explain("Novelty", 1) == UNKNOWN


def test_what_the_world_answers() -> None:
    assert show.moved({}) == show.moved({"cable": False}) == "done"
    assert show.moved({"cable": True}) == "done; the cable is still in the socket"
    assert show.moved({"new": True}) == "tapped"
    assert "withdraw" in show.moved({"new": False})
    assert show.moved({"unsafe": 0}).rstrip() == "unsafe: 0"
