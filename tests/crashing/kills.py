"""Real kills: world, guard and daemon as processes, a real websocket, SIGKILL at any moment, the world lives on.

A round is one story with up to two kills; who dies, and when, follows from seed and number. The processes are not as
predictable as that: `--only` repeats the circumstances, not the microsecond.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargerd.lab.child import Child
from chargerd.lab.csms import Csms
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION, configuration
from chargerd.lab.stage import RESTARTS
from hal.api import DeviceError
from hal.sim.client import Far
from tests.crashing.judge import gather, judge
from tests.crashing.stories import OUTLETS, SETTINGS, STORIES, TOKENS, Broken, Scene

VICTIMS = ("daemon", "guard", "both")
KILLS_PER_ROUND = 2
FIRST, NEXT = (0.0, 9.0), (0.1, 5.0)  # s after the story has begun, and after the first
MOST = 240.0  # s for a round
LINK = '[ocpp2]\n"OCPPCommCtrlr.RetryBackOffWaitMinimum" = 1\n"OCPPCommCtrlr.RetryBackOffRandomRange" = 0\n'
LINK += '"OCPPCommCtrlr.RetryBackOffRepeatTimes" = 0\n'


@dataclass(frozen=True, slots=True)
class Round:
    """`kills`: seconds after the last one (the first: after the story began), and who dies."""

    number: int
    version: str
    story: str
    kills: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        kills = ", ".join(f"{victim} after {wait:.2f} s" for wait, victim in self.kills)
        return f"round {self.number}: OCPP {self.version}, {self.story}, {kills}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`where`: phase and victim of each kill; `kept`: the folder with logs and database, where something is wrong."""

    round: Round
    where: tuple[tuple[str, str], ...]
    complaints: tuple[str, ...]
    kept: Path | None


def plan(kills: int, versions: Sequence[str], seed: int) -> list[Round]:
    """Rounds with `kills` kills together: stories, versions and victims in turn, times by chance."""
    chance = random.Random(seed)
    pairs = [(version, story) for story in STORIES if not STORIES[story].simulated for version in versions]
    rounds: list[Round] = []
    left, turn = kills, 0
    while left > 0:
        version, story = pairs[len(rounds) % len(pairs)]
        deaths = []
        for n in range(min(KILLS_PER_ROUND, left)):
            deaths.append((chance.uniform(*(NEXT if n else FIRST)), VICTIMS[turn % len(VICTIMS)]))
            turn += 1
        left -= len(deaths)
        rounds.append(Round(len(rounds) + 1, version, story, tuple(deaths)))
    return rounds


async def perform(plan: Round) -> Outcome:
    """Tell the story, kill, judge."""
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    campaign = _Campaign(folder, plan)
    complaints: list[str] = []
    try:
        async with asyncio.timeout(MOST):
            complaints += await campaign.play()
    except (Broken, DeviceError, TimeoutError) as e:
        complaints.append(f"{type(e).__name__}: {e}")
    finally:
        await campaign.end()
    complaints += campaign.tracebacks()
    if not complaints:
        shutil.rmtree(folder)
    kept = folder if complaints else None
    return Outcome(plan, tuple(campaign.where), tuple(complaints), kept)


def _resets(code: int) -> bool:
    """As systemd does it."""
    return code in RESTARTS


class _Campaign:
    def __init__(self, folder: Path, plan: Round) -> None:
        self._folder, self._plan = folder, plan
        self._socket, self._config = folder / "world.sock", folder / "chargerd.toml"
        world = ("hal.sim.serve", "--socket", str(self._socket), "--outlets", str(OUTLETS))
        self._world = Child("world", folder, world)
        self._guard = Child("guard", folder, ("chargerd.main", "guard", "--config", str(self._config)))
        self._daemon = Child("daemon", folder, ("chargerd.main", "run", "--config", str(self._config)), _resets)
        self._far = Far(str(self._socket))
        self._csms = Csms()
        self._csms.tokens = {token: Token() for token in TOKENS}
        self.where: list[tuple[str, str]] = []

    async def play(self) -> list[str]:
        """What the judge says."""
        await self._csms.start()
        (self._folder / "latch").touch()
        text = configuration(
            self._folder,
            self._folder,
            url=self._csms.url,
            version=self._plan.version,
            outlets=OUTLETS,
            world=str(self._socket),
        )
        self._config.write_text(text + SETTINGS + LINK)
        await self._world.start()
        scene = Scene(self._sim, self._csms, STATION)
        await scene.until(self._listens, 10.0)
        await self._guard.start()
        await self._daemon.start()
        if not await scene.until(scene.accepted, 30.0):
            raise Broken("the station never booted")
        killer = asyncio.create_task(self._kill(scene))
        try:
            await STORIES[self._plan.story].tell(scene)
            await killer
            await scene.at_rest()
        finally:
            killer.cancel()
        await self._daemon.end(signal.SIGTERM)
        evidence = gather(self._csms, await self._sim("state"), await self._sim("audit"), self._folder / "chargerd.db")
        endings = sum(victim != "daemon" for _, victim in self._plan.kills)
        return judge(evidence, STORIES[self._plan.story].cars, endings)

    async def end(self) -> None:
        for process in (self._daemon, self._guard, self._world):
            await process.end(signal.SIGTERM)
        await self._far.close()
        await self._csms.stop()

    def tracebacks(self) -> list[str]:
        """Whatever a program said of an error in itself."""
        logs = [(log.name, log.read_text(errors="replace")) for log in sorted(self._folder.glob("*.log"))]
        return [f"{name}: {text.split('Traceback', 1)[1][-600:]}" for name, text in logs if "Traceback" in text]

    async def _listens(self) -> bool:
        return self._socket.exists()

    async def _sim(self, method: str, **params: Any) -> Any:
        return await self._far.call(f"sim.{method}", params)

    async def _kill(self, scene: Scene) -> None:
        for wait, victim in self._plan.kills:
            await asyncio.sleep(wait)
            self.where.append((scene.where, victim))
            victims = [process for process in (self._guard, self._daemon) if victim in (process.name, "both")]
            for process in victims:
                await process.end(signal.SIGKILL)
            for process in victims:
                await process.start()
