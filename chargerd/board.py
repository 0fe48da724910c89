"""What a builder or technician does at a board while the guard is stopped: look at a file, at the inputs, calibrate.

The contactors stay open all the time. The board is the guard's: where one runs, this refuses, and where one comes
meanwhile, the kernel refuses it the pins.
"""

from __future__ import annotations

import os
import select
import statistics
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from chargerd.config import Config
from chargerd.guard.loop import served
from hal.api import DeviceError
from hal.pi import boardfile, wiring
from hal.pi.board import PiBoard, open_board
from hal.pi.boardfile import BoardFile, ProximityFile, SensorFile
from hal.pi.calibration import Measured, Unlikely, pilot_point, pull_up

TURN = 0.02
SETTLE, LOOK = 0.3, 1.0  # s
STEADY = 12.0  # codes between the bursts of one look: more is no steady level
CHANNELS = ("pilot", "proximity", "plug-sensor", "cabinet-sensor")
SCHEME = "pi:"
REFUSED = 1  # exit code
HARD = "\N{NO-BREAK SPACE}"


class Stopped(Exception):
    """It cannot go on; the text says why and what helps."""


@dataclass(frozen=True, slots=True)
class Hands:
    """The technician: `ask` shows a question and gives the line that answers it, None while there is none."""

    say: Callable[[str], None]
    ask: Callable[[str], None]
    answer: Callable[[], str | None]


def show(name: str) -> int:
    """`chargerd board show`: a board file in words; the exit code."""
    try:
        sys.stdout.write("\n".join(described(name)) + "\n")
    except DeviceError as e:
        sys.stderr.write(f"{e}\n")
        return os.EX_UNAVAILABLE
    return os.EX_OK


def described(name: str) -> list[str]:
    """Name, pins in the order of the header, channels. DeviceError when the file is refused."""

    board = boardfile.load(name)
    rows = [f"{board.name}: {board.soc}, {len(board.outlet)} outlet{'s' * (len(board.outlet) > 1)}", ""]
    rows += [*wiring.table(board), "", *wiring.channel_table(board)]
    if board.software_only:
        rows += [
            "",
            "For the bench only: with the guard dead, nothing opens the contactor or stops a motor.",
        ]
    return rows


def opened(config: Config) -> tuple[BoardFile, PiBoard]:
    """The configuration's board, for as long as no guard has it. Stopped or DeviceError."""

    moniker = config.guard.board
    if not moniker.startswith(SCHEME):
        raise Stopped(f"guard.board is {moniker!r}: this is for boards pi:…")
    if served(str(config.guard_socket)):
        raise Stopped("the guard runs and has the board: stop it first: systemctl stop chargerd-guard")
    name = moniker.removeprefix(SCHEME)
    return boardfile.load(name), open_board(name)


class Bench:
    """A board that is turned every 20 ms while somebody measures at it, so that its monostable stays alive."""

    def __init__(
        self, file: BoardFile, board: PiBoard, hands: Hands, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._file, self._board, self._hands, self._clock, self._sleep = file, board, hands, clock, sleep

    def watch(self, seconds: float) -> None:
        """Every input, once a second."""
        end = self._clock() + seconds
        while self._clock() < end:
            self._turn(LOOK)
            self._hands.say("\n".join(self._inputs()) + "\n")

    def calibrate(self, channel: str, rank: int) -> list[str]:
        """The lines for the board file. Stopped or Unlikely when what was measured cannot be right."""

        if not 1 <= rank <= len(self._file.outlet):
            raise Stopped(f"outlet {rank}: the board has {len(self._file.outlet)}")
        outlet = self._file.outlet[rank - 1]
        if channel == "pilot":
            point = pilot_point(self._file, outlet, *self._plateaus(rank))
            return ["[outlet.pilot.calibration]", f"high = {point.high}", f"low = {point.low}"]
        table, part = {
            "proximity": ("outlet.proximity", outlet.proximity),
            "plug-sensor": ("outlet.plug_sensor", outlet.plug_sensor),
            "cabinet-sensor": ("cabinet_sensor", self._file.cabinet_sensor),
        }[channel]
        if part is None:
            raise Stopped(f"this board has no {channel}")
        lines = pull_up(self._file, part, *self._resistors(channel, rank, part))
        return [f"[{table}]", *(f"{key} = {value}" for key, value in lines.items())]

    # ---- inside

    def _plateaus(self, rank: int) -> Iterator[Measured]:

        bay, pilot = self._board.bays[rank - 1], self._board.outlets[rank - 1].pilot
        self._hands.say(f"Outlet {rank}, control pilot. Nothing may be plugged in. The contactor stays open.")
        for positive, words in ((True, "at +12 V steady (X1)"), (False, "at -12 V steady (F)")):
            pilot.steady(positive)
            self._turn(SETTLE)
            if positive and (high := pilot.read().high) < 10.5:
                raise Stopped(f"the pilot reads {high:+.1f} V in X1: unplug what is there, or mend driver and divider")
            volts = self._number(f"The pilot is {words}. Volts between CP and PE, by your meter: ")
            yield Measured(volts, self._steady(lambda: statistics.fmean(bay.burst)))
        pilot.steady(True)
        self._turn(SETTLE)

    def _resistors(self, channel: str, rank: int, part: ProximityFile | SensorFile) -> Iterator[Measured]:

        codes = self._board.bays[rank - 1].codes
        where = "between PP and PE" if channel == "proximity" else "in place of the sensor"
        for nth in ("a first", "a second, larger"):
            ohms = self._number(f"Put {nth} known resistor {where}. Its ohms, by your meter: ")
            yield Measured(ohms, self._steady(lambda: codes.code(part.channel) or 0.0))

    def _steady(self, code: Callable[[], float]) -> float:
        seen: list[float] = []
        self._turn(LOOK, lambda: seen.append(code()))
        spread = max(seen) - min(seen)
        if spread > STEADY:
            raise Stopped(
                f"the reading moves by {spread:.0f} codes: hold the contacts still, check the wiring, try again"
            )
        return statistics.fmean(seen)

    def _number(self, question: str) -> float:
        self._hands.ask(question)
        while True:
            self._turn(TURN)
            line = self._hands.answer()
            if line is None:
                continue
            if not line:
                raise Stopped("nothing was changed")
            try:
                return float(line.strip().replace(",", "."))
            except ValueError:
                self._hands.ask(f"{line.strip()!r} is no number. {question}")

    def _turn(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        for _ in range(max(1, round(seconds / TURN))):
            self._board.exchange()
            each()
            self._sleep(TURN)

    def _inputs(self) -> Iterator[str]:
        for rank, outlet in enumerate(self._board.outlets, 1):
            pilot = outlet.pilot.read()
            yield f"outlet {rank}  pilot {pilot.high:+.2f} V / {pilot.low:+.2f} V, duty {pilot.duty:.3f}"
            parts = [
                ("rails", self._rails(rank)),
                ("proximity", outlet.proximity and f"{outlet.proximity.ohms():.0f} ohm"),
                ("lock", outlet.lock and ("engaged" if outlet.lock.engaged() else "not engaged")),
                ("contactor", "closed" if outlet.contactor.closed() else "open"),
                ("second contactor", outlet.second and ("closed" if outlet.second.closed() else "open")),
                ("monitor", outlet.residual and ("tripped" if outlet.residual.tripped() else "content")),
                ("plug", outlet.plug_sensor and _degrees(outlet.plug_sensor.celsius())),
                ("cabinet", outlet.cabinet_sensor and _degrees(outlet.cabinet_sensor.celsius())),
                ("mains", outlet.supply and " ".join(f"{volts:.0f} V" for volts in outlet.supply.volts())),
                ("emergency stop", "pressed" if outlet.inputs.emergency_stop() else "released"),
                ("PEN", "fault" if outlet.inputs.pen_fault() else "good"),
                ("load shedding", "asked for" if outlet.inputs.shed() else "no"),
            ]
            words = " · ".join(f"{name} {value}".replace(" ", HARD) for name, value in parts if value is not None)
            for line in textwrap.wrap(words, 88):
                yield "          " + line.replace(HARD, " ")

    def _rails(self, rank: int) -> str | None:
        pilot, bay = self._file.outlet[rank - 1].pilot, self._board.bays[rank - 1]
        codes = [code for channel in (pilot.rail, pilot.rail_low) if (code := bay.codes.code(channel)) is not None]
        return (
            None if bay.front.rail is None else " and ".join(f"{bay.front.rail.volts(code):+.2f} V" for code in codes)
        )


def _degrees(celsius: float | None) -> str:
    return "silent" if celsius is None else f"{celsius:.1f} °C"


def run(config: Config, what: str, outlet: int, seconds: float) -> int:
    """`chargerd board inputs` and `… calibrate` at a terminal; the exit code."""
    hands = at(sys.stdin, sys.stdout)
    try:
        file, board = opened(config)
    except (Stopped, DeviceError) as e:
        sys.stderr.write(f"{e}\n")
        return os.EX_UNAVAILABLE
    try:
        bench = Bench(file, board, hands, time.monotonic, time.sleep)
        if what == "inputs":
            bench.watch(seconds)
        else:
            lines = bench.calibrate(what, outlet)
            nth = f" of outlet {outlet}" if len(file.outlet) > 1 and what != "cabinet-sensor" else ""
            hands.say("\n".join(["", f"For the board file{nth}, instead of what it says there:", "", *lines]))
    except (Stopped, DeviceError, Unlikely) as e:
        sys.stderr.write(f"{e}\n")
        return REFUSED
    except KeyboardInterrupt:
        return os.EX_OK
    finally:
        board.close()
    return os.EX_OK


def at(answers: TextIO, screen: TextIO) -> Hands:
    """The technician at a terminal; the end of input is an empty answer."""

    def put(text: str) -> None:
        screen.write(text)
        screen.flush()

    def answer() -> str | None:
        return answers.readline() if select.select([answers], [], [], 0)[0] else None

    return Hands(lambda text: put(f"{text}\n"), put, answer)
