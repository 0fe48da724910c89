"""What is wrong with the link, in plain words with what helps, and what the security log is to hear of it.

Texts of the other side (close reasons, addresses) are shortened and escaped: they may be anybody's.
"""

from __future__ import annotations

import email.utils
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidStatus,
    NegotiationError,
    ProxyError,
)

from chargerd.daemon.dial import Attempt, Wildcard
from chargerd.daemon.endpoint import Endpoint
from chargerd.daemon.tls import TrustUnusable

SHOWN = 100  # characters of a text of theirs
LONGEST_WAIT = 3600.0  # s of a Retry-After that is heeded

_NOT_YET, _EXPIRED = 9, 10  # verify_code, see openssl-verify(1)
_SELF_SIGNED = (18,)
_UNKNOWN_CA = (2, 19, 20, 21, 27)
_OTHER_NAME = (62, 64)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_OLD_TLS = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE")
_NO_CIPHER = (
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "WRONG_CIPHER_RETURNED",
    "NO_SHARED_CIPHER",
    "DH_KEY_TOO_SMALL",
)
_ALERT = b"\x15\x03"  # of a TLS server, to a client that speaks none
_CLOSED = {  # RFC 6455 §7.4.1; what the common backends mean by it
    1000: "in order: it may have to accept this station first",
    1001: "it goes away, for maintenance perhaps: it is tried again",
    1002: "it says that we broke the websocket protocol: another kind of server there? Look into its log",
    1003: "it cannot take this kind of data: look into its log",
    1005: "without a reason: look into its log",
    1007: "it could not read what we sent: look into its log",
    1008: "against its policy: is this station known there, and its password right?",
    1009: "a message was too big for it: look into its log",
    1010: "it wants an extension that we do not offer: another kind of server there?",
    1011: "a fault of its own: look into its log",
    1012: "it starts anew: it is tried again",
    1013: "it is overloaded: it is tried again",
    1014: "a gateway before it got no good answer: look into its log",
    1015: "its TLS failed: check its certificates",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """`cause` is a word for programs. `security`: name of the security event in 2.x, "" where it is none.

    `retry_after`: seconds the other side asks us to wait.
    """

    cause: str
    text: str
    security: str = ""
    retry_after: float = 0.0

    @property
    def about_version(self) -> bool:
        """400 is what servers answer that want a subprotocol and are offered none of theirs."""
        return self.cause in ("version", "http-400")


def of_attempt(e: Exception, endpoint: Endpoint, attempt: Attempt, wall: float) -> Trouble | None:
    """Why there is no connection; None where that is a surprise. `wall`: our clock, unix seconds."""
    host = _host(endpoint)
    where = f"{host} ({', '.join(attempt.addresses[:3])})" if _named(endpoint.url, attempt) else host
    match e:
        case TimeoutError():
            return _silent(where, attempt)
        case TrustUnusable():
            return Trouble("no-roots", f"nobody's certificate can be verified: {e}")
        case Wildcard():
            text = f"the certificate of {host} is a wildcard ({_quoted(str(e))}), which OCPP forbids: give it one for"
            return Trouble("certificate", f"{text} its name, or set AllowCSMSTLSWildcards", "InvalidCsmsCertificate")
        case ssl.SSLCertVerificationError():
            return _certificate(e, host, wall)
        case ssl.SSLError():
            return _tls(e, host)
        case socket.gaierror() if attempt.stage == "proxy":
            return Trouble("proxy", "the name of the proxy is not found: check csms.proxy and DNS")
        case socket.gaierror():
            return _name(e, urlsplit(endpoint.url).hostname or host)
        case ConnectionRefusedError() if attempt.stage == "proxy":
            return Trouble("proxy", "nobody listens at the proxy: check csms.proxy")
        case ConnectionRefusedError():
            return Trouble("refused", f"nobody listens at {where}: check the address, or the backend is down")
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return _hung_up(where, attempt)
        case OSError():
            why = e.strerror or str(e)
            return Trouble("unreachable", f"no connection to {where} ({why}): check network, address and firewall")
        case InvalidStatus():
            return _status(e, endpoint)
        case InvalidProxyStatus():
            return Trouble(
                "proxy", f"the proxy refuses (HTTP {e.response.status_code}): check csms.proxy and its rules"
            )
        case InvalidProxyMessage() | ProxyError():
            return Trouble("proxy", "the proxy does not answer as one: check csms.proxy")
        case NegotiationError():
            return Trouble("version", f"{host} chose an OCPP version that was not offered: offer the one it speaks")
        case InvalidMessage() if attempt.first.startswith(_ALERT):
            return Trouble("tls-wanted", f"{host} wants TLS: use wss://, or the port without it")
        case InvalidMessage() if _ended(e):
            return _hung_up(where, attempt)
        case InvalidHandshake():
            return Trouble("no-websocket", f"no websocket server at {host}: check port and path")
        case EOFError():
            return _hung_up(where, attempt)
    return None


def no_version(endpoint: Endpoint) -> Trouble:
    text = f"{_host(endpoint)} chose none of {_versions(endpoint)}: check port and path, and what it speaks"
    return Trouble("version", text)


def of_close(e: ConnectionClosed) -> Trouble:
    """Why an open connection ended by itself."""
    if e.rcvd is None and e.sent is not None:
        reason = f" ({_quoted(e.sent.reason)})" if e.sent.reason else ""
        return Trouble("faulty", f"closed by us with {e.sent.code}{reason}: the backend sent what no backend may send")
    if e.rcvd is None:
        return Trouble("broke-off", "the connection broke off: check network and backend")
    code = e.rcvd.code
    reason = f" {_quoted(e.rcvd.reason)}" if e.rcvd.reason else ""
    meaning = _CLOSED.get(code, "a code of its own: its manual tells")
    return Trouble(f"closed-{code}", f"closed by the backend with {code}{reason}, {meaning}")


def _host(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.url).netloc


def _versions(endpoint: Endpoint) -> str:
    return ", ".join(endpoint.subprotocols)


def _named(url: str, attempt: Attempt) -> bool:
    return bool(attempt.addresses) and attempt.addresses != (urlsplit(url).hostname,)


def _silent(where: str, attempt: Attempt) -> Trouble:
    match attempt.stage:
        case "name":
            return Trouble("no-name-server", f"no name server answers for {where}: check DNS and network")
        case "tcp":
            return Trouble("no-answer", f"{where} does not answer: check address, network and firewall")
        case "proxy":
            return Trouble("proxy", "the proxy does not let us through in time: check csms.proxy")
        case "tls":
            text = f"{where} takes the connection and then says nothing of TLS: check the port, or it is overloaded"
            return Trouble("tls-silent", text)
        case "http":
            text = f"{where} takes the connection but does not finish the handshake: check port and path, or it is"
            return Trouble("http-silent", f"{text} overloaded")


def _hung_up(where: str, attempt: Attempt) -> Trouble:
    wanted = "whether it speaks TLS at all (ws://)" if attempt.stage == "tls" else "whether it wants wss:// (TLS)"
    return Trouble("hung-up", f"{where} hung up: check the port, and {wanted}; or it is starting or overloaded")


def _name(e: socket.gaierror, host: str) -> Trouble:
    if e.errno == socket.EAI_AGAIN:
        return Trouble("no-name-server", f"no name server answers for {host}: check DNS and network")
    return Trouble("no-name", f"the name {host} is not found: check the address and DNS")


def _certificate(e: ssl.SSLCertVerificationError, host: str, wall: float) -> Trouble:
    clock = f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M} UTC"
    code = e.verify_code
    if code == _NOT_YET:
        text = f"is not valid yet, as our clock says {clock}: if that is wrong, set the clock (NTP)"
    elif code == _EXPIRED:
        text = f"has expired, as our clock says {clock}: renew it there; if that time is wrong, set the clock (NTP)"
    elif code in _SELF_SIGNED:
        text = "is self-signed: give it as csms.ca_file if it is the right one"
    elif code in _UNKNOWN_CA:
        text = f"is by nobody we trust ({e.verify_message}): give the root of its authority as csms.ca_file"
    elif code in _OTHER_NAME:
        text = "is for another name: write into csms.url the name that it is for"
    else:
        text = f"is not good enough ({e.verify_message}): replace it there"
    return Trouble("certificate", f"the certificate of {host} {text}", "InvalidCsmsCertificate")


def _tls(e: ssl.SSLError, host: str) -> Trouble:
    reason = e.reason or type(e).__name__
    if reason in _OLD_TLS:
        text = f"{host} speaks no TLS from 1.2 on, which OCPP demands: update it"
        return Trouble("tls-version", text, "InvalidTLSVersion")
    if reason in _NO_CIPHER:
        text = f"{host} has no TLS cipher suite in common with us: allow ECDHE with AES-GCM there"
        return Trouble("tls-cipher", text, "InvalidTLSCipherSuite")
    if reason in _NO_TLS:
        return Trouble("no-tls", f"{host} speaks no TLS at this port: use ws://, or the port with TLS")
    if isinstance(e, ssl.SSLEOFError):
        return _hung_up(host, Attempt("tls"))
    return Trouble("tls", f"TLS with {host} fails ({reason}): check port, certificates and TLS version there")


def _status(e: InvalidStatus, endpoint: Endpoint) -> Trouble:
    station = endpoint.station
    status, headers = e.response.status_code, e.response.headers
    wait = _retry_after(headers.get("Retry-After", ""))
    asked = f", which asks to wait {wait:.0f} s" if wait else ""
    match status:
        case 401:
            text = f"the backend refuses the password of {station} (HTTP 401): set the one it expects (csms.password)"
            return Trouble("http-401", text, "FailedToAuthenticateAtCsms")
        case 403:
            text = f"the backend forbids {station} to connect (HTTP 403): allow it there"
        case 404:
            text = f"the backend does not know {station} (HTTP 404): register it there, or check the path of csms.url"
        case _ if 300 <= status < 400:
            to = _quoted(headers.get("Location", "")) if headers.get("Location") else "elsewhere"
            text = f"the backend sends us to {to} (HTTP {status}), which is not followed: set csms.url if it is right"
        case 429:
            text = f"the backend has too many requests (HTTP 429){asked}: it is tried again"
        case _ if status >= 500:
            text = f"the backend is in trouble (HTTP {status}){asked}: it is tried again"
        case _:
            text = f"{_host(endpoint)} refuses (HTTP {status}): check the address"
            text += f", and that it speaks {_versions(endpoint)}"
    return Trouble(f"http-{status}", text, retry_after=wait)


def _retry_after(text: str) -> float:
    """Seconds, 0 where there are none (RFC 9110 §10.2.3)."""
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, min((when - datetime.now(UTC)).total_seconds(), LONGEST_WAIT))
    except (ValueError, TypeError, OverflowError):  # a year of twenty digits
        return 0.0


def _ended(e: InvalidMessage) -> bool:
    """Did the other side hang up instead of answering?"""
    return isinstance(e.__cause__, EOFError | ConnectionError) or isinstance(e.__context__, EOFError | ConnectionError)


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= SHOWN else text[:SHOWN] + "...")
