"""E5: an accepted request reports its queue position and its wait, which then come true."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import msgspec

from penstock.cli.commands.explain import explain_request
from penstock.cli.commands.question import Question
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.explain import RoutingExplained
from penstock.contract.reply import Accepted, Started
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

QUEUED = 20
PER_MINUTE = 120
LIMITS = {"requests_per_minute": PER_MINUTE, "kind": "token_bucket"}
"""A full bucket, which then refills with two requests per second."""
SLACK_S = 1.0
"""Seconds by which a short wait may differ in addition: two requests that start in another order."""


async def waited(client: Client, text: str, user: str = "") -> tuple[Accepted, float]:
    """The `accepted` of a request, and the seconds from it to the start of its call."""
    reply = await ask(client, text, role="coding", user=user, timeout_s=300)
    (accepted,) = (event for event in reply.events if isinstance(event, Accepted))
    (started,) = (event for event in reply.events if isinstance(event, Started))
    return accepted, (started.at_ms - accepted.at_ms) / 1000


async def explained(client: Client) -> RoutingExplained:
    payload = explain_request(
        Question(prompt="", role="coding"), [{"role": "user", "content": "when?"}], "demo"
    )
    answer = await client._nc.request(subjects.EXPLAIN, payload, timeout=5)
    return msgspec.json.decode(answer.data, type=RoutingExplained)


async def test_e5_estimated_waits_rise_and_come_true(tmp_path: Path) -> None:
    config = catalogue(models={"m-coding": {"limits": LIMITS}})
    async with running_system(tmp_path, config=config) as system, await system.client() as client:
        await asyncio.gather(*(waited(client, f"use it up {number}") for number in range(PER_MINUTE)))
        first = [asyncio.create_task(waited(client, "the first to wait")) for _ in range(3)]

        async def known() -> bool:
            """The heartbeats and the counts of the burst are replaced by newer ones."""
            return 0 < ((await explained(client)).wait_s or 0) <= len(first)

        await until(known)
        queued = []
        for number in range(QUEUED):
            queued.append(asyncio.create_task(waited(client, f"queued {number}")))
            await asyncio.sleep(0.02)  # in this order
        would_wait = await explained(client)
        newcomer = await waited(client, "of another user", user="new")
        results = await asyncio.gather(*queued)
        await asyncio.gather(*first)

    positions = [accepted.queue_position for accepted, _ in results]
    estimates_s = [accepted.estimated_wait_s for accepted, _ in results]
    print("\n", *zip(positions, estimates_s, (round(wait_s, 1) for _, wait_s in results), strict=True))
    assert all(later >= earlier - 1 for earlier, later in pairwise(positions))
    assert positions[-1] >= positions[0] + 0.75 * QUEUED
    assert all(later >= earlier - SLACK_S for earlier, later in pairwise(estimates_s))
    for estimate_s, (_, wait_s) in zip(estimates_s, results, strict=True):
        assert wait_s / 2 - SLACK_S <= estimate_s <= wait_s * 2 + SLACK_S
    accepted, wait_s = newcomer
    assert accepted.queue_position <= QUEUED / 2, "a user with an empty queue starts earlier (C6)"
    assert wait_s <= accepted.estimated_wait_s * 2 + SLACK_S
    assert would_wait.wait_s >= estimates_s[-1] - SLACK_S
    assert would_wait.queue_position >= positions[-1]
