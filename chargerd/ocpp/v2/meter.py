"""Meter values in the words of OCPP 2.x (J01, J02): sampledValue lists, and MeterValues of an EVSE.

A *set* is how a draft holds one MeterValueType until its stamp is known: `{"at": moment, "sampledValue": [...]}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chargerd.core.moment import Moment
from chargerd.core.records import Cause, Sampled, Transaction
from chargerd.core.state import Station
from chargerd.core.variables import whole_of
from chargerd.ocpp.dialect import Draft, Json, Outgoing, Stamp
from chargerd.ocpp.measurands import read_at, samples

METER = "meter"

CONTEXT = {Cause.PERIODIC: "Sample.Periodic", Cause.CLOCK: "Sample.Clock", Cause.TRIGGER: "Trigger"}


def measured(
    station: Station, record: Transaction | Sampled, wanted: Sequence[str], context: str, phases: int
) -> list[Json]:
    """The sampledValue list of the record's reading; empty when nothing was read or asked for."""
    if record.reading is None or record.outlet is None:
        return []
    offered = station.outlet(record.outlet).live.offered
    return [
        {
            "value": float(sample.value) if "." in sample.value else int(sample.value),
            "context": context,
            "measurand": sample.measurand,
            **({"phase": sample.phase} if sample.phase else {}),
            "unitOfMeasure": {"unit": sample.unit},
        }
        for sample in samples(record.reading, list(dict.fromkeys(map(whole_of, wanted))), offered, phases)
    ]


def sampled_set(record: Transaction | Sampled, sampled: list[Json]) -> Json:
    """`sampled` with the moment it was read at."""
    return {"at": asdict(read_at(record.at, record.reading)), "sampledValue": sampled}


def rendered(sets: Sequence[dict[str, Any]], stamp: Stamp) -> list[Json]:
    """MeterValueTypes of these sets."""
    return [{"timestamp": stamp(Moment(**each["at"])), "sampledValue": each["sampledValue"]} for each in sets]


def project(station: Station, record: Sampled) -> Draft | None:
    """MeterValues outside a transaction, or asked for (J01.FR.14, F06.FR.06); None when there is nothing in it."""
    outlet = station.outlet(record.outlet)
    wanted = station.variables.get_list("aligned_measurands")
    sampled = measured(station, record, wanted, CONTEXT[record.cause], outlet.site.phases)
    if not sampled:
        return None
    facts = {"evseId": outlet.site.evse, "meter": [sampled_set(record, sampled)]}
    queue = "volatile" if record.cause is Cause.TRIGGER else "transactions"  # B02.FR.02, F06.FR.09
    return Draft(queue, METER, facts, record.at, thin=record.cause is Cause.CLOCK)


def render(draft: Draft, stamp: Stamp) -> Outgoing:
    payload = {"evseId": draft.facts["evseId"], "meterValue": rendered(draft.facts["meter"], stamp)}
    return Outgoing("MeterValues", payload)
