"""F1: the file system of nats-server is full: requests are refused, and every answer is paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock import NotAccepted, RequestFailed
from penstock.client.client import Client
from tests.harness.nats.failing_disk import fill, small_disk
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.records.ledger_books import (
    attempts_by_name,
    budget_status,
    nothing_held,
    provider_attempts,
    settlements,
)
from tests.harness.suite.waiting import until

MICRO_PER_TOKEN = 1_000_000
CONFIG = catalogue(
    {"chat": ["m-chat"]},
    models={"m-chat": {"price": {"input": MICRO_PER_TOKEN, "output": MICRO_PER_TOKEN}}},
    roles={"chat": {"parameters": {"max_tokens": 60}}},
    budgets={"ledger_wait_s": 1.0, "accounts": {"shop": {"microusd_per_month": 1_000_000}}},
)
REFUSED_IN_A_ROW = 3
REFUSALS = {"budget_unavailable", "not accepted", "overloaded", "deadline_exceeded"}
"""By the ledger, by JetStream, by the router where `LLM_REPLIES` cannot be written first, and of requests that were
accepted before and cannot be answered."""


@pytest.fixture
def store_disk(tmp_path: Path) -> Iterator[Path]:
    """The directory of the store of nats-server, with a file system of its own."""
    with small_disk(tmp_path / "nats" / "store") as store:
        yield store


@pytest.mark.timeout(120)
async def test_f1_a_full_file_system_refuses_requests_and_leaves_no_answer_unpaid(
    tmp_path: Path, store_disk: Path
) -> None:
    async with running_system(tmp_path, "chat", config=CONFIG, ledgers=1) as system:
        async with await system.client(account="shop") as client:
            assert await outcome(client, 20) is None
            await system.hold_answers()
            in_flight = asyncio.create_task(outcome(client, 60))
            await until(lambda: is_calling(system))
            fill(store_disk / "filler")
            await system.release_answers()
            codes: list[str | None] = []
            while len(codes) < REFUSED_IN_A_ROW or None in codes[-REFUSED_IN_A_ROW:]:
                codes.append(await outcome(client, 5))
            assert {code for code in codes if code is not None} <= REFUSALS

            (store_disk / "filler").unlink()
            await system.nats.restart()  # it does not write again by itself
            await until(lambda: is_answered(client), 30)
            await in_flight
        await nothing_held(system, "shop", 60)
        await until(lambda: all_booked(system), 30, every_s=0.3)
        used = sum(each.prompt_tokens + each.completion_tokens for each in await provider_attempts(system))
        assert (await budget_status(system, "account", "shop")).spent_this_month_microusd == used


async def is_calling(system) -> bool:
    return await system.attempts() == 2


async def outcome(client: Client, timeout_s: float) -> str | None:
    """The code of the error; None: it was answered."""
    try:
        await client.chat("Hello. [[tokens=10]]", role="chat", timeout_s=timeout_s)
    except RequestFailed as failed:
        return failed.code
    except NotAccepted as error:
        return "not accepted" if "disk" in str(error) else str(error)
    return None


async def is_answered(client: Client) -> bool:
    return await outcome(client, 5) is None


async def all_booked(system) -> bool:
    """Whether the attempts of the provider are booked, each once."""
    booked = attempts_by_name(await settlements(system))
    return booked.keys() >= {each.label for each in await provider_attempts(system)} and set(
        booked.values()
    ) == {1}
