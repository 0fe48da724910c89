"""Whom the link trusts: the TLS context that security profile 2 asks for, made anew when the roots on the disk change.

TLS 1.2 and 1.3 only (A00.FR.313), no compression (A00.FR.321). In 1.2 only suites with forward secrecy, of which the
two of A00.FR.319 with ECDSA; the two with RSA key exchange are the other choice that clause gives. Certificates are
verified up to a root of `ca_file`, or of the system where none is given (A00.FR.308), and by name (A00.FR.309).
"""

from __future__ import annotations

import logging
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
Seen = tuple[tuple[int, int, int] | None, ...]


class TrustUnusable(Exception):
    """There are no roots to verify anybody with; the text says why and what helps."""


class Trust:
    """The roots of one PEM file, or the system's where `ca_file` is empty."""

    def __init__(self, ca_file: str = "") -> None:
        self.ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._seen: Seen = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trust) and other.ca_file == self.ca_file

    def __hash__(self) -> int:
        return hash(self.ca_file)

    def context(self) -> ssl.SSLContext:
        """For the next connection. Roots that cannot be read any more are kept as they were; else TrustUnusable."""
        seen = self._look()
        if self._context is None or seen != self._seen:
            try:
                made = self._made()
            except OSError as e:  # ssl.SSLError is one
                why = e.strerror or str(e)
                if self._context is None:
                    raise TrustUnusable(f"{self.ca_file}: {why}; csms.ca_file needs certificates in PEM") from None
                log.error("%s: %s; the roots read before are used on", self.ca_file, why)
            else:
                self._context = made
            self._seen = seen
        return self._context

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION
        context.set_ciphers(CIPHERS)
        if self.ca_file:
            context.load_verify_locations(cafile=self.ca_file)
        else:
            context.load_default_certs()
        return context

    def _look(self) -> Seen:
        if self.ca_file:
            return (_stamp(self.ca_file),)
        paths = ssl.get_default_verify_paths()
        return tuple(_stamp(path) for path in (paths.cafile, paths.capath))


def by_wildcard(connected: ssl.SSLObject, host: str) -> str | None:
    """The wildcard by which a verified certificate is valid for `host`; None where it names it."""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return None
    certificate: dict[str, Any] = dict(connected.getpeercert() or {})
    names = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if not names:
        subject = [pair for part in certificate.get("subject", ()) for pair in part]
        names = [str(value) for kind, value in subject if kind == "commonName"]
    if any(name.casefold() == host.casefold() for name in names):
        return None
    return next((name for name in names if name.startswith("*.")), None)


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    try:
        found = Path(path or "").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
