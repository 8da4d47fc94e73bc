"""E4, D7: one id is one request. Asked again, and refused at the door, it does not end what waits or runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from nats.aio.msg import Msg

from penstock.client import Client
from penstock.errors import UnknownJob
from penstock.identifiers import new_id
from penstock.job_store import JobStore
from schemas import headers, subjects
from schemas.jobs import Job
from schemas.names import Lane
from schemas.reply import Accepted, Completed, Delta, Failed, Started
from schemas.streams import DEAD, REQUESTS, ROUTER
from tests.fault.malformed import request
from tests.harness.asking import Post, until
from tests.harness.catalogues import catalogue
from tests.harness.shared import shared
from tests.harness.system import System

CHAINS = {"chat": ("talker",), "logic": ("thinker",)}
"""Nobody serves `logic`."""
LONG = "Tell me of the river. [[tokens=90]]"
TOO_LATE = {"deadline_ms": 1_700_000_000_000}
NO_ROLE = {"role": "logic"}
NO_BODY = {"body": {"messages": "none"}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    roles = {"chat": {"batch_concurrency": 1}}
    with shared(tmp_path_factory.mktemp("again"), "chat", config=catalogue(CHAINS, roles=roles)) as running:
        yield running


@pytest.fixture(autouse=True)
async def slowly(system: System) -> None:
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 60, "latency_ms": 0})


def asked(client: Client, lane: Lane) -> dict[str, Any]:
    talk = {"messages": [{"role": "user", "content": LONG}], "stream": True}
    return request() | {"id": new_id(), "client": client.name, "lane": lane, "body": talk}


async def put(post: Post, wanted: dict[str, Any]) -> None:
    """And wait until a router is through with it."""
    await post.js.publish(subjects.request("demo", "chat"), json.dumps(wanted).encode())

    async def taken() -> bool:
        return (await post.js.stream_info(REQUESTS.name)).state.messages == 0

    await until(taken)


async def in_state(client: Client, job_id: str, state: str) -> Job:
    async def reached() -> bool:
        try:
            return (await client.job(job_id)).state == state
        except UnknownJob:
            return False

    await until(reached, 15)
    return await client.job(job_id)


@pytest.mark.parametrize("again", [TOO_LATE, NO_ROLE, NO_BODY])
async def test_e4_a_running_job_asked_for_again_and_refused_goes_on_to_its_own_end(
    client: Client, post: Post, again: dict[str, Any]
) -> None:
    wanted = asked(client, "batch")
    await put(post, wanted)
    running = await in_state(client, wanted["id"], "running")

    await put(post, wanted | again)

    assert await client.job(wanted["id"]) == running
    done = await in_state(client, wanted["id"], "completed")
    end = await post.end(wanted["id"], client=client.name)
    assert isinstance(end, Completed)
    assert (done.attempt, done.end_seq) == (1, end.seq)
    assert await client.result(wanted["id"]) is not None


async def test_e4_a_waiting_job_asked_for_again_and_refused_has_its_turn(client: Client, post: Post) -> None:
    before, wanted = asked(client, "batch"), asked(client, "batch")
    await put(post, before)
    await in_state(client, before["id"], "running")
    await put(post, wanted)
    waiting = await in_state(client, wanted["id"], "queued")

    await put(post, wanted | TOO_LATE)

    assert await client.job(wanted["id"]) == waiting
    assert (await in_state(client, wanted["id"], "completed")).attempt == 1
    assert isinstance(await post.end(wanted["id"], client=client.name), Completed)


async def test_e4_a_job_asked_for_again_as_an_interactive_request_and_refused_goes_on(
    client: Client, post: Post
) -> None:
    wanted = asked(client, "batch")
    await put(post, wanted)
    await in_state(client, wanted["id"], "running")

    await put(post, wanted | TOO_LATE | {"lane": "interactive"})

    await in_state(client, wanted["id"], "completed")
    assert isinstance(await post.end(wanted["id"], client=client.name), Completed)


async def test_d7_an_interactive_request_asked_for_again_and_refused_is_answered(
    client: Client, post: Post
) -> None:
    wanted = asked(client, "interactive")
    await put(post, wanted)

    async def has_begun() -> bool:
        told = await post.stored(wanted["id"], client=client.name)
        return any(isinstance(event, Delta) for event in told)

    await until(has_begun)
    await put(post, wanted | TOO_LATE)

    assert isinstance(await post.end(wanted["id"], client=client.name, timeout_s=15), Completed)


async def test_d7_what_was_refused_and_is_asked_for_again_rightly_is_told_its_one_end(
    client: Client, post: Post
) -> None:
    wanted = asked(client, "batch")
    await put(post, wanted | TOO_LATE)
    refused = await in_state(client, wanted["id"], "failed")

    await put(post, wanted)

    assert await client.job(wanted["id"]) == refused
    end = await post.end(wanted["id"], client=client.name)
    assert isinstance(end, Failed)
    assert end.error == refused.error
    told = await post.stored(wanted["id"], client=client.name)
    assert not any(isinstance(event, Accepted | Started) for event in told)


async def test_d7_a_second_request_that_is_buried_does_not_end_the_job_that_runs(
    system: System, client: Client, post: Post
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 15, "latency_ms": 0})
    wanted = asked(client, "batch")
    await put(post, wanted)
    running = await in_state(client, wanted["id"], "running")
    system.router.kill()
    await post.js.publish(subjects.request("demo", "chat"), json.dumps(wanted).encode())
    puller = await post.js.pull_subscribe_bind(ROUTER.durable, REQUESTS.name)
    for _ in range(5):
        (msg,) = await puller.fetch(1, timeout=5)
        await msg.nak()
    await puller.unsubscribe()
    system.router = system.new_router()
    await system.router.start()

    async def buried() -> bool:
        return (await post.js.stream_info(DEAD.name)).state.messages == 1

    await until(buried)
    assert await client.job(wanted["id"]) == running
    await in_state(client, wanted["id"], "completed")
    assert isinstance(await post.end(wanted["id"], client=client.name), Completed)


async def test_d7_a_second_copy_of_its_work_that_expires_in_the_mailbox_does_not_end_the_job_that_runs(
    system: System, client: Client, post: Post
) -> None:
    """The copy waits for the one slot that the job has."""
    await system.sim("PUT", "speed", {"tokens_per_second": 15, "latency_ms": 0})
    works: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await post.nc.subscribe(subjects.WORK_ALL, cb=works.put)
    await post.nc.flush()
    wanted = asked(client, "batch")
    await put(post, wanted)
    running = await in_state(client, wanted["id"], "running")
    first = await works.get()
    await subscription.unsubscribe()
    written = {name: value for name, value in (first.headers or {}).items() if name.startswith("Penstock-")}
    copy = await post.js.publish(first.subject, first.data, headers=written | {headers.DEADLINE_MS: "1"})

    async def swept() -> bool:
        return not await JobStore(post.js).is_queued(copy.seq)

    await until(swept)
    assert await client.job(wanted["id"]) == running
    await in_state(client, wanted["id"], "completed")
    assert isinstance(await post.end(wanted["id"], client=client.name), Completed)
