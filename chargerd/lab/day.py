"""A day at a charger, played on a stage and watched: what should have been seen, and whether it was.

The story is written once. A `Stage` is everything around it: one process with virtual or scaled time, or three
processes and real sockets. With the small CSMS all is read on the wire; with any other backend only what the station's
own control socket tells is known, and what the small CSMS would have to do is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from chargerd.lab import limits
from chargerd.lab.books import shorten
from chargerd.lab.csms import Boot, Csms
from chargerd.lab.desk import Desk
from chargerd.lab.peer import CallFailed, Frame, StationView
from chargerd.lab.roaming import Partner, Token
from chargerd.lab.rows import ROWS, Row, Seen
from chargerd.lab.screen import Lane, Screen
from chargerd.lab.site import STATION
from chargerd.lab.stage import OUTLETS, Stage
from chargerd.lab.words import Word, of_frame, of_news

HOME, APP, PARTNER, STRANGER = "04A1B2C3D4E5F6", "APP-7F21", "04CC0011223344", "04EE9988776655"
CAR = {"max_amps": 16, "reaction": 0.3}
CHARGE = 8.0  # s of energy in each session
SOON, LATER = 10.0, 20.0  # s to wait for what comes by itself
RESERVATION, LIST = 17, 3  # as the backend numbers them
LIMIT, VOLTS = 10.0, 230.0  # A, V
HEARTBEAT, RETRY = 10, 5  # s, as the backend answers a boot
NEWS_LAG = 0.3  # s; what was seen is told on two ways, and the slower one must have arrived


class Day:
    """Play it once; `seen` then has a verdict for every row, also when the day ended early."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self.stage, self._screen, self._csms = stage, screen, stage.csms
        self._loop = asyncio.get_running_loop()
        self._words: list[Word] = []
        self._mark = 0
        self._seen: dict[str, Seen] = {}
        self._drawing = dict.fromkeys(range(1, OUTLETS + 1), False)
        stage.on_news = self._hear
        if self._csms is not None:
            self._csms.boot = Boot("Accepted", HEARTBEAT)
            self._csms.tokens |= {HOME: Token(), APP: Token()}
            self._csms.partner = Partner({PARTNER: Token(group="PARTNER")}, delay=0.3)
            self._csms.watchers.append(self._read)

    # ---- the verdict

    @property
    def seen(self) -> dict[str, Seen]:
        """Of every row; what needs the small CSMS is not asked without it, and what 2.x has not yet is not in it."""
        return {name: self._seen.get(name, self._unseen(row)) for name, row in ROWS.items()}

    def _unseen(self, row: Row) -> Seen:
        if row.small and self._csms is None:
            return Seen(None, "needs the small CSMS")
        if row.old and not self._old:
            return Seen(None, "only in OCPP 1.6")
        return Seen(False, "the day did not come so far")

    @property
    def _old(self) -> bool:
        """Does the small CSMS speak 1.6 with the station?"""
        station = None if self._csms is None else self._csms.stations.get(STATION)
        return station is not None and station.version == "ocpp1.6"

    @property
    def good(self) -> bool:
        return all(one.yes is not False for one in self.seen.values())

    # ---- the story

    async def play(self) -> None:
        """The whole day; at most three minutes of the loop's time."""
        watching = asyncio.create_task(self._watch_vehicles())
        try:
            self._screen.head()
            await self._morning()
            if await self._card():
                await self._app()
                await self._strangers_and_a_crash()
                await self._backend_away()
                await self._rejected()
            await self._evening()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _morning(self) -> None:
        self._act("The charger starts")
        await self.stage.begin()
        if self._csms is None:
            status = await self._boot_status()
            self._judge("boot", status == "accepted", f"boot {status}")
            return
        booted = await self._expect("boot", within=LATER, boot="Accepted")
        told = [await self._wait(outlet=n, status="Available") for n in range(1, OUTLETS + 1)] if booted else []
        self._judge("told", told and all(told), f"{sum(map(bool, told))} connectors Available")

    async def _card(self) -> bool:
        """False: no session came about, because the backend does not want this driver or for worse; no more follow."""
        self._act("A card: plug, tap, charge, unplug")
        await self._plug(1)
        await self._expect("plug", outlet=1, status=frozenset(("Preparing", "Occupied")))
        await self._tap(HOME)
        if self._csms is not None:
            await self._expect("card", answered="Authorize", standing="Accepted")
        elif await self._wait(3.0, refused=True):
            for name in ("start", "charging", "energy", "stop", "free", "killed", "same", "offline", "queue"):
                self._seen[name] = Seen(None, f"the backend refuses {shorten(HOME)}")
            await self._unplug(1)
            return False
        if not await self._expect("start", edge="Started", outlet=1):
            return False
        await self._expect("charging", state="Charging")
        await asyncio.sleep(CHARGE)
        registers = [word.facts["register"] for word in self._heard(edge="Updated") if "register" in word.facts]
        rising = len(registers) > 1 and registers == sorted(registers) and registers[-1] > registers[0]
        self._judge("energy", rising, " → ".join(f"{wh:.0f}" for wh in (registers[:1] + registers[-1:])) + " Wh")
        await self._unplug(1)
        ended = await self._wait(edge="Ended")
        meter = (await self._outlet(1))["energy"]
        register = None if ended is None else ended.facts.get("register")
        exact = ended is not None and register is not None and abs(register - meter) < 1
        exact = exact and ended is not None and ended.facts["reason"] == "EVDisconnected"
        told = "nothing" if register is None else f"{register:.1f} Wh"
        self._judge("stop", exact, f"told {told}, meter {meter:.1f} Wh")
        await self._expect("free", outlet=1, status="Available")
        if self._csms is not None:
            self._mark = 0
            await self._expect("heartbeat", said="Heartbeat", within=HEARTBEAT + SOON)
        return True

    async def _app(self) -> None:
        if self._csms is None:
            return
        self._act("An app: remote start and stop at EVSE 2")
        if self._old:
            await self._reserve()
        await self._plug(2)
        if not self._old:  # there it stays reserved until its driver is known
            await self._wait(outlet=2, status=frozenset(("Preparing", "Occupied")))
        self._screen.arrow(Lane.DRIVER, Lane.CSMS, "app: start")
        outcome = await self._ask(lambda desk: desk.remote_start(APP, 2))
        started = await self._wait(edge="Started", outlet=2)
        if self._old:
            kept = self._heard(outlet=2, status="Reserved") and not self._heard(outlet=2, status="Available")
            used = started is not None and started.facts.get("reservation") == RESERVATION
            self._judge("reserved", kept and used, f"Reserved, then a start of reservation {RESERVATION}")
        charging = await self._wait(state="Charging")
        tx = await self._transaction(started)
        self._judge(
            "app-start", outcome == "Accepted" and started and charging, f"{outcome}, transaction {str(tx)[:12]}"
        )
        await asyncio.sleep(CHARGE / 2)
        if self._old:
            await self._limit(tx)
        await asyncio.sleep(CHARGE / 2)
        self._screen.arrow(Lane.DRIVER, Lane.CSMS, "app: stop")
        outcome = await self._ask(lambda desk: desk.remote_stop(tx))
        ended = await self._wait(edge="Ended", tx=tx)
        reason = ended.facts["reason"] if ended else "not ended"
        self._judge("app-stop", outcome == "Accepted" and reason == "Remote", f"{outcome}, reason {reason}")
        await self._unplug(2)
        await self._wait(outlet=2, status="Available")

    async def _limit(self, tx: Any) -> None:
        """The grid is short of power: 10 A for this transaction."""
        assert self._csms is not None
        place, profile = limits.profile(["2", "tx", f"{LIMIT:g}A", f"tx={tx}"], self._csms.clock())
        before = (await self._outlet(2))["watts"]
        outcome = await self._ask(lambda desk: desk.set_profile(place, profile))
        most, watts = LIMIT * 3 * VOLTS, before
        for _ in range(int(SOON / 0.1)):
            watts = (await self._outlet(2))["watts"]
            if 0 < watts <= most * 1.01:
                break
            await asyncio.sleep(0.1)
        followed = outcome == "Accepted" and before > most and 0 < watts <= most * 1.01
        self._judge("limit", followed, f"{outcome}, {before / 1000:.1f} → {watts / 1000:.1f} kW")

    async def _reserve(self) -> None:
        """For the app's driver, who is on the way."""
        assert self._csms is not None
        until = datetime.fromtimestamp(self._csms.clock() + 600.0, UTC).isoformat(timespec="seconds")
        self._screen.arrow(Lane.DRIVER, Lane.CSMS, "app: reserve EVSE 2")
        await self._ask(lambda desk: desk.reserve(RESERVATION, APP, until, 2))
        await self._wait(outlet=2, status="Reserved")

    async def _strangers_and_a_crash(self) -> None:
        strangers = "" if self._csms is None else "A refused card, a roaming card; "
        self._act(f"{strangers}the daemon is killed while charging")
        await self._plug(1)
        card = HOME
        if self._csms is not None:
            card = PARTNER
            await self._tap(STRANGER)
            refused = await self._wait(answered="Authorize")
            shown = await self._wait(evse=True, refused=True)
            standing = refused.facts["standing"] if refused else "not asked"
            quiet = not self._heard(edge="Started")
            self._judge("refused", standing not in ("Accepted", "not asked") and shown and quiet, standing)
            self._mark = len(self._words)
        await self._tap(card)
        started = await self._wait(edge="Started")
        asked = self._csms is not None and self._csms.partner is not None and card in self._csms.partner.asked
        if self._csms is not None:
            accepted = await self._wait(answered="Authorize", standing="Accepted")
            self._judge("roaming", accepted and asked and started, f"{shorten(PARTNER)}: asked there, accepted")
        await self._wait(state="Charging")
        tx = await self._transaction(started)
        await asyncio.sleep(CHARGE)
        await self._kill()
        self._mark = len(self._words)
        await self._wait(LATER, edge="Updated")
        await self._tap(card)
        ended = await self._wait(LATER, edge="Ended")
        same = ended is not None and ended.facts["tx"] == tx and not self._heard(edge="Started")
        self._judge("same", same, f"transaction {str(tx)[:12]} goes on")
        await self._unplug(1)
        await self._wait(outlet=1, status="Available")

    async def _kill(self) -> None:
        """With the world looked at all the time: what the vehicle gets must not even dip."""
        before, opened, began = await self._outlet(1), await self._openings(1), self._loop.time()
        self._screen.note(Lane.EVSE, "daemon killed (SIGKILL)")
        await self.stage.kill_daemon()
        looks = [await self._outlet(1)]
        starting = asyncio.create_task(self._start_again())
        while not starting.done() or self._loop.time() < began + 3.0:
            looks.append(await self._outlet(1))
            await asyncio.sleep(0.1)
        await starting
        least = min(look["watts"] for look in looks)
        steady = before["watts"] > 0 and least > 0.99 * before["watts"] and all(look["contactor"] for look in looks)
        steady = steady and await self._openings(1) == opened
        away = self._loop.time() - began
        self._judge("killed", steady, f"≥ {least / 1000:.1f} kW in {len(looks)} looks over {away:.1f} s")

    async def _start_again(self) -> None:
        await asyncio.sleep(1.0)
        await self.stage.start_daemon()

    async def _backend_away(self) -> None:
        self._act("The backend is away, and comes back")
        listed = self._old and await self._send_list()
        self._screen.note(Lane.EVSE, "(nobody listens any more)")
        if self._csms is not None:
            await self._csms.away()
        else:
            await self.stage.force_link(False)
        await self._wait(evse=True, link=False)
        self._mark = len(self._words)
        energy = await self._session_alone()
        silent = not any(word.wire for word in self._words[self._mark :])
        if self._old:
            self._judge("list", listed and energy, f"version {LIST}, the cache is empty")
        self._judge("offline", energy and silent, f"session of {energy or 0:.0f} Wh, nothing on the wire")
        self._mark = len(self._words)
        back_at = 0.0
        if self._csms is not None:
            await self._csms.back()
            back_at = self._csms.clock()
        else:
            await self.stage.force_link(True)
        self._screen.note(Lane.EVSE, "(the backend listens again)")
        await self._delivered("queue", back_at)

    async def _send_list(self) -> bool:
        """From now on the driver's card is known by the list alone."""
        sent = await self._ask(lambda desk: desk.send_list(LIST, {HOME: "Accepted"}))
        return (sent, await self._ask(lambda desk: desk.clear_cache())) == ("Accepted", "Accepted")

    async def _rejected(self) -> None:
        if self._csms is None:
            return
        self._act("A soft reset, then the backend rejects the boot")
        self._csms.boot = Boot("Rejected", RETRY)
        starts = self.stage.starts
        outcome = await self._ask(lambda desk: desk.reset())
        rejected = await self._wait(LATER, boot="Rejected")
        again = self.stage.starts == starts + 1
        self._judge("reset", outcome == "Accepted" and again, f"{outcome}, started again")
        await self._quiet()
        self._mark = len(self._words)
        energy = await self._session_alone()
        said = {word.facts["said"] for word in self._words[self._mark :] if word.wire and "said" in word.facts}
        tries = len(self._heard(boot="Rejected"))
        told = f"BootNotification tried {tries + 1} times"
        self._judge("rejected", rejected and said <= {"BootNotification"}, told)
        self._judge("alone", energy, f"session of {energy or 0:.0f} Wh")
        self._csms.boot = Boot("Accepted", HEARTBEAT)
        self._mark = len(self._words)
        accepted_at = self._csms.clock()
        await self._wait(RETRY + SOON, boot="Accepted")
        await self._delivered("late", accepted_at)

    async def _evening(self) -> None:
        self._act("Orderly shutdown")
        if self._csms is not None:
            await self._quiet()
        self._screen.note(Lane.EVSE, "daemon told to end (SIGTERM)")
        code = await self.stage.leave()
        if self._csms is not None:
            gone = [await self._wait(1.0, outlet=n, status="Unavailable") for n in range(1, OUTLETS + 1)]
            self._judge("goodbye", all(gone), f"{sum(map(bool, gone))} connectors Unavailable")
        closed = self._csms is None or not self._csms.connected(STATION)
        self._screen.note(Lane.EVSE, f"link {'closed' if closed else 'still open'}, exit status {code}")
        self._judge("closed", code == 0 and closed, f"exit status {code}")
        outlets = (await self.stage.sim("audit"))["outlets"]
        closings, unsafe = (sum(one[name] for one in outlets) for name in ("closed", "unsafe"))
        self._judge("safe", not unsafe, f"closed {closings} times, {unsafe} unsafe")
        if self._csms is not None:
            await self._books(self._csms)

    async def _books(self, csms: Csms) -> None:
        told = sum(session.energy_wh or 0.0 for session in csms.books.sessions)
        metered = sum([(await self._outlet(n))["energy"] for n in range(1, OUTLETS + 1)])
        # 1.6 tells whole Wh: each outlet's first and last register may be off by less than one
        self._judge("books", abs(told - metered) < OUTLETS, f"{told:.1f} Wh told, {metered:.1f} Wh metered")
        complaints = [*csms.books.judge(), *csms.violations()]
        self._judge("judge", not complaints, complaints[0] if complaints else f"{len(csms.books.sessions)} sessions")

    # ---- scenes that occur more than once

    async def _session_alone(self) -> float | None:
        """Plug, a known card, charge, unplug, without a backend; Wh of the session, None when there was none."""
        await self._plug(1)
        await self._tap(HOME)
        charging = await self._wait(evse=True, state="Charging")
        await asyncio.sleep(CHARGE)
        await self._unplug(1)
        session = await self._wait(evse=True, session=True)
        await self._wait(evse=True, outlet=1, status="Available")
        return None if charging is None or session is None else session.facts["energy"]

    async def _delivered(self, row: str, since: float) -> None:
        """Start and end of what happened before `since` (the backend's clock) are told, in order."""
        if self._csms is None:
            await self._wait(LATER, evse=True, link=True)
            await asyncio.sleep(HEARTBEAT)  # however slow that backend is
            waiting = (await self.stage.status())["queue"]["waiting"]
            self._judge(row, not waiting, f"{waiting} messages wait")
            return
        await self._wait(LATER, edge="Ended")
        told = [word for word in self._words[self._mark :] if word.wire and "edge" in word.facts]
        edges = [word.facts["edge"] for word in told]
        late = all(word.facts.get("stamped", 0.0) < since for word in told if word.facts["edge"] != "Updated")
        whole = edges[:1] == ["Started"] and edges[-1:] == ["Ended"] and late
        self._judge(row, whole, f"{len(told)} messages, stamped before")

    async def _plug(self, outlet: int) -> None:
        self._screen.arrow(Lane.DRIVER, Lane.VEHICLE, "plugs in")
        self._screen.arrow(Lane.VEHICLE, Lane.EVSE, f"cable in {outlet}")
        await self.stage.sim("plug", outlet=outlet, **CAR)
        await self._wait(evse=True, outlet=outlet, plug="vehicle-in")

    async def _unplug(self, outlet: int) -> None:
        """As drivers do it: the vehicle stops first, then the cable comes out."""
        self._screen.arrow(Lane.DRIVER, Lane.VEHICLE, "unlocks")
        await self.stage.sim("vehicle", outlet=outlet, step="not_ready")
        await asyncio.sleep(2.0)
        self._screen.arrow(Lane.VEHICLE, Lane.EVSE, f"cable out {outlet}")
        await self.stage.sim("unplug", outlet=outlet)

    async def _tap(self, uid: str) -> None:
        self._screen.arrow(Lane.DRIVER, Lane.EVSE, f"taps card {shorten(uid)}")
        await self.stage.sim("tap", uid=uid)

    # ---- looking

    def _act(self, title: str) -> None:
        self._screen.title(title)
        self._mark = len(self._words)

    async def _boot_status(self) -> str:
        """Asked for, because the first news may have been before anybody could listen."""
        for _ in range(int(LATER)):
            status = str((await self.stage.status())["station"]["boot"])
            if status == "accepted":
                break
            await asyncio.sleep(1.0)
        return status

    async def _outlet(self, rank: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = (await self.stage.sim("state"))["outlets"][rank - 1]
        return found

    async def _openings(self, rank: int) -> int:
        return int((await self.stage.sim("audit"))["outlets"][rank - 1]["opened"])

    async def _transaction(self, started: Word | None) -> Any:
        """The backend's name of it: in 1.6 it comes with the answer."""
        if started is None or "tx" in started.facts:
            return None if started is None else started.facts["tx"]
        answer = await self._wait(answered="StartTransaction")
        return None if answer is None else answer.facts["tx"]

    async def _ask(self, what: Callable[[Desk], Awaitable[str]]) -> str:
        assert self._csms is not None
        try:
            return await what(self._csms.desk(STATION))
        except (CallFailed, ValueError) as e:
            return str(e)

    def _heard(self, *, evse: bool = False, **facts: Any) -> list[Word]:
        """What fits since the mark; on the wire where it can be read, or what the station says (`evse`)."""
        wire = self._csms is not None and not evse
        return [word for word in self._words[self._mark :] if word.wire is wire and word.fits(facts)]

    async def _wait(self, within: float = SOON, /, *, evse: bool = False, **facts: Any) -> Word | None:
        """The first of them, within so many seconds."""
        end = self._loop.time() + within
        while not (found := self._heard(evse=evse, **facts)):
            if self._loop.time() > end:
                return None
            await asyncio.sleep(0.05)
        return found[0]

    async def _quiet(self) -> None:
        """Until what is on its way has arrived, and those who listen do so again."""
        await asyncio.sleep(NEWS_LAG)

    async def _expect(self, row: str, within: float = SOON, **facts: Any) -> bool:
        word = await self._wait(within, **facts)
        self._judge(row, word, word.text if word else f"not within {within:g} s")
        return word is not None

    def _judge(self, row: str, yes: object, evidence: str) -> None:
        self._seen[row] = Seen(bool(yes), evidence)

    # ---- listening

    def _read(self, station: StationView, frame: Frame) -> None:
        word = of_frame(frame, self._loop.time())
        self._words.append(word)
        if word.text:
            up = frame.direction == "<"
            self._screen.arrow(*((Lane.EVSE, Lane.CSMS) if up else (Lane.CSMS, Lane.EVSE)), word.text)

    def _hear(self, news: Mapping[str, Any]) -> None:
        word = of_news(news, self._loop.time())
        self._words.append(word)
        if word.text:
            self._screen.note(Lane.EVSE, word.text)

    async def _watch_vehicles(self) -> None:
        """A line whenever current begins or ends to flow."""
        while True:
            await asyncio.sleep(0.5)
            if not self.stage.starts:
                continue
            for look in (await self.stage.sim("state"))["outlets"]:
                drawing = look["watts"] > 1000 if not self._drawing[look["outlet"]] else look["watts"] > 0
                if drawing != self._drawing[look["outlet"]]:
                    self._drawing[look["outlet"]] = drawing
                    self._screen.note(Lane.VEHICLE, "draws current" if drawing else "draws nothing")
