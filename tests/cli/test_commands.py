"""chargerctl against a real socket with a daemon that only pretends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from chargerd.cli import commands, main, talk
from chargerd.daemon.control import ControlServer
from tests.daemon import api
from tests.daemon.api import FakeApi

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(str(tmp_path / "control.sock"), FakeApi())
    await server.start()
    yield server
    await server.stop()
    await asyncio.sleep(0)


@pytest.fixture
def fake(server: ControlServer) -> FakeApi:
    assert isinstance(server.api, FakeApi)
    return server.api


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*words, "--socket", str(tmp_path / "control.sock")])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("words", "done", "text"),
    [
        ("tap 04A1B2C3 --evse 1", ("tap", "04A1B2C3", 1), "tapped\n"),
        ("start 1", ("start", 1, None), "accepted\n"),
        ("clear-profiles", ("clear profiles",), "2 cleared\n"),
        ("start 1 --token CARD", ("start", 1, "CARD"), "accepted\n"),
        ("cards add 04A1 --group G", ("add", "04A1", "G"), "added\n"),
        ("cards remove 04A1", ("remove", "04A1"), "removed\n"),
        ("cache put 04A1", ("put", "04A1", None, "Accepted"), "put\n"),
        ("cache put 04A1 --group G --status Blocked", ("put", "04A1", "G", "Blocked"), "put\n"),
        ("cache clear", ("clear cache",), "cleared\n"),
        ("sim plug 1 max_amps=16", ("sim.plug", {"outlet": 1, "max_amps": 16}), "done\n"),
        ("sim temperature 1 -5", ("sim.temperature", {"outlet": 1, "celsius": -5}), "done\n"),
    ],
)
async def test_doing(fake: FakeApi, run: Run, words: str, done: tuple[object, ...], text: str) -> None:
    assert await run(*words.split()) == (0, text, "")
    assert fake.done == [done]


@pytest.mark.parametrize(("to", "up"), [("up", True), ("down", False), ("auto", None)])
async def test_forcing_the_link(
    fake: FakeApi, run: Run, to: str, up: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "FOLLOWING", 0.0)
    code, out, _ = await run("link", to)
    assert (code, fake.done) == (0, [("link", up)])
    assert out.startswith("connected for 12 min")


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ("status", "CS-0001"),
        ("sessions", "started"),
        ("queue", "2 messages wait"),
        ("cards", "…C3D4\n…E5F6"),
        ("cards list", "…C3D4\n…E5F6"),
        ("cache", "…C3D4  Blocked"),
        ("cache list", "…C3D4  Blocked"),
        ("local-list", "version 7\n…C3D4  Blocked\n…C3D4  Blocked  group F  until 20"),
        ("reservations", "17: any outlet for …C3D4 or group F until 20"),
        ("faults", "No faults."),
        ("variables HeartbeatInterval", "HeartbeatInterval = 300 s  (set)"),
        ("config", "station:\n  id: CS-0001"),
        ("reset", "accepted"),
    ],
)
async def test_seeing(fake: FakeApi, run: Run, words: str, start: str) -> None:
    code, out, err = await run(*words.split())
    assert (code, err) == (0, "")
    assert out.startswith(start)
    code, out, err = await run("--json", *words.split())
    assert (code, err) == (0, "")
    assert json.loads(out) is not None


async def test_sessions_since_a_day_as_csv(fake: FakeApi, run: Run) -> None:
    code, out, _ = await run("sessions", "--since", "2026-11-01T00:00:00+00:00", "--limit", "5", "--csv")
    assert (code, fake.done) == (0, [("sessions", 5, 1793491200.0)])
    assert out.startswith("tx,outlet,card,")


async def test_a_card_is_learned(fake: FakeApi, run: Run) -> None:
    assert await run("cards", "learn") == (0, "Tap the card within 30 s.\n…C3D4 added\n", "")
    _, out, _ = await run("cards", "learn", "--json")
    assert json.loads(out) == {"card": "…C3D4", "known": False, "why": ""}


async def test_a_refusal_says_why(fake: FakeApi, run: Run) -> None:
    assert await run("stop", "1") == (1, "", "chargerctl: no transaction runs at outlet 1\n")
    code, out, err = await run("stop", "1", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err) == {"error": {"code": -32000, "message": "no transaction runs at outlet 1"}}


async def test_the_lock_and_the_stations_own_faults(fake: FakeApi, run: Run) -> None:
    assert await run("unlock", "1") == (0, "unlocked\n", "")
    assert await run("clear", "0", "EventSetAside") == (0, "station: EventSetAside cleared\n", "")
    assert [done[:3] for done in fake.done] == [("unlock", 1), ("clear", 0, "EventSetAside")]


async def test_clearing_looks_whether_the_fault_went(fake: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await run("clear", "1", "PilotShort") == (0, "outlet 1: PilotShort cleared\n", "")
    monkeypatch.setattr(commands, "CLEARING", 0.0)
    fake.picture = api.status(faults=[{"outlet": 1, "fault": "ContactorWelded"}])
    code, _, err = await run("clear", "1", "ContactorWelded")
    assert code == 1
    assert err.endswith("is still there: the contactor is closed against its command: cut the supply, replace the "
                        "contactor; then: chargerctl clear 1 ContactorWelded\n")  # fmt: skip


async def test_every_fault_there_is_can_be_read_without_a_daemon(run: Run) -> None:
    code, out, _ = await run("faults", "--known")
    assert code == 0
    assert out.startswith("ContactorWelded: the contactor is closed against its command: cut the supply")
    code, out, _ = await run("faults", "--known", "--json")
    assert json.loads(out)[0] == {
        "fault": "ContactorWelded",
        "meaning": "the contactor is closed against its command",
        "remedy": "cut the supply, replace the contactor",
        "clears": "technician",
        "ends": "then: chargerctl clear OUTLET ContactorWelded",
    }


async def test_watching_until_chargerd_ends(fake: FakeApi, server: ControlServer, run: Run) -> None:
    async def happen() -> None:
        for _ in range(500):
            await asyncio.sleep(0.01)
            if fake.watchers:
                break
        for up in (True, False):
            fake.watchers[0]({"at": api.NOW, "kind": "link", "up": up})
        await asyncio.sleep(0.1)
        await server.stop()

    (code, out, err), _ = await asyncio.gather(run("watch", "--json"), happen())
    assert [json.loads(line)["up"] for line in out.splitlines()] == [True, False]
    assert code == 3
    assert "unreachable" in err


async def test_what_others_said_does_not_steer_the_terminal(fake: FakeApi, run: Run) -> None:
    fake.picture = api.status(link=api.link(phase="waiting", last_error="\x1b[2J\r\ngone\u202e"))
    _, out, _ = await run("status")
    assert "last error: �[2J��gone�" in out


@pytest.mark.parametrize("words", [[], ["nonsense"], ["start"], ["start", "one"], ["sessions", "--since", "soon"]])
def test_wrongly_typed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage: chargerctl" in capsys.readouterr().err


def test_a_date_says_how_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sessions", "--since", "soon"])
    assert "soon: no date; write it like 2026-11-01" in capsys.readouterr().err


async def test_a_form_the_world_does_not_have(run: Run) -> None:
    code, _, err = await run("sim", "dance")
    assert (code, "plug" in err) == (2, True)


async def test_the_link_of_a_charger_that_could_not_start(fake: FakeApi, run: Run) -> None:
    fake.picture = {**api.status(), "station": {"id": None}, "link": None}
    assert await run("link") == (1, "", "chargerctl: chargerd could not start; `chargerctl status` says why\n")


# ---- nobody there


async def test_no_socket_says_what_to_check(run: Run, tmp_path: Path) -> None:
    code, out, err = await run("queue")
    assert (code, out) == (3, "")
    assert str(tmp_path / "control.sock") in err and "systemctl status chargerd" in err and "--socket" in err
    assert (await run("status"))[0] == 3


async def test_a_dead_socket_says_so(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    code, _, err = await run("queue")
    assert (code, "journalctl -u chargerd" in err) == (3, True)


async def test_the_place_of_the_socket_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGERD_SOCKET", "/somewhere/else.sock")
    assert commands.parser().parse_args(["status"]).socket == "/somewhere/else.sock"
    assert commands.parser().parse_args(["--socket", "/x", "status"]).socket == "/x"


async def test_a_daemon_that_hangs_is_not_waited_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "STATUS_ANSWER", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "control.sock"))
        mute.listen()
        code, _, err = await run("status")
    assert (code, "does not answer" in err) == (3, True)


async def test_without_a_daemon_the_guard_is_asked(run: Run, tmp_path: Path) -> None:
    truth = {"t": "truth", "outlet": 1, "pilot": "B", "closed": False, "offered": 0.0, "limit": "lease", "faults": []}
    truth["lease"] = 0.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
        guard.bind(str(tmp_path / "guard-ro.sock"))
        guard.listen()

        def serve() -> None:
            for _ in range(2):
                caller, _ = guard.accept()
                with caller:
                    for packet in ({"t": "welcome", "version": 1}, truth):
                        caller.send(json.dumps(packet).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        code, out, _ = await run("status")
        assert code == 3
        assert "Outlet 1  pilot B, contactor open" in out and "no control socket" in out
        code, out, _ = await run("status", "--json")
        assert (code, json.loads(out)["guard"]) == (3, [truth])
        thread.join(5)


async def test_how_the_guard_does_is_asked_of_the_daemon_and_else_of_the_guard(fake: FakeApi, run: Run) -> None:
    code, _, err = await run("guard")
    assert code == 3 and "systemctl status chargerd-guard" in err
    fake.picture["guard"]["vitals"] = api.vitals()
    code, out, _ = await run("guard")
    assert code == 0 and out.startswith("Guard up 3 h 12 min · real-time")


async def test_how_the_guard_does_is_known_without_a_daemon(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
        guard.bind(str(tmp_path / "guard-ro.sock"))
        guard.listen()

        def serve() -> None:
            caller, _ = guard.accept()
            with caller:
                for packet in ({"t": "truth"}, {"t": "vitals", **api.vitals(missed=17)}):
                    caller.send(json.dumps(packet).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        code, out, _ = await run("guard")
        assert code == 0 and "17 missed" in out
        thread.join(5)


def test_a_guard_that_talks_nonsense_is_no_guard(tmp_path: Path) -> None:
    path = tmp_path / "guard-ro.sock"
    assert talk.guard_words(path) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as guard:
        guard.bind(str(path))
        guard.listen()

        def serve() -> None:
            for packet in (b"nonsense", b"[]", b"{}", b"5"):
                caller, _ = guard.accept()
                with caller:
                    caller.send(packet)

        thread = threading.Thread(target=serve)
        thread.start()
        assert [talk.guard_words(path) for _ in range(4)] == [None] * 4
        thread.join(5)


# ---- as a program


def test_it_starts_light() -> None:
    heavy = (
        "asyncio",
        "sqlite3",
        "ssl",
        "ocpp",
        "websockets",
        "chargerd.core",
        "chargerd.daemon",
        "hal",
        "typing_extensions",
    )
    script = f"import sys, chargerd.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"


def test_a_locale_that_lacks_a_sign_is_no_reason_to_fail() -> None:
    code = "from chargerd.cli import main; main(['sim', '--help'])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "pilot OUTLET A?F|none" in done.stdout
