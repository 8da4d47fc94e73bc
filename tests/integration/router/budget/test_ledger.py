"""F1, F3: budgets from the request to the ledger and back, with real ledger processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.bus.connection import connect
from penstock.client.client import Client
from penstock.contract import codec, subjects
from penstock.contract.ledger.status import BudgetQuery, BudgetStatus
from penstock.contract.reply import Accepted, Completed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.waiting import until

CHAT = "Hello. [[tokens=20]]"
ANSWER_PICOUSD = 20 * 2_000_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        {"chat": ("talker",)},
        models={"talker": {"price": {"input": 0, "output": 2_000_000}}},
        roles={"chat": {"ceilings": {"max_tokens": 20}}},
        budgets={
            "hold_wait_s": 2.0,
            "accounts": {
                "demo": {
                    "users": {
                        "three": {"requests_per_hour": 3},
                        "one-at-once": {"concurrency": 1},
                        "rich": {"usd_per_day": 1},
                        "poor": {"microusd_per_day": 100},
                        "gone": {"disabled": True},
                        "by-model": {"microusd_per_day": 4_096 * 2},
                        "short": {"tokens_per_request": 500},
                    }
                }
            },
        },
    )
    with shared_system(tmp_path_factory.mktemp("ledger"), "chat", config=config, ledgers=2) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    await system.sim("POST", "reset")
    async with await system.client() as connected:
        yield connected


async def asked(client: Client, user: str) -> ReceivedReply:
    return await ask(client, CHAT, role="chat", user=user)


async def budget_of(system: System, user: str) -> BudgetStatus:
    nc = await connect(system.nats.url, name="test")
    try:
        query = BudgetQuery(scope="user", account="demo", name=user)
        subject = subjects.ledger_budget(subjects.partition_of("demo"))
        answer = await nc.request(subject, codec.encode(query), timeout=5)
        return codec.BUDGET_REPORT.decode(answer.data).status
    finally:
        await nc.close()


async def test_f3_the_fourth_request_of_three_an_hour_is_refused(client: Client) -> None:
    left = []
    for _ in range(3):
        received = await asked(client, "three")
        assert isinstance(received.end, Completed)
        accepted = received.events[0]
        assert isinstance(accepted, Accepted)
        assert accepted.requests_limit is not None
        left.append(accepted.requests_limit.left)
    assert left == [2, 1, 0]
    refused = (await asked(client, "three")).failed.error
    assert refused.code == "rate_limited"
    assert refused.limit is not None
    assert (refused.limit.scope, refused.limit.limit, refused.limit.left) == ("user", "requests_per_hour", 0)
    assert refused.retry_after_s is not None
    assert 0 < refused.retry_after_s <= 3_600
    assert (await asked(client, "someone else")).completed


async def test_f1_money_is_spent_to_the_last_answer_that_fits(client: Client, system: System) -> None:
    """100 micro-dollars are two answers of 40 each."""
    codes = [(await asked(client, "poor")).code for _ in range(3)]
    assert codes == [None, None, "budget_exceeded"]

    async def is_settled() -> bool:
        status = await budget_of(system, "poor")
        return (status.spent_today_microusd, status.held_microusd, status.open_holds) == (80, 0, 0)

    await until(is_settled)


async def test_f1_an_answer_to_a_request_without_a_limit_costs_no_more_than_was_reserved(
    client: Client, system: System
) -> None:
    """8,192 micro-dollars are 4,096 tokens; neither the request nor the role of the model limits the answer."""
    received = await ask(
        client, "Tell me everything. [[tokens=5000]]", role="auto", model="talker", user="by-model"
    )
    assert received.completed.finish_reason == "length"
    assert received.completed.usage.output_tokens == 4_096
    (adapted,) = received.completed.adapted
    assert (adapted.parameter, adapted.change, adapted.sent) == ("max_tokens", "replaced", "4096")
    again = await ask(client, "And more. [[tokens=5000]]", role="auto", model="talker", user="by-model")
    assert again.code == "budget_exceeded"

    async def is_settled() -> bool:
        status = await budget_of(system, "by-model")
        return (status.spent_today_microusd, status.open_holds) == (4_096 * 2, 0)

    await until(is_settled)


async def test_f3_a_request_without_a_limit_is_told_which_one_to_set(client: Client) -> None:
    refused = (
        await ask(client, "Tell me everything.", role="auto", model="talker", user="short")
    ).failed.error
    assert refused.code == "request_too_large"
    assert "sets no max_tokens, so the default of 4,096 output tokens counts" in refused.message
    assert refused.message.endswith("Set max_tokens to at most 500.")
    limited = await ask(
        client, "Tell me a lot. [[tokens=5000]]", role="auto", model="talker", user="short", max_tokens=500
    )
    assert limited.completed.usage.output_tokens == 500
    assert limited.completed.adapted == ()


async def test_f3_a_disabled_user_is_refused(client: Client) -> None:
    assert (await asked(client, "gone")).code == "account_disabled"


async def test_f3_a_request_waits_for_the_end_of_another_within_the_concurrency(
    client: Client, system: System
) -> None:
    await system.sim("PUT", "speed", {"latency_ms": 300})
    both = await asyncio.gather(*(asked(client, "one-at-once") for _ in range(2)))
    assert [received.code for received in both] == [None, None]
    await system.sim("PUT", "speed", {"latency_ms": 0})


async def test_d8_a_cancelled_request_gives_its_place_back(client: Client, system: System) -> None:
    await system.hold_answers()
    stream = client.stream("Tell me more. [[tokens=20]]", role="chat", user="one-at-once")
    async with stream as events:
        async for event in events:
            if not isinstance(event, Accepted):
                break
    await system.release_answers()
    assert (await asked(client, "one-at-once")).completed


async def test_f1_a_ledger_that_is_killed_is_replaced_without_a_refusal(
    client: Client, system: System
) -> None:
    for ledger in tuple(system.ledgers):
        ledger.kill()
        replacement = system.new_ledger()
        system.ledgers.append(replacement)
        starting = asyncio.create_task(replacement.start())
        received = await asyncio.gather(*(asked(client, "rich") for _ in range(5)))
        assert [each.code for each in received] == [None] * 5
        await starting

    async def nothing_is_held() -> bool:
        return (await budget_of(system, "rich")).open_holds == 0

    await until(nothing_is_held)
    assert (await budget_of(system, "rich")).spent_today_microusd == 10 * ANSWER_PICOUSD // 1_000_000
