"""Code of a clause taken out, to see whether the tests that are marked with the clause notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("chargerd", "hal", "hardware", "deploy", "tests", "pyproject.toml")
LIMIT = 300.0  # s for the tests of one clause


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `file` the only `old` becomes `new`."""

    clause: str
    file: str
    old: str
    new: str


def _core(clause: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(clause, f"chargerd/core/{file}.py", old, new)


def _v16(clause: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(clause, f"chargerd/ocpp/v16/{file}.py", old, new)


def _daemon(clause: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(clause, f"chargerd/daemon/{file}.py", old, new)


MUTANTS = (
    # ---- list, cache, reservations
    _core("1.6 §3.4.1", "known", "if v.accepted and not v.expired(draft.now.wall)}", "}"),
    _core("1.6 §3.4.2", "local_list", "entry.standing not in _VALID or ", ""),
    _core("1.6 §3.4.3", "known", "    if local_list.knows(state, token):\n        return", "    if 0:\n        return"),
    _core("1.6 §3.4.3", "local_list", "    if here != (verdict.standing in _VALID):\n", "    if 0:\n"),
    _core("1.6 §3.4.4", "known", "    if cached or local_list.knows(state, token):\n", "    if cached:\n"),
    _core("1.6 §4.9", "status", "        return Joint.RESERVED ", "        pass "),
    _core("1.6 §5.1", "reservation", "        _drop(draft, event.id)\n", "        pass\n"),
    _core("1.6 §5.10", "local_list", "state.list_version if state.local_list else 0", "state.list_version"),
    _core("1.6 §5.13", "reservation", "    if own is not None:\n        return _for", "    if 0:\n        return _for"),
    _core("1.6 §5.13", "reservation", "return mine or len(spare) >= promised", "return True"),
    _core("1.6 §5.13", "reservation", "one.expires <= draft.now.wall or not any", "not any"),
    _core("1.6 §5.13", "reservation", "not any(_serves(draft.state, outlet) for outlet in places)", "False"),
    _core("1.6 §5.13", "reservation", "id_ != event.id}", "True}"),
    _v16("1.6 §5.13", "transactions", '    if "reservationId" in facts:', "    if 0:"),
    _core("1.6 §5.15", "local_list", "event.version <= max(0, version(state))", "event.version < version(state)"),
    _core("1.6 §5.15", "local_list", " or len(set(ids)) < len(ids)", ""),
    _core("1.6 §7.40", "reservation", "        return Outcome.UNAVAILABLE\n", "        return Outcome.OCCUPIED\n"),
    _core("1.6 §9.1.1", "known", 'if variables.get_bool("offline_unknown_ids") else None', ""),
    _core("1.6 §9.1.2", "known", '    if not state.variables.get_bool("auth_cache_enabled"):\n', "    if 0:\n"),
    _core("1.6 §9.1.10", "known", 'if variables.get_bool("local_authorize_offline") else None', ""),
    _core("1.6 §9.2.1", "local_list", 'state.variables.get_bool("local_list_enabled") and token', "token"),
    _core("1.6 §9.2.2", "local_list", 'if len(entries) > draft.state.variables.get_int("local_list_most"):', "if 0:"),
    # ---- beginning, pulse, what is out of service, starting anew
    _core(
        "1.6 §4.2", "boot", "pause = float(_bounded(event.interval)) if event.interval > 0 else RETRY", "pause = RETRY"
    ),
    _core(
        "1.6 §4.2", "boot", "    if event.status is BootStatus.ACCEPTED:\n        if event.interval > 0:", "    if 0:"
    ),
    _v16("1.6 §4.2", "requests", " or station.boot.status in (BootStatus.PENDING, BootStatus.REJECTED)", ""),
    _core("1.6 §4.6", "boot", "        draft.do(SendHeartbeat())\n", "        pass\n"),
    _core("1.6 §9.1.8", "boot", "    if draft.state.boot.heartbeat_at is not None:\n", "    if 0:\n"),
    _core("1.6 §5.2", "availability", "Outcome.SCHEDULED if not event.operative and _busy(draft, ranks) else ", ""),
    _core("1.6 §5.2", "availability", "draft.set_outlet(rank, operative=event.operative)", "pass"),
    _core("1.6 §5.2", "durable", 'operative=row["operative"]', "operative=True"),
    _core(
        "1.6 §5.14",
        "availability",
        ":\n            stop(draft, rank, _reason(event), Cause.RESET)\n        elif",
        ":\n            pass\n        elif",
    ),
    _core("1.6 §5.14", "availability", "Reason.SOFT_RESET if event.kind is ResetKind.SOFT else Reason", "Reason"),
    _core("1.6 §9.1.20", "availability", 'draft.state.variables.get_int("reset_retries")', "2"),
    # ---- asked for from afar
    _core(
        "1.6 §5.17",
        "station",
        "draft.commands.insert(place, Answer(event.ask, outcome))",
        "draft.do(Answer(event.ask, outcome))",
    ),
    _core("1.6 §5.17", "station", "draft.do(SendStatus(event.outlet))", "draft.do(SendStatus(None))"),
    _v16("1.6 §5.17", "requests", "    if what in (Triggered.BOOT, Triggered.HEARTBEAT):\n", "    if 0:\n"),
    _v16(
        "1.6 §5.17",
        "requests",
        '    if what is None:\n        return _say("NotImplemented")',
        '    if what is None:\n        return _say("Rejected")',
    ),
    _core("1.6 §5.18", "availability", "stop(draft, event.outlet, Reason.UNLOCK, Cause.UNLOCK)", "pass"),
    _core("1.6 §5.18", "availability", "live.known and not live.locked and live.lock", "live.known and live.lock"),
    _core("1.6 §5.12", "authorize", "(Reason.REMOTE, Cause.REMOTE_STOP)", "(Reason.LOCAL, Cause.REMOTE_STOP)"),
    _v16("1.6 §5.11", "requests", "return profile.purpose is Purpose.TX and", "return"),
    _v16(
        "1.6 §5.3",
        "requests",
        '_SETTING.get(change.outcome, "NotSupported")',
        '_SETTING.get(change.outcome, "Rejected")',
    ),
    _v16(
        "1.6 §5.8",
        "requests",
        "wanted = dict.fromkeys(name.casefold() for name in asked)",
        "wanted = sorted({name.casefold() for name in asked})",
    ),
    _v16("1.6 §5.8", "requests", 'reply["unknownKey"] = unknown', "pass"),
    _v16("1.6 §9.1.7", "requests", "    if len(asked) > most:\n", "    if 0:\n"),
    # ---- the transaction
    _v16("1.6 §4.8", "transactions", '"meterStart": _register(record.reading)', '"meterStart": 0'),
    _v16("1.6 §4.10", "transactions", '"meterStop": _register(last)', '"meterStop": _register(record.begin)'),
    _v16("1.6 §4.10", "transactions", "EVDisconnected", "Local"),
    _v16("1.6 §4.9", "status", "    if faults - _WARNINGS:\n", "    if faults:\n"),
    _core("1.6 §4.9", "status", "    if finishing:", "    if 0:"),
    _core("1.6 §9.1.3", "authorize", ' and state.variables.get_bool("authorize_remote_start")', ""),
    _core("1.6 §9.1.6", "authorize", 'timeout = draft.state.variables.get_int("connection_timeout")', "timeout = 60"),
    _core("1.6 §9.1.11", "authorize", ' and state.variables.get_bool("local_pre_authorize")', ""),
    _core("1.6 §9.1.12", "authorize", "begin.energy + allowed if", "begin.energy if"),
    _core("1.6 §9.1.23", "visit", 'stays = left and not variables.get_bool("stop_on_ev_disconnect")', "stays = False"),
    _core(
        "1.6 §9.1.24", "authorize", '    elif draft.state.variables.get_bool("stop_on_invalid_id"):', "    elif True:"
    ),
    _core("1.6 §9.1.33", "visit", ' or not variables.get_bool("unlock_on_ev_disconnect")', ""),
    # ---- meter values, and how messages are repeated
    _core("1.6 §4.7", "metering", "following = (wall // interval + 1) * interval", "following = wall + interval"),
    _core("1.6 §9.1.5", "metering", "following = (wall // interval + 1) * interval", "following = wall + interval"),
    _core("1.6 §9.1.17", "metering", "_following(tx.started.mono, now, interval)", "now + interval"),
    _v16("1.6 §9.1.27", "transactions", "    if entry is None or record.cause not in _KEPT:\n", "    if True:\n"),
    _daemon("1.6 §9.1.18", "conversation", 'state.variables.get_int("minimum_status_duration")', "0"),
    _daemon("1.6 §9.1.31", "conversation", 'variables.get_int("transaction_attempts")', "3"),
    _daemon(
        "1.6 §9.1.32", "conversation", 'variables.get_int("transaction_retry_interval") if refused', "30 if refused"
    ),
    _daemon("1.6 §9.1.34", "backend", 'variables.get_int("websocket_ping_interval")', "30"),
    # ---- smart charging
    _core("1.6 §3.12.1", "limits", "(one.profile.purpose is Purpose.TX, one.profile.level)", "one.profile.level"),
    _core("1.6 §3.12.1", "limits", "if one.place or one.profile.level not in levels]", "]"),
    _core("1.6 §3.12.2", "profiles", "return same and new.profile.tx == old.profile.tx", "return False"),
    _core("1.6 §3.12.2", "schedule", "if profile.valid_from is not None and t < profile.valid_from:", "if 0:"),
    _core(
        "1.6 §3.12.3",
        "limits",
        "    if found is not None:\n        limits.append(Limit(Source.STATION_PROFILE",
        "    if 0:\n        limits.append(Limit(Source.STATION_PROFILE",
    ),
    _core("1.6 §3.12.6", "limits", "limits.append(Limit(Source.OFFLINE, policy.offline))", "pass"),
    _core("1.6 §5.5", "profiles", "return all(given is None or given == own", "return any(given == own"),
    _core("1.6 §5.7", "charging", "return floor(limit * 10 + _GRAIN) / 10", "return limit"),
    _core(
        "1.6 §5.7",
        "charging",
        "_down(min(most, sum(amps for amps, _, _ in each)))",
        "_down(sum(amps for amps, _, _ in each))",
    ),
    _core(
        "1.6 §5.16",
        "charging",
        "case Purpose.TX if tx is not None and profile.tx not in (None, tx.uid):",
        "case Purpose.TX if False:",
    ),
    _core(
        "1.6 §5.16.2",
        "charging",
        "_install(draft, Installed(rank, draft.now, replace(auth.profile, tx=tx.uid)), promised=True)",
        "pass",
    ),
    _core(
        "1.6 §5.16.4",
        "schedule",
        "        if profile.schedule.duration is not None and offset >= profile.schedule.duration:\n",
        "        if 0:\n",
    ),
    _core("1.6 §7.9", "schedule", "one.accepted if profile.purpose is Purpose.STATION_MAX else since", "since"),
    _core(
        "1.6 §7.10",
        "charging",
        "    if (left := running(draft.state.profiles, here)) is not draft.state.profiles:\n",
        "    if 0:\n",
    ),
    _v16(
        "1.6 §5.16",
        "requests",
        "        if tx is None:\n            return _say",
        "        if 0:\n            return _say",
    ),
)


def trial(mutant: Mutant, files: Sequence[str] = ()) -> str:
    """`noticed`, or `MISSED`, or what else came of it; `files`: where the clause's tests are (none: anywhere)."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(source, tree / part)
        file = tree / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return f"{text.count(mutant.old)} places"
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.ledgering.plugin"]
        try:
            done = subprocess.run(
                [*command, "--clause", mutant.clause, *files],
                cwd=tree,
                env=_env(tree),
                capture_output=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            return "too long"
        return {0: "MISSED", 1: "noticed", 5: "no tests"}.get(done.returncode, "broken")


def _env(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
