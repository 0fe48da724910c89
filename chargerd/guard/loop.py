"""The guard as a process: a fixed period of 20 ms on an absolute schedule, two sockets, nothing else.

Each cycle: one turn of all outlets, first of all, so that samples keep their distance; then hear at most 8 packets and
say what is due. Everything is imported and frozen before READY; the contactors are open and the pilots at X1 from
before the first packet until after the last.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hal
from chargerd.guard import latch
from chargerd.guard.desk import Guard
from chargerd.guard.lease import MAX_PACKET, Refused, encode
from chargerd.guard.setup import GuardSetup
from chargerd.guard.trouble import TroubleLog, takes
from chargerd.guard.vitals import Stopwatch, TimedBoard
from hal.api import Board, DeviceError

__all__ = ["Guard", "run"]

PERIOD = 0.020
LATE = 0.100  # s between two exchanges after which too much may have happened, whatever the hardware holds
PACKETS_A_CYCLE = 8
FEED_EVERY = 0.5
PLUG_BYTES = 6
PRIORITY = 40
EXIT_RENEW = 64  # to be started again, as after a soft reset
_MCL_CURRENT_FUTURE_ONFAULT = 1 | 2 | 4
_CAP_IPC_LOCK = 14
NO_HARDWARE = "for the bench only: with this guard dead, no hardware opens the contactors or takes the pilots to X1"
NOT_YOU = Refused("connection", "only members of the groups of chargerd may look here")


def run(
    setup: GuardSetup,
    board_moniker: str,
    socket_path: str,
    readonly_socket_path: str | None,
    latch_path: str,
    uid: int,
    build: str = "",
    notify: Callable[[str], None] = lambda text: None,
    may_look: Callable[[socket.socket], bool] = lambda caller: True,
) -> int:
    """Guard the board until SIGTERM or SIGINT; the exit code. `uid` is the only user heard on `socket_path`.

    After SIGHUP (a new version was installed), or when a newer daemon asks for it, it ends by itself with 64 as soon as
    no vehicle is connected. `build` is told to the daemon; `notify` takes sd_notify texts and never waits; `may_look`
    judges who calls at the other socket.
    """
    told = Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told.stop)
    signal.signal(signal.SIGHUP, told.renew)
    try:
        latched: latch.Latched | None = latch.read(latch_path, len(setup.outlets))
    except latch.LatchUnreadable as e:
        _tell(str(e))
        latched = None
    if served(socket_path):  # before the board: it is the other one's
        _tell(f"guard socket {socket_path}: another guard serves it; stop it first")
        return os.EX_UNAVAILABLE
    writer = latch.Writer(latch_path)
    try:
        board = hal.open(board_moniker)
    except DeviceError as e:
        _tell(str(e))
        writer.close()
        return os.EX_UNAVAILABLE
    if board.hold is None:
        _tell(NO_HARDWARE)
    try:
        epoch = _random()
        timed = TimedBoard(board, time.monotonic)
        guard = Guard(timed, setup, _random, epoch, build, writer.save, latched, time.monotonic())
        with Daemon(socket_path, uid) as daemon, Window(readonly_socket_path, may_look) as window:
            watch = Stopwatch(timed, guard.bays, setup.timing, _become_urgent(), time.monotonic)
            _keep_time(guard, timed, daemon, window, watch, notify, told)
    except DeviceError as e:
        _tell(str(e))
        return os.EX_UNAVAILABLE
    finally:
        _leave_safe(board)
        writer.close()
    return 0 if told.stopping else EXIT_RENEW


class Told:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.stopping = self.renewing = False

    def stop(self, signum: int, frame: object) -> None:
        self.stopping = True

    def renew(self, signum: int, frame: object) -> None:
        self.renewing = True


def _leave_safe(board: Board) -> None:
    try:
        board.close()
    except DeviceError as e:
        _tell(f"the board could not be told to open: {e}")


def _keep_time(
    guard: Guard,
    board: TimedBoard,
    daemon: Daemon,
    window: Window,
    watch: Stopwatch,
    notify: Callable[[str], None],
    told: Told,
) -> None:
    log = TroubleLog(_tell, takes(sys.stderr))
    holds = LATE if board.hold is None else board.hold
    guard.cycle(time.monotonic())
    guard.feel(watch.vitals(time.monotonic()))
    gc.collect()
    gc.freeze()
    gc.disable()
    watch.ready()
    notify("READY=1")
    due = fed = time.monotonic()
    while not (told.stopping or ((told.renewing or guard.leaving) and guard.vacant)):
        now = time.monotonic()
        watch.begin(now, due, PERIOD)
        if now - board.began > min(LATE, holds):
            guard.lapse(now)
        if now - board.began > holds:
            watch.paused(now)
        guard.late, guard.slow = watch.late, watch.slow
        guard.cycle(now)
        log.hear(guard.trouble, now)
        daemon.listen(guard, now)
        daemon.speak(guard, now)
        window.show(guard)
        if watch.due(now):
            guard.feel(watch.vitals(now))
        if now - fed >= FEED_EVERY:
            notify("WATCHDOG=1")
            fed = now
        watch.end()
        due = due + PERIOD if due + PERIOD > now else now + PERIOD  # a late turn is not made up for by a hurried one
        time.sleep(max(0.0, due - time.monotonic()))
    notify("STOPPING=1")


class Daemon:
    """The one daemon on the socket: right uid, one at a time, dropped when it does not read."""

    def __init__(self, path: str, uid: int) -> None:
        self._listener, self._uid = _listener(path), uid
        self._peer: socket.socket | None = None

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self._peer is not None:
            self._peer.close()

    def listen(self, guard: Guard, now: float) -> None:
        """Hear at most 8 packets, and let one caller in."""
        for _ in range(PACKETS_A_CYCLE):
            raw = None if self._peer is None else _packet(self._peer)
            if raw is None:
                break
            if not raw:
                self._drop(guard, now)
                break
            guard.hear(raw, now)
        caller = _accept(self._listener)
        if caller is None:
            return
        if self._peer is not None or _uid(caller) != self._uid:
            why = "another daemon is connected" if self._peer is not None else f"only uid {self._uid} may speak here"
            _send(caller, encode(Refused("connection", why)))
            caller.close()
            return
        self._peer = caller
        guard.connected(now)

    def speak(self, guard: Guard, now: float) -> None:
        """Send what is due; a peer whose buffer is full has stopped reading and is better off with a replay."""
        packets = guard.say()
        if self._peer is not None and not all(_send(self._peer, packet) for packet in packets):
            self._drop(guard, now)

    def _drop(self, guard: Guard, now: float) -> None:
        if self._peer is not None:
            self._peer.close()
        self._peer = None
        guard.disconnected(now)


class Window:
    """The read-only socket: anybody may call; who may look gets the truth of now, the others a word why not."""

    def __init__(self, path: str | None, may_look: Callable[[socket.socket], bool]) -> None:
        self._listener = _listener(path, 0o666) if path is not None else None
        self._may_look = may_look

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()

    def show(self, guard: Guard) -> None:
        """Serve one caller."""
        caller = _accept(self._listener) if self._listener is not None else None
        if caller is not None:
            for packet in guard.observe() if self._may_look(caller) else [encode(NOT_YOU)]:
                _send(caller, packet)
            caller.close()


def served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # more callers wait there than are let in at once
            return True
        except OSError:
            return False
    return True


def _listener(path: str, mode: int = 0o660) -> socket.socket:
    """A SEQPACKET socket at `path` for its owner and group; what an earlier run left there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        Path(path).unlink(missing_ok=True)
        listener.setblocking(False)
        listener.bind(path)
        Path(path).chmod(mode)
        listener.listen(4)
    except OSError as e:
        listener.close()
        raise DeviceError(f"guard socket {path}: {e.strerror or e}; its directory must be there and writable") from None
    return listener


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        caller, _ = listener.accept()
    except OSError:
        return None
    caller.setblocking(False)
    return caller


def _packet(peer: socket.socket) -> bytes | None:
    """One packet (cut where it is longer than any of ours), b"" at the end, None when there is none."""
    try:
        return peer.recv(MAX_PACKET + 1)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _send(to: socket.socket, packet: bytes) -> bool:
    try:
        return to.send(packet, socket.MSG_NOSIGNAL) == len(packet)
    except OSError:
        return False


def _uid(peer: socket.socket) -> int:
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def _random() -> int:
    """48 random bits, never 0."""
    return int.from_bytes(os.urandom(PLUG_BYTES)) or 1


def _become_urgent() -> bool:
    """Real-time scheduling and locked memory, as far as the system lets us; say where not. Is memory locked?"""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError as e:
        _tell(f"no real-time scheduling ({e.strerror}): give the service CAP_SYS_NICE or LimitRTPRIO={PRIORITY}")
    # With a limit, locking would make a later allocation fail; it does not bind who has the capability.
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY and not _has(_CAP_IPC_LOCK):
        _tell("memory may be swapped: give the service LimitMEMLOCK=infinity")
    elif ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_FUTURE_ONFAULT):
        _tell(f"memory may be swapped: mlockall: {os.strerror(ctypes.get_errno())}")
    else:
        return True
    return False


def _has(capability: int) -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> capability & 1)


def _tell(text: str) -> None:
    sys.stderr.write(f"chargerd-guard: {text}\n")
    sys.stderr.flush()
