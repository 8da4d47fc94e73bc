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
START_S = 60 / PER_MINUTE
"""Seconds between two starts; a wait is estimated at most twice as long."""
WAITING = 3
"""Requests of another user that wait before those of the test."""
SLACK_S = 1.0
"""Seconds by which a short wait may differ in addition."""


async def waited(client: Client, text: str, user: str = "") -> tuple[Accepted, float]:
    """The `accepted` of a request, and the seconds from it to the start of its call."""
    reply = await ask(client, text, role="coding", user=user, timeout_s=300)
    (accepted,) = (event for event in reply.events if isinstance(event, Accepted))
    (started,) = (event for event in reply.events if isinstance(event, Started))
    return accepted, (started.at_ms - accepted.at_ms) / 1000


async def explained(client: Client) -> RoutingExplained:
    payload = explain_request(
        Question(prompt="", role="coding"), {"messages": [{"role": "user", "content": "when?"}]}, "demo"
    )
    answer = await client._nc.request(subjects.EXPLAIN, payload, timeout=5)
    return msgspec.json.decode(answer.data, type=RoutingExplained)


async def test_e5_estimated_waits_follow_the_queue_and_come_true(tmp_path: Path) -> None:
    config = catalogue(models={"m-coding": {"limits": LIMITS}})
    async with running_system(tmp_path, config=config) as system, await system.client() as client:
        await asyncio.gather(*(waited(client, f"use it up {number}") for number in range(PER_MINUTE)))
        first: list[asyncio.Task[tuple[Accepted, float]]] = []

        async def known() -> bool:
            """However much the bucket refilled during the burst, it is empty: some request has waited for its turn. The
            heartbeats and the counts of the burst are replaced by newer ones.
            """
            waits = [each for each in first if not each.done()]
            asking = (waited(client, "the first to wait", user="first") for _ in range(WAITING - len(waits)))
            first.extend(map(asyncio.create_task, asking))
            has_waited = any(each.result()[1] >= SLACK_S for each in first if each.done())
            return has_waited and 0 < ((await explained(client)).wait_s or 0) <= WAITING

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
    for (place, earlier_s), (next_place, later_s) in pairwise(zip(positions, estimates_s, strict=True)):
        started = max(0, place + 1 - next_place)  # while the test sent the next one
        assert later_s >= earlier_s - SLACK_S - started * 2 * START_S
    assert estimates_s[-1] - estimates_s[0] >= 0.75 * (positions[-1] - positions[0]) * START_S
    starts_s = sorted(accepted.at_ms / 1000 + wait_s for accepted, wait_s in results)
    for start_s, (accepted, _), estimate_s in zip(starts_s, results, estimates_s, strict=True):
        wait_s = (
            start_s - accepted.at_ms / 1000
        )  # requests of one user may start in another order (decision 0011)
        assert wait_s / 2 - SLACK_S <= estimate_s <= wait_s * 2 + SLACK_S
    accepted, wait_s = newcomer
    assert accepted.queue_position <= QUEUED / 2, "a user with an empty queue starts earlier (C6)"
    assert wait_s <= accepted.estimated_wait_s * 2 + SLACK_S
    assert would_wait.wait_s >= estimates_s[-1] - SLACK_S
    assert would_wait.queue_position >= positions[-1]
