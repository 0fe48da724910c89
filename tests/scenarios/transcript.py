"""Transcripts: what is done to a charger, step by step, and what the backend is told of it, in a text that is the test.

    == A card, then the cable                     title
    E03.FR.01, 1.6 §4.8                           the clauses it shows
    with outlets=2 stop_on_ev_disconnect=false    the charger, and initial variables by their internal names
    - tap ann                                     a step (`_STEPS`)
        1.6  authorize ann, status 1 Preparing    what the station said then, in order; `2.x` for every later version,
        2.x  authorize ann                        an exact version where it differs from these
        all  1 locked, 1 power                    what the world shows to have changed at the end of the step; with
                                                  the flag `amps` also what the pilots offer

A line that would be empty is left out. `=…` is the station's answer to what the backend asked in the step. An event of
2.x reads `Started Authorized EVConnected @1 ann`: type, trigger, charging state, and what else it tells.

`python -m tests.scenarios.transcript FILE…` plays every step again and writes down what is said now: for a person to
read like code before it is committed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chargerd.core.variables import SETTINGS
from chargerd.lab import limits
from chargerd.lab.peer import CallFailed, Frame, Payload, Script
from chargerd.lab.roaming import Token
from chargerd.lab.whole import EPOCH
from hal.sim.pilot import offered
from tests.scenarios.round import ANN, BOB, VERSIONS, Round, play

SETTLES = 9.0  # s after a step: whatever a vehicle, a lock and a backend do about it is done
CARDS = {"ann": ANN, "bob": BOB, "cat": "04CCCCCC", "dan": "04DDDDDD", "eve": "04EEEEEE"}  # eve is unknown
FAMILY = Token(group="FAMILY")  # of cat and dan
UNTOLD = ("BootNotification", "Heartbeat", "SecurityEventNotification")
_FLAGS = ("tethered", "bays")


@dataclass(slots=True)
class Step:
    """`told` by version, exact or generic (`2.x`, `all`): the text after it."""

    text: str
    told: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Scenario:
    title: str
    clauses: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)

    @property
    def versions(self) -> list[str]:
        """Those in which it is played: all, unless one is named (`with 1.6`, `with 2.x`)."""
        named = [word for word in self.given if word[0].isdigit()]
        return [version for version in VERSIONS if not named or named[0] in (version, generic(version))]

    def expected(self, version: str) -> list[tuple[str, str, str]]:
        """Step, what was said, what the world showed."""
        return [
            (step.text, step.told.get(version, step.told.get(generic(version), "")), step.told.get("all", ""))
            for step in self.steps
        ]


def generic(version: str) -> str:
    return "1.6" if version == "1.6" else "2.x"


def parse(text: str) -> list[Scenario]:
    """The scenarios of a file. ValueError for a line that is none."""
    found: list[Scenario] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        if words.startswith("== "):
            found.append(Scenario(words[3:]))
        elif words.startswith("- "):
            found[-1].steps.append(Step(words[2:]))
        elif words.startswith("with "):
            found[-1].given = tuple(words[5:].split())
        elif not found[-1].steps:
            found[-1].clauses += tuple(clause.strip() for clause in words.split(",") if clause.strip())
        else:
            version, _, told = words.partition(" ")
            if version not in ("all", "2.x", *VERSIONS):
                raise ValueError(f"line {number}: {words}")
            found[-1].steps[-1].told[version] = told.strip()
    return found


def written(scenarios: Sequence[Scenario]) -> str:
    """The file again."""
    parts = []
    for scenario in scenarios:
        lines = [f"== {scenario.title}", ", ".join(scenario.clauses)]
        lines += [f"with {' '.join(scenario.given)}"] if scenario.given else []
        for step in scenario.steps:
            lines.append(f"- {step.text}")
            lines += [f"    {version:<5}{told}" for version, told in sorted(step.told.items()) if told]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- playing


def perform(scenario: Scenario, folder: Path, version: str) -> list[tuple[str, str, str]]:
    """What is really said at each step, as `Scenario.expected`. Raises what `play` raises."""
    options: dict[str, Any] = {name: True for name in _FLAGS if name in scenario.given}
    settings = {"sample_interval": "0"}
    for word in scenario.given:
        name, is_set, value = word.partition("=")
        if name == "outlets":
            options["outlets"] = int(value)
        elif name == "max_amps":
            options[name] = float(value)
        elif name == "readers":
            options["readers"] = tuple(int(evse) if evse != "station" else None for evse in value.split(","))
        elif is_set:
            settings[name] = value
    seen: list[tuple[str, str, str]] = []

    async def story(at: Round) -> None:
        at.csms.tokens |= {CARDS["cat"]: FAMILY, CARDS["dan"]: FAMILY}
        script = _Script(at, "amps" in scenario.given)
        for step in scenario.steps:
            seen.append((step.text, *await script.play(step.text)))

    over = "open" not in scenario.given
    play(story, folder, version, settings=_toml(settings), over=over, **options)
    return seen


def _toml(settings: Mapping[str, str]) -> str:
    named = {SETTINGS[name].place: value for name, value in settings.items() if SETTINGS[name].place}
    old = {SETTINGS[name].key: value for name, value in settings.items() if not SETTINGS[name].place}
    sections = (("ocpp2", named), ("ocpp16", old))
    return "".join(f"[{name}]\n" + "".join(f'"{k}" = "{v}"\n' for k, v in keys.items()) for name, keys in sections)


class _Script:
    def __init__(self, at: Round, amps: bool = False) -> None:
        self._at = at
        self._names = {card.casefold(): name for name, card in CARDS.items()}
        self._transactions: dict[Any, str] = {}  # the backend's name → the place of its start, or its number
        self._heard = len(at.view.wire)
        self._amps = amps
        self._world = self._look()

    async def play(self, text: str) -> tuple[str, str]:
        name, *words = text.split()
        await _STEPS[name](self._at, *words)
        await asyncio.sleep(0 if name == "wait" else SETTLES)
        wire = list(self._at.view.wire)
        fresh, self._heard = wire[self._heard :], len(wire)
        said = [line for frame in fresh if (line := self._line(frame))]
        before, self._world = self._world, self._look()
        shown = [word for old, new in zip(before, self._world, strict=True) for word in new if word not in old]
        return ", ".join(said), ", ".join(shown)

    def _look(self) -> list[tuple[str, ...]]:
        """Per outlet: the contactor, the lock, and the pilot's amperes where they are wanted."""
        return [
            (
                f"{n} {'power' if o.closed else 'no power'}",
                *(() if o.setup.tethered else (f"{n} {_lock(o.locked())}",)),
                *((f"{n} {offered(o.generator()):.1f} A",) if self._amps else ()),
            )
            for n, o in enumerate(self._at.whole.world.outlets, 1)
        ]

    def _line(self, frame: Frame) -> str:
        if frame.kind == "result" and frame.direction == "<":
            answer = frame.payload.get("setVariableResult", [{}])[0].get("attributeStatus")
            if "chargingSchedule" in frame.payload:
                return f"={_schedule(frame.payload['chargingSchedule'])}"
            running = " of the running transaction" if "transactionId" in frame.payload else ""
            return f"={frame.payload.get('status', answer)}{running}"
        if frame.kind != "call" or frame.direction != "<" or frame.action in UNTOLD:
            return ""
        return getattr(self, f"_{frame.action}", self._other)(frame.payload)

    def _other(self, payload: Payload) -> str:
        return ""

    def _token(self, text: str) -> str:
        return self._names.get(text.casefold(), text or "nobody")

    # ---- messages

    def _Authorize(self, payload: Payload) -> str:
        return f"authorize {self._token(payload.get('idTag') or payload['idToken']['idToken'])}"

    def _StatusNotification(self, payload: Payload) -> str:
        if "connectorStatus" in payload:
            return f"status {payload['evseId']} {payload['connectorStatus']}"
        words = ["status", str(payload["connectorId"]), payload["status"]]
        words += [payload["errorCode"]] if payload["errorCode"] != "NoError" else []
        words += [f'"{payload["info"]}"'] if "info" in payload else []
        return " ".join(words)

    def _StartTransaction(self, payload: Payload) -> str:
        for_ = f" reservation {payload['reservationId']}" if "reservationId" in payload else ""
        return f"start {payload['connectorId']} {self._token(payload['idTag'])}{for_}"

    def _StopTransaction(self, payload: Payload) -> str:
        session = next(s for s in reversed(self._at.csms.books.sessions) if s.transaction == payload["transactionId"])
        assert session.place is not None
        words = ["stop", str(session.place[0]), payload.get("reason", "Local")]
        words += [self._token(payload["idTag"])] if "idTag" in payload else []
        return " ".join(words)

    def _MeterValues(self, payload: Payload) -> str:
        sample = payload["meterValue"][0]["sampledValue"][0]
        return f"meter {payload.get('connectorId', payload.get('evseId'))} {sample.get('context', 'Sample.Periodic')}"

    def _TransactionEvent(self, payload: Payload) -> str:
        info = payload["transactionInfo"]
        name = self._transactions.setdefault(info["transactionId"], f"#{len(self._transactions) + 1}")
        words = [payload["eventType"], payload["triggerReason"], info["chargingState"]]
        words += [f"@{payload['evse']['id']}"] if "evse" in payload else []
        words += [self._token(payload["idToken"]["idToken"])] if "idToken" in payload else []
        words += ["remote"] if "remoteStartId" in info else []
        words += [info["stoppedReason"]] if "stoppedReason" in info else []
        words += ["offline"] if payload.get("offline") else []
        return " ".join(words if len(self._transactions) == 1 else [name, *words])


def _schedule(told: Payload) -> str:
    """As `lab.limits` writes limits, with the seconds that it covers."""
    periods = [(each["startPeriod"], each["limit"]) for each in told["chargingSchedulePeriod"]]
    text = "/".join(f"{start}:{limit:g}" if start else f"{limit:g}" for start, limit in periods)
    return f"{text}{told['chargingRateUnit']} for {told['duration']} s"


def _lock(engaged: bool | None) -> str:
    return {True: "locked", False: "unlocked", None: "lock moves"}[engaged]


# ---------------------------------------------------------------- steps


async def _tap(at: Round, name: str, reader: str = "station") -> None:
    await at.whole.sim("tap", uid=CARDS[name], reader=reader)


async def _taps(at: Round, *names: str) -> None:
    """One after the other, before anything is settled."""
    for name in names:
        await at.whole.tap(CARDS[name])
        await at.whole.sim("withdraw")
        await asyncio.sleep(0.3)


async def _plug(at: Round, outlet: str, *options: str) -> None:
    words = dict(option.split("=") for option in options)
    await at.whole.plug(int(outlet), **{name: _value(text) for name, text in words.items()})


def _value(text: str) -> Any:
    return text == "yes" if text in ("yes", "no") else int(text) if text.isdecimal() else float(text)


async def _unplug(at: Round, outlet: str, end: str = "both") -> None:
    await at.whole.sim("unplug", outlet=int(outlet), end=end)


async def _vehicle(at: Round, outlet: str, step: str) -> None:
    await at.whole.sim("vehicle", outlet=int(outlet), step=step)


async def _park(at: Round, outlet: str, taken: bool = True) -> None:
    await at.whole.sim("bay", outlet=int(outlet), occupied=taken)


async def _depart(at: Round, outlet: str) -> None:
    await _park(at, outlet, False)


async def _wait(at: Round, seconds: str) -> None:
    await asyncio.sleep(float(seconds))


async def _fault(at: Round, outlet: str, name: str, active: str = "on") -> None:
    await at.fault(name, active == "on", int(outlet))


async def _asks(ask: Awaitable[Any]) -> None:
    try:
        await ask
    except CallFailed as error:
        raise AssertionError(f"the station did not answer: {error}") from None


async def _start(at: Round, name: str, outlet: str = "", kind: str = "ISO14443") -> None:
    """The backend starts for a token, somewhere or at this outlet."""
    more = {} if at.old else {"type": kind}
    await _asks(at.desk.remote_start(CARDS.get(name, name), int(outlet) if outlet else None, **more))


async def _stop(at: Round, which: str = "1") -> None:
    """The backend stops a transaction by the order of their starts, or one that it never heard of."""
    sessions = at.csms.books.sessions
    unknown: int | str = 999 if at.old else "never-heard-of"
    await _asks(at.desk.remote_stop(unknown if which == "unknown" else sessions[int(which) - 1].transaction))


async def _unlock(at: Round, outlet: str) -> None:
    await _asks(at.desk.unlock(int(outlet)))


async def _trigger(at: Round, message: str, outlet: str = "") -> None:
    await _asks(at.desk.trigger(message, int(outlet) if outlet else None))


async def _change(at: Round, outlet: str, operative: str) -> None:
    await _asks(at.desk.change_availability(operative == "operative", int(outlet)))


async def _set(at: Round, name: str, value: str) -> None:
    entry = SETTINGS[name]
    await _asks(at.desk.set(entry.key if at.old else entry.place, value))


async def _list(at: Round, kind: str, version: str, *entries: str) -> None:
    """The backend sends its local list (full or changes): `ann=Accepted`, and `ann=` to take her off."""
    words = (entry.partition("=") for entry in entries)
    rows = {CARDS[name]: status or None for name, _, status in words}
    await _asks(at.desk.send_list(int(version), rows, full=kind == "full"))


async def _reserve(at: Round, number: str, outlet: str, name: str, seconds: str = "3600", group: str = "") -> None:
    until = datetime.fromtimestamp(EPOCH + asyncio.get_running_loop().time() + float(seconds), UTC).isoformat()
    await _asks(at.desk.reserve(int(number), CARDS[name], until, int(outlet), group or None))


async def _cancel(at: Round, number: str) -> None:
    await _asks(at.desk.cancel_reservation(int(number)))


async def _profile(at: Round, *words: str) -> None:
    """The backend sets a charging profile (`lab.limits`)."""
    await _asks(at.desk.set_profile(*limits.profile(words, at.whole.wall())))


async def _clear(at: Round, *words: str) -> None:
    """The backend clears profiles: id=, connectorId=, stackLevel=, or a purpose."""
    which: dict[str, Any] = {name: int(value) for name, value in (word.split("=") for word in words if "=" in word)}
    for purpose in (word for word in words if "=" not in word):
        which["chargingProfilePurpose"] = limits.PURPOSES[purpose]
    await _asks(at.desk.clear_profiles(**which))


async def _composite(at: Round, place: str, duration: str, unit: str = "A") -> None:
    await _asks(at.desk.composite(int(place), int(duration), unit))


async def _limited(at: Round, name: str, outlet: str, *words: str) -> None:
    """The backend starts with a charging profile."""
    _, profile = limits.profile((outlet, *words), at.whole.wall())
    await _asks(at.desk.remote_start(CARDS[name], int(outlet), chargingProfile=profile))


async def _link(at: Round, word: str) -> None:
    if word == "down":
        at.csms.absent = True
        at.csms.drop()
    else:
        at.csms.absent = False


async def _knows(at: Round, name: str, status: str) -> None:
    """The backend thinks differently of a token from now on."""
    card = CARDS.get(name, name)
    at.csms.tokens[card] = replace(at.csms.tokens.get(card, Token()), status=status)


async def _slow(at: Round, action: str, seconds: str) -> None:
    """The backend's next answer to this takes so long."""
    at.csms.script(action, Script(delay=float(seconds)))


async def _crash(at: Round) -> None:
    await at.crash()


async def _cut(at: Round) -> None:
    await at.cut()


_STEPS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "tap": _tap,
    "taps": _taps,
    "plug": _plug,
    "unplug": _unplug,
    "vehicle": _vehicle,
    "park": _park,
    "depart": _depart,
    "wait": _wait,
    "fault": _fault,
    "start": _start,
    "stop": _stop,
    "unlock": _unlock,
    "trigger": _trigger,
    "change": _change,
    "set": _set,
    "list": _list,
    "reserve": _reserve,
    "cancel": _cancel,
    "profile": _profile,
    "clear": _clear,
    "composite": _composite,
    "limited": _limited,
    "link": _link,
    "knows": _knows,
    "slow": _slow,
    "crash": _crash,
    "cut": _cut,
}


# ---------------------------------------------------------------- writing anew


def record(scenario: Scenario) -> None:
    """Replace what is expected by what is said."""
    for step in scenario.steps:
        step.told.clear()
    for version in scenario.versions:
        folder = Path(tempfile.mkdtemp(prefix="transcript-"))
        try:
            for step, (_, said, shown) in zip(scenario.steps, perform(scenario, folder, version), strict=True):
                _note(step, version, said)
                _note_world(step, shown)
        finally:
            shutil.rmtree(folder)


def _note(step: Step, version: str, said: str) -> None:
    step.told[version if step.told.setdefault(generic(version), said) != said else generic(version)] = said


def _note_world(step: Step, shown: str) -> None:
    if step.told.setdefault("all", shown) != shown:
        raise ValueError(f"{step.text}: the world shows {shown!r} in one version and {step.told['all']!r} in another")


def main(files: Sequence[str]) -> None:
    logging.disable(logging.ERROR)
    for name in files:
        scenarios = parse(Path(name).read_text(encoding="utf-8"))
        for scenario in scenarios:
            try:
                record(scenario)
            except Exception as error:
                sys.stderr.write(f"{name}: {scenario.title}: {type(error).__name__}: {error}\n")
        Path(name).write_text(written(scenarios), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
