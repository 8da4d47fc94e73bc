"""D1 to D5: provider outages, a worker that cannot reach its provider, and retries at the same model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.providers.port_proxy import PortProxy
from tests.harness.requests.replies import ReceivedReply, ask

SOLO = {"chat": ("solo",), "fast": ("first", "second")}
SHIPPED = {"timeouts": {"total_s": 90}, "retry": {"max_backoff_s": 8}}
A_THIRD = {"timeouts": {"total_s": 30}, "retry": {"max_backoff_s": 8 / 3}}
WITHOUT_WAITING_S = 10.0
"""Upper bound in seconds, on a loaded machine, for a request that waits for no breaker and no deadline."""


async def ask_many(client: Client, number: int, role: str = "chat") -> list[ReceivedReply]:
    return list(await asyncio.gather(*(ask(client, f"Question {n}", role=role) for n in range(number))))


@asynccontextmanager
async def system_behind_proxy(
    tmp_path: Path, port: int, workers: int
) -> AsyncIterator[tuple[System, Client, PortProxy]]:
    """The role `logic` and the breaker have the shipped times, the other roles a third of them."""
    text = catalogue(SOLO, role=A_THIRD, roles={"logic": SHIPPED})
    config = text.replace("${PENSTOCK_SIMULATOR_URL}", f"http://127.0.0.1:{port}")
    async with (
        running_system(tmp_path, *(["all"] * workers), config=config) as system,
        PortProxy.before(system.simulator.ready["url"], port) as proxy,
        await system.client() as client,
    ):
        yield system, client, proxy


async def test_d2_an_outage_of_a_provider_for_five_seconds_costs_no_request(
    tmp_path: Path, free_port
) -> None:
    """Shown by a single request, whose attempts are spread over time, and by many, which open the breaker."""
    async with system_behind_proxy(tmp_path, free_port(), 1) as (system, client, proxy):
        async with proxy.closed_for(5.0):
            received = await ask_many(client, 1, "logic")
        async with proxy.closed_for(1.6):
            received += await asyncio.gather(
                ask(client, "One", role="chat"), ask(client, "Of a chain", role="fast")
            )
        async with proxy.closed_for(1.6):
            many = await ask_many(client, 30, "chat")
        log = system.workers[0].log.read_text()
    assert [each.code for each in (*received, *many)] == [None] * 33
    assert 5.0 < received[0].took_s < 15
    assert min(each.took_s for each in (*received[1:], *many)) > 1.5
    assert max(each.took_s for each in many) < 20
    assert "returns to its mailbox" not in log, "without another worker it keeps its requests"


async def test_d2_an_outage_of_a_provider_costs_two_workers_no_request(tmp_path: Path, free_port) -> None:
    async with system_behind_proxy(tmp_path, free_port(), 2) as (_, client, proxy), proxy.closed_for(1.6):
        received = await ask_many(client, 30)
    assert [each.code for each in received] == [None] * 30
    assert max(each.took_s for each in received) < 20


async def test_d3_a_worker_without_its_provider_delays_no_request(tmp_path: Path, free_port) -> None:
    """Single requests come before its breaker opens; many concurrent requests open it."""
    async with (
        running_system(tmp_path, "all", config=catalogue(SOLO)) as system,
        await system.client() as client,
    ):
        cut_off = system.new_worker("all", PENSTOCK_SIMULATOR_URL=f"http://127.0.0.1:{free_port()}")
        await cut_off.start()
        single = [await ask(client, f"One {n}", role="chat") for n in range(3)]
        many = await ask_many(client, 30)
        single += [await ask(client, f"Question {n}", role="chat") for n in range(27)]
    assert [each.code for each in (*single, *many)] == [None] * 60
    assert max(len(each.models) for each in (*single, *many)) <= 2, "one attempt per worker"
    assert max(each.took_s for each in (*single, *many)) < WITHOUT_WAITING_S
    assert "returns to its mailbox" in cut_off.log.read_text()


@asynccontextmanager
async def one_worker_cut_off(tmp_path: Path, free_port: int) -> AsyncIterator[System]:
    """Two workers; the second one's provider refuses connections."""
    async with running_system(tmp_path, "all", config=catalogue(SOLO)) as system:
        cut_off = system.new_worker("all", PENSTOCK_SIMULATOR_URL=f"http://127.0.0.1:{free_port}")
        await cut_off.start()
        system.workers.append(cut_off)
        yield system


async def test_d3_two_workers_without_their_provider_cost_no_request(tmp_path: Path, free_port) -> None:
    async with one_worker_cut_off(tmp_path, free_port()) as system, await system.client() as client:
        second = system.new_worker("all", PENSTOCK_SIMULATOR_URL=f"http://127.0.0.1:{free_port()}")
        await second.start()
        system.workers.append(second)
        received = [await ask(client, f"Question {n}", role="chat") for n in range(12)]
    assert len([each for each in received if each.completed]) == 12
    assert max(len(each.models) for each in received) <= 3, "one attempt per worker"
    assert max(each.took_s for each in received) < WITHOUT_WAITING_S


async def test_d3_two_workers_without_a_provider_pass_a_request_on_once(tmp_path: Path, free_port) -> None:
    async with one_worker_cut_off(tmp_path, free_port()) as system:
        second = system.new_worker("all", PENSTOCK_SIMULATOR_URL=f"http://127.0.0.1:{free_port()}")
        await second.start()
        system.workers.append(second)
        await system.workers[0].terminate()
        async with await system.client() as client:
            received = await asyncio.gather(
                *(ask(client, f"Question {n}", role="chat", timeout_s=5) for n in range(4))
            )
        logs = [worker.log.read_text() for worker in system.workers]
    assert {each.code for each in received} == {"deadline_exceeded"}
    assert sum(log.count("returns to its mailbox") for log in logs) <= 4, "each request once at most"


async def test_d1_a_silent_provider_leaves_time_for_another_model(
    tmp_path: Path,
) -> None:
    async with (
        running_system(tmp_path, "all", config=catalogue(SOLO)) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "behaviour", {"first": "slow-first-token=30"})
        received = await asyncio.gather(
            *(ask(client, f"Question {n}", role="fast", timeout_s=6) for n in range(6))
        )
        spared = await ask(client, "One more", role="fast", timeout_s=6)
    assert {each.code for each in (*received, spared)} == {None}
    assert {tuple(each.models) for each in received} == {("first", "second")}
    assert spared.models == ["second"]


async def test_d4_a_5xx_is_retried_once_at_the_same_model(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, "all", config=catalogue(SOLO)) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "behaviour", {"first": "flaky=0.5"})
        flaky = [await ask(client, f"Flaky {n}", role="fast") for n in range(4)]
        await system.sim("PUT", "behaviour", {"first": "503"})
        down = await ask(client, "Down", role="fast")
    assert {tuple(each.models) for each in flaky} <= {("first",), ("first", "first")}
    assert down.models == ["first", "first", "second"]


async def test_d5_a_short_retry_after_is_waited_for_once_and_a_long_one_not(tmp_path: Path) -> None:
    config = catalogue(SOLO, roles={"fast": {"max_model_wait_s": 1.0}})
    async with running_system(tmp_path, "all", config=config) as system, await system.client() as client:
        await system.sim("PUT", "behaviour", {"first": "429=0.8"})
        asked = asyncio.create_task(ask(client, "Short", role="fast"))
        while await system.attempts("first") == 0:
            await asyncio.sleep(0.01)
        await system.sim("PUT", "behaviour", {"first": ""})
        waited = await asked
        await system.sim("PUT", "behaviour", {"first": "429=0.8"})
        twice = await ask(client, "Short, and again", role="fast")
        await asyncio.sleep(1.0)
        await system.sim("PUT", "behaviour", {"first": "429=5"})
        moved_on = await ask(client, "Long", role="fast")
    assert waited.models == ["first", "first"]
    assert waited.took_s >= 0.8
    assert twice.models == ["first", "first", "second"]
    assert moved_on.models == ["first", "second"]
    assert moved_on.took_s < 5, "it does not wait for the end of the pause of the first model"
