"""What a technician does about each fault: where it comes from, and what takes it away."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UNKNOWN = "not known to this chargerctl; see the log: journalctl -u chargerd -u chargerd-guard -e"

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "ContactorWelded": "cut the supply, replace the contactor; then: chargerctl clear OUTLET ContactorWelded",
        "ContactorNotClosed": "check coil voltage, interlock wiring and mirror contact; ends by unplugging",
        "ResidualCurrent": "earth leakage: try another vehicle, test the wiring, reset the monitor; ends by unplugging",
        "ResidualSelfTest": "the residual-current monitor failed its test: check its supply and wiring, or replace it",
        "EmergencyStop": "find out why it was pressed, then release the button",
        "PilotShort": "CP is shorted to PE: try without the vehicle, then check cable and socket",
        "PilotStuck": "pilot voltage between the states: check the CP wiring for water or corrosion, and the converter",
        "PilotDriverMismatch": "the pilot is not what was commanded: check the pilot board and its supply of 12 V",
        "DiodeFault": "no diode behind the pilot: not a vehicle, or a broken one; ends by unplugging",
        "ProximityChanged": "PP changed under load: check plug and socket for heat and wear; ends by unplugging",
        "ProximityFault": "PP has a resistance no cable has: try another cable, then check the socket's contact",
        "ConnectorLockFailure": "push the plug home; else check the lock's motor, pin and feedback",
        "OverTemperature": "let it cool; then check terminals for heat, and sun and ventilation",
        "OverCurrent": "the vehicle took more than it was offered; check the meter's setting; ends by unplugging",
        "GuardLate": "the guard stood still again and again: look for low voltage, heat, other real-time programs, a "
        "dying SD card (chargerctl guard); ends after a minute without",
        "GuardSlow": "the guard's turns take too long: if the exchange with the board does (chargerctl guard), check "
        "the ADC's clock and samples in the board file",
        "DeviceFailure": "the guard's board does not answer: check cable and supply; journalctl -u chargerd-guard -e",
        "LatchUnreadable": "the guard's latch file is missing or damaged: check the contactors, create it empty, "
        "restart the guard; its path: journalctl -u chargerd-guard -e",
        "PowerMeterFailure": "the meter does not answer: check its supply, bus wiring, address and speed",
        "DaemonLost": "chargerd does not run: systemctl status chargerd; journalctl -u chargerd -e",
        "GuardMismatch": "guard and daemon do not fit: install both anew, then: systemctl restart chargerd-guard",
        "GuardLost": "no word from the guard, nothing new starts: systemctl status chargerd-guard",
        "StorageFailure": "nothing can be written, nothing new starts: free the disk, or replace the card",
        "EventSetAside": "a fault of chargerd itself, charging goes on: report journalctl -u chargerd; "
        "then: chargerctl clear 0 EventSetAside",
        "HistoryLost": "the database was damaged and set aside: check the storage medium, keep the file; "
        "then: chargerctl clear 0 HistoryLost",
        "LocalListConflict": "the backend has contradicted the local list that it sent: it is to send the list anew",
        "ConfigInvalid": "the configuration has mistakes: chargerd config --check /etc/chargerd/chargerd.toml",
    }
)


def remedy(fault: str) -> str:
    return REMEDIES.get(fault, UNKNOWN)
