"""What people are shown: the whole picture at one moment, and the news of one step. Card numbers are shortened here.

Powers in W, energies in Wh, currents in A; points in time are RFC 3339 texts, durations seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chargerd.core.authorize import admitted
from chargerd.core.events import (
    BootAnswered,
    CableIn,
    CableOut,
    LinkDown,
    LinkUp,
    Storage,
    TokenSeen,
    VehicleIn,
    VehicleOut,
)
from chargerd.core.moment import Moment
from chargerd.core.records import Faulted, LimitChanged, Record, Sampled, Security, Session, Transaction
from chargerd.core.state import Live, Outlet, Station, Visit
from chargerd.core.status import LOWEST_AMPS, barred, blocking, charging_state, hindered, hindered_at, joint
from chargerd.core.token import Token, recalled
from chargerd.daemon.charger import Happened
from chargerd.daemon.store import Session as StoredSession
from chargerd.faults import GUARD
from chargerd.guard.lease import Notes, Truth
from hal import lamps
from hal.api import MeterReading

Json = dict[str, Any]
Stamp = Callable[[Moment], str]

GRAIN = 0.1  # A
_EVENTS = {CableIn: "cable-in", CableOut: "cable-out", VehicleIn: "vehicle-in", VehicleOut: "vehicle-out"}


# ---------------------------------------------------------------- the picture


def outlet(
    state: Station,
    rank: int,
    truth: Truth | None,
    notes: Notes | None,
    reading: MeterReading | None,
    since: str,
    now: Moment,
    stamp: Stamp,
    shown: float | None = None,
    unwritten: bool = False,
) -> Json:
    """One outlet. `truth` and `notes` are the guard's newest; None: no guard. `since`: when its status became this.

    `shown`: Wh that the meter itself shows where that is not what is told. `unwritten`: as in `limit`.
    """
    one = state.outlet(rank)
    live, visit = one.live, one.visit
    return {
        "rank": rank,
        "evse": one.site.evse,
        "connector": one.site.connector,
        "status": joint(state, rank).value,
        "since": since,
        "plug": live.plug != 0,
        "cable": live.cable,
        "bay": live.bay,
        "ready": live.ready,
        "powered": live.powered,
        "locked": None if one.site.tethered else live.locked,
        "offered": live.offered,
        "limit": limit(state, one, truth, unwritten),
        "phases": one.site.phases if notes is None else notes.phases,
        "switching": notes is not None and notes.switching,
        "faults": sorted(live.faults),
        "warnings": [] if notes is None else list(notes.warnings),
        "lamp": None if truth is None else _lamp(live),
        "operative": one.operative and one.site.evse not in state.shut,
        "held": _short(visit.held if visit is not None else None),
        "token": _short(visit.auth.token if visit is not None and visit.auth is not None else None),
        "transaction": _running(one, visit, stamp),
        "reading": None if reading is None else _reading(reading, now, shown),
    }


def _lamp(live: Live) -> Json:
    """What a driver sees there: the lamp of the guard's gravest fault goes before ours."""
    word = next((fault.lamp for name, fault in GUARD.items() if name in live.faults and fault.stops), live.lamp or "")
    return {"word": str(word), "looks": lamps.of(word).looks}


def limit(state: Station, one: Outlet, truth: Truth | None, unwritten: bool = False) -> str:
    """Why the outlet offers what it offers: the guard's word, and where that is the lease, what is behind it.

    The guard's: board, cable, temperature, shedding, fault, evse, pause, self-test, lock, wake-up, phases, digital,
    unavailable. Ours: no-guard, no-vehicle, fault, no-card, finished, card-refused, meter, stopping, writing, those of
    `core.status.hindered_at`, no-backend, and the sources of `core.limits`. `unwritten`: something that happened is
    not on the disk yet, and what it permits waits for that.
    """
    if truth is None:
        return "no-guard"
    if truth.limit not in ("", "lease"):
        return truth.limit
    live, visit = one.live, one.visit
    if not live.plug or visit is None:
        return "no-vehicle"
    if blocking(state, one):
        return "fault"
    if visit.tx is not None and visit.tx.stopping is not None:
        return "stopping"
    if visit.auth is None:
        idle = "finished" if visit.finished else "no-card"
        return hindered_at(state, one) or ("" if admitted(state) else "no-backend") or idle
    if barred(one):
        return "card-refused"
    if visit.tx is None and (why := hindered(state)):
        return why
    if visit.tx is not None and visit.tx.unwritten:
        return "storage"
    if visit.tx is not None and (not visit.tx.told or visit.tx.reading_by is not None):
        return "meter"
    permitted = live.permit[1] if live.permit is not None else 0.0
    if unwritten and permitted > truth.offered + GRAIN:
        return "writing"
    if live.limit is not None:
        return live.limit[2]
    if permitted >= LOWEST_AMPS and permitted >= min(one.site.amps, live.cable_amps or one.site.amps):
        return "cable" if permitted < one.site.amps else "outlet"
    return "station"


def _running(one: Outlet, visit: Visit | None, stamp: Stamp) -> Json | None:
    if visit is None or visit.tx is None:
        return None
    tx, reading = visit.tx, one.live.reading
    return {
        "tx": tx.uid,
        "token": _short(tx.token or (visit.auth.token if visit.auth is not None else None)),
        "started": stamp(tx.started),
        "energy_wh": _used(_register(tx.begin), _register(reading)),
        "state": "ending" if tx.stopping is not None else charging_state(one).value,
    }


def _reading(reading: MeterReading, now: Moment, shown: float | None) -> Json:
    amps = None if reading.amps is None else list(reading.amps)
    age = round(max(0.0, now.mono - reading.at), 1)
    return {"energy": reading.energy, "shown": shown, "power": reading.power, "amps": amps, "age": age}


def lobby(state: Station, now: Moment) -> Json | None:
    """A card that was accepted before it is known for which outlet; `wait` seconds it still counts, None: no end."""
    visit = state.lobby
    if visit is None or visit.auth is None:
        return None
    wait = None if visit.connect_by is None else round(max(0.0, visit.connect_by - now.mono))
    return {"token": _short(visit.auth.token), "wait": wait}


def session(one: StoredSession, stamp: Callable[[float], str]) -> Json:
    """A closed transaction; `trusted`: both stamps are good."""
    return {
        "tx": one.uid,
        "outlet": one.outlet,
        "token": recalled(one.token).short,
        "started": stamp(one.started),
        "ended": stamp(one.ended),
        "trusted": one.trusted,
        "start_wh": one.start_wh,
        "end_wh": one.end_wh,
        "energy_wh": _used(one.start_wh, one.end_wh),
        "reason": one.reason,
    }


def _short(token: Token | None) -> str | None:
    return None if token is None else token.short


def _register(reading: MeterReading | None) -> float | None:
    return None if reading is None else reading.energy


def _used(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else end - begin


# ---------------------------------------------------------------- the news


def news(happened: Happened, before: Station) -> Iterator[Json]:
    """What one step changed, for people. `kind` and what comes with it:

    status: outlet, status, was · card: token, evse · refused: outlet · plug: outlet, what · transaction: outlet, edge,
    cause, tx, state, token, register, reason · session: outlet, tx, token, energy_wh, reason · meter: outlet, register,
    power · limit: outlet, amps, phases, source · fault: outlet, fault, active · security: name, info · link: up ·
    boot: status · storage: works.
    """
    after = happened.state
    match happened.event:
        case TokenSeen(token, evse):
            yield {"kind": "card", "token": token.short, "evse": evse}
        case CableIn(rank) | CableOut(rank) | VehicleIn(rank) | VehicleOut(rank):
            yield {"kind": "plug", "outlet": rank, "what": _EVENTS[type(happened.event)]}
        case LinkUp() | LinkDown():
            yield {"kind": "link", "up": after.online}
        case BootAnswered(status):
            yield {"kind": "boot", "status": status.value}
        case Storage(works):
            yield {"kind": "storage", "works": works}
    for was, one in zip(before.outlets, after.outlets, strict=True):
        rank, shown = one.site.rank, one.live.refused_until
        if shown is not None and shown != was.live.refused_until:
            yield {"kind": "refused", "outlet": rank}
        old, new = joint(before, rank), joint(after, rank)
        if old is not new:
            yield {"kind": "status", "outlet": rank, "status": new.value, "was": old.value}
    for record in happened.records:
        yield _told(record)


def _told(record: Record) -> Json:
    match record:
        case Transaction():
            return {
                "kind": "transaction",
                "outlet": record.outlet,
                "edge": record.edge.value,
                "cause": record.cause.value,
                "tx": record.tx,
                "state": record.state.value,
                "token": _short(record.token),
                "register": _register(record.reading),
                "reason": None if record.reason is None else record.reason.value,
            }
        case Sampled(outlet=rank, reading=reading):
            return {"kind": "meter", "outlet": rank, "register": reading.energy, "power": reading.power}
        case Faulted(outlet=rank, name=name, active=active):
            return {"kind": "fault", "outlet": rank, "fault": name, "active": active}
        case Security(name=name, info=info):
            return {"kind": "security", "name": name, "info": info}
        case LimitChanged(outlet=rank, amps=amps, phases=phases, source=source):
            return {"kind": "limit", "outlet": rank, "amps": amps, "phases": phases, "source": source}
        case Session():
            return {
                "kind": "session",
                "outlet": record.outlet,
                "tx": record.tx,
                "token": recalled(record.token).short,
                "energy_wh": _used(record.begin_wh, record.end_wh),
                "reason": record.reason.value,
            }
