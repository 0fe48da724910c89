"""One station's link, as the judge sees it: framing, checks of all that comes in, answers as scripted.

A `Peer` lives as long as one connection and needs no socket: `receive(text)` takes a frame, `deliver` is handed each
frame for the station. What needs no waiting is answered before `receive` returns, also without an event loop.
What is remembered over connections is in the `StationView`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, NoReturn, Protocol

from chargerd.lab import schema

Payload = dict[str, Any]
Direction = Literal["<", ">"]
Kind = Literal["call", "result", "error", "dispute", "junk"]
MAX_FRAME = 1 << 20
KEPT_FRAMES = 10_000
KEPT_VIOLATIONS = 1_000
KEPT_RESULTS = 100


class CallFailed(Exception):
    """A CALL of ours that brought no result. `code` is the station's error code, or `Timeout` or `LinkLost`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.text = text


Then = Callable[[Payload | CallFailed], None]
"""Gets the result once, or why there is none."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of the wire log: `<` from the station, `>` to it. Payload of an `error` or `dispute` (CALLRESULTERROR,
    2.1): code, description, details.
    """

    at: float
    direction: Direction
    kind: Kind
    action: str
    payload: Payload
    id: str


@dataclass(frozen=True, slots=True)
class Violation:
    """Something the station must not do, in words."""

    at: float
    action: str
    text: str

    def __str__(self) -> str:
        return f"{self.action}: {self.text}" if self.action else self.text


@dataclass(frozen=True, slots=True)
class Status:
    """One told connector status. `error` is 1.6's errorCode."""

    at: float
    place: tuple[int, int]
    status: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Script:
    """How a bad backend answers. The parts combine: a delayed answer may also be doubled.

    `heard=False`: the request is lost on the way, so the backend knows nothing of it; an `error` is not heard either.
    `cut`: the link ends where the answer should have been. `answer` replaces the payload, unchecked.
    """

    error: tuple[str, str] | None = None
    answer: Payload | None = None
    mute: bool = False
    cut: bool = False
    heard: bool = True
    delay: float = 0.0
    copies: int = 1
    wrong_id: bool = False

    @property
    def taken(self) -> bool:
        return self.heard and self.error is None


HONEST = Script()


@dataclass(slots=True)
class StationView:
    """What the backend knows of one station, over all its links. Places: (EVSE, connector), 1.6: (connectorId, 1)."""

    id: str
    version: str
    registration: str | None = None
    connections: int = 0
    boots: list[Payload] = field(default_factory=list)
    statuses: dict[tuple[int, int], Status] = field(default_factory=dict)
    status_history: deque[Status] = field(default_factory=lambda: deque(maxlen=KEPT_FRAMES))
    last_heartbeat: float | None = None
    wire: deque[Frame] = field(default_factory=lambda: deque(maxlen=KEPT_FRAMES))
    violations: deque[Violation] = field(default_factory=lambda: deque(maxlen=KEPT_VIOLATIONS))
    invited: set[str] = field(default_factory=set)
    """Actions asked for by TriggerMessage, GetBaseReport or GetReport: allowed before acceptance (B02.FR.02)."""
    call_ids: dict[str, int] = field(default_factory=dict)
    """The latest 10,000 ids the station has used, each with a hash of what for."""
    remote_starts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def status(self, evse: int, connector: int = 1) -> str | None:
        known = self.statuses.get((evse, connector))
        return known.status if known else None

    def calls(self, action: str | None = None) -> list[Payload]:
        """Payloads of the station's own CALLs in the log, oldest first."""
        return [
            frame.payload
            for frame in self.wire
            if (frame.direction, frame.kind) == ("<", "call") and action in (None, frame.action)
        ]


class House(Protocol):
    """What a peer needs of the CSMS it belongs to. `patience`: seconds after which a station may give up a CALL."""

    patience: float

    def clock(self) -> float: ...
    def new_id(self) -> str: ...
    def log(self, station: StationView, frame: Frame) -> None: ...
    def script_for(self, station: StationView, action: str) -> Script: ...
    def answer(self, peer: Peer, action: str, payload: Payload, then: Then) -> None: ...


@dataclass(slots=True)
class _Asked:
    action: str
    then: Then


class Peer:
    """One connection. `house` decides; the peer frames, checks and logs."""

    def __init__(
        self,
        house: House,
        station: StationView,
        deliver: Callable[[str], None],
        closed: Callable[[], None] | None = None,
    ) -> None:
        self.house = house
        self.station = station
        self.version = station.version
        self.open = True
        self._deliver = deliver
        self._closed = closed
        self._asked: dict[str, _Asked] = {}
        self._given_up: set[str] = set()
        self._unanswered: dict[str, float] = {}
        self._results: dict[str, str] = {}  # ids of the latest results we gave, with their actions
        self._call_ids: dict[str, int] = {}

    # ---- towards the station

    def ask(self, action: str, payload: Payload, then: Then) -> str:
        """Send a CALL; `then` gets the result once, or why there is none. Returns the message id."""
        message_id = self.house.new_id()
        self._asked[message_id] = _Asked(action, then)
        if action == "TriggerMessage":
            self.station.invited.add(payload["requestedMessage"])
        elif action in ("GetBaseReport", "GetReport"):
            self.station.invited.add("NotifyReport")
        self._send("call", action, message_id, payload)
        return message_id

    def give_up(self, message_id: str) -> None:
        """A CALL of ours timed out; a late answer to it is no violation."""
        if self._asked.pop(message_id, None) is not None:
            self._given_up.add(message_id)

    def close(self) -> None:
        """End the connection; CALLs of ours that wait fail with `LinkLost`."""
        if not self.open:
            return
        self.open = False
        for asked in list(self._asked.values()):
            asked.then(CallFailed("LinkLost", f"the link closed before {asked.action} was answered"))
        self._asked.clear()
        if self._closed is not None:
            self._closed()

    def _send(self, kind: Kind, action: str, message_id: str, payload: Payload) -> None:
        if not self.open:
            return
        match kind:
            case "call":
                frame: list[Any] = [2, message_id, action, payload]
            case "result":
                frame = [3, message_id, payload]
            case "error" | "dispute":
                number = 4 if kind == "error" else 5
                frame = [number, message_id, payload["code"], payload["description"], payload["details"]]
        self._log(">", kind, action, payload, message_id)
        self._deliver(json.dumps(frame, separators=(",", ":")))

    # ---- from the station

    def receive(self, text: str | bytes) -> None:
        """One frame from the station; never raises for what is in it."""
        if not self.open:
            return
        try:
            frame = _parse(text)
        except (ValueError, RecursionError) as reason:
            self._junk(text, str(reason))
            return
        match frame:
            case [2, str(message_id), str(action), dict(payload)] if 0 < len(message_id) <= 36:
                self._call(message_id, action, payload)
            case [3, str(message_id), dict(payload)]:
                self._result(message_id, payload)
            case [4, str(message_id), str(code), str(description), dict(details)]:
                self._error(message_id, code, description, details)
            case [5, str(message_id), str(code), str(description), dict(details)] if self.version == "ocpp2.1":
                self._dispute(message_id, code, description, details)
            case [6, str(message_id), str(action), *_] if self.version == "ocpp2.1":
                self._junk(text, f"a SEND of {action[:60]}, which nobody asked for", message_id, None)
            case [2, str(message_id), *_] if 0 < len(message_id) <= 36:
                self._junk(text, "not [2, id, action, payload]", message_id, schema.FORMATION[self.version])
            case [int(kind), str(message_id), *_] if kind not in (2, 3, 4) and self.version == "ocpp2.1":
                self._junk(text, f"message type {kind}", message_id, None)
            case [int(kind), str(message_id), *_] if kind not in (2, 3, 4):
                self._junk(text, f"message type {kind}", message_id, "MessageTypeNotSupported")
            case _:
                self._junk(text, "not an OCPP message")

    def _call(self, message_id: str, action: str, payload: Payload) -> None:
        self._log("<", "call", action, payload, message_id)
        self._check_manners(message_id, action, payload)
        if not self._admitted(action):
            self._violate(action, f"sent while {self.station.registration or 'not booted'}")
            if self.station.registration is not None:  # else it may have booted at a CSMS that has forgotten it
                self._refuse(message_id, action, "SecurityError", "not accepted yet")  # B02.FR.09, B03.FR.07
                return
        if action not in schema.actions(self.version):
            self._violate(action, "no such action in " + self.version)
            self._refuse(message_id, action, "NotImplemented", f"{action[:60]} is not known")
            return
        fault = schema.fault(self.version, action, payload)
        if fault is not None:
            self._violate(action, f"{fault.code}, {fault.text}")
            self._refuse(message_id, action, fault.code, fault.text)
            return
        script = self.house.script_for(self.station, action)
        self._unanswered[message_id] = self.house.clock()
        if not script.taken:
            self._answer(message_id, action, script, {})
            return
        self.house.answer(self, action, payload, lambda result: self._answer(message_id, action, script, result))

    def _answer(self, message_id: str, action: str, script: Script, result: Payload | CallFailed) -> None:
        if script.delay > 0:
            asyncio.get_running_loop().call_later(script.delay, self._say, message_id, action, script, result)
        else:
            self._say(message_id, action, script, result)

    def _say(self, message_id: str, action: str, script: Script, result: Payload | CallFailed) -> None:
        if script.cut:
            self.close()
            return
        if script.mute or not script.heard:
            return
        self._unanswered.pop(message_id, None)
        told_id = self.house.new_id() if script.wrong_id else message_id
        if script.error is not None:
            result = CallFailed(*script.error)
        for _ in range(script.copies):
            if isinstance(result, CallFailed):
                self._refuse(told_id, action, result.code, result.text)
            else:
                self._results[told_id] = action
                if len(self._results) > KEPT_RESULTS:
                    del self._results[next(iter(self._results))]
                self._send("result", action, told_id, result if script.answer is None else script.answer)

    def _refuse(self, message_id: str, action: str, code: str, description: str) -> None:
        self._send("error", action, message_id, {"code": code, "description": description[:255], "details": {}})

    def _result(self, message_id: str, payload: Payload) -> None:
        asked = self._take(message_id, "result", payload)
        if asked is None:
            return
        fault = schema.fault(self.version, asked.action, payload, response=True)
        if fault is None:
            asked.then(payload)
        else:
            self._violate(asked.action, f"answered with {fault.code}, {fault.text}")
            if self.version == "ocpp2.1":
                self._complain(message_id, asked.action, fault)
            asked.then(CallFailed(fault.code, fault.text))

    def _complain(self, message_id: str, action: str, fault: schema.Fault) -> None:
        payload = {"code": fault.code, "description": fault.text, "details": {}}
        self._send("dispute", action, message_id, payload)

    def _dispute(self, message_id: str, code: str, description: str, details: Payload) -> None:
        """The station could not read our answer; it may say so once of each."""
        action = self._results.pop(message_id, "")
        payload = {"code": code, "description": description, "details": details}
        self._log("<", "dispute", action, payload, message_id)
        self._check_error(action, code, description)
        if not action:
            self._violate("", f"a CALLRESULTERROR to no answer of ours, id {message_id[:40]!r}")

    def _error(self, message_id: str, code: str, description: str, details: Payload) -> None:
        asked = self._take(message_id, "error", {"code": code, "description": description, "details": details})
        self._check_error(asked.action if asked else "", code, description)
        if asked is not None:
            asked.then(CallFailed(code, description))

    def _check_error(self, action: str, code: str, description: str) -> None:
        if code not in schema.ERROR_CODES[self.version]:
            self._violate(action, f"{code[:60]} is no error code of {self.version}")
        if len(description) > 255:
            self._violate(action, "error description longer than 255 characters")

    def _take(self, message_id: str, kind: Kind, payload: Payload) -> _Asked | None:
        asked = self._asked.pop(message_id, None)
        self._log("<", kind, asked.action if asked else "", payload, message_id)
        if asked is None and message_id in self._given_up:
            self._given_up.discard(message_id)
        elif asked is None:
            self._violate("", f"an answer to no CALL of ours, id {message_id[:40]!r}")
        return asked

    def _junk(
        self, text: str | bytes, why: str, message_id: str = "-1", code: str | None = "RpcFrameworkError"
    ) -> None:
        shown = text if isinstance(text, str) else text.decode(errors="replace")
        self._log("<", "junk", "", {"text": shown[:500]}, message_id)
        self._violate("", f"unreadable frame: {why}"[:300])
        if code in schema.ERROR_CODES[self.version]:  # 1.6 has no word for it: ignored (1.6J §4.1.3)
            self._refuse(message_id, "", code, why)

    def _check_manners(self, message_id: str, action: str, payload: Payload) -> None:
        now = self.house.clock()
        # unique on one connection (1.6J §4.1.4), or on all, but for the same message again (2.0.1 part 4 §4.1.4)
        used = self._call_ids if self.version == "ocpp1.6" else self.station.call_ids
        for waiting, since in list(self._unanswered.items()):
            if now - since < self.house.patience:
                self._violate(action, f"a second CALL while {waiting} waits for its answer")  # 1.6J §4.1.1
            del self._unanswered[waiting]
        what = hash(action + json.dumps({**payload, "offline": None}, sort_keys=True))
        if message_id in used and (self.version == "ocpp1.6" or used[message_id] != what):
            self._violate(action, f"message id {message_id} used again")
        used[message_id] = what
        if len(used) > KEPT_FRAMES:
            del used[next(iter(used))]

    def _admitted(self, action: str) -> bool:
        """1.6 §4.2, B02.FR.02, B03.FR.02: who is not accepted only boots, or says what it was asked for."""
        registration = self.station.registration
        if registration == "Accepted" or action == "BootNotification":
            return True
        return registration == "Pending" and action in self.station.invited

    def _log(self, direction: Direction, kind: Kind, action: str, payload: Payload, message_id: str) -> None:
        self.house.log(self.station, Frame(self.house.clock(), direction, kind, action, payload, message_id))

    def _violate(self, action: str, text: str) -> None:
        self.station.violations.append(Violation(self.house.clock(), action, text))


def _parse(text: str | bytes) -> Any:
    if isinstance(text, bytes):
        raise ValueError("a binary frame")
    if len(text) > MAX_FRAME:
        raise ValueError(f"longer than {MAX_FRAME} characters")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> Payload:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key given twice in one object")
    return made


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits[:20]} is out of range")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
