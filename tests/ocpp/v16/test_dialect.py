from __future__ import annotations

import pytest

from chargerd.core.commands import AskAuthorize, BootCause, SendBoot, SendHeartbeat
from chargerd.core.events import AuthorizeAnswered, BootAnswered, BootStatus
from chargerd.core.token import Standing, Token, Verdict
from chargerd.ocpp.dialect import Dialect, Identity, Json, Learned, Outgoing
from tests.ocpp.v16.build import CARD, DIALECT, sound, station

IDENTITY = Identity("CP-1", "Vendor", "Model", "SN-1", "0.1.0")
BOOT = SendBoot(BootCause.POWER_UP)
HEARTBEAT = SendHeartbeat()
AUTHORIZE = AskAuthorize(7, CARD)


def answered(command: SendBoot | SendHeartbeat | AskAuthorize, payload: Json | None) -> Learned:
    return DIALECT.answered(DIALECT.request(command, IDENTITY), payload, {}, station(), command)


def test_it_is_a_dialect() -> None:
    dialect: Dialect = DIALECT
    assert (dialect.version, dialect.subprotocol) == ("1.6", "ocpp1.6")


@pytest.mark.req("1.6 §3.5", "1.6 §3.6")
def test_its_transactions_start_with_cable_and_card_and_keep_one_order() -> None:
    assert DIALECT.window is not None
    assert DIALECT.window.start == {"PowerPathClosed"}
    assert DIALECT.window.stop == {"Authorized"}
    assert DIALECT.chronological


# ---------------------------------------------------------------- requests


@pytest.mark.req("1.6 §4.2", "1.6 §6.3")
def test_boot_notification() -> None:
    assert sound(DIALECT.request(BOOT, IDENTITY)) == Outgoing(
        "BootNotification",
        {
            "chargePointVendor": "Vendor",
            "chargePointModel": "Model",
            "chargePointSerialNumber": "SN-1",
            "firmwareVersion": "0.1.0",
        },
    )


@pytest.mark.req("1.6 §6.3", "1.6 §2.2")
def test_boot_notification_fits_whatever_the_names_are() -> None:
    said = sound(DIALECT.request(BOOT, Identity("CP", "Bürgerenergie Musterstadt eG", "x" * 20, "y" * 26, "z" * 51)))
    assert said.payload == {
        "chargePointVendor": "B?rgerenergie Mus...",
        "chargePointModel": "x" * 20,
        "chargePointSerialNumber": "y" * 22 + "...",
        "firmwareVersion": "z" * 47 + "...",
    }


def test_boot_notification_leaves_out_what_is_not_known() -> None:
    said = sound(DIALECT.request(BOOT, Identity("CP", "", "")))
    assert said.payload == {"chargePointVendor": "", "chargePointModel": ""}


@pytest.mark.req("1.6 §4.6")
def test_heartbeat() -> None:
    assert sound(DIALECT.request(HEARTBEAT, IDENTITY)) == Outgoing("Heartbeat", {})


@pytest.mark.req("1.6 §4.1")
def test_authorize() -> None:
    assert sound(DIALECT.request(AUTHORIZE, IDENTITY)) == Outgoing("Authorize", {"idTag": CARD.id})


@pytest.mark.req("1.6 §7.28")
def test_a_token_that_no_authorize_can_carry() -> None:
    assert sound(DIALECT.request(AskAuthorize(7, Token("A" * 20)), IDENTITY)).payload["idTag"] == "A" * 20
    with pytest.raises(ValueError, match="…AAAA has 21 characters, an idTag at most 20"):
        DIALECT.request(AskAuthorize(7, Token("A" * 21)), IDENTITY)


# ---------------------------------------------------------------- answers

NOW = "2027-01-15T08:00:00Z"


@pytest.mark.req("1.6 §4.2", "1.6 §7.38")
@pytest.mark.parametrize(
    ("word", "status"),
    [("Accepted", BootStatus.ACCEPTED), ("Pending", BootStatus.PENDING), ("Rejected", BootStatus.REJECTED)],
)
def test_the_answer_to_the_boot(word: str, status: BootStatus) -> None:
    payload = {"status": word, "interval": 60, "currentTime": NOW}
    assert answered(BOOT, payload) == Learned((BootAnswered(status, 60),), clock=NOW)


def test_a_negative_interval_is_none() -> None:
    payload = {"status": "Accepted", "interval": -5, "currentTime": NOW}
    assert answered(BOOT, payload).events == (BootAnswered(BootStatus.ACCEPTED, 0),)


def test_no_answer_to_the_boot() -> None:
    assert answered(BOOT, None) == Learned((BootAnswered(BootStatus.NONE),))


@pytest.mark.req("1.6 §4.6")
def test_a_heartbeat_brings_the_clock() -> None:
    assert answered(HEARTBEAT, {"currentTime": NOW}) == Learned(clock=NOW)
    assert answered(HEARTBEAT, None) == Learned()


@pytest.mark.req("1.6 §4.1", "1.6 §7.27")
def test_the_answer_to_authorize() -> None:
    info = {"status": "Blocked", "parentIdTag": "FAMILY", "expiryDate": "2027-01-15T08:00:00.5Z"}
    assert answered(AUTHORIZE, {"idTagInfo": info}) == Learned(
        (AuthorizeAnswered(7, Verdict(Standing.BLOCKED, "FAMILY", 1_800_000_000.5)),)
    )
    assert answered(AUTHORIZE, None) == Learned((AuthorizeAnswered(7, None),))


def test_the_answer_to_a_status_means_nothing() -> None:
    assert DIALECT.answered(Outgoing("StatusNotification", {}), {}, {}, station()) == Learned()
