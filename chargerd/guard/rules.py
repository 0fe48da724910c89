"""What one outlet does in one cycle of 20 ms, as one pure function.

`step` looks at a sample, asks the checks, and decides about pilot, contactor and lock. The order of its stages is the
order of the events it says: power off before vehicle out, cable in before vehicle in.

    power flows only while     vehicle known · asks (C; D where ventilated) · diode seen · self-test passed · no fault
                               · plug held · lease running and not below 6 A
    the vehicle ends it        two samples that do not ask, or three  -> open
                               of five when they come and go, or one
                               where turns come late
    a fault ends it            one verdict                            -> open, X1
    the daemon ends it         permit 0, expiry, sibling in use       -> X1; open when S2 opens, or 6 s later under load

A daemon that changes its mind all the time gains nothing: X1 stands for 3 s at least, and what it stood with the
contactor closed adds up to the 6 s until an offer has stood for 5 s.

`wishes.hear` takes in the daemon's words; it changes wishes only, `step` acts on them. What bounds the offer is in
`limits`, how doubts become faults in `doubts`; `phases`, `wakeup` and `lock` have sequences of their own.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from chargerd.faults import GUARD as FAULTS
from chargerd.guard import doubts, limits, lock, phases, pilot, wakeup
from chargerd.guard.checks import metered
from chargerd.guard.lease import Kind, Mode, Notes, Truth
from chargerd.guard.pilot import X1, F, Level
from chargerd.guard.setup import MIN_AMPS, OutletSetup
from chargerd.guard.state import GRAIN, Outputs, Said, Sample, State, Test

STABLE = 0.3  # C before the contactor closes, and before the vehicle counts as ready
STABLE_AGAIN = 0.5  # after phases were switched: some vehicles then show a C of 250 ms
SETTLED = 0.1  # plug contacts have stopped bouncing
UNWATCHED = 5.0  # longer without sight of the vehicle, and it may be another one
LEAVING_SAMPLES = 2
ODD, LEFT = 2, 4  # a sample that does not ask weighs twice one that does ...
BRISK = 0.030  # s ... but all of it where the last that asked is older: of late turns there is no time for two
DIODE_SAMPLES = 3
STOP_PATIENCE = 6.0  # IEC 61851-1 A.6 #10.2
PAUSE = 3.0  # X1 for less would not be seen by every vehicle: it has as long to stop
PACE = 5.0  # between two duties, IEC 61851-1 A.6 #6
RECLOSE, REST = 5.0, 1.0  # after opening: for the same vehicle (anti-chatter), and for whoever comes next
CUT_SETTLE = 0.1  # after the pilot's relay has connected again
TEST_TIMEOUT = 5.0
MAX_TOLD_FAULTS = 8

_VEHICLE = (Level.B, Level.C, Level.D)
_TELLING = (Level.A, *_VEHICLE)
_ASKING = (Level.C, Level.D)


def initial(now: float, latched: frozenset[str] = frozenset()) -> State:
    """Nothing known, contactor open, X1; with the faults that outlived the last run."""
    return State(began=now, known_at=now, coil_at=now, drive_at=now, faults=dict.fromkeys(sorted(latched), 0))


def step(
    setup: OutletSetup, state: State, x: Sample, now: float, mint: int, blocked: bool
) -> tuple[State, Outputs, list[Said]]:
    """One cycle. `mint`: the plug number of a vehicle that arrives now; `blocked`: a sibling of the EVSE is in use."""
    s = state.copy()
    said: list[Said] = []
    _look(setup, s, x, now)
    doubts.weigh(setup, s, x, now, said)
    _feedback(s, x, said)
    _presence(setup, s, x, now, mint, said)
    _expire(s, now, said)
    start_test = _self_test(setup, s, x, now)
    amps, limit = limits.offer(setup, s, x, now, blocked, phases.arrange(setup, s, x, now))
    if amps and not pilot.offers(s.drive) and s.wake_at is None and now - s.paused_at < PAUSE - GRAIN:
        amps, limit = 0.0, "pause"
    _contactor(setup, s, x, now, amps)
    _pilot(setup, s, x, now, amps, limit, blocked)
    _part(s, now, wakeup.parted(setup, s, now) or phases.parted(setup, s, now))
    held = lock.turn(setup, s, x, now, amps > 0 or limit in ("pause", "lock", "self-test", "phases"), said)
    lamp = next((f.lamp for name, f in FAULTS.items() if name in s.faults), s.lamp)
    return s, Outputs(s.drive, s.coil, held, start_test, lamp, s.phases == 3, s.cut), said


def blind(state: State, now: float) -> tuple[State, Outputs, list[Said]]:
    """A cycle without a sample: everything safe, fault DeviceFailure."""
    s = replace(_forget(state), seen=None, wake_at=None, test=Test.DUE, faults=dict(state.faults))
    said: list[Said] = []
    doubts.find(s, "DeviceFailure", said)
    if s.coil:
        _open(s, now, "DeviceFailure")
    _drive(s, now, X1, state.before)
    s.offered, s.limit = 0.0, "fault"
    _part(s, now, False)
    return s, Outputs(lamp=FAULTS["DeviceFailure"].lamp, second=s.phases == 3), said


def lapse(state: State, now: float) -> tuple[State, Outputs]:
    """Before the first cycle after a pause: the hardware has let go, and nobody knows what happened meanwhile."""
    s = _forget(state)
    if s.coil:
        _open(s, now, "guard-paused")
    return s, Outputs(s.drive, second=s.phases == 3, disconnect=s.cut)


def _forget(state: State) -> State:
    """Without what only an unbroken row of samples can tell."""
    return replace(state, raw=None, steady=0, asking_since=inf, diode=0, doubt={}, since={}, pardoned=())


def holds(state: State) -> bool:
    """The outlet uses its EVSE: siblings must wait."""
    live = state.coil or state.power or "ContactorWelded" in state.faults
    return live or pilot.is_pwm(state.drive) or state.wake_at is not None


# ---------------------------------------------------------------- the stages


def _look(setup: OutletSetup, s: State, x: Sample, now: float) -> None:
    """Debounce the pilot: leaving C counts in samples, staying in C in seconds."""
    level = pilot.classify(x.high, x.low, s.raw)
    if s.cut or now - s.cut_at < CUT_SETTLE:  # what is seen is our own generator
        level = None
    if level is None:
        s.steady = 0
    elif level is s.raw:
        s.steady += 1
    else:
        s.raw, s.raw_since, s.steady = level, now, 1
    if s.steady >= LEAVING_SAMPLES:
        s.seen = s.raw
    if level is Level.C or (level is Level.D and setup.ventilation):
        s.odd, s.asked_at = max(0, s.odd - 1), now
        s.asking_since = min(s.asking_since, now)
    else:
        s.odd = LEFT if now - s.asked_at > BRISK else min(LEFT, s.odd + ODD)
        s.asking_since = inf
    if pilot.is_pwm(s.drive) and level in _VEHICLE:
        s.diode = s.diode + 1 if pilot.diode(x.low) else 0
    s.answered = s.answered or s.seen in _ASKING


def _feedback(s: State, x: Sample, said: list[Said]) -> None:
    """Power is what the mirror contact proves."""
    if s.coil and x.closed and not s.power:
        s.power = True
        said.append((Kind.POWER_ON, s.plug, ""))
    elif s.power and not s.coil and not x.closed:
        s.power = False
        said.append((Kind.POWER_OFF, s.plug, s.why))


def _presence(setup: OutletSetup, s: State, x: Sample, now: float, mint: int, said: list[Said]) -> None:
    """Cable and vehicle come and go; every loss of the vehicle ends its plug number."""
    settled = now - s.raw_since >= SETTLED and s.steady > 0
    if not setup.tethered:
        amps = None if x.ohms is None else pilot.cable(x.ohms)
        if amps != s.cable_raw:
            s.cable_raw, s.cable_since = amps, now
        steady_cable = now - s.cable_since >= SETTLED
    else:
        amps, steady_cable = setup.amps, True
    drawn = amps is None and steady_cable and s.cable is not None
    unwatched = s.steady > 0 and s.raw in _TELLING and now - s.known_at > UNWATCHED
    gone = drawn or unwatched or (s.raw is Level.A and settled)
    proven_off = not s.power or "ContactorWelded" in s.faults
    if s.plug and gone and proven_off and not s.coil:
        said.append((Kind.VEHICLE_OUT, s.plug, ""))
        if setup.tethered:
            said.append((Kind.CABLE_OUT, 0, ""))
        _new_vehicle(s, 0)
    if s.steady > 0 and s.raw in _TELLING and not (s.plug and unwatched):
        s.known_at = now
    if not s.plug and s.raw is Level.A and settled:
        s.served = False
    if not setup.tethered and steady_cable and amps != s.cable and not s.coil and not (amps is None and s.plug):
        if s.cable is None and amps is not None:
            said.append((Kind.CABLE_IN, 0, f"{amps:g}"))
        if amps is None:
            s.wish = False
            said.append((Kind.CABLE_OUT, s.plug, ""))
        s.cable = amps
    if not s.plug and s.raw in _VEHICLE and settled and not drawn and (setup.tethered or s.cable is not None):
        _new_vehicle(s, mint)
        if setup.tethered:
            said.append((Kind.CABLE_IN, mint, ""))
        said.append((Kind.VEHICLE_IN, mint, ""))
    if s.plug and not s.ready and s.raw in _ASKING and s.steady > 0 and now - s.raw_since >= STABLE:
        s.ready = True
        said.append((Kind.VEHICLE_READY, s.plug, ""))
    elif s.ready and s.seen is Level.B:
        s.ready = False
        said.append((Kind.VEHICLE_NOT_READY, s.plug, ""))


def _new_vehicle(s: State, plug: int) -> None:
    s.plug, s.permit, s.measured = plug, None, None
    s.ready, s.diode, s.woken, s.wake_at, s.test = False, 0, False, None, Test.DUE
    s.lock_failed, s.paused_at = None, -inf
    s.chosen, s.moves, s.courted, s.pause_until, s.wakes = False, 0, False, -inf, 0


def _expire(s: State, now: float, said: list[Said]) -> None:
    if s.permit is not None and now >= s.until:
        if s.permit.amps >= MIN_AMPS or s.permit.mode is not Mode.BASIC:
            said.append((Kind.LEASE_ENDED, s.plug, ""))
        s.permit = None


def _self_test(setup: OutletSetup, s: State, x: Sample, now: float) -> bool:
    """Run what is due with the contactor open; True starts the monitor's test."""
    if not setup.residual:
        s.test = Test.PASSED
        return False
    match s.test:
        case Test.PASSED if now - s.test_at > setup.protection.test_hours * 3600.0 and not s.coil:
            s.test = Test.DUE
        case Test.DUE if not s.coil and not x.closed and "DeviceFailure" not in s.faults:
            s.test, s.test_at = Test.STARTED, now
            return True
        case Test.STARTED if x.test_passed is None:
            s.test = Test.RUNNING
        case Test.RUNNING if x.test_passed is not None:
            s.test, s.test_at = Test.PASSED if x.test_passed else Test.FAILED, now
        case Test.STARTED | Test.RUNNING if now - s.test_at > TEST_TIMEOUT:
            s.test, s.test_at = Test.FAILED, now
    return False


def _contactor(setup: OutletSetup, s: State, x: Sample, now: float, amps: float) -> None:
    """Open for any reason, close for all of them together.

    `amps` stands for vehicle, lease, lock, self-test and no fault; `asking_since` and `pwm_since` are infinite while
    the vehicle does not ask or the pilot does not offer.
    """
    if s.coil:
        spell = 0.0 if s.stop_at is None else now - s.stop_at
        forced = spell >= PAUSE - GRAIN and s.stopped + spell >= STOP_PATIENCE - GRAIN
        if amps and s.stop_at is not None:
            s.stop_at, s.stopped = None, s.stopped + spell
        elif amps and now - s.pwm_since >= PACE:
            s.stopped = 0.0
        elif not amps and s.stop_at is None:
            s.stop_at = now
        if s.faults:
            _open(s, now, next(name for name in FAULTS if name in s.faults))
        elif s.odd >= LEFT:
            vehicle = "stopped" if s.stop_at is not None else "vehicle-not-ready"
            _open(s, now, "unplugged" if s.raw is Level.A else vehicle)
        elif forced:
            _open(s, now, "forced")
        return
    may = (
        amps
        and now - max(s.asking_since, s.pwm_since) >= (STABLE_AGAIN if s.moves else STABLE)
        and s.diode >= DIODE_SAMPLES
        and not x.closed
        and (x.second is None or x.second is (s.phases == 3))
        and not x.tripped
        and (setup.tethered or now - s.cable_since >= STABLE)
        and now - s.coil_at >= (RECLOSE if s.served else REST)
    )
    if may:
        s.coil, s.coil_at, s.served, s.stop_at = True, now, True, None


def _open(s: State, now: float, why: str) -> None:
    s.coil, s.coil_at, s.stop_at, s.stopped, s.why = False, now, None, 0.0, why


def _pilot(setup: OutletSetup, s: State, x: Sample, now: float, amps: float, limit: str, blocked: bool) -> None:
    """Put the offer on the pilot, at its pace; wake a vehicle that sleeps."""
    mode = s.permit.mode if s.permit is not None else Mode.BASIC
    idle = not s.coil and not x.closed and not s.power
    here = (x.high, x.low, x.duty)
    waking = wakeup.turn(setup, s, now, amps > 0)
    if mode is Mode.UNAVAILABLE and idle:
        drive, limit = F, mode.value
    elif mode is Mode.DIGITAL and idle and s.plug and not s.faults and not blocked:
        drive = pilot.DIGITAL
    elif waking is not None:
        drive, amps, limit = waking, 0.0, "wake-up"
    else:
        drive = pilot.duty(amps) or X1
    if pilot.is_pwm(s.drive) and pilot.offers(drive) and drive != s.drive and now - s.drive_at < PACE - GRAIN:
        drive, amps = s.drive, s.offered
    if amps != s.offered:
        s.offers = (*(o for o in s.offers if now - o[0] <= 10.0), (now, s.offered))[-16:]
    s.offered, s.limit = amps, limit
    _drive(s, now, drive, here)


def _part(s: State, now: float, cut: bool) -> None:
    """Have the pilot's relay take the vehicle away, or connect it."""
    if cut is not s.cut:
        s.cut, s.cut_at = cut, now


def _drive(s: State, now: float, drive: float, here: tuple[float, float, float]) -> None:
    if drive == s.drive:
        return
    if not pilot.offers(drive):
        s.pwm_since = inf
        if not pilot.is_pwm(drive) and pilot.offers(s.drive):
            s.paused_at = now
    elif not pilot.offers(s.drive):
        s.courted = True
        s.pwm_since, s.answered = now, s.seen in _ASKING
    s.drive, s.drive_at, s.before = drive, now, here


# ---------------------------------------------------------------- what is told


def truth(setup: OutletSetup, s: State, x: Sample | None, outlet: int, now: float) -> Truth:
    """What the outlet is now; `x` None while the hardware does not answer. At most the 8 gravest faults."""
    return Truth(
        outlet=outlet,
        at=now,
        pilot=s.seen or "",
        plug=s.plug,
        cable=bool(s.plug) if setup.tethered else s.cable is not None,
        cable_amps=setup.amps if setup.tethered else s.cable or 0.0,
        offered=s.offered,
        closed=s.power if x is None else x.closed,
        locked=s.locked is True,
        faults=tuple(name for name in FAULTS if name in s.faults)[:MAX_TOLD_FAULTS],
        limit=s.limit,
        lease=max(0.0, s.until - now) if s.permit is not None else 0.0,
        celsius=None if x is None else max((c for c in (x.plug, x.cabinet) if c is not None), default=None),
        metered=metered(s, now),
    )


def notes(setup: OutletSetup, s: State, outlet: int) -> Notes:
    return Notes(outlet, setup.live_phases(s.phases), setup.switching, tuple(sorted(s.warnings)))
