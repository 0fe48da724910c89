"""A wrong configuration: nothing half-applies, and whoever asks is told what to mend."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from chargerd.cli import show
from chargerd.cli.talk import clean
from chargerd.config import parse
from chargerd.daemon.invalid import Trouble, serve_trouble
from chargerd.daemon.store import opens
from chargerd.errors import ConfigInvalid

WRONG = '[station]\nid = "CS-1"\nmax_amps = 32\nmax_ampz = 3\n[csms]\nurl = "none"\n[guard]\nboard = "sim:/x"\n'


def problem() -> ConfigInvalid:
    with pytest.raises(ConfigInvalid) as caught:
        parse(WRONG, "chargerd.toml")
    return caught.value


async def ask(path: Path, method: str) -> dict[str, object]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
    answer: dict[str, object] = json.loads(await reader.readline())
    writer.close()
    return answer


async def test_the_socket_says_what_is_wrong_and_refuses_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_trouble(Trouble.of_config(problem()), lambda text: ready.set(), 30.0))
    await asyncio.wait_for(ready.wait(), 10)
    status = (await ask(tmp_path / "control.sock", "status"))["result"]
    assert isinstance(status, dict)
    [fault] = status["faults"]
    assert (fault["outlet"], fault["fault"]) == (0, "ConfigInvalid")
    assert [mistake.split(": ")[0] for mistake in status["mistakes"]] == ["chargerd.toml:4", "chargerd.toml"]
    shown = show.status(clean(status), show.Ink(False))
    assert "chargerd.toml:4: station.max_ampz" in shown
    assert "ConfigInvalid, station: the configuration is wrong: correct it; chargerd config --check " in shown
    refused = (await ask(tmp_path / "control.sock", "sessions"))["error"]
    assert isinstance(refused, dict)
    assert "max_ampz" in refused["message"]
    assert clean(refused["message"]) == refused["message"]  # on one line
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == os.EX_CONFIG


@pytest.mark.parametrize("broken", ["ampz = 3\n", "[[["])
async def test_it_serves_where_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigInvalid) as caught:
        parse(f'[station]\nid = "CS-1"\nrun_dir = "{tmp_path}"\n{broken}')
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_trouble(Trouble.of_config(caught.value), lambda text: ready.set(), None))
    await asyncio.wait_for(ready.wait(), 10)
    assert (await ask(tmp_path / "control.sock", "status"))["result"]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == os.EX_CONFIG


async def test_without_a_runtime_directory_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "absent"))
    assert await serve_trouble(Trouble.of_config(problem()), lambda text: None, None) == os.EX_CONFIG


async def test_books_that_cannot_be_opened_are_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chargerd.daemon.invalid.LOOK_AGAIN", 0.01)
    books = tmp_path / "state" / "chargerd.db"
    trouble = Trouble("StorageFailure", "the books cannot be opened", (f"{books}: no",), os.EX_IOERR, str(tmp_path))
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_trouble(trouble, lambda text: ready.set(), None, lambda: opens(books)))
    await asyncio.wait_for(ready.wait(), 10)
    status = (await ask(tmp_path / "control.sock", "status"))["result"]
    assert isinstance(status, dict)
    assert status["faults"] == [{"outlet": 0, "fault": "StorageFailure"}]
    assert not serving.done()
    books.parent.mkdir()
    assert await asyncio.wait_for(serving, 10) == 64
