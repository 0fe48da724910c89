"""What is measured, and how: each takes a rig and gives figures. Nothing here judges."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
    old = rig.version == "1.6"
    started = said("StartTransaction") if old else said("TransactionEvent", eventType="Started")
    stopped = said("StopTransaction") if old else said("TransactionEvent", eventType="Ended")
    remote = _sent("RemoteStartTransaction" if old else "RequestStartTransaction")
    chance = random.Random(1)
    by: dict[bool, list[float]] = {True: [], False: []}
    opened, gone, device, store = [], [], [], []
    async with rig.charging_station():
        daemon = rig.daemon
        assert daemon is not None
        for turn in range(-1, 2 * plan.runs):  # the first one fills the cache, and is not counted
            before = await written(rig, daemon)
            card = turn % 2 == 0 or turn < 0
            await _plugged(rig)
            await asyncio.sleep(chance.uniform(0, CYCLES))
            start, asked = rig.wire.next(started), rig.wire.next(remote)
            if card:
                began = time.monotonic()
                await rig.sim("tap", uid=CARD)
            else:
                await rig.csms.desk(STATION).remote_start(CARD, 1)
                began = await asked
            start_ms = (await within(start, "the start of the transaction") - began) * MILLI
            await rig.until("contactor", True)
            await asyncio.sleep(1.0 + chance.uniform(0, CYCLES))
            stop, free = rig.wire.next(stopped), rig.wire.next(_available(old))
            began = time.monotonic()
            await rig.sim("unplug", outlet=1)
            stop_ms = (await within(stop, "the end of the transaction") - began) * MILLI
            await within(free, "Available")
            await asyncio.sleep(0.3)
            if turn >= 0:
                by[card].append(start_ms)
                gone.append(stop_ms)
                opened.append((await rig.sim("audit"))["outlets"][0]["longest_unasked"] * MILLI)
                after = await written(rig, daemon)
                device.append((after.device - before.device) / KILO)
                store.append((after.store - before.store) / KILO)
            await rig.sim("reset")
        last = memory_of(daemon)
    return [
        Figure("cached card → start of transaction on the wire", "ms", tuple(by[True]), peers=PEERS["card"]),
        Figure("remote start → start of transaction on the wire", "ms", tuple(by[False]), peers=PEERS["remote"]),
        Figure(
            "pilot leaves C → contactor open",
            "ms",
            tuple(opened),
            100.0,
            "in the world's time; 15 ms of it are the contactor's own",
        ),
        Figure("vehicle gone → end of transaction on the wire", "ms", tuple(gone), peers=PEERS["gone"]),
        Figure("short session: bytes to the disk (daemon)", "kB", tuple(device), 300.0, "write_bytes of /proc/PID/io"),
        Figure("short session: bytes by the store's count", "kB", tuple(store), 300.0),
        Figure("daemon: resident memory after these sessions", "MiB", (last.resident,), 60.0),
    ]


async def _plugged(rig: Rig) -> None:
    waiting = rig.wire.next(_status("Preparing" if rig.version == "1.6" else "Occupied"))
    await rig.sim("plug", outlet=1)
    await within(waiting, "the status of the plugged connector")
    await asyncio.sleep(0.3)


async def questions(rig: Rig, plan: Plan) -> list[Figure]:
    """The whole configuration in 1.6; one variable in 2.x, where the whole is a report."""
    old = rig.version == "1.6"
    action = "GetConfiguration" if old else "GetVariables"
    names = () if old else ("OCPPCommCtrlr.HeartbeatInterval",)
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
    return [Figure(f"{action} round trip", "ms", tuple(took), note=note, peers=PEERS["config"])]


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
    hourly = HOUR / seconds / KILO
    return [
        Figure("guard: idle CPU, of a core", "%", tuple(cpu["guard"]), note="50 cycles a second"),
        Figure("daemon: idle CPU, of a core", "%", tuple(cpu["daemon"]), 1.0, peers=PEERS["cpu"]),
        Figure("idle hour: bytes to the disk (daemon)", "kB", ((after.device - before.device) * hourly,), 100.0, note),
        Figure("idle hour: bytes by the store's count", "kB", ((after.store - before.store) * hourly,), 100.0, note),
        Figure("idle hour: bytes to the disk (guard)", "kB", (guard_bytes * hourly,), note=note),
    ]


async def long_session(rig: Rig, plan: Plan) -> list[Figure]:
    """A session with as many samples as an hour has by default, taken every second."""
    old = rig.version == "1.6"
    sample = (
        said("MeterValues")
        if old
        else said("TransactionEvent", eventType="Updated", triggerReason="MeterValuePeriodic")
    )
    stopped = said("StopTransaction") if old else said("TransactionEvent", eventType="Ended")
    async with rig.charging_station(interval=1):
        daemon = rig.daemon
        assert daemon is not None
        before = await written(rig, daemon)
        await _plugged(rig)
        await rig.sim("tap", uid=CARD)
        await rig.until("contactor", True)
        for _ in range(plan.samples):
            await within(rig.wire.next(sample), "a meter value")
        stop, free = rig.wire.next(stopped), rig.wire.next(_available(old))
        await rig.sim("unplug", outlet=1)
        await within(stop, "the end of the transaction")
        await within(free, "Available")
        await asyncio.sleep(0.3)
        after = await written(rig, daemon)
    note = f"{plan.samples} samples, one a second: what {plan.samples} minutes hold at one a minute"
    return [
        Figure("session: bytes to the disk (daemon)", "kB", ((after.device - before.device) / KILO,), 300.0, note),
        Figure("session: bytes by the store's count", "kB", ((after.store - before.store) / KILO,), 300.0, note),
    ]


MEASURES: dict[str, Callable[[Rig, Plan], Awaitable[list[Figure]]]] = {
    "starts": starts,
    "sessions": sessions,
    "config": questions,
    "idle": idle,
    "hour": long_session,
}
BUSY = ("starts", "sessions", "config")
"""Those that hogs beside them can change."""


# ---- frames


def _sent(action: str) -> Callable[[Frame], bool]:
    return lambda frame: (frame.direction, frame.kind, frame.action) == (">", "call", action)


def _answer(action: str) -> Callable[[Frame], bool]:
    return lambda frame: (frame.direction, frame.kind, frame.action) == ("<", "result", action)


def _status(word: str) -> Callable[[Frame], bool]:
    in_16, in_2 = (
        said("StatusNotification", connectorId=1, status=word),
        said("StatusNotification", connectorStatus=word),
    )
    return lambda frame: in_16(frame) or in_2(frame)


def _available(old: bool) -> Callable[[Frame], bool]:
    return said("StatusNotification", connectorId=1, **{"status" if old else "connectorStatus": "Available"})


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
