from __future__ import annotations

import pytest

from chargerd.core.commands import AskAuthorize, BootCause, SendBoot, SendHeartbeat
from chargerd.core.events import AuthorizeAnswered, BootAnswered, BootStatus
from chargerd.core.token import Standing, Token, Verdict
from chargerd.ocpp.dialect import Dialect, Identity, Json, Learned, Outgoing
from tests.ocpp.v2.build import DIALECT, sound, station
from tests.ocpp.v16.build import CARD

IDENTITY = Identity("CP", "Vendor", "Model", "SN-1", "0.1.0")
BOOT = SendBoot(BootCause.POWER_UP)
AUTHORIZE = AskAuthorize(7, CARD)
NOW = "2027-01-15T08:00:00Z"


def answered(command: SendBoot | SendHeartbeat | AskAuthorize, payload: Json | None) -> Learned:
    return DIALECT.answered(DIALECT.request(command, IDENTITY), payload, {}, station(), command)


def test_it_is_a_dialect() -> None:
    dialect: Dialect = DIALECT
    assert (dialect.version, dialect.subprotocol) == ("2.0.1", "ocpp2.0.1")


@pytest.mark.req("E01.FR.05", "E06.FR.03")
def test_the_variables_decide_where_its_transactions_begin_and_end() -> None:
    assert DIALECT.window is None
    assert not DIALECT.chronological


# ---------------------------------------------------------------- requests


@pytest.mark.req("B01.FR.01", "B01.FR.09")
@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (BootCause.POWER_UP, "PowerUp"),
        (BootCause.SOFT_RESET, "RemoteReset"),
        (BootCause.HARD_RESET, "RemoteReset"),
        (BootCause.TRIGGERED, "Triggered"),
        (BootCause.WATCHDOG, "Watchdog"),
        (BootCause.UNKNOWN, "Unknown"),
    ],
)
def test_boot_notification(cause: BootCause, reason: str) -> None:
    assert sound(DIALECT.request(SendBoot(cause), IDENTITY)) == Outgoing(
        "BootNotification",
        {
            "reason": reason,
            "chargingStation": {
                "vendorName": "Vendor",
                "model": "Model",
                "serialNumber": "SN-1",
                "firmwareVersion": "0.1.0",
            },
        },
    )


def test_boot_notification_fits_whatever_the_names_are() -> None:
    long = Identity("CP", "v" * 51, "ö" * 21, "s" * 26, "f" * 51)
    assert sound(DIALECT.request(BOOT, long)).payload["chargingStation"] == {
        "vendorName": "v" * 49 + "…",
        "model": "ö" * 19 + "…",
        "serialNumber": "s" * 24 + "…",
        "firmwareVersion": "f" * 49 + "…",
    }
    unknown = sound(DIALECT.request(BOOT, Identity("CP", "", "")))
    assert unknown.payload["chargingStation"] == {"vendorName": "", "model": ""}


@pytest.mark.req("G02.FR.02")
def test_heartbeat() -> None:
    assert sound(DIALECT.request(SendHeartbeat(), IDENTITY)) == Outgoing("Heartbeat", {})


@pytest.mark.req("C01.FR.02")
def test_authorize() -> None:
    assert sound(DIALECT.request(AUTHORIZE, IDENTITY)) == Outgoing(
        "Authorize", {"idToken": {"idToken": CARD.id, "type": "ISO14443"}}
    )


def test_a_token_that_no_message_can_carry() -> None:
    sound(DIALECT.request(AskAuthorize(7, Token("A" * 36)), IDENTITY))
    with pytest.raises(ValueError, match="…AAAA has 37 characters, at most 36 fit"):
        DIALECT.request(AskAuthorize(7, Token("A" * 37)), IDENTITY)


# ---------------------------------------------------------------- answers


@pytest.mark.req("B01.FR.04", "B01.FR.06", "B02.FR.08", "B03.FR.06")
@pytest.mark.parametrize(
    ("word", "status"),
    [("Accepted", BootStatus.ACCEPTED), ("Pending", BootStatus.PENDING), ("Rejected", BootStatus.REJECTED)],
)
def test_the_answer_to_the_boot(word: str, status: BootStatus) -> None:
    payload = {"status": word, "interval": 60, "currentTime": NOW}
    assert answered(BOOT, payload) == Learned((BootAnswered(status, 60),), clock=NOW)
    assert answered(BOOT, {**payload, "interval": -5}).events == (BootAnswered(status, 0),)


def test_no_answer_to_the_boot() -> None:
    assert answered(BOOT, None) == Learned((BootAnswered(BootStatus.NONE),))


@pytest.mark.req("G02.FR.06")
def test_a_heartbeat_brings_the_clock() -> None:
    assert answered(SendHeartbeat(), {"currentTime": NOW}) == Learned(clock=NOW)
    assert answered(SendHeartbeat(), None) == Learned()


@pytest.mark.req("C10.FR.04", "C09.FR.09")
@pytest.mark.parametrize("standing", Standing)
def test_the_answer_to_authorize(standing: Standing) -> None:
    info = {
        "status": standing.value,
        "groupIdToken": {"idToken": "FAMILY", "type": "Central"},
        "cacheExpiryDateTime": "2027-01-15T08:00:00.5Z",
    }
    assert answered(AUTHORIZE, {"idTokenInfo": info}) == Learned(
        (AuthorizeAnswered(7, Verdict(standing, "FAMILY", 1_800_000_000.5)),)
    )


def test_no_answer_to_authorize() -> None:
    assert answered(AUTHORIZE, None) == Learned((AuthorizeAnswered(7, None),))


def test_the_answer_to_a_status_means_nothing() -> None:
    assert DIALECT.answered(Outgoing("StatusNotification", {}), {}, {}, station()) == Learned()
