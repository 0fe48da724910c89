"""The guard against time: from the burst that leaves C to the contactor's pin, and how late its turns begin."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chargerd.guard.lease import LINK_VERSION, MAX_PACKET, Event, Hello, Kind, Permit, Replay, decode, encode
from chargerd.lab.site import STATION
from tests.benching.figures import Figure
from tests.benching.measures import MEBI, WORDS, cpu_seconds
from tests.benching.rig import CARD, Process, Rig, Trouble, hogs, said, within

TURN = 0.02
STARTS = 30.0  # s that a guard may take to begin and to end, on a busy machine
HOGS = 4
AMPS = 16.0
_NO_FIFO = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
_SCHEDULING = {True: ", FIFO", False: ", no FIFO", None: ""}


@dataclass(frozen=True, slots=True)
class Case:
    """One run: which board, what is beside the guard; `real_time` None: as the system will have it."""

    board: str
    beside: str
    real_time: bool | None = True

    def __str__(self) -> str:
        return f"{self.board}, {self.beside}{_SCHEDULING[self.real_time]}"


CASES = {
    "idle": (Case("pi", "nothing beside"), Case("pi", "nothing beside", False)),
    "hogs": (Case("pi", f"{HOGS} hogs"), Case("pi", f"{HOGS} hogs", False)),
    "daemon": (Case("pi", "busy daemon"), Case("pi", "busy daemon", False)),
    "sim": (Case("sim", "nothing beside"),),
}


async def run(case: Case, rig: Rig, turns: int) -> list[Figure]:
    """Measure one case. Raises Trouble."""
    if case.real_time is False and (os.getuid() or shutil.which(_NO_FIFO[0]) is None):
        raise Trouble("only root, with setpriv of util-linux, can take real-time scheduling from the guard")
    rig.fresh(interval=1)
    result = rig.state / "result"
    words = ("-m", "tests.benching.guard_program", case.board, str(rig.config), str(result), str(turns))
    with _beside(case):
        rig.guard = Process("guard", list(words), rig.state / "notify", _NO_FIFO if case.real_time is False else ())
        await rig.guard.ready()
        async with _daemon(rig) if case.beside == "busy daemon" else _client(rig) as used:
            end = asyncio.get_running_loop().time() + turns * TURN * 3 + STARTS
            while not result.exists():
                gone = rig.guard.gone and not result.exists()
                if gone or asyncio.get_running_loop().time() > end:
                    raise Trouble(f"the guard did not come to an end\n{rig.complaints()}")
                await asyncio.sleep(0.2)
            note = used()
        await rig.stop()
    return _figures(case, json.loads(result.read_text()), note)


def _figures(case: Case, found: dict[str, Any], note: str) -> list[Figure]:
    vitals = found["vitals"]
    if case.real_time not in (None, vitals["fifo"]):
        raise Trouble("real-time scheduling is not allowed here" if case.real_time else "it is real-time all the same")
    state = f"{vitals['missed']} turns missed, {vitals['pauses']} pauses in which the hardware may have let go"
    if case.board == "pi" and not found["gone"]:
        state += "; it let nobody charge"
    grown = (
        f"{found['grown'] / 1024:.0f} KiB more than before these turns, the record of them included; "
        f"{vitals['modules']} modules, {vitals['grown']} loaded since READY"
    )

    def milli(name: str) -> tuple[float, ...]:
        return tuple(seconds * 1e3 for seconds in found[name])

    aim = 1.0 if case.real_time and case.board == "pi" else None  # the world is no real-time process
    figures = [Figure("turn begins late", "ms", milli("late"), aim, state, of=0.999)]
    if case.board == "pi":
        aim = 45.0 if case.real_time else None
        closed = f"edges that would have closed again what the monostable had opened: {found['reclosed']}"
        figures += [
            Figure("burst that leaves C → contactor's pin", "ms", milli("command"), aim, of=1.0),
            Figure("vehicle lets go → contactor's pin", "ms", milli("gone"), note="it lets go at any moment of a turn"),
            Figure(
                "vehicle lets go → coil dead", "ms", milli("dead"), 100.0, f"by pin or monostable; {closed}", of=1.0
            ),
        ]
    return [
        *figures,
        Figure("guard's CPU, of a core", "%", (found["cpu"] * 100,), note=note),
        Figure("guard's memory", "MiB", (vitals["memory"] / MEBI,), 20.0 if case.board == "sim" else 32.0, grown),
    ]


@contextlib.contextmanager
def _beside(case: Case) -> Iterator[None]:
    with hogs(HOGS) if case.beside.endswith("hogs") else contextlib.nullcontext():
        yield


# ---------------------------------------------------------------- who permits


@contextlib.asynccontextmanager
async def _client(rig: Rig) -> AsyncIterator[Callable[[], str]]:
    """A daemon of a few lines: a permit for whoever plugs in, for longer than the bench lasts at a time."""
    loop, peer = asyncio.get_running_loop(), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.setblocking(False)
    permit: list[Permit] = []

    def hear() -> None:
        with contextlib.suppress(BlockingIOError):
            while packet := peer.recv(MAX_PACKET):
                word = decode(packet)
                if isinstance(word, Event) and word.kind is Kind.VEHICLE_IN:
                    permit[:] = [Permit(1, word.plug, AMPS, valid_for=300.0)]
                    peer.send(encode(permit[0]))
            loop.remove_reader(peer)

    async def renew() -> None:
        while True:
            await asyncio.sleep(60.0)
            for word in permit:
                peer.send(encode(word))

    await loop.sock_connect(peer, str(rig.config.parent / "guard.sock"))
    for word in (Hello(LINK_VERSION, "bench"), Replay(0, 0)):
        peer.send(encode(word))
    loop.add_reader(peer, hear)
    renewing = asyncio.create_task(renew())
    try:
        yield lambda: ""
    finally:
        renewing.cancel()
        loop.remove_reader(peer)
        peer.close()


@contextlib.asynccontextmanager
async def _daemon(rig: Rig) -> AsyncIterator[Callable[[], str]]:
    """The real one, charging by the backend's start, asked by backend and technician without a pause."""
    occupied = rig.wire.next(WORDS[rig.version].occupied)
    booted = rig.wire.next(said("BootNotification"))
    daemon = rig.start_daemon()
    await daemon.ready()
    await within(booted, "BootNotification")
    await within(occupied, "the vehicle")
    await rig.csms.desk(STATION).remote_start(CARD, 1)
    while not (await rig.ask("status"))["outlets"][0]["powered"]:  # noqa: ASYNC110 — nothing tells of it
        await asyncio.sleep(0.1)
    asked = itertools.count()

    async def questions() -> None:
        while True:
            await rig.csms.desk(STATION).get(*WORDS[rig.version].question[1:])
            next(asked)

    async def looks() -> None:
        while True:
            await rig.ask("status")
            next(asked)

    tasks = [asyncio.create_task(each()) for each in (questions, looks)]
    began, before = asyncio.get_running_loop().time(), cpu_seconds(daemon)

    def used() -> str:
        seconds = asyncio.get_running_loop().time() - began
        cpu = (cpu_seconds(daemon) - before) / seconds * 100
        return f"the daemon meanwhile: {cpu:.0f} % of a core, {next(asked) / seconds:.0f} questions a second"

    try:
        yield used
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
