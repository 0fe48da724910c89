"""What can be wrong between charger and backend: how it begins, how it ends, and what must be said of it.

A cause ends by `heal`, never by touching the charger: it has to come back by itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chargerd.lab.peer import Script
from tests.linking.certificates import HOST
from tests.linking.deeds import (
    LAWFUL,
    MESSAGE_TIMEOUT,
    WRONG_KEY,
    Deed,
    alert,
    answering,
    behaving,
    black_hole,
    closing,
    drip,
    first_dead,
    flooding,
    followed,
    greeting,
    half_open,
    hang_up,
    honest,
    http,
    mended,
    mid_frame,
    moved,
    mute,
    named,
    named_again,
    never_reads,
    not_utf8,
    offering,
    packets_again,
    packets_dropped,
    plain,
    raw,
    refuse,
    refusing,
    reset,
    roots_follow,
    rotated,
    served,
    served_again,
    speaking,
    surprising,
    unserved,
    url_changed,
    url_changes,
    well_served,
    without_tls,
    wrong_version,
)


@dataclass(frozen=True, slots=True)
class Cause:
    """`said`: what `chargerctl` must say of it; "" where the link stays up. `word`: LinkState.cause.

    `tls`: name of the server's certificate from the beginning. `host`: what the charger knows the backend as.
    `first`: it is there before the charger. `apart`: needs a network namespace. `hold`: seconds it lasts at least.
    `security`: the event that the backend has to hear of afterwards.
    """

    name: str
    group: str
    hurt: Deed
    said: str = ""
    word: str = ""
    heal: Deed = honest
    tls: str = ""
    host: str = "127.0.0.1"
    first: bool = False
    apart: bool = False
    hold: float = 4.0
    security: str = ""
    proxy: str = ""


def _causes() -> Iterable[Cause]:
    tcp = "tcp"
    yield Cause("connection refused", tcp, refuse, "nobody listens at", "refused")
    yield Cause("reset in the handshake", tcp, behaving(reset), "hung up", "hung-up")
    yield Cause("reset in mid-frame", tcp, mid_frame, "broke off", "broke-off")
    yield Cause("closed in the handshake", tcp, behaving(hang_up), "hung up", "hung-up")
    yield Cause("black hole: a full backlog", tcp, black_hole, "does not answer", "no-answer", hold=6)
    yield Cause(
        "black hole: SYNs dropped", tcp, packets_dropped, "silence", "silence", heal=packets_again, apart=True, hold=8
    )
    yield Cause("half-open: pongs stop", tcp, half_open, "silence", "silence", hold=6)
    yield Cause(
        "accepts, then says nothing", tcp, behaving(mute), "does not finish the handshake", "http-silent", hold=6
    )
    yield Cause("slow loris", tcp, behaving(drip), "does not finish the handshake", "http-silent", hold=6)

    dns: dict[str, Any] = {"group": "names", "host": "NAME", "heal": named_again}
    yield Cause("name not found", hurt=named(), said="is not found", word="no-name", **dns)
    yield Cause("name server fails", hurt=named("SERVFAIL"), said="no name server", word="no-name-server", **dns)
    yield Cause("name server silent", hurt=named(None), said="no name server", word="no-name-server", hold=6, **dns)
    yield Cause("name moves", hurt=moved, said="nobody listens at", word="refused", **(dns | {"heal": followed}))
    yield Cause("first of two addresses dead", hurt=first_dead, **dns)

    tls: dict[str, Any] = {"group": "tls", "tls": "good", "host": HOST, "heal": well_served}
    bad = tls | {"word": "certificate", "security": "InvalidCsmsCertificate"}
    yield Cause("no TLS at a wss:// port", hurt=served(None), said="speaks TLS at all", word="hung-up", **tls)
    web_server = dict(tls, heal=served_again, said="speaks no TLS", word="no-tls")
    yield Cause("a web server at a wss:// port", hurt=unserved(plain), **web_server)
    yield Cause("TLS at a ws:// port", "tls", served("good"), "wants wss://", "hung-up", heal=without_tls)
    yield Cause("TLS at a ws:// port, an alert", "tls", behaving(alert), "wants TLS", "tls-wanted")
    yield Cause(
        "silent before TLS", hurt=behaving(mute), said="finish the handshake", **(tls | {"heal": honest, "hold": 6})
    )
    yield Cause("certificate expired", hurt=served("expired"), said="has expired, as our clock says", **bad)
    yield Cause("certificate not yet valid", hurt=served("early"), said="is not valid yet, as our clock says", **bad)
    yield Cause("certificate of another name", hurt=served("another-name"), said="is for another name", **bad)
    yield Cause("certificate of an unknown CA", hurt=served("unknown"), said="is by nobody we trust", **bad)
    yield Cause("certificate self-signed", hurt=served("self-signed"), said="is self-signed", **bad)
    yield Cause("certificate for *.test", hurt=served("wildcard"), said="is a wildcard", **bad)
    yield Cause("root rotates", hurt=rotated, said="is by nobody we trust", **(bad | {"heal": roots_follow}))
    refused = dict(tls, heal=served_again)
    old = refusing(oldest=ssl.TLSVersion.TLSv1, newest=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")
    said: dict[str, Any] = {"said": "no TLS from 1.2 on", "word": "tls-version", "security": "InvalidTLSVersion"}
    yield Cause("only TLS 1.1", hurt=old, **refused, **said)
    weak = refusing(newest=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    said = {"said": "no TLS cipher", "word": "tls-cipher", "security": "InvalidTLSCipherSuite"}
    yield Cause("only a weak cipher", hurt=weak, **refused, **said)

    web = "http"
    yield Cause("401 Unauthorized", web, behaving(http("401 Unauthorized")), "refuses the password", "http-401")
    yield Cause("403 Forbidden", web, behaving(http("403 Forbidden")), "forbids", "http-403")
    yield Cause("404 Not Found", web, behaving(http("404 Not Found")), "does not know", "http-404")
    later = behaving(http("429 Too Many Requests", "Retry-After: 3"))
    yield Cause("429, Retry-After", web, later, "(HTTP 429), which asks to wait 3 s", "http-429")
    later = behaving(http("503 Service Unavailable", "Retry-After: 3"))
    yield Cause("503, Retry-After", web, later, "(HTTP 503), which asks to wait 3 s", "http-503")
    yield Cause("500 Internal Error", web, behaving(http("500 Oh")), "in trouble (HTTP 500)", "http-500")
    for code in (301, 302, 307, 308):
        away = behaving(http(f"{code} Elsewhere", "Location: ws://127.0.0.1:9/evil"))
        yield Cause(f"{code} to elsewhere", web, away, "ws://127.0.0.1:9/evil' (HTTP", f"http-{code}")
    yield Cause(
        "200 and a web page", web, behaving(http("200 OK", body=b"<html>" * 500)), "refuses (HTTP 200)", "http-200"
    )
    yield Cause(
        "garbage for HTTP", web, behaving(raw(b"\x00\xff" * 99 + b"\r\n")), "no websocket server", "no-websocket"
    )
    yield Cause(
        "HTTP without an end",
        web,
        behaving(raw(b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 9999)),
        "no websocket server",
        "no-websocket",
    )
    yield Cause("handshake of another key", web, behaving(raw(WRONG_KEY)), "no websocket server", "no-websocket")
    yield Cause("no subprotocol", web, offering(), "chose none of", "version")
    yield Cause("a subprotocol never offered", web, behaving(wrong_version), "was not offered", "version")

    for code in (*LAWFUL, 3000, 3999, 4000, 4999):
        yield Cause(
            f"close {int(code)}",
            "close",
            closing(code),
            f"closed by the backend with {int(code)}",
            f"closed-{int(code)}",
        )
    for code in (999, 1004, 1005, 1006, 1015, 2000):
        yield Cause(f"close {code}, unlawful", "close", closing(code), "closed by us with 1002", "faulty")

    ws = "frames"
    yield Cause("binary frames", ws, speaking(how="binary"))
    yield Cause("fragments of 7 bytes", ws, speaking(how="fragments"))
    yield Cause("garbage between answers", ws, speaking("not json", "[]", "[9]", '{"a":1}', b"\x00\xff", '[3,"x",{}]'))
    yield Cause("300 kB between answers", ws, speaking('[3,"big",{"x":"' + "y" * 300_000 + '"}]'))
    yield Cause("2 MB in a frame", ws, speaking("x" * 2_000_000), "closed by us with 1009", "faulty")
    yield Cause("text that is not UTF-8", ws, greeting(not_utf8), "closed by us with 1007", "faulty")
    yield Cause("ping flood", ws, flooding(b"\x89\x00"), "floods us", "flood")
    yield Cause("ping flood, reads nothing", ws, flooding(b"\x89\x00", reading=False), "floods us", "flood")
    yield Cause("flood of empty frames", ws, flooding(b"\x81\x00"), "floods us", "flood")
    yield Cause("reads nothing", ws, greeting(never_reads), "silence", "silence", hold=6)

    rpc = "answers"
    yield Cause("slow, in time", rpc, answering(Script(delay=2.0)), hold=8)
    yield Cause("after our timeout", rpc, answering(Script(delay=MESSAGE_TIMEOUT + 1)), hold=14)
    yield Cause("twice", rpc, answering(Script(copies=2)))
    yield Cause("to other questions", rpc, answering(Script(wrong_id=True)), "in a row unanswered", "mute", hold=14)
    yield Cause("never", rpc, answering(Script(mute=True)), "in a row unanswered", "mute", hold=14)
    yield Cause("never, nothing heard", rpc, answering(Script(heard=False)), "in a row unanswered", "mute", hold=14)
    yield Cause(
        "link cut for an answer", rpc, answering(Script(cut=True)), "closed by the backend with 1000", "closed-1000"
    )
    error = Script(error=("InternalError", "out of order"))
    yield Cause("CALLERROR to everything", rpc, answering(error))
    yield Cause(
        "boot never answered", rpc, answering(Script(heard=False)), "in a row unanswered", "mute", first=True, hold=55
    )

    ours = "ours"
    yield Cause("address changed while down", ours, url_changes, "nobody listens at", "refused", heal=url_changed)
    yield Cause("the proxy is down", ours, refuse, "check csms.proxy", "proxy", proxy="PROXY")
    yield Cause(
        "an exception nobody expected",
        ours,
        surprising(ZeroDivisionError()),
        "unexpected ZeroDivisionError",
        "surprise",
        heal=mended,
    )
    yield Cause(
        "a cancellation nobody asked for",
        ours,
        surprising(asyncio.CancelledError()),
        "unexpected fault",
        "surprise",
        heal=mended,
        hold=2,
    )


CAUSES = {cause.name: cause for cause in _causes()}
