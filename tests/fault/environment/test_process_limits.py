"""Few files, and a log that nobody reads: a process says why it refuses something, and neither waits nor ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from penstock.client.client import Client
from tests.harness.processes.penstock_up import REPOSITORY
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.processes.unread_pipe import FullPipe
from tests.harness.suite.waiting import until

FILES = 64
CONNECTIONS = FILES - 32


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("system")) as running:
        yield running


async def test_an_edge_with_few_files_refuses_connections_says_why_and_recovers(system: System):
    edge = system.new_edge()
    edge.prefix = ("prlimit", f"--nofile={FILES}")
    await edge.start()
    address = urlsplit(edge.ready["url"])
    held = [socket.create_connection((address.hostname, address.port), timeout=5) for _ in range(CONNECTIONS)]
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{edge.ready['url']}/readyz") as answer:
                assert answer.status == 429
                assert "open files" in await answer.text()
            async with session.get(f"{edge.ready['http']}/health") as answer:
                assert answer.status == 204
        await until(lambda: is_logged(edge, f"may open only {FILES} files (ulimit -n)"))
        await until(lambda: is_logged(edge, f"connections are refused: {CONNECTIONS} are open"))
        cpu_s = edge.cpu_s()
    finally:
        for connection in held:
            connection.close()

    async def is_ready() -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{edge.ready['url']}/readyz") as answer:
            return answer.status == 200

    await until(is_ready)
    assert edge.cpu_s() - cpu_s < 1
    edge.kill()


async def is_logged(process: Process, text: str) -> bool:
    return text in process.log.read_text()


def test_up_with_few_files_says_which_limit_to_raise(tmp_path: Path):
    up = subprocess.run(
        [
            "prlimit",
            f"--nofile={FILES}",
            sys.executable,
            "-P",
            "-m",
            "penstock.cli",
            "up",
            "--data",
            tmp_path,
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NATS_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert up.returncode == 1
    assert f"only {FILES} files may be open (ulimit -n)" in up.stderr
    assert "Traceback" not in up.stderr


async def test_a_service_works_while_its_log_is_not_read_and_after_its_reader_has_ended(
    system: System, client: Client, tmp_path: Path
):
    pipe = FullPipe(tmp_path / "log")
    worker = system.new_worker(PENSTOCK_LOG_LEVEL="debug")
    worker.log = pipe.path
    await worker.start()
    await system.workers[0].terminate()

    for _ in range(5):
        assert (await client.chat("Is anybody reading?")).text
    pipe.close()
    for _ in range(5):
        assert (await client.chat("And now?")).text

    async def lines_of_both_are_dropped() -> bool:
        return await dropped(system, worker) > 5

    await until(lines_of_both_are_dropped)  # lines are gathered for 20 ms
    assert await worker.terminate() == 0


async def dropped(system: System, process: Process) -> float:
    metrics = await system.metrics(process)
    (line,) = [line for line in metrics.splitlines() if line.startswith("penstock_log_lines_dropped_total ")]
    return float(line.split()[1])
