"""What is had with the backend over all links: the version that is spoken, and what becomes of what is unfinished.

Until a backend has chosen, the station writes as was agreed last. A transaction that runs, or is not told to its end,
is offered in its own version before all others (`ocpp.versions`); a backend that has refused this `INSIST` times is
believed to have given that version up for good: then the others are offered too, and what cannot be told in the one it
chooses goes to the dead letters. With nothing unfinished, every connection is open to all versions in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from chargerd import __version__
from chargerd.config_schema import Config
from chargerd.core.events import SecurityNoticed
from chargerd.daemon.charger import Charger
from chargerd.daemon.clock import Clock
from chargerd.daemon.conversation import Conversation
from chargerd.daemon.csms import BackOff, LinkSettings, LinkState
from chargerd.daemon.endpoint import Endpoint
from chargerd.daemon.store import Batch, Loaded, Store
from chargerd.daemon.tls import Trust
from chargerd.ocpp import versions
from chargerd.ocpp.dialect import Dialect, Fold, Identity
from chargerd.ocpp.outbox import Changes, Outbox
from chargerd.ocpp.rpc import Rpc
from chargerd.ocpp.schemas import Version

log = logging.getLogger(__name__)

QUEUE_MOST = 50_000
INSIST = 10  # handshakes


class LinkPort(Protocol):
    """What carries frames (`csms.Link`)."""

    @property
    def state(self) -> LinkState: ...
    def start(self) -> None: ...
    async def stop(self) -> None: ...
    def kill(self) -> None: ...
    def send(self, frame: str) -> bool: ...
    def configure(self, settings: LinkSettings) -> None: ...
    def force(self, up: bool) -> None: ...
    def drop(self, reason: str, cause: str) -> None: ...


LinkMaker = Callable[..., LinkPort]


class Backend:
    """Made once for a run; gives the charger its conversation, and another one when the version changes."""

    _talk: Conversation

    def __init__(
        self,
        config: Config,
        charger: Charger,
        store: Store,
        clock: Clock,
        loaded: Loaded,
        fold: Fold,
        link: LinkMaker,
        message_id: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        self._config, self._charger, self._store, self._clock = config, charger, store, clock
        self._message_id = message_id
        self._trust = Trust(config.csms.ca_file)
        self._configured = tuple(filter(versions.is_version, config.csms.version))
        self._agreed = False  # with any backend, ever
        self._refused = 0  # handshakes in a row that failed for the version
        speaks, last = self._configured[0], loaded.state.get("dialect")
        if versions.is_version(last):
            self._agreed = True
            # also where it is configured no more: what waits is in its words
            speaks = last if last in self._configured or loaded.rows or self._running() else speaks
        dialect = versions.dialect_of(speaks)
        strange = {tx for tx in self._running() if tx not in fold}  # it began with another backend, or with none
        doomed = loaded.doomed | strange
        outbox = Outbox(loaded.rows, chronological=dialect.chronological, max_rows=QUEUE_MOST, doomed=doomed)
        self._offered = self._offer(speaks, outbox)
        self.link = link(
            self._settings(),
            on_open=self._opened,
            on_frame=lambda frame: self._talk.frame(frame),
            on_closed=lambda reason: self._talk.closed(),
            on_refused=self._not_spoken,
            on_security=lambda name, info: charger.feed(SecurityNoticed(name, info)),
            chance=chance,
        )
        self._talk = self._use(dialect, outbox, fold)
        charger.watchers.add(lambda happened: self._reoffer())

    # ---- the link

    def configure(self) -> None:
        """Variables were changed: the link follows them."""
        self.link.configure(self._settings())

    def _settings(self) -> LinkSettings:
        variables, csms = self._charger.state.variables, self._config.csms
        return LinkSettings(
            Endpoint(
                csms.url,
                self._config.station.id,
                self._offered,
                self.password or None,
                self._trust,
                variables.get_bool("tls_wildcards"),
                csms.proxy or None,
            ),
            BackOff(
                variables.get_int("retry_backoff_wait_minimum"),
                variables.get_int("retry_backoff_random_range"),
                variables.get_int("retry_backoff_repeat_times"),
            ),
            ping_interval=variables.get_int("websocket_ping_interval"),
            pong_timeout=csms.pong_timeout,
            open_timeout=csms.connect_timeout,
        )

    @property
    def password(self) -> str:
        """What the backend set wins over the file (A01)."""
        return self._charger.state.variables.get_text("basic_auth_password") or self._config.csms.password

    def facts(self) -> Mapping[str, str]:
        """The length of the queue as the dialects want to know it (`ocpp.v2.requests.handle`)."""
        box = self._talk.outbox
        told = {f"messages_in_queue:{tx}": str(count) for tx, count in box.by_transaction.items()}
        return {"messages_in_queue": str(box.count), **told}

    # ---- the version

    def _running(self) -> list[str]:
        """Transactions that run and were told, or will be."""
        state = self._charger.state
        visits = [state.lobby, *(outlet.visit for outlet in state.outlets)]
        return [visit.tx.uid for visit in visits if visit is not None and visit.tx is not None and visit.tx.told]

    def _offer(self, speaks: Version, outbox: Outbox) -> tuple[str, ...]:
        """Subprotocols for the next connection; what is unfinished was begun with a backend that spoke `speaks`."""
        unfinished = speaks if self._agreed and (outbox.telling or self._running()) else None
        offer = versions.offer(self._configured, unfinished)
        insists = self._refused < INSIST
        return tuple(versions.subprotocol(v) for v in offer.first + (() if insists else offer.otherwise))

    def _reoffer(self) -> None:
        offered = self._offer(self._talk.dialect.version, self._talk.outbox)
        if offered != self._offered:
            self._offered = offered
            self.configure()

    def _not_spoken(self) -> None:
        """The backend is there, but speaks nothing that was offered."""
        self._refused += 1
        self._reoffer()

    def _opened(self, subprotocol: str) -> None:
        version, spoke = versions.version_of(subprotocol), self._talk.dialect.version
        if version != spoke:
            log.info("the backend chose OCPP %s", version)
            self._switch(spoke, version)
        self._agreed, self._refused = True, 0
        self._store.submit(Batch({"dialect": version}))
        self._talk.opened(anew=version != spoke)
        self._reoffer()

    def _switch(self, spoke: Version, version: Version) -> None:
        dialect, outbox = versions.dialect_of(version), self._talk.outbox
        if versions.finishes(version, spoke) or (not self._agreed and versions.alike(version, spoke)):
            self._talk.speak(dialect, Rpc(version, self._message_id))
            return
        rows = tuple(outbox.rows())
        if rows:
            level = logging.ERROR if outbox.telling else logging.WARNING
            log.log(level, "%d messages in words of OCPP %s will not be heard: see the dead letters", len(rows), spoke)
        for tx in self._running():
            log.error("transaction %s began in OCPP %s: its end is only in the history", tx, spoke)
        outbox = Outbox(chronological=dialect.chronological, max_rows=QUEUE_MOST, doomed=self._running())
        self._talk.stop()
        self._talk = self._use(dialect, outbox, {})
        self._charger.save(Changes(dead=rows))
        self._charger.tell_faults()

    def _use(self, dialect: Dialect, outbox: Outbox, fold: Fold) -> Conversation:
        station = self._config.station
        identity = Identity(station.id, station.vendor, station.model, station.serial, station.firmware or __version__)
        rpc = Rpc(dialect.version, self._message_id)
        talk = Conversation(self._charger, dialect, rpc, outbox, self.link, self._clock, identity, fold)
        self._charger.conversation = talk
        self._charger.use_window(dialect.window)
        return talk
