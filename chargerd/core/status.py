"""What an outlet is, in one word: derived from the joint state each time, never stored as another truth.

`joint` gives the nine words of OCPP 1.6 (§4.9); 2.x folds five out of them and of what is plugged. After power has
been offered the vehicle gets a moment to answer (`Live.settling_until`): until then nothing is said that would be
taken back a second later.
"""

from __future__ import annotations

from enum import StrEnum

from chargerd.core.records import ChargingState, Reason
from chargerd.core.state import Outlet, Station

LOWEST_AMPS = 6.0  # below there is no code on the pilot (IEC 61851-1 table A.8)

# Faults that end a transaction, with the reason; every other fault only suspends it.
ENDING_FAULTS: dict[str, Reason] = {
    "EmergencyStop": Reason.EMERGENCY_STOP,
    "ResidualCurrent": Reason.GROUND_FAULT,
    "OverCurrent": Reason.OVERCURRENT,
    "ContactorWelded": Reason.OTHER,
    "ContactorNotClosed": Reason.OTHER,
    "DiodeFault": Reason.OTHER,
    "ProximityChanged": Reason.OTHER,
}


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


def usable(station: Station, outlet: Outlet) -> bool:
    """May a new visit be served here: operative, known to the guard, and without a fault."""
    return station.operative and outlet.operative and outlet.live.known and not outlet.live.faults


def joint(station: Station, rank: int) -> Joint:
    """The status of one outlet now (1.6 §4.9)."""
    outlet = station.outlet(rank)
    visit, live = outlet.visit, outlet.live
    if live.faults:
        return Joint.FAULTED
    if visit is not None and visit.tx is not None:
        # Between the end of power and the last register nothing new is said.
        return _JOINT[visit.tx.state if visit.tx.stopping else charging_state(outlet)]
    if not (station.operative and outlet.operative):
        return Joint.UNAVAILABLE
    if visit is not None:
        return Joint.FINISHING if visit.finished and visit.auth is None else Joint.PREPARING
    return Joint.AVAILABLE


def charging_state(outlet: Outlet) -> ChargingState:
    """The charging state of the transaction or visit here (2.x ChargingStateEnumType)."""
    visit, live = outlet.visit, outlet.live
    if live.powered:
        return ChargingState.CHARGING
    if visit is None or live.plug == 0:
        return ChargingState.IDLE
    tx = visit.tx
    if visit.auth is None or tx is None or not tx.told:
        return ChargingState.CONNECTED
    if live.settling_until is not None:
        return ChargingState.SUSPENDED_EVSE if tx.energised else ChargingState.CONNECTED
    offered = live.permit is not None and live.permit[1] >= LOWEST_AMPS
    return ChargingState.SUSPENDED_EV if offered else ChargingState.SUSPENDED_EVSE


_JOINT = {
    ChargingState.IDLE: Joint.SUSPENDED_EV,
    ChargingState.CONNECTED: Joint.PREPARING,
    ChargingState.CHARGING: Joint.CHARGING,
    ChargingState.SUSPENDED_EV: Joint.SUSPENDED_EV,
    ChargingState.SUSPENDED_EVSE: Joint.SUSPENDED_EVSE,
}
