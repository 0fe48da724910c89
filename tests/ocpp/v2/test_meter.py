from __future__ import annotations

import pytest

from chargerd.core.records import Cause, Sampled
from tests.ocpp.v2.build import project, reading, render, station
from tests.ocpp.v16.build import moment


@pytest.mark.req("J01.FR.02", "J01.FR.05", "J01.FR.14", "F06.FR.06")
@pytest.mark.parametrize(
    ("cause", "context", "thin"), [(Cause.CLOCK, "Sample.Clock", True), (Cause.TRIGGER, "Trigger", False)]
)
def test_meter_values_of_an_evse(cause: Cause, context: str, thin: bool) -> None:
    here = station(aligned_measurands="Voltage", sampled_measurands="Frequency")
    _, (draft,) = project({}, here, [Sampled(moment(900), 3, cause, reading(900), "tx-1")])
    assert (draft.queue, draft.tx, draft.seq, draft.thin) == (
        "transactions" if cause is Cause.CLOCK else "volatile",
        None,
        None,
        thin,
    )
    said = render(draft, offline=True)
    assert said.action == "MeterValues"
    assert said.payload["evseId"] == 2
    (values,) = said.payload["meterValue"]
    assert values["timestamp"] == "2027-01-15T08:15:00Z"
    assert [(v["phase"], v["value"], v["context"]) for v in values["sampledValue"]] == [
        ("L1-N", 230.0, context),
        ("L2-N", 231.0, context),
        ("L3-N", 229.5, context),
    ]


def test_nothing_asked_for_is_no_message() -> None:
    here = station(aligned_measurands="")
    assert project({}, here, [Sampled(moment(900), 1, Cause.CLOCK, reading(900))])[1] == []
