"""The far end of the link in the hands of an enemy, and the account of what it is owed for each frame it throws.

It stands where the websocket would (`run.LinkPort`). Kind, it answers every CALL as a plain backend does; else it
spoils, doubles, delays, forgets or refuses. What it throws is entered: a CALL that can be read as one is owed exactly
one answer, anything else at most one, an answer of its own none at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chargerd.daemon.csms import LinkSettings, LinkState
from chargerd.lab import schema
from tests.hostile.reading import read
from tests.hostile.speech import Speech, written

LATEST = 1000
PATIENCE = 60.0  # s of the station's time for an answer to a CALL
TIME = "2027-01-15T08:00:00Z"


@dataclass(frozen=True, slots=True)
class Owed:
    """A CALL whose one answer has to come by `by`."""

    action: str
    by: float
    frame: bytes


@dataclass(slots=True)
class Account:
    """What is wrong, and what was seen. It outlives links and daemons."""

    complaints: list[str] = field(default_factory=list)
    thrown: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of the station's loop, for each frame thrown
    news: str = ""  # what the last answer was, for the corpus


class Log:
    """Every frame, both ways, as a digest; the latest ones whole."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.latest: deque[str] = deque(maxlen=LATEST)

    def enter(self, at: float, direction: str, raw: bytes) -> None:
        self._digest.update(f"{at:.6f}{direction}{len(raw)} ".encode() + raw)
        self.latest.append(f"{at:.3f} {direction} {raw[:400]!r}")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


class Backend:
    """Made anew with each daemon through `Whole(link=…)`; `kind` and `boot` say how it answers from now on."""

    def __init__(self, subprotocol: str, chance: random.Random, speech: Speech, account: Account) -> None:
        self.subprotocol, self._chance, self.speech, self.account = subprotocol, chance, speech, account
        self.kind, self.boot = True, "Accepted"
        self.registered = False
        self.calls: list[tuple[str, str]] = []  # id and action of the station's CALLs that wait
        self.heard: Counter[str] = Counter()  # the station's CALLs by action
        self.log = Log()
        self._owed: dict[str, list[Owed]] = {}
        self._disputable: Counter[str] = Counter()  # ids of the station's CALLs whose answer it may dispute (2.1)
        self._loose: deque[float] = deque()  # frames that may be answered once, and until when
        self._ids = 0
        self._open = False
        self._alive = False
        self._state = LinkState("off", 0.0)

    # ---- the station's side of it

    def link(
        self,
        settings: LinkSettings,
        *,
        on_open: Callable[[str], None],
        on_frame: Callable[[str | bytes], bool],
        on_closed: Callable[[str], None],
        **_: Any,
    ) -> Backend:
        """A `LinkMaker`: the new daemon's link is this backend again."""
        self._on_open, self._on_frame, self._on_closed = on_open, on_frame, on_closed
        return self

    @property
    def state(self) -> LinkState:
        return self._state

    def start(self) -> None:
        self._alive = True
        self._later(0.5, self.up)

    async def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._alive = self._open = False
        self._forget()

    def configure(self, settings: LinkSettings) -> None: ...

    def force(self, up: bool) -> None: ...

    def drop(self, reason: str, cause: str) -> None:
        self._later(0.0, self.down)

    def send(self, frame: str) -> bool:
        if not self._open:
            return False
        self.log.enter(asyncio.get_running_loop().time(), "<", frame.encode())
        self._take(json.loads(frame))
        return True

    # ---- the enemy's side of it

    @property
    def open(self) -> bool:
        return self._open

    def up(self) -> None:
        if self._alive and not self._open:
            self._open = True
            self._state = LinkState("open", asyncio.get_running_loop().time(), subprotocol=self.subprotocol)
            self._on_open(self.subprotocol)

    def down(self) -> None:
        """The link breaks: what is owed is owed no more."""
        if self._open:
            self._open = False
            self._state = LinkState("waiting", asyncio.get_running_loop().time())
            self._forget()
            self._on_closed("the connection broke")
            self._later(1.0, self.up)

    def fresh(self) -> str:
        self._ids += 1
        return f"t{self._ids}"

    def throw(self, raw: bytes) -> None:
        """Send these bytes now, and enter what is owed for them."""
        if not self._open:
            return
        now = asyncio.get_running_loop().time()
        call = read(raw, self.subprotocol)
        mute = self.boot == "Rejected" and self.subprotocol == "ocpp1.6"  # 1.6 §4.2
        if call is not None and not mute:
            self._owed.setdefault(call.id, []).append(Owed(call.action, now + PATIENCE, raw))
        else:
            self._loose.append(now + PATIENCE)
        self._deliver(raw)

    def flood(self, frames: int) -> None:
        """More at once than any engine takes: each may be answered, none need be."""
        now = asyncio.get_running_loop().time()
        for _ in range(frames):
            if self._open:
                self._loose.append(now + PATIENCE)
                self._deliver(written([2, self.fresh(), "ClearCache", {}]))

    def ask(self, action: str, payload: Any) -> None:
        self.throw(written([2, self.fresh(), action, payload]))

    def look(self) -> None:
        """Complain of what is overdue; forget what was a kindness."""
        now = asyncio.get_running_loop().time()
        while self._loose and self._loose[0] < now:
            self._loose.popleft()
        for id_, waiting in list(self._owed.items()):
            for owed in [owed for owed in waiting if owed.by < now]:
                waiting.remove(owed)
                self._complain(f"{owed.action}: no answer within {PATIENCE:g} s", owed.frame)
            if not waiting:
                del self._owed[id_]

    def _deliver(self, raw: bytes) -> None:
        self.account.thrown += 1
        self.account.news = ""
        self.log.enter(asyncio.get_running_loop().time(), ">", raw)
        try:
            text: str | bytes = raw.decode()
        except UnicodeDecodeError:
            text = raw
        began = time.perf_counter()
        self._on_frame(text)
        self.account.seconds.append(time.perf_counter() - began)

    def _take(self, frame: Any) -> None:
        """What the station says is always lawful, whatever it has heard."""
        match frame:
            case [2, str(id_), str(action), dict(payload)]:
                self.heard[action] += 1
                if found := schema.fault(self.subprotocol, action, payload):
                    self._complain(f"said an unlawful {action}: {found.text}", written(frame))
                self.calls.append((id_, action))
                self._disputable[id_] += self.subprotocol == "ocpp2.1"
                self.speech.learn(payload.get("transactionInfo", {}).get("transactionId"))
                self._later(0.02, self._answer, id_, action)
            case [3, str(id_), dict(payload)]:
                owed = self._settle(id_, frame)
                self.account.answers["result"] += 1
                if owed is not None:
                    self._news(owed, "result", str(payload.get("status", "")))
                    if found := schema.fault(self.subprotocol, owed.action, payload, response=True):
                        self._complain(f"unlawful answer to {owed.action}: {found.text}", owed.frame)
            case [4, str(id_), str(code), str(text), dict()] if code in schema.ERROR_CODES[self.subprotocol]:
                owed = self._settle(id_, frame)
                self.account.answers[code] += 1
                self._news(owed, code, text)
                if len(text) > 255:
                    self._complain(f"an error text of {len(text)} characters", written(frame))
                if code == "InternalError":
                    self._complain(f"a fault of its own: {text}", written(frame) if owed is None else owed.frame)
            case [5, str(id_), str(code), str(text), dict()] if code in schema.ERROR_CODES[self.subprotocol]:
                self.account.answers["dispute"] += 1
                self._disputable[id_] -= 1
                if self._disputable[id_] < 0 or len(text) > 255:
                    self._complain("disputes what was no answer, or twice, or at length", written(frame))
            case _:
                self._complain("said what is no frame", written(frame))

    def _settle(self, id_: str, frame: Any) -> Owed | None:
        """What was owed under this id; None where the answer is to a frame that might be answered."""
        waiting = self._owed.get(id_)
        if waiting:
            return waiting.pop(0)
        if not self._loose:
            self._complain("an answer that nobody is owed", written(frame))
        else:
            self._loose.popleft()
        return None

    def _answer(self, id_: str, action: str) -> None:
        """How the station's own CALL fares."""
        if not self._open or (id_, action) not in self.calls:
            return
        self.calls.remove((id_, action))
        good = written([3, id_, self._kindly(action)])
        if self.kind or action == "BootNotification":
            self._reply(good)
            return
        chance = self._chance
        match chance.randrange(12):
            case 0:
                return  # never
            case 1:
                self._reply(written([4, id_, chance.choice(("InternalError", "", "x" * 99)), "no", {}]))
            case 2:
                self._reply(written([3, id_, self.speech.twisted(self.speech.response(action))]))
            case 3:
                self._reply(self.speech.spoiled(good))
            case 4:
                self._reply(good)
                self._reply(good)
            case 5:
                self._later(chance.choice((1.0, 29.0, 31.0, 90.0)), self._reply, good)
            case 6:
                self._reply(written(self.speech.bent([3, id_, self._kindly(action)])))
            case 7:
                self._reply(written([3, "stray", {}]))
                self._reply(good)
            case _:
                self._reply(good)

    def _reply(self, raw: bytes) -> None:
        """An answer is owed nothing; what cannot be read as one may be told so once."""
        if not self._open:
            return
        if raw.lstrip()[:2] not in (b"[3", b"[4"):
            self._loose.append(asyncio.get_running_loop().time() + PATIENCE)
        self._deliver(raw)

    def _kindly(self, action: str) -> dict[str, Any]:
        match action:
            case "BootNotification":
                self.registered = self.boot == "Accepted"
                return {"status": self.boot, "interval": 300 if self.registered else 20, "currentTime": TIME}
            case "Heartbeat":
                return {"currentTime": TIME}
            case "Authorize" if self.subprotocol == "ocpp1.6":
                return {"idTagInfo": {"status": "Accepted"}}
            case "Authorize":
                return {"idTokenInfo": {"status": "Accepted"}}
            case "StartTransaction":
                return {
                    "transactionId": self._chance.choice((0, 1, 7, 1795354736)),
                    "idTagInfo": {"status": "Accepted"},
                }
        return {}

    def _news(self, owed: Owed | None, kind: str, text: str) -> None:
        rule = "".join(c for c in text if not c.isdigit())[:60]
        self.account.news = f"{owed and owed.action}|{kind}|{rule}"

    def _complain(self, what: str, frame: bytes) -> None:
        self.account.complaints.append(f"{what}: {frame[:300]!r}")

    def _forget(self) -> None:
        self._owed.clear()
        self._loose.clear()
        self.calls.clear()

    def _later(self, seconds: float, what: Callable[..., None], *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, what, *arguments)
