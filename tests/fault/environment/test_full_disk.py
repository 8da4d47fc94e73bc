"""The disk of nats-server is full, or fails: new requests are refused at once, and none that was accepted is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock import NotAccepted, PenstockError, RequestFailed
from penstock.client.client import Client
from penstock.contract.names import Lane
from penstock.contract.streams import JOBS, WORK
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from tests.harness.nats.failing_disk import fill, make_unwritable, refuse_writes, small_disk
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.edge_client import chat_body, request
from tests.harness.suite.waiting import until

WITHIN_S = 2.0
SHOPS = [f"shop{number}" for number in range(12)]
LONG = "Hello. " + 15_000 * "word "
"""More than the last page of a file has room for."""


async def refusal(
    client: Client, prompt: str = "Hello. [[tokens=5]]", lane: Lane = "interactive"
) -> tuple[PenstockError | None, float]:
    """The error of a request, None if it was answered; and the seconds until then."""
    began_s = time.monotonic()
    try:
        await client.chat(prompt, role="chat", lane=lane, timeout_s=30)
    except (NotAccepted, RequestFailed) as error:
        return error, time.monotonic() - began_s
    return None, time.monotonic() - began_s


async def is_answered(client: Client, lane: Lane = "interactive") -> bool:
    return (await refusal(client, lane=lane))[0] is None


async def is_calling(system: System) -> bool:
    return await system.attempts() == 2


async def have_health(services: Iterable[Process], status: int) -> bool:
    answers = [await request("GET", f"{each.ready['http']}/health") for each in services]
    return all(answer.status == status for answer in answers)


async def assert_refused(system: System, client: Client, edge_url: str) -> None:
    error, seconds = await refusal(client, LONG)
    assert isinstance(error, NotAccepted)
    assert "cannot write to LLM_REQUESTS" in str(error)
    assert "restart it" in str(error)
    assert error.retry_after_s == 5
    assert seconds < WITHIN_S
    began_s = time.monotonic()
    answer = await request("POST", f"{edge_url}/v1/chat/completions", chat_body(LONG, "chat"))
    assert time.monotonic() - began_s < WITHIN_S
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (
        503,
        "bus_unavailable",
        "5",
    )


@pytest.mark.timeout(90)
@pytest.mark.parametrize("disk", ["full", "failing"])
async def test_requests_are_refused_within_two_seconds_and_accepted_ones_are_answered(
    tmp_path: Path, disk: str
) -> None:
    if disk == "full":
        with small_disk(tmp_path / "nats" / "store") as store:
            await refused_and_answered(tmp_path, store / "filler")
    else:
        await refused_and_answered(tmp_path, None)


async def test_where_only_the_mailboxes_cannot_be_written_the_router_rejects_with_a_time_to_come_back(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        assert await is_answered(client)
        await make_unwritable(system, WORK)
        began_s = time.monotonic()
        with pytest.raises(RequestFailed) as refused:
            await client.chat("Hello.", role="chat", timeout_s=30)
        assert time.monotonic() - began_s < WITHIN_S
        assert (refused.value.code, refused.value.retry_after_s) == ("overloaded", OVERLOADED_RETRY_S)
        assert "cannot write to LLM_WORK" in str(refused.value)
        await until(lambda: have_health([system.router], 503), 15)
        await system.nats.restart()
        await until(lambda: is_answered(client), 20)


async def test_where_only_the_records_of_jobs_cannot_be_written_jobs_are_refused_and_other_requests_answered(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(running_system(tmp_path, "chat"))
        senders = [await stack.enter_async_context(await system.client(account=name)) for name in SHOPS]
        assert await is_answered(senders[0])
        await make_unwritable(system, JOBS)
        jobs = [asyncio.create_task(refusal(each, lane="batch")) for each in senders for _ in range(30)]
        await asyncio.sleep(1)
        others = await asyncio.gather(*(refusal(each) for each in senders))
        assert [error for error, _ in others] == [None] * len(senders)
        assert max(seconds for _, seconds in others) < WITHIN_S
        refusals = [*await asyncio.gather(*jobs), await refusal(senders[0], lane="batch")]
        for error, _ in refusals:
            assert isinstance(error, RequestFailed)
            assert (error.code, error.retry_after_s) == ("overloaded", OVERLOADED_RETRY_S)
            assert "cannot write to LLM_JOBS" in str(error)
        assert refusals[-1][1] < WITHIN_S, "at once, or as soon as the first one"
        await system.nats.restart()
        await until(lambda: is_answered(senders[0], lane="batch"), 20)


async def refused_and_answered(directory: Path, filler: Path | None) -> None:
    system = System(directory)
    try:
        await system.start("chat")
        edge = system.new_edge()
        await edge.start()
        async with await system.client(account="shop") as shop, await system.client(account="bank") as bank:
            assert await is_answered(shop)
            await system.sim("POST", "reset")
            await system.hold_answers()
            accepted = [asyncio.create_task(refusal(client)) for client in (shop, bank)]
            await until(lambda: is_calling(system))
            if filler is not None:
                fill(filler)
            else:
                refuse_writes(system.nats.pid)
            await asyncio.gather(*(assert_refused(system, each, edge.ready["url"]) for each in (shop, bank)))
            services = (system.router, edge)
            await until(lambda: have_health(services, 503), 15)
            ready = await request("GET", f"{edge.ready['url']}/readyz")
            assert ready.json["missing"] == ["the NATS server cannot write to LLM_REQUESTS"]
            await system.release_answers()

            if filler is not None:
                filler.unlink()
            await system.nats.restart()
            for each in (shop, bank):
                await until(lambda each=each: is_answered(each), 20)
            assert [error for error, _ in await asyncio.gather(*accepted)] == [None, None]
            await until(lambda: have_health((*services, system.workers[0]), 204), 15)
    finally:
        await system.stop()
