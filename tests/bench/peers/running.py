"""A gateway as a process on loopback, and the CPU and memory of all its processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from penstock.cli.local.ports import PortAllocator
from penstock.runtime.processes.pdeathsig import die_with_parent
from tests.bench.peers.gateways import Gateway, Start
from tests.bench.peers.plain_client import PlainClient

__all__ = ["RunningGateway", "running_gateway"]

_PORTS: Final = PortAllocator()
_READY_S: Final = 180.0
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class RunningGateway:
    def __init__(self, process: psutil.Process, client: PlainClient) -> None:
        self._process = process
        self.client = client

    def cpu_s(self) -> float:
        """Of the process and its children that still run."""
        times = [each.cpu_times() for each in self._tree()]
        return sum(each.user + each.system for each in times)

    def rss_mb(self) -> float:
        return sum(each.memory_info().rss for each in self._tree()) / 1e6

    def _tree(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@asynccontextmanager
async def running_gateway(
    gateway: Gateway, folder: Path, scratch: Path, provider: str, session: aiohttp.ClientSession
) -> AsyncIterator[RunningGateway]:
    """Raises AssertionError with the end of its output if it ends, or does not answer in time."""
    start = gateway.start(folder, scratch, provider, _PORTS.take())
    output = scratch / "output"
    process = _spawn(start, scratch, output)
    try:
        give_up_s = time.monotonic() + _READY_S
        while True:
            url = start.url or _printed_url(output)
            client = PlainClient(session, url, start.model, {"Authorization": "Bearer none", **start.headers})
            if url and await _answers(client):
                break
            text = output.read_text(errors="replace")[-3000:]
            assert process.poll() is None, f"{gateway.name} ended:\n{text}"
            assert time.monotonic() < give_up_s, f"{gateway.name} does not answer:\n{text}"
            await asyncio.sleep(0.2)
        yield RunningGateway(psutil.Process(process.pid), client)
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()


def _spawn(start: Start, scratch: Path, output: Path) -> subprocess.Popen[bytes]:
    """With few variables of this process, so that none of the interpreter's changes what a gateway imports."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    with output.open("wb") as log:
        return subprocess.Popen(
            start.command,
            cwd=scratch,
            env={**passed_on, **start.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
        )


async def _answers(client: PlainClient) -> bool:
    try:
        await client.whole()
    except (aiohttp.ClientError, AssertionError):
        return False
    return True


def _printed_url(output: Path) -> str:
    for line in output.read_text(errors="replace").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            return str(json.loads(line)["url"])
    return ""
