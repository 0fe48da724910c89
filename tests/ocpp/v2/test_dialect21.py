"""What 2.1 says otherwise than 2.0.1."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from chargerd.core.commands import AskAuthorize
from chargerd.core.events import RemoteStart, ResetAsked, ResetKind
from chargerd.core.records import Cause, ChargingState, Faulted, Record
from chargerd.core.token import Token
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Ask, Dialect, Draft, Identity, Json, Outgoing, Refuse, Reply
from chargerd.ocpp.v2.dialect21 import Dialect21
from tests.ocpp.v2.build import DIALECT as OLD
from tests.ocpp.v2.build import FACTS, started, station, updated
from tests.ocpp.v16.build import moment, stamp

NEW = Dialect21()
RESUMED, RETURNED = Cause.RESUMED, Cause.RETURNED
LONG = Token("a" * 200 + "-contract", "eMAID")
IDENTITY = Identity("CP", "Vendor", "Model")


def rendered(dialect: Dialect, draft: Draft) -> Outgoing:
    out = dialect.render(draft, {}, station(), stamp, False)
    assert schemas.check(dialect.version, out.action, "request", out.payload) is None
    return out


def asked(action: str, payload: Json) -> Reply | Ask | Refuse:
    assert schemas.check("2.1", action, "request", payload) is None
    return NEW.handle(7, action, payload, {}, station(), FACTS)


def test_it_is_a_dialect() -> None:
    dialect: Dialect = NEW
    assert (dialect.version, dialect.subprotocol) == ("2.1", "ocpp2.1")
    assert dialect.window is None
    assert not dialect.chronological


@pytest.mark.parametrize(
    ("fault", "severity"),
    [
        ("ContactorWelded", 0),
        ("PilotStuck", 1),
        ("StorageFailure", 2),
        ("EventSetAside", 3),
        ("DiodeFault", 4),
        ("Unheard", 1),
    ],
)
def test_a_fault_has_a_severity(fault: str, severity: int) -> None:
    _, (draft,) = NEW.project({}, station(), [Faulted(moment(5), 0, fault, True)])
    [data] = rendered(NEW, draft).payload["eventData"]
    assert data["severity"] == severity
    [data] = rendered(OLD, draft).payload["eventData"]
    assert "severity" not in data


def test_drafts_are_those_of_2_0_1() -> None:
    begun = started(0, token=LONG, cause=Cause.REMOTE_START, remote_id=3)
    records: list[Record] = [begun, Faulted(moment(5), 1, "PilotShort", True)]
    new, old = (dialect.project({}, station(), records) for dialect in (NEW, OLD))
    assert new[0] == old[0]
    assert [asdict(draft) for draft in new[1]] == [asdict(draft) for draft in old[1]]


def test_a_long_token_is_told_whole_where_it_fits() -> None:
    _, (draft,) = NEW.project({}, station(), [started(0, token=LONG)])
    assert rendered(NEW, draft).payload["idToken"] == {"idToken": LONG.id, "type": "eMAID"}
    assert rendered(OLD, draft).payload["idToken"]["idToken"] == "a" * 35 + "…"
    assert NEW.request(AskAuthorize(1, LONG), IDENTITY).payload == {"idToken": {"idToken": LONG.id, "type": "eMAID"}}
    for dialect, size in ((OLD, 37), (NEW, 256)):
        with pytest.raises(ValueError, match=f"has {size} characters"):
            dialect.request(AskAuthorize(1, Token("x" * size)), IDENTITY)


def test_a_kind_of_token_that_2_0_1_does_not_know() -> None:
    got = asked("RequestStartTransaction", {"remoteStartId": 5, "idToken": {"idToken": "T", "type": "DirectPayment"}})
    assert isinstance(got, Ask) and isinstance(got.event, RemoteStart)
    assert got.event.token == Token("T", "DirectPayment")
    _, (draft,) = NEW.project({}, station(), [started(0, token=got.event.token)])
    assert rendered(NEW, draft).payload["idToken"] == {"idToken": "T", "type": "DirectPayment"}


def test_resets() -> None:
    assert asked("Reset", {"type": "OnIdle"}) == Ask(ResetAsked(7, ResetKind.ON_IDLE))
    assert asked("Reset", {"type": "ImmediateAndResume"}) == Ask(ResetAsked(7, ResetKind.RESUME))


def test_a_transaction_that_goes_on_is_resumed() -> None:
    fold, _ = NEW.project({}, station(), [started(0)])
    resumed, returned = (updated(cause, 9, state=ChargingState.SUSPENDED_EVSE) for cause in (RESUMED, RETURNED))
    _, drafts = NEW.project(fold, station(), [resumed, returned])
    assert [rendered(NEW, draft).payload["triggerReason"] for draft in drafts] == ["TxResumed", "TxResumed"]
    assert rendered(OLD, drafts[0]).payload["triggerReason"] == "ChargingStateChanged"
    after, drafts = OLD.project(fold, station(), [returned])
    assert (after, drafts) == (fold, [])  # nothing has changed, and there is no word for that


@pytest.mark.parametrize("action", sorted(schemas.actions("2.1") - schemas.actions("2.0.1")))
def test_the_actions_that_2_1_adds_are_known_but_not_supported(action: str) -> None:
    got = NEW.handle(7, action, {}, {}, station(), {})
    assert isinstance(got, Refuse)
    assert got.code == "NotSupported"


def test_a_trigger_that_is_made_up() -> None:
    got = asked("TriggerMessage", {"requestedMessage": "CustomTrigger", "customTrigger": "Coffee"})
    assert got == Reply({"status": "NotImplemented"})
