"""OCPP 2.0.1: the words in both directions, put together from the files beside this one; for 2.1 see `dialect21`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from chargerd.core.commands import Answer, AskAuthorize, BootCause, SendBoot, SendHeartbeat
from chargerd.core.events import AuthorizeAnswered, BootAnswered, BootStatus
from chargerd.core.moment import Moment
from chargerd.core.records import Cause, Faulted, Record, Sampled, Security, Transaction
from chargerd.core.state import Station, TxWindow
from chargerd.ocpp.dialect import Ask, Draft, Fold, Identity, Json, Learned, Outgoing, Refuse, Reply, Stamp
from chargerd.ocpp.schemas import Version
from chargerd.ocpp.v2 import meter, notices, requests, status, transactions
from chargerd.ocpp.v2.words import bounded, id_token, verdict

_BOOT = {"Accepted": BootStatus.ACCEPTED, "Pending": BootStatus.PENDING, "Rejected": BootStatus.REJECTED}
_BOOT_REASON = {
    BootCause.POWER_UP: "PowerUp",
    BootCause.SOFT_RESET: "RemoteReset",
    BootCause.HARD_RESET: "RemoteReset",
    BootCause.SCHEDULED_RESET: "ScheduledReset",
    BootCause.LOCAL_RESET: "LocalReset",
    BootCause.TRIGGERED: "Triggered",
    BootCause.WATCHDOG: "Watchdog",
    BootCause.UNKNOWN: "Unknown",
}


class Dialect201:
    """See `ocpp.dialect.Dialect`. Where a transaction begins and ends is the variables' business (E01, E06)."""

    version: Version = "2.0.1"
    subprotocol = "ocpp2.0.1"
    # Drafts are the same in 2.0.1 and 2.1; what 2.0.1 has no room or no word for is seen to where they are rendered.
    longest_token = 36  # IdTokenType.idToken
    nearest: Mapping[str, str] = MappingProxyType({"TxResumed": "ChargingStateChanged"})
    untold: frozenset[Cause] = frozenset({Cause.RETURNED})
    window: TxWindow | None = None
    chronological = False

    def project(self, fold: Fold, station: Station, records: Sequence[Record]) -> tuple[Fold, list[Draft]]:
        drafts: list[Draft] = []
        for record in records:
            draft: Draft | None = None
            match record:
                case Transaction() if record.cause not in self.untold:
                    fold, draft = transactions.project(fold, station, record)
                case Sampled():
                    draft = meter.project(station, record)
                case Faulted():
                    fold, draft = notices.fault(fold, station, record)
                case Security():
                    draft = notices.security(record)
            if draft is not None:
                drafts.append(draft)
        return fold, drafts

    def render(self, draft: Draft, fold: Fold, station: Station, stamp: Stamp, offline: bool) -> Outgoing:
        if draft.tx is not None:
            return transactions.render(draft, stamp, offline, self.longest_token, self.nearest)
        return meter.render(draft, stamp) if draft.kind == meter.METER else notices.render(draft, stamp)

    def slot(self, station: Station, rank: int) -> str:
        return status.slot(station, rank)

    def statuses(self, station: Station) -> dict[str, Json]:
        return status.statuses(station)

    def render_status(self, slot: str, facts: Json, at: Moment, station: Station, stamp: Stamp) -> Outgoing:
        return status.render_status(facts, at, stamp)

    def request(self, command: SendBoot | SendHeartbeat | AskAuthorize, identity: Identity) -> Outgoing:
        """ValueError for an idToken that no Authorize can carry: it is unknown to every CSMS."""
        match command:
            case SendBoot(cause=cause):
                return Outgoing(
                    "BootNotification", {"reason": _BOOT_REASON[cause], "chargingStation": _station(identity)}
                )
            case SendHeartbeat():
                return Outgoing("Heartbeat", {})
            case AskAuthorize(token=token):
                if len(token.id) > (most := self.longest_token):
                    raise ValueError(f"idToken {token.short} has {len(token.id)} characters, at most {most} fit")
                return Outgoing("Authorize", {"idToken": id_token(token)})

    def answered(
        self, sent: Outgoing, payload: Json | None, fold: Fold, station: Station, context: Any = None
    ) -> Learned:
        match context:
            case SendBoot() if payload is None:
                return Learned((BootAnswered(BootStatus.NONE),))
            case SendBoot() if payload is not None:
                word = BootAnswered(_BOOT[payload["status"]], max(0, payload["interval"]))
                return Learned((word,), clock=payload["currentTime"])
            case SendHeartbeat() if payload is not None:
                return Learned(clock=payload["currentTime"])
            case AskAuthorize(ask=ask):
                said = None if payload is None else verdict(payload["idTokenInfo"])
                return Learned((AuthorizeAnswered(ask, said),))
            case Draft():
                return transactions.answered(context, payload, fold)
        return Learned()

    def handle(
        self, ask: int, action: str, payload: Json, fold: Fold, station: Station, facts: Mapping[str, str]
    ) -> Reply | Ask | Refuse:
        return requests.handle(ask, action, payload, station, facts)

    def answer(self, action: str, request: Json, context: Json, answer: Answer, fold: Fold, station: Station) -> Reply:
        return requests.answer(action, context, answer)


def _station(identity: Identity) -> Json:
    """ChargingStationType; what is not known is left out."""
    payload = {"vendorName": bounded(identity.vendor, 50), "model": bounded(identity.model, 20)}
    if identity.serial:
        payload["serialNumber"] = bounded(identity.serial, 25)
    if identity.firmware:
        payload["firmwareVersion"] = bounded(identity.firmware, 50)
    return payload
