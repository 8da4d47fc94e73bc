"""Only the stream of replies cannot be written: senders are told at once; and health follows NATS when it is back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from penstock import PenstockError, RequestFailed
from penstock.client.client import Client
from penstock.contract.streams import REPLIES
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from tests.harness.nats.failing_disk import make_unwritable
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.edge_client import chat_body, request
from tests.harness.suite.waiting import until

WITHIN_S = 2.0
HEALTHY_WITHIN_S = 1.0
AT_ONCE = 40


async def outcome(client: Client) -> tuple[str, float]:
    """How a request ended, and after how many seconds."""
    began_s = time.monotonic()
    try:
        await client.chat("Hello. [[tokens=5]]", role="chat", timeout_s=30)
    except PenstockError as error:
        return f"{type(error).__name__} {error.code}", time.monotonic() - began_s
    return "answered", time.monotonic() - began_s


async def is_answered(client: Client) -> bool:
    return (await outcome(client))[0] == "answered"


async def is_calling(system: System) -> bool:
    return await system.attempts() == 1


async def has_health(service: Process, status: int) -> bool:
    return (await request("GET", f"{service.ready['http']}/health")).status == status


@pytest.mark.timeout(90)
async def test_where_only_replies_cannot_be_written_senders_hear_it_within_two_seconds(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        edge = system.new_edge()
        await edge.start()
        assert await is_answered(client)
        await asyncio.sleep(0.5)  # until its message has left the mailbox
        await make_unwritable(system, REPLIES)
        for _ in range(2):  # found by the request, and known before it
            began_s = time.monotonic()
            with pytest.raises(RequestFailed) as refused:
                await client.chat("Hello.", role="chat", timeout_s=30)
            assert time.monotonic() - began_s < WITHIN_S
            assert (refused.value.code, refused.value.retry_after_s) == ("overloaded", OVERLOADED_RETRY_S)
            assert "cannot write to LLM_REPLIES" in str(refused.value)
        url = f"{edge.ready['url']}/v1/chat/completions"
        began_s = time.monotonic()
        answer = await request("POST", url, chat_body("Hello.", "chat"))
        assert time.monotonic() - began_s < WITHIN_S
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (
            429,
            "overloaded",
            "10",
        )
        many = await asyncio.gather(*(outcome(client) for _ in range(AT_ONCE)))
        assert Counter(what for what, _ in many) == {"RequestFailed overloaded": AT_ONCE}
        assert max(seconds for _, seconds in many) < WITHIN_S
        await until(lambda: has_health(system.router, 503), 15)
        await system.nats.restart()
        await until(lambda: is_answered(client), 20)


@pytest.mark.timeout(90)
async def test_requests_that_were_accepted_before_are_answered_after_the_restart(tmp_path: Path) -> None:
    """One runs, and one waits for its slot."""
    config = catalogue(roles={"chat": {"slots_per_worker": 1}})
    async with (
        running_system(tmp_path, "chat", config=config) as system,
        await system.client() as client,
        await system.client() as late,
    ):
        await system.hold_answers()
        running = [asyncio.create_task(outcome(client)) for _ in range(2)]
        await until(lambda: is_calling(system))
        await asyncio.sleep(0.5)
        await make_unwritable(system, REPLIES)
        what, seconds = await outcome(late)
        assert what == "RequestFailed overloaded"
        assert seconds < WITHIN_S
        await system.release_answers()
        await asyncio.sleep(1.0)
        await system.nats.restart()
        assert [what for what, _ in await asyncio.gather(*running)] == ["answered"] * 2
        assert await system.attempts() == 2


@pytest.mark.timeout(90)
async def test_a_router_is_healthy_within_a_second_after_nats_is_back(tmp_path: Path) -> None:
    async with running_system(tmp_path, "chat") as system:
        await until(lambda: has_health(system.router, 204), 15)
        took_s = []
        for away_s in (1.0, 6.5):
            system.nats.kill()
            await asyncio.sleep(away_s)
            assert await has_health(system.router, 503)
            await system.nats.start()
            back_s = time.monotonic()
            for service in (system.router, system.workers[0]):
                await until(lambda service=service: has_health(service, 204), 15)
            took_s.append(time.monotonic() - back_s)
        assert max(took_s) < HEALTHY_WITHIN_S, took_s
