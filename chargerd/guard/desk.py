"""The guard without its process: outlets on a board, the numbered events, and the conversation with one daemon.

Feed it time and packets, take packets out; it reads no clock and opens no socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from math import isfinite
from operator import attrgetter

from chargerd.faults import GUARD as FAULTS
from chargerd.guard import rules, wishes
from chargerd.guard.latch import Latched
from chargerd.guard.lease import (
    DAEMON_LOST,
    KEPT_EVENTS,
    LINK_VERSION,
    VALID_DEFAULT,
    BadPacket,
    ClearFault,
    Event,
    Gap,
    Hello,
    Indicate,
    Kind,
    Leave,
    Lock,
    Measured,
    Notes,
    Permit,
    Refused,
    Replay,
    Service,
    ToDaemon,
    Truth,
    Vitals,
    Welcome,
    common,
    decode,
    encode,
)
from chargerd.guard.pilot import X1, F
from chargerd.guard.setup import Fitted, GuardSetup, OutletSetup, unfit
from chargerd.guard.state import Outputs, Said, Sample
from hal.api import Board, Contactor, DeviceError, Outlet

TRUTH_EVERY = 1.0
FIRST_LOOK = 0.2  # s until presence has settled after a start: a truth before that would say that a vehicle is gone
EVENTS_AT_ONCE = 32
ALONE = VALID_DEFAULT  # s without a daemon until that is a fault: as long as its last permit may have lasted
QUIET = 2.0  # s without a vehicle before a guard makes room for another
MAX_WHY = 120
NEWS_SINCE = 2  # link version of notes and vitals
LAMP_ALONE = "service"  # as for other faults that only a technician ends


class Guard:
    """All outlets of one board. Raises DeviceError when the board lacks what the setup says is fitted.

    `mint` gives random plug numbers; `save_latch` takes the set of latched faults and says False when it could not
    take it now; `latched` is what the last run left, None when that is not known.
    """

    def __init__(
        self,
        board: Board,
        setup: GuardSetup,
        mint: Callable[[], int],
        epoch: int,
        build: str,
        save_latch: Callable[[Latched], bool],
        latched: Latched | None,
        now: float,
    ) -> None:
        self._board, self._mint, self._epoch, self._build, self._save = board, mint, epoch, build, save_latch
        self.bays = [Bay(s, hardware) for s, hardware in zip(setup.outlets, _fitted(board, setup), strict=True)]
        self._ring: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._last = 0
        self._fresh = mint()
        self._saved: Latched | None = latched
        self._version = 0  # of the peer's link; 0: it has not said hello
        self._told: int | None = None  # newest event the peer has; None: it has not asked
        self._answers: list[ToDaemon] = []
        self._turned = self._used = now
        self._vitals: Vitals | None = None
        self._vitals_due = False
        self.late = self.slow = False
        """What whoever keeps the time has found wrong with it."""
        self.trouble = ""
        """What the board said of itself in the last turn; "" when all is well."""
        self.leaving = False
        """The daemon has asked to make room for a newer guard."""
        self._alone: float | None = now  # since when no daemon has said hello
        for rank, bay in enumerate(self.bays, 1):
            names = {name for outlet, name in latched if outlet == rank} if latched is not None else {"LatchUnreadable"}
            bay.state = rules.initial(now, frozenset(names))
            self._number(rank, now, [(Kind.FAULT, 0, name) for name in sorted(names)])

    def cycle(self, now: float) -> None:
        """One turn: carry out the last commands, take a sample, decide anew. Never raises DeviceError."""
        self.trouble = ""
        try:
            self._board.exchange()
            alive = True
        except DeviceError as e:
            alive, self.trouble = False, str(e)
        self._keep_latched()  # what was decided in the last turn has now been carried out
        for rank, bay in enumerate(self.bays, 1):
            bay.alone = self._alone is not None and now - self._alone >= ALONE
            self._number(rank, now, self._turn(bay, alive, now))
            bay.look(rank, now)
        self._turned = now
        if not all(bay.settled and not bay.state.plug and not rules.holds(bay.state) for bay in self.bays):
            self._used = now

    def lapse(self, now: float) -> None:
        """Before a cycle that comes late: what was commanded before the pause is not carried out after it."""
        for bay in self.bays:
            bay.state, outputs = rules.lapse(bay.state, now)
            bay.make_safe(outputs)

    def feel(self, vitals: Vitals) -> None:
        """How the process does, to be told and shown."""
        self._vitals, self._vitals_due = vitals, True

    def connected(self, now: float) -> None:
        """A daemon has come; it must say hello."""
        self.disconnected(now)

    def disconnected(self, now: float) -> None:
        """The daemon is gone; leases run on, nothing is kept for it but the ring."""
        self._version, self._told, self._answers = 0, None, []
        if self._alone is None:
            self._alone = now

    def hear(self, raw: bytes, now: float) -> None:
        """Take in one packet of the daemon; whatever it is, the worst that happens is a `Refused`."""
        try:
            word = decode(raw)
        except BadPacket as e:
            self._refuse("packet", str(e))
            return
        match word:
            case Hello():
                self._greet(word)
            case _ if not self._version:
                self._refuse(word.tag, "say hello first")
            case Replay():
                self._replay(word)
            case Leave():
                self.leaving = True
            case Permit() | Lock() | Measured() | Indicate() | ClearFault() | Service():
                if not 1 <= word.outlet <= len(self.bays):
                    self._refuse(word.tag, f"no outlet {str(word.outlet)[:20]}")
                    return
                bay = self.bays[word.outlet - 1]
                bay.state, why = wishes.hear(bay.setup, bay.state, word, now)
                if why:
                    self._refuse(word.tag, why)
            case _:
                self._refuse(word.tag, "not a word for the guard")

    def say(self) -> list[bytes]:
        """Packets for the connected daemon: answers, events in order (at most 32 at once), truths that are due."""
        words, self._answers = self._answers, []
        if self._told is not None:
            words += self._news(self._told)
        for bay in self.bays:
            if not bay.settled:
                continue
            if bay.due and self._version:
                words += [bay.notes] if self._version >= NEWS_SINCE else []  # first: a permit follows the truth
                words.append(bay.truth)
            bay.due = False
        if self._vitals is not None and self._vitals_due and self._version >= NEWS_SINCE:
            self._vitals_due = False
            words.append(self._vitals)
        return [encode(word) for word in words]

    def observe(self) -> list[bytes]:
        """For those who may look: welcome, truth and notes of each outlet, the lack of a daemon as a fault, vitals."""
        seen = (word for bay in self.bays for word in (bay.seen(), bay.notes))
        words = [self._welcome(LINK_VERSION), *seen, self._vitals]
        return [encode(word) for word in words if word is not None]

    @property
    def pending(self) -> bool:
        """Is there something to say beside truths?"""
        return bool(self._answers) or self._told != self._last

    @property
    def vacant(self) -> bool:
        """Known to be without a vehicle at any outlet, and without power, for long enough to have drawn the cable."""
        return self._turned - self._used >= QUIET

    # ---- inside

    def _turn(self, bay: Bay, alive: bool, now: float) -> list[Said]:
        said: list[Said] = []
        try:
            if not alive:
                raise DeviceError(self.trouble)
            sample = _sample(bay.hardware, self.late, self.slow)
            blocked = any(rules.holds(other.state) for other in self.bays if other.excludes(bay))
            bay.state, outputs, said = rules.step(bay.setup, bay.state, sample, now, self._fresh, blocked)
            if bay.state.plug == self._fresh:
                self._fresh = self._mint()
            bay.sample = sample
            bay.command(outputs)
        except DeviceError as e:
            self.trouble = str(e)
            bay.state, outputs, failed = rules.blind(bay.state, now)
            said += failed
            bay.sample = None
            bay.make_safe(outputs)
        return said

    def _number(self, outlet: int, now: float, said: list[Said]) -> None:
        for kind, plug, detail in said:
            self._last += 1
            self._ring.append(Event(self._last, now, outlet, kind, plug, detail))

    def _keep_latched(self) -> None:
        if self._saved is None:
            return  # the file stays unreadable, so that the next run is told too
        latched = frozenset(
            (rank, name) for rank, bay in enumerate(self.bays, 1) for name in bay.state.faults if FAULTS[name].latched
        )
        if latched != self._saved and self._save(latched):
            self._saved = latched

    def _greet(self, word: Hello) -> None:
        if (version := common(LINK_VERSION, word.version)) is None:
            self._version = 0
            self._refuse(word.tag, f"link version: this guard speaks {LINK_VERSION} (and one below)")
            return
        self._version, self._told = version, None
        self._alone = None
        self._answers.append(self._welcome(self._version))
        for bay in self.bays:
            bay.due = True

    def _welcome(self, version: int) -> Welcome:
        return Welcome(version, self._build, self._epoch, self._last, len(self.bays))

    def _replay(self, word: Replay) -> None:
        """Go on after the number the daemon has; with a number that is not ours, from the start and with a gap."""
        known = word.epoch == self._epoch and 0 <= word.after <= self._last
        self._told = word.after if known else -1

    def _news(self, told: int) -> list[ToDaemon]:
        words: list[ToDaemon] = []
        before = self._ring[0].seq - 1 if self._ring else self._last
        if told < before or told < 0:
            words.append(Gap(before))
            told = before
        news = [event for event in self._ring if event.seq > told][:EVENTS_AT_ONCE] if told < self._last else []
        self._told = news[-1].seq if news else told
        return [*words, *news]

    def _refuse(self, what: str, why: str) -> None:
        self._answers.append(Refused(what, why.encode("ascii", "replace").decode()[:MAX_WHY]))


class Bay:
    """One outlet: its hardware, its state, and what was last told of it."""

    def __init__(self, setup: OutletSetup, hardware: Outlet) -> None:
        self.setup, self.hardware = replace(setup, fitted=_beyond(hardware)), hardware
        self.state = rules.initial(0.0)
        self.sample: Sample | None = None
        self.outputs = Outputs()
        self.truth: Truth = rules.truth(setup, self.state, None, 0, 0.0)
        self.notes: Notes = rules.notes(self.setup, self.state, 0)
        self.due = False
        self.settled = False
        self.alone = False
        self._lamp: str | None = ""  # what it shows; None: it may have forgotten

    def excludes(self, other: Bay) -> bool:
        return self is not other and self.setup.evse == other.setup.evse

    def look(self, rank: int, now: float) -> None:
        """Renew the truth; it is due when it changed, and once a second."""
        new = rules.truth(self.setup, self.state, self.sample, rank, now)
        notes = rules.notes(self.setup, self.state, rank)
        if self.news(new) or notes != self.notes:
            self.truth, self.notes, self.due = new, notes, True
        self.settled = now - self.state.began >= FIRST_LOOK

    def seen(self) -> Truth:
        """The truth for those who look while there may be no daemon."""
        faults = (DAEMON_LOST, *self.truth.faults)[: rules.MAX_TOLD_FAULTS]
        return replace(self.truth, faults=faults) if self.alone else self.truth

    def news(self, new: Truth) -> bool:
        """Is it to be told?"""
        return new.at - self.truth.at >= TRUTH_EVERY or _told(new) != _told(self.truth)

    def command(self, outputs: Outputs) -> None:
        """Every cycle says the whole of it, so that a board that forgot learns it again. Raises DeviceError."""
        self.outputs = outputs
        self._switch(outputs)
        self._signal(outputs)
        if outputs.lock is not None and self.hardware.lock is not None:
            if outputs.lock:
                self.hardware.lock.engage()
            else:
                self.hardware.lock.release()
        if outputs.start_test and self.hardware.residual is not None:
            self.hardware.residual.start_test()
        self._show(LAMP_ALONE if self.alone and not self.state.faults else outputs.lamp)

    def make_safe(self, outputs: Outputs) -> None:
        """As far as the hardware still listens: a lamp may when the converter does not."""
        self._lamp = None
        for output in (self._switch, self._signal):
            with suppress(DeviceError):
                output(outputs)
        if outputs.lamp:
            with suppress(DeviceError):
                self._show(outputs.lamp)

    def _show(self, lamp: str) -> None:
        if lamp != self._lamp and self.hardware.indicator is not None:
            self.hardware.indicator.show(lamp)
            self._lamp = lamp

    def _switch(self, outputs: Outputs) -> None:
        _set(self.hardware.contactor, outputs.coil)
        if self.hardware.second is not None:
            _set(self.hardware.second, outputs.second)

    def _signal(self, outputs: Outputs) -> None:
        if self.hardware.relay is not None:
            if outputs.disconnect:
                self.hardware.relay.disconnect()
            else:
                self.hardware.relay.connect()
        if outputs.drive in (X1, F):
            self.hardware.pilot.steady(outputs.drive == X1)
        else:
            self.hardware.pilot.pwm(outputs.drive)


_told = attrgetter(*(f.name for f in fields(Truth) if f.name not in ("at", "lease", "celsius")))


def _set(contactor: Contactor, closed: bool) -> None:
    if closed:
        contactor.close()
    else:
        contactor.open()


def _sample(o: Outlet, late: bool, slow: bool) -> Sample:
    """Every input; what is no number is no answer: comparisons with it would all come out harmless."""
    reading = o.pilot.read()
    plug = o.plug_sensor.celsius() if o.plug_sensor is not None else None
    cabinet = o.cabinet_sensor.celsius() if o.cabinet_sensor is not None else None
    volts = o.supply.volts() if o.supply is not None else None
    numbers = (reading.high, reading.low, reading.duty, plug or 0.0, cabinet or 0.0, *(volts or ()))
    if not all(map(isfinite, numbers)):
        raise DeviceError(f"the board answers nonsense: {reading}, plug {plug}, cabinet {cabinet}, volts {volts}")
    return Sample(
        high=reading.high,
        low=reading.low,
        duty=reading.duty,
        ohms=o.proximity.ohms() if o.proximity is not None else None,
        closed=o.contactor.closed(),
        locked=o.lock.engaged() if o.lock is not None else None,
        tripped=o.residual.tripped() if o.residual is not None else False,
        test_passed=o.residual.test_passed() if o.residual is not None else None,
        emergency=o.inputs.emergency_stop(),
        pen=o.inputs.pen_fault(),
        shed=o.inputs.shed(),
        second=o.second.closed() if o.second is not None else None,
        plug=plug,
        cabinet=cabinet,
        volts=volts,
        late=late,
        slow=slow,
    )


def _beyond(o: Outlet) -> Fitted:
    return Fitted(
        second=o.second is not None,
        relay=o.relay is not None,
        plug_sensor=o.plug_sensor is not None,
        cabinet_sensor=o.cabinet_sensor is not None,
        supply=o.supply is not None,
    )


def _fitted(board: Board, setup: GuardSetup) -> list[Outlet]:
    """The board's outlets, each with the devices that its setup counts on."""
    outlets = list(board.outlets)
    if lacks := list(unfit(outlets, setup.outlets)):
        raise DeviceError("; ".join(lacks))
    return outlets
