"""C1, C3, D1: limits are kept, requests wait for quota, and each ends at its deadline at the latest."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.contract.reply import TERMINAL, Completed, Delta, Failed, ReplyEvent
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ReceivedReply, ask
from tests.harness.suite.waiting import until

CHAINS = {
    "chat": ("talker",),
    "logic": ("ten-a-minute",),
    "coding": ("two-at-once",),
    "fast": ("orphaned",),
    "creative": ("metered",),
    "vision": ("five-a-minute",),
    "safety": ("six-a-minute",),
    "long_context": ("small-budget",),
}
MODELS = {
    "ten-a-minute": {"limits": {"requests_per_minute": 10}},
    "five-a-minute": {"limits": {"requests_per_minute": 5}},
    "six-a-minute": {"limits": {"requests_per_minute": 6}},
    "two-at-once": {"limits": {"concurrency": 2}},
    "small-budget": {"limits": {"tokens_per_minute": 1000}},
}
WORKERS = ("chat,logic,coding,creative,vision,safety,long_context", "fast")
UNSERVED = "reasoning"
MINUTE_S = 62
"""Seconds after which a minute's quota is back: 61 s where workers share it, reported in whole seconds, rounded up."""
LONG_TIMEOUTS = {
    "timeouts": {"total_s": 90, "non_streaming_s": 80, "first_token_s": 80, "between_tokens_s": 80}
}
"""Time limits beyond every wait of these tests, so that only the deadline can end a call."""
MISSED_S = 15.0
"""Seconds that a request may end after its deadline and still show that the deadline ended it, on a busy machine. A
forecast may be so much too late, too, because the heartbeats are late: less than the minute to the next quota."""
REST = 8
"""Requests beyond the limit."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        CHAINS, models=MODELS, roles={"chat": LONG_TIMEOUTS}, breaker={"failure_threshold": 10_000}
    )
    with shared_system(tmp_path_factory.mktemp("deadlines"), *WORKERS, config=config) as running:
        yield running


@pytest.fixture(autouse=True)
async def at_full_speed(system: System) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "latency_ms": 0})


async def test_d1_a_deadline_in_mid_stream_stops_the_provider_and_is_reported(
    system: System, client: Client
) -> None:
    await system.hold_answers()

    received = await ask(client, "On and on [[tokens=2000]]", role="chat", timeout_s=2.0)

    assert any(isinstance(event, Delta) for event in received.events)
    assert received.code == "deadline_exceeded"
    assert "during the provider call" in received.failed.error.message
    assert received.failed.error.retry == "later"
    assert 1.9 <= received.took_s < 2.0 + MISSED_S
    await until(lambda: _cancelled(system, "talker"))


async def test_d1_a_deadline_during_a_whole_answer_stops_the_provider(system: System, client: Client) -> None:
    await system.hold_answers()

    received = await ask(client, "Hm", role="chat", stream=False, timeout_s=0.5)

    assert received.code == "deadline_exceeded"
    assert received.took_s < 0.5 + MISSED_S
    await until(lambda: _cancelled(system, "talker"))


@pytest.mark.parametrize(
    ("role", "model", "limit"), [("logic", "ten-a-minute", 10), ("vision", "five-a-minute", 5)]
)
async def test_c1_c3_a_limit_per_minute_is_used_and_the_rest_get_retry_after(
    system: System, client: Client, role: str, model: str, limit: int
) -> None:
    received = await asyncio.gather(
        *(ask(client, f"{n}", role=role, timeout_s=5) for n in range(limit + REST))
    )

    answered = [each for each in received if each.code is None]
    refused = [each for each in received if each.code is not None]
    assert len(answered) == await system.attempts(model) == limit
    # A rejection names a later minute the longer the queue is that the router counts, up to all that were sent.
    minutes = math.ceil((limit + REST) / limit)
    latest_s = {"deadline_exceeded": MINUTE_S, "overloaded": minutes * MINUTE_S + MISSED_S}
    for each in refused:
        assert 30 < (each.failed.error.retry_after_s or 0) <= latest_s[each.code]
        assert each.took_s < 5 + MISSED_S
    # A later request is rejected by admission, and nothing more reaches the provider.
    late: list[ReceivedReply] = []

    async def rejected() -> bool:
        """The router's count of the backlog is up to two seconds old."""
        late.append(await ask(client, "late", role=role, timeout_s=0.5))
        return late[-1].code == "overloaded" and 30 < (late[-1].failed.error.retry_after_s or 0) <= MINUTE_S

    await until(rejected)
    assert await system.attempts(model) == limit


async def test_c1_a_concurrency_limit_is_used_and_never_exceeded(system: System, client: Client) -> None:
    await system.sim("PUT", "speed", {"latency_ms": 60})

    received = await asyncio.gather(*(ask(client, f"{n}", role="coding") for n in range(16)))

    assert {each.completed.model for each in received} == {"two-at-once"}
    counts = (await system.sim("GET", "counts"))["models"]["two-at-once"]
    assert counts["attempts"] == 16
    assert counts["max_in_flight"] == 2


async def test_c3_quota_that_returns_in_time_answers_every_request(system: System, client: Client) -> None:
    await system.sim("PUT", "limits", {"metered": {"requests_per_minute": 4, "window_s": 0.8}})
    try:
        received = await asyncio.gather(*(ask(client, f"{n}", role="creative") for n in range(10)))
    finally:
        await system.sim("PUT", "limits", {"metered": None})

    assert {each.code for each in received} == {None}
    counts = (await system.sim("GET", "counts"))["models"]["metered"]
    assert counts["ok"] == 10
    assert counts["errors"].get("429", 0) <= 12  # at most those that were in flight together


async def test_c2_a_role_without_quota_does_not_slow_another(system: System, client: Client) -> None:
    streams = [client.stream(f"starved {n}", role="safety", timeout_s=900) for n in range(60)]
    starved = [asyncio.create_task(_last_event(stream)) for stream in streams]

    async def quota_is_used_up() -> bool:
        return await system.attempts("six-a-minute") == 6

    await until(quota_is_used_up)

    others = await asyncio.gather(*(ask(client, f"other {n}", role="chat") for n in range(20)))

    assert {each.code for each in others} == {None}
    assert sum(not task.done() for task in starved) == 54
    await asyncio.gather(*(client.cancel(stream.id) for stream in streams))
    ends = Counter(type(event) for event in await asyncio.gather(*starved))
    assert ends == {Completed: 6, Failed: 54}
    assert await system.attempts("six-a-minute") == 6


async def test_c3_without_a_worker_the_router_ends_a_request_at_its_deadline(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    system.workers[1].kill()

    received = await ask(client, "Is a worker there?", role="fast", timeout_s=1)

    assert received.code == "deadline_exceeded"
    assert "mailbox of the role fast" in received.failed.error.message
    assert received.failed.error.retry_after_s is not None
    assert 1 <= received.took_s < 1 + MISSED_S
    assert await system.attempts("orphaned") == 0
    stored = await publisher.stored(received.id, client=client.name)
    assert len([event for event in stored if isinstance(event, TERMINAL)]) == 1
    system.workers[1] = system.new_worker("fast")
    await system.workers[1].start()


async def test_c3_a_role_that_no_worker_serves_is_rejected_by_admission(
    system: System, client: Client
) -> None:
    received = await ask(client, "Think", role=UNSERVED)

    assert received.code == "role_not_served"
    assert UNSERVED in received.failed.error.message
    assert received.failed.error.retry == "later"
    assert (received.failed.error.retry_after_s or 0) > 0
    assert received.took_s < MISSED_S


async def test_c3_a_request_above_the_whole_limit_is_rejected_at_once(system: System, client: Client) -> None:
    received = await ask(client, "short", role="long_context", max_tokens=900_000)

    assert received.code == "request_too_large"
    assert "quota" in received.failed.error.message
    assert received.took_s < MISSED_S
    assert await system.attempts("small-budget") == 0


async def _last_event(stream: AsyncIterable[ReplyEvent]) -> ReplyEvent:
    return [event async for event in stream][-1]


async def _cancelled(system: System, model: str) -> bool:
    counts = await system.sim("GET", "counts")
    return bool(counts["models"][model]["cancelled"])
