"""The operator's books: one record per charging session, kept from what the backend heard, and a judgement of them.

Nothing here knows sockets or clocks: each call is one message that the backend took. A message
told twice with the same content is a retry and counts once (1.6 §3.6, E04): same connector, idTag, timestamp and
meterStart for a 1.6 start, same transactionId and seqNo for 2.x. Anything else told twice is a complaint.
"""

from __future__ import annotations

import csv as csv_files
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from chargerd.lab.schema import parse_time

REGISTER = "Energy.Active.Import.Register"
COLUMNS = """station evse connector transaction id_token started stopped
begin_wh end_wh energy_wh reason samples duplicates gaps"""
Payload = Mapping[str, Any]
Place = tuple[int, int]
"""(EVSE, connector); in 1.6 (connectorId, 1)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The import register at one instant, in Wh."""

    time: datetime
    wh: float
    context: str


@dataclass(slots=True)
class Session:
    """One transaction as the operator knows it. `started`, `stopped`, `bound` (to its place): the station's stamps."""

    station: str
    transaction: int | str
    place: Place | None
    token: str | None
    started: datetime
    begin_wh: float | None = None
    stopped: datetime | None = None
    end_wh: float | None = None
    reason: str | None = None
    readings: list[Reading] = field(default_factory=list)
    samples: int = 0
    seqs: dict[int, str] = field(default_factory=dict)
    duplicates: int = 0
    statuses: list[tuple[float, str]] = field(default_factory=list)
    last_told: datetime | None = None
    remote_start: int | None = None
    bound: datetime | None = None

    @property
    def since(self) -> datetime:
        """From when on it had its place: a card may wait for a cable while another transaction runs there."""
        return self.bound or self.started

    @property
    def open(self) -> bool:
        return self.stopped is None

    @property
    def energy_wh(self) -> float | None:
        return None if self.begin_wh is None or self.end_wh is None else self.end_wh - self.begin_wh

    @property
    def last_wh(self) -> float | None:
        """The latest sample of the register."""
        return max(self.readings, key=lambda one: one.time).wh if self.readings else None

    @property
    def gaps(self) -> list[int]:
        """Sequence numbers missing between 0 and the highest one seen; [] in 1.6."""
        return sorted(set(range(max(self.seqs, default=-1) + 1)) - self.seqs.keys())

    @property
    def name(self) -> str:
        where = "" if self.place is None else f" at {self.place[0]}/{self.place[1]}"
        return f"{self.station} transaction {self.transaction}{where}"


class Books:
    """All sessions of all stations, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self._complaints: list[str] = []
        self._told: dict[str, set[str]] = {}
        self._known: dict[tuple[str, int | str], list[Session]] = {}
        self._last_told: dict[str, datetime] = {}

    # ---- what 1.6 stations tell

    def started(self, station: str, payload: Payload, number: Callable[[], int]) -> Session:
        """StartTransaction.req; `number` gives a new transactionId and is not asked for a retry."""
        place, stamp = (payload["connectorId"], 1), parse_time(payload["timestamp"])
        for old in self._of(station):
            told = (old.place, old.token, old.started, old.begin_wh)
            if told == (place, payload["idTag"], stamp, payload["meterStart"]):
                old.duplicates += 1
                return old
        self._in_order(station, stamp, "StartTransaction")
        for old in self._of(station):
            if old.open and old.place == place:
                self._complain(f"{old.name}: still open when connector {place[0]} started another")
        session = Session(station, number(), place, payload["idTag"], stamp, payload["meterStart"], last_told=stamp)
        self._open(session)
        return session

    def stopped(self, station: str, payload: Payload) -> Session | None:
        """StopTransaction.req; None when no such transaction is known."""
        session = self._numbered(station, payload["transactionId"])
        if session is None:
            self._complain(f"{station}: stop for unknown transaction {payload['transactionId']}")
            return None
        if self._again(station, "StopTransaction", payload):
            session.duplicates += 1
            return session
        stamp = parse_time(payload["timestamp"])
        if not session.open:
            self._complain(f"{session.name}: stopped twice, with different content")
            return session
        self._in_order(station, stamp, "StopTransaction")
        self._tell(session, stamp, "StopTransaction")
        session.stopped, session.end_wh = stamp, payload["meterStop"]
        session.reason = payload.get("reason", "Local")
        self._read(session, payload.get("transactionData", ()))
        return session

    def metered(self, station: str, payload: Payload) -> Session | None:
        """MeterValues.req; None when it belongs to no transaction."""
        number = payload.get("transactionId")
        if number is None:
            return None
        session = self._numbered(station, number)
        if session is None:
            self._complain(f"{station}: meter values for unknown transaction {number}")
            return None
        if self._again(station, "MeterValues", payload):
            session.duplicates += 1
            return session
        stamp = parse_time(payload["meterValue"][0]["timestamp"])
        self._in_order(station, stamp, "MeterValues")
        if not session.open:
            self._complain(f"{session.name}: MeterValues after StopTransaction")
        self._tell(session, stamp, "MeterValues")
        self._read(session, payload["meterValue"])
        return session

    # ---- what 2.x stations tell

    def event(self, station: str, payload: Payload) -> Session | None:
        """TransactionEvent (E01-E15); None when it updates or ends a transaction that never started."""
        key, seq, kind = payload["transactionInfo"]["transactionId"], payload["seqNo"], payload["eventType"]
        stamp, digest = parse_time(payload["timestamp"]), _digest(payload)
        session = next(iter(self._known.get((station, key), ())), None)
        if session is not None and seq in session.seqs:
            if session.seqs[seq] == digest:
                session.duplicates += 1
            else:
                self._complain(f"{session.name}: seqNo {seq} used for another event ({kind})")
            return session
        if session is None:
            if kind != "Started":
                self._complain(f"{station}: {kind} for unknown transaction {key} (seqNo {seq})")
                return None
            session = Session(station, key, None, None, stamp)
            self._open(session)
        elif kind == "Started":
            self._complain(f"{session.name}: started twice (seqNo {seq})")
        elif not session.open:
            self._complain(f"{session.name}: {kind} after Ended (seqNo {seq})")
        if session.seqs and seq < max(session.seqs):
            self._complain(f"{session.name}: seqNo {seq} delivered after {max(session.seqs)}")
        session.seqs[seq] = digest
        self._tell(session, stamp, f"seqNo {seq}")
        self._bind(session, payload)
        self._read(session, payload.get("meterValue", ()))
        begins = [reading.wh for reading in session.readings if reading.context == "Transaction.Begin"]
        session.begin_wh = begins[0] if begins else session.begin_wh
        if kind == "Ended" and session.open:
            session.stopped = stamp
            session.reason = payload["transactionInfo"].get("stoppedReason", "Local")
            ends = [reading.wh for reading in session.readings if reading.context == "Transaction.End"]
            session.end_wh = ends[-1] if ends else None
        return session

    # ---- what both tell

    def status(self, station: str, at: float, place: Place, status: str) -> None:
        """Connector status, kept with the latest session at that place."""
        for session in reversed(self.sessions):
            if session.station == station and session.place == place:
                session.statuses.append((at, status))
                return

    # ---- what the operator asks

    def judge(self, *, over: bool = True, thinned: bool = False) -> list[str]:
        """Everything that is wrong, in words; [] is a clean record.

        Not `over`: sessions may still be open and numbers still missing. `thinned`: gaps are allowed, as periodic
        samples may be dropped in a long offline time (E11.FR.05).
        """
        found = list(self._complaints)
        for session in self.sessions:
            if over and session.open:
                found.append(f"{session.name}: never ended")
            if over and not thinned and session.gaps:
                found.append(f"{session.name}: seqNo {_few(session.gaps)} never came")
            found.extend(_energy(session))
        found.extend(self._overlaps())
        return found

    def csv(self) -> str:
        """One line per session, with a heading; energy in Wh."""
        out = io.StringIO()
        rows = csv_files.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS.split())
        for one in self.sessions:
            evse, connector = one.place or ("", "")
            stopped = one.stopped.isoformat() if one.stopped else ""
            row = [one.station, evse, connector, one.transaction, one.token, one.started.isoformat(), stopped]
            rows.writerow(
                [*row, one.begin_wh, one.end_wh, one.energy_wh, one.reason, one.samples, one.duplicates, len(one.gaps)]
            )
        return out.getvalue()

    def table(self) -> str:
        """The same for a person: aligned columns, tokens shortened."""
        heading = ("station", "place", "transaction", "token", "started", "stopped", "kWh", "samples", "reason")
        rows = [heading]
        for one in self.sessions:
            energy = "" if one.energy_wh is None else f"{one.energy_wh / 1000:.3f}"
            place = "" if one.place is None else f"{one.place[0]}/{one.place[1]}"
            stopped = f"{one.stopped:%H:%M:%S}" if one.stopped else "open"
            row = (one.station, place, str(one.transaction)[:12], shorten(one.token or ""), f"{one.started:%H:%M:%S}")
            rows.append((*row, stopped, energy, str(one.samples), one.reason or ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    # ---- within

    def _of(self, station: str) -> Iterator[Session]:
        return (session for session in reversed(self.sessions) if session.station == station)

    def _open(self, session: Session) -> None:
        self.sessions.append(session)
        self._known.setdefault((session.station, session.transaction), []).append(session)

    def _numbered(self, station: str, number: int) -> Session | None:
        """The open session of that number, else the latest one: backends do give a number twice."""
        known = self._known.get((station, number), [])
        return next((session for session in reversed(known) if session.open), known[-1] if known else None)

    def _complain(self, text: str) -> None:
        self._complaints.append(text)

    def _again(self, station: str, action: str, payload: Payload) -> bool:
        digest = action + _digest(payload)
        told = self._told.setdefault(station, set())
        known = digest in told
        told.add(digest)
        return known

    def _in_order(self, station: str, stamp: datetime, what: str) -> None:
        """1.6 §3.6: transaction-related messages come in chronological order over the whole station."""
        last = self._last_told.setdefault(station, stamp)
        if stamp < last:
            self._complain(f"{station}: {what} of {stamp.isoformat()} delivered after one of {last.isoformat()}")
        self._last_told[station] = max(stamp, last)

    def _tell(self, session: Session, stamp: datetime, what: str) -> None:
        if session.last_told is not None and stamp < session.last_told:
            self._complain(f"{session.name}: {what} goes back in time, to {stamp.isoformat()}")
        session.last_told = max(stamp, session.last_told or stamp)

    def _bind(self, session: Session, payload: Payload) -> None:
        if "idToken" in payload and session.token is None:
            session.token = payload["idToken"]["idToken"]
        if "remoteStartId" in payload["transactionInfo"]:
            session.remote_start = payload["transactionInfo"]["remoteStartId"]
        if "evse" not in payload:
            return
        place = (payload["evse"]["id"], payload["evse"].get("connectorId", 1))
        if session.place is None:
            for old in self._of(session.station):
                if old.open and old.place is not None and old.place[0] == place[0]:
                    self._complain(f"{old.name}: still open when EVSE {place[0]} started another")  # E01.FR.14
            session.place, session.bound = place, parse_time(payload["timestamp"])
        elif session.place != place:
            self._complain(f"{session.name}: moved to {place[0]}/{place[1]}")

    def _read(self, session: Session, values: Iterable[Payload]) -> None:
        for value in values:
            session.samples += 1
            stamp = parse_time(value["timestamp"])
            for sample in value["sampledValue"]:
                wh = self._register(session, sample)
                if wh is not None:
                    session.readings.append(Reading(stamp, wh, sample.get("context", "Sample.Periodic")))

    def _register(self, session: Session, sample: Payload) -> float | None:
        """The import register of the outlet, all phases together, in Wh; None for any other sample."""
        if sample.get("measurand", REGISTER) != REGISTER or sample.get("format") == "SignedData":
            return None
        if "phase" in sample or sample.get("location", "Outlet") != "Outlet":
            return None
        unit = sample.get("unitOfMeasure", {})
        scale = 1000 if unit.get("unit", sample.get("unit", "Wh")) == "kWh" else 1
        try:
            return float(sample["value"]) * scale * float(10 ** unit.get("multiplier", 0))
        except ValueError:
            self._complain(f"{session.name}: register value {sample['value'][:20]!r} is not a number")
            return None

    def _overlaps(self) -> Iterator[str]:
        """Sessions of one place follow each other, in time and in the register."""
        places: dict[tuple[str, Place], list[Session]] = {}
        for session in self.sessions:
            if session.place is not None:
                places.setdefault((session.station, session.place), []).append(session)
        for sessions in places.values():
            for old, new in pairwise(sorted(sessions, key=lambda one: one.since)):
                if old.stopped is not None and new.since < old.stopped:
                    yield f"{new.name}: started before {old.transaction} had stopped"
                if old.end_wh is not None and new.begin_wh is not None and new.begin_wh < old.end_wh:
                    yield f"{new.name}: register goes backwards, {new.begin_wh:g} Wh after {old.end_wh:g} Wh"


def shorten(token: str) -> str:
    """A token as it may be shown: its last four characters."""
    return token if len(token) <= 4 else "…" + token[-4:]


def _energy(session: Session) -> Iterator[str]:
    """Register of one session: never backwards, begin and end where the samples say they are."""
    for old, new in pairwise(sorted(session.readings, key=lambda one: (one.time, one.wh))):
        if new.wh < old.wh:
            yield f"{session.name}: register goes backwards, {new.wh:g} Wh after {old.wh:g} Wh"
    if not session.open and session.place is not None and session.energy_wh is None:
        yield f"{session.name}: ended without begin and end register"
    if session.energy_wh is not None and session.energy_wh < 0:
        yield f"{session.name}: negative energy, {session.energy_wh:g} Wh"
    for reading in session.readings:
        low, high = session.begin_wh, session.end_wh
        # 1.6 tells begin and end as whole Wh, its samples may have decimals
        if (low is not None and reading.wh <= low - 1) or (high is not None and reading.wh >= high + 1):
            yield f"{session.name}: energy mismatch, {reading.context} of {reading.wh:g} Wh is outside begin and end"
        if high is not None and reading.context == "Transaction.End" and abs(reading.wh - high) >= 1:
            yield f"{session.name}: energy mismatch, Transaction.End says {reading.wh:g} Wh and the end {high:g} Wh"
        if low is not None and reading.context == "Transaction.Begin" and abs(reading.wh - low) >= 1:
            yield f"{session.name}: energy mismatch, Transaction.Begin says {reading.wh:g} Wh and the begin {low:g} Wh"


def _digest(payload: Payload) -> str:
    """What makes a retry the same; `offline` may turn true between two attempts (E04.FR.03)."""
    return json.dumps({key: value for key, value in payload.items() if key != "offline"}, sort_keys=True)


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
