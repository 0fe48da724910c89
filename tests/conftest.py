"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

JUDGE = Path(__file__).parent / "judge"


class Judge:
    """The strict peer of `tests/judge`: connect the charger to `url`, then read `reports`, a dict per line it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Event()
        self.url = ""
        self.reports: list[dict[str, Any]] = []

    @property
    def violations(self) -> list[dict[str, Any]]:
        """What strict mode found, in either direction."""
        return [report for report in self.reports if "violation" in report]

    async def received(self, action: str) -> dict[str, Any]:
        """The payload of the first call of this action that passed."""
        report = await self.until(lambda report: report.get("call") == action)
        payload: dict[str, Any] = report["payload"]
        return payload

    async def until(self, wanted: Callable[[dict[str, Any]], bool], timeout: float = 10.0) -> dict[str, Any]:
        """The first report that is wanted, past or to come; TimeoutError lists what came instead."""
        try:
            async with asyncio.timeout(timeout):
                while not (found := [report for report in self.reports if wanted(report)]):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise TimeoutError(f"not reported within {timeout} s; reported: {self.reports}") from error
        return found[0]

    async def call(self, station: str, method: str, params: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
        """Call the charger; the report holds `payload`, or `error` with the code. One call of a method per test."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"station": station, "method": method, "params": params}).encode() + b"\n")
        return await self.until(lambda report: report.get("answer") == method and report["station"] == station, timeout)

    async def listen(self) -> None:
        """Take in what it says until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.reports.append(json.loads(line))
            self._news.set()


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    """An independent OCPP 1.6, 2.0.1 and 2.1 backend in strict mode, in a process of its own; skipped without node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed (apt-get install nodejs npm)")
    if not (JUDGE / "node_modules" / "ocpp-rpc").is_dir():
        pytest.skip("the judge is not installed (npm ci --prefix tests/judge)")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        node, str(JUDGE / "server.mjs"), stdin=pipe, stdout=pipe, limit=1 << 20
    )
    peer = Judge(process)
    listening = asyncio.create_task(peer.listen())
    peer.url = f"ws://127.0.0.1:{(await peer.until(lambda report: 'listening' in report))['listening']}"
    yield peer
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 5)
    except TimeoutError:
        process.kill()
        await process.wait()
    await listening
