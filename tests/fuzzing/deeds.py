"""How each act of a plan is done, from outside: at the world, at the backend, at the charger's own operator.

A deed answers with how to take it back, where there is something to take back. What cannot be done in the world as it
is (no vehicle there, no daemon to ask) does nothing; the log says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chargerd.daemon.control import BadParams, Refused
from chargerd.daemon.operator import Operator
from chargerd.lab.csms import Boot, Csms
from chargerd.lab.peer import CallFailed, Script
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION
from chargerd.lab.whole import Whole
from hal.api import DeviceError
from tests.fuzzing.life import MAINS, Life
from tests.fuzzing.plan import BLOCKED, FRIEND, GOOD, LOCAL, Act

Undo = Callable[[], Awaitable[object]]
KNOWN = {GOOD[0]: Token(group="fleet"), GOOD[1]: Token(group="fleet"), FRIEND: Token(), BLOCKED: Token("Blocked")}
MANNERS = {
    "error": Script(error=("InternalError", "not now")),
    "unheard error": Script(error=("GenericError", ""), delay=2.0),
    "mute": Script(mute=True),
    "deaf": Script(heard=False),
    "cut": Script(cut=True),
    "slow": Script(delay=3.0),
    "slower": Script(delay=33.0),
    "twice": Script(copies=2),
    "wrong id": Script(wrong_id=True),
    "odd": Script(answer={"status": "Nonsense", "idTagInfo": 7}),
}


class NotNow(Exception):
    """It cannot be done at present."""


class Disk:
    """The gate of the store; `fails` counts who wants it to fail."""

    def __init__(self) -> None:
        self.fails = 0

    def gate(self, point: str) -> None:
        if self.fails and point == "before-commit":
            raise sqlite3.OperationalError("disk I/O error")


@dataclass(slots=True)
class Hands:
    """Everything that can be got hold of. `touched` collects the faults that were ever raised, by outlet."""

    whole: Whole
    csms: Csms
    life: Life
    disk: Disk
    touched: set[tuple[int, str]] = field(default_factory=set)

    async def do(self, act: Act) -> Undo | None:
        """Raises NotNow."""
        try:
            done: Undo | None = await getattr(self, f"_{act.what}")(**act.given)
        except (DeviceError, Refused, BadParams, CallFailed, ValueError) as e:
            raise NotNow(f"{type(e).__name__} {e}") from None
        return done

    @property
    def operator(self) -> Operator:
        if self.whole.daemon is None:
            raise NotNow("no daemon")
        return self.whole.daemon.operator

    def fresh(self) -> None:
        """The backend is as it was on the first day."""
        self.csms.unscript()
        self.csms.boot = Boot()
        self.csms.tokens = dict(KNOWN)

    # ---- drivers and vehicles

    async def _plug(self, **given: Any) -> None:
        await self.whole.sim("plug", **given)

    async def _unplug(self, **given: Any) -> None:
        await self.whole.sim("unplug", **given)

    async def _tap(self, uid: str, reader: str) -> None:
        await self.whole.sim("tap", uid=uid, reader=reader)

    async def _vehicle(self, **given: Any) -> None:
        await self.whole.sim("vehicle", **given)

    # ---- the electrical world

    async def _fault(self, outlet: int, fault: str) -> Undo:
        self.touched.add((outlet, fault))
        await self.whole.sim("fault", outlet=outlet, fault=fault)
        return lambda: self.whole.sim("fault", outlet=outlet, fault=fault, active=False)

    async def _level(self, outlet: int, level: str) -> Undo:
        await self.whole.sim("pilot", outlet=outlet, level=level)
        return lambda: self.whole.sim("pilot", outlet=outlet, level=None)

    async def _heat(self, outlet: int, celsius: float | None) -> Undo:
        await self.whole.sim("temperature", outlet=outlet, celsius=celsius)
        return lambda: self.whole.sim("temperature", outlet=outlet, celsius=25.0)

    async def _supply(self, volts: float) -> Undo:
        if not self.whole.world.volts[0]:
            raise NotNow("dark")
        await self.whole.sim("supply", volts=volts)

        async def back() -> None:
            if self.whole.world.volts == (volts,) * 3:
                await self.whole.sim("supply", volts=list(MAINS))

        return back

    # ---- life and death

    async def _power_cut(self) -> Undo:
        await self.life.take("mains")
        return lambda: self.life.give_back("mains")

    async def _daemon_dies(self) -> Undo:
        await self.life.take("daemon")
        return lambda: self.life.give_back("daemon")

    async def _daemon_leaves(self) -> Undo:
        await self.life.leave()
        return lambda: self.life.give_back("daemon")

    async def _guard_dies(self) -> Undo:
        await self.life.take("guard")
        return lambda: self.life.give_back("guard")

    async def _disk_fails(self) -> Undo:
        self.disk.fails += 1

        async def back() -> None:
            self.disk.fails -= 1

        return back

    # ---- the backend's manners

    async def _away(self) -> Undo:
        await self.csms.away()
        return self.csms.back

    async def _drop(self) -> None:
        self.csms.drop()

    async def _manners(self, action: str, kind: str, times: int) -> None:
        self.csms.script(action, MANNERS[kind], times=times)

    async def _registration(self, status: str, interval: int) -> Undo:
        self.csms.boot = Boot(status, interval)

        async def back() -> None:
            self.csms.boot = Boot()

        return back

    async def _token_becomes(self, token: str, status: str) -> Undo:
        self.csms.tokens[token] = Token(status)

        async def back() -> None:
            self.csms.tokens[token] = KNOWN[token]

        return back

    # ---- the backend's questions

    async def _remote_start(self, token: str, evse: int | None) -> None:
        await self._desk.remote_start(token, evse)

    async def _remote_stop(self, evse: int) -> None:
        running = [one for one in self.csms.books.sessions if one.open and one.place and one.place[0] == evse]
        old = self.whole.config.csms.version == ("1.6",)
        await self._desk.remote_stop(running[-1].transaction if running else 4711 if old else "4711")

    async def _unlock(self, evse: int) -> None:
        await self._desk.unlock(evse)

    async def _reset(self, hard: bool) -> None:
        await self._desk.reset(hard=hard)

    async def _availability(self, evse: int) -> Undo:
        await self._desk.change_availability(False, evse)
        return lambda: self._desk.change_availability(True, evse)

    async def _trigger(self, message: str, evse: int | None) -> None:
        if message == "MeterValues" and evse is None:
            evse = 1
        await self._desk.trigger(message, evse)

    async def _reserve(self, number: int, token: str, evse: int, seconds: float, group: str | None) -> Undo:
        until = datetime.fromtimestamp(self.csms.clock() + seconds, UTC).isoformat()
        await self._desk.reserve(number, token, until, evse, group)
        return lambda: self._desk.cancel_reservation(number)

    async def _local_list(self, version: int, entries: dict[str, str | None], full: bool) -> None:
        await self._desk.send_list(version, entries, full=full)

    async def _profile(self, place: int, profile: dict[str, Any]) -> Undo:
        await self._desk.set_profile(place, profile)
        return lambda: self._desk.clear_profiles(id=profile["chargingProfileId"])

    async def _ask(self, what: str) -> None:
        old = self.whole.config.csms.version == ("1.6",)
        sample = "MeterValueSampleInterval" if old else "SampledDataCtrlr.TxUpdatedInterval"
        match what:
            case "clear_cache":
                await self._desk.clear_cache()
            case "get":
                await self._desk.get(sample)
            case "set":
                await self._desk.set(sample, "7")
            case "local_start":
                await self.operator.start(1, None)
            case "local_stop":
                await self.operator.stop(1)
            case "card":
                await self.operator.add_card(LOCAL, "fleet")

    @property
    def _desk(self) -> Any:
        if STATION not in self.csms.stations:
            raise NotNow("the backend does not know the station yet")
        return self.csms.desk(STATION)

    # ---- the technician

    async def _clear_faults(self) -> None:
        """Every fault of every outlet is acknowledged."""
        operator = self.operator
        for one in (await operator.status())["faults"]:
            try:
                await operator.clear_fault(one["outlet"], one["fault"], "technician")
            except Refused:
                continue
