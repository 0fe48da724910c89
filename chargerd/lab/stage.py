"""What a day is played on: everything around the story, in one process or in several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chargerd.lab.csms import Csms

OUTLETS = 2
RESTARTS = (64, 65)
"""Exit codes after which a program wants to be started again."""
SETTINGS = """
[ocpp2]
"OCPPCommCtrlr.RetryBackOffWaitMinimum" = 1
"OCPPCommCtrlr.RetryBackOffRandomRange" = 0
"OCPPCommCtrlr.RetryBackOffRepeatTimes" = 0
"OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]" = 1
"SampledDataCtrlr.TxUpdatedInterval" = 2
"""
"""A station in a hurry: a day in two minutes."""


class Stage(Protocol):
    """What the day is played on. `on_news` is called with every event of the control socket's `watch`."""

    csms: Csms | None
    on_news: Callable[[Mapping[str, Any]], None]

    @property
    def starts(self) -> int:
        """How often the daemon was started; after exit code 64 or 65 the stage does it by itself."""

    async def begin(self) -> None:
        """World, guard and daemon run."""

    async def sim(self, method: str, **params: Any) -> Any:
        """A `sim.*` method of the world, which also answers without a daemon."""

    async def status(self) -> Mapping[str, Any]:
        """`status` of the control socket."""

    async def force_link(self, up: bool) -> None: ...

    async def kill_daemon(self) -> None:
        """As SIGKILL does it."""

    async def start_daemon(self) -> None: ...

    async def leave(self) -> int:
        """SIGTERM to the daemon; its exit code."""
