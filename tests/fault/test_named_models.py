"""K2, D7: requests that name a model survive workers that die, and notifications that are lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from penstock.client.client import Client
from penstock.contract.reply import Completed, Delta
from penstock.errors import RequestFailed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.suite.waiting import until

CONFIG = catalogue({"chat": ("first", "second")})


async def queued(client: Client, count: int) -> list[asyncio.Task[str]]:
    """Requests that name `second`, once each is in its mailbox; each gives the model that answered."""

    async def ask() -> str:
        return (await client.chat("Tell me of the river.", model="second", timeout_s=60)).model

    tasks = [asyncio.create_task(ask()) for _ in range(count)]
    js = client._nc.jetstream()

    async def stored() -> bool:
        info = await js.stream_info("LLM_WORK", subjects_filter="llm.work.model-second.>")
        return sum((info.state.subjects or {}).values()) == count

    await until(stored)
    return tasks


async def restart_worker(system: System) -> None:
    system.workers[0] = system.new_worker("chat")
    await system.workers[0].start()


async def test_d7_requests_queued_while_the_only_worker_is_dead_are_served_by_the_next(
    tmp_path: Path,
) -> None:
    """The router counts the dead worker as alive for some seconds, so it accepts them."""
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        system.workers[0].kill()
        tasks = await queued(client, 5)
        await restart_worker(system)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 20) == ["second"] * 5
        assert await system.attempts("second") == 5


async def test_d7_a_worker_killed_while_it_answers_for_a_model_is_replaced_by_the_next(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        await system.sim("PUT", "speed", {"tokens_per_second": 60, "first_token_ms": 20, "latency_ms": 0})
        killed = False
        async with client.stream(
            "Tell me of the river. [[tokens=60]]", model="second", timeout_s=60
        ) as events:
            async for event in events:
                if isinstance(event, Delta) and not killed:
                    killed = True
                    system.workers[0].kill()
                    await restart_worker(system)
        assert isinstance(event, Completed)
        assert (event.model, event.attempt) == ("second", 2)


async def test_d9_work_stored_before_the_router_died_is_served_after_the_restart(tmp_path: Path) -> None:
    """The new router reports the role as in use once it has counted the mailboxes."""
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        system.workers[0].kill()
        tasks = await queued(client, 3)
        system.router.kill()
        await system.nats.restart()
        system.router = system.new_router()
        await system.router.start()
        await restart_worker(system)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 30) == ["second"] * 3


async def test_d9_a_lost_notification_delays_a_request_and_does_not_lose_it(tmp_path: Path) -> None:
    """The worker is frozen while the router reports the role, and loses its connection before it can read that."""
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        system.workers[0].signal(signal.SIGSTOP)
        tasks = await queued(client, 3)
        await system.nats.restart()
        system.workers[0].signal(signal.SIGCONT)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 30) == ["second"] * 3
        assert await system.attempts("second") == 3


async def test_d4_a_request_that_expires_in_the_mailbox_of_a_model_ends(tmp_path: Path) -> None:
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        system.workers[0].kill()

        async def end(**options: float) -> str:
            try:
                await client.chat("Hello?", model="second", **options)
            except RequestFailed as error:
                return error.code
            return "completed"

        assert await end(timeout_s=1) == "deadline_exceeded"
        stream = client.stream("Hello?", model="second", timeout_s=60)
        async with stream as events:
            assert (await anext(aiter(events))).id == stream.id
        stored = client.resume(stream.id)
        assert [event async for event in stored][-1].error.code == "cancelled"
