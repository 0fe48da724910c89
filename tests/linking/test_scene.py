"""The scenes themselves: a link that is well is told so, and one that is not is found out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.linking.causes import CAUSES, Cause
from tests.linking.command import SHORT
from tests.linking.deeds import Scene, honest
from tests.linking.scene import PATIENCE, Outcome, Patience, Played
from tests.linking.surroundings import Surroundings


async def liar(connection: ServerConnection) -> bool:
    """Takes the next StartTransaction for the backend and tells it nothing; the rest of that link is its own."""
    with contextlib.suppress(ConnectionClosed):
        async for text in connection:
            _, id_, action, *_ = json.loads(text)
            answer = {"transactionId": 99, "idTagInfo": {"status": "Accepted"}} if action == "StartTransaction" else {}
            answer |= {"currentTime": "2027-01-15T08:00:00Z"} if action == "Heartbeat" else {}
            await connection.send(json.dumps([3, id_, answer]))
    return False


async def lie(scene: Scene) -> None:
    scene.front.greet = liar
    scene.front.cut()


async def own_up(scene: Scene) -> None:
    await honest(scene)
    scene.front.cut()


async def nothing(_: Scene) -> None: ...


REFUSED = replace(CAUSES["connection refused"], hold=0.5)
HURRY = Patience(word=2.0, back=3.0)


async def test_what_passes_is_clean_and_what_stays_or_lies_is_found(tmp_path: Path) -> None:
    around = Surroundings(apart=False)
    plays = [
        (REFUSED, "1.6", PATIENCE),
        (REFUSED, "2.0.1", PATIENCE),
        (replace(REFUSED, heal=nothing), "1.6", HURRY),
        (replace(REFUSED, said="what nobody says"), "1.6", HURRY),
        (Cause("liar", "tests", lie, heal=own_up, hold=3.0), "1.6", PATIENCE),
    ]

    async def play(number: int, cause: Cause, version: str, patience: Patience) -> Outcome:
        folder = tmp_path / str(number)
        folder.mkdir()
        return await Played(cause, version, folder, around, None, number, patience).play()

    await around.start()
    try:
        *clean, stays, unsaid, lied = await asyncio.gather(*(play(n, *one) for n, one in enumerate(plays)))
    finally:
        await around.stop()
    for outcome in clean:
        assert outcome.complaints == []
        assert "nobody listens at 127.0.0.1" in outcome.said
        assert outcome.noticed is not None and outcome.online is not None and outcome.rows > 0
    assert "no online again within 3 s" in stays.complaints[0]
    assert "no 'what nobody says' said within 2 s" in unsaid.complaints[0]
    assert lied.lost > 0 and lied.complaints


def test_what_runs_in_a_hurry_exists() -> None:
    assert set(SHORT) <= set(CAUSES)
