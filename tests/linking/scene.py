"""One cause, from a charging session through it to another: what was said when, and what the books say in the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chargerd.cli import show
from chargerd.daemon.csms import Link
from chargerd.lab.csms import Csms
from chargerd.lab.roaming import Token
from chargerd.lab.site import STATION
from chargerd.lab.whole import Whole
from hal.sim.dispatch import outlet_state
from tests.crashing.judge import gather, judge
from tests.linking.causes import Cause
from tests.linking.certificates import Certificates
from tests.linking.deeds import MESSAGE_TIMEOUT
from tests.linking.front import Front
from tests.linking.proxy import Proxy
from tests.linking.surroundings import Surroundings

log = logging.getLogger(__name__)

CARD = "04A1B2C3"
WAIT_MINIMUM = 1  # s, RetryBackOffWaitMinimum
LOOK = 0.02
SETTINGS = f"""\
[ocpp16]
MeterValueSampleInterval = 1
LocalPreAuthorize = true
AllowOfflineTxForUnknownId = true
WebSocketPingInterval = 1
TransactionMessageAttempts = 20
TransactionMessageRetryInterval = 1
RetryBackOffWaitMinimum = {WAIT_MINIMUM}
RetryBackOffRandomRange = 0
RetryBackOffRepeatTimes = 1
[ocpp2]
"OCPPCommCtrlr.MessageTimeout[Default]" = {MESSAGE_TIMEOUT:.0f}
"SampledDataCtrlr.TxUpdatedInterval" = 1
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for what must happen: a step of the charger, a word about the cause, the way back, the last books."""

    step: float = 20.0
    word: float = 40.0
    back: float = 60.0
    books: float = 3.0


PATIENCE = Patience()


class Broken(Exception):
    """Something did not happen in its time; the text says what."""


@dataclass(slots=True)
class Outcome:
    """`noticed`: seconds from its beginning until it was said; `online`: from its end until all was told."""

    cause: str
    version: str
    said: str = ""
    noticed: float | None = None
    online: float | None = None
    told: float | None = None
    tries: int = 0
    closest: float | None = None
    resent: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    rows: int = 0
    security: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Played:
    """The scene of one cause (`causes.Scene`)."""

    def __init__(
        self,
        cause: Cause,
        version: str,
        folder: Path,
        around: Surroundings,
        certificates: Certificates | None,
        number: int,
        patience: Patience = PATIENCE,
    ) -> None:
        self._patience = patience
        self.cause, self.version, self.folder = cause, version, folder
        self.around, self._certificates = around, certificates
        self.ca_file = folder / "roots.pem"
        self.name = f"scene-{number}.test"
        self.csms = Csms()
        self.csms.tokens = {CARD: Token()}
        self.csms.patience = MESSAGE_TIMEOUT - 0.5
        self.front = Front(self.csms)
        self.outcome = Outcome(cause.name, version)
        self.loop = asyncio.get_running_loop()
        self.whole: Whole | None = None
        self._breaking: BaseException | None = None

    # ---- what a cause may do

    @property
    def certificates(self) -> Certificates:
        assert self._certificates is not None
        return self._certificates

    def configure(self, **endpoint: Any) -> None:
        link = self._link
        settings = link._settings
        assert settings.endpoint is not None
        link.configure(replace(settings, endpoint=replace(settings.endpoint, **endpoint)))

    def break_link(self, how: BaseException) -> None:
        async def connect(endpoint: Any) -> Any:
            raise how

        vars(self._link)["_connect"] = connect

    def mend_link(self) -> None:
        del vars(self._link)["_connect"]

    # ---- the play

    async def play(self) -> Outcome:
        out = self.outcome
        try:
            async with asyncio.timeout(240):
                await self._play()
        except (Broken, TimeoutError) as e:
            out.complaints.append(f"{type(e).__name__}: {e}")
        except Exception as e:
            log.exception("the scene fell over")
            out.complaints.append(f"{type(e).__name__}: {e}")
        finally:
            with contextlib.suppress(Exception):
                if self.whole is not None and self.whole.daemon is not None:
                    await self.whole.stop()
            await self.front.close()
        return out

    async def _play(self) -> None:
        cause, out = self.cause, self.outcome
        host = self.name if cause.host == "NAME" else cause.host
        self.around.zone.setdefault(self.name, ("127.0.0.1",))
        if cause.tls:
            self.front.tls = self.certificates.server(cause.tls)
        await self.front.start()
        proxy = Proxy() if cause.proxy else None
        if proxy is not None:
            await proxy.start()
        self.whole = whole = self._charger(host, "" if proxy is None else f"http://127.0.0.1:{proxy.port}")
        if proxy is not None:
            self.front.refuse, self.front.honest = proxy.stop, proxy.start  # type: ignore[method-assign]
        whole.start_guard()
        if cause.first:
            await cause.hurt(self)
        await whole.start_daemon()
        if not cause.first:
            await self._until(self._accepted, self._patience.step, "accepted")
        began = self.loop.time()
        await self._arrive("the first session")
        await asyncio.sleep(1.5)

        if not cause.first:
            began = self.loop.time()
            await cause.hurt(self)
        tries = len(self.front.tries)
        if cause.said:
            await self._until(self._says, max(self._patience.word, cause.hold), f"{cause.said!r} said")
            out.noticed = self.loop.time() - began
        out.said = await self._shown()
        await self._leave()
        await self._arrive("the second session")
        await asyncio.sleep(max(0.0, began + cause.hold - self.loop.time()))
        if not cause.said:
            out.said = await self._shown()
        out.rows = self._waiting
        self._count_tries(tries)

        healed = self.loop.time()
        await cause.heal(self)
        await self._until(self._online, self._patience.back, "online again")
        out.online = self.loop.time() - healed
        await self._until(lambda: self._accepted() and not self._waiting, self._patience.back, "everything told")
        out.told = self.loop.time() - healed
        await asyncio.sleep(1.0)
        await self._leave()
        await self._until(lambda: not self._waiting, self._patience.back, "the last session told")
        with contextlib.suppress(Broken):  # the judge says it better
            await self._until(
                lambda: not any(s.open for s in self.csms.books.sessions), self._patience.books, "closed books"
            )
        state, audit = await whole.sim("state"), await whole.sim("audit")
        out.security = [frame["type"] for frame in self.csms.stations[STATION].calls("SecurityEventNotification")]
        await whole.stop()
        if proxy is not None:
            await proxy.stop()
        self._judge(state, audit)

    def _judge(self, state: Any, audit: Any) -> None:
        out = self.outcome
        evidence = gather(self.csms, state, audit, self.folder / "chargerd.db")
        complaints = judge(evidence, 2, 0)
        out.resent = sum(session.duplicates for session in self.csms.books.sessions)
        for text in complaints:
            if any(
                word in text
                for word in ("delivered after", "back in time", "before", "after Ended", "after Stop", "open when")
            ):
                out.reordered += 1
            elif any(word in text for word in ("twice", "but not in the charger", "used for another", "again")):
                out.doubled += 1
            else:
                out.lost += 1
        out.complaints += complaints
        if self.cause.security and self.version != "1.6" and out.security.count(self.cause.security) != 1:
            out.complaints.append(f"{self.cause.security} told {out.security.count(self.cause.security)} times")
        if out.closest is not None and out.closest < WAIT_MINIMUM * 0.9:
            out.complaints.append(f"tried again after {out.closest:.2f} s: it hammers")

    # ---- what is so

    @property
    def _link(self) -> Link:
        assert self.whole is not None and self.whole.daemon is not None
        assert isinstance(self.whole.daemon.link, Link)
        return self.whole.daemon.link

    @property
    def _waiting(self) -> int:
        assert self.whole is not None and self.whole.daemon is not None
        conversation = self.whole.daemon.charger.conversation
        assert conversation is not None
        return len(conversation.outbox.rows())

    def _accepted(self) -> bool:
        view = self.csms.stations.get(STATION)
        return view is not None and view.registration == "Accepted" and self._online()

    def _online(self) -> bool:
        return self._link.state.phase == "open" and self.csms.connected(STATION)

    def _draws(self) -> bool:
        assert self.whole is not None
        self.whole.world.catch_up()
        return bool(outlet_state(self.whole.world, 1)["watts"])

    def _says(self) -> bool:
        state = self._link.state
        return self.cause.said in state.last_error and self.cause.word in ("", state.cause)

    async def _shown(self) -> str:
        """As chargerctl prints it."""
        assert self.whole is not None and self.whole.daemon is not None
        seen = await self.whole.daemon.operator.status()
        lines = show.link(seen["link"], seen["now"], show.Ink(False), seen["station"]["boot"]).splitlines()
        return lines[-1].strip() if len(lines) > 1 else lines[0]

    def _count_tries(self, before: int) -> None:
        tries = self.front.tries[before:]
        self.outcome.tries = len(tries)
        self.outcome.closest = min((new - old for old, new in itertools.pairwise(tries)), default=None)

    async def _arrive(self, which: str) -> None:
        assert self.whole is not None
        await self.whole.plug(ramp=100.0)
        await asyncio.sleep(0.5)
        await self.whole.tap(CARD)
        await self._until(self._draws, self._patience.step, f"power for {which}")

    async def _leave(self) -> None:
        assert self.whole is not None
        await self.whole.tap(CARD)
        await self._until(lambda: not self._draws(), self._patience.step, "the end of power")
        await asyncio.sleep(0.3)
        await self.whole.unplug()
        await asyncio.sleep(0.3)

    async def _until(self, what: Callable[[], bool], within: float, name: str) -> None:
        end = self.loop.time() + within
        while not what():
            if self.loop.time() > end:
                state = self._link.state if self.whole and self.whole.daemon else None
                raise Broken(
                    f"no {name} within {within:g} s; the link: {state}, waiting: {self._waiting}; {self._picture}"
                )
            await asyncio.sleep(LOOK)

    @property
    def _picture(self) -> str:
        return "" if self.whole is None else "; ".join(self.whole.picture().get("outlets", []))

    def _charger(self, host: str, proxy: str) -> Whole:
        scheme = "wss" if self.cause.tls else "ws"
        url = f"{scheme}://{host}:{self.front.port}/ocpp"
        whole = Whole(self.folder, version=self.version, settings=SETTINGS, link=Link, url=url, watchdog=2.0)
        csms = replace(whole.config.csms, connect_timeout=2.0, pong_timeout=1.0, proxy=proxy)
        if self.cause.tls:
            self.ca_file.write_bytes(self.certificates.ca_file.read_bytes())
            csms = replace(csms, ca_file=str(self.ca_file))
        whole.config = replace(whole.config, csms=csms)
        return whole
