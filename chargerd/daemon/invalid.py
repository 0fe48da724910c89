"""What is left of the daemon when its configuration is wrong or its books cannot be opened: a control socket, no more.

No backend link and no permit: the outlets stay off. It stays up, so that systemd does not start it over and over, and a
technician who asks is told file, line, key and remedy. Where only the disk was at fault it ends when that works again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from chargerd import __version__
from chargerd.daemon.control import Api, ControlServer, Refused
from chargerd.errors import ConfigInvalid

log = logging.getLogger(__name__)

EXIT_AGAIN = 64  # the start-me-again of a soft reset
LOOK_AGAIN = 5.0  # s between looks whether the trouble is over


@dataclass(frozen=True, slots=True)
class Trouble:
    """`fault` as `status` names it; `code` to exit with; `run_dir` of the sockets, as far as it is known.

    `why`: what helps, where that is more than the fault's name tells.
    """

    fault: str
    what: str
    mistakes: tuple[str, ...]
    code: int
    run_dir: str | None
    why: str = ""

    @classmethod
    def of_config(cls, problem: ConfigInvalid) -> Trouble:
        mistakes = tuple(map(str, problem.problems))
        what = "the configuration is wrong"
        check = f"chargerd config --check {problem.problems[0].file}"
        why = f"{what}: correct it; {check}; systemctl restart chargerd-guard chargerd"
        return cls("ConfigInvalid", what, mistakes, os.EX_CONFIG, problem.run_dir, why)

    def __str__(self) -> str:
        return "\n".join(self.mistakes)


class Unusable:
    """Answers `status`; every other call is refused with the mistakes."""

    version = __version__

    def __init__(self, trouble: Trouble, since: float) -> None:
        self._trouble, self._since = trouble, since

    async def status(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "now": None,
            "station": {
                "id": None,
                "operative": False,
                "boot": "none",
                "uptime": round(asyncio.get_running_loop().time() - self._since),
                "reset": None,
            },
            "link": None,
            "guard": {"connected": False, "since": None, "refused": None},
            "clock": {"trusted": False, "offset": 0.0},
            "queue": {"waiting": 0, "dead": 0},
            "store": {"failed": None},
            "devices": {},
            "mistakes": list(self._trouble.mistakes),
            "lobby": None,
            "outlets": [],
            "faults": [
                {"outlet": 0, "fault": self._trouble.fault} | ({"why": self._trouble.why} if self._trouble.why else {})
            ],
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*args: Any, **more: Any) -> NoReturn:
            raise Refused(f"{self._trouble.what}: {'; '.join(self._trouble.mistakes)}")

        return refuse


async def serve_trouble(
    trouble: Trouble,
    notify: Callable[[str], None],
    watchdog: float | None,
    over: Callable[[], bool] = lambda: False,
) -> int:
    """Serve the truth until SIGTERM, then the trouble's exit code; 64, to be started again, once it is `over`.

    Without a runtime directory there is nobody to serve. `over` is asked in a thread: a disk may stall.
    """
    log.error("%s, the outlets stay off:\n%s", trouble.what, trouble)
    run_dir = Path(trouble.run_dir or os.environ.get("RUNTIME_DIRECTORY", "/run/chargerd"))
    loop = asyncio.get_running_loop()
    server = ControlServer(str(run_dir / "control.sock"), cast(Api, Unusable(trouble, loop.time())))
    try:
        await server.start()
    except OSError as e:
        log.error("%s: %s; the mistakes above are all there is to say", run_dir, e.strerror)
        return trouble.code
    leaving = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    notify(f"READY=1\nSTATUS={trouble.what}: outlets off")
    code, looking = trouble.code, asyncio.create_task(_until_over(over))
    while not leaving.is_set() and not looking.done():
        notify("WATCHDOG=1")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(leaving.wait(), min(watchdog / 3 if watchdog else LOOK_AGAIN, LOOK_AGAIN))
    if looking.done():
        log.info("that is over: to be started again")
        code = EXIT_AGAIN
    looking.cancel()
    await server.stop()
    return code


async def _until_over(over: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(over):  # noqa: ASYNC110 - a disk tells nobody that it works again
        await asyncio.sleep(LOOK_AGAIN)
