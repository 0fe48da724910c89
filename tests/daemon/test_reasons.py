"""What `why` is made of."""

from __future__ import annotations

from chargerd.core import events as ev
from chargerd.core.permits import EBB
from chargerd.core.profiles import Period, Purpose, Unit
from chargerd.daemon.reasons import why
from tests.core.desk import Desk
from tests.core.test_charging import charge, profile, put
from tests.core.test_flow import BOB, plug_in, tap


def told(desk: Desk, rank: int = 1) -> dict[str, object]:
    return why(desk.state, rank, None, desk.moment())


def test_every_limit_with_its_source_age_end_and_what_follows() -> None:
    desk = charge()
    put(desk, 1, profile(number=3, purpose=Purpose.TX, level=2, periods=(Period(0, 10.0), Period(60, 16.0))))
    put(desk, 0, profile(13_800.0, Purpose.STATION_MAX, 4, unit=Unit.WATTS))
    desk.after(20)
    found = told(desk)
    assert (found["permitted"], found["needs"], found["share"]) == (10.0, 6.0, 10.0)
    assert found["limits"] == [
        {
            "source": "profile",
            "amps": 10.0,
            "profile": {"id": 3, "level": 2, "purpose": "tx"},
            "age": 20,
            "changes": 40.0,
            "then": 16.0,
        },
        {
            "source": "station-profile",
            "amps": 20.0,
            "profile": {"id": 4, "level": 0, "purpose": "station-max"},
            "age": 20,
            "changes": None,
            "then": None,
        },
        {"source": "outlet", "amps": 32.0, "profile": None, "age": None, "changes": None, "then": None},
        {"source": "cable", "amps": 32.0, "profile": None, "age": None, "changes": None, "then": None},
        {"source": "station", "amps": 1000.0, "profile": None, "age": None, "changes": None, "then": None},
    ]


def test_what_others_have_not_let_go_of_yet_is_waited_for() -> None:
    desk = charge(2, max_amps=20.0)
    plug_in(desk, 2, 42)
    tap(desk, BOB)
    assert (desk.permit(1), desk.permit(2)) == (10.0, 0.0)
    found = told(desk, 2)
    assert (found["waits"], found["share"], found["sharing"]) == (True, 10.0, [1])
    desk.after(EBB)
    assert desk.permit(2) == 10.0
    assert told(desk, 2)["waits"] is False


def test_nobody_charges() -> None:
    found = told(Desk())
    assert (found["permitted"], found["needs"], found["share"]) == (0.0, None, None)


def test_a_schedule_that_is_over_leaves_no_limit() -> None:
    desk = charge()
    put(desk, 1, profile(duration=30))
    limits = told(desk)["limits"]
    assert isinstance(limits, list)
    assert (limits[0]["changes"], limits[0]["then"]) == (30.0, None)
    desk.feed(ev.ProfilesCleared(1))
    assert told(desk)["limits"] != limits
