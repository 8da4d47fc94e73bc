"""C2, C3: a role whose provider answers only 429 slows no other role; its own requests complete or fail in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from penstock.client.client import Client
from tests.bench.load import percentile
from tests.harness.processes.catalogues import ROLES, catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.proofs import report_figures

STARVED = "logic"
OTHERS = tuple(role for role in ROLES if role != STARVED)
CHAINS = {STARVED: ("dry-a", "dry-b")}
LIMIT = {"limits": {"requests_per_minute": 100_000}}
"""Configured, and never reached: otherwise the workers would learn a limit from the 429s, which mean none here."""
REQUESTS = 500
ROUNDS = 4
"""Number of rounds of each kind; the kinds alternate, so that other load on the machine affects both equally."""
AT_ONCE = 16
FIRST_TOKEN_MS = 150
PATIENCE_S = 4.0
RETURNS_S = 2.0

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(
        tmp_path_factory.mktemp("isolation"),
        config=catalogue(CHAINS, models=dict.fromkeys(CHAINS[STARVED], LIMIT)),
    ) as running:
        yield running


async def ask_the_others(client: Client) -> list[float]:
    """Latencies in milliseconds of REQUESTS requests over every role but the starved one."""
    numbers = iter(range(REQUESTS))
    latencies: list[float] = []

    async def one_after_another() -> None:
        for number in numbers:
            received = await ask(client, f"Question {number}", role=OTHERS[number % len(OTHERS)])
            assert received.code is None, received.failed
            latencies.append(received.took_s * 1000)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return latencies


async def ask_the_starved(client: Client, stop: asyncio.Event) -> list[ReceivedReply]:
    """Send requests for the starved role at a constant rate until `stop` is set; return when all have ended."""
    asked: list[asyncio.Task[ReceivedReply]] = []
    while not stop.is_set():
        asked.append(asyncio.create_task(ask(client, f"{len(asked)}", role=STARVED, timeout_s=PATIENCE_S)))
        await asyncio.sleep(0.05)
    return await asyncio.gather(*asked)


async def _beside(client: Client, other: Client, latencies: list[float]) -> list[ReceivedReply]:
    stop = asyncio.Event()
    asking = asyncio.create_task(ask_the_starved(other, stop))
    await asyncio.sleep(0.3)
    latencies += await ask_the_others(client)
    stop.set()
    return await asking


async def test_c2_a_starved_role_does_not_slow_the_others(system: System) -> None:
    await system.sim("PUT", "speed", {"first_token_ms": FIRST_TOKEN_MS})
    alone: list[float] = []
    beside: list[float] = []
    starved: list[ReceivedReply] = []
    async with await system.client() as client, await system.client() as other:
        await ask_the_others(client)  # warm
        for _ in range(ROUNDS):
            # Both rounds send the starved role the same load; only the answers of its models differ.
            with_quota = await _beside(client, other, alone)
            assert {each.code for each in with_quota} == {None}
            await system.sim("PUT", "behaviour", {"dry-a": "429=1", "dry-b": "429=1"})
            starved += await _beside(client, other, beside)
            await system.sim("PUT", "behaviour", {"dry-a": "", "dry-b": ""})
            await asyncio.sleep(1)
    p95_alone, p95_beside = percentile(alone, 0.95), percentile(beside, 0.95)
    report_figures(
        f"C2: {len(alone)} + {len(beside)} requests; p50 {percentile(alone, 0.5):.1f} / "
        f"{percentile(beside, 0.5):.1f} ms, p95 {p95_alone:.1f} ms, {p95_beside:.1f} ms beside a starved role "
        f"({p95_beside / p95_alone - 1:+.1%}); {len(starved)} starved requests"
    )
    assert p95_beside <= p95_alone * 1.10
    for each in starved:
        assert each.code in {"deadline_exceeded", "overloaded"}, "it missed its deadline, or would have"
        assert (each.failed.error.retry_after_s or 0) > 0


async def test_c3_starved_requests_complete_with_new_quota_or_fail_in_time(
    system: System,
) -> None:
    await system.sim("POST", "reset")
    await system.sim("PUT", "behaviour", {"dry-a": "429=1", "dry-b": "429=1"})
    async with await system.client() as client:
        began_s = time.monotonic()
        long = [
            asyncio.create_task(ask(client, f"p{n}", role=STARVED, timeout_s=RETURNS_S + 8))
            for n in range(40)
        ]
        short = [
            asyncio.create_task(ask(client, f"h{n}", role=STARVED, timeout_s=RETURNS_S / 2))
            for n in range(40)
        ]
        await asyncio.sleep(RETURNS_S)
        limited = (await system.sim("GET", "counts"))["models"]
        attempts = sum(limited[model]["attempts"] for model in CHAINS[STARVED])
        await system.sim("PUT", "behaviour", {"dry-a": "", "dry-b": ""})
        answered = await asyncio.gather(*long)
        refused = await asyncio.gather(*short)
    report_figures(
        f"C3: all answered {time.monotonic() - began_s:.1f} s after the first request; {attempts} attempts met a 429"
    )
    assert {each.code for each in answered} == {None}
    assert max(each.took_s for each in answered) < RETURNS_S + 3
    assert {each.code for each in refused} <= {"deadline_exceeded", "overloaded"}
    assert all((each.failed.error.retry_after_s or 0) > 0 for each in refused)
