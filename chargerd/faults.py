"""Every fault and warning by name: what it means, what helps, what ends it. The one table, for the guard's checks, for
`chargerctl` and for `hardware/faults.md`, which `python -m chargerd.faults` prints.

Lamps are words of `hal.lamps`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class Clears(Enum):
    """What ends a fault, always on top of its cause being gone."""

    ITSELF = "itself"
    UNPLUG = "unplug"  # the vehicle at which it rose has left, or a technician clears it
    TECHNICIAN = "technician"  # ClearFault
    NEVER = "never"  # not while the process that found it runs


ENDS: Mapping[Clears, str] = MappingProxyType(
    {
        Clears.ITSELF: "ends by itself once its cause is gone",
        Clears.UNPLUG: "ends when the vehicle is unplugged",
        Clears.TECHNICIAN: "then: chargerctl clear OUTLET NAME",
        Clears.NEVER: "ends with a restart once its cause is gone",
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`hold`: seconds that a check must object; `trust`: seconds it must be content until a fault clears by itself.

    `stops`: it opens the contactor; what does not is a warning. `latched`: it outlives a restart of the guard.
    """

    meaning: str
    remedy: str
    clears: Clears = Clears.ITSELF
    hold: float = 0.0
    trust: float = 1.0
    lamp: str = "fault"
    latched: bool = False
    stops: bool = True


GUARD: Mapping[str, Fault] = MappingProxyType(
    {
        "ContactorWelded": Fault(
            "the contactor is closed against its command",
            "cut the supply, replace the contactor",
            Clears.TECHNICIAN,
            hold=0.2,
            lamp="service",
            latched=True,
        ),
        "ContactorNotClosed": Fault(
            "the contactor is open against its command",
            "check coil voltage, interlock wiring and mirror contact",
            Clears.UNPLUG,
            hold=0.2,
        ),
        "ResidualCurrent": Fault(
            "the residual-current monitor has tripped",
            "try another vehicle, test the wiring for leakage to earth, reset the monitor",
            Clears.UNPLUG,
            hold=0.035,
        ),
        "ResidualSelfTest": Fault(
            "the residual-current monitor failed its test",
            "check its supply and wiring, or replace it",
            Clears.UNPLUG,
        ),
        "EmergencyStop": Fault(
            "the emergency stop is pressed",
            "find out why, then release the button",
        ),
        "PenFault": Fault(
            "the supply's PEN conductor is broken",
            "do not touch the vehicle; have the supply tested",
            hold=0.1,
            trust=30.0,
        ),
        "CurrentThoughOpen": Fault(
            "the meter shows a current although the contactor should be open",
            "cut the supply, check contactor, mirror contact and the meter's place",
            Clears.TECHNICIAN,
            hold=5.0,
            lamp="service",
            latched=True,
        ),
        "PilotShort": Fault(
            "CP is shorted to PE (state E)",
            "try without the vehicle, then check cable and socket",
            hold=0.015,
            trust=3.0,
        ),
        "PilotStuck": Fault(
            "the pilot's volts lie between the states, or do not move",
            "check the CP wiring for water or corrosion, and the converter",
            hold=0.5,
            trust=3.0,
        ),
        "PilotDriverMismatch": Fault(
            "the pilot is not what was commanded",
            "check the pilot board and its supply of 12 V",
            hold=0.2,
            trust=5.0,
        ),
        "DiodeFault": Fault(
            "no diode behind the pilot",
            "this is no vehicle, or a broken one: try another",
            Clears.UNPLUG,
            hold=0.1,
        ),
        "ProximityChanged": Fault(
            "the plug's coding (PP) changed under load",
            "check plug and socket for heat and wear",
            Clears.UNPLUG,
            hold=0.06,
        ),
        "ProximityFault": Fault(
            "PP has a resistance no cable has, or a vehicle is there without a plug",
            "try another cable, then check the socket's contact",
            hold=0.5,
            trust=1.0,
        ),
        "ConnectorLockFailure": Fault(
            "the lock does not hold the plug, or does not let it go",
            "push the plug home; else check the lock's motor, pin and feedback",
            hold=0.1,
            trust=0.5,
        ),
        "OverTemperature": Fault(
            "too hot to go on",
            "let it cool; then check terminals for heat, and sun and ventilation",
            hold=2.0,
            trust=2.0,
        ),
        "OverCurrent": Fault(
            "the vehicle took more than it was offered",
            "try another vehicle; check the meter's setting and wiring",
            Clears.UNPLUG,
            hold=7.0,
        ),
        "SupplyOutOfRange": Fault(
            "mains too low or too high, or a phase is missing",
            "check fuses, wiring and the supply's volts",
            hold=5.0,
            trust=30.0,
        ),
        "SecondContactorWelded": Fault(
            "the contactor of L2 and L3 is closed against its command",
            "cut the supply, replace it",
            Clears.TECHNICIAN,
            hold=0.2,
            lamp="service",
        ),
        "SecondContactorNotClosed": Fault(
            "the contactor of L2 and L3 is open against its command",
            "check its coil voltage, wiring and mirror contact",
            Clears.UNPLUG,
            hold=0.2,
        ),
        "GuardLate": Fault(
            "the guard stood still again and again (chargerctl guard)",
            "look for low voltage, heat, other real-time programs, a dying SD card",
            lamp="service",
        ),
        "GuardSlow": Fault(
            "the guard's turns take too long (chargerctl guard)",
            "if the exchange with the board does, check the ADC's clock and samples in the board file",
            lamp="service",
        ),
        "DeviceFailure": Fault(
            "the guard's board does not answer, or answers nonsense",
            "check its cable and supply; journalctl -u chargerd-guard -e",
            trust=1.0,
            lamp="service",
        ),
        "LatchUnreadable": Fault(
            "the guard's latch file is missing or damaged",
            "check the contactors, create it empty, restart the guard; its path: journalctl -u chargerd-guard -e",
            Clears.NEVER,
            lamp="service",
        ),
    }
)
"""Of the guard, gravest first: the first one active gives the reason of an opening and the lamp."""

WARNING: Mapping[str, Fault] = MappingProxyType(
    {
        "NoCurrent": Fault(
            "closed for ten minutes, the vehicle asks, and no current flows",
            "it may rest; if no vehicle charges here, check contactor, fuses and wiring behind the meter",
            hold=600.0,
            stops=False,
        ),
        "SensorSilent": Fault(
            "a temperature sensor does not answer, so that 16 A are the most",
            "check its wires",
            hold=2.0,
            stops=False,
        ),
        "PilotRelayStuck": Fault(
            "the relay does not take the pilot from the vehicle",
            "check its coil and contact; until then sleeping vehicles are not woken",
            hold=0.5,
            stops=False,
        ),
    }
)
"""Of the guard: what stops nothing, and ends with its cause."""

STATION: Mapping[str, Fault] = MappingProxyType(
    {
        "PowerMeterFailure": Fault(
            "the meter does not answer, or answers nonsense",
            "chargerctl status says what; chargerd meters probe finds address, speed and model",
        ),
        "MeterReplaced": Fault(
            "another meter, or one that was reset; the told register goes on where it stood",
            "check its seal and number",
            Clears.TECHNICIAN,
            stops=False,
        ),
        "MeterImplausible": Fault(
            "the meter counts with the contactor open, or does not count what flows",
            "check whose meter it is and which way round it is mounted (invert)",
            stops=False,
        ),
        "ReaderFailure": Fault(
            "a card reader does not work, charging goes on",
            "do what chargerctl status says of it under Device",
            stops=False,
        ),
        "DaemonLost": Fault(
            "chargerd does not run",
            "systemctl status chargerd; journalctl -u chargerd -e",
            lamp="service",
        ),
        "GuardMismatch": Fault(
            "guard and daemon do not fit",
            "install both anew, then: systemctl restart chargerd-guard",
        ),
        "GuardLost": Fault("no word from the guard, nothing new starts", "systemctl status chargerd-guard"),
        "StorageFailure": Fault("nothing can be written, nothing new starts", "free the disk, or replace the card"),
        "QueueFull": Fault(
            "the queue for the backend is full, nothing new starts",
            "bring the backend back: chargerctl queue",
            stops=False,
        ),
        "EventSetAside": Fault(
            "a fault of chargerd itself, charging goes on",
            "report journalctl -u chargerd",
            Clears.TECHNICIAN,
            stops=False,
        ),
        "HistoryLost": Fault(
            "the database was damaged and set aside",
            "check the storage medium, keep the file",
            Clears.TECHNICIAN,
            stops=False,
        ),
        "LocalListConflict": Fault(
            "the backend has contradicted the local list that it sent",
            "it is to send the list anew",
            stops=False,
        ),
        "ConfigInvalid": Fault(
            "the configuration has mistakes",
            "correct what chargerctl status names; chargerd config --check FILE",
            Clears.NEVER,
        ),
    }
)
"""What the daemon finds."""

FAULTS: Mapping[str, Fault] = MappingProxyType({**GUARD, **WARNING, **STATION})
UNKNOWN = "not known to this chargerctl; see the log: journalctl -u chargerd -u chargerd-guard -e"


def explain(name: str, outlet: int | str) -> str:
    """Meaning, remedy and end of a fault at an outlet (0: the station), in one line."""
    told = plain(name, outlet)
    return f"{told['meaning']}: {told['remedy']}; {told['ends']}" if told else UNKNOWN


def plain(name: str, outlet: int | str) -> dict[str, str]:
    """The same as words by name; none of a fault that is not known."""
    fault = FAULTS.get(name)
    if fault is None:
        return {}
    ends = ENDS[fault.clears].replace("OUTLET", str(outlet)).replace("NAME", name)
    return {"meaning": fault.meaning, "remedy": fault.remedy, "clears": fault.clears.value, "ends": ends}


_HEAD = """\
# Faults and warnings

Printed by `python -m chargerd.faults`. A fault opens the contactor and takes the pilot's offer away, a warning does
neither. *Clears* says what ends it once its cause is gone: `itself`, `unplug` (the vehicle has left, or a technician
clears it), `technician` (`chargerctl clear OUTLET NAME`) or `never` (while its process runs); *latched* ones outlive a
restart of the guard. *Hold* is how long its check must object, *trust* how long it must then be content where it clears
by itself, in seconds. Lamps are those of `hal/lamps.py`."""


def table() -> Iterator[str]:
    """`hardware/faults.md`, line by line."""
    yield from _HEAD.splitlines()
    yield ""
    yield "## The guard's, gravest first"
    yield ""
    yield "| name | meaning | what helps | clears | hold | trust | lamp |"
    yield "|---|---|---|---|---|---|---|"
    for name, fault in (*GUARD.items(), *WARNING.items()):
        trust = f"{fault.trust:g}" if fault.clears is Clears.ITSELF and fault.stops else ""
        yield f"{_row(name, fault)} {fault.hold:g} | {trust} | {fault.lamp if fault.stops else 'warning'} |"
    yield ""
    yield "## The daemon's"
    yield ""
    yield "| name | meaning | what helps | clears |"
    yield "|---|---|---|---|"
    for name, fault in STATION.items():
        yield _row(name, fault)


def _row(name: str, fault: Fault) -> str:
    clears = fault.clears.value + (", latched" if fault.latched else "")
    return f"| {name} | {fault.meaning} | {fault.remedy} | {clears} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
