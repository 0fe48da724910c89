"""The guard as a process, in front of the simulated world as another one: sockets, signals, watchdog, rights."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import pytest

from chargerd.guard import loop
from chargerd.guard.lease import (
    ClearFault,
    Event,
    Hello,
    Indicate,
    Kind,
    Leave,
    Lock,
    Measured,
    Notes,
    Permit,
    Refused,
    Replay,
    Service,
    Truth,
    Vitals,
    Welcome,
    Word,
    decode,
    encode,
)
from chargerd.lab.site import configuration
from tests.guard.place import GUARD, Place, wait_for


def hear(peer: socket.socket) -> Word:
    return decode(peer.recv(600))


def hear_until(peer: socket.socket, kind: Kind) -> Event:
    end = time.monotonic() + 15
    while time.monotonic() < end:
        word = hear(peer)
        if isinstance(word, Event) and word.kind is kind:
            return word
    raise AssertionError(f"no {kind}")


BUG = """
from chargerd.guard import rules
step = rules.step
def wrong(setup, state, *rest):
    if state.power:
        raise ArithmeticError("a bug under load")
    return step(setup, state, *rest)
rules.step = wrong
import sys
from hal.sim.board import SimBoard
leave = SimBoard.close
def noted(board):
    leave(board)
    sys.stderr.write(f"left with {[line.command[:2] for line in board._lines]}\\n")
SimBoard.close = noted
"""


def test_a_bug_under_load_opens_and_ends_the_process_for_all_to_see(place: Place) -> None:
    place.world()
    guard = place.start("-c", BUG + GUARD, str(place.folder), str(os.getuid()))
    wait_for(lambda: "READY=1" in place.notes())
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        daemon.send(encode(Replay(0, 0)))
        place.sim("sim.plug", outlet=1)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        daemon.send(encode(Permit(1, arrived.plug, 16.0)))
        assert guard.wait(10) == 1
    told = guard.communicate()[1]
    assert b"ArithmeticError: a bug under load" in told
    assert b"left with [(1.0, False), (1.0, False)]" in told
    state = json.dumps(place.sim("sim.state"))
    assert '"closed": true' not in state
    assert '"closed": 1' in json.dumps(place.sim("sim.audit"))


SOFTWARE_ONLY = """
from hal.sim import board
opened = board.open_board
def software_only(path):
    made = opened(path)
    made.hold = None
    return made
board.open_board = software_only
"""


@pytest.mark.parametrize("before", ["", SOFTWARE_ONLY])
def test_a_board_that_would_not_open_by_itself_is_told_of(place: Place, before: str) -> None:
    place.world()
    guard = place.start("-c", before + GUARD, str(place.folder), str(os.getuid()))
    wait_for(lambda: "READY=1" in place.notes())
    guard.terminate()
    told = guard.communicate(timeout=10)[1]
    assert (b"for the bench only: with this guard dead" in told) is bool(before)


def test_a_session_through_the_world(place: Place) -> None:
    place.world()
    guard = place.guard()
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        welcome = hear(daemon)
        assert isinstance(welcome, Welcome)
        assert (welcome.build, welcome.outlets) == ("b7", 2)
        daemon.send(encode(Replay(welcome.epoch, 0)))
        place.sim("sim.plug", outlet=2, cable_amps=20)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        daemon.send(encode(Permit(2, arrived.plug, 32.0)))
        hear_until(daemon, Kind.LOCKED)
        hear_until(daemon, Kind.POWER_ON)
        with place.connect("truth.sock") as visitor:
            assert isinstance(hear(visitor), Welcome)
            one, _, truth, notes, vitals = (hear(visitor) for _ in range(5))
            assert visitor.recv(600) == b""
        assert isinstance(vitals, Vitals)
        assert isinstance(truth, Truth) and isinstance(one, Truth)
        assert notes == Notes(2, 3, False)
        assert (truth.outlet, truth.closed, truth.offered, truth.limit, truth.locked) == (2, True, 20.0, "cable", True)
        with place.connect() as second:
            assert hear(second) == Refused("connection", "another daemon is connected")
    guard.send_signal(signal.SIGTERM)
    assert guard.wait(5) == 0
    audit = json.dumps(place.sim("sim.audit"))
    assert '"unsafe": 0' in audit
    assert place.notes()[0] == "READY=1"
    assert place.notes().count("WATCHDOG=1") >= 2
    assert place.notes()[-1] == "STOPPING=1"


def test_a_newer_guard_may_take_over_once_the_vehicle_has_left(place: Place) -> None:
    place.world()
    guard = place.guard()
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        daemon.send(encode(Replay(0, 0)))
        place.sim("sim.plug", outlet=1)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        daemon.send(encode(Permit(1, arrived.plug, 16.0)))
        hear_until(daemon, Kind.POWER_ON)
        guard.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert guard.poll() is None, "a vehicle is connected"
        place.sim("sim.unplug", outlet=1)
        hear_until(daemon, Kind.VEHICLE_OUT)
        assert guard.wait(5) == loop.EXIT_RENEW
    assert place.notes()[-1] == "STOPPING=1"


def test_who_may_not_look_is_told_so(place: Place) -> None:
    place.world()
    strict = GUARD.replace('build="b7"', 'build="b7", may_look=lambda caller: False')
    place.start("-c", strict, str(place.folder), str(os.getuid()))
    wait_for(lambda: "READY=1" in place.notes())
    with place.connect("truth.sock") as visitor:
        assert hear(visitor) == loop.NOT_YOU
        assert visitor.recv(600) == b""


def test_a_daemon_that_dies_is_replaced_and_the_car_does_not_notice(place: Place) -> None:
    place.world()
    place.guard()
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        daemon.send(encode(Replay(0, 0)))
        place.sim("sim.plug", outlet=1)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        daemon.send(encode(Permit(1, arrived.plug, 16.0)))
        power = hear_until(daemon, Kind.POWER_ON)
    time.sleep(0.1)
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        welcome = hear(daemon)
        assert isinstance(welcome, Welcome)
        assert welcome.last == power.seq
        truth = hear(daemon)
        assert isinstance(truth, Truth)
        assert truth.closed


def test_a_guard_that_stood_still_does_not_close_on_an_empty_outlet(place: Place) -> None:
    place.world()
    guard = place.guard()
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        daemon.send(encode(Replay(0, 0)))
        time.sleep(0.3)
        place.sim("sim.plug", outlet=1)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        daemon.send(encode(Permit(1, arrived.plug, 16.0)))
        hear_until(daemon, Kind.POWER_ON)
        guard.send_signal(signal.SIGSTOP)
        time.sleep(0.4)  # the hardware lets go
        place.sim("sim.unplug", outlet=1)
        guard.send_signal(signal.SIGCONT)
        assert hear_until(daemon, Kind.POWER_OFF).detail == "guard-paused"
        hear_until(daemon, Kind.VEHICLE_OUT)
    audit = json.dumps(place.sim("sim.audit"))
    assert '"unsafe": 1' not in audit
    assert '"closed": 1' in audit


def test_only_the_daemons_user_is_heard(place: Place) -> None:
    place.world()
    place.guard(uid=os.getuid() + 1)
    with place.connect() as stranger:
        assert hear(stranger) == Refused("connection", f"only uid {os.getuid() + 1} may speak here")
        assert stranger.recv(600) == b""


def test_hostile_packets_and_floods_do_not_stop_it(place: Place) -> None:
    place.world()
    place.guard()
    with place.connect() as daemon:
        daemon.send(b"x" * 5000)
        assert isinstance(hear(daemon), Refused)
        daemon.settimeout(1)
        try:
            for _ in range(2000):
                daemon.send(b"[" * 100)
        except OSError:
            pass  # dropped: it never read the answers
    wait_for(lambda: fresh_welcome(place))


def fresh_welcome(place: Place) -> bool:
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        return isinstance(hear(daemon), Welcome)


def test_the_world_may_go_and_come_back_and_the_log_says_so(place: Place) -> None:
    world = place.world()
    guard = place.guard()

    def faults() -> tuple[str, ...]:
        with place.connect("truth.sock") as visitor:
            hear(visitor)
            truth = hear(visitor)
        assert isinstance(truth, Truth)
        return truth.faults

    assert faults() == ()
    world.kill()
    wait_for(lambda: faults() == ("DeviceFailure",))
    (place.folder / "world.sock").unlink()
    place.world()
    wait_for(lambda: faults() == ())
    guard.terminate()
    log = guard.communicate(timeout=10)[1].decode()
    assert log.count("start it: python -m hal.sim.serve") == 1
    assert log.index("start it") < log.index("the board answers again")


def test_no_board_is_an_error_that_says_what_to_do(place: Place) -> None:
    guard = place.guard()
    assert guard.wait(5) == os.EX_UNAVAILABLE
    assert b"hal.sim.serve" in (guard.communicate()[1])


def test_a_second_guard_leaves_the_first_one_its_board_and_socket(place: Place) -> None:
    place.world()
    first = place.guard()
    second = place.guard()
    assert second.wait(5) == os.EX_UNAVAILABLE
    assert b"another guard serves it; stop it first" in second.communicate()[1]
    assert first.poll() is None
    with place.connect("truth.sock") as visitor:
        assert hear(visitor)


def test_a_socket_that_cannot_be_made_is_an_error_that_names_it(place: Place) -> None:
    place.world()
    (place.folder / "guard.sock").mkdir()
    guard = place.guard()
    assert guard.wait(5) == os.EX_UNAVAILABLE
    assert b"guard.sock: Is a directory; its directory must be there and writable" in guard.communicate()[1]


def test_a_weld_survives_the_guard(place: Place) -> None:
    place.world()
    guard = place.guard()
    with place.connect() as daemon:
        daemon.send(encode(Hello(1, "d")))
        daemon.send(encode(Replay(0, 0)))
        place.sim("sim.plug", outlet=1)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        daemon.send(encode(Permit(1, arrived.plug, 16.0)))
        hear_until(daemon, Kind.POWER_ON)
        place.sim("sim.fault", outlet=1, fault="contactor-welded", active=True)
        place.sim("sim.unplug", outlet=1)
        assert hear_until(daemon, Kind.FAULT).detail == "ContactorWelded"
    wait_for(lambda: (place.folder / "latch").read_text() == "1 ContactorWelded\n")
    guard.kill()
    guard.wait(5)
    place.sim("sim.fault", outlet=1, fault="contactor-welded", active=False)
    (place.folder / "notes").unlink()
    place.guard()
    with place.connect("truth.sock") as visitor:
        hear(visitor)
        truth = hear(visitor)
    assert isinstance(truth, Truth)
    assert truth.faults == ("ContactorWelded",)


LOADED = """
import atexit, sys
from chargerd import main
from chargerd.daemon import notify
from chargerd.guard import rules
rules.RECLOSE = rules.REST
folder = sys.argv[1]
def told(text, how):
    global ready
    if text == "READY=1":
        ready = set(sys.modules)
    open(folder + "/notes", "a").write(text + "\\n")
def compare():
    open(folder + "/loaded", "w").write("\\n".join(sorted(set(sys.modules) - ready)))
atexit.register(compare)
notify.notify = told
sys.exit(main.main(["guard", "--config", folder + "/chargerd.toml"]))
"""


def test_nothing_is_loaded_once_it_is_ready(place: Place) -> None:
    """A whole session, every kind of packet, visitors, a weld that is latched, a world that goes, a pause, the end."""
    world = place.world()
    folder = place.folder
    text = configuration(folder, folder, url="none", version="1.6", outlets=2, world=str(folder / "world.sock"))
    text = text.replace("tethered = false", "tethered = true", 1).replace(
        "[guard]", '[guard]\nwatch_socket="truth.sock"'
    )
    (folder / "chargerd.toml").write_text(text)
    guard = place.start("-c", LOADED, str(folder))
    wait_for(lambda: "READY=1" in place.notes())
    with place.connect() as daemon:
        daemon.send(b"no word")
        daemon.send(encode(Hello(99, "far")))
        daemon.send(encode(Hello(2, "d")))
        daemon.send(encode(Replay(0, 0)))
        place.sim("sim.plug", outlet=2, cable_amps=20)
        arrived = hear_until(daemon, Kind.VEHICLE_IN)
        for word in (
            Permit(2, arrived.plug, 32.0),
            Lock(2, True),
            Measured(2, (16.0, 16.0, 16.0), (230.0, 230.0, 230.0), 11000.0, 0.1),
            Indicate(2, "charging"),
            ClearFault(2, "DiodeFault", "tech"),
            Service(1, "self-test"),
            Leave(),
        ):
            daemon.send(encode(word))
        hear_until(daemon, Kind.POWER_ON)
        with place.connect("truth.sock") as visitor:
            assert hear(visitor)
        place.sim("sim.fault", outlet=2, fault="contactor-welded", active=True)
        daemon.send(encode(Permit(2, arrived.plug, 0.0)))
        while hear_until(daemon, Kind.FAULT).detail != "ContactorWelded":
            pass
        wait_for(lambda: (place.folder / "latch").read_text() == "2 ContactorWelded\n")
        guard.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        guard.send_signal(signal.SIGCONT)
        world.kill()
        while hear_until(daemon, Kind.FAULT).detail != "DeviceFailure":
            pass
    time.sleep(0.1)
    guard.send_signal(signal.SIGTERM)
    guard.wait(5)
    assert (place.folder / "loaded").read_text().split() == []
