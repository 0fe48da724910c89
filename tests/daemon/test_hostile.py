"""Whatever a backend sends: the charger lives, its memory stays small, and nothing that was recorded is lost."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargerd.core.events import Power
from chargerd.ocpp import schemas
from chargerd.ocpp.schemas import Version
from tests.daemon.test_charger import Rig, scene
from tests.daemon.test_conversation import Backend, accepted

CORPUS = sorted((Path(__file__).parents[1] / "fixtures" / "frames").glob("*.frame"))
VERSIONS: tuple[Version, ...] = ("1.6", "2.0.1", "2.1")
OURS = "the id of the call that waits"

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
words = st.sampled_from(["status", "idTagInfo", "transactionId", "currentTime", "interval", "Accepted", "connectorId"])
json_like = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
ids = st.sampled_from([OURS, "-1", "", "x" * 36, "x" * 37]) | st.text(max_size=10) | st.integers() | st.none()


def frames(version: Version) -> st.SearchStrategy[Any]:
    """Noise, JSON that is no frame, calls of every action, and answers to what was and was not asked."""
    actions = st.sampled_from(sorted(schemas.actions(version))) | st.text(max_size=10)
    answer = st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(["Accepted", "Rejected", "Pending", "?"]),
            "interval": st.integers(-1, 10**9),
            "currentTime": st.sampled_from(
                ["2027-01-15T08:00:00Z", "2027-13-15T08:00:00Z", "0001-01-01T00:00:00Z", ""]
            ),
            "transactionId": st.integers(-5, 5),
            "idTagInfo": st.fixed_dictionaries(
                {"status": st.sampled_from(["Accepted", "Blocked", "?"])},
                optional={"expiryDate": st.sampled_from(["2027-01-15T08:00:00Z", "0001-01-01T00:00:00+23:59", "soon"])},
            ),
        },
    )
    return (
        st.binary(max_size=60)
        | st.text(max_size=60)
        | json_like
        | st.tuples(st.just(2), ids, actions, json_like | st.just({}))
        | st.tuples(st.just(3), ids | st.just(OURS), json_like | answer | st.just({}))
        | st.tuples(st.just(4), ids | st.just(OURS), json_like, json_like, json_like)
        | st.lists(json_like, max_size=6)
    )


def thrown(rig: Rig, frame: Any) -> str | bytes:
    if isinstance(frame, str | bytes):
        return frame
    if isinstance(frame, tuple):
        waiting = [call[1] for call in rig.wire if call[0] == 2][-1]
        frame = [waiting if part == OURS else part for part in frame]
    return json.dumps(frame)


async def survive(rig: Rig, noise: list[Any]) -> None:
    """A transaction runs, the noise comes, the vehicle leaves; then a kind backend hears the whole story."""
    backend = await accepted(rig)
    rig.plug()
    rig.tap()
    await asyncio.sleep(0.1)
    rig.feed(Power(1, True))
    for frame in noise:
        rig.conversation.frame(thrown(rig, frame))
        await asyncio.sleep(0.01)
    talk = rig.conversation
    assert len(talk._asks) <= 16 and len(talk._words) <= 40 and len(rig.conversation.outbox.rows()) < 40
    rig.feed(Power(1, False))
    rig.register += 500
    rig.truth(1, 0)
    await asyncio.sleep(3)
    backend.down()
    await asyncio.sleep(400)  # whatever pause was asked for before the next boot, up to a point
    backend.up()
    await asyncio.sleep(0.1)
    for _ in range(6):
        await backend.quiet()
        await asyncio.sleep(61)
    sessions = rig.disk.sessions()
    assert [(session.start_wh, session.end_wh) for session in sessions] == [(1000, 1500)]
    dead = [row.kind for row in rig.disk.dead()]
    told = len(rig.calls("StartTransaction")) + len(rig.calls("TransactionEvent"))
    assert told or dead
    if rig.charger.state.boot.status == "accepted":
        assert rig.conversation.outbox.rows() == []
        beats = len(rig.calls("Heartbeat"))
        asked = backend.call("TriggerMessage", {"requestedMessage": "Heartbeat"})
        await backend.quiet()
        assert rig.answers()[asked] == {"status": "Accepted"}
        assert len(rig.calls("Heartbeat")) == beats + 1
    assert rig.codes in ([], [64], [65])


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_noise(version: Version, data: st.DataObject) -> None:
    noise = data.draw(st.lists(frames(version), min_size=1, max_size=12))
    with tempfile.TemporaryDirectory() as path:
        scene(lambda rig: survive(rig, noise), Path(path), version=version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_corpus(version: Version, tmp_path: Path) -> None:
    assert len(CORPUS) > 20
    noise: list[Any] = [path.read_bytes() for path in CORPUS]
    scene(lambda rig: survive(rig, noise), tmp_path, version=version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flood(version: Version, tmp_path: Path) -> None:
    flood = [json.dumps([2, f"f{n}", "TriggerMessage", {"requestedMessage": "StatusNotification"}]) for n in range(600)]

    async def play(rig: Rig) -> None:
        backend: Backend = await accepted(rig)
        for frame in flood:
            rig.conversation.frame(frame)
        assert len(rig.answers()) <= 210
        assert len(rig.conversation._words) <= 2 * 210
        await asyncio.sleep(10)
        asked = backend.call("ClearCache", {})
        await asyncio.sleep(0.1)
        assert rig.answers()[asked] == {"status": "Accepted"}

    scene(play, tmp_path, version=version)
