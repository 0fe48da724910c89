"""Stations, moments and readings for the tests of this folder; everything rendered goes through the schema."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chargerd.core.moment import Moment
from chargerd.core.records import Cause, ChargingState, Edge, Reason, Transaction
from chargerd.core.state import Authorisation, Live, OutletSite, Site, Station, Tx, Visit
from chargerd.core.state import Outlet as CoreOutlet
from chargerd.core.token import Token
from chargerd.core.variables import Variables
from chargerd.ocpp import schemas
from chargerd.ocpp.dialect import Outgoing, Reply
from chargerd.ocpp.v16 import Dialect16
from hal.api import MeterReading

DIALECT = Dialect16()
CARD = Token("04A2B3C4D5E680")
FACTS = {"outlets": "1.1,2.1", "connectors": "2"}


def moment(second: float = 0.0) -> Moment:
    return Moment(mono=100.0 + second, wall=1_800_000_000.0 + second, trusted=True, boot=7)


def stamp(at: Moment) -> str:
    return datetime.fromtimestamp(at.wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reading(energy: float = 1000.0) -> MeterReading:
    """A Wh each second."""
    return MeterReading(
        at=100.0 + energy - 1000.0,
        energy=energy,
        power=7360.0,
        amps=(16.0, 15.9, 16.1),
        volts=(230.0, 231.0, 229.5),
        frequency=50.01,
    )


def station(*lives: Live, **settings: str) -> Station:
    """Two outlets, known and free, unless their `Live` is given; settings by their internal names."""
    given = dict(enumerate(lives, 1))
    sites = tuple(OutletSite(rank, evse=rank, connector=1, amps=16.0) for rank in (1, 2))
    outlets = tuple(CoreOutlet(site, given.get(site.rank, Live(known=True))) for site in sites)
    return Station(Site(sites, max_amps=32.0), outlets, Variables().starting(settings))


def charging(base: Station, rank: int, uid: str, plug: int = 9) -> Station:
    """With transaction `uid` running at `rank`."""
    visit = Visit(
        moment(), plug=plug, auth=Authorisation(CARD, moment()), tx=Tx(uid, moment(), Cause.AUTHORIZED, told=True)
    )
    live = replace(base.outlet(rank).live, plug=plug, powered=bool(plug))
    outlets = tuple(replace(o, visit=visit, live=live) if o.site.rank == rank else o for o in base.outlets)
    return replace(base, outlets=outlets)


def transaction(edge: Edge, cause: Cause, second: float = 0.0, **changes: Any) -> Transaction:
    base = Transaction(moment(second), "tx-1", edge, cause, 1, ChargingState.CHARGING, reading=reading(1000 + second))
    return replace(base, **changes)


def started(tx: str = "tx-1", **changes: Any) -> Transaction:
    return transaction(Edge.STARTED, Cause.AUTHORIZED, tx=tx, **{"token": CARD, **changes})


def updated(cause: Cause, second: float, tx: str = "tx-1", **changes: Any) -> Transaction:
    return transaction(Edge.UPDATED, cause, second, tx=tx, **changes)


def ended(second: float, tx: str = "tx-1", reason: Reason = Reason.LOCAL, **changes: Any) -> Transaction:
    fixed: dict[str, Any] = {"begin": reading(1000), "started": moment(), "reason": reason}
    return transaction(Edge.ENDED, Cause.STOP_AUTHORIZED, second, tx=tx, **{**fixed, **changes})


def sound(said: Outgoing) -> Outgoing:
    """`said`, found valid by the schema."""
    assert schemas.check("1.6", said.action, "request", said.payload) is None, said
    return said


def sound_reply(action: str, reply: object) -> dict[str, Any]:
    """The payload of a Reply, found valid by the schema."""
    assert isinstance(reply, Reply), reply
    assert schemas.check("1.6", action, "response", reply.payload) is None, reply
    return reply.payload
