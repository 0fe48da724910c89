"""Security events: which are told, and that no secret is among what is written down."""

from __future__ import annotations

import pytest

from chargerd.core.events import SecurityNoticed, SetAsked
from chargerd.core.records import Security
from tests.core.desk import Desk


@pytest.mark.req("A04.FR.01", "A00.FR.316")
@pytest.mark.parametrize(
    ("name", "critical"),
    [
        ("InvalidCsmsCertificate", True),
        ("InvalidTLSVersion", True),
        ("InvalidTLSCipherSuite", True),
        ("FailedToAuthenticateAtCsms", False),
    ],
)
def test_what_the_link_noticed_is_a_record(name: str, critical: bool) -> None:
    desk = Desk()
    desk.drain()
    desk.feed(SecurityNoticed(name, "the certificate of csms.example has expired"))
    [record] = desk.drain()[0]
    assert record == Security(desk.moment(), name, "the certificate of csms.example has expired", critical)


@pytest.mark.req("A01.FR.11", "A01.FR.12")
def test_a_new_password_is_noted_and_shown_nowhere() -> None:
    desk = Desk()
    desk.drain()
    asked = SetAsked(1, (("basic_auth_password", "a secret of the owner"),))
    desk.feed(asked)
    [record] = desk.drain()[0]
    assert isinstance(record, Security)
    assert (record.name, record.critical) == ("ReconfigurationOfSecurityParameters", False)
    assert "a secret" not in repr(record) + repr(asked) + repr(desk.state)
