from __future__ import annotations

from datetime import UTC, datetime

from chargerd.lab.roaming import Partner, Token, token_info, without_card
from tests.lab.station import V16, V201


async def test_contracts_go_before_prefixes_and_the_longest_prefix_fits() -> None:
    partner = Partner({"DE-ABC-1": Token("Blocked")}, {"DE-": Token(), "DE-XYZ": Token("NoCredit")})
    assert await partner.lookup("de-abc-1") == Token("Blocked")
    assert await partner.lookup("DE-QQQ-1") == Token()
    assert await partner.lookup("DE-XYZ-1") == Token("NoCredit")
    assert await partner.lookup("FR-1") is None
    assert partner.asked == ["de-abc-1", "DE-QQQ-1", "DE-XYZ-1", "FR-1"]


async def test_an_unreachable_partner_knows_nothing() -> None:
    assert await Partner({"A": Token()}, reachable=False).lookup("A") is None


def test_token_info_in_both_versions() -> None:
    token = Token("NoCredit", "GROUP", datetime(2026, 1, 2, tzinfo=UTC))
    assert token_info(V16, token) == {
        "status": "Invalid",
        "parentIdTag": "GROUP",
        "expiryDate": "2026-01-02T00:00:00.000Z",
    }
    assert token_info(V201, token) == {
        "status": "NoCredit",
        "groupIdToken": {"idToken": "GROUP", "type": "Central"},
        "cacheExpiryDateTime": "2026-01-02T00:00:00.000Z",
    }
    assert token_info(V201, Token()) == {"status": "Accepted"}


def test_no_authorization_needs_no_card() -> None:
    assert without_card({"idToken": "", "type": "NoAuthorization"}) == Token()
    assert without_card({"idToken": "", "type": "Central"}) is None
    assert without_card(None) is None
