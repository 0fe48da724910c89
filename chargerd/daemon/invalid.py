"""What is left of the daemon when its configuration is wrong: a control socket that says so, and nothing else.

No backend link and no permit: the outlets stay off. It stays up until it is stopped, so that systemd does not start
it over and over, and a technician who asks is told file, line, key and remedy.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

from chargerd import __version__
from chargerd.daemon.control import Api, ControlServer, Refused
from chargerd.errors import ConfigInvalid

log = logging.getLogger(__name__)

FAULT = "ConfigInvalid"


class Unusable:
    """Answers `status`; every other call is refused with the mistakes."""

    version = __version__

    def __init__(self, problem: ConfigInvalid, since: float) -> None:
        self._problem, self._since = problem, since

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
            "mistakes": [str(each) for each in self._problem.problems],
            "lobby": None,
            "outlets": [],
            "faults": [{"outlet": 0, "fault": FAULT}],
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*args: Any, **more: Any) -> NoReturn:
            raise Refused(f"the configuration is wrong: {self._problem}")

        return refuse


async def serve_invalid(problem: ConfigInvalid, notify: Callable[[str], None], watchdog: float | None) -> int:
    """Serve the truth until SIGTERM; the exit code. Without a runtime directory there is nobody to serve.

    It is the one that the file names, if it can be read: there `chargerctl` looks.
    """
    log.error("the configuration is wrong, the outlets stay off:\n%s", problem)
    run_dir = Path(problem.run_dir or os.environ.get("RUNTIME_DIRECTORY", "/run/chargerd"))
    loop = asyncio.get_running_loop()
    server = ControlServer(str(run_dir / "control.sock"), cast(Api, Unusable(problem, loop.time())))
    try:
        await server.start()
    except OSError as e:
        log.error("%s: %s; the mistakes above are all there is to say", run_dir, e.strerror)
        return os.EX_CONFIG
    leaving = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    notify("READY=1\nSTATUS=configuration invalid: outlets off")
    while not leaving.is_set():
        if watchdog:
            notify("WATCHDOG=1")
        try:
            await asyncio.wait_for(leaving.wait(), watchdog / 3 if watchdog else None)
        except TimeoutError:
            continue
    await server.stop()
    return os.EX_CONFIG
