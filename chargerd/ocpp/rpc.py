"""OCPP-J framing without I/O: frames in, events out, frames to send out. 1.6 ocppj §4, 2.0.1 part 4 §4, 2.1.

One CALL of ours is outstanding at most (part 4 §4.1.1); theirs are handed on meanwhile, also before boot. Three verbs:
`receive` a frame, tell it what to say (`call`, `reply`, `refuse`), take what is due with `send`. Time is an argument.

What is wrong with a frame of theirs is answered here and nowhere else:

    frame                                      1.6                         2.0.1 and 2.1
    broken, too big or too deep, id readable   FormationViolation          FormatViolation
    CALL of the wrong shape, id readable       FormationViolation          RpcFrameworkError
    broken or misshapen, no lawful id          ignored                     RpcFrameworkError with id "-1" (§4.2.3)
    message type that the version lacks        ignored                     ignored (errata 2026-04 §4.1, §4.3)
    unknown action                             NotImplemented              NotImplemented
    payload against the schema                 as `schemas.check` says     as `schemas.check` says
    id of a CALL that still waits for us       GenericError                RpcFrameworkError
    more CALLs waiting for us than `unanswered`  GenericError              GenericError
    more frames a second than `rate` after `burst`: dropped unread and unanswered, an answer to our CALL excepted

A CALLERROR is never answered, nor is a CALLRESULT but in 2.1: one for our CALL that breaks its schema draws one
CALLRESULTERROR, and that is never answered, so two engines cannot throw errors at each other for ever. An answer that
fits no CALL of ours is ignored, counted, and kept nowhere. A valid CALLRESULT to the last CALL that timed out is handed
on once, as `late`: the peer has heard it after all. A SEND has no answer of any kind, and none that 2.1 knows is
meant for a station: one that arrives is ignored. Payloads pass through as they are: no key is ever renamed.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from chargerd.ocpp import schemas
from chargerd.ocpp.schemas import CODES, Fault, Version

Payload = dict[str, Any]

CALL, CALLRESULT, CALLERROR, CALLRESULTERROR, SEND = 2, 3, 4, 5, 6
TYPES: dict[Version, frozenset[int]] = {
    "1.6": frozenset({CALL, CALLRESULT, CALLERROR}),
    "2.0.1": frozenset({CALL, CALLRESULT, CALLERROR}),
    "2.1": frozenset({CALL, CALLRESULT, CALLERROR, CALLRESULTERROR, SEND}),
}
NO_ID = "-1"
_COMMON = {"NotImplemented", "NotSupported", "InternalError", "ProtocolError", "SecurityError", "GenericError"}
ERROR_CODES: dict[Version, frozenset[str]] = {  # 1.6 ocppj Table 7; part 4 §4.3 without what errata §4.2 deprecates
    "1.6": frozenset(_COMMON | set(CODES["1.6"].values())),
    "2.0.1": frozenset(_COMMON | set(CODES["2.0.1"].values()) | {"RpcFrameworkError"}),
    "2.1": frozenset(_COMMON | set(CODES["2.1"].values()) | {"RpcFrameworkError"}),
}
MAX_ID, MAX_TEXT = 36, 255
_REMEMBERED = 16  # ids that are over, only to call an answer late or doubled, and to name what they complain of


class Busy(RuntimeError):
    """A CALL of ours is outstanding: wait for its Result, Error or Timeout."""


class Unsendable(ValueError):
    """What the caller wants to send is not OCPP: a fault of ours, never of the peer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`size` in bytes of a frame; `unanswered` CALLs of theirs; `rate` in frames a second after a `burst` of frames."""

    size: int = 256 * 1024
    depth: int = 32
    unanswered: int = 16
    rate: float = 50.0
    burst: int = 200


@dataclass(frozen=True, slots=True)
class Call:
    """They ask. Answer with `reply(id, …)` or `refuse(id, …)`; `id` is ours and holds for this connection only."""

    id: str
    action: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class Result:
    """Their valid answer to our CALL; `context` is what `call` was given. `late`: `timeouts` has told of it before."""

    id: str
    action: str
    payload: Payload
    context: object
    late: bool = False


@dataclass(frozen=True, slots=True)
class Error:
    """Our CALL failed. `ours`: they did answer, but the answer is no valid CALLRESULT, and code and text are ours."""

    id: str
    action: str
    code: str
    description: str
    context: object
    ours: bool


@dataclass(frozen=True, slots=True)
class Disputed:
    """They could not read our answer to their CALL (CALLRESULTERROR, 2.1): nothing is left to be done about it."""

    action: str
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame that concerns nobody outside; where an answer was due it is among the frames to send."""

    why: str


@dataclass(frozen=True, slots=True)
class Timeout:
    """No answer to our CALL in its time."""

    id: str
    action: str
    context: object


Got = Call | Result | Error | Disputed | Ignored


class _Ours(NamedTuple):
    id: str
    action: str
    context: object
    deadline: float


class _Theirs(NamedTuple):
    wire_id: str
    action: str


class _Broken(ValueError):
    """The frame is no wholesome JSON; the message says why without showing any of it."""


class Rpc:
    """The engine for one subprotocol; survives reconnects with `lost()`. Nothing that arrives makes it raise."""

    def __init__(self, version: Version, new_id: Callable[[], str], limits: Limits | None = None) -> None:
        self.version: Version = version
        self.counters: Counter[str] = Counter()
        """How often: late, twice, stray, malformed, unknown type, flood, refused, dropped, unasked, disputed, sent."""
        self.new_id = new_id
        self._limits = limits or Limits()
        self._ours: _Ours | None = None
        self._given_up: _Ours | None = None
        self._over: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)
        self._theirs: dict[str, _Theirs] = {}
        self._answered_theirs: deque[_Theirs] = deque(maxlen=_REMEMBERED)
        self._handed_on = 0
        self._outgoing: deque[str] = deque()
        self._tokens = float(self._limits.burst)
        self._counted_at: float | None = None

    # ---- what we say

    @property
    def busy(self) -> bool:
        """Whether `call` would raise Busy."""
        return self._ours is not None

    def call(
        self,
        action: str,
        payload: Mapping[str, Any],
        context: object,
        now: float,
        timeout: float,
        message_id: str | None = None,
    ) -> str:
        """Send a CALL and return its message id; `message_id` repeats an older one (2.0.1 part 4 §4.1.4).

        Raises Busy, or Unsendable when action, payload or id are not the version's.
        """
        if self._ours is not None:
            raise Busy(f"{self._ours.action} is still waiting for its answer")
        if action not in schemas.actions(self.version):
            raise Unsendable(f"{action} is not an action of OCPP {self.version}")
        self._check_ours(action, "request", payload)
        wire_id = self.new_id() if message_id is None else message_id
        if len(wire_id) > MAX_ID:
            raise Unsendable(f"message id of {len(wire_id)} characters, at most {MAX_ID}")
        self._put([CALL, wire_id, action, payload])
        self._ours = _Ours(wire_id, action, context, now + timeout)
        return wire_id

    def reply(self, id: str, payload: Mapping[str, Any]) -> bool:
        """Send the CALLRESULT; False when nobody waits for it any more. Raises Unsendable on an invalid payload."""
        theirs = self._theirs.get(id)
        if theirs is None:
            self.counters["unasked"] += 1
            return False
        self._check_ours(theirs.action, "response", payload)
        self._put([CALLRESULT, theirs.wire_id, payload])
        self._answered_theirs.append(theirs)
        del self._theirs[id]
        return True

    def refuse(self, id: str, code: str, description: str = "") -> bool:
        """Send a CALLERROR, its text cut to 255; False when nobody waits for it any more.

        Raises Unsendable when `code` is not one of the version's `ERROR_CODES`.
        """
        if code not in ERROR_CODES[self.version]:
            raise Unsendable(f"{code} is not an error code of OCPP {self.version}")
        theirs = self._theirs.pop(id, None)
        if theirs is None:
            self.counters["unasked"] += 1
            return False
        self._put([CALLERROR, theirs.wire_id, code, description[:MAX_TEXT], {}])
        return True

    def ignore(self, id: str) -> None:
        """Leave this CALL without any answer."""
        self._theirs.pop(id, None)

    def send(self) -> list[str]:
        """The frames due on the wire, in order; each is given once."""
        frames = list(self._outgoing)
        self._outgoing.clear()
        return frames

    # ---- time and link

    @property
    def wake_at(self) -> float | None:
        """When `timeouts` has something to say."""
        return None if self._ours is None else self._ours.deadline

    def timeouts(self, now: float) -> list[Timeout]:
        """The CALL of ours whose time is over; the next one may go out (part 4 §4.1.1)."""
        ours = self._ours
        if ours is None or now < ours.deadline:
            return []
        self._given_up = self._finish("late")
        return [Timeout(ours.id, ours.action, ours.context)]

    def lost(self) -> list[object]:
        """The link is gone: forget both sides' open CALLs and unsent frames; contexts of ours that have no answer."""
        contexts = [] if self._ours is None else [self._ours.context]
        self._ours = self._given_up = None
        self._over.clear()
        self._theirs.clear()
        self._answered_theirs.clear()
        self._outgoing.clear()
        self._tokens, self._counted_at = float(self._limits.burst), None
        return contexts

    # ---- what they say

    def receive(self, text: str | bytes, now: float) -> list[Got]:
        """What a frame means to the caller: one event. Answers that are the frame's own due go to `send`."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        head = _Head.read(raw)
        if not self._within_rate(now) and not self._answers_us(head.type, head.id):
            return self._ignore("flood", "more frames than the limit allows")
        try:
            frame = self._parse(raw)
        except _Broken as e:
            return self._broken(head, str(e))
        if not isinstance(frame, list) or not frame:
            return self._broken(head, "not a JSON array with a message type")
        type_, *rest = frame
        id_ = rest[0] if rest and isinstance(rest[0], str) and len(rest[0]) <= MAX_ID else None
        match type_ if isinstance(type_, int) and type_ in TYPES[self.version] else None:
            case 2:
                return self._called(id_, rest)
            case 3:
                return self._answered(id_, rest)
            case 4:
                return self._failed(id_, rest)
            case 5:
                return self._disputed(id_, rest)
            case 6:
                return self._ignore("sent", "a SEND, and none is meant for a station")
        return self._ignore("unknown type", "a message type that the version does not know")

    def _called(self, id_: str | None, rest: list[Any]) -> list[Got]:
        misshapen = CODES["1.6"][Fault.SYNTAX] if self.version == "1.6" else "RpcFrameworkError"
        if id_ is None:
            return self._refuse_unread("the message id is missing, no string, or longer than 36 characters")
        if len(rest) != 3 or not isinstance(rest[1], str):
            return self._refuse_raw(id_, misshapen, "a CALL has 4 elements: type, id, action, payload")
        _, action, payload = rest
        if action not in schemas.actions(self.version):
            return self._refuse_raw(id_, "NotImplemented", f"not an action of OCPP {self.version}")
        if any(waiting.wire_id == id_ for waiting in self._theirs.values()):
            code = "GenericError" if self.version == "1.6" else "RpcFrameworkError"
            return self._refuse_raw(id_, code, "a CALL with this id is being handled")
        if len(self._theirs) >= self._limits.unanswered:
            return self._refuse_raw(id_, "GenericError", "too many CALLs wait for an answer: send them one by one")
        payload = {} if payload is None else payload  # all versions allow null for "no payload"
        if violation := schemas.check(self.version, action, "request", payload):
            return self._refuse_raw(id_, violation.code, violation.text)
        self._handed_on += 1
        # not the wire's id: an answer that comes after a reconnect must not meet another CALL of the same id
        ours = str(self._handed_on)
        self._theirs[ours] = _Theirs(id_, action)
        return [Call(ours, action, payload)]

    def _answered(self, id_: str | None, rest: list[Any]) -> list[Got]:
        if self._ours is None or id_ != self._ours.id:
            return self._late(id_, rest) or self._unmatched(id_)
        if len(rest) != 2:
            return [self._invalid_result(CODES[self.version][Fault.SYNTAX], "a CALLRESULT has 3 elements")]
        payload = {} if rest[1] is None else rest[1]
        if violation := schemas.check(self.version, self._ours.action, "response", payload):
            return [self._invalid_result(violation.code, violation.text)]
        ours = self._finish("twice")
        return [Result(ours.id, ours.action, payload, ours.context)]

    def _late(self, id_: str | None, rest: list[Any]) -> list[Got]:
        late = self._given_up
        if late is None or late.id != id_ or len(rest) != 2:
            return []
        payload = {} if rest[1] is None else rest[1]
        if schemas.check(self.version, late.action, "response", payload):
            return []
        self._given_up = None
        self.counters["late"] += 1
        return [Result(late.id, late.action, payload, late.context, late=True)]

    def _failed(self, id_: str | None, rest: list[Any]) -> list[Got]:
        if self._ours is None or id_ != self._ours.id:
            return self._unmatched(id_)
        ours = self._finish("twice")
        return [Error(ours.id, ours.action, *_code_and_text(rest), ours.context, ours=False)]

    def _disputed(self, id_: str | None, rest: list[Any]) -> list[Got]:
        answered = next((theirs for theirs in self._answered_theirs if theirs.wire_id == id_), None)
        if answered is None:
            return self._ignore("stray", "a CALLRESULTERROR to no answer of ours")
        self._answered_theirs.remove(answered)
        self.counters["disputed"] += 1
        return [Disputed(answered.action, *_code_and_text(rest))]

    def _broken(self, head: _Head, why: str) -> list[Got]:
        match head.type:
            case 2 if head.id is not None:
                return self._refuse_raw(head.id, CODES[self.version][Fault.SYNTAX], why)
            case 3 if self._answers_us(head.type, head.id):
                return [self._invalid_result(CODES[self.version][Fault.SYNTAX], why)]
            case 4 if self._answers_us(head.type, head.id):
                return [self._invalid_answer(CODES[self.version][Fault.SYNTAX], why)]
            case None | 2:
                return self._refuse_unread(why)
        if head.type in TYPES[self.version]:
            return self._ignore("malformed", why)
        return self._ignore("unknown type", "a message type that the version does not know")

    # ---- the small parts

    def _answers_us(self, type_: int | None, id_: str | None) -> bool:
        return type_ in (CALLRESULT, CALLERROR) and self._ours is not None and id_ == self._ours.id

    def _finish(self, what_another_answer_is: str) -> _Ours:
        assert self._ours is not None
        ours, self._ours = self._ours, None
        self._over.append((ours.id, what_another_answer_is))
        return ours

    def _invalid_result(self, code: str, text: str) -> Error:
        failed = self._invalid_answer(code, text)
        if CALLRESULTERROR in TYPES[self.version]:
            self._put([CALLRESULTERROR, failed.id, code, text[:MAX_TEXT], {}])
        return failed

    def _invalid_answer(self, code: str, text: str) -> Error:
        ours = self._finish("twice")
        return Error(ours.id, ours.action, code, text, ours.context, ours=True)

    def _unmatched(self, id_: str | None) -> list[Got]:
        kind = next((kind for known, kind in reversed(self._over) if known == id_), "stray")
        return self._ignore(kind, f"answer to no CALL that waits ({kind})")

    def _ignore(self, counter: str, why: str) -> list[Got]:
        self.counters[counter] += 1
        return [Ignored(why)]

    def _refuse_unread(self, why: str) -> list[Got]:
        if self.version == "1.6":
            return self._ignore("malformed", why)
        return self._refuse_raw(NO_ID, "RpcFrameworkError", why)

    def _refuse_raw(self, wire_id: str, code: str, why: str) -> list[Got]:
        if len(self._outgoing) < self._limits.unanswered:
            self._put([CALLERROR, wire_id, code, why[:MAX_TEXT], {}])
        else:  # nobody takes our frames: errors are what can be spared
            self.counters["dropped"] += 1
        return self._ignore("refused", f"{code}: {why}")

    def _check_ours(self, action: str, kind: schemas.Kind, payload: Mapping[str, Any]) -> None:
        if violation := schemas.check(self.version, action, kind, payload):
            raise Unsendable(f"{action} {kind}: {violation.code}: {violation.text}")

    def _put(self, frame: list[Any]) -> None:
        try:
            self._outgoing.append(json.dumps(frame, separators=(",", ":"), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as e:
            raise Unsendable(f"cannot be written as JSON: {e}") from None

    def _within_rate(self, now: float) -> bool:
        if self._counted_at is not None:
            gained = (now - self._counted_at) * self._limits.rate
            self._tokens = min(float(self._limits.burst), self._tokens + gained)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _parse(self, raw: bytes) -> Any:
        if len(raw) > self._limits.size:
            raise _Broken(f"frame of more than {self._limits.size} bytes")
        try:
            text = raw.decode("utf-8")
            frame = json.loads(text, object_pairs_hook=_members, parse_float=_finite, parse_constant=_finite)
            _walk(frame, self._limits.depth)
            if _SURROGATE.search(text):
                json.dumps(frame, ensure_ascii=False).encode("utf-8")
        except UnicodeError:
            raise _Broken("not UTF-8, or half of a surrogate pair") from None
        except RecursionError:
            raise _Broken(f"nested deeper than {self._limits.depth}") from None
        except _Broken:
            raise
        except ValueError:
            raise _Broken("not valid JSON") from None
        return frame


def _code_and_text(rest: list[Any]) -> tuple[str, str]:
    """Of an error of theirs, leniently: whatever stands where they belong, it is an error."""
    code, text, *_ = [x if isinstance(x, str) else "" for x in (*rest[1:3], "", "")]
    return code[:64] or "GenericError", text[:MAX_TEXT]


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_HEAD = re.compile(
    rb"""[ \t\r\n]*+ \[ [ \t\r\n]*+ ([0-9]{1,9}) [ \t\r\n]*+  # message type
    (?: , [ \t\r\n]*+ ("(?: [^"\\\x00-\x1f] | \\. ){0,432}+") )?  # id: 36 escaped surrogate pairs, 432 bytes""",
    re.VERBOSE,
)


class _Head(NamedTuple):
    """Message type and id as far as they can be read, also from a frame that breaks off or is no JSON further on."""

    type: int | None
    id: str | None

    @classmethod
    def read(cls, raw: bytes) -> _Head:
        found = _HEAD.match(raw)
        if found is None:
            return cls(None, None)
        try:
            id_ = json.loads(found[2]) if found[2] else None
        except ValueError:
            id_ = None
        lawful = isinstance(id_, str) and len(id_) <= MAX_ID and not any("\ud800" <= c <= "\udfff" for c in id_)
        return cls(int(found[1]), id_ if lawful else None)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Broken("a member is there twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Broken("a number that is not finite")
    return number


def _walk(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise RecursionError
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                _walk(item, left - 1)
