"""TLS as security profile 2 wants it, against a real server: versions, suites, roots that change, wildcards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chargerd.daemon.dial import Attempt, Names, Target, dial
from chargerd.daemon.tls import Trust, TrustUnusable
from tests.linking.certificates import HOST, Certificates
from tests.linking.surroundings import Surroundings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates: apt install openssl")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that speaks TLS and keeps what it hears."""
    heard: list[bytes] = []
    around = Surroundings(apart=False)
    await around.start()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0, ssl=tls)
    try:
        async with server:
            yield server.sockets[0].getsockname()[1], heard
    finally:
        await around.stop()


async def shaken(trust: Trust, port: int, *, host: str = HOST, wildcards: bool = False) -> Exception:
    """What the handshake comes to; the server hangs up at the HTTP part."""
    headers = {"Authorization": "Basic c2VjcmV0"}
    url = f"wss://{host}:{port}/CS"
    target = Target(url, host, port, ("ocpp1.6",), headers, trust.context(), wildcards, None)
    with pytest.raises(Exception) as caught:
        await dial(target, Attempt(), Names(), 5.0, 1.0)
    return caught.value


@pytest.mark.req("A00.FR.313", "A00.FR.319", "A00.FR.320", "A00.FR.321")
def test_what_a_context_allows(made: Certificates) -> None:
    context = Trust(str(made.ca_file)).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert context.options & ssl.OP_NO_COMPRESSION
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"} <= names
    assert not [name for name in names if "CBC" in name or name.endswith("SHA") or "NULL" in name or "RC4" in name]


@pytest.mark.req("A00.FR.313", "A00.FR.314", "1.6J §6.2.1")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_are_spoken(made: Certificates, version: ssl.TLSVersion) -> None:
    async with serving(made.server(oldest=version, newest=version)) as (port, heard):
        await shaken(Trust(str(made.ca_file)), port)
    assert b"Authorization: Basic c2VjcmV0" in heard[0]


@pytest.mark.req("A00.FR.308", "A00.FR.309", "A00.FR.311")
@pytest.mark.parametrize("name", ["expired", "early", "another-name", "unknown", "self-signed", "wildcard"])
async def test_nobody_else_gets_the_password(made: Certificates, name: str) -> None:
    async with serving(made.server(name)) as (port, heard):
        await shaken(Trust(str(made.ca_file)), port)
        await asyncio.sleep(0.05)
    assert not any(heard)


@pytest.mark.req("1.6 security §7.7")
async def test_wildcards_where_they_are_allowed(made: Certificates) -> None:
    async with serving(made.server("wildcard")) as (port, heard):
        await shaken(Trust(str(made.ca_file)), port, wildcards=True)
    assert b"Authorization" in heard[0]


async def test_roots_that_change_are_read_again_and_kept_when_they_break(
    made: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(made.ca_file.read_bytes())
    trust = Trust(str(roots))
    first = trust.context()
    assert trust.context() is first
    roots.write_text("no certificate at all")
    with caplog.at_level(logging.ERROR):
        assert trust.context() is first
        assert trust.context() is first
    assert len([r for r in caplog.records if "used on" in r.message]) == 1
    roots.unlink()
    assert trust.context() is first
    roots.write_bytes(made.other_ca.read_bytes())
    second = trust.context()
    assert second is not first
    assert {c["serialNumber"] for c in second.get_ca_certs()} != {c["serialNumber"] for c in first.get_ca_certs()}


@pytest.mark.parametrize("content", [None, "", "no certificate at all"])
def test_without_any_roots_there_is_no_connection(tmp_path: Path, content: str | None) -> None:
    roots = tmp_path / "roots.pem"
    if content is not None:
        roots.write_text(content)
    with pytest.raises(TrustUnusable, match=r"roots\.pem: .*csms\.ca_file needs certificates in PEM"):
        Trust(str(roots)).context()
