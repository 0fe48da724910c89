"""What the configuration file may say: the sections as frozen values, each key with its meaning and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chargerd.core.variables import Variables
from chargerd.protection import BOUNDS, USUAL

NO_BACKEND = "none"
NO_METER = "none"
NO_BAY = "none"
MOST_AMPS = 80.0  # per phase; no outlet has more


@dataclass(frozen=True, slots=True)
class Spec:
    """What a key means and may hold; bounds are those of a number, or of the length of a list of tables."""

    about: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    longest: int = 255
    example: Any = None


def _key(default: Any, about: str, **more: Any) -> Any:
    """A key of a section; `default` MISSING: it must be given. Secrets never show in a repr."""
    secret = more.pop("secret", False)
    return field(default=default, repr=not secret, metadata={"spec": Spec(about, **more)})


MONIKER = r"[a-z]+:.+"


@dataclass(frozen=True, slots=True, kw_only=True)
class StationConfig:
    """The station as a whole."""

    id: str = _key(
        MISSING,
        "Identity at the backend: last part of the URL and user name of the Basic authentication.",
        pattern=r"[A-Za-z0-9*_=+|@.\-]+",
        longest=48,
        example="CS-0001",
    )
    max_amps: float = _key(
        MISSING,
        "Fuse of the whole station, per phase; all outlets together never get more.",
        unit="A",
        low=6,
        high=1000,
        example=32,
    )
    vendor: str = _key("chargerd", "Told to the backend at boot.", longest=20)
    model: str = _key("open controller", "Told to the backend at boot.", longest=20)
    serial: str = _key("", "Told to the backend at boot.", longest=25)
    firmware: str = _key("", "Told to the backend at boot; empty: the version of chargerd.", longest=50)
    state_dir: str = _key("/var/lib/chargerd", "What must survive a restart. Absolute path.", pattern=r"/.*")
    history: int = _key(10_000, "Sessions kept for `chargerctl sessions`; the oldest go.", low=10, high=100_000)
    after_loss: str = _key(
        "charge",
        "After a damaged database was set aside: charge, or wait until chargerctl has cleared HistoryLost.",
        choices=("charge", "wait"),
    )
    run_dir: str = _key("/run/chargerd", "Sockets. Absolute path.", pattern=r"/.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsmsConfig:
    """The backend (CSMS)."""

    url: str = _key(
        MISSING,
        "ws:// or wss:// without the station's id, which is appended; none: there is no backend.",
        longest=512,
        example="ws://127.0.0.1:9000/ocpp",
    )
    version: tuple[str, ...] = _key(
        ("2.1", "2.0.1", "1.6"), "OCPP versions in order of preference.", choices=("1.6", "2.0.1", "2.1")
    )
    password: str = _key(
        "",
        "Password of the Basic authentication: 16 to 64 characters, or hex: and 32 to 40 digits for a binary key of "
        "1.6; empty: none is sent.",
        longest=64,
        secret=True,
    )
    password_file: str = _key("", "File with that password, instead of writing it here.", pattern=r"(/.*)?")
    security_profile: str = _key(
        "auto",
        "0: nothing, 1: password, 2: password and TLS; an error where url and password do not fit it. "
        "auto: what these two make it.",
        choices=("auto", "0", "1", "2"),
    )
    ca_file: str = _key(
        "",
        "Certificates (PEM) of the authorities that the backend's certificate may come from, read again when the file "
        "changes; empty: those of the system.",
        pattern=r"(/.*)?",
    )
    proxy: str = _key(
        "", "HTTP proxy to the backend, like http://host:port; empty: none, whatever the environment says."
    )
    connect_timeout: float = _key(30.0, "For one try at a connection, handshakes included.", unit="s", low=1, high=300)
    pong_timeout: float = _key(
        20.0, "For the answer to a ping (WebSocketPingInterval), else the link is dead.", unit="s", low=1, high=300
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationConfig:
    """Who may charge when there is no backend (csms.url = none)."""

    mode: str = _key("cards", "free: everybody; cards: the cards added with chargerctl.", choices=("free", "cards"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingConfig:
    """Limits where the backend's charging profiles leave it open."""

    volts: float = _key(
        230.0,
        "Nominal volts between a phase and neutral, by which limits in W are counted.",
        unit="V",
        low=100,
        high=277,
    )
    without_profile: float = _key(
        MOST_AMPS,
        "Most for a transaction that no profile of its own limits, per phase.",
        unit="A",
        low=0,
        high=MOST_AMPS,
    )
    offline_amps: float = _key(
        MOST_AMPS,
        "Most for each outlet without a link to the backend, per phase; profiles count all the same.",
        unit="A",
        low=0,
        high=MOST_AMPS,
    )
    offline_after: float = _key(300.0, "How long the link must be gone for that.", unit="s", low=0, high=604_800)
    unknown_time: str = _key(
        "lowest",
        "While the time is not known, a profile that goes by the clock counts with its lowest limit, or is ignored.",
        choices=("lowest", "ignore"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletConfig:
    """One outlet: one pilot, one contactor. Its rank, the 1.6 connectorId, is its position in this file."""

    evse: int = _key(MISSING, "Number of its EVSE; outlets of one EVSE exclude each other.", low=1, high=16, example=1)
    connector: int = _key(1, "Number of the connector at its EVSE.", low=1, high=16)
    amps: float = _key(
        MISSING, "What contactor and wiring carry, per phase.", unit="A", low=6, high=MOST_AMPS, example=32
    )
    phases: int = _key(3, "Phases connected.", choices=("1", "3"))
    tethered: bool = _key(False, "A fixed cable: no proximity contact, no lock.")
    plug: str = _key("type2", "Kind of plug (IEC 62196-2); type1 only with a fixed cable.", choices=("type1", "type2"))
    ventilation: bool = _key(False, "Vehicles that need ventilation (state D) may charge here.")
    residual: bool = _key(True, "A residual-current monitor with self-test is fitted.")
    wake_up: str = _key(
        "auto",
        "Wake a sleeping vehicle by parting it from the pilot (with a relay), by state F, by steady +12 V, or never; "
        "auto: disconnect where a relay is fitted, else f.",
        choices=("auto", "disconnect", "f", "x1", "off"),
    )
    meter: str = _key(
        NO_METER,
        "Moniker of its energy meter; none: it has none.",
        pattern=rf"none|{MONIKER}",
        example="sim:/run/chargerd/world.sock?outlet=1",
    )
    phase_switch: str = _key(
        "profile",
        "With a second contactor, charge on one phase: never, where a charging profile names one, or (auto) also where "
        "one in W leaves too little for three.",
        choices=("never", "profile", "auto"),
    )
    min_amps: float = _key(
        6.0, "Below this the outlet pauses: what the vehicles here do not charge with.", unit="A", low=6, high=32
    )
    begin_amps: float = _key(
        6.0, "Below this the outlet offers nothing to a vehicle that does not charge yet.", unit="A", low=6, high=32
    )
    bay: str = _key(
        NO_BAY,
        "Moniker of the detector in its parking bay; none: nobody knows whether it is taken.",
        pattern=rf"none|{MONIKER}",
        example="sim:/run/chargerd/world.sock?outlet=1",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """The guard process and its board."""

    board: str = _key(MISSING, "Moniker of the board.", pattern=MONIKER, example="sim:/run/chargerd/world.sock")
    socket: str = _key("guard.sock", "Socket for the daemon; a relative path is in run_dir.")
    watch_socket: str = _key("guard-ro.sock", "Read-only socket; a relative path is in run_dir.")
    latch_file: str = _key(
        "latch",
        "Faults that wait for a technician; a relative path is in state_dir, or in the guard unit's StateDirectory.",
    )
    max_pauses: int = _key(
        5,
        "GuardLate: so many times within a minute the guard stood still until the hardware opened the contactors.",
        low=1,
        high=20,
    )
    max_turn: float = _key(
        0.018,
        "GuardSlow: a turn of the guard, due every 0.02 s, takes longer than this in the mean of ten seconds.",
        unit="s",
        low=0.005,
        high=0.019,
    )


def _safe(name: str, about: str, unit: str = "") -> Any:
    low, high = BOUNDS[name]
    return _key(getattr(USUAL, name), about, unit=unit, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionConfig:
    """What the guard watches at every outlet; each value within bounds that keep it safe."""

    cabinet_full: float = _safe("cabinet_full", "Up to this temperature in the cabinet there is full current.", "°C")
    cabinet_least: float = _safe("cabinet_least", "From there it falls, down to 6 A at this temperature.", "°C")
    cabinet_stop: float = _safe("cabinet_stop", "From this temperature on there is none, until it is 5 K cooler.", "°C")
    plug_full: float = _safe("plug_full", "As cabinet_full, at the contacts of socket or plug.", "°C")
    plug_least: float = _safe("plug_least", "As cabinet_least.", "°C")
    plug_stop: float = _safe("plug_stop", "As cabinet_stop.", "°C")
    supply_low: float = _safe("supply_low", "No power while a phase is below, from 5 s on; 207 in the UK.", "V")
    supply_high: float = _safe("supply_high", "No power while a phase is above, from 5 s on.", "V")
    shed_watts: float = _safe("shed_watts", "What load shedding leaves of each outlet; 6 A are the least.", "W")
    test_hours: float = _safe(
        "test_hours", "How old the residual-current monitor's self-test may be when the contactor closes.", "h"
    )
    wake_after: float = _safe("wake_after", "A vehicle that was offered current for so long sleeps.", "s")
    wake_ups: int = _safe("wake_ups", "So often a vehicle is woken, once for each offer.")
    phase_pause: float = _safe("phase_pause", "Between two offers when phases were switched.", "s")
    phase_rest: float = _safe("phase_rest", "Between two switchings of phases.", "s")
    phase_switches: int = _safe("phase_switches", "So often phases are switched for a vehicle, first choice aside.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig:
    """One card reader."""

    device: str = _key(
        MISSING,
        "Moniker of the reader; pcsc:NAME is a PC/SC reader by its name or a part of it. pcsc:NAME?lights=acr122 shows "
        "the answer to a card by lights and buzzer of an ACR122, bytes=reversed reads numbers from their other end.",
        pattern=MONIKER,
        example="sim:/run/chargerd/world.sock?reader=station",
    )
    evse: int | None = _key(None, "The EVSE it stands at; not given: it serves the whole station.", low=1, high=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The log on standard error, which systemd keeps."""

    level: str = _key("info", "Least severity that is written.", choices=("debug", "info", "warning", "error"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file. `initial` holds the given OCPP variables by internal name."""

    station: StationConfig
    csms: CsmsConfig
    authorization: AuthorizationConfig = AuthorizationConfig()
    charging: ChargingConfig = ChargingConfig()
    outlets: tuple[OutletConfig, ...]
    guard: GuardConfig
    protection: ProtectionConfig = ProtectionConfig()
    readers: tuple[ReaderConfig, ...] = ()
    log: LogConfig = LogConfig()
    initial: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @property
    def backend(self) -> bool:
        return self.csms.url != NO_BACKEND

    @property
    def guard_socket(self) -> Path:
        return Path(self.station.run_dir, self.guard.socket)

    @property
    def guard_watch_socket(self) -> Path:
        return Path(self.station.run_dir, self.guard.watch_socket)

    @property
    def latch_file(self) -> Path:
        return Path(self.station.state_dir, self.guard.latch_file)

    @property
    def control_socket(self) -> Path:
        return Path(self.station.run_dir, "control.sock")

    def variables(self) -> Variables:
        """The registry with this file's initial values; what was set later is added by `Variables.restored`."""
        rotation = ",".join(
            f"{rank}.{'Unknown' if outlet.phases == 3 else 'NotApplicable'}"
            for rank, outlet in enumerate(self.outlets, 1)
        )
        return Variables().starting({"phase_rotation": rotation} | dict(self.initial))

    def facts(self) -> dict[str, str]:
        """The facts (see `core.variables`) that do not change while the program runs."""
        names = [f"{outlet.evse}.{outlet.connector}" for outlet in self.outlets]
        facts = {
            "outlets": ",".join(names),
            "connectors": str(len(names)),
            "tethered": ",".join(name for name, outlet in zip(names, self.outlets, strict=True) if outlet.tethered),
            "bays": ",".join(name for name, outlet in zip(names, self.outlets, strict=True) if outlet.bay != NO_BAY),
            "station_id": self.station.id,
            "station_vendor": self.station.vendor,
            "station_model": self.station.model,
            "station_serial": self.station.serial,
            "station_phases": str(max(outlet.phases for outlet in self.outlets)),
            "security_profile": security_profile(self.csms.url, self.csms.password),
        }
        for name, outlet in zip(names, self.outlets, strict=True):
            facts[f"connector_type.{name}"] = ("c" if outlet.tethered else "s") + outlet.plug.capitalize()
            facts[f"connector_phases.{name}"] = str(outlet.phases)
        for evse in {outlet.evse for outlet in self.outlets}:
            here = [outlet for outlet in self.outlets if outlet.evse == evse]
            facts[f"evse_phases.{evse}"] = str(max(outlet.phases for outlet in here))
            facts[f"evse_power_max.{evse}"] = str(max(round(outlet.amps * outlet.phases * 230) for outlet in here))
        return facts


def security_profile(url: str, password: str) -> str:
    """0: nothing, 1: password, 2: password and TLS (2.0.1 A00, part 2 §1.3)."""
    if not password:
        return "0"
    return "2" if url.startswith("wss:") else "1"
