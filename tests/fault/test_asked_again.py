"""E4, D7: one id is one request. Asked again, and refused at the door, it does not end what waits or runs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nats.aio.msg import Msg

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.jobs import Job
from penstock.contract.names import Lane
from penstock.contract.reply import Accepted, Completed, Delta, Failed, Started
from penstock.contract.streams import DEAD, REQUESTS
from penstock.runtime.jobs.store import JobStore
from tests.fault.malformed import request
from tests.harness.catalogues import catalogue
from tests.harness.jobs import fail_deliveries_then_restart_router, job_in_state
from tests.harness.replies import RawPublisher, until
from tests.harness.system import System, shared_system

CHAINS = {"chat": ("talker",), "logic": ("thinker",)}
"""Nobody serves `logic`."""
LONG = "Tell me of the river. [[tokens=90]]"
TOO_LATE = {"deadline_ms": 1_700_000_000_000}
NO_ROLE = {"role": "logic"}
NO_BODY = {"body": {"messages": "none"}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    roles = {"chat": {"batch_concurrency": 1}}
    with shared_system(
        tmp_path_factory.mktemp("again"), "chat", config=catalogue(CHAINS, roles=roles)
    ) as running:
        yield running


@pytest.fixture(autouse=True)
async def slowly(system: System) -> None:
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 60, "latency_ms": 0})


def asked(client: Client, lane: Lane) -> dict[str, Any]:
    talk = {"messages": [{"role": "user", "content": LONG}], "stream": True}
    return request() | {"id": new_id(), "client": client.name, "lane": lane, "body": talk}


async def put(publisher: RawPublisher, wanted: dict[str, Any], extra: dict[str, str] | None = None) -> None:
    """And wait until a router is through with it."""
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(wanted).encode(), headers=extra)

    async def taken() -> bool:
        return (await publisher.js.stream_info(REQUESTS.name)).state.messages == 0

    await until(taken)


async def through(publisher: RawPublisher) -> None:
    async def taken() -> bool:
        return (await publisher.js.stream_info(REQUESTS.name)).state.messages == 0

    await until(taken, 40)


async def put_after(system: System, publisher: RawPublisher, wanted: dict[str, Any], deliveries: int) -> None:
    """So often it was delivered to routers that are dead."""
    system.router.kill()
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(wanted).encode())
    await fail_deliveries_then_restart_router(system, publisher, deliveries)


async def letters(publisher: RawPublisher) -> int:
    return (await publisher.js.stream_info(DEAD.name)).state.messages


async def begins(client: Client, publisher: RawPublisher, request_id: str) -> None:
    async def has_begun() -> bool:
        told = await publisher.stored(request_id, client=client.name)
        return any(isinstance(event, Delta) for event in told)

    await until(has_begun)


@pytest.mark.parametrize("again", [TOO_LATE, NO_ROLE, NO_BODY])
async def test_e4_a_running_job_asked_for_again_and_refused_goes_on_to_its_own_end(
    client: Client, publisher: RawPublisher, again: dict[str, Any]
) -> None:
    wanted = asked(client, "batch")
    await put(publisher, wanted)
    running = await job_in_state(client, wanted["id"], "running")

    await put(publisher, wanted | again)

    assert await client.job(wanted["id"]) == running
    done = await job_in_state(client, wanted["id"], "completed")
    end = await publisher.end(wanted["id"], client=client.name)
    assert isinstance(end, Completed)
    assert (done.attempt, done.end_seq) == (1, end.seq)
    assert await client.result(wanted["id"]) is not None


async def test_e4_a_waiting_job_asked_for_again_and_refused_has_its_turn(
    client: Client, publisher: RawPublisher
) -> None:
    before, wanted = asked(client, "batch"), asked(client, "batch")
    await put(publisher, before)
    await job_in_state(client, before["id"], "running")
    await put(publisher, wanted)
    waiting = await job_in_state(client, wanted["id"], "queued")

    await put(publisher, wanted | TOO_LATE)

    assert await client.job(wanted["id"]) == waiting
    assert (await job_in_state(client, wanted["id"], "completed")).attempt == 1
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


async def test_e4_a_job_asked_for_again_as_an_interactive_request_and_refused_goes_on(
    client: Client, publisher: RawPublisher
) -> None:
    wanted = asked(client, "batch")
    await put(publisher, wanted)
    await job_in_state(client, wanted["id"], "running")

    await put(publisher, wanted | TOO_LATE | {"lane": "interactive"})

    await job_in_state(client, wanted["id"], "completed")
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


@pytest.mark.parametrize("extra", [{}, {headers.REPEATED: "1"}])
async def test_d7_an_interactive_request_asked_for_again_and_refused_is_answered(
    client: Client, publisher: RawPublisher, extra: dict[str, str]
) -> None:
    """Whoever publishes may write that he does it a second time."""
    wanted = asked(client, "interactive")
    await put(publisher, wanted)
    await begins(client, publisher, wanted["id"])

    await put(publisher, wanted | TOO_LATE, extra)

    assert isinstance(await publisher.end(wanted["id"], client=client.name, timeout_s=15), Completed)


@pytest.mark.parametrize("deliveries", [1, 5])
async def test_d7_an_interactive_request_asked_for_again_is_answered_though_that_is_delivered_again_or_buried(
    system: System, client: Client, publisher: RawPublisher, deliveries: int
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 15, "latency_ms": 0})
    wanted = asked(client, "interactive")
    await put(publisher, wanted)
    await begins(client, publisher, wanted["id"])

    await put_after(system, publisher, wanted | TOO_LATE, deliveries)

    await through(publisher)
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


async def test_d7_a_request_accepted_by_a_router_that_died_and_refused_by_the_next_one_has_its_end(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    wanted = asked(client, "interactive") | NO_ROLE
    told = {
        "type": "accepted",
        "id": wanted["id"],
        "seq": 0,
        "role": "logic",
        "complexity": "simple",
        "why": "",
        "deadline_ms": 0,
        "at_ms": 0,
    }
    await publisher.js.publish(subjects.reply("demo", client.name, wanted["id"]), json.dumps(told).encode())

    await put_after(system, publisher, wanted, 1)

    end = await publisher.end(wanted["id"], client=client.name)
    assert isinstance(end, Failed)
    assert (end.seq, end.error.code) == (1, "role_not_served")


async def test_d7_a_job_whose_router_died_before_the_mailbox_waits_for_its_role(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """And its record says so; the next router finds nobody who serves the role."""
    wanted = asked(client, "batch") | NO_ROLE
    now_ms = int(time.time() * 1000)
    queued = Job(
        id=wanted["id"],
        client=client.name,
        account="demo",
        role="logic",
        state="queued",
        at_ms=now_ms,
        submitted_ms=now_ms,
        deadline_ms=now_ms + 3_600_000,
    )
    await JobStore(publisher.js).advance(queued.reply_to, lambda _: queued)
    await put_after(system, publisher, wanted, 1)
    worker = system.new_worker("logic")
    await worker.start()
    try:
        await job_in_state(client, wanted["id"], "running")
        assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)
    finally:
        await worker.terminate()


async def test_d7_what_was_refused_and_is_asked_for_again_rightly_is_told_its_one_end(
    client: Client, publisher: RawPublisher
) -> None:
    wanted = asked(client, "batch")
    await put(publisher, wanted | TOO_LATE)
    refused = await job_in_state(client, wanted["id"], "failed")

    await put(publisher, wanted)

    assert await client.job(wanted["id"]) == refused
    end = await publisher.end(wanted["id"], client=client.name)
    assert isinstance(end, Failed)
    assert end.error == refused.error
    told = await publisher.stored(wanted["id"], client=client.name)
    assert not any(isinstance(event, Accepted | Started) for event in told)


async def test_d7_a_second_request_that_is_buried_ends_neither_the_job_that_runs_nor_the_one_that_waits(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 15, "latency_ms": 0})
    before, wanted = asked(client, "batch"), asked(client, "batch")
    await put(publisher, before)
    running = await job_in_state(client, before["id"], "running")
    await put(publisher, wanted)
    waiting = await job_in_state(client, wanted["id"], "queued")
    known = await letters(publisher)

    for each in (before, wanted):
        await put_after(system, publisher, each, 5)
        await through(publisher)  # else the next one's kill meets this one's burial

    assert await letters(publisher) == known + 2
    assert await client.job(wanted["id"]) == waiting
    assert await client.job(before["id"]) == running
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "latency_ms": 0})
    for each in (before, wanted):
        await job_in_state(client, each["id"], "completed")
        assert isinstance(await publisher.end(each["id"], client=client.name), Completed)


async def test_d7_a_second_copy_of_its_work_that_expires_in_the_mailbox_does_not_end_the_job_that_runs(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The copy waits for the one slot that the job has."""
    await system.sim("PUT", "speed", {"tokens_per_second": 15, "latency_ms": 0})
    works: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await publisher.nc.subscribe(subjects.WORK_ALL, cb=works.put)
    await publisher.nc.flush()
    wanted = asked(client, "batch")
    await put(publisher, wanted)
    running = await job_in_state(client, wanted["id"], "running")
    first = await works.get()
    await subscription.unsubscribe()
    written = {name: value for name, value in (first.headers or {}).items() if name.startswith("Penstock-")}
    copy = await publisher.js.publish(first.subject, first.data, headers=written | {headers.DEADLINE_MS: "1"})

    async def swept() -> bool:
        return not await JobStore(publisher.js).is_queued(copy.seq)

    await until(swept)
    assert await client.job(wanted["id"]) == running
    await job_in_state(client, wanted["id"], "completed")
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)
