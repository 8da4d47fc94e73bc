"""F1: a router asks for the hold before the work is queued, obeys the answer, and releases what is not used."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.headers import TRACEPARENT
from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.reply import Accepted, Completed, Failed
from penstock.contract.streams import WORK
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

PRICE = {"input": 1_000_000, "output": 2_000_000}
MINUTE = LimitStatus(
    scope="user", limit="requests_per_minute", allowed=20, spent=20, resets_at_ms=1_900_000_000_000
)
TOKENS = LimitStatus(scope="account", limit="tokens_per_day", allowed=1_000, spent=10, left=990)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        {"chat": ("talker",)},
        models={"talker": {"price": PRICE}},
        roles={"chat": {"slots_per_worker": 1, "batch_slots_per_worker": 1}},
        budgets={"ledger_wait_s": 0.4},
    )
    with shared_system(tmp_path_factory.mktemp("holds"), "chat", config=config) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def publisher(system: System) -> AsyncIterator[RawPublisher]:
    async for opened in RawPublisher.opened(system):
        yield opened


@pytest.fixture
async def ledger(system: System) -> AsyncIterator[FakeLedger]:
    await system.sim("POST", "reset")
    async with FakeLedger.running(system.nats.url) as running:
        yield running


def chat_request(client: Client, **fields: Any) -> dict[str, Any]:
    body = {
        "messages": [{"role": "user", "content": "Hello. [[tokens=40]]"}],
        "max_tokens": 50,
        "stream": True,
    }
    return {
        "type": "chat_request",
        "id": new_id(),
        "client": client.name,
        "role": "chat",
        "body": body,
    } | fields


async def publish(
    publisher: RawPublisher, request: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    await publisher.js.publish(
        subjects.request("demo", "chat"), json.dumps(request).encode(), headers=headers
    )


async def test_f1_a_request_is_held_before_it_is_queued_and_settled_under_its_hold(
    client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    queued: list[int] = []

    async def grant(request: HoldRequest) -> HoldAnswer:
        queued.append((await publisher.js.stream_info(WORK.name)).state.messages)
        return HoldGranted(id=request.id, tokens=TOKENS)

    ledger.decide = grant
    received = await ask(client, "Hello. [[tokens=40]]", role="chat", user="ann", max_tokens=50)

    assert received.completed
    (asked,) = ledger.asked_for(received.id)
    assert (asked.account, asked.user, asked.role, asked.traffic) == ("demo", "ann", "chat", "chat")
    assert asked.output_tokens == 50
    assert asked.picousd == (asked.tokens - 50) * PRICE["input"] + 50 * PRICE["output"]
    assert queued == [0]
    accepted = received.events[0]
    assert isinstance(accepted, Accepted)
    assert (accepted.requests_limit, accepted.tokens_limit) == (None, TOKENS)
    await until(lambda: any(usage.hold_id == asked.id for usage in ledger.settled))
    assert not ledger.is_open(received.id)


async def test_f3_a_refusal_says_which_limit_and_when_it_frees(client: Client, ledger: FakeLedger) -> None:
    async def refuse(request: HoldRequest) -> HoldAnswer:
        return HoldRefused(
            id=request.id, code="rate_limited", message="20 a minute", limit=MINUTE, retry_after_s=30.0
        )

    ledger.decide = refuse
    received = await ask(client, "Hello.", role="chat")
    error = received.failed.error
    assert (error.code, error.message, error.retry, error.retry_after_s, error.limit) == (
        "rate_limited",
        "20 a minute",
        "later",
        30.0,
        MINUTE,
    )
    assert len(received.events) == 1
    assert ledger.why_released(received.id) == []


async def test_f3_a_refused_job_tells_its_limit_in_its_record(
    client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    async def refuse(request: HoldRequest) -> HoldAnswer:
        assert request.traffic == "background"
        return HoldRefused(id=request.id, code="budget_exceeded", message="used up", limit=MINUTE)

    ledger.decide = refuse
    request = chat_request(client, lane="batch")
    await publish(publisher, request)
    job = await job_in_state(client, request["id"], "failed")
    assert job.error is not None
    assert (job.error.code, job.error.limit) == ("budget_exceeded", MINUTE)


async def test_f1_a_dead_ledger_refuses_clearly_and_its_return_is_noticed(
    client: Client, system: System
) -> None:
    for _ in range(2):
        received = await ask(client, "Hello.", role="chat")
        assert received.code == "budget_unavailable"
        assert received.failed.error.retry_after_s
        assert received.took_s < 2
    async with FakeLedger.running(system.nats.url):
        assert (await ask(client, "Hello.", role="chat")).completed


async def test_f1_a_redelivered_question_has_the_same_id(client: Client, ledger: FakeLedger) -> None:
    answers = iter([b"garbled", b"", None])

    async def answer_late(request: HoldRequest) -> HoldAnswer | bytes | None:
        return next(answers, HoldGranted(id=request.id))

    ledger.decide = answer_late
    received = await ask(client, "Hello.", role="chat")
    assert received.code in {None, "budget_unavailable"}
    asked = ledger.asked_for(received.id)
    assert len(asked) > 1
    assert {(each.id, each.picousd, each.tokens) for each in asked} == {
        (asked[0].id, asked[0].picousd, asked[0].tokens)
    }


async def test_d8_the_hold_of_a_cancelled_request_in_the_mailbox_is_released(
    system: System, client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    await system.hold_answers()
    first, second = chat_request(client), chat_request(client)
    await publish(publisher, first)
    await until(lambda: ledger.is_open(first["id"]))
    await publish(publisher, second)
    await until(lambda: ledger.is_open(second["id"]))
    await client.cancel(second["id"], "not needed")
    end = await publisher.end(second["id"], client=client.name)
    assert isinstance(end, Failed)
    await until(lambda: "cancelled" in ledger.why_released(second["id"]))
    assert ledger.is_open(first["id"]), "the running request keeps its hold"
    await system.release_answers()
    assert isinstance(await publisher.end(first["id"], client=client.name), Completed)


async def test_d4_the_hold_of_a_request_that_expires_in_the_mailbox_is_released(
    system: System, client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    await system.hold_answers()
    first = chat_request(client)
    await publish(publisher, first)
    await until(lambda: ledger.is_open(first["id"]))
    late = chat_request(client, deadline_ms=int(time.time() * 1000) + 4_000)
    await publish(publisher, late)
    await until(lambda: ledger.is_open(late["id"]) or bool(ledger.why_released(late["id"])))
    await until(lambda: "deadline_exceeded" in ledger.why_released(late["id"]))
    await system.release_answers()
    assert isinstance(await publisher.end(first["id"], client=client.name), Completed)


async def test_d7_a_second_request_of_the_same_id_neither_releases_nor_doubles_the_hold_of_the_first(
    system: System, client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    await system.hold_answers()
    first = chat_request(client)
    await publish(publisher, first)
    await until(lambda: ledger.is_open(first["id"]))
    await publish(publisher, first)
    await until(lambda: len(ledger.asked_for(first["id"])) == 2)

    async def refuse(request: HoldRequest) -> HoldAnswer:
        return HoldRefused(id=request.id, code="budget_exceeded", message="used up")

    ledger.decide = refuse
    await publish(publisher, first)
    await until(lambda: len(ledger.asked_for(first["id"])) == 3)
    await asyncio.sleep(0.2)  # nothing is released
    assert ledger.is_open(first["id"])
    assert ledger.why_released(first["id"]) == []
    await system.release_answers()
    assert isinstance(await publisher.end(first["id"], client=client.name), Completed)


async def test_d7_the_hold_of_a_repeated_request_that_has_ended_is_released(
    client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    first = chat_request(client)
    await publish(publisher, first)
    assert isinstance(await publisher.end(first["id"], client=client.name), Completed)
    await until(lambda: not ledger.is_open(first["id"]))
    await publish(publisher, first)
    await until(lambda: len(ledger.asked_for(first["id"])) == 2)
    await until(lambda: ledger.why_released(first["id"]) == ["invalid_request"])
    assert not ledger.is_open(first["id"])


async def test_j1_the_ledger_gets_the_trace_of_the_request(
    client: Client, ledger: FakeLedger, publisher: RawPublisher
) -> None:
    request = chat_request(client)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await publish(publisher, request, {TRACEPARENT: trace})
    await until(lambda: bool(ledger.asked_for(request["id"])))
    assert ledger.headers[-1][TRACEPARENT] == trace
