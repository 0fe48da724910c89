"""What one OCPP version adds to the core: words in both directions, and nothing else.

A dialect is pure. It is told records and gives drafts of messages (`project`), turns a draft into a payload at its
first send (`render`), reads the CSMS's answers (`answered`) and requests (`handle`), and puts the station's `Answer`
into the version's words (`answer`). What it must remember of transactions is the *fold*, a JSON object that the shell
persists with each change and hands back: sequence numbers, tokens already told, the CSMS's transaction ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chargerd.core.commands import Answer, AskAuthorize, SendBoot, SendHeartbeat
from chargerd.core.events import Event
from chargerd.core.moment import Moment
from chargerd.core.records import Record
from chargerd.core.state import Station, TxWindow
from chargerd.ocpp.schemas import Version

Json = dict[str, Any]
Fold = Mapping[str, Any]
Stamp = Callable[[Moment], str]  # RFC 3339 text of a moment, corrected where the clock was not known then


@dataclass(frozen=True, slots=True)
class Identity:
    """What BootNotification says of the station."""

    station_id: str
    vendor: str
    model: str
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be: a fact for the queue. `thin`: a periodic sample, the only kind that may be thinned."""

    queue: str  # "transactions", "critical", or "volatile": asked for, said at once and not kept
    kind: str
    facts: Json
    at: Moment
    tx: str | None = None
    seq: int | None = None
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A CALL of ours."""

    action: str
    payload: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """Answered at once; `then` follows as volatile calls in this order."""

    payload: Json
    then: tuple[Outgoing, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """The station decides: its `Answer` comes back to `answer` with this `context`."""

    event: Event
    context: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refuse:
    """A CALLERROR with one of the version's own codes."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Learned:
    """What an answer of the CSMS means: events for the station, the fold after it, and the CSMS's clock (text)."""

    events: tuple[Event, ...] = ()
    fold: Fold | None = None
    clock: str | None = None


class Dialect(Protocol):
    version: Version
    subprotocol: str
    window: TxWindow | None  # None: the variables decide
    chronological: bool  # queued messages keep their order over the whole station, not only per transaction

    def project(self, fold: Fold, station: Station, records: Sequence[Record]) -> tuple[Fold, list[Draft]]:
        """Messages for these records; `station` is the state after the step that made them."""

    def render(self, draft: Draft, fold: Fold, station: Station, stamp: Stamp, offline: bool) -> Outgoing:
        """The payload of a queued message, asked once, at its first send."""

    def statuses(self, station: Station) -> dict[str, Json]:
        """Latest-class slots as they should be known now: slot name → facts; compared with what was told last."""

    def slot(self, station: Station, rank: int) -> str:
        """The status slot of one outlet."""

    def render_status(self, slot: str, facts: Json, at: Moment, station: Station, stamp: Stamp) -> Outgoing: ...

    def request(self, command: SendBoot | SendHeartbeat | AskAuthorize, identity: Identity) -> Outgoing: ...

    def answered(
        self, sent: Outgoing, payload: Json | None, fold: Fold, station: Station, context: Any = None
    ) -> Learned:
        """What the CSMS's CALLRESULT means; `payload` None: CALLERROR, timeout or lost link, for good.

        `context` is the `SendBoot`/`SendHeartbeat`/`AskAuthorize` command, or the queued `Draft` that was sent.
        """

    def handle(
        self, ask: int, action: str, payload: Json, fold: Fold, station: Station, facts: Mapping[str, str]
    ) -> Reply | Ask | Refuse:
        """A CALL of theirs, already checked against the schema. `facts`: see `core.variables`."""

    def answer(
        self, action: str, request: Json, context: Json, answer: Answer, fold: Fold, station: Station
    ) -> Reply: ...
