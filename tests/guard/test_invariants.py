"""Whatever happens in whatever order: what must always be true of the contactor, judged from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargerd.guard import pilot, rules
from chargerd.guard.lease import ClearFault, Kind, Lock, Measured, Mode, Permit
from chargerd.guard.pilot import X1
from chargerd.guard.setup import OutletSetup
from chargerd.guard.state import Outputs, Sample
from chargerd.protection import Protection
from tests.guard.bench import OHMS, PERIOD, SWITCHING, Bench, charging

HURRIED = Protection(wake_after=10.0, phase_rest=60.0, phase_switches=2, test_hours=1.0, supply_low=207.0)
SETUPS = [
    replace(SWITCHING, wake_up="auto", protection=HURRIED),
    replace(SWITCHING, tethered=False, wake_up="auto", protection=HURRIED),
    OutletSetup(evse=1, tethered=True),
    OutletSetup(evse=1, wake_up="off"),
    OutletSetup(evse=1, amps=16.0, ventilation=True, protection=Protection(wake_after=10.0)),
]


class Judge:
    """Knows only what went into the guard and what came out."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.asks: list[bool] = [False]
        self.cables: list[float] = [pilot.cable(bench.ohms) or 0.0]
        self.diodes = 0
        self.tested = False
        self.plug = self.closed_for = bench.state.plug
        self.lease: tuple[int, float, Mode, float] = (0, 0.0, Mode.BASIC, 0.0)
        self.phases = 3  # of the lease
        self.tested_at, self.ill_at = bench.state.test_at, dict[str, float]()
        self.second_was, self.moved, self.cut = bench.out.second, 0, 0
        self.lease_since_x1 = -inf
        self.coil_was = bench.out.coil
        self.opened_at = -inf
        self.opened_for = 0
        self.drive_was, self.drive_at = bench.out.drive, -inf
        self.fell_at, self.cold = -inf, 0.0  # an offer to this vehicle ended; X1 under a closed contactor, in all
        self.plugs: set[int] = set()
        if bench.out.coil:  # began while charging: what led here was seen by other tests
            self.asks, self.diodes, self.tested = [True] * 50, 99, True
            self.drive_at = bench.now - 1.0
        if bench.state.permit is not None:
            self.lease = (bench.state.plug, bench.state.permit.amps, Mode.BASIC, bench.state.until)
        self.heard = len(bench.events)

    def permit(self, amps: float, mode: Mode, valid_for: float, stale: bool, phases: int = 3) -> None:
        plug = self.bench.state.plug + stale
        if self.bench.hear(Permit(1, plug, amps, phases, mode, valid_for)) == "":
            assert not stale and (phases == 3 or self.bench.setup.switching)
            self.lease, self.phases = (plug, amps, mode, self.bench.now + valid_for), phases

    def leased(self) -> float:
        plug, amps, mode, until = self.lease
        alive = plug == self.plug != 0 and mode is Mode.BASIC and self.bench.now < until and amps >= 6
        return amps if alive else 0.0

    def turn(self) -> None:
        bench, before = self.bench, self.bench.out
        out = bench.cycle()
        x = bench.last
        low, high = (1.25 if bench.setup.ventilation else 4.25), 7.75
        self.asks.append(low <= x.high <= high)
        self.cables.append(bench.setup.amps if x.ohms is None else pilot.cable(x.ohms) or 0.0)
        for _, kind, plug, _ in bench.events[self.heard :]:
            if kind is Kind.VEHICLE_IN:
                assert plug not in self.plugs
                assert self.plug == 0
                self.plugs.add(plug)
                self.plug, self.diodes, self.tested, self.fell_at = plug, 0, False, -inf
                self.moved = 0
            elif kind is Kind.VEHICLE_OUT:
                assert plug == self.plug
                assert not out.coil
                self.plug = 0
        self.heard = len(bench.events)
        if pilot.is_pwm(before.drive):
            self.diodes = self.diodes + 1 if x.low <= -11 else (self.diodes if self.diodes >= 3 else 0)
        if out.start_test:
            self.tested = False
        elif x.test_passed is not None:
            if not self.tested:
                self.tested_at = bench.now
            self.tested = x.test_passed
        self.illness(x)
        self.second(before, out, x.closed)
        self.contactor(out.coil, x.closed, x.locked)
        self.pilot(out.drive)
        assert not (out.lock is False and (out.coil or x.closed))

    def illness(self, x: Sample) -> None:
        """Since when an input has said without a pause that there must be no power."""
        p, now = self.bench.setup.protection, self.bench.now
        for name, ill, seconds in (
            ("pen", x.pen, 0.1),
            ("heat", (x.plug or 0.0) >= p.plug_stop or (x.cabinet or 0.0) >= p.cabinet_stop, 2.0),
            ("mains", x.volts is not None and not all(p.supply_low <= v <= p.supply_high for v in x.volts), 5.0),
        ):
            if not ill:
                self.ill_at.pop(name, None)
            elif self.ill_at.setdefault(name, now) <= now - seconds - 1e-6:
                assert not self.bench.out.coil

    def second(self, before: Outputs, out: Outputs, mirror: bool) -> None:
        """It moves behind a contactor that is proven open only, and not often; nor does the pilot's relay for long."""
        self.cut = self.cut + 1 if out.disconnect else 0
        assert self.cut <= 201 and not (out.disconnect and out.coil)
        if out.second is self.second_was:
            return
        self.second_was = out.second
        assert not (before.coil or out.coil or mirror)
        assert not pilot.offers(before.drive)
        if self.plug:
            self.moved += 1
            assert self.moved <= 2 + self.bench.setup.protection.phase_switches  # a fault lets it go once more

    def blind(self) -> None:
        """A cycle in which the hardware does not answer."""
        self.bench.fail()
        if self.coil_was:
            self.open()
        self.drive_was, self.drive_at = X1, self.bench.now
        assert self.bench.out.second is self.second_was and not self.bench.out.disconnect
        self.cut = 0

    def lapse(self, seconds: int = 1) -> None:
        """The guard stood still; before its next turn the contactor is open."""
        bench = self.bench
        bench.turns += 50 * seconds
        self.ill_at.clear()
        bench.state, bench.out = rules.lapse(bench.state, bench.now)
        if self.coil_was:
            assert not bench.out.coil
            self.open()
        self.asks, self.diodes = [False], 0
        assert bench.out.second is self.second_was
        self.cut = 0

    def grow_old(self) -> None:
        """As if the self-test had been long ago."""
        long = 3600.0 * self.bench.setup.protection.test_hours + 10.0
        self.bench.state = replace(self.bench.state, test_at=self.bench.state.test_at - long)
        self.tested_at -= long

    def open(self) -> None:
        self.coil_was, self.opened_at, self.opened_for = False, self.bench.now, self.closed_for

    def contactor(self, coil: bool, mirror: bool, locked: bool | None) -> None:
        bench = self.bench
        if coil:
            assert not bench.state.faults
            assert any(self.asks[-2:])
            assert self.diodes >= 3
            assert self.tested
            assert not bench.emergency
            if not self.coil_was:
                assert all(self.asks[-15:])
                assert len(self.asks) >= 15
                assert self.leased()
                assert not mirror
                assert bench.setup.tethered or locked
                assert not bench.blocked
                assert pilot.offers(self.drive_was)
                assert not bench.tripped
                assert bench.now - self.tested_at <= 3600.0 * bench.setup.protection.test_hours + 6.0
                assert bench.last.second is (bench.out.second if bench.setup.fitted.second else None)
                assert bench.setup.live_phases(3 if bench.out.second else 1) <= self.phases
                assert bench.now - self.opened_at >= (5.0 if self.plug == self.opened_for else 1.0) - 1e-6
                self.closed_for = self.plug
            assert self.plug == self.closed_for != 0
        elif self.coil_was:
            self.open()
        self.coil_was = coil

    def pilot(self, drive: float) -> None:
        bench = self.bench
        self.resting(drive)
        live = bench.setup.live_phases(3 if bench.out.second else 1)
        assert not pilot.offers(drive) or live <= self.phases
        if drive != self.drive_was:
            if pilot.offers(drive) and pilot.offers(self.drive_was):
                assert bench.now - self.drive_at >= 5.0 - 1e-6
            if pilot.offers(drive):
                most = min(self.leased(), bench.setup.amps, max(self.cables[-7:]))  # a coding stands for 0.1 s
                if bench.last.shed:
                    most = min(most, bench.setup.protection.shed_watts / 230.0 / live)
                if bench.setup.fitted.cabinet_sensor and (bench.last.cabinet or 70.0) >= 70.0:
                    most = min(most, 16.0)
                assert drive <= (pilot.duty(most) or 0.0)
            self.drive_was, self.drive_at = drive, bench.now
        if not self.leased():
            assert not pilot.offers(drive)
            if self.coil_was:
                assert drive == X1
        if self.coil_was and not self.leased():
            assert bench.now - self.drive_at <= 6.04 + 1e-6

    def resting(self, drive: float) -> None:
        """No lease, however it comes and goes, keeps power on for long: X1 adds up until an offer has stood."""
        now = self.bench.now
        if pilot.offers(drive) and not pilot.offers(self.drive_was):
            assert now - self.fell_at >= 3.0 - 1e-6
        elif pilot.offers(drive):
            self.cold = 0.0 if now - self.drive_at >= 5.0 - 1e-6 else self.cold
        elif pilot.offers(self.drive_was) and drive == X1:
            self.fell_at = now
        elif self.coil_was:
            self.cold += PERIOD
        if not self.coil_was:
            self.cold = 0.0
        elif not pilot.offers(drive):
            assert self.cold <= 6.04 + 1e-6 or now - self.fell_at <= 3.04 + 1e-6


Act = Callable[[Judge], None]


def put(name: str, value: object) -> Act:
    return lambda judge: setattr(judge.bench, name, value)


def levels() -> st.SearchStrategy[Act]:
    return st.sampled_from(["A", "B", "C", "C", "C", "D", "E"]).map(lambda level: put("level", level))


def permits() -> st.SearchStrategy[Act]:
    return st.builds(
        lambda amps, mode, valid, stale, phases: lambda judge: judge.permit(amps, mode, valid, stale, phases),
        st.sampled_from([0.0, 5.9, 6.0, 10.0, 16.0, 32.0]),
        st.sampled_from([Mode.BASIC] * 6 + [Mode.DIGITAL, Mode.UNAVAILABLE]),
        st.sampled_from([10.0, 60.0, 300.0]),
        st.sampled_from([False] * 5 + [True]),
        st.sampled_from([3, 3, 1]),
    )


def mishaps() -> st.SearchStrategy[Act]:
    def word(made: Lock | Measured | ClearFault) -> Act:
        return lambda judge: (judge.bench.hear(made), None)[1]

    return st.sampled_from(
        [
            *(put("diode", good) for good in (True, True, False)),
            *(put("tripped", on) for on in (False, False, True)),
            *(put("emergency", on) for on in (False, False, True)),
            *(put("mirror", shown) for shown in (None, None, True, False)),
            *(put("cabinet", degrees) for degrees in (None, 20.0, 70.0, 85.0)),
            *(put("plug", degrees) for degrees in (None, 20.0, 80.0, 95.0)),
            *(put("pen", on) for on in (False, False, True)),
            *(put("shed", on) for on in (False, True)),
            *(put("second", shown) for shown in (None, None, True, False)),
            *(put("relay_stuck", on) for on in (False, True)),
            *(put("mains", volts) for volts in ((230.0,) * 3, (230.0,) * 3, (230.0, 0.0, 230.0), (260.0,) * 3)),
            *(put("ohms", ohms) for ohms in (OHMS[32], OHMS[32], OHMS[13], 150.0, inf)),
            *(put("pin_stuck", stuck) for stuck in (False, False, True)),
            *(put("generator", drive) for drive in (None, None, 0.4, X1)),
            *(put("volts", volts) for volts in (None, None, 7.5, -5.0, 10.4)),
            *(put("test_takes", seconds) for seconds in (0.7, 3.0)),
            *(put("blocked", on) for on in (False, True)),
            *(put("test_result", passes) for passes in (True, False)),
            *(word(Lock(1, locked)) for locked in (True, False)),
            *(word(ClearFault(1, name, "tech")) for name in ("ContactorWelded", "ResidualCurrent", "DiodeFault")),
            word(Measured(1, (40.0, 0.0, 0.0), None, None, 0.0)),
            lambda judge: judge.blind(),
            lambda judge: judge.lapse(),
            lambda judge: judge.lapse(3600),
            *[lambda judge: judge.grow_old()] * 3,
        ]
    )


def flickers() -> st.SearchStrategy[Act]:
    """Wrong in one sample of three, which is no fault yet."""

    def flicker(judge: Judge, name: str, wrong: object) -> None:
        right = getattr(judge.bench, name)
        for turn in range(45):
            setattr(judge.bench, name, right if turn % 3 else wrong)
            judge.turn()
        setattr(judge.bench, name, right)

    return st.sampled_from(
        [("diode", False), ("level", "B"), ("mirror", True), ("second", False), ("tripped", True)]
    ).map(lambda what: lambda judge: flicker(judge, *what))


def good_mornings() -> st.SearchStrategy[Act]:
    """All well, a vehicle in B with a lease, asking or about to ask: from here the next act meets something."""

    def start(judge: Judge, waits: int, asks: bool, phases: int, new: bool, test_takes: float, *ills: bool) -> None:
        bench, (shaky, old) = judge.bench, ills
        bench.test_takes = test_takes
        if new:
            bench.level = "A"
            for _ in range(10):
                judge.turn()
        bench.level, bench.diode, bench.test_result = "B", True, True
        bench.ohms, bench.cabinet, bench.plug, bench.mains = OHMS[32], 20.0, 20.0, (230.0,) * 3
        bench.tripped = bench.emergency = bench.blocked = bench.pin_stuck = bench.pen = bench.shed = False
        bench.mirror = bench.volts = bench.generator = bench.second = None
        for _ in range(waits):
            judge.turn()
        if old:
            judge.grow_old()
        judge.permit(16.0, Mode.BASIC, 60.0, False, phases)
        for turn in range(45):
            bench.diode = not shaky or turn % 3 > 0
            bench.level = "C" if asks and turn >= 20 else "B"
            if turn < 20 or shaky:
                judge.turn()

    return st.builds(
        lambda *how: lambda judge: start(judge, *how),
        st.sampled_from([20, 260, 320]),
        st.booleans(),
        st.sampled_from([3, 1]),
        st.booleans(),
        st.sampled_from([0.7, 3.0]),
        st.sampled_from([False, False, True]),
        st.sampled_from([False, False, True]),
    )


ACTS = st.lists(
    st.tuples(
        st.one_of(good_mornings(), levels(), levels(), permits(), flickers(), mishaps(), mishaps()),
        st.sampled_from([1, 2, 3, 5, 12, 13, 14, 16, 18, 50, 260, 310]),
    ),
    max_size=30,
)


@pytest.mark.req("IEC 61851-1 A.6")
@settings(max_examples=300, deadline=None)
@given(setup=st.sampled_from(SETUPS), already=st.booleans(), acts=ACTS)
def test_the_contactor_is_closed_only_for_good_reasons(
    setup: OutletSetup, already: bool, acts: list[tuple[Act, int]]
) -> None:
    bench = charging(setup) if already else Bench(setup)
    if not already:
        bench.ohms = OHMS[32]
    judge = Judge(bench)
    for act, turns in acts:
        act(judge)
        for _ in range(turns):
            judge.turn()


@pytest.mark.req("IEC 61851-1 A.6 #10.2")
@settings(max_examples=200, deadline=None)
@given(
    setup=st.sampled_from(SETUPS),
    flaps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 5.9, 6.0, 16.0, 16.0]),
            st.sampled_from([Mode.BASIC] * 4 + [Mode.DIGITAL, Mode.UNAVAILABLE]),
            st.sampled_from([1, 1, 2, 50, 149, 150, 151, 152, 248, 251, 299, 301, 520]),
        ),
        max_size=25,
    ),
    volts=st.sampled_from([None, 7.6, 4.4]),
)
def test_a_lease_that_comes_and_goes_holds_no_contactor(
    setup: OutletSetup, flaps: list[tuple[float, Mode, int]], volts: float | None
) -> None:
    """The vehicle, or what looks like one, never lets go."""
    judge = Judge(charging(setup))
    judge.bench.volts = volts
    for amps, mode, turns in flaps:
        judge.permit(amps, mode, 10.0, False)
        for _ in range(turns):
            judge.turn()


@settings(max_examples=60, deadline=None)
@given(
    setup=st.sampled_from(SETUPS[:2]),
    wishes=st.lists(
        st.tuples(
            st.sampled_from([1, 3]),
            st.sampled_from([0.0, 16.0, 16.0]),
            st.sampled_from(["B", "C", "C"]),
            st.booleans(),
            st.sampled_from([None, None, None, True, False]),
            st.sampled_from(
                [{}, {}, {}, {"pen": True}, {"plug": 95.0}, {"cabinet": 85.0}, {"mains": (0.0,)}, {"shed": True}]
            ),
            st.sampled_from([1, 5, 14, 60, 160, 310, 520]),
        ),
        max_size=10,
    ),
)
def test_phases_that_come_and_go_switch_nothing_under_load(
    setup: OutletSetup, wishes: list[tuple[int, float, str, bool, bool | None, dict[str, object], int]]
) -> None:
    judge = Judge(charging(setup))
    bench = judge.bench
    well = {"pen": False, "plug": 20.0, "cabinet": 20.0, "mains": (230.0,) * 3, "shed": False}
    for phases, amps, level, rested, mirror, ill, turns in wishes:
        for name, value in {**well, **ill}.items():
            setattr(bench, name, value)
        if rested:  # as if the last switching had been long ago
            bench.state = replace(bench.state, phases_at=bench.state.phases_at - 3600.0)
        judge.permit(amps, Mode.BASIC, 60.0, False, phases)
        bench.level, bench.second = level, mirror
        for _ in range(turns):
            judge.turn()


@settings(max_examples=60, deadline=None)
@given(
    setup=st.sampled_from(SETUPS),
    mess=st.lists(st.tuples(st.one_of(levels(), mishaps()), st.integers(1, 60)), max_size=6),
    level=st.sampled_from(["A", "B", "E"]),
)
def test_after_the_vehicle_leaves_c_the_contactor_opens_within_100_ms(
    setup: OutletSetup, mess: list[tuple[Act, int]], level: str
) -> None:
    judge = Judge(charging(setup))
    for act, turns in mess:
        act(judge)
        for _ in range(turns):
            judge.turn()
    bench = judge.bench
    bench.level, bench.volts, bench.generator, bench.mirror = level, None, None, None
    bench.run(2 * PERIOD)
    assert not bench.out.coil  # and 20 ms to carry it out, and 20 ms for the contactor itself
