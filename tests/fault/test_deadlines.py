"""C1, C3, D1: limits are kept, work waits for quota, and nothing waits past its deadline unheard."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.contract.reply import TERMINAL, Delta
from tests.harness.catalogues import catalogue
from tests.harness.replies import RawPublisher, ReceivedReply, ask, until
from tests.harness.system import System, shared_system

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
TOLD_S = 62
"""A minute is counted as 61 s at most where workers share it, and told in steps of a second, never too early."""
SWEPT_S = 4.0
"""How long after a deadline the router's sweep may need: two seconds of grace and a round."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, models=MODELS, breaker={"failures": 10_000})
    with shared_system(tmp_path_factory.mktemp("deadlines"), *WORKERS, config=config) as running:
        yield running


@pytest.fixture(autouse=True)
async def at_full_speed(system: System) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    yield
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "latency_ms": 0})


async def test_d1_a_deadline_in_mid_stream_stops_the_provider_and_says_so(
    system: System, client: Client
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 50})

    received = await ask(client, "On and on [[tokens=2000]]", role="chat", timeout_s=0.7)

    assert any(isinstance(event, Delta) for event in received.events)
    assert received.code == "deadline_exceeded"
    assert "while an answer was being made" in received.failed.error.message
    assert received.failed.error.retry == "later"
    assert 0.6 <= received.took_s < 1.5
    await until(lambda: _cancelled(system, "talker"), 1.0)


async def test_d1_a_deadline_while_a_whole_answer_is_made(system: System, client: Client) -> None:
    await system.sim("PUT", "speed", {"latency_ms": 5000})

    received = await ask(client, "Hm", role="chat", stream=False, timeout_s=0.5)

    assert received.code == "deadline_exceeded"
    assert received.took_s < 1.5
    await until(lambda: _cancelled(system, "talker"), 1.0)


@pytest.mark.parametrize(
    ("role", "model", "limit"), [("logic", "ten-a-minute", 10), ("vision", "five-a-minute", 5)]
)
async def test_c1_c3_the_limit_of_a_minute_is_kept_and_used_up_and_the_rest_is_told_when(
    system: System, client: Client, role: str, model: str, limit: int
) -> None:
    began_s = time.monotonic()

    received = await asyncio.gather(
        *(ask(client, f"{n}", role=role, timeout_s=1.5) for n in range(limit + 8))
    )

    answered = [each for each in received if each.code is None]
    refused = [each for each in received if each.code is not None]
    assert len(answered) == await system.attempts(model) == limit
    latest_s = {"deadline_exceeded": 60, "overloaded": math.ceil(8 / limit) * TOLD_S}
    """At the door whoever is behind a line of eight is told of the minute in which the line has been served."""
    for each in refused:
        assert 45 < (each.failed.error.retry_after_s or 0) <= latest_s[each.code]
    assert time.monotonic() - began_s < 1.5 + SWEPT_S
    # Who asks only now is told at the door, and nothing more reaches the provider.
    late: list[ReceivedReply] = []

    async def told() -> bool:
        """The door's count of the line is up to two seconds old."""
        late.append(await ask(client, "late", role=role, timeout_s=0.5))
        return late[-1].code == "overloaded" and 45 < (late[-1].failed.error.retry_after_s or 0) <= TOLD_S

    await until(told)
    assert late[-1].took_s < 0.5
    assert await system.attempts(model) == limit


async def test_c1_a_limit_of_concurrency_is_never_passed_and_is_used(system: System, client: Client) -> None:
    await system.sim("PUT", "speed", {"latency_ms": 60})

    received = await asyncio.gather(*(ask(client, f"{n}", role="coding") for n in range(16)))

    assert {each.completed.model for each in received} == {"two-at-once"}
    counts = (await system.sim("GET", "counts"))["models"]["two-at-once"]
    assert counts["attempts"] == 16
    assert counts["max_in_flight"] == 2


async def test_c3_quota_that_returns_in_time_answers_everybody(system: System, client: Client) -> None:
    await system.sim("PUT", "limits", {"metered": {"requests_per_minute": 4, "window_s": 0.8}})
    try:
        received = await asyncio.gather(*(ask(client, f"{n}", role="creative") for n in range(10)))
    finally:
        await system.sim("PUT", "limits", {"metered": None})

    assert {each.code for each in received} == {None}
    counts = (await system.sim("GET", "counts"))["models"]["metered"]
    assert counts["ok"] == 10
    assert counts["errors"].get("429", 0) <= 12  # at most those that were under way together


async def test_c2_a_role_without_quota_does_not_slow_another(system: System, client: Client) -> None:
    starved = [
        asyncio.create_task(ask(client, f"starved {n}", role="safety", timeout_s=1.5)) for n in range(60)
    ]
    await asyncio.sleep(0.2)

    others = [await ask(client, f"other {n}", role="chat") for n in range(20)]

    assert max(each.took_s for each in others) < 1, "sooner than any of the starved is given up"
    ends = [each.code for each in await asyncio.gather(*starved)]
    assert ends.count(None) == 6
    assert ends.count("overloaded") + ends.count("deadline_exceeded") == 54


async def test_c3_without_a_live_worker_the_router_ends_it_at_the_deadline(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    system.workers[1].kill()

    received = await ask(client, "Anybody?", role="fast", timeout_s=1)

    assert received.code == "deadline_exceeded"
    assert "mailbox of the role fast" in received.failed.error.message
    assert received.failed.error.retry_after_s is not None
    assert 1 <= received.took_s < 1 + SWEPT_S
    assert await system.attempts("orphaned") == 0
    stored = await publisher.stored(received.id, client=client.name)
    assert len([event for event in stored if isinstance(event, TERMINAL)]) == 1
    system.workers[1] = system.new_worker("fast")
    await system.workers[1].start()


async def test_c3_a_role_nobody_serves_is_refused_at_the_door(system: System, client: Client) -> None:
    received = await ask(client, "Think", role=UNSERVED)

    assert received.code == "role_not_served"
    assert UNSERVED in received.failed.error.message
    assert received.failed.error.retry == "later"
    assert (received.failed.error.retry_after_s or 0) > 0
    assert received.took_s < 0.5


async def test_c3_a_need_above_the_whole_limit_is_refused_and_not_left_to_wait(
    system: System, client: Client
) -> None:
    received = await ask(client, "short", role="long_context", max_tokens=900_000)

    assert received.code == "request_too_large"
    assert "quota" in received.failed.error.message
    assert received.took_s < 1
    assert await system.attempts("small-budget") == 0


async def _cancelled(system: System, model: str) -> bool:
    counts = await system.sim("GET", "counts")
    return bool(counts["models"][model]["cancelled"])
