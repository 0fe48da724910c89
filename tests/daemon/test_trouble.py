"""What went wrong, in words: what a person can do about it, what the security log hears, and nothing of theirs raw."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidProxyStatus, InvalidStatus, InvalidUpgrade
from websockets.frames import Close
from websockets.http11 import Response

from chargerd.daemon import trouble
from chargerd.daemon.dial import Attempt, Stage, Wildcard
from chargerd.daemon.endpoint import Endpoint
from chargerd.daemon.tls import TrustUnusable
from chargerd.daemon.trouble import Trouble

AT = Endpoint("wss://csms.example/ocpp", "CS-1", ("ocpp1.6",))


def told(e: Exception, stage: Stage = "http", *addresses: str, wall: float = 0.0) -> Trouble | None:
    return trouble.of_attempt(e, AT, Attempt(stage, addresses), wall)


def answered(status: int, **headers: str) -> InvalidStatus:
    return InvalidStatus(
        Response(status, "", Headers({name.replace("_", "-"): text for name, text in headers.items()}))
    )


def unverified(code: int) -> ssl.SSLCertVerificationError:
    e = ssl.SSLCertVerificationError()
    e.verify_code, e.verify_message = code, "reasons of OpenSSL"
    return e


def refused(reason: str) -> ssl.SSLError:
    e = ssl.SSLError()
    e.reason = reason
    return e


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("name", "no name server answers for csms.example"),
        ("tcp", "csms.example does not answer"),
        ("tls", "says nothing of TLS"),
        ("http", "does not finish the handshake"),
        ("proxy", "the proxy does not let us through"),
    ],
)
def test_silence_is_told_by_where_it_began(stage: Stage, text: str) -> None:
    found = told(TimeoutError(), stage)
    assert found is not None and text in found.text


def test_the_addresses_of_a_name_are_told_and_a_number_is_not_told_twice() -> None:
    found = told(ConnectionRefusedError(), "tcp", "192.0.2.1", "192.0.2.2")
    assert found is not None and found.text.startswith("nobody listens at csms.example (192.0.2.1, 192.0.2.2): ")
    number = replace(AT, url="ws://192.0.2.1:9/")
    found = trouble.of_attempt(ConnectionRefusedError(), number, Attempt("tcp", ("192.0.2.1",)), 0.0)
    assert found is not None and found.text.startswith("nobody listens at 192.0.2.1:9: ")


@pytest.mark.req("A00.FR.310", "A00.FR.413", "A00.FR.316", "A00.FR.323")
@pytest.mark.parametrize(
    ("e", "cause", "event"),
    [
        (unverified(9), "certificate", "InvalidCsmsCertificate"),
        (unverified(10), "certificate", "InvalidCsmsCertificate"),
        (unverified(18), "certificate", "InvalidCsmsCertificate"),
        (unverified(20), "certificate", "InvalidCsmsCertificate"),
        (unverified(62), "certificate", "InvalidCsmsCertificate"),
        (unverified(66), "certificate", "InvalidCsmsCertificate"),  # key too weak
        (Wildcard("*.example"), "certificate", "InvalidCsmsCertificate"),
        (refused("TLSV1_ALERT_PROTOCOL_VERSION"), "tls-version", "InvalidTLSVersion"),
        (refused("SSLV3_ALERT_HANDSHAKE_FAILURE"), "tls-cipher", "InvalidTLSCipherSuite"),
        (refused("WRONG_VERSION_NUMBER"), "no-tls", ""),
        (refused("SOMETHING_NEW"), "tls", ""),
        (answered(401), "http-401", "FailedToAuthenticateAtCsms"),
        (answered(403), "http-403", ""),
        (TrustUnusable("ca.pem: gone"), "no-roots", ""),
    ],
)
def test_what_the_security_log_hears(e: Exception, cause: str, event: str) -> None:
    found = told(e, "tls")
    assert found is not None
    assert (found.cause, found.security) == (cause, event)


def test_a_certificate_out_of_its_time_is_told_with_our_clock() -> None:
    for code in (9, 10):
        found = told(unverified(code), "tls", wall=86_400.0)
        assert found is not None and "our clock says 1970-01-02 00:00 UTC" in found.text
        assert "set the clock" in found.text


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("999999999999", 3600.0),
        ("-1", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("²", 0.0),
        ("1e9", 0.0),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", 0.0),
    ],
)
def test_who_asks_to_wait_is_heeded_within_bounds(header: str, seconds: float) -> None:
    found = told(answered(503, Retry_After=header))
    assert found is not None and found.retry_after == seconds
    assert ("asks to wait" in found.text) is (seconds > 0)


def test_a_date_to_wait_for_is_heeded_too() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    found = told(answered(429, Retry_After=soon))
    assert found is not None and 90 < found.retry_after <= 100
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    found = told(answered(429, Retry_After=past))
    assert found is not None and found.retry_after == 0.0


def test_where_a_redirect_leads_is_shown_and_made_harmless() -> None:
    found = told(answered(302, Location="ws://elsewhere/\xad\x85" + "x" * 500))
    assert found is not None and "which is not followed" in found.text
    assert found.text.isprintable() and len(found.text) < 300


def test_names_that_fail_for_now_and_for_good() -> None:
    later, never = socket.gaierror(socket.EAI_AGAIN, ""), socket.gaierror(socket.EAI_NONAME, "")
    found = [told(e, "name") for e in (later, never)]
    assert [one and one.cause for one in found] == ["no-name-server", "no-name"]


def test_proxies_and_other_servers() -> None:
    found = told(InvalidProxyStatus(Response(407, "", Headers())), "proxy")
    assert found is not None and "the proxy refuses (HTTP 407)" in found.text
    found = told(socket.gaierror(socket.EAI_NONAME, ""), "proxy")
    assert found is not None and found.text == "the name of the proxy is not found: check csms.proxy and DNS"
    found = told(ConnectionRefusedError(), "proxy")
    assert found is not None and found.text == "nobody listens at the proxy: check csms.proxy"
    found = told(InvalidUpgrade("Upgrade", "h2c"))
    assert found is not None and found.cause == "no-websocket"


def test_a_surprise_is_none_of_these() -> None:
    assert told(ZeroDivisionError()) is None


@pytest.mark.parametrize(
    ("close", "cause", "text"),
    [
        (
            ConnectionClosedError(Close(1008, "who?\x07"), None),
            "closed-1008",
            "with 1008 'who?\\x07', against its policy",
        ),
        (ConnectionClosedError(Close(4321, ""), None), "closed-4321", "with 4321, a code of its own"),
        (ConnectionClosedError(None, Close(1007, "bad")), "faulty", "closed by us with 1007 ('bad')"),
        (ConnectionClosedError(None, None), "broke-off", "broke off"),
    ],
)
def test_how_a_connection_ended(close: ConnectionClosedError, cause: str, text: str) -> None:
    found = trouble.of_close(close)
    assert found.cause == cause and text in found.text
    assert found.text.isprintable()


@pytest.mark.parametrize(("cause", "about"), [("version", True), ("http-400", True), ("http-404", False)])
def test_what_speaks_against_the_versions_offered(cause: str, about: bool) -> None:
    assert Trouble(cause, "").about_version is about
