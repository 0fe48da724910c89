"""What an installer may say about the guard: few numbers, each with bounds that keep within the standard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chargerd.protection import USUAL, Protection

MIN_AMPS, MAX_AMPS = 6.0, 80.0
WAKE_UPS = ("auto", "disconnect", "f", "x1", "off")


def _within(field: str, value: Any, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{field} = {value}: between {low:g} and {high:g}")


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the board has at an outlet beyond what every outlet needs."""

    second: bool = False  # a contactor for L2 and L3
    relay: bool = False  # one that takes the pilot from the vehicle
    plug_sensor: bool = False
    cabinet_sensor: bool = False
    supply: bool = False  # volts are measured


@dataclass(frozen=True, slots=True)
class OutletSetup:
    """One outlet: amperes, seconds, degrees Celsius. ValueError names field, value and bound."""

    evse: int
    amps: float = 32.0  # of the board and its wiring, per phase
    phases: int = 3
    tethered: bool = False  # fixed cable: no proximity, no lock
    ventilation: bool = False  # state D may be served
    residual: bool = True  # a residual-current monitor with self-test is fitted
    wake_up: str = "auto"  # how a sleeping vehicle is woken, one of WAKE_UPS; auto: disconnect where it can, else f
    protection: Protection = USUAL
    fitted: Fitted = Fitted()

    def __post_init__(self) -> None:
        _within("evse", self.evse, 1, 64)
        _within("amps", self.amps, MIN_AMPS, MAX_AMPS)
        _within("phases", self.phases, 1, 3)
        if self.wake_up not in WAKE_UPS:
            raise ValueError(f"wake_up = {self.wake_up!r}: one of {', '.join(map(repr, WAKE_UPS))}")

    @property
    def wakes_by(self) -> str:
        if self.wake_up == "auto":
            return "disconnect" if self.fitted.relay else "f"
        return self.wake_up

    @property
    def switching(self) -> bool:
        """It can do one phase and three."""
        return self.fitted.second and self.phases == 3

    def live_phases(self, switched: int) -> int:
        """Phases that reach the vehicle when the second contactor, where there is one, lets so many pass."""
        return switched if self.fitted.second else self.phases


@dataclass(frozen=True, slots=True)
class TimingSetup:
    """From when on the guard does not trust its own time: `pauses` within a minute, `turn` seconds in the mean."""

    pauses: int = 5
    turn: float = 0.018  # of a period of 20 ms

    def __post_init__(self) -> None:
        _within("pauses", self.pauses, 1, 20)
        _within("turn", self.turn, 0.005, 0.019)


@dataclass(frozen=True, slots=True)
class GuardSetup:
    """All outlets in rank order: outlet 1 is `outlets[0]`. Outlets of the same `evse` exclude each other."""

    outlets: tuple[OutletSetup, ...]
    timing: TimingSetup = TimingSetup()

    def __post_init__(self) -> None:
        _within("outlets", len(self.outlets), 1, 64)


class Parts(Protocol):
    """What a board, or its file, has at an outlet; None: not fitted."""

    @property
    def proximity(self) -> object: ...
    @property
    def lock(self) -> object: ...
    @property
    def residual(self) -> object: ...
    @property
    def relay(self) -> object: ...


class Wanted(Protocol):
    """What a setup, or the configuration, counts on at an outlet."""

    @property
    def tethered(self) -> bool: ...
    @property
    def residual(self) -> bool: ...
    @property
    def wake_up(self) -> str: ...


def unfit(board: Sequence[Parts], setup: Sequence[Wanted]) -> Iterator[str]:
    """What the setup counts on and the board lacks, each with the remedy."""
    if len(board) != len(setup):
        yield f"the board has {len(board)} outlets, {len(setup)} are configured"
        return
    for rank, (parts, wanted) in enumerate(zip(board, setup, strict=True), 1):
        if not wanted.tethered and (parts.proximity is None or parts.lock is None):
            yield f"outlet {rank}: a socket needs proximity and lock; set tethered = true for a fixed cable"
        if wanted.residual and parts.residual is None:
            yield f"outlet {rank}: no residual-current monitor; set residual = false if the supply has one"
        if wanted.wake_up == "disconnect" and parts.relay is None:
            yield f"outlet {rank}: no relay takes the pilot away; set wake_up to auto, f, x1 or off"
