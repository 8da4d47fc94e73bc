"""F1, F2: a worker raises the hold of a request before it pays for another attempt, and releases what is not used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.reply import Delta
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

INPUT, OUTPUT = 1_000_000, 2_000_000
LIMIT = LimitStatus(scope="account", limit="microusd_per_day", allowed=100, spent=100)
CHAINS = {
    "chat": ("cutter--cut=20", "talker"),
    "logic": ("refuser--429-bare", "talker"),
    "coding": ("unavailable--503", "refuser--429-bare"),
}
PRICED = {
    model: {"price": {"input": INPUT, "output": OUTPUT}} for chain in CHAINS.values() for model in chain
}
LONG = "Tell me of the river. [[tokens=40]]"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        CHAINS,
        models=PRICED,
        role={"retry": {"same_model_retries": 0, "initial_backoff_s": 0.01}, "max_model_wait_s": 0},
        breaker={"failure_threshold": 1_000},
        budgets={"ledger_wait_s": 0.4},
    )
    roles = ",".join(CHAINS)
    with shared_system(tmp_path_factory.mktemp("raised"), roles, config=config) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def ledger(system: System) -> AsyncIterator[FakeLedger]:
    await system.sim("POST", "reset")
    async with FakeLedger.running(system.nats.url) as running:
        yield running


async def test_f1_a_retry_after_a_cut_stream_is_reserved_before_it_is_made(
    client: Client, ledger: FakeLedger
) -> None:
    received = await ask(client, LONG, role="chat", max_tokens=50)
    assert received.completed
    await until(lambda: len(ledger.settled) == 2)

    first, raised = ledger.asked_for(received.id)
    cut, answered = sorted(ledger.settled, key=lambda usage: usage.attempt)
    assert (cut.outcome, cut.estimated, cut.ends) == ("connection", True, False)
    assert (answered.outcome, answered.estimated, answered.ends) == ("completed", False, True)
    # What the cut attempt costs by the estimate of that moment, and the next attempt at the same prices.
    assert raised.picousd - first.picousd == pytest.approx(cut.cost_picousd, rel=0.5)
    assert raised.tokens > first.tokens
    assert (raised.account, raised.role, raised.output_tokens) == (first.account, first.role, 50)
    assert raised.deadline_ms == first.deadline_ms
    assert ledger.why_released(received.id) == []
    spent = cut.cost_picousd + answered.cost_picousd
    assert received.completed.cost_microusd == (spent + 500_000) // 1_000_000


async def test_f1_a_refused_retry_ends_with_the_limit_and_frees_the_rest(
    client: Client, ledger: FakeLedger
) -> None:
    async def refuse_raised(request: HoldRequest) -> HoldAnswer:
        if len(ledger.asked) == 1:
            return HoldGranted(id=request.id)
        return HoldRefused(id=request.id, code="budget_exceeded", message="used up", limit=LIMIT)

    ledger.decide = refuse_raised
    received = await ask(client, LONG, role="chat", max_tokens=50)
    error = received.failed.error
    assert (error.code, error.limit) == ("budget_exceeded", LIMIT)
    assert "another attempt was not made" in error.message
    await until(lambda: ledger.why_released(received.id) == ["budget_exceeded"])
    assert [usage.attempt for usage in ledger.settled] == [1]


async def test_f1_a_retry_after_attempts_that_cost_nothing_asks_nothing(
    client: Client, ledger: FakeLedger
) -> None:
    received = await ask(client, "Hello.", role="logic", max_tokens=50)
    assert received.completed
    await until(lambda: any(usage.ends for usage in ledger.settled))
    assert len(ledger.asked_for(received.id)) == 1
    assert ledger.why_released(received.id) == []


async def test_f1_a_request_that_fails_at_every_model_releases_its_hold_after_its_usage(
    client: Client, ledger: FakeLedger
) -> None:
    received = await ask(client, "Hello.", role="coding", max_tokens=50, timeout_s=3)
    code = received.failed.error.code
    await until(lambda: ledger.why_released(received.id) == [code])
    assert ledger.settled
    assert not any(usage.ends for usage in ledger.settled)
    assert len(ledger.asked_for(received.id)) == 1


async def test_f1_a_cancelled_stream_is_charged_for_what_it_produced(
    client: Client, ledger: FakeLedger, system: System
) -> None:
    await system.hold_answers(after_tokens=10)
    stream = client.stream(LONG, role="logic", max_tokens=50)
    async for event in stream:
        if isinstance(event, Delta):
            await client.cancel(stream.id)
    await until(lambda: ledger.why_released(stream.id) == ["cancelled"])
    (cancelled,) = [usage for usage in ledger.settled if usage.outcome == "cancelled"]
    assert cancelled.estimated
    assert 0 < cancelled.output_tokens < 40
    assert cancelled.cost_picousd == cancelled.input_tokens * INPUT + cancelled.output_tokens * OUTPUT


async def test_f2_the_tokens_of_a_cut_stream_are_nearly_those_that_the_simulator_counted(
    client: Client, ledger: FakeLedger, system: System
) -> None:
    pytest.importorskip("quicktok")
    received = await ask(client, LONG, role="chat", max_tokens=50)
    await until(lambda: len(ledger.settled) == 2)
    cut = next(usage for usage in ledger.settled if usage.outcome == "connection")
    used = next(each for each in await system.sim("GET", "attempts") if each["label"] == f"{received.id}.1")
    # A token of the simulator is up to six letters or one sign, one of o200k a common word of any length: English text
    # has 0.6 to 1.1 as many of the latter. The prompt is short, and OpenAI's charges around it are not the simulator's.
    assert 0.6 <= cut.output_tokens / used["completion_tokens"] <= 1.1
    assert abs(cut.input_tokens - used["prompt_tokens"]) <= 12
