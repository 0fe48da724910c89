"""Certificates for every way in which one can be wrong, made with openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

HOST = "csms.backend.test"
_CA = """\
[ca]
default_ca = only
[only]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""
_DATES = {  # openssl-ca(1): YYMMDDHHMMSSZ
    "good": ("200101000000Z", "400101000000Z"),
    "expired": ("200101000000Z", "210101000000Z"),
    "early": ("390101000000Z", "400101000000Z"),
}


class Certificates:
    """`folder` holds `NAME.pem` and `NAME.key` of each, and `ca.pem`, `other.pem` of the two authorities."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_file, self.other_ca = folder / "ca.pem", folder / "other.pem"
        self._authority("ca")
        self._authority("other")
        for dates in _DATES:
            self._server(dates, HOST, "ca", dates)
        self._server("another-name", "elsewhere.test", "ca")
        self._server("wildcard", "*.backend.test", "ca")
        self._server("unknown", HOST, "other")
        self._run("req", "-x509", *self._key("self-signed"), "-out", self._path("self-signed.pem"), *self._named(HOST))

    def server(
        self,
        name: str = "good",
        *,
        newest: ssl.TLSVersion | None = None,
        oldest: ssl.TLSVersion | None = None,
        ciphers: str | None = None,
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if ciphers is not None:
            context.set_ciphers(ciphers)
        if oldest is not None:
            context.minimum_version = oldest
        if newest is not None:
            context.maximum_version = newest
        context.load_cert_chain(self._path(f"{name}.pem"), self._path(f"{name}.key"))
        return context

    # ---- inside

    def _authority(self, name: str) -> None:
        self._run("req", "-x509", *self._key(name), "-out", self._path(f"{name}.pem"), "-subj", f"/CN={name}")

    def _server(self, name: str, host: str, authority: str, dates: str = "good") -> None:
        request = self._path(f"{name}.csr")
        self._run("req", "-new", *self._key(name), "-out", request, *self._named(host))
        config = self.folder / "ca.cnf"
        config.write_text(_CA.format(folder=self.folder))
        (self.folder / "index").write_text("")
        (self.folder / "serial").write_text("01\n")
        begin, end = _DATES[dates]
        self._run(
            *("ca", "-batch", "-notext", "-config", str(config), "-startdate", begin, "-enddate", end),
            *("-cert", self._path(f"{authority}.pem"), "-keyfile", self._path(f"{authority}.key")),
            *("-in", request, "-out", self._path(f"{name}.pem")),
        )

    def _key(self, name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        return (*curve, "-keyout", self._path(f"{name}.key"))

    def _named(self, host: str) -> tuple[str, ...]:
        return ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(("openssl", *arguments), capture_output=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")
