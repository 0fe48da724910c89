"""Records and checks for the tests of this folder; everything rendered goes through the schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chargerd.core.events import BootStatus
from chargerd.core.records import Cause, ChargingState, Edge, Reason, Record, Transaction
from chargerd.core.state import Boot, Live, Outlet, OutletSite, Site, Station
from chargerd.core.variables import Variables
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Ask, Draft, Fold, Json, Outgoing, Refuse, Reply
from chargerd.ocpp.v2 import Dialect201
from hal.api import MeterReading
from tests.ocpp.v16.build import CARD, moment, stamp

DIALECT = Dialect201()
TWO: tuple[schemas.Version, ...] = ("2.0.1", "2.1")
FACTS = {"outlets": "1.1,2.1,2.2", "connectors": "3", "now": "2027-01-15T08:00:00Z"}


def station(*lives: Live, tethered: bool = False, boot: BootStatus = BootStatus.ACCEPTED, **settings: str) -> Station:
    """Three outlets, EVSE 2 has two connectors; known and free, unless their `Live` is given."""
    given = dict(enumerate(lives, 1))
    sites = tuple(
        OutletSite(rank, evse, connector, 16.0, tethered=tethered)
        for rank, (evse, connector) in enumerate(((1, 1), (2, 1), (2, 2)), 1)
    )
    seen = [(site, given.get(site.rank, Live(known=True))) for site in sites]
    outlets = tuple(Outlet(site, live, reported=live.faults) for site, live in seen)
    return Station(Site(sites, max_amps=48.0), outlets, Variables().starting(settings), boot=Boot(boot))


def reading(second: float = 0.0, **changes: Any) -> MeterReading:
    """1000 Wh and one more each second, 16 A on three phases."""
    base = MeterReading(
        at=moment(second).mono,
        energy=1000.0 + second,
        power=11040.0,
        amps=(16.0, 15.9, 16.1),
        volts=(230.0, 231.0, 229.5),
        frequency=50.01,
    )
    return replace(base, **changes)


def transaction(edge: Edge, cause: Cause, second: float = 0.0, **changes: Any) -> Transaction:
    base = Transaction(moment(second), "tx-1", edge, cause, 1, ChargingState.CONNECTED)
    return replace(base, **changes)


def started(second: float = 0.0, cause: Cause = Cause.AUTHORIZED, **changes: Any) -> Transaction:
    return transaction(Edge.STARTED, cause, second, **{"token": CARD, "reading": reading(second), **changes})


def updated(cause: Cause, second: float, **changes: Any) -> Transaction:
    return transaction(Edge.UPDATED, cause, second, **changes)


def sampled(cause: Cause, second: float, **changes: Any) -> Transaction:
    values: dict[str, Any] = {"reading": reading(second), "state": ChargingState.CHARGING}
    return updated(cause, second, **{**values, **changes})


def ended(second: float, cause: Cause = Cause.STOP_AUTHORIZED, **changes: Any) -> Transaction:
    values: dict[str, Any] = {"reason": Reason.LOCAL, "reading": reading(second), "begin": reading(0)}
    return transaction(Edge.ENDED, cause, second, **{**values, **changes})


def project(fold: Fold, here: Station, records: Sequence[Record]) -> tuple[Fold, list[Draft]]:
    """As the shell does it: fold and facts have been through the store before they are used again."""
    before = json.dumps(fold)
    after, drafts = DIALECT.project(fold, here, records)
    assert json.dumps(fold) == before, "the fold was changed in place"
    return json.loads(json.dumps(after)), [replace(d, facts=json.loads(json.dumps(d.facts))) for d in drafts]


def render(draft: Draft, offline: bool = False) -> Outgoing:
    return sound(DIALECT.render(draft, {}, station(), stamp, offline))


def told(here: Station, *records: Record) -> list[Json]:
    """The payloads of these records, which all belong to one step or follow each other."""
    return [render(draft).payload for draft in project({}, here, records)[1]]


def asked(action: str, payload: Json, here: Station | None = None, facts: Json | None = None) -> Reply | Ask | Refuse:
    """What a request of the CSMS comes to, after the schema found it valid as the RPC engine does."""
    assert schemas.check("2.0.1", action, "request", payload) is None, payload
    got = DIALECT.handle(7, action, payload, {}, here or station(), {**FACTS, **(facts or {})})
    if isinstance(got, Reply):
        sound_reply(action, got)
    return got


def sound(said: Outgoing) -> Outgoing:
    """`said`, found valid by the schema and made of JSON types only; 2.1, which finishes what 2.0.1 began, knows it."""
    for version in TWO:
        assert schemas.check(version, said.action, "request", said.payload) is None, (version, said)
    assert _plain(said.payload), said
    return said


def sound_reply(action: str, reply: object) -> dict[str, Any]:
    """The payload of a Reply, found valid by the schema, and so is what follows it."""
    assert isinstance(reply, Reply), reply
    assert schemas.check("2.0.1", action, "response", reply.payload) is None, reply
    assert _plain(reply.payload), reply
    for then in reply.then:
        sound(then)
    return reply.payload


def _plain(value: object) -> bool:
    match value:
        case dict():
            return all(type(key) is str and _plain(each) for key, each in value.items())
        case list():
            return all(map(_plain, value))
        case _:
            return type(value) in (str, int, float, bool)
