"""sd_notify against a real datagram socket: systemd's library and the plain protocol, by path and abstract name."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargerd.daemon import notify as module
from chargerd.daemon.notify import notify, watchdog_interval


@pytest.fixture(params=["path", "abstract"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    name = f"@chargerd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name[1:] if name.startswith("@") else name)
        receiver.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


@pytest.fixture(params=["library", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    module.sender.cache_clear()
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "systemd", None)
        monkeypatch.setitem(sys.modules, "systemd.daemon", None)
    else:
        pytest.importorskip(
            "systemd.daemon", reason="systemd-python is not installed (pip install 'chargerd[systemd]')"
        )
    yield request.param
    module.sender.cache_clear()


def test_the_text_arrives(way: str, inbox: socket.socket) -> None:
    assert (module.sender() is module.plain) == (way == "plain")
    notify("READY=1\nSTATUS=2 outlets")
    notify("WATCHDOG=1")
    assert inbox.recv(4096) == b"READY=1\nSTATUS=2 outlets"
    assert inbox.recv(4096) == b"WATCHDOG=1"


def test_a_vanished_socket_stops_nothing(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("WATCHDOG=1")
    with pytest.raises(OSError):
        module.sender()("WATCHDOG=1")


def test_it_never_waits_for_a_reader(way: str, inbox: socket.socket) -> None:
    for _ in range(2000):
        notify("WATCHDOG=1")
    with pytest.raises(BlockingIOError):
        module.sender()("WATCHDOG=1")
    assert inbox.recv(4096) == b"WATCHDOG=1"


def test_started_by_hand_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    module.sender.cache_clear()
    notify("READY=1")
    assert module.sender.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", str(os.getpid() + 1), None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_interval_is_for_this_process(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == seconds
