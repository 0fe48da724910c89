"""The stage in one process: world, guard and daemon on this loop, in whatever time it keeps."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chargerd.daemon.csms import Link
from chargerd.lab.csms import Csms
from chargerd.lab.stage import OUTLETS, RESTARTS, SETTINGS
from chargerd.lab.whole import Whole


class Together:
    """`url` None: a memory link to `csms` and no socket at all; else the real link, and a control socket."""

    def __init__(self, state_dir: Path, version: str, csms: Csms | None, url: str | None) -> None:
        self.csms = csms
        self.on_news: Callable[[Mapping[str, Any]], None] = lambda news: None
        self.starts = 0
        real = url is not None
        self.whole = Whole(
            state_dir,
            csms=csms,
            version=version,
            outlets=OUTLETS,
            settings=SETTINGS,
            link=Link if real else None,
            url=url or "ws://127.0.0.1:1/ocpp",
            watchdog=math.inf if real else 0.15,  # scaled time makes a loaded machine's hiccups longer
            inline=not real,
            control=real,
        )
        self.socket = self.whole.config.control_socket
        self._minding: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self.whole.start_guard()
        await self.start_daemon()

    async def sim(self, method: str, **params: Any) -> Any:
        return await self.whole.sim(method, **params)

    async def status(self) -> Mapping[str, Any]:
        assert self.whole.daemon is not None
        found: Mapping[str, Any] = await self.whole.daemon.operator.status()
        return found

    async def force_link(self, up: bool) -> None:
        assert self.whole.daemon is not None
        await self.whole.daemon.operator.force_link(up)

    async def kill_daemon(self) -> None:
        self._unmind()
        await self.whole.kill_daemon()

    async def start_daemon(self) -> None:
        await self.whole.start_daemon()
        assert self.whole.daemon is not None
        self.whole.daemon.operator.watch(lambda news: self.on_news(news))
        self.starts += 1
        self._minding = asyncio.create_task(self._mind(self.whole.daemon.exit))

    async def leave(self) -> int:
        assert self.whole.daemon is not None
        self._unmind()
        daemon = self.whole.daemon
        daemon.leave(0)
        code = await daemon.exit
        await self.whole.stop_daemon()
        return code

    async def end(self) -> None:
        self._unmind()
        await self.whole.stop()

    async def _mind(self, exit_: asyncio.Future[int]) -> None:
        """Start it again when it asks for that."""
        if await asyncio.shield(exit_) in RESTARTS:
            await self.whole.stop_daemon()
            await self.start_daemon()

    def _unmind(self) -> None:
        if self._minding is not None:
            self._minding.cancel()
