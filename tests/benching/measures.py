"""What is measured, and how: each takes a rig and gives figures. Nothing here judges."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from chargerd.lab.csms import Boot
from chargerd.lab.peer import Frame
from chargerd.lab.site import STATION
from tests.benching.figures import PEERS, Figure
from tests.benching.rig import CARD, LOOK, Process, Rig, Trouble, said, within

MILLI, MEBI, KILO = 1e3, 1 << 20, 1e3
HOUR = 3600.0
HEARTBEAT = 10  # s while idling: thirty times as often as by default, so that a minute holds more than an hour does
CYCLES = 0.1  # s: driver and backend act at any moment of everybody's cycles
CALM = 2.0
QUESTIONS = 10  # GetConfiguration per run: cheap


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything: runs, seconds and number of the idle windows, samples of the long session."""

    runs: int = 20
    window: float = 20.0
    windows: int = 3
    samples: int = 60


Is = Callable[[Frame], bool]


def _sent(action: str) -> Is:
    return lambda frame: (frame.direction, frame.kind, frame.action) == (">", "call", action)


def _answer(action: str) -> Is:
    return lambda frame: (frame.direction, frame.kind, frame.action) == ("<", "result", action)


@dataclass(frozen=True, slots=True)
class Words:
    """How a version says it; `question`: an action of the backend and what its desk asks for."""

    occupied: Is
    available: Is
    remote: Is
    started: Is
    sample: Is
    ended: Is
    question: tuple[str, ...]


_WORDS_2 = Words(
    occupied=said("StatusNotification", evseId=1, connectorStatus="Occupied"),
    available=said("StatusNotification", evseId=1, connectorStatus="Available"),
    remote=_sent("RequestStartTransaction"),
    started=said("TransactionEvent", eventType="Started"),
    sample=said("TransactionEvent", triggerReason="MeterValuePeriodic"),
    ended=said("TransactionEvent", eventType="Ended"),
    question=("GetVariables", "OCPPCommCtrlr.HeartbeatInterval"),
)
WORDS = {
    "1.6": Words(
        occupied=said("StatusNotification", connectorId=1, status="Preparing"),
        available=said("StatusNotification", connectorId=1, status="Available"),
        remote=_sent("RemoteStartTransaction"),
        started=said("StartTransaction"),
        sample=said("MeterValues"),
        ended=said("StopTransaction"),
        question=("GetConfiguration",),
    ),
    "2.0.1": _WORDS_2,
    "2.1": _WORDS_2,
}


async def starts(rig: Rig, plan: Plan) -> list[Figure]:
    """Guard, then daemon, each from nothing; and what they weigh once they stand."""
    guard_ready, control, boot = [], [], []
    memory: dict[str, list[Memory]] = {"guard": [], "daemon": []}
    for _ in range(plan.runs):
        rig.fresh()
        guard_ready.append(await rig.start_guard().ready() * MILLI)
        booted, told = rig.wire.next(said("BootNotification")), rig.wire.next(said("StatusNotification"))
        daemon = rig.start_daemon()
        control.append((await rig.control() - daemon.began) * MILLI)
        boot.append((await within(booted, "BootNotification") - daemon.began) * MILLI)
        await within(told, "StatusNotification")
        await asyncio.sleep(0.5)
        for process in (rig.guard, rig.daemon):
            assert process is not None
            memory[process.name].append(memory_of(process))
        await rig.stop()
    return [
        Figure("guard: start → outputs safe (READY)", "ms", tuple(guard_ready)),
        Figure("daemon: start → control socket answers", "ms", tuple(control), note=f"tried every {LOOK * MILLI:g} ms"),
        Figure("daemon: start → BootNotification on the wire", "ms", tuple(boot), peers=PEERS["boot"]),
        *_weights("guard", memory["guard"], 20.0),
        *_weights("daemon", memory["daemon"], 60.0),
    ]


def _weights(name: str, found: list[Memory], aim: float) -> list[Figure]:
    peers = ("memory", "memory-pss") if name == "daemon" else ()
    resident, proportional = (PEERS[each] for each in peers) if peers else ((), ())
    return [
        Figure(f"{name}: resident memory", "MiB", tuple(m.resident for m in found), aim, peers=resident),
        Figure(f"{name}: proportional share (PSS)", "MiB", tuple(m.proportional for m in found), peers=proportional),
        Figure(f"{name}: private memory", "MiB", tuple(m.private for m in found)),
    ]


async def sessions(rig: Rig, plan: Plan) -> list[Figure]:
    """Plug, card or app, charge for a moment, drive off while it charges."""
    chance = random.Random(1)
    by_card, by_app = [], []
    async with rig.charging_station():
        await _session(rig, chance, card=True)  # fills the cache, and is not counted
        for _ in range(plan.runs):
            by_card.append(await _session(rig, chance, card=True))
            by_app.append(await _session(rig, chance, card=False))
        assert rig.daemon is not None
        last = memory_of(rig.daemon)
    if len(rig.csms.stations[STATION].calls("Authorize")) > 1:
        raise Trouble("the backend was asked about a card that is in the cache")
    both = [*by_card, *by_app]
    contactor = "in the world's time; 15 ms of it are the contactor's own"
    starts_card, starts_app = (tuple(one.start for one in some) for some in (by_card, by_app))
    return [
        Figure("cached card → start of transaction on the wire", "ms", starts_card, peers=PEERS["card"]),
        Figure("remote start → start of transaction on the wire", "ms", starts_app, peers=PEERS["remote"]),
        Figure("pilot leaves C → contactor open", "ms", tuple(one.opened for one in both), 100.0, contactor),
        Figure(
            "vehicle gone → end of transaction on the wire", "ms", tuple(one.end for one in both), peers=PEERS["gone"]
        ),
        *_bytes("short session", [one.wrote for one in both], 300.0),
        Figure("daemon: resident memory after these sessions", "MiB", (last.resident,), 60.0),
    ]


@dataclass(frozen=True, slots=True)
class _Session:
    """Milliseconds, and what the daemon wrote."""

    start: float
    opened: float
    end: float
    wrote: Written


async def _session(rig: Rig, chance: random.Random, *, card: bool) -> _Session:
    words = WORDS[rig.version]
    daemon = rig.daemon
    assert daemon is not None
    before = await written(rig, daemon)
    await _plugged(rig)
    await asyncio.sleep(0.3 + chance.uniform(0, CYCLES))
    start, asked = rig.wire.next(words.started), rig.wire.next(words.remote)
    began = time.monotonic()
    if card:
        await rig.sim("tap", uid=CARD)
    else:
        await rig.csms.desk(STATION).remote_start(CARD, 1)
        began = await asked
    started = (await within(start, "the start of the transaction") - began) * MILLI
    await rig.until("contactor", True)
    await asyncio.sleep(1.0 + chance.uniform(0, CYCLES))
    ended = await _gone(rig)
    opened = (await rig.sim("audit"))["outlets"][0]["longest_unasked"] * MILLI
    after = await written(rig, daemon)
    await rig.sim("reset")  # the audit keeps only the longest
    return _Session(started, opened, ended, after.since(before))


async def _plugged(rig: Rig) -> None:
    seen = rig.wire.next(WORDS[rig.version].occupied)
    await rig.sim("plug", outlet=1)
    await within(seen, "the status of the plugged connector")


async def _gone(rig: Rig) -> float:
    """Drive off and leave nothing behind; milliseconds to the end of the transaction."""
    words = WORDS[rig.version]
    end, free = rig.wire.next(words.ended), rig.wire.next(words.available)
    began = time.monotonic()
    await rig.sim("unplug", outlet=1)
    ended = await within(end, "the end of the transaction")
    await within(free, "Available")
    await asyncio.sleep(0.3)
    return (ended - began) * MILLI


async def questions(rig: Rig, plan: Plan) -> list[Figure]:
    """The whole configuration in 1.6; one variable in 2.x, where the whole is a report."""
    action, *names = WORDS[rig.version].question
    took = []
    async with rig.charging_station():
        for _ in range(plan.runs * QUESTIONS):
            asked, answered = rig.wire.next(_sent(action)), rig.wire.next(_answer(action))
            await rig.csms.desk(STATION).get(*names)
            took.append((await answered - await asked) * MILLI)
            await asyncio.sleep(0.02)
        told = [f.payload for f in rig.csms.stations[STATION].wire if _answer(action)(f)][-1]
    size = len(json.dumps(told, separators=(",", ":")))
    note = f"answer of {size} bytes; from the backend's hand to its log"
    return [Figure(f"{action} round trip", "ms", tuple(took), note=note, peers=PEERS["config"] if not names else ())]


async def idle(rig: Rig, plan: Plan) -> list[Figure]:
    """Nothing happens but heartbeats: processor time and bytes."""
    rig.csms.boot = Boot(interval=HEARTBEAT)
    cpu: dict[str, list[float]] = {"guard": [], "daemon": []}
    async with rig.charging_station():
        guard, daemon = rig.guard, rig.daemon
        assert guard is not None and daemon is not None
        await asyncio.sleep(CALM)
        began, before, guards = time.monotonic(), await written(rig, daemon), device_bytes(guard)
        for _ in range(plan.windows):
            since, at = {p.name: cpu_seconds(p) for p in (guard, daemon)}, time.monotonic()
            await asyncio.sleep(plan.window)
            for process in (guard, daemon):
                cpu[process.name].append((cpu_seconds(process) - since[process.name]) / (time.monotonic() - at) * 100)
        after, seconds = await written(rig, daemon), time.monotonic() - began
        guard_bytes = device_bytes(guard) - guards
    rig.csms.boot = Boot()
    note = f"{seconds:.0f} s times {HOUR / seconds:.0f}, with a heartbeat every {HEARTBEAT} s"
    return [
        Figure("guard: idle CPU, of a core", "%", tuple(cpu["guard"]), note="50 cycles a second"),
        Figure("daemon: idle CPU, of a core", "%", tuple(cpu["daemon"]), 1.0, peers=PEERS["cpu"]),
        *_bytes("idle hour", [after.since(before)], 100.0, note, HOUR / seconds),
        Figure("idle hour: bytes to the disk (guard)", "kB", (guard_bytes * HOUR / seconds / KILO,)),
    ]


async def long_session(rig: Rig, plan: Plan) -> list[Figure]:
    """A session with as many samples as an hour has by default, taken every second."""
    async with rig.charging_station(interval=1):
        daemon = rig.daemon
        assert daemon is not None
        before = await written(rig, daemon)
        await _plugged(rig)
        await rig.sim("tap", uid=CARD)
        await rig.until("contactor", True)
        for _ in range(plan.samples):
            await within(rig.wire.next(WORDS[rig.version].sample), "a meter value")
        await _gone(rig)
        after = await written(rig, daemon)
    note = f"{plan.samples} samples, one a second: what {plan.samples} minutes hold; a commit costs 4 kB at least"
    return _bytes("session", [after.since(before)], 300.0, note)


def _bytes(name: str, found: Sequence[Written], aim: float, note: str = "", scale: float = 1.0) -> list[Figure]:
    device, store = (tuple(each * scale / KILO for each in some) for some in zip(*map(astuple, found), strict=True))
    return [
        Figure(f"{name}: bytes to the disk (daemon)", "kB", device, aim, note or "write_bytes of /proc/PID/io"),
        Figure(f"{name}: bytes by the store's count", "kB", store, aim),
    ]


# ---- what the system knows of a process


@dataclass(frozen=True, slots=True)
class Memory:
    """In MiB."""

    resident: float
    proportional: float
    private: float


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes since the start of the daemon, by the system's count and by the store's."""

    device: int
    store: int

    def since(self, before: Written) -> Written:
        return Written(self.device - before.device, self.store - before.store)


def memory_of(process: Process) -> Memory:
    sizes: dict[str, float] = {}
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        sizes[name.rstrip(":")] = int(size) * 1024 / MEBI
    return Memory(sizes["Rss"], sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def cpu_seconds(process: Process) -> float:
    """Of all its threads that live."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def device_bytes(process: Process) -> int:
    for line in Path(f"/proc/{process.pid}/io").read_text().splitlines():
        name, _, count = line.partition(": ")
        if name == "write_bytes":
            return int(count)
    raise Trouble(f"/proc/{process.pid}/io has no write_bytes: this kernel does not count them")


async def written(rig: Rig, daemon: Process) -> Written:
    return Written(device_bytes(daemon), (await rig.ask("status"))["store"]["written"])
