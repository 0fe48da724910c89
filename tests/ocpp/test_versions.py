from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chargerd.ocpp.schemas import Version
from chargerd.ocpp.versions import VERSIONS, Offer, alike, dialect_of, finishes, is_version, offer, version_of

ALL: tuple[Version, ...] = ("2.1", "2.0.1", "1.6")


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_has_its_dialect_and_its_name_on_the_wire(version: Version) -> None:
    dialect = dialect_of(version)
    assert (dialect.version, dialect.subprotocol) == (version, f"ocpp{version}")
    assert version_of(dialect.subprotocol) == version
    assert is_version(version)
    assert not is_version("1.5") and not is_version(None)


@pytest.mark.parametrize(
    ("unfinished", "expected"),
    [
        (None, Offer(ALL)),
        ("1.6", Offer(("1.6",), ("2.1", "2.0.1"))),
        ("2.0.1", Offer(("2.0.1", "2.1"), ("1.6",))),
        ("2.1", Offer(("2.1",), ("2.0.1", "1.6"))),
    ],
)
def test_what_is_unfinished_decides_what_is_offered(unfinished: Version | None, expected: Offer) -> None:
    assert offer(ALL, unfinished) == expected


def test_a_version_that_is_configured_no_more_is_offered_until_it_is_finished() -> None:
    assert offer(("2.1",), "1.6") == Offer(("1.6",), ("2.1",))
    assert offer(("1.6",), "2.0.1") == Offer(("2.0.1",), ("1.6",))


def test_who_may_finish_what() -> None:
    others = {(one, other) for one in VERSIONS for other in VERSIONS if one != other}
    assert {pair for pair in others if finishes(*pair)} == {("2.1", "2.0.1")}
    assert {pair for pair in others if alike(*pair)} == {("2.1", "2.0.1"), ("2.0.1", "2.1")}


@pytest.mark.parametrize(("version", "other"), [("2.1", "v16"), ("2.0.1", "v16"), ("1.6", "v2")])
def test_only_the_dialect_in_use_is_imported(version: str, other: str) -> None:
    code = (
        "import sys; import chargerd.daemon.run; from chargerd.ocpp.versions import dialect_of;"
        f"dialect_of({version!r});"
        f"bad = [m for m in sys.modules if m.startswith(('ocpp.v', 'jsonschema', 'chargerd.ocpp.{other}'))];"
        "sys.exit(str(bad) if bad else 0)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env=environment)
