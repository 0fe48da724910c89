"""The guard's board against a world in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hal.api import DeviceError
from hal.sim.board import SimBoard, open_board

Make = Callable[[], SimBoard]


def sim(path: str, method: str, **params: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            return json.loads(lines.readline())["result"]


def until(board: SimBoard, condition: Callable[[], object]) -> None:
    for _ in range(500):
        board.exchange()
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_outlets_come_as_the_world_has_them(board: Make) -> None:
    socketed, tethered = board().outlets
    assert socketed.proximity is not None and socketed.lock is not None
    assert tethered.proximity is None and tethered.lock is None
    assert (socketed.second, socketed.relay, board().hold) == (None, None, 0.15)


def test_a_vehicle_charges_through_it(served: Any, board: Make) -> None:
    one = board()
    sim(served.path, "sim.plug", outlet=2, reaction=0, start_delay=0, abrupt=True, max_amps=16)
    pilot, contactor, monitor = one.outlets[1].pilot, one.outlets[1].contactor, one.outlets[1].residual
    assert monitor is not None
    pilot.pwm(0.533)
    monitor.start_test()
    until(one, monitor.test_passed)
    until(one, lambda: 5 < pilot.read().high < 7 and pilot.read().low == pytest.approx(-12, abs=0.2))
    contactor.close()
    until(one, contactor.closed)
    until(one, lambda: sim(served.path, "meter.read", outlet=2)["power"] == pytest.approx(11040))
    audit = sim(served.path, "sim.audit")["outlets"][1]
    assert audit["closed"] and not audit["unsafe"]
    one.close()
    time.sleep(0.05)
    assert sim(served.path, "sim.state")["outlets"][1]["contactor"] is False


def test_the_hardware_opens_when_the_guard_dies(served: Any, board: Make) -> None:
    one = board()
    one.outlets[1].contactor.close()
    one.outlets[1].pilot.pwm(0.3)
    until(one, one.outlets[1].contactor.closed)
    time.sleep(0.25)
    picture = sim(served.path, "sim.state")
    assert not picture["guard_alive"]
    assert not picture["outlets"][1]["contactor"] and picture["outlets"][1]["generator"] == "X1"


def test_it_finds_the_world_back_by_itself(served: Any, board: Make) -> None:
    one = board()
    one.exchange()
    served.stop(kill=True)
    with pytest.raises(DeviceError, match=r"start it: python -m hal\.sim\.serve"):
        one.exchange()
    with pytest.raises(DeviceError):
        one.exchange()
    Path(served.path).unlink()
    served.start()
    one.exchange()
    assert one.outlets[0].pilot.read().high == pytest.approx(12, abs=0.2)


def test_another_world_in_its_place_is_not_taken_for_the_old(served: Any, board: Make) -> None:
    one = board()
    assert served.stop() == 0
    served.start("--outlets", "3")
    with pytest.raises(DeviceError):
        one.exchange()
    with pytest.raises(DeviceError, match="other outlets than before"):
        one.exchange()


@pytest.mark.parametrize("path", ["", "/" + "x" * 200, "/nowhere/world.sock"])
def test_no_world_is_an_error_with_the_remedy(path: str) -> None:
    with pytest.raises(DeviceError, match=r"world\.sock|sim:/path"):
        open_board(path)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\n", b"[]\n", b'{"result":{"outlets":5}}\n', b'{"error":{"message":"no"}}\n', b"x" * 200_000, None],
)
def test_a_mad_world_is_an_error_not_a_crash(tmp_path: Path, answer: bytes | None) -> None:
    path = str(tmp_path / "mad.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    done = threading.Event()

    def act() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            if answer is not None:
                connection.sendall(answer)
            else:
                done.wait(5)

    actor = threading.Thread(target=act)
    actor.start()
    try:
        with pytest.raises(DeviceError, match="simulated world"):
            open_board(path)
    finally:
        done.set()
        actor.join(5)
        listener.close()


def test_it_is_light() -> None:
    """What the guard loads to drive a served world is neither asyncio nor the world itself."""
    heavy = "{'asyncio', 'ssl', 'logging', 'random', 'urllib', 'hal.sim.world', 'hal.sim.dispatch'}"
    code = f"import sys, hal, hal.sim.board; sys.exit(sorted({heavy} & set(sys.modules)) or 0)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, timeout=20)
    assert ended.stderr.strip() == b"" and ended.returncode == 0
