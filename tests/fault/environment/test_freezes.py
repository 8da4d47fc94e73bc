"""D1, D3, F1: processes that were stopped for some seconds go on as if no time had passed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.freezing import frozen
from tests.harness.processes.system import System, shared_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.examples import cases
from tests.harness.suite.waiting import until

LIMITS = {"first_token_s": 2.5, "between_tokens_s": 2.5, "non_streaming_s": 2.5, "total_s": 60}
FROZEN_S = 3.5
"""Longer than the limits of a call, and than `ack_wait`."""
REQUESTS = 12


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue({"chat": ["m-chat"]}, role={"timeouts": LIMITS})
    with shared_system(tmp_path_factory.mktemp("system"), "chat", "chat", config=config) as running:
        yield running


async def answered_across(system: System, client: Client, pids: Sequence[int]) -> list[ReceivedReply]:
    """Replies to requests whose processes stop in the middle, while the provider sends the rest of the answers."""
    await system.sim("POST", "reset")
    await system.hold_answers()
    asked = [
        asyncio.create_task(ask(client, f"Question {number}", role="chat", stream=number % 2 == 0))
        for number in range(REQUESTS)
    ]

    async def called() -> bool:
        return await system.attempts("m-chat") == REQUESTS

    await until(called)
    with frozen(pids):
        await system.release_answers()
        await asyncio.sleep(FROZEN_S)
    return list(await asyncio.gather(*asked))


async def breakers(system: System) -> list[str]:
    """The metrics of breakers that are not closed."""
    lines = "".join([await system.metrics(worker) for worker in system.workers]).splitlines()
    return [
        each for each in lines if each.startswith("penstock_breaker_state{") and not each.endswith(" 0.0")
    ]


async def test_d3_all_workers_stopped_lose_no_answer_and_open_no_breaker(
    system: System, client: Client
) -> None:
    replies = await answered_across(system, client, [each.pid for each in system.workers])
    assert [each.code for each in replies] == [None] * REQUESTS
    assert [len(each.models) for each in replies] == [1] * REQUESTS, "answers that waited in the socket"
    assert await system.attempts("m-chat") == REQUESTS
    assert await breakers(system) == []


async def test_f1_a_worker_that_was_replaced_meanwhile_drops_its_requests(
    system: System, client: Client
) -> None:
    replies = await answered_across(system, client, [system.workers[0].pid])
    assert [each.code for each in replies] == [None] * REQUESTS
    assert max(len(each.models) for each in replies) <= 2, "the worker that woke began no further attempt"
    audit = await audit_attempts(system, {each.id for each in replies})
    audit.check()
    assert await breakers(system) == []


@pytest.mark.parametrize("which", cases(["nats", "router", "everything"], long={"router", "everything"}))
async def test_d1_other_processes_stopped_lose_no_answer(system: System, client: Client, which: str) -> None:
    nats = [system.nats.pid]
    everything = [*nats, system.router.pid, *(each.pid for each in system.workers)]
    pids = {"router": [system.router.pid], "nats": nats, "everything": everything}[which]
    replies = await answered_across(system, client, pids)
    assert [each.code for each in replies] == [None] * REQUESTS
    audit = await audit_attempts(system, {each.id for each in replies})
    audit.check()
    assert audit.made.total() == REQUESTS
    assert await breakers(system) == []
