"""E4, D7: one id is one request. Publishing it again, and its rejection, do not end the one that waits or runs."""

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
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import fail_deliveries_then_restart_router, job_in_state
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

CHAINS = {"chat": ("talker",), "logic": ("thinker",)}
"""No worker serves `logic`."""
LONG = "Tell me of the river. [[tokens=90]]"
TOO_LATE = {"deadline_ms": 1_700_000_000_000}
NO_ROLE = {"role": "logic"}
NO_BODY = {"body": {"messages": "none"}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    long_timeouts = {"first_token_s": 60.0, "between_tokens_s": 60.0}  # the tests hold answers
    roles = {"chat": {"batch_slots_per_worker": 1, "timeouts": long_timeouts}}
    with shared_system(
        tmp_path_factory.mktemp("second-requests"), "chat", config=catalogue(CHAINS, roles=roles)
    ) as running:
        yield running


@pytest.fixture(autouse=True)
async def hold_answers(system: System) -> None:
    """Every answer stays in flight until the test releases it."""
    await system.sim("POST", "reset")
    await system.hold_answers()


def new_request(client: Client, lane: Lane) -> dict[str, Any]:
    """A request with a user of its own, so that all requests wait in the same rank of the mailbox."""
    talk = {"messages": [{"role": "user", "content": LONG}], "stream": True}
    unique = new_id()
    return request() | {"id": unique, "user": unique, "client": client.name, "lane": lane, "body": talk}


async def publish(
    publisher: RawPublisher, wanted: dict[str, Any], extra: dict[str, str] | None = None
) -> None:
    """Publish a request and wait until a router has acknowledged it."""
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(wanted).encode(), headers=extra)
    await all_acknowledged(publisher)


async def all_acknowledged(publisher: RawPublisher) -> None:
    async def acknowledged() -> bool:
        return (await publisher.js.stream_info(REQUESTS.name)).state.messages == 0

    await until(acknowledged, 40)


async def publish_to_dead_routers(
    system: System, publisher: RawPublisher, wanted: dict[str, Any], deliveries: int
) -> None:
    """Publish a request that is delivered so many times without an acknowledgement before a router starts."""
    system.router.kill()
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(wanted).encode())
    await fail_deliveries_then_restart_router(system, publisher, deliveries)


async def dead_letters(publisher: RawPublisher) -> int:
    return (await publisher.js.stream_info(DEAD.name)).state.messages


async def first_delta(client: Client, publisher: RawPublisher, request_id: str) -> None:
    async def stored() -> bool:
        events = await publisher.stored(request_id, client=client.name)
        return any(isinstance(event, Delta) for event in events)

    await until(stored)


@pytest.mark.parametrize("again", [TOO_LATE, NO_ROLE, NO_BODY])
async def test_e4_a_running_job_outlasts_the_rejection_of_its_second_request(
    system: System, client: Client, publisher: RawPublisher, again: dict[str, Any]
) -> None:
    wanted = new_request(client, "batch")
    await publish(publisher, wanted)
    running = await job_in_state(client, wanted["id"], "running")

    await publish(publisher, wanted | again)

    assert await client.job(wanted["id"]) == running
    await system.release_answers()
    done = await job_in_state(client, wanted["id"], "completed")
    end = await publisher.end(wanted["id"], client=client.name)
    assert isinstance(end, Completed)
    assert (done.attempt, done.end_seq) == (1, end.seq)
    assert await client.result(wanted["id"]) is not None


async def test_e4_a_queued_job_outlasts_the_rejection_of_its_second_request(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    before, wanted = new_request(client, "batch"), new_request(client, "batch")
    await publish(publisher, before)
    await job_in_state(client, before["id"], "running")
    await publish(publisher, wanted)
    waiting = await job_in_state(client, wanted["id"], "queued")

    await publish(publisher, wanted | TOO_LATE)

    assert await client.job(wanted["id"]) == waiting
    await system.release_answers()
    assert (await job_in_state(client, wanted["id"], "completed")).attempt == 1
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


async def test_e4_a_job_outlasts_the_rejection_of_an_interactive_one_of_its_id(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    wanted = new_request(client, "batch")
    await publish(publisher, wanted)
    await job_in_state(client, wanted["id"], "running")

    await publish(publisher, wanted | TOO_LATE | {"lane": "interactive"})

    await system.release_answers()
    await job_in_state(client, wanted["id"], "completed")
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


@pytest.mark.parametrize("extra", [{}, {headers.REPEATED: "1"}])
async def test_d7_a_streaming_request_outlasts_the_rejection_of_its_second_one(
    system: System, client: Client, publisher: RawPublisher, extra: dict[str, str]
) -> None:
    """With and without the header by which a publisher marks a second attempt."""
    wanted = new_request(client, "interactive")
    await publish(publisher, wanted)
    await first_delta(client, publisher, wanted["id"])

    await publish(publisher, wanted | TOO_LATE, extra)

    await system.release_answers()
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


@pytest.mark.parametrize("deliveries", [1, 5])
async def test_d7_a_request_outlasts_the_dead_letter_of_its_second_one(
    system: System, client: Client, publisher: RawPublisher, deliveries: int
) -> None:
    wanted = new_request(client, "interactive")
    await publish(publisher, wanted)
    await first_delta(client, publisher, wanted["id"])

    await publish_to_dead_routers(system, publisher, wanted | TOO_LATE, deliveries)

    await all_acknowledged(publisher)
    await system.release_answers()
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)


async def test_d7_a_request_accepted_and_then_rejected_by_another_router_ends(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    wanted = new_request(client, "interactive") | NO_ROLE
    accepted = {
        "type": "accepted",
        "id": wanted["id"],
        "seq": 0,
        "role": "logic",
        "complexity": "simple",
        "why": "",
        "deadline_ms": 0,
        "at_ms": 0,
    }
    await publisher.js.publish(
        subjects.reply("demo", client.name, wanted["id"]), json.dumps(accepted).encode()
    )

    await publish_to_dead_routers(system, publisher, wanted, 1)

    end = await publisher.end(wanted["id"], client=client.name)
    assert isinstance(end, Failed)
    assert (end.seq, end.error.code) == (1, "role_not_served")


async def test_d7_a_job_recorded_by_a_killed_router_waits_for_a_worker(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The record has the state queued; the next router finds no worker that serves the role."""
    wanted = new_request(client, "batch") | NO_ROLE
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
    await publish_to_dead_routers(system, publisher, wanted, 1)
    worker = system.new_worker("logic")
    await worker.start()
    try:
        await job_in_state(client, wanted["id"], "running")
        await system.release_answers()
        assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)
    finally:
        await worker.terminate()


async def test_d7_a_rejected_request_published_again_correctly_keeps_its_one_end(
    client: Client, publisher: RawPublisher
) -> None:
    wanted = new_request(client, "batch")
    await publish(publisher, wanted | TOO_LATE)
    refused = await job_in_state(client, wanted["id"], "failed")

    await publish(publisher, wanted)

    assert await client.job(wanted["id"]) == refused
    end = await publisher.end(wanted["id"], client=client.name)
    assert isinstance(end, Failed)
    assert end.error == refused.error
    events = await publisher.stored(wanted["id"], client=client.name)
    assert not any(isinstance(event, Accepted | Started) for event in events)


async def test_d7_a_dead_lettered_second_request_ends_no_running_or_queued_job(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    before, wanted = new_request(client, "batch"), new_request(client, "batch")
    await publish(publisher, before)
    running = await job_in_state(client, before["id"], "running")
    await publish(publisher, wanted)
    waiting = await job_in_state(client, wanted["id"], "queued")
    known = await dead_letters(publisher)

    for each in (before, wanted):
        await publish_to_dead_routers(system, publisher, each, 5)
        await all_acknowledged(publisher)  # before the next kill

    assert await dead_letters(publisher) == known + 2
    found = await client.job(wanted["id"])
    # The long poll of another rank may have brought it to the worker, which has one slot (decision 0011).
    assert found == waiting or found.state == "running"
    assert await client.job(before["id"]) == running
    await system.release_answers()
    for each in (before, wanted):
        await job_in_state(client, each["id"], "completed")
        assert isinstance(await publisher.end(each["id"], client=client.name), Completed)


async def test_d7_a_copy_of_work_that_expires_in_the_mailbox_ends_no_job(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The copy waits for the one slot that the job occupies."""
    works: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await publisher.nc.subscribe(subjects.WORK_ALL, cb=works.put)
    await publisher.nc.flush()
    wanted = new_request(client, "batch")
    await publish(publisher, wanted)
    running = await job_in_state(client, wanted["id"], "running")
    first = await works.get()
    await subscription.unsubscribe()
    written = {name: value for name, value in (first.headers or {}).items() if name.startswith("Penstock-")}
    copy = await publisher.js.publish(first.subject, first.data, headers=written | {headers.DEADLINE_MS: "1"})

    async def swept() -> bool:
        return not await JobStore(publisher.js).is_queued(copy.seq)

    await until(swept)
    assert await client.job(wanted["id"]) == running
    await system.release_answers()
    await job_in_state(client, wanted["id"], "completed")
    assert isinstance(await publisher.end(wanted["id"], client=client.name), Completed)
