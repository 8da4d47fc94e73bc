"""D9: signals to each service, while it starts and while it runs beside another process of its kind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from penstock.client.client import Client
from penstock.contract.reply import Completed, Delta, ReplyEvent, Restarted
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until

INT, TERM, HUP, USR1 = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1
SERVICES: dict[str, Callable[[System], Process]] = {
    "router": System.new_router,
    "worker": System.new_worker,
    "ledger": System.new_ledger,
    "indexer": System.new_indexer,
    "edge": System.new_edge,
}
STOPPED_S = 20.0
"""Longer than any service takes that has nothing to finish."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = retrieval_catalogue(budgets={})
    with shared_system(tmp_path_factory.mktemp("system"), config=config, ledgers=1, indexers=1) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("signals", [(TERM, TERM), (HUP, INT)], ids=["SIGTERM twice", "SIGHUP and SIGINT"])
async def test_d9_a_signal_stops_a_running_service_in_order(
    service: str, signals: Sequence[int], system: System, client: Client
):
    process = SERVICES[service](system)
    await process.start()
    for number in signals:
        process.signal(number)

    assert await process.ended(STOPPED_S) == 0
    assert "Traceback" not in process.log.read_text()
    assert (await client.chat("Still there?", role="chat", timeout_s=10)).text


@pytest.mark.parametrize("service", SERVICES)
async def test_d9_a_signal_that_no_service_handles_ends_it_and_costs_no_request(
    service: str, system: System, client: Client
):
    process = SERVICES[service](system)
    await process.start()
    process.signal(USR1)

    assert await process.ended(STOPPED_S) == -USR1
    assert (await client.chat("Still there?", role="chat", timeout_s=20)).text


@pytest.mark.parametrize(
    ("service", "number"), [("router", INT), *((name, HUP) for name in (*SERVICES, "guard"))]
)
async def test_d9_a_signal_ends_a_service_that_waits_for_nats(
    service: str, number: int, system: System, tmp_path: Path, free_port: Callable[[], int]
):
    nowhere = {
        "NATS_URL": f"nats://127.0.0.1:{free_port()}",
        "PENSTOCK_CATALOGUE": str(system.catalogue),
        "PENSTOCK_SIMULATOR_URL": system.simulator.ready["url"],
        "PENSTOCK_INDEX_LOCATION": str(tmp_path / "index"),
        "PENSTOCK_EDGE_PORT": "0",
    }
    process = Process(f"services.{service}", env=nowhere, log=tmp_path / "service.log")
    starting = asyncio.create_task(process.start())
    await until_logged(process, "onnect")
    process.signal(number)

    assert await process.ended(STOPPED_S) == 0
    await asyncio.gather(starting, return_exceptions=True)
    assert "Traceback" not in process.log.read_text()


async def test_d9_a_worker_whose_terminal_is_closed_finishes_its_answer(system: System, client: Client):
    worker = system.workers[0]
    await system.hold_answers(2)
    events: list[ReplyEvent] = []
    signalled = False
    async with client.stream("Wait", role="chat", timeout_s=30) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, Delta) and not signalled:
                signalled = True
                worker.signal(HUP)
                await asyncio.sleep(0.5)
                assert worker.alive
                await system.release_answers()
    assert isinstance(events[-1], Completed)
    assert not any(isinstance(event, Restarted) for event in events)
    assert await worker.ended(STOPPED_S) == 0


async def test_d9_a_service_that_was_started_by_nohup_ignores_a_closed_terminal(
    system: System, client: Client
):
    router = system.new_router()
    router.prefix = ("nohup",)
    await router.start()
    router.signal(HUP)
    await asyncio.sleep(0.5)

    assert router.alive
    assert await router.terminate() == 0


async def until_logged(process: Process, text: str) -> None:
    async def logged() -> bool:
        return process.log.exists() and text in process.log.read_text()

    await until(logged, 60)
