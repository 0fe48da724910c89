"""OCPP 1.6J, Core, RemoteTrigger, SmartCharging: words in both directions, put together from the files beside this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chargerd.core.commands import Answer, AskAuthorize, SendBoot, SendHeartbeat
from chargerd.core.events import AuthorizeAnswered, BootAnswered, BootStatus
from chargerd.core.moment import Moment
from chargerd.core.records import Record
from chargerd.core.state import Station, TxWindow
from chargerd.ocpp.dialect import Ask, Draft, Fold, Identity, Json, Learned, Outgoing, Refuse, Reply, Stamp
from chargerd.ocpp.schemas import Version
from chargerd.ocpp.v16 import requests, status, transactions
from chargerd.ocpp.v16.words import ID_TAG_MAX, ci_string, verdict

_BOOT = {"Accepted": BootStatus.ACCEPTED, "Pending": BootStatus.PENDING, "Rejected": BootStatus.REJECTED}


class Dialect16:
    """See `ocpp.dialect.Dialect`. A transaction starts with cable and authorisation together (1.6 §3.5)."""

    version: Version = "1.6"
    subprotocol = "ocpp1.6"
    window: TxWindow | None = TxWindow(frozenset({"PowerPathClosed"}), frozenset({"Authorized"}))
    chronological = True  # §3.6

    def project(self, fold: Fold, station: Station, records: Sequence[Record]) -> tuple[Fold, list[Draft]]:
        return transactions.project(fold, station, records)

    def render(self, draft: Draft, fold: Fold, station: Station, stamp: Stamp, offline: bool) -> Outgoing:
        return transactions.render(draft, fold, stamp)

    def statuses(self, station: Station) -> dict[str, Json]:
        return status.statuses(station)

    def slot(self, station: Station, rank: int) -> str:
        return str(rank)

    def render_status(self, slot: str, facts: Json, at: Moment, station: Station, stamp: Stamp) -> Outgoing:
        return status.render_status(slot, facts, at, stamp)

    def request(self, command: SendBoot | SendHeartbeat | AskAuthorize, identity: Identity) -> Outgoing:
        """ValueError for an idToken that no Authorize.req can carry: it is unknown to every CSMS that speaks 1.6."""
        match command:
            case SendBoot():
                return Outgoing("BootNotification", _boot(identity))
            case SendHeartbeat():
                return Outgoing("Heartbeat", {})
            case AskAuthorize(token=token):
                if len(token.id) > ID_TAG_MAX:
                    raise ValueError(f"idToken {token.short} has {len(token.id)} characters, an idTag at most 20")
                return Outgoing("Authorize", {"idTag": token.id})

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
                return Learned((AuthorizeAnswered(ask, None if payload is None else verdict(payload["idTagInfo"])),))
            case Draft():
                return transactions.answered(context, payload, fold)
        return Learned()

    def handle(
        self, ask: int, action: str, payload: Json, fold: Fold, station: Station, facts: Mapping[str, str]
    ) -> Reply | Ask | Refuse:
        return requests.handle(ask, action, payload, fold, station, facts)

    def answer(self, action: str, request: Json, context: Json, answer: Answer, fold: Fold, station: Station) -> Reply:
        return requests.answer(action, request, context, answer)


def _boot(identity: Identity) -> Json:
    """BootNotification.req (§6.3); what is not known is left out."""
    payload = {
        "chargePointVendor": ci_string(identity.vendor, 20),
        "chargePointModel": ci_string(identity.model, 20),
        "chargePointSerialNumber": ci_string(identity.serial, 25),
        "firmwareVersion": ci_string(identity.firmware, 50),
    }
    return {key: text for key, text in payload.items() if text or key in ("chargePointVendor", "chargePointModel")}
