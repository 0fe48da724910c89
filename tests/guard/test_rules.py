"""The timing contract of one outlet, each rule by itself, in injected time."""

from __future__ import annotations

import pytest

from chargerd.guard import pilot, rules
from chargerd.guard.lease import Indicate, Kind, Lock, Measured, Mode, Permit, Service
from chargerd.guard.pilot import X1, F
from chargerd.guard.setup import OutletSetup
from tests.guard.bench import OHMS, PERIOD, Bench, charging

SOCKET = OutletSetup(evse=1, wake_up="off")


def ready_to_close() -> Bench:
    """Vehicle in B, PWM on, everything known to be good."""
    bench = Bench()
    bench.level = "B"
    bench.run(6.0)
    bench.permit()
    bench.run(0.2)
    return bench


# ---------------------------------------------------------------- closing


@pytest.mark.req("IEC 61851-1 A.6 #4")
def test_closes_after_300_ms_of_c_and_well_within_3_s() -> None:
    bench = ready_to_close()
    bench.level = "C"
    assert 0.3 <= bench.until("coil") <= 0.36


def test_a_short_c_does_not_close() -> None:
    bench = ready_to_close()
    for _ in range(10):
        bench.level = "C"
        bench.run(0.26)
        bench.level = "B"
        bench.run(PERIOD)
    assert Kind.POWER_ON not in bench.kinds()
    assert Kind.VEHICLE_READY not in bench.kinds()


def test_after_a_pause_c_is_watched_from_the_beginning() -> None:
    bench = ready_to_close()
    bench.level = "C"
    bench.run(0.26)
    bench.turns += 5
    bench.state, bench.out = rules.lapse(bench.state, bench.now)
    assert 0.3 <= bench.until("coil") <= 0.36


def test_a_vehicle_that_asks_before_pwm_waits_for_c2() -> None:
    bench = Bench()
    bench.level = "C"
    bench.run(8.0)
    assert Kind.VEHICLE_READY in bench.kinds()
    bench.permit()
    bench.cycle()
    assert bench.out.drive == 0.266
    assert 0.28 <= bench.until("coil") <= 0.36


def test_power_on_is_said_when_the_mirror_proves_it() -> None:
    bench = ready_to_close()
    bench.level, bench.mirror = "C", False
    bench.until("coil")
    bench.cycle()
    assert Kind.POWER_ON not in bench.kinds()
    bench.mirror = None
    bench.cycle()
    assert bench.kinds()[-1] is Kind.POWER_ON


def test_no_lease_no_power() -> None:
    bench = Bench()
    bench.level = "C"
    bench.run(20.0)
    assert bench.out.drive == X1
    assert bench.state.limit == "lease"
    assert Kind.POWER_ON not in bench.kinds()


@pytest.mark.parametrize(("ventilation", "power"), [(True, True), (False, False)])
def test_d_needs_ventilation(ventilation: bool, power: bool) -> None:
    bench = Bench(OutletSetup(evse=1, tethered=True, wake_up="off", ventilation=ventilation))
    bench.level = "D"
    bench.run(6.0)
    bench.permit()
    bench.run(5.0)
    assert bench.out.coil is power


def test_three_good_samples_of_the_diode_first() -> None:
    bench = ready_to_close()
    bench.diode = False
    bench.level = "C"
    bench.run(0.06)  # too short for a fault, enough to forget the good ones
    bench.diode = True
    bench.run(0.04)
    assert bench.state.diode == 2
    assert bench.faults() == set()


def test_a_diode_that_comes_and_goes_never_closes() -> None:
    bench = ready_to_close()
    bench.level = "C"
    for turn in range(200):
        bench.diode = turn % 3 != 0
        bench.cycle()
        assert not bench.out.coil
    assert bench.faults() == set()


def test_a_coding_that_flickers_never_closes() -> None:
    bench = Bench(SOCKET)
    bench.ohms, bench.level = OHMS[32], "B"
    bench.run(6.0)
    bench.permit(32.0)
    bench.run(1.0)
    bench.level = "C"
    for turn in range(200):
        bench.ohms = OHMS[13] if turn % 4 == 0 else OHMS[32]
        assert not bench.cycle().coil
    assert bench.state.offered == 32.0
    bench.ohms = OHMS[32]
    assert bench.until("coil") <= 0.36


def test_the_contactor_must_be_seen_open_first() -> None:
    bench = ready_to_close()
    bench.level = "C"
    bench.run(0.2)
    bench.mirror = True
    bench.run(0.18)
    assert not bench.out.coil


def test_digital_mode_shows_five_percent_and_never_closes() -> None:
    bench = Bench()
    bench.level = "B"
    bench.run(6.0)
    bench.permit(mode=Mode.DIGITAL)
    bench.run(0.1)
    assert bench.out.drive == 0.05
    bench.level = "C"
    bench.run(10.0)
    assert not bench.out.coil
    bench.permit(mode=Mode.BASIC)
    assert bench.until("coil", 6.0) > 0


def test_a_lease_that_turns_digital_ends_the_basic_offer_at_once() -> None:
    bench = ready_to_close()
    assert bench.out.drive == 0.266
    bench.permit(mode=Mode.DIGITAL)
    bench.cycle()
    assert (bench.out.drive, bench.state.offered) == (0.05, 0.0)


def test_siblings_wait() -> None:
    bench = ready_to_close()
    bench.blocked = True
    bench.level = "C"
    bench.run(3.0)
    assert (bench.out.drive, bench.state.limit, bench.out.coil) == (X1, "evse", False)
    bench.blocked = False
    assert bench.until("coil") < 0.5


# ---------------------------------------------------------------- opening


@pytest.mark.req("IEC 61851-1 A.6 #8.1", "IEC 61851-1 A.6 #2.2")
@pytest.mark.parametrize(("level", "why"), [("B", "vehicle-not-ready"), ("A", "unplugged"), ("D", "vehicle-not-ready")])
def test_leaving_c_opens_on_the_second_sample(level: str, why: str) -> None:
    bench = charging()
    bench.level = level
    bench.cycle()
    assert bench.out.coil
    bench.cycle()
    assert not bench.out.coil
    bench.run(0.1)
    assert bench.details(Kind.POWER_OFF) == [why]


@pytest.mark.parametrize(("missed", "stays"), [(0, True), (1, False)])
@pytest.mark.req("IEC 61851-1 A.6 #2.2")
def test_of_late_turns_one_sample_that_leaves_c_is_enough(missed: int, stays: bool) -> None:
    bench = charging()
    bench.level = "B"
    bench.turns += missed
    bench.cycle()
    assert bench.out.coil is stays


def test_a_late_turn_in_which_it_still_asks_changes_nothing() -> None:
    bench = charging()
    for _ in range(20):
        bench.turns += 1
        bench.cycle()
    assert bench.out.coil


def test_undefined_volts_count_as_leaving() -> None:
    bench = charging()
    bench.volts = -5.0
    bench.run(2 * PERIOD)
    assert not bench.out.coil


def test_one_bad_sample_does_not_open() -> None:
    bench = charging()
    bench.level = "B"
    bench.cycle()
    bench.level = "C"
    bench.run(5.0)
    assert bench.details(Kind.POWER_OFF) == []


@pytest.mark.req("IEC 61851-1 A.6 #10.2")
@pytest.mark.parametrize("how", ["permit", "expiry", "five"])
def test_a_vehicle_that_ignores_x1_is_opened_at_six_seconds(how: str) -> None:
    bench = charging()
    if how == "expiry":
        bench.permit(16.0, valid_for=10.0)
        bench.run(9.98)
        assert bench.out.drive == 0.266
        bench.run(PERIOD)
    else:
        bench.permit(5.0 if how == "five" else 0.0)
        bench.cycle()
    assert bench.out.drive == X1
    assert 6.0 - 1e-6 <= bench.until("!coil") <= 6.04 + 1e-6
    bench.run(0.1)
    assert bench.details(Kind.POWER_OFF) == ["forced"]
    assert (Kind.LEASE_ENDED in bench.kinds()) is (how == "expiry")


@pytest.mark.req("IEC 61851-1 A.6 #10.2")
@pytest.mark.parametrize(("off", "on"), [(1, 1), (1, 100), (100, 1), (149, 2), (151, 1), (160, 200)])
def test_a_permit_that_flaps_does_not_hold_the_contactor(off: int, on: int) -> None:
    bench = charging()
    began = bench.now
    while bench.out.coil and bench.now - began < 30.0:
        for amps, turns in ((0.0, off), (16.0, on)):
            bench.permit(amps)
            bench.run(turns * PERIOD)
    bench.cycle()
    assert bench.details(Kind.POWER_OFF) == ["forced"]
    assert bench.now - began < 25.0


def test_a_permit_that_is_given_back_does_not_open_under_load() -> None:
    bench = charging()
    for _ in range(5):
        bench.permit(0.0)
        bench.run(1.0)
        bench.permit()
        assert bench.out.drive == X1
        bench.run(1.9)
        assert (bench.out.drive, bench.state.limit) == (X1, "pause")
        bench.run(0.2)
        assert pilot.offers(bench.out.drive)
        bench.run(5.1)
    assert bench.out.coil


def test_a_permit_that_comes_back_by_way_of_f_waits_as_long() -> None:
    bench = charging()
    bench.permit(0.0, Mode.UNAVAILABLE)
    bench.level = "B"
    bench.run(0.5)
    assert bench.out.drive == pilot.F
    bench.permit()
    bench.run(2.4)
    assert not pilot.offers(bench.out.drive)
    bench.run(0.3)
    assert pilot.offers(bench.out.drive)


@pytest.mark.req("IEC 61851-1 A.6 #10.1")
def test_a_vehicle_that_obeys_x1_opens_itself() -> None:
    bench = charging()
    bench.permit(0.0)
    bench.run(2.0)
    assert bench.out.coil
    bench.level = "B"
    bench.run(0.1)
    assert not bench.out.coil
    assert bench.details(Kind.POWER_OFF) == ["stopped"]


def test_a_permit_that_returns_in_time_keeps_the_contactor() -> None:
    bench = charging()
    bench.permit(0.0)
    bench.run(5.0)
    bench.permit(16.0)
    bench.run(10.0)
    assert bench.out.coil
    assert bench.out.drive == 0.266


def test_a_vehicle_that_comes_and_goes_with_every_other_sample_is_opened_within_100_ms() -> None:
    bench = charging()
    for turn in range(5):
        bench.level = "C" if turn % 2 else "B"
        bench.cycle()
    assert not bench.out.coil


def test_reclosing_waits_five_seconds() -> None:
    bench = charging()
    bench.level = "B"
    bench.until("!coil")
    bench.level = "C"
    assert 5.0 - 1e-6 <= bench.until("coil") <= 5.04


@pytest.mark.parametrize(("residual", "waits"), [(True, 1.2), (False, 1.0)])
def test_the_next_vehicle_does_not_wait_five_seconds(residual: bool, waits: float) -> None:
    bench = charging(OutletSetup(evse=1, tethered=True, wake_up="off", residual=residual))
    bench.level = "A"
    bench.until("!coil")
    opened = bench.now
    bench.run(0.2)
    bench.level = "C"
    bench.run(0.2)
    bench.permit()
    bench.until("coil")
    assert waits - 1e-6 <= bench.now - opened <= waits + 0.2


@pytest.mark.parametrize(("before", "closes"), [("A", 1.3), ("C", 5.0)])
def test_after_a_start_only_a_vehicle_that_was_there_waits(before: str, closes: float) -> None:
    bench = Bench()
    bench.level = before
    bench.run(0.2)
    bench.level = "C"
    bench.run(0.2)
    bench.permit()
    bench.until("coil")
    assert closes - 1e-6 <= bench.now <= closes + 0.1


# ---------------------------------------------------------------- the pilot


@pytest.mark.req("IEC 61851-1 A.6 #6")
def test_duties_change_at_most_every_five_seconds_but_x1_at_once() -> None:
    bench = charging(amps=16.0)
    bench.run(5.0)
    bench.permit(10.0)
    bench.cycle()
    assert bench.out.drive == 0.166
    bench.permit(32.0)
    bench.run(4.96)
    assert (bench.out.drive, bench.state.offered) == (0.166, 10.0)
    bench.permit(6.0)
    bench.run(0.06)
    assert (bench.out.drive, bench.state.offered) == (0.1, 6.0)
    bench.permit(0.0)
    bench.cycle()
    assert bench.out.drive == X1


@pytest.mark.parametrize(
    ("amps", "offered", "limit"), [(63.0, 32.0, "board"), (10.0, 10.0, "lease"), (5.9, 0.0, "lease")]
)
def test_offer_is_the_least(amps: float, offered: float, limit: str) -> None:
    bench = Bench()
    bench.level = "B"
    bench.run(2.0)
    bench.permit(amps)
    bench.run(0.1)
    assert (bench.state.offered, bench.state.limit) == (offered, limit)


def test_the_cable_limits() -> None:
    bench = Bench(SOCKET)
    bench.ohms, bench.level = OHMS[13], "B"
    bench.run(2.0)
    bench.permit(32.0)
    bench.run(1.0)
    assert (bench.state.offered, bench.state.limit, bench.out.drive) == (13.0, "cable", 0.216)


@pytest.mark.parametrize(("celsius", "amps"), [(60, 32), (67.5, 19), (74.9, 6), (75, 6), (79, 6)])
def test_derating(celsius: float, amps: float) -> None:
    bench = Bench()
    bench.level, bench.cabinet = "B", celsius
    bench.run(2.0)
    bench.permit(32.0)
    bench.run(1.0)
    assert bench.state.offered == amps
    assert bench.faults() == set()


def test_a_lost_sensor_costs_power() -> None:
    bench = Bench()
    bench.level, bench.cabinet = "B", 20.0
    bench.run(2.0)
    bench.cabinet = None
    bench.permit(32.0)
    bench.run(1.0)
    assert (bench.state.offered, bench.state.limit) == (16.0, "temperature")


@pytest.mark.req("IEC 61851-1 A.5.3")
def test_one_wake_up_pulse_a_plug() -> None:
    bench = Bench(OutletSetup(evse=1, tethered=True))
    bench.level = "B"
    bench.run(2.0)
    plug = bench.state.plug
    bench.permit()
    bench.until("drive=0.266")
    assert 30.0 - 1e-6 <= bench.until("drive=0.0") <= 30.04
    assert bench.state.limit == "wake-up"
    assert 4.0 - 1e-6 <= bench.until("drive=1.0") <= 4.04
    assert 0.75 - 1e-6 <= bench.until("drive=0.266") <= 0.79
    bench.run(60.0)
    assert bench.out.drive == 0.266
    assert bench.state.plug == plug
    assert bench.kinds() == [Kind.CABLE_IN, Kind.VEHICLE_IN]


@pytest.mark.parametrize("case", ["off", "asked", "paused"])
def test_no_wake_up(case: str) -> None:
    bench = Bench(OutletSetup(evse=1, tethered=True, wake_up="off" if case == "off" else "f"))
    bench.level = "B"
    bench.run(6.0)
    if case != "paused":
        bench.permit()
    bench.run(1.0)
    if case == "asked":
        bench.level = "C"
        bench.run(1.0)
        bench.level = "B"
    for _ in range(45 * 50):
        bench.cycle()
        assert bench.out.drive != F


def test_a_stop_during_the_wake_up_ends_it() -> None:
    bench = Bench(OutletSetup(evse=1, tethered=True))
    bench.level = "B"
    bench.run(2.0)
    bench.permit()
    bench.until("drive=0.0")
    bench.permit(0.0)
    bench.cycle()
    assert bench.out.drive == X1


def test_unavailable_is_f_once_the_contactor_is_open() -> None:
    bench = charging()
    bench.permit(0.0, Mode.UNAVAILABLE)
    bench.run(3.0)
    assert (bench.out.drive, bench.out.coil) == (X1, True)
    bench.until("drive=0.0", 4.0)
    bench.run(1.0)
    assert (bench.out.coil, bench.state.power) == (False, False)


def test_who_was_out_of_sight_for_long_is_somebody_else() -> None:
    bench = Bench()
    bench.level = "B"
    bench.run(1.0)
    before = bench.state.plug
    bench.permit(0.0, Mode.UNAVAILABLE, valid_for=10.0)
    bench.run(9.0)
    assert bench.state.plug == before
    bench.run(2.0)
    assert bench.state.plug not in (0, before)
    assert bench.kinds()[-4:] == [Kind.VEHICLE_OUT, Kind.CABLE_OUT, Kind.CABLE_IN, Kind.VEHICLE_IN]


# ---------------------------------------------------------------- presence and leases


def test_the_order_of_a_socket_session() -> None:
    bench = Bench(SOCKET)
    bench.run(0.5)
    bench.ohms = OHMS[20]
    bench.run(1.0)
    bench.level = "B"
    bench.run(6.0)
    bench.permit()
    bench.run(1.0)
    bench.level = "C"
    bench.run(2.0)
    bench.level = "A"
    bench.run(1.0)
    bench.hear(Lock(1, False))
    bench.run(1.0)
    bench.ohms = float("inf")
    bench.run(1.0)
    assert bench.kinds() == [
        Kind.CABLE_IN,
        Kind.VEHICLE_IN,
        Kind.LOCKED,
        Kind.VEHICLE_READY,
        Kind.POWER_ON,
        Kind.POWER_OFF,
        Kind.VEHICLE_OUT,
        Kind.UNLOCKED,
        Kind.CABLE_OUT,
    ]
    assert bench.details(Kind.CABLE_IN) == ["20"]
    plugs = {plug for _, kind, plug, _ in bench.events if kind in (Kind.VEHICLE_IN, Kind.POWER_OFF, Kind.VEHICLE_OUT)}
    assert plugs == {100}


def test_a_cable_torn_out_of_the_socket_ends_the_vehicle_first() -> None:
    bench = charging(SOCKET)
    bench.ohms, bench.level = float("inf"), "A"
    bench.run(1.0)
    kinds = bench.kinds(Kind.FAULT, Kind.FAULT_CLEARED, Kind.UNLOCKED)
    assert kinds[-3:] == [Kind.POWER_OFF, Kind.VEHICLE_OUT, Kind.CABLE_OUT]


def test_vehicle_out_waits_until_power_is_proven_off() -> None:
    bench = charging()
    bench.level, bench.mirror = "A", True
    bench.run(0.18)
    assert bench.state.plug
    bench.mirror = None
    bench.run(0.04)
    assert bench.kinds()[-3:] == [Kind.POWER_OFF, Kind.VEHICLE_OUT, Kind.CABLE_OUT]


def test_every_vehicle_is_a_new_plug_and_voids_the_lease() -> None:
    bench = charging()
    first = bench.state.plug
    bench.level = "A"
    bench.run(1.0)
    assert bench.state.plug == 0
    bench.level = "C"
    bench.run(20.0)
    assert bench.state.plug not in (0, first)
    assert not bench.out.coil
    assert bench.hear(Permit(1, first, 16.0)).startswith("stale plug")


def test_a_glitch_to_a_keeps_the_plug() -> None:
    bench = charging()
    plug = bench.state.plug
    bench.level = "A"
    bench.run(0.06)
    bench.level = "C"
    bench.run(10.0)
    assert bench.state.plug == plug
    assert bench.out.coil


def test_ready_and_not_ready() -> None:
    bench = ready_to_close()
    bench.permit(0.0)
    bench.level = "C"
    bench.run(0.28)
    assert bench.kinds()[-1] is not Kind.VEHICLE_READY
    bench.run(0.06)
    assert bench.kinds()[-1] is Kind.VEHICLE_READY
    bench.level = "B"
    bench.run(2 * PERIOD)
    assert bench.kinds()[-1] is Kind.VEHICLE_NOT_READY


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (Permit(1, 7, 16.0), "stale plug"),
        (Permit(1, 100, 81.0), "amps"),
        (Permit(1, 100, -1.0), "amps"),
        (Permit(1, 100, 16.0, valid_for=9.0), "valid_for"),
        (Permit(1, 100, 16.0, valid_for=301.0), "valid_for"),
        (Permit(1, 100, 16.0, phases=0), "phases"),
        (Permit(1, 100, 16.0, phases=1), "phases: 3 are wired here"),
        (Lock(1, True), "tethered"),
        (Measured(1, None, None, None, -1.0), "age"),
        (Indicate(1, "x" * 33), "lamp"),
        (Service(1, "self-test"), "technician"),
        (Service(1, "dance", confirmed=True), "step"),
    ],
)
def test_refusals_change_nothing(word: Permit | Lock | Measured | Indicate | Service, why: str) -> None:
    bench = Bench()
    bench.level = "B"
    bench.run(1.0)
    before = bench.state
    assert why in bench.hear(word)
    assert bench.state is before


def test_without_a_vehicle_only_unavailability_is_permitted() -> None:
    bench = Bench()
    bench.run(1.0)
    assert bench.permit() == "no vehicle"
    assert bench.permit(0.0) == ""
    assert bench.permit(0.0, Mode.UNAVAILABLE) == ""
    bench.run(0.1)
    assert bench.out.drive == F


def test_start_with_a_vehicle_waits_for_a_lease() -> None:
    bench = Bench()
    bench.level = "C"
    bench.cycle()
    assert (bench.out.coil, bench.out.drive) == (False, X1)
    bench.run(10.0)
    assert bench.kinds() == [Kind.CABLE_IN, Kind.VEHICLE_IN, Kind.VEHICLE_READY]
    assert not bench.out.coil


def test_the_given_state_is_never_altered() -> None:
    bench = Bench()
    bench.level = "B"
    bench.generator = 0.3
    for _ in range(100):
        before, shown = bench.state, repr(bench.state)
        bench.cycle()
        assert repr(before) == shown


# ---------------------------------------------------------------- lock and self-test


def test_locks_before_it_offers_and_never_releases_under_power() -> None:
    bench = charging(SOCKET)
    locked = next(at for at, kind, _, _ in bench.events if kind is Kind.LOCKED)
    powered = next(at for at, kind, _, _ in bench.events if kind is Kind.POWER_ON)
    assert locked < powered
    bench.hear(Lock(1, False))
    bench.run(2.0)
    assert bench.pin is True
    bench.permit(0.0)
    bench.run(6.2)
    assert bench.details(Kind.POWER_OFF) == ["forced"]
    bench.run(0.3)
    assert bench.pin is False


def test_a_mirror_that_shows_closed_holds_the_lock() -> None:
    bench = Bench(SOCKET)
    bench.ohms = OHMS[32]
    bench.hear(Lock(1, True))
    bench.run(1.0)
    bench.mirror = True
    bench.hear(Lock(1, False))
    bench.run(0.1)
    assert bench.pin is True
    bench.mirror = None
    bench.run(0.1)
    assert bench.pin is False


def test_a_contactor_that_may_still_be_closing_holds_the_lock() -> None:
    bench = Bench(SOCKET)
    bench.ohms, bench.level = OHMS[32], "C"
    bench.hear(Lock(1, True))
    bench.run(6.0)
    bench.permit()
    bench.hear(Lock(1, False))
    bench.mirror = False
    bench.until("coil")
    bench.emergency = True
    bench.run(0.18)
    assert not bench.out.coil
    assert bench.pin is True
    bench.run(0.1)
    assert bench.pin is False


def test_a_flood_of_contrary_wishes_does_not_burn_the_motor() -> None:
    bench = Bench(SOCKET)
    bench.ohms = OHMS[32]
    commands = 0
    for turn in range(150):
        bench.hear(Lock(1, turn % 2 == 0))
        commands += bench.cycle().lock is not None
    assert 1 <= commands <= 5


def test_a_wish_that_is_repeated_does_not_start_the_tries_anew() -> None:
    bench = Bench(SOCKET)
    bench.ohms, bench.pin_stuck = OHMS[32], True
    for _ in range(6):
        bench.hear(Lock(1, True))
        bench.run(0.9)
    assert bench.faults() == {"ConnectorLockFailure"}


@pytest.mark.parametrize("wish", [True, False])
def test_what_the_lock_could_not_do_is_tried_once_a_minute_until_it_can(wish: bool) -> None:
    bench = Bench(SOCKET)
    bench.ohms, bench.pin = OHMS[32], not wish
    bench.hear(Lock(1, not wish))
    bench.run(1.0)
    bench.pin_stuck = True
    bench.hear(Lock(1, wish))
    bench.run(6.0)
    assert bench.faults() == {"ConnectorLockFailure"}
    tries = sum(bench.cycle().lock is wish for _ in range(150 * 50))
    assert tries == 2
    bench.pin_stuck = False
    bench.run(60.0)
    assert (bench.pin, bench.faults()) == (wish, set())


def test_no_offer_without_the_lock() -> None:
    bench = Bench(SOCKET)
    bench.ohms, bench.level, bench.pin_stuck = OHMS[32], "C", True
    bench.run(2.0)
    bench.permit()
    bench.run(1.0)
    assert (bench.out.drive, bench.state.limit) == (X1, "lock")


def test_the_last_wish_holds_until_the_cable_is_out() -> None:
    bench = Bench(SOCKET)
    bench.ohms = OHMS[32]
    bench.run(0.5)
    bench.hear(Lock(1, True))
    bench.run(30.0)
    assert bench.pin is True
    bench.ohms = float("inf")
    bench.run(0.5)
    assert bench.pin is False


@pytest.mark.req("IEC 62955")
def test_a_monitor_that_has_not_released_after_its_test_keeps_the_contactor_open() -> None:
    bench = ready_to_close()
    assert bench.hear(Service(1, "self-test", confirmed=True)) == "power is on or offered"
    bench.level = "A"
    bench.run(0.2)
    bench.level, bench.tripped = "C", True
    bench.run(0.2)
    bench.permit()
    for _ in range(75):
        assert not bench.cycle().coil
    assert bench.state.diode >= 3
    assert bench.faults() == set()
    bench.tripped = False
    assert bench.until("coil") <= PERIOD + 1e-6


@pytest.mark.req("IEC 62955")
def test_a_self_test_for_every_vehicle_before_pwm() -> None:
    bench = Bench()
    bench.run(6.0)
    assert bench.test_shown is True
    bench.level, bench.test_takes = "C", 3.0
    bench.run(0.2)
    bench.permit()
    bench.run(2.5)
    assert (bench.state.limit, bench.out.drive) == ("self-test", X1)
    bench.run(2.0)
    assert bench.out.coil


def test_an_old_self_test_is_repeated_while_open() -> None:
    bench = ready_to_close()
    bench.permit(0.0)
    started = []
    for _ in range(24 * 3600 // 4 + 2):
        bench.turns += 4 * 50
        started.append(bench.cycle().start_test)
    assert started.count(True) == 1
    assert bench.kinds() == [Kind.CABLE_IN, Kind.VEHICLE_IN]
