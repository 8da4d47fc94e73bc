"""D7: a process that cannot allocate memory ends with a line and a code that is not 0, and another one goes on."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from penstock.client.client import Client
from penstock.runtime.processes.out_of_memory import EXIT_CODE
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system

MIB = 1024 * 1024
LARGE = "large " * (7 * MIB // 6)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(models={"m-fast": {"context_tokens": 10_000_000}})
    with shared_system(tmp_path_factory.mktemp("system"), config=config) as running:
        yield running


def limit_memory(process: Process, spare_mib: float) -> None:
    """So much more address space than the process has."""
    limit = psutil.Process(process.pid).memory_info().vms + int(spare_mib * MIB)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))


@pytest.mark.parametrize("which", ["router", "worker"])
async def test_d7_a_process_without_memory_for_a_message_ends_and_is_replaced(
    system: System, client: Client, which: str
) -> None:
    process = system.router if which == "router" else system.workers[-1]
    limit_memory(process, 4)
    began = datetime.now(UTC) - timedelta(milliseconds=1)  # `at` is cut off to milliseconds
    asking = asyncio.create_task(client.chat(LARGE, role="fast", timeout_s=60))
    assert await process.ended() == EXIT_CODE
    line = json.loads(process.log.read_text().splitlines()[-1])
    assert "this process has no memory left" in line["message"]
    assert began <= datetime.fromisoformat(line["at"]) <= datetime.now(UTC)
    if which == "router":
        system.router = system.new_router()
        await system.router.start()
    else:
        system.workers.append(system.new_worker())
        await system.workers[-1].start()
    assert (await asking).text
