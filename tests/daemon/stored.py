"""What the tests of the store write down."""

from __future__ import annotations

from typing import Any

from chargerd.core.moment import Moment
from chargerd.daemon.store import Session
from chargerd.ocpp.outbox import Row

AT = Moment(mono=5.0, wall=1_700_000_000.0, trusted=True, boot=1)
SESSION = Session("s1", 1, "04A2", 1000.0, 2000.0, True, 0.0, 11040.0, "Local", "77")


def row(id_: int, **more: Any) -> Row:
    given: dict[str, Any] = {"facts": {"n": id_}, "seq": id_, **more}
    return Row(id=id_, queue="transactions", tx="t", kind="update", at=AT, **given)
