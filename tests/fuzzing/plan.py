"""What befalls one world: a station, its surroundings and everything that is done to them, all from one seed.

A plan is a value: it can be written down, shortened and played again. `Act.what` names a deed of `deeds.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GOOD = ("04A1B2C3", "04D4E5F6")  # known to the backend, of one group
FRIEND = "0411223344AABB"  # known, of no group
BLOCKED = "04B10C4ED0"
STRANGER = "04DEADBEEF"
LISTED = (*GOOD, FRIEND)  # in local lists
LOCAL = "04CAFE0001"  # a local card, where a technician has added it
CARDS = (*GOOD, *GOOD, FRIEND, FRIEND, BLOCKED, STRANGER, LOCAL)
NUMBERS = (1, 2, 3)  # of reservations
HOUR = 3600.0
POINTS = ("EVConnected", "Authorized", "PowerPathClosed", "EnergyTransfer")
MEASURANDS = ("Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "Current.Offered")
REGISTER = MEASURANDS[0]
MOMENTS = (0.0, 0.005, 0.02, 0.1, 0.3, 0.7, 1.5, 2.5, 6.0, 8.0)  # s after a deed: what it starts is under way
SAID = (
    *("StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent", "TransactionEvent"),
    *("Authorize", "StatusNotification", "Heartbeat", "BootNotification", "SecurityEventNotification"),
)
MANNERS = ("error", "unheard error", "mute", "deaf", "cut", "slow", "slower", "twice", "wrong id", "odd")
WORLD_FAULTS = (
    "contactor-welded",
    "contactor-stuck-open",
    "missing-diode",
    "pilot-short",
    "pilot-driver-mismatch",
    "pilot-stuck",
    "pilot-undefined",
    "proximity-fault",
    "proximity-change",
    "residual-trip",
    "self-test-fails",
    "lock-stuck",
    "lock-jammed",
    "over-temperature",
    "emergency-stop",
    "meter-silent",
)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that is done, at `at` seconds; what `lasts` is taken back after so many."""

    at: float
    what: str
    given: Mapping[str, Any] = field(default_factory=dict)
    lasts: float | None = None

    def __str__(self) -> str:
        given = " ".join(f"{name}={value!r}" for name, value in self.given.items())
        lasts = "" if self.lasts is None else f" for {self.lasts:.1f} s"
        return f"{self.at:9.2f} {self.what} {given}{lasts}".rstrip()


@dataclass(frozen=True, slots=True)
class Time:
    """What the wall clock of one boot is worth: `off` seconds wrong until NTP knows, after so many seconds or never."""

    off: float = 0.0
    known_after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`settings` are TOML for the configuration's end; `phase` shifts the guard's grid against everybody else's."""

    seed: int
    version: str
    hours: float
    outlets: int
    tethered: bool
    metered: bool
    max_amps: float
    readers: tuple[int | None, ...]
    settings: str
    times: tuple[Time, ...]
    phase: float
    acts: tuple[Act, ...]

    def __str__(self) -> str:
        cable = "tethered" if self.tethered else "sockets"
        meter = "" if self.metered else ", no meters"
        station = f"OCPP {self.version}, {self.outlets} {cable}{meter}"
        return f"seed {self.seed}: {station}, {self.hours:g} h, {len(self.acts)} acts"


def plan(seed: int, version: str, hours: float) -> Plan:
    """The world of this seed."""
    chance = random.Random(f"{seed}/{version}/{hours}")
    outlets = chance.choice((1, 1, 2, 2, 3))
    readers: tuple[int | None, ...] = (None,) if chance.random() < 0.7 else tuple(range(1, outlets + 1))
    storm = chance.choice((0.3, 1.0, 1.0, 2.5))  # how much goes wrong
    visits = list(_visits(chance, outlets, readers, hours))
    mishaps = _mishaps(chance, outlets, hours, storm, [act.at for act in visits], version == "1.6")
    acts = sorted([*visits, *mishaps], key=lambda act: act.at)
    return Plan(
        seed=seed,
        version=version,
        hours=hours,
        outlets=outlets,
        tethered=chance.random() < 0.4,
        metered=chance.random() < 0.93,
        max_amps=chance.choice((64.0 * outlets, 64.0 * outlets, 20.0, 10.0)),
        readers=readers,
        settings=_settings(chance, version),
        times=tuple(_times(chance)),
        phase=chance.random() * 0.02,
        acts=tuple(acts),
    )


# ---------------------------------------------------------------- the station


def _settings(chance: random.Random, version: str) -> str:
    def flag() -> str:
        return chance.choice(("true", "false"))

    attempts, retry = chance.choice((20, 20, 20, 4, 2)), chance.choice((1, 5, 30))
    sample, aligned = chance.choice((0, 5, 30, 60, 60)), chance.choice((0, 0, 0, 60, 900))
    timeout = chance.choice((10, 30, 60, 60, 120))
    measurands = ",".join((REGISTER, *chance.sample(MEASURANDS[1:], chance.choice((0, 0, 2, 4)))))
    heartbeat = chance.choice((30, 300, 300, 3600))
    if version == "1.6":
        keys: dict[str, Any] = {
            "HeartbeatInterval": heartbeat,
            "TransactionMessageAttempts": attempts,
            "TransactionMessageRetryInterval": retry,
            "MinimumStatusDuration": chance.choice((0, 0, 0, 2, 30)),
            "AuthorizeRemoteTxRequests": flag(),
            "LocalAuthorizeOffline": flag(),
            "LocalPreAuthorize": flag(),
            "AllowOfflineTxForUnknownId": flag(),
            "AuthorizationCacheEnabled": flag(),
            "ConnectionTimeOut": timeout,
            "StopTransactionOnEVSideDisconnect": chance.choice(("true", "true", "false")),
            "StopTransactionOnInvalidId": flag(),
            "MaxEnergyOnInvalidId": chance.choice((0, 0, 500)),
            "UnlockConnectorOnEVSideDisconnect": flag(),
            "MeterValueSampleInterval": sample,
            "MeterValuesSampledData": f'"{measurands}"',
            "StopTxnSampledData": f'"{chance.choice(("", REGISTER))}"',
            "ClockAlignedDataInterval": aligned,
            "StopTxnAlignedData": f'"{chance.choice(("", REGISTER))}"',
        }
    else:
        start, stop = _window(chance)
        keys = {
            '"OCPPCommCtrlr.HeartbeatInterval"': heartbeat,
            '"OCPPCommCtrlr.MessageAttempts[TransactionEvent]"': attempts,
            '"OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]"': retry,
            '"OCPPCommCtrlr.OfflineThreshold"': chance.choice((0, 10, 60)),
            '"AuthCtrlr.AuthorizeRemoteStart"': flag(),
            '"AuthCtrlr.LocalAuthorizeOffline"': flag(),
            '"AuthCtrlr.LocalPreAuthorize"': flag(),
            '"AuthCtrlr.OfflineTxForUnknownIdEnabled"': flag(),
            '"AuthCacheCtrlr.Enabled"': flag(),
            '"TxCtrlr.EVConnectionTimeOut"': timeout,
            '"TxCtrlr.TxStartPoint"': f'"{start}"',
            '"TxCtrlr.TxStopPoint"': f'"{stop}"',
            '"TxCtrlr.StopTxOnEVSideDisconnect"': chance.choice(("true", "true", "false")),
            '"TxCtrlr.StopTxOnInvalidId"': flag(),
            '"TxCtrlr.MaxEnergyOnInvalidId"': chance.choice((0, 0, 500)),
            '"OCPPCommCtrlr.UnlockOnEVSideDisconnect"': flag(),
            '"SampledDataCtrlr.TxUpdatedInterval"': sample,
            '"SampledDataCtrlr.TxUpdatedMeasurands"': f'"{measurands}"',
            '"SampledDataCtrlr.TxEndedInterval"': chance.choice((0, 0, 60)),
            '"AlignedDataCtrlr.Interval"': aligned,
        }
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return f"[{'ocpp16' if version == '1.6' else 'ocpp2'}]\n{lines}\n"


def _window(chance: random.Random) -> tuple[str, str]:
    if chance.random() < 0.4:
        return "PowerPathClosed", "EVConnected,Authorized"
    start = chance.sample(POINTS, chance.choice((1, 1, 2)))
    stop = chance.sample(POINTS, chance.choice((1, 2)))
    return ",".join(start), ",".join(stop)


def _times(chance: random.Random) -> Iterator[Time]:
    """Of one boot after the other; the last one stays."""
    right = chance.random() < 0.6
    for _ in range(8):
        if right or chance.random() < 0.3:
            yield Time()
        else:
            off = chance.choice((-1_500_000_000.0, -86_400.0, -90.0, 45.0, 3600.0))
            yield Time(off, chance.choice((None, None, 5.0, 60.0, 900.0)))


# ---------------------------------------------------------------- drivers


def _visits(chance: random.Random, outlets: int, readers: tuple[int | None, ...], hours: float) -> Iterator[Act]:
    for outlet in range(1, outlets + 1):
        reader = "station" if readers == (None,) else f"evse{outlet}"
        at = chance.expovariate(1 / 200)
        while at < hours * HOUR - 60:
            stays = min(chance.expovariate(1 / 400), 3000.0)
            yield from _visit(chance, outlet, reader, at, stays)
            at += stays + 20 + chance.expovariate(1 / 300)


def _visit(chance: random.Random, outlet: int, reader: str, at: float, stays: float) -> Iterator[Act]:
    """A driver comes, starts in a usual way, does something in between, and leaves in a usual way."""
    card, pause = chance.choice(CARDS), chance.choice((0.0, 0.02, 0.5, 2.0, 8.0, 30.0)) * chance.uniform(0.8, 1.2)
    plug = Act(at, "plug", {"outlet": outlet, "cable_amps": chance.choice((13, 20, 32, 32, 63)), **_vehicle(chance)})
    tap = Act(at, "tap", {"uid": card, "reader": reader})
    match chance.choice(("card", "card", "cable", "cable", "app", "app first", "only card", "only cable", "both")):
        case "card":
            yield tap
            yield _later(plug, pause)
        case "cable":
            yield plug
            yield _later(tap, pause)
        case "app":
            yield plug
            yield Act(at + pause, "remote_start", {"token": card, "evse": chance.choice((outlet, outlet, None))})
        case "app first":
            yield Act(at, "remote_start", {"token": card, "evse": chance.choice((outlet, outlet, None))})
            yield _later(plug, pause)
        case "only card":
            yield tap
            return
        case "only cable":
            yield Act(at, "plug", {"outlet": outlet, "cable_only": True})
            yield Act(at + stays, "unplug", {"outlet": outlet, "end": "cable"})
            return
        case "both":
            yield tap
            yield plug
            yield _later(tap, 0.3)
    for _ in range(chance.choice((0, 0, 0, 1, 2, 4))):
        step = chance.choice(("not_ready", "ready", "pause", "resume", "draw", "sleep", "wake"))
        given: dict[str, Any] = {"outlet": outlet, "step": step}
        if step == "draw":
            given |= {"amps": chance.choice((0, 3, 6, 10, 16, 32)), "phases": chance.choice((1, 2, 3))}
        yield Act(at + pause + chance.random() * stays, "vehicle", given)
    leave = at + pause + stays
    if chance.random() < 0.3:
        yield Act(leave - stays * chance.random(), "tap", {"uid": chance.choice(CARDS), "reader": reader})
    match chance.choice(("tap", "tap", "tap", "pull", "pull", "app", "parted", "comes back")):
        case "tap":
            yield Act(leave, "tap", {"uid": card, "reader": reader})
        case "app":
            yield Act(leave, "remote_stop", {"evse": outlet})
        case "parted":
            yield Act(leave, "unplug", {"outlet": outlet, "end": "vehicle"})
        case "comes back":
            yield Act(leave, "unplug", {"outlet": outlet, "end": "vehicle"})
            yield Act(leave + chance.uniform(0.05, 20), "plug", {"outlet": outlet, **_vehicle(chance)})
            yield Act(leave + chance.uniform(20, 60), "tap", {"uid": card, "reader": reader})
    gone = leave + chance.choice((0.0, 0.1, 1.0, 5.0, 60.0)) * chance.uniform(0.9, 1.1)
    yield Act(gone, "unplug", {"outlet": outlet, "end": "both"})
    yield Act(gone + chance.uniform(5, 15), "unplug", {"outlet": outlet, "end": "both"})


def _vehicle(chance: random.Random) -> dict[str, Any]:
    given: dict[str, Any] = {"ramp": chance.choice((5.0, 20.0, 100.0))}
    odd = {
        "energy": (50.0, 300.0, 2000.0),
        "departure": (60.0, 600.0),
        "ready": (False,),
        "phases": (1, 2),
        "max_amps": (10.0, 16.0),
        "reaction": (0.05, 4.0),
        "start_delay": (0.0, 20.0),
    }
    rare = {
        "diode": (False,),
        "ventilation": (True,),
        "ignores_pwm": (True,),
        "sleeps": (True,),
        "factor": (0.3, 1.3),
        "chatter": (0.06, 0.5, 7.0),
        "abrupt": (True,),
    }
    for name, values in odd.items():
        if chance.random() < 0.2:
            given[name] = chance.choice(values)
    for name, values in rare.items():
        if chance.random() < 0.03:
            given[name] = chance.choice(values)
    return given


def _later(act: Act, seconds: float) -> Act:
    return Act(act.at + seconds, act.what, act.given, act.lasts)


# ---------------------------------------------------------------- everybody else


def _mishaps(
    chance: random.Random, outlets: int, hours: float, storm: float, busy: Sequence[float], old: bool
) -> Iterator[Act]:
    """Half of them at any time, half of them right after somebody did something (at one of the times `busy`)."""
    kinds = [make for make, weight in MISHAPS for _ in range(weight) if old or make not in OLD]
    at = 0.0
    while (at := at + chance.expovariate(storm / 150)) < hours * HOUR - 60:
        when = at
        if busy and chance.random() < 0.5:
            when = chance.choice(busy) + chance.choice(MOMENTS) * chance.uniform(0.5, 1.5)
        yield chance.choice(kinds)(chance, when, chance.randint(1, outlets))


def _short(chance: random.Random) -> float:
    return chance.choice((0.01, 0.1, 1.0, 3.0, 10.0)) * chance.uniform(0.5, 2.0)


def _long(chance: random.Random) -> float:
    return chance.choice((1.0, 10.0, 60.0, 200.0, 900.0)) * chance.uniform(0.5, 1.5)


def _power_cut(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "power_cut", {}, _long(chance))


def _daemon_dies(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "daemon_dies", {}, chance.choice((_short, _long))(chance))


def _daemon_leaves(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "daemon_leaves", {}, _short(chance))


def _guard_dies(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "guard_dies", {}, chance.choice((_short, _short, _long))(chance))


def _away(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "away", {}, _long(chance))


def _drop(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "drop", {})


def _manners(chance: random.Random, at: float, outlet: int) -> Act:
    given = {"action": chance.choice(SAID), "kind": chance.choice(MANNERS), "times": chance.choice((1, 1, 2, 5))}
    return Act(at, "manners", given)


def _boots(chance: random.Random, at: float, outlet: int) -> Act:
    given = {"status": chance.choice(("Pending", "Rejected")), "interval": chance.choice((0, 5, 30, 90))}
    return Act(at, "registration", given, _long(chance))


def _token(chance: random.Random, at: float, outlet: int) -> Act:
    given = {"token": chance.choice((*GOOD, FRIEND)), "status": chance.choice(("Blocked", "Expired", "Invalid"))}
    return Act(at, "token_becomes", given, _long(chance))


def _remote_start(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "remote_start", {"token": chance.choice(CARDS), "evse": chance.choice((outlet, outlet, None))})


def _remote_stop(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "remote_stop", {"evse": outlet})


def _unlock(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "unlock", {"evse": outlet})


def _reset(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "reset", {"hard": chance.random() < 0.5})


def _availability(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "availability", {"evse": chance.choice((0, outlet, outlet))}, _long(chance))


def _trigger(chance: random.Random, at: float, outlet: int) -> Act:
    what = chance.choice(("BootNotification", "Heartbeat", "MeterValues", "StatusNotification", "TransactionEvent"))
    return Act(at, "trigger", {"message": what, "evse": chance.choice((outlet, None))})


def _ask(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "ask", {"what": chance.choice(("clear_cache", "get", "set", "local_start", "local_stop", "card"))})


def _reserve(chance: random.Random, at: float, outlet: int) -> Act:
    given = {
        "number": chance.choice(NUMBERS),
        "token": chance.choice(CARDS),
        "evse": chance.choice((0, outlet, outlet)),
    }
    given["group"] = chance.choice((None, None, "fleet"))
    return Act(at, "reserve", {**given, "seconds": chance.choice((20, 90, 600))}, chance.choice((None, _long(chance))))


def _list(chance: random.Random, at: float, outlet: int) -> Act:
    """Of tokens that the backend knows; it may contradict itself."""
    entries = {token: chance.choice(("Accepted", "Accepted", "Blocked", None)) for token in chance.sample(LISTED, 2)}
    full = chance.random() < 0.5
    if full:
        entries = {token: word or "Expired" for token, word in entries.items()}
    return Act(at, "local_list", {"version": chance.randint(1, 9), "entries": entries, "full": full})


def _profile(chance: random.Random, at: float, outlet: int) -> Act:
    periods = [
        {"startPeriod": start, "limit": chance.choice((0.0, 5.9, 6.0, 10.5, 16.0, 32.0))}
        for start in sorted(chance.sample((0, 5, 60, 600), chance.choice((1, 1, 2, 3))))
    ]
    periods[0]["startPeriod"] = 0
    schedule: dict[str, Any] = {"chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    if chance.random() < 0.5:
        schedule["duration"] = chance.choice((30, 300, 3600))
    purpose = chance.choice(("ChargePointMaxProfile", "TxDefaultProfile", "TxDefaultProfile", "TxProfile"))
    profile = {
        "chargingProfileId": chance.randint(1, 4),
        "stackLevel": chance.randint(0, 2),
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    }
    place = {"ChargePointMaxProfile": 0, "TxDefaultProfile": chance.choice((0, outlet))}.get(purpose, outlet)
    return Act(at, "profile", {"place": place, "profile": profile}, _long(chance))


def _fault(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "fault", {"outlet": outlet, "fault": chance.choice(WORLD_FAULTS)}, _long(chance))


def _level(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "level", {"outlet": outlet, "level": chance.choice("ABCDEF")}, _short(chance))


def _heat(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "heat", {"outlet": outlet, "celsius": chance.choice((None, 62.0, 70.0, 79.0, 83.0))}, _long(chance))


def _brownout(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "supply", {"volts": chance.choice((0.0, 180.0, 253.0))}, _short(chance))


def _disk(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "disk_fails", {}, chance.choice((_short, _long))(chance))


def _clear(chance: random.Random, at: float, outlet: int) -> Act:
    return Act(at, "clear_faults", {})


MISHAPS = (
    (_power_cut, 3),
    (_daemon_dies, 4),
    (_daemon_leaves, 2),
    (_guard_dies, 3),
    (_away, 5),
    (_drop, 4),
    (_manners, 14),
    (_boots, 2),
    (_token, 3),
    (_remote_start, 3),
    (_remote_stop, 3),
    (_unlock, 3),
    (_reset, 2),
    (_availability, 4),
    (_trigger, 5),
    (_ask, 5),
    (_reserve, 3),
    (_list, 2),
    (_profile, 5),
    (_fault, 8),
    (_level, 2),
    (_heat, 2),
    (_brownout, 2),
    (_disk, 3),
    (_clear, 3),
)
OLD = (_reserve, _list, _profile)  # not in 2.x yet
