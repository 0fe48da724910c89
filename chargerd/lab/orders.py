"""What a person may order of the small CSMS, a line each, typed into the terminal where it runs.

    profile PLACE PURPOSE LIMITS [WORD=VALUE …]    as in `chargerd.lab.limits`; e.g. profile 1 tx 10A
    clear [PURPOSE] [id=] [place=] [level=]        charging profiles; without a word all of them
    schedule PLACE SECONDS [A or W]                the composite schedule
    start TOKEN [CONNECTOR] · stop TRANSACTION · reset [hard]
    call ACTION JSON                               anything else
    help

`@STATION` before an order names the station where several are connected. Profiles are those of OCPP 1.6.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chargerd.lab.limits import PURPOSES, options, profile, whole
from chargerd.lab.peer import CallFailed, Payload

if TYPE_CHECKING:
    from chargerd.lab.csms import Csms

MOST = 65_536  # characters of a line
_CALL = re.compile(r"\s*((?:@\S+\s+)?call\s+\S+)\s+(\{.*\})\s*")


async def obey(csms: Csms, line: str) -> str:
    """Carry out one order; what came of it, or what is wrong with it."""
    try:
        words = _words(line)
        if not words or words == ["help"]:
            return (__doc__ or "").partition("\n\n")[2].rstrip() if words else ""
        station = words.pop(0)[1:] if words[0].startswith("@") else _only(csms)
        if not csms.connected(station):
            raise ValueError(f"station {station} is not connected")
        return await _carry_out(csms, station, words[0] if words else "help", words[1:])
    except (ValueError, CallFailed) as e:
        return str(e)


def _words(line: str) -> list[str]:
    """As a shell splits them; but JSON is taken as it stands, with its quotation marks."""
    call = _CALL.fullmatch(line)
    return [*call[1].split(), call[2]] if call else shlex.split(line)


def _only(csms: Csms) -> str:
    here = [station for station in csms.stations if csms.connected(station)]
    if len(here) != 1:
        raise ValueError("no station is connected" if not here else f"say which: @{', @'.join(here)}")
    return here[0]


async def _carry_out(csms: Csms, station: str, order: str, words: list[str]) -> str:
    desk = csms.desk(station)
    match order, words:
        case "profile", _:
            return await desk.set_profile(*profile(words, csms.clock()))
        case "clear", _:
            return await desk.clear_profiles(**_which(words))
        case "schedule", [place, seconds, *unit]:
            return json.dumps(await desk.composite(whole(place), whole(seconds), unit[0] if unit else None))
        case "start", [token, *place]:
            return await desk.remote_start(token, whole(place[0]) if place else None)
        case "stop", [transaction]:
            old = csms.stations[station].version == "ocpp1.6"
            return await desk.remote_stop(whole(transaction) if old else transaction)
        case "reset", _:
            return await desk.reset(hard=words == ["hard"])
        case "call", [action, *rest]:
            return json.dumps(await csms.call(station, action, _json(" ".join(rest) or "{}")))
    raise ValueError(f"{' '.join([order, *words])[:80]}: no such order; try help")


def _which(words: list[str]) -> dict[str, Any]:
    names = {"id": "id", "place": "connectorId", "level": "stackLevel"}
    found: dict[str, Any] = {}
    if words and words[0] in PURPOSES:
        found["chargingProfilePurpose"] = PURPOSES[words.pop(0)]
    return found | {names[name]: whole(text) for name, text in options(words, tuple(names)).items()}


def _json(text: str) -> Payload:
    payload = json.loads(text)
    if not isinstance(payload, dict):
        raise ValueError("the payload must be a JSON object")
    return payload


class Counter:
    """Takes orders from standard input until it ends; `say` gets what came of each."""

    def __init__(self, csms: Csms, say: Callable[[str], None]) -> None:
        self._csms, self._say = csms, say
        self._rest = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> bool:
        """False: there is nobody to give orders, as under a service manager."""
        try:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        for task in self._tasks:
            task.cancel()

    def _read(self) -> None:
        """What is there: a terminal gives whole lines, a pipe may not."""
        got = os.read(sys.stdin.fileno(), MOST)
        if not got:
            self.close()
            return
        *lines, self._rest = (self._rest + got).split(b"\n")
        self._rest = self._rest[-MOST:]
        for line in lines:
            task = asyncio.get_running_loop().create_task(self._obey(line.decode(errors="replace")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _obey(self, line: str) -> None:
        if answer := await obey(self._csms, line):
            self._say(answer)
