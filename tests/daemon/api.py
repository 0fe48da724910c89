"""A daemon that only pretends: what the control socket and the command line are tested against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chargerd.daemon.control import BadParams, Json, Refused, Tell

NOW = "2026-11-22T18:30:00.000Z"


def outlet(rank: int = 1, **changes: Any) -> Json:
    """An outlet of `status` where nobody is."""
    return {
        "rank": rank,
        "evse": rank,
        "connector": 1,
        "status": "Available",
        "since": "2026-11-22T15:18:00.000Z",
        "plug": False,
        "cable": False,
        "bay": None,
        "ready": False,
        "powered": False,
        "locked": False,
        "offered": 0.0,
        "limit": "no-vehicle",
        "phases": 3,
        "switching": False,
        "warnings": [],
        "faults": [],
        "lamp": {"word": "ready", "looks": "green, steady"},
        "operative": True,
        "held": None,
        "token": None,
        "transaction": None,
        "reading": {"energy": 12345.0, "shown": None, "power": 0.0, "amps": [0.0, 0.0, 0.0], "age": 0.4},
        **changes,
    }


def charging(rank: int = 1) -> Json:
    return outlet(
        rank,
        status="Charging",
        since="2026-11-22T18:21:00.000Z",
        plug=True,
        cable=True,
        ready=True,
        powered=True,
        locked=True,
        offered=16.0,
        limit="cable",
        lamp={"word": "charging", "looks": "blue, steady"},
        token="…C3D4",
        transaction={
            "tx": "3f2a",
            "token": "…C3D4",
            "started": "2026-11-22T18:20:30.000Z",
            "energy_wh": 1234.5,
            "state": "charging",
        },
        reading={"energy": 13579.5, "shown": None, "power": 10890.0, "amps": [15.9, 15.9, 16.0], "age": 12.0},
    )


def vitals(**changes: Any) -> Json:
    """A guard that does well."""
    return {
        "up": 11520.0,
        "turns": 576000,
        "missed": 0,
        "pauses": 0,
        "jitter": [0.00002, 0.00013, 0.0009],
        "late": [0.00006, 0.00022, 0.00093],
        "ever": [0.00006, 0.00026, 0.00338],
        "exchange": [0.00021, 0.00042, 0.0012],
        "turn": [0.00042, 0.00083, 0.00187],
        "opened": 0,
        "command": None,
        "mirror": None,
        "cpu": 0.0183,
        "memory": 19818086,
        "fifo": True,
        "locked": True,
        "modules": 212,
        "grown": 0,
        **changes,
    }


def status(**changes: Any) -> Json:
    """A picture in which all is well."""
    return {
        "version": "0.1.0",
        "now": NOW,
        "station": {
            "id": "CS-0001",
            "operative": True,
            "boot": "accepted",
            "uptime": 11520,
            "reset": None,
            "resets": [],
        },
        "link": link(),
        "guard": {"connected": True, "since": "2026-11-22T15:18:00.000Z", "vitals": None},
        "clock": {"trusted": True, "offset": 0.0},
        "queue": {"waiting": 0, "dead": 0},
        "store": {"failed": None},
        "devices": {},
        "lobby": None,
        "outlets": [outlet()],
        "faults": [],
        **changes,
    }


def link(**changes: Any) -> Json:
    return {
        "phase": "open",
        "since": "2026-11-22T18:18:00.000Z",
        "attempt": 1,
        "cause": "",
        "last_error": "",
        "heard": 2.0,
        "next_try": None,
        "held_down": False,
        "url": "wss://csms.example/ocpp",
        "version": "1.6",
        **changes,
    }


SESSION = {
    "tx": "3f2a",
    "outlet": 1,
    "token": "…C3D4",
    "started": "2026-11-22T10:00:00.000Z",
    "ended": "2026-11-22T12:05:00.000Z",
    "trusted": True,
    "start_wh": 1000.0,
    "end_wh": 12040.0,
    "energy_wh": 11040.0,
    "reason": "local",
}
ROW = {"kind": "start", "at": NOW, "tx": "3f2a", "seq": None, "attempts": 3}


ENTRY = {"card": "…C3D4", "status": "Blocked", "group": None, "expires": None}

WHY = {
    "outlet": 1,
    "offered": 10.0,
    "permitted": 10.0,
    "phases": 3,
    "uses": [1, 2, 3],
    "decides": "profile",
    "needs": 6.0,
    "share": 10.0,
    "sharing": [2],
    "waits": False,
    "limits": [
        {
            "source": "profile",
            "amps": 10.0,
            "profile": {"id": 8, "level": 2, "purpose": "tx"},
            "age": 130,
            "changes": 60.5,
            "then": 16.0,
        },
        {"source": "cable", "amps": 20.0, "profile": None, "age": None, "changes": None, "then": None},
        {"source": "station", "amps": 40.0, "profile": None, "age": None, "changes": None, "then": None},
    ],
    "celsius": 41.2,
    "guard": "lease",
    "sated": False,
    "switches": 0,
}


class FakeApi:
    """Remembers what was done; `picture` is what `status` says."""

    version = "0.1.0"

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.watchers: list[Tell] = []
        self.picture: Any = status()

    async def status(self) -> Json:
        return self.picture

    async def clear_profiles(self) -> Json:
        self.done.append(("clear profiles",))
        return {"cleared": 2}

    async def why(self) -> Json:
        return [WHY, WHY | {"outlet": 2, "limits": []}]

    def watch(self, tell: Tell) -> Callable[[], None]:
        self.watchers.append(tell)
        return lambda: self.watchers.remove(tell)

    async def sessions(self, limit: int, since: float) -> Json:
        self.done.append(("sessions", limit, since))
        return [SESSION]

    async def queue(self) -> Json:
        return {"waiting": 2, "kinds": {"start": 1, "stop": 1}, "oldest": ROW, "dead": 1, "letters": [ROW]}

    async def variables(self, name: str | None) -> Json:
        self.done.append(("variables", name))
        return [
            {
                "name": "heartbeat_interval",
                "key16": "HeartbeatInterval",
                "place2": "OCPPCommCtrlr.HeartbeatInterval",
                "value": "300",
                "from": "set",
                "unit": "s",
                "access": "ReadWrite",
            }
        ]

    async def config(self) -> Json:
        return {"station": {"id": "CS-0001"}, "outlets": [{"evse": 1, "tethered": False}]}

    async def link(self) -> Json:
        return link()

    async def force_link(self, up: bool | None) -> None:
        self.done.append(("link", up))

    async def cards(self) -> Json:
        return [{"card": "…C3D4", "group": None}, {"card": "…E5F6", "group": "FLEET"}]

    async def add_card(self, card: str, group: str | None) -> None:
        self.done.append(("add", card, group))

    async def remove_card(self, card: str) -> None:
        self.done.append(("remove", card))

    async def learn_card(self, learned: Tell) -> Json:
        learned({"card": "…C3D4", "known": False, "why": ""})
        return {"seconds": 30.0}

    async def local_list(self) -> Json:
        return {"version": 7, "enabled": True, "entries": [ENTRY, ENTRY | {"group": "F", "expires": NOW}]}

    async def cache(self) -> Json:
        return {"enabled": True, "entries": [ENTRY]}

    async def put_in_cache(self, card: str, group: str | None, status: str) -> None:
        self.done.append(("put", card, group, status))

    async def clear_cache(self) -> None:
        self.done.append(("clear cache",))

    async def reservations(self) -> Json:
        return [{"number": 17, "card": "…C3D4", "outlet": 0, "group": "F", "until": NOW}]

    async def tap(self, token: str, evse: int | None) -> None:
        self.done.append(("tap", token, evse))

    async def start(self, outlet: int, token: str | None) -> None:
        if outlet > 2:
            raise BadParams("outlet: must be a whole number 1..2")
        self.done.append(("start", outlet, token))

    async def stop(self, outlet: int) -> None:
        raise Refused(f"no transaction runs at outlet {outlet}")

    async def unlock(self, outlet: int) -> None:
        self.done.append(("unlock", outlet))

    async def clear_fault(self, outlet: int, fault: str, who: str) -> None:
        self.done.append(("clear", outlet, fault, who))

    async def reset(self, kind: str) -> Json:
        return {"outcome": "accepted"}

    async def shutdown(self) -> None:
        raise ZeroDivisionError("a fault of ours")

    async def sim(self, method: str, params: dict[str, Json]) -> Json:
        self.done.append((method, params))
        return {"volts": float("nan")} if method == "sim.supply" else {}
