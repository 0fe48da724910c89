"""Every request of the desk is one the version knows; answers come back in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from chargerd.lab import schema
from chargerd.lab.desk import Desk
from chargerd.lab.peer import StationView
from tests.lab.station import V16, V21, V201


class Recorder:
    def __init__(self, version: str) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] = {"status": "Accepted"}
        self.version = version
        self.desk = Desk(self.call, StationView("CP1", version))

    async def call(self, station: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        assert station == "CP1"
        assert schema.fault(self.version, action, payload) is None
        self.asked.append((action, payload))
        return self.answer


@pytest.mark.parametrize("version", [V16, V201, V21])
async def test_every_request_fits_its_schema(version: str) -> None:
    record = Recorder(version)
    desk = record.desk
    answers = [
        await desk.remote_start("CARD", 1),
        await desk.remote_start("CARD"),
        await desk.remote_stop(7 if version == V16 else "T1"),
        await desk.unlock(1),
        await desk.reset(),
        await desk.reset(hard=True),
        await desk.change_availability(False),
        await desk.change_availability(True, 1),
        await desk.trigger("Heartbeat"),
        await desk.trigger("StatusNotification", 1),
        await desk.clear_cache(),
    ]
    assert answers == ["Accepted"] * 11
    words = ("Soft", "Hard") if version == V16 else ("OnIdle", "Immediate")
    assert tuple(payload["type"] for action, payload in record.asked if action == "Reset") == words


async def test_remote_starts_of_201_are_numbered() -> None:
    record = Recorder(V201)
    await record.desk.remote_start("CARD", 1)
    await record.desk.remote_start("CARD", 1)
    first, second = (payload["remoteStartId"] for _, payload in record.asked)
    assert second == first + 1


async def test_configuration_of_16() -> None:
    record = Recorder(V16)
    assert await record.desk.set("HeartbeatInterval", "60") == "Accepted"
    record.answer = {
        "configurationKey": [{"key": "A", "readonly": False, "value": "1"}, {"key": "B", "readonly": True}],
        "unknownKey": ["C"],
    }
    assert await record.desk.get("A", "B", "C") == {"A": "1", "B": None, "C": None}
    record.answer = {}
    assert await record.desk.get() == {}
    assert record.asked[-1] == ("GetConfiguration", {})


async def test_variables_of_201() -> None:
    record = Recorder(V201)
    names = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
    record.answer = {"setVariableResult": [{"attributeStatus": "RebootRequired", **names}]}
    assert await record.desk.set("OCPPCommCtrlr.HeartbeatInterval", "60") == "RebootRequired"
    unknown = {"attributeStatus": "UnknownVariable", "component": {"name": "A"}, "variable": {"name": "B"}}
    record.answer = {"getVariableResult": [{"attributeStatus": "Accepted", "attributeValue": "60", **names}, unknown]}
    assert await record.desk.get("OCPPCommCtrlr.HeartbeatInterval", "A.B") == {
        "OCPPCommCtrlr.HeartbeatInterval": "60",
        "A.B": None,
    }
