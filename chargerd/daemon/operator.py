"""What a person at the control socket sees and does, on top of the parts of a running daemon."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Protocol, TypeVar

from chargerd import __version__
from chargerd.config_schema import Config
from chargerd.core import local_list
from chargerd.core.commands import Outcome
from chargerd.core.events import (
    CachePut,
    CardsChanged,
    ClearCacheAsked,
    Event,
    Fault,
    ProfilesCleared,
    RemoteStart,
    RemoteStop,
    ResetAsked,
    ResetKind,
    TokenSeen,
    UnlockAsked,
)
from chargerd.core.moment import Moment
from chargerd.core.state import Outlet
from chargerd.core.status import HISTORY_LOST, METER_REPLACED, SET_ASIDE, Joint, joint
from chargerd.core.token import LOCAL, Standing, Token, Verdict
from chargerd.core.variables import ENTRIES
from chargerd.core.variables_table import Access, Entry, Source
from chargerd.daemon import picture, reasons
from chargerd.daemon.charger import Charger, Happened
from chargerd.daemon.clock import Clock, text_of
from chargerd.daemon.control import BadParams, Json, Refused, Tell
from chargerd.daemon.csms import LinkState
from chargerd.daemon.database import StoreFailed
from chargerd.daemon.devices import Devices
from chargerd.daemon.guard_link import GuardLink
from chargerd.daemon.store import Store
from chargerd.ocpp.outbox import Row
from hal.api import DeviceError, MeterReading

log = logging.getLogger(__name__)

LEARN = 30.0  # s to tap the card that is to be learned
CARDS_MOST = 1000
LETTERS_SHOWN = 100
SHORTEST_END = 4  # characters by which a card may be named
GOODBYE = 0.2  # s for the last answer to leave
T = TypeVar("T")


class LinkPort(Protocol):
    """What carries frames (`csms.Link`)."""

    @property
    def state(self) -> LinkState: ...
    def force(self, up: bool) -> None: ...


class Operator:
    """The `control.Api` of a daemon. `sim` calls the simulated world, if there is one; `stop(code)` leaves."""

    version = __version__

    def __init__(
        self,
        *,
        charger: Charger,
        store: Store,
        clock: Clock,
        guard: GuardLink,
        devices: Devices | None,
        link: LinkPort | None,
        config: Config,
        sim: Callable[[str, dict[str, Any]], Awaitable[Any]] | None,
        stop: Callable[[int], None],
    ) -> None:
        self._charger, self._store, self._clock, self._guard = charger, store, clock, guard
        self._devices, self._link, self._config = devices, link, config
        self._sim, self._stop = sim, stop
        self._born = clock.now()
        self._seen = charger.state
        self._since = {o.site.rank: (joint(self._seen, o.site.rank), self._born) for o in self._seen.outlets}
        self._watchers: set[Tell] = set()
        self._learned: Callable[[Token | None], None] | None = None
        self._held_down = False
        charger.watchers.add(self._happened)

    # ---- seeing

    async def status(self) -> Json:
        state, now = self._charger.state, self._clock.now()
        readings = {o.site.rank: o.live.reading for o in state.outlets}
        if self._devices is not None:
            readings |= self._devices.readings
        outlets = [
            picture.outlet(
                state,
                rank,
                self._guard.truths.get(rank),
                self._guard.notes.get(rank),
                readings[rank],
                self._stamp(since),
                now,
                self._stamp,
                self._shown(rank, readings[rank]),
                self._charger.uncommitted,
            )
            for rank, (_, since) in self._since.items()
        ]
        conversation = self._charger.conversation
        return {
            "version": self.version,
            "now": self._stamp(now),
            "station": {
                "id": self._config.station.id,
                "operative": state.operative,
                "boot": state.boot.status.value,
                "uptime": round(now.mono - self._born.mono),
                "reset": None if state.reset is None else state.reset.kind.value,
                "resets": sorted(state.resets),
            },
            "link": await self.link(),
            "guard": {
                "connected": self._guard.connected,
                "since": self._ago(self._guard.since),
                "refused": self._guard.refused or None,
                "vitals": None if self._guard.vitals is None else asdict(self._guard.vitals),
            },
            "clock": {"trusted": now.trusted, "offset": round(self._clock.offset, 3)},
            "queue": {
                "waiting": 0 if conversation is None else conversation.outbox.count,
                "dead": self._store.dead_count,
            },
            "store": {"failed": self._store.failed, "written": self._store.bytes_written},
            "devices": {} if self._devices is None else dict(self._devices.errors),
            "lobby": picture.lobby(state, now),
            "outlets": outlets,
            "faults": [{"outlet": 0, "fault": fault} for fault in sorted(state.faults)]
            + [{"outlet": outlet["rank"], "fault": fault} for outlet in outlets for fault in outlet["faults"]],
        }

    def watch(self, tell: Tell) -> Callable[[], None]:
        self._watchers.add(tell)
        return lambda: self._watchers.discard(tell)

    async def why(self) -> Json:
        state, now = self._charger.state, self._clock.now()
        return [
            reasons.why(
                state, outlet.site.rank, self._guard.truths.get(outlet.site.rank), now, self._charger.uncommitted
            )
            for outlet in state.outlets
        ]

    async def sessions(self, limit: int, since: float) -> Json:
        return [picture.session(one, text_of) for one in await _read(lambda: self._store.sessions(limit, since))]

    async def queue(self) -> Json:
        conversation = self._charger.conversation
        rows = [] if conversation is None else conversation.outbox.rows()
        letters = await _read(self._store.dead)
        return {
            "waiting": len(rows),
            "kinds": dict(Counter(row.kind for row in rows)),
            "oldest": self._row(rows[0]) if rows else None,
            "dead": len(letters),
            "letters": [self._row(row) for row in letters[-LETTERS_SHOWN:]],
        }

    async def variables(self, name: str | None) -> Json:
        facts = self._charger.facts()
        wanted = None if name is None else name.casefold()
        found = [
            self._variable(entry, facts)
            for entry in ENTRIES.values()
            if wanted is None or wanted in (entry.name, entry.key.casefold(), entry.place.casefold())
        ]
        if not found:
            raise BadParams(f"{name}: no such variable; `chargerctl variables` lists them")
        return found

    async def config(self) -> Json:
        return _plain(self._config)

    async def link(self) -> Json:
        if self._link is None:
            return None
        state, conversation = self._link.state, self._charger.conversation
        now = self._clock.now().mono
        return {
            "phase": state.phase,
            "since": self._ago(state.since),
            "attempt": state.attempt,
            "cause": state.cause,
            "last_error": state.last_error,
            "heard": None if state.heard is None else round(max(0.0, now - state.heard), 1),
            "next_try": None if state.next_try is None else round(max(0.0, state.next_try - now), 1),
            "held_down": self._held_down,
            "url": self._config.csms.url,
            "version": None if conversation is None else conversation.dialect.version,
        }

    async def cards(self) -> Json:
        cards = self._charger.state.cards
        return [{"card": Token(card.upper()).short, "group": group} for card, group in sorted(cards.items())]

    async def local_list(self) -> Json:
        state = self._charger.state
        return {
            "version": local_list.version(state),
            "enabled": state.variables.get_bool("local_list_enabled"),
            "entries": self._entries(state.local_list),
        }

    async def cache(self) -> Json:
        state = self._charger.state
        return {"enabled": state.variables.get_bool("auth_cache_enabled"), "entries": self._entries(state.cache)}

    async def reservations(self) -> Json:
        kept = sorted(self._charger.state.reservations.values(), key=lambda one: (one.outlet, one.expires))
        return [
            {
                "number": one.id,
                "card": one.token.short,
                "outlet": one.outlet,
                "group": one.group,
                "until": text_of(one.expires),
            }
            for one in kept
        ]

    # ---- doing

    async def clear_profiles(self) -> Json:
        """Whatever backend set them: another, or another version of OCPP, may not know of them."""
        count = len(self._charger.state.profiles)
        self._must_store()
        await self._ask(ProfilesCleared)
        return {"cleared": count}

    async def force_link(self, up: bool | None) -> None:
        if self._link is None:
            raise Refused("there is no backend: csms.url is none in the configuration")
        if up is not None or self._held_down:
            self._link.force(up is not False)
        self._held_down = up is False

    async def add_card(self, card: str, group: str | None) -> None:
        cards = self._charger.state.cards
        if len(cards) >= CARDS_MOST and card.casefold() not in cards:
            raise Refused(f"{CARDS_MOST} cards are kept already: remove one first")
        self._keep({**cards, card.casefold(): group})

    async def remove_card(self, card: str) -> None:
        cards, wanted = self._charger.state.cards, card.casefold()
        found = [wanted] if wanted in cards else []
        if not found and len(wanted) >= SHORTEST_END:
            found = [each for each in cards if each.endswith(wanted)]
        if not found:
            raise Refused(f"no such card: give its number, or at least the last {SHORTEST_END} characters")
        if len(found) > 1:
            raise Refused(f"{len(found)} cards end in that: give the whole number")
        self._keep({each: group for each, group in cards.items() if each != found[0]})

    async def put_in_cache(self, card: str, group: str | None, status: str) -> None:
        self._must_cache()
        self._must_store()
        self._charger.feed(CachePut(Token(card), Verdict(Standing(status), group)))

    async def clear_cache(self) -> None:
        self._must_cache()
        await self._ask(ClearCacheAsked)

    def _must_cache(self) -> None:
        if not self._charger.state.variables.get_bool("auth_cache_enabled"):
            raise Refused("the cache is switched off: AuthorizationCacheEnabled, AuthCacheCtrlr.Enabled")

    async def learn_card(self, learned: Tell) -> Json:
        if self._learned is not None:
            raise Refused("a card is being learned already: tap it, or wait until its time is over")
        self._must_store()
        late = asyncio.get_running_loop().call_later(LEARN, lambda: done(None))

        def done(token: Token | None) -> None:
            late.cancel()
            self._learned = None
            if token is None:
                learned({"card": None, "known": False, "why": f"no card was tapped within {LEARN:.0f} s"})
                return
            cards, id_ = self._charger.state.cards, token.id.casefold()
            known = id_ in cards
            try:
                if not known and len(cards) >= CARDS_MOST:
                    raise Refused(f"{CARDS_MOST} cards are kept already: remove one first")
                self._keep({id_: None, **cards})
            except Refused as e:
                learned({"card": None, "known": known, "why": str(e)})
            else:
                learned({"card": token.short, "known": known, "why": ""})

        self._learned = done
        return {"seconds": LEARN}

    async def tap(self, token: str, evse: int | None) -> None:
        evses = sorted({o.site.evse for o in self._charger.state.outlets})
        if evse is not None and evse not in evses:
            raise BadParams(f"evse: there is {', '.join(map(str, evses))}")
        self._charger.feed(TokenSeen(Token(token), evse))

    async def start(self, outlet: int, token: str | None) -> None:
        self._outlet(outlet)
        who = LOCAL if token is None else Token(token)
        if await self._ask(lambda n: RemoteStart(n, who, outlet, local=True)) is not Outcome.ACCEPTED:
            status = joint(self._charger.state, outlet)
            raise Refused(f"outlet {outlet} is {status}: it cannot start now; `chargerctl status` says why")

    async def stop(self, outlet: int) -> None:
        visit = self._outlet(outlet).visit
        if visit is None or visit.tx is None:
            raise Refused(f"no transaction runs at outlet {outlet}")
        tx = visit.tx.uid
        if await self._ask(lambda n: RemoteStop(n, tx, local=True)) is not Outcome.ACCEPTED:
            raise Refused(f"the transaction at outlet {outlet} is ending already")

    async def unlock(self, outlet: int) -> None:
        """Refused where somebody charges: who wants that ended, ends it first."""
        self._outlet(outlet)
        match await self._ask(lambda n: UnlockAsked(n, outlet)):
            case Outcome.NOT_SUPPORTED:
                raise Refused(f"outlet {outlet} has a fixed cable")
            case Outcome.ONGOING_TRANSACTION:
                raise Refused(f"a transaction runs at outlet {outlet}: chargerctl stop {outlet}")
            case Outcome.UNLOCK_FAILED if not self._guard.connected:
                raise Refused("the guard is not connected: systemctl status chargerd-guard")
            case Outcome.UNLOCK_FAILED:
                raise Refused(f"the lock of outlet {outlet} did not let go: push the plug home and try once more")

    async def clear_fault(self, outlet: int, fault: str, who: str) -> None:
        if outlet == 0:
            self._clear_own(fault, who)
            return
        faults = self._outlet(outlet).live.faults
        registers = None if self._devices is None else self._devices.registers
        if fault in faults and fault == METER_REPLACED and registers is not None:
            log.info("fault %s of outlet %d cleared by %s", fault, outlet, who)
            registers.acknowledge(outlet)
            return
        if not self._guard.connected:
            raise Refused("the guard is not connected: systemctl status chargerd-guard")
        if fault not in faults:
            raise Refused(f"outlet {outlet} has no fault {fault}; it has {', '.join(sorted(faults)) or 'none'}")
        self._guard.clear(outlet, fault, who)

    def _clear_own(self, fault: str, who: str) -> None:
        faults = self._charger.state.faults
        if fault not in faults:
            raise Refused(f"the station has no fault {fault}; it has {', '.join(sorted(faults)) or 'none'}")
        if fault not in (SET_ASIDE, HISTORY_LOST):
            raise Refused(f"{fault} ends by itself, once its cause is gone")
        log.info("fault %s cleared by %s", fault, who)
        self._charger.feed(Fault(0, fault, False))

    async def reset(self, kind: str) -> Json:
        outcome = await self._ask(lambda n: ResetAsked(n, ResetKind(kind), local=True))
        return {"outcome": outcome.value}

    async def shutdown(self) -> None:
        asyncio.get_running_loop().call_later(GOODBYE, self._stop, 0)

    async def sim(self, method: str, params: dict[str, Json]) -> Json:
        if self._sim is None:
            raise Refused("this charger's board is real: there is no simulated world behind it")
        try:
            return await self._sim(method, params)
        except DeviceError as e:
            raise Refused(str(e)) from None

    # ---- inside

    def _shown(self, rank: int, reading: MeterReading | None) -> float | None:
        """What the meter itself shows, where another register is told."""
        registers = None if self._devices is None else self._devices.registers
        if reading is None or registers is None:
            return None
        shown = registers.shown(rank, reading.energy)
        return shown if shown != reading.energy else None

    def _happened(self, happened: Happened) -> None:
        """Every step; what is shown must never disturb what is done."""
        try:
            self._follow(happened)
        except Exception:
            log.exception("a step could not be shown")
        self._seen = happened.state

    def _follow(self, happened: Happened) -> None:
        now = self._clock.now()
        for rank, (was, _) in self._since.items():
            status: Joint = joint(happened.state, rank)
            if status is not was:
                self._since[rank] = (status, now)
        if self._learned is not None and isinstance(happened.event, TokenSeen):
            self._learned(happened.event.token)
        if self._watchers:
            for body in picture.news(happened, self._seen):
                for tell in list(self._watchers):
                    tell({"at": self._stamp(now), **body})

    def _keep(self, cards: Mapping[str, str | None]) -> None:
        self._must_store()
        self._charger.feed(CardsChanged(tuple(cards.items())))

    def _must_store(self) -> None:
        if self._store.failed is not None:
            raise Refused(f"nothing can be stored at present: {self._store.failed}")

    def _outlet(self, rank: int) -> Outlet:
        count = len(self._charger.state.outlets)
        if rank > count:
            raise BadParams(f"outlet: must be {'1' if count == 1 else f'a whole number 1..{count}'}")
        return self._charger.state.outlet(rank)

    async def _ask(self, event: Callable[[int], Event]) -> Outcome:
        try:
            return (await self._charger.ask(event)).outcome
        except TimeoutError:
            raise Refused("no answer within 30 s: the disk may be stalling, see `chargerctl status`") from None

    def _entries(self, verdicts: Mapping[str, Verdict]) -> Json:
        now = self._clock.now().wall
        return [
            {
                "card": Token(card.upper()).short,
                "status": (Standing.EXPIRED if verdict.expired(now) else verdict.standing).value,
                "group": verdict.group,
                "expires": None if verdict.expires is None else text_of(verdict.expires),
            }
            for card, verdict in verdicts.items()
        ]

    def _stamp(self, at: Moment) -> str:
        return self._clock.stamp(at)

    def _ago(self, mono: float) -> str | None:
        """The stamp of a moment of this run; None for one that has not been."""
        now = self._clock.now()
        return text_of(now.wall - (now.mono - mono)) if mono else None

    def _row(self, row: Row) -> Json:
        return {"kind": row.kind, "at": self._stamp(row.at), "tx": row.tx, "seq": row.seq, "attempts": row.attempts}

    def _variable(self, entry: Entry, facts: Mapping[str, str]) -> Json:
        secret = entry.access is Access.WRITE_ONLY
        variables = self._charger.state.variables
        fact = entry.source is Source.FACT
        value = facts.get(entry.name) if fact else variables.get_text(entry.name)
        if entry.name in variables.overrides:
            origin = "set"
        elif entry.name in variables.initial:
            origin = "file"
        else:
            origin = "station" if fact else "default"
        return {
            "name": entry.name,
            "key16": entry.key or None,
            "place2": entry.place or None,
            "value": None if secret else value,
            "from": origin,
            "unit": entry.unit,
            "access": entry.access.value,
        }


async def _read(job: Callable[[], T]) -> T:
    """Read the store in a thread, because a disk may stall. Raises Refused."""
    try:
        return await asyncio.to_thread(job)
    except StoreFailed as e:
        raise Refused(str(e)) from None


def _plain(value: Any) -> Json:
    """JSON of configuration values, without those that must not show (`repr` off)."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.repr}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
