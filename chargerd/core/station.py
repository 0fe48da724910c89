"""The station: one pure step from event to records and commands.

`step` takes the event into the state (the table below: which room answers for what), then lets every room settle what
follows from it, in one fixed order: visits see what is plugged, transactions cross their edges, permits, locks and
lamps follow. Because consequences are derived from the state and not from the event, a missed or repeated event does
no harm. No clock and no randomness: the moment and the minting of ids are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from chargerd.core import (
    authorize,
    availability,
    boot,
    charging,
    faults,
    known,
    limits,
    local_list,
    metering,
    permits,
    power,
    reservation,
    transaction,
    vehicle,
    visit,
)
from chargerd.core.commands import Answer, BootCause, Command, Outcome, SendHeartbeat, SendStatus
from chargerd.core.draft import LOBBY, Draft
from chargerd.core.events import (
    AuthorizeAnswered,
    AvailabilityAsked,
    Bay,
    BootAnswered,
    CableIn,
    CableOut,
    CachePut,
    CancelReservationAsked,
    CardsChanged,
    CardUnusable,
    ClearCacheAsked,
    CompositeAsked,
    Event,
    Fault,
    GuardLost,
    LinkDown,
    LinkUp,
    ListSent,
    Metered,
    OutletTruth,
    PhasesTold,
    Power,
    PowerRestored,
    ProfilesCleared,
    ProfileSet,
    RemoteStart,
    RemoteStop,
    ReserveAsked,
    ResetAsked,
    SecurityNoticed,
    SetAsked,
    Stop,
    Storage,
    TokenSeen,
    TransactionAnswered,
    TriggerAsked,
    Triggered,
    UnlockAsked,
    VehicleIn,
    VehicleOut,
    VehicleReady,
    Wake,
)
from chargerd.core.moment import Moment
from chargerd.core.records import Cause, Reason, Record, Security
from chargerd.core.state import Live, Outlet, Site, Station
from chargerd.core.variables import Variables

# Security events that are written down and not told (2.0.1 part 2 appendix 1, A04.FR.01).
UNTOLD = frozenset({"FailedToAuthenticateAtCsms", "ReconfigurationOfSecurityParameters"})


@dataclass(frozen=True, slots=True)
class Stepped:
    state: Station
    records: tuple[Record, ...]
    commands: tuple[Command, ...]


def initial(site: Site, variables: Variables) -> Station:
    """A station nobody has told anything yet."""
    return Station(site, tuple(Outlet(s) for s in site.outlets), variables)


def step(state: Station, event: Event, now: Moment, mint: Callable[[], str]) -> Stepped:
    """The state after `event` at `now`; `mint` gives a fresh transaction id. Raises only on a fault of ours."""
    draft = Draft(state, now, mint)
    _take(draft, event)
    _settle(draft)
    return Stepped(draft.state, tuple(draft.records), tuple(draft.commands))


def _take(draft: Draft, event: Event) -> None:
    match event:
        case CableIn(rank, amps):
            draft.set_live(rank, cable=True, cable_amps=amps)
        case CableOut(rank):
            draft.set_live(rank, cable=False, cable_amps=0.0)
        case VehicleIn(rank, plug):
            draft.set_live(rank, plug=plug, ready=False)
        case VehicleOut(rank, plug):
            visit.left(draft, rank, plug)
        case VehicleReady(rank, _, ready):
            draft.set_live(rank, ready=ready)
        case Power(rank, on):
            power.switched(draft, rank, on)
        case Fault(rank, name, active):
            present = draft.outlet(rank).live.faults if rank else draft.state.faults
            draft.set_faults(rank, present | {name} if active else present - {name})
            if rank and not active:
                draft.set_live(rank, doubted=draft.outlet(rank).live.doubted - {name})
        case OutletTruth():
            _truth(draft, event)
        case PhasesTold(rank, phases, switching):
            draft.set_live(rank, phases=phases, switching=switching)
        case GuardLost():
            for rank in draft.ranks():
                live = draft.outlet(rank).live
                draft.set_live(rank, known=False, permit=None, lock=None, settling_until=None)
                draft.set_faults(rank, (live.faults & faults.OWN) | {faults.GUARD_LOST})
        case Metered():
            _metered(draft, event)
        case Bay(rank, occupied):
            draft.set_live(rank, bay=occupied)
        case TokenSeen():
            authorize.token_seen(draft, event)
        case CardUnusable(evse):
            authorize.refuse(draft, evse)
        case LinkUp(anew):
            boot.link_up(draft, anew)
        case LinkDown():
            boot.link_down(draft)
        case BootAnswered():
            boot.answered(draft, event)
        case AuthorizeAnswered():
            authorize.authorize_answered(draft, event)
        case TransactionAnswered():
            authorize.transaction_answered(draft, event)
        case RemoteStart():
            authorize.remote_start(draft, event)
        case RemoteStop():
            authorize.remote_stop(draft, event)
        case UnlockAsked():
            availability.unlock(draft, event)
        case AvailabilityAsked():
            availability.availability(draft, event)
        case ResetAsked():
            availability.reset(draft, event)
        case ClearCacheAsked(ask):
            enabled = draft.state.variables.get_bool("auth_cache_enabled")
            known.forget(draft)
            draft.do(Answer(ask, Outcome.ACCEPTED if enabled else Outcome.REJECTED))
        case CachePut(token, verdict):
            known.put(draft, token, verdict)
        case ListSent():
            local_list.sent(draft, event)
        case ReserveAsked():
            reservation.asked(draft, event)
        case CancelReservationAsked():
            reservation.cancelled(draft, event)
        case TriggerAsked():
            _trigger(draft, event)
        case SetAsked(ask, values):
            _set(draft, values)
            draft.do(Answer(ask, Outcome.ACCEPTED))
        case ProfileSet():
            charging.set_profile(draft, event)
        case ProfilesCleared():
            charging.clear(draft, event)
        case CompositeAsked():
            charging.composite(draft, event)
        case SecurityNoticed(name, info):
            _notice(draft, name, info)
        case CardsChanged(cards):
            draft.set(cards=MappingProxyType({id.casefold(): group for id, group in cards}))
        case PowerRestored():
            _restored(draft, event)
        case Storage():
            _stored(draft, event)
        case Stop():
            draft.set(stopped=True, next_boot=draft.state.next_boot or BootCause.UNKNOWN)
        case Wake():
            pass


def _settle(draft: Draft) -> None:
    faults.settle(draft)
    boot.settle(draft)
    reservation.settle(draft)
    visit.timeouts(draft, LOBBY)
    for rank in draft.ranks():
        visit.settle(draft, rank)
        _waited(draft, rank)
    for rank, _ in list(draft.visits()):
        transaction.settle(draft, rank)
    availability.settle_resets(draft)
    for rank, _ in list(draft.visits()):
        visit.close(draft, rank)
    metering.settle(draft)
    charging.settle(draft)
    power.settle(draft)
    for rank, _ in list(draft.visits()):
        transaction.tell_changes(draft, rank)
    for rank in draft.ranks():
        availability.settle_unlock(draft, rank)
    availability.settle_reset(draft)


def _waited(draft: Draft, rank: int) -> None:
    """The first register did not come in time."""
    found = draft.visit(rank)
    if found is not None and found.tx is not None and found.tx.stopping is None:
        by = found.tx.reading_by
        if by is not None and draft.now.mono >= by:
            transaction.first_register(draft, rank, None)


def _metered(draft: Draft, event: Metered) -> None:
    rank = event.outlet
    if event.reading is not None:
        read = draft.outlet(rank).live.read or not event.recalled
        draft.set_live(rank, reading=event.reading, read=read)
        power.drawn(draft, rank, event.reading)
        vehicle.metered(draft, rank, event.reading)
    found = draft.visit(rank)
    if not event.asked or found is None or found.tx is None:
        return
    if found.tx.stopping is not None:
        if found.tx.stopping.reading_by is not None:
            transaction.last_register(draft, rank, event.reading)
    elif found.tx.reading_by is not None:
        transaction.first_register(draft, rank, event.reading)


def _truth(draft: Draft, event: OutletTruth) -> None:
    own = draft.outlet(event.outlet).live.faults & faults.OWN
    withheld = draft.outlet(event.outlet).live.withheld
    doubted, sure_at = faults.doubted(draft, event)
    draft.set_live(
        event.outlet,
        known=True,
        doubted=doubted,
        sure_at=sure_at,
        plug=event.plug,
        cable=event.cable,
        cable_amps=event.cable_amps,
        ready=event.ready,
        powered=event.powered,
        locked=event.locked,
        offered=event.offered,
        withheld=event.withheld,
    )
    if withheld and not event.withheld and not event.powered:
        draft.set_live(event.outlet, settling_until=draft.now.mono + permits.SETTLING)
    if not event.powered:
        power.drawn(draft, event.outlet, None)
    draft.set_faults(event.outlet, (own - {faults.GUARD_LOST}) | frozenset(event.faults) | doubted)


def _notice(draft: Draft, name: str, info: str) -> None:
    draft.tell(Security(draft.now, name, info, critical=name not in UNTOLD))


def _trigger(draft: Draft, event: TriggerAsked) -> None:
    ranks = list(draft.ranks()) if event.outlet is None else [event.outlet]
    place = len(draft.commands)
    outcome = Outcome.ACCEPTED
    match event.what:
        case Triggered.BOOT:
            boot.send(draft, BootCause.TRIGGERED)
        case Triggered.HEARTBEAT:
            draft.do(SendHeartbeat())
        case Triggered.STATUS:
            draft.do(SendStatus(event.outlet))
        case Triggered.METER_VALUES:
            told = [rank for rank in ranks if metering.tell(draft, rank, Cause.TRIGGER)]
            if not told:
                outcome = Outcome.REJECTED
        case Triggered.TRANSACTION:
            ranks += [LOBBY] if event.outlet is None else []
            told = [r for r, v in draft.visits() if v.tx is not None and v.tx.told and r in ranks]
            for rank in told:
                reading = draft.outlet(rank).live.reading if rank != LOBBY else None
                transaction.update(draft, rank, Cause.TRIGGER, reading=reading)
            if not told:
                outcome = Outcome.REJECTED
    draft.commands.insert(place, Answer(event.ask, outcome))


def _set(draft: Draft, values: tuple[tuple[str, str], ...]) -> None:
    variables = draft.state.variables
    for name, text in values:
        variables = variables.with_(name, text)
    draft.set(variables=variables)
    names = {name for name, _ in values}
    if "basic_auth_password" in names:
        _notice(draft, "ReconfigurationOfSecurityParameters", "BasicAuthPassword")  # A01.FR.11, without it (A01.FR.12)
    if "heartbeat_interval" in names:
        boot.reschedule(draft)
    if names & {"sample_interval", "aligned_interval"}:
        metering.reschedule(draft)
    if "auth_cache_enabled" in names and not variables.get_bool("auth_cache_enabled"):
        known.forget(draft)


def _stored(draft: Draft, event: Storage) -> None:
    others = draft.state.faults - {"StorageFailure"}
    draft.set_faults(0, others if event.works else others | {"StorageFailure"})
    for rank, found in draft.visits():
        if found.tx is not None and (event.works or found.tx.uid in event.unwritten):
            draft.set_tx(rank, unwritten=not event.works)


def _restored(draft: Draft, event: PowerRestored) -> None:
    """Back from a crash, a restart or a power cut: with the same state, and the reason for what cannot go on."""
    planned, rebooted = draft.state.next_boot, event.rebooted
    cause = planned or (BootCause.POWER_UP if rebooted else BootCause.WATCHDOG)
    if rebooted and cause is BootCause.UNKNOWN:  # it had been stopped in order
        cause = BootCause.POWER_UP
    draft.set(boot=replace(draft.state.boot, cause=cause), next_boot=None)
    availability.retry(draft, planned is BootCause.HARD_RESET and event.reboots and not rebooted)
    started = cause is BootCause.POWER_UP
    draft.tell(Security(draft.now, "StartupOfTheDevice" if started else "ResetOrReboot", cause.value))
    for rank, found in list(draft.visits()):
        if rebooted:
            if not _resumable(draft, rank, event.away):
                if found.tx is not None:
                    reason = Reason.POWER_LOSS if planned is None else Reason.REBOOT
                    transaction.stop(draft, rank, reason, Cause.POWER_LOSS)
                draft.set_visit(rank, auth=None)
            draft.set_visit(rank, connect_by=None, plug=0, recalled=found.plug != 0 or found.recalled)
            _waits_anew(draft, rank)
        elif found.tx is not None and found.tx.told and found.tx.stopping is None:
            transaction.update(draft, rank, Cause.RETURNED)
        if found.tx is not None:
            draft.set_tx(rank, unwritten=False)  # where it was read it was written
        transaction.resume(draft, rank)


def _waits_anew(draft: Draft, rank: int) -> None:
    """Who is authorised, and has no vehicle yet, has the whole time for it once more: this boot's clock is another."""
    visit = draft.visit(rank)
    assert visit is not None
    if visit.auth is not None and not visit.recalled and not visit.parted:
        timeout = draft.state.variables.get_int("connection_timeout")
        draft.set_visit(rank, connect_by=draft.now.mono + timeout)


def _resumable(draft: Draft, rank: int, away: float | None) -> bool:
    """May what ran at the outlet go on, after so many seconds without power (TxCtrlr.ResumptionTimeout)?"""
    visit = draft.visit(rank)
    assert visit is not None
    runs = visit.tx is not None and visit.tx.told and visit.tx.stopping is None
    longest = draft.state.variables.get_int("resumption_timeout")
    return rank != LOBBY and runs and away is not None and 0 <= away <= longest and longest > 0


def wake_at(state: Station, now: Moment) -> float | None:
    """Monotonic seconds of the next moment at which something becomes due by itself."""
    return min(_deadlines(state, now), default=None)


def _deadlines(state: Station, now: Moment) -> Iterator[float]:
    if state.online:
        if state.boot.next_try is not None and not state.boot.asked:
            yield state.boot.next_try
        if state.boot.heartbeat_at is not None:
            yield state.boot.heartbeat_at
    if state.aligned_at is not None:
        yield now.mono + max(0.0, state.aligned_at - now.wall)
    elif state.site.backend and state.variables.get_int("aligned_interval"):
        yield now.mono
    for kept in state.reservations.values():
        yield now.mono + max(0.0, kept.expires - now.wall)
    yield from limits.wakes(state, now)
    for outlet in state.outlets:
        yield from _live_deadlines(outlet.live, now.mono)
        switched = outlet.live.manners.switched_at
        if switched is not None and (rested := switched + state.site.policy.switch_rest) > now.mono:
            yield rested
    for found in (state.lobby, *(o.visit for o in state.outlets)):
        if found is None:
            continue
        if found.connect_by is not None:
            yield found.connect_by
        if found.tx is None:
            continue
        if found.tx.stopping is not None:
            by = found.tx.stopping.reading_by
            yield by if by is not None else found.tx.stopping.since.mono + transaction.OPENING_WAIT
            continue
        if found.tx.reading_by is not None:
            yield found.tx.reading_by


def _live_deadlines(live: Live, now: float) -> Iterator[float]:
    if live.next_sample is not None:
        yield live.next_sample
    if live.settling_until is not None:
        yield live.settling_until
    if live.ebb is not None:
        yield live.ebb[1]
    if live.refused_until is not None:
        yield live.refused_until
    if live.unlock is not None:
        yield live.unlock.word_at if live.unlock.word_at > now else live.unlock.by
