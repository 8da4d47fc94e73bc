"""D7: a message that kills each process that takes it is dead-lettered after `max_deliver`, and its request fails."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.bus.direct_get import read_page
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.reply import Failed
from penstock.contract.streams import DEAD, REQUESTS, WORK, mailbox
from tests.fault.malformed import request, work
from tests.harness.nats.intake import intake_of
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import fail_deliveries_then_restart_router, job_in_state
from tests.harness.requests.replies import RawPublisher, ask

MAX_DELIVER = 5
WAITING = subjects.work("chat", "interactive", 1, subjects.flow("demo", ""))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("poison"), config=catalogue()) as running:
        yield running


async def fail_deliveries(publisher: RawPublisher, stream: str, durable: str) -> None:
    """Take and return the message `MAX_DELIVER` times, like processes that it crashes."""
    puller = await publisher.js.pull_subscribe_bind(durable, stream)
    for _ in range(MAX_DELIVER):
        (msg,) = await puller.fetch(1, timeout=20)
        await msg.nak()
    await puller.unsubscribe()


async def last_dead(publisher: RawPublisher, role: str) -> dict[str, str]:
    page = await read_page(publisher.nc, DEAD.name, subjects.dead(role))
    return page.messages[-1].headers or {}


async def test_d7_a_request_that_kills_each_router_is_dead_lettered(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    system.router.kill()
    asked = request() | {"client": "publisher"}
    extra = {headers.MESSAGE_ID: f"demo.publisher.{asked['id']}", headers.CLIENT: "publisher"}
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(asked).encode(), headers=extra)
    await fail_deliveries(publisher, REQUESTS.name, intake_of("demo").durable)

    system.router = system.new_router()
    await system.router.start()

    end = await publisher.end(asked["id"])
    assert isinstance(end, Failed)
    assert end.error.code == "undeliverable"
    assert (await last_dead(publisher, "router"))[headers.DEAD_REASON] == "undeliverable"
    assert (await ask(client, "Next, please", role="chat")).completed.model == "m-chat"


async def test_d7_a_job_that_kills_each_router_is_dead_lettered_and_fails(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    system.router.kill()
    job_id = await client.submit("Poison", role="chat")
    await fail_deliveries_then_restart_router(system, publisher, MAX_DELIVER)

    job = await job_in_state(client, job_id, "failed")
    assert job.error is not None
    assert job.error.code == "undeliverable"
    end = await publisher.end(job_id, client=client.name)
    assert isinstance(end, Failed)
    assert end.error == job.error


async def test_d7_work_that_kills_each_worker_is_dead_lettered(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    await system.sim("POST", "reset")
    system.workers[0].kill()
    order = work("chat") | {"client": "publisher", "account": "demo"}
    extra = {
        headers.REPLY_SUBJECT: subjects.reply("demo", "publisher", order["id"]),
        headers.DEADLINE_MS: str(order["deadline_ms"]),
    }
    await publisher.js.publish(WAITING, json.dumps(order).encode(), headers=extra)
    await fail_deliveries(publisher, WORK.name, mailbox("chat", "interactive")[1].durable)

    system.workers[0] = system.new_worker()
    await system.workers[0].start()

    end = await publisher.end(order["id"])
    assert isinstance(end, Failed)
    assert end.error.code == "undeliverable"
    letter = await last_dead(publisher, "chat")
    assert letter[headers.DEAD_REASON] == "undeliverable"
    assert letter[headers.DEAD_DELIVERIES] == str(MAX_DELIVER + 1)
    assert await system.attempts() == 0
    assert (await ask(client, "Next, please", role="chat")).completed.model == "m-chat"
