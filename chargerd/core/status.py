"""What an outlet is, in one word: derived from the joint state each time, never stored as another truth.

`joint` gives the nine words of OCPP 1.6 (§4.9); 2.x folds five out of them and of what is plugged. After power has
been offered, and after the contactor has opened, things get a moment to settle (`Live.settling_until`): until then
nothing new is said that would be taken back a second later.
"""

from __future__ import annotations

from enum import StrEnum

from chargerd.core.records import ChargingState, Reason
from chargerd.core.state import Outlet, Reservation, Station

LOWEST_AMPS = 6.0  # below there is no code on the pilot (IEC 61851-1 table A.8)
FLOWS = 1.0  # A from which on a phase carries a charging current, and not only what keeps electronics awake

# Faults that end a transaction, with the reason; every other fault only suspends it.
ENDING_FAULTS: dict[str, Reason] = {
    "EmergencyStop": Reason.EMERGENCY_STOP,
    "ResidualCurrent": Reason.GROUND_FAULT,
    "OverCurrent": Reason.OVERCURRENT,
    "ContactorWelded": Reason.OTHER,
    "ContactorNotClosed": Reason.OTHER,
    "SecondContactorWelded": Reason.OTHER,
    "SecondContactorNotClosed": Reason.OTHER,
    "CurrentThoughOpen": Reason.OTHER,
    "DiodeFault": Reason.OTHER,
    "ProximityChanged": Reason.OTHER,
}

HISTORY_LOST = "HistoryLost"  # the database was damaged, and what could not be read of it is gone
QUEUE_FULL = "QueueFull"  # of what only the backend can take: begins and ends of transactions
SET_ASIDE = "EventSetAside"  # an event could not be digested

METER_REPLACED = "MeterReplaced"  # another meter, or one that was reset: the told register goes on
METER_IMPLAUSIBLE = "MeterImplausible"  # energy without a closed contactor, or current without energy
METER_WARNINGS = frozenset({METER_REPLACED, METER_IMPLAUSIBLE})


class Joint(StrEnum):
    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EVSE = "SuspendedEVSE"
    SUSPENDED_EV = "SuspendedEV"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


def blocking(station: Station, outlet: Outlet) -> frozenset[str]:
    """Faults that forbid power here now; a meter that falls silent does not end what it has begun to measure."""
    visit = outlet.visit
    measured = visit is not None and visit.tx is not None and visit.tx.told
    excused = {"PowerMeterFailure"} if measured or station.site.allow_unmetered else frozenset[str]()
    return outlet.live.faults - excused - METER_WARNINGS


def barred(outlet: Outlet) -> bool:
    """The authority said no, and the energy that is allowed all the same is used up, or cannot be measured."""
    visit, reading = outlet.visit, outlet.live.reading
    if visit is None or visit.barred_at is None:
        return False
    return reading is None or reading.energy >= visit.barred_at


def offered(outlet: Outlet) -> bool:
    """May the vehicle take current now, or could it if it wanted to?"""
    permit = outlet.live.permit
    return permit is not None and permit[1] >= LOWEST_AMPS and not outlet.live.withheld


def hindered(station: Station) -> str:
    """What keeps anything from beginning: storage, queue-full, history-lost, reset; "" where nothing does."""
    if not station.storage:
        return "storage"
    if QUEUE_FULL in station.faults:
        return "queue-full"
    if station.site.waits and HISTORY_LOST in station.faults:
        return "history-lost"
    return "reset" if station.stopped or station.reset is not None else ""


def beginning(station: Station) -> bool:
    """May anything new begin: it can be written down, and the program is not about to leave."""
    return not hindered(station)


def hindered_at(station: Station, outlet: Outlet) -> str:
    """What keeps a visit from beginning at an outlet without a fault: the words of `hindered`, and unavailable."""
    if not station.in_service(outlet):
        return "unavailable"
    return hindered(station) or ("reset" if leaving(station, outlet) else "")


def usable(station: Station, outlet: Outlet) -> bool:
    """May a new visit be served here: operative, no reset waits, known to the guard and without a fault."""
    return not hindered_at(station, outlet) and outlet.live.known and not blocking(station, outlet)


def leaving(station: Station, outlet: Outlet) -> bool:
    """A reset waits for what runs: whoever comes now is not served (B12, scenario 3a)."""
    return station.stopped or station.reset is not None or outlet.site.evse in station.resets


def reserved(station: Station, rank: int) -> Reservation | None:
    """The reservation that keeps this outlet."""
    return next((one for one in station.reservations.values() if one.outlet == rank), None)


def joint(station: Station, rank: int) -> Joint:
    """The status of one outlet now (1.6 §4.9)."""
    outlet = station.outlet(rank)
    visit = outlet.visit
    if blocking(station, outlet):
        return Joint.FAULTED
    if visit is not None and visit.tx is not None:
        # Between the end of power and the last register nothing new is said.
        said = _JOINT[visit.tx.state if visit.tx.stopping else charging_state(outlet)]
        # A vehicle that comes back to its transaction prepares nothing: from SuspendedEV no way leads there (1.6 §4.9).
        return Joint.SUSPENDED_EV if said is Joint.PREPARING and visit.parted else said
    finishing = visit is not None and (visit.finished or visit.doubtful) and visit.auth is None
    if finishing:  # also where it goes out of service: what ran here ends with the cable (G01.FR.05, 1.6 §4.9 F8)
        return Joint.FINISHING
    if not station.in_service(outlet):
        return Joint.UNAVAILABLE
    if (visit is None or visit.auth is None) and reserved(station, rank) is not None:
        return Joint.RESERVED  # whoever it is for has not shown a card yet
    if visit is not None:
        return Joint.PREPARING
    return Joint.UNAVAILABLE if leaving(station, outlet) else Joint.AVAILABLE


def charging_state(outlet: Outlet) -> ChargingState:
    """The charging state of the transaction or visit here (2.x ChargingStateEnumType)."""
    visit, live = outlet.visit, outlet.live
    if live.powered:
        return ChargingState.SUSPENDED_EV if live.resting else ChargingState.CHARGING
    if visit is None or live.plug == 0:
        return ChargingState.IDLE
    tx = visit.tx
    if visit.auth is None or tx is None or not tx.told:
        return ChargingState.CONNECTED
    if live.settling_until is not None:
        return tx.state if tx.state is not ChargingState.IDLE else ChargingState.CONNECTED
    return ChargingState.SUSPENDED_EV if offered(outlet) else ChargingState.SUSPENDED_EVSE


_JOINT = {
    ChargingState.IDLE: Joint.SUSPENDED_EV,
    ChargingState.CONNECTED: Joint.PREPARING,
    ChargingState.CHARGING: Joint.CHARGING,
    ChargingState.SUSPENDED_EV: Joint.SUSPENDED_EV,
    ChargingState.SUSPENDED_EVSE: Joint.SUSPENDED_EVSE,
}
