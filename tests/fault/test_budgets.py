"""F1: a budget under concurrency and crashes is never exceeded, is used up, and leaves nothing held."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock import RequestFailed
from penstock.client.client import Client
from penstock.contract import subjects
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.records.ledger_books import budget_status, nothing_held, owner_of, provider_attempts
from tests.harness.suite.waiting import until

CLIENTS = 200
AFFORDABLE = 137
MICRO_PER_TOKEN = 1_000_000
"""A price at which each token costs one micro-dollar."""
OUTPUT_TOKENS = 60
PROMPT = f"Where does it go? [[tokens={OUTPUT_TOKENS}]]"
DEADLINE_S = 40.0


def _config(limit_microusd: int) -> str:
    price = {"input": MICRO_PER_TOKEN, "output": MICRO_PER_TOKEN}
    return catalogue(
        {"chat": ["m-chat"]},
        models={"m-chat": {"price": price}},
        roles={"chat": {"slots_per_worker": 32}},
        budgets={"accounts": {"shop": {"microusd_per_month": limit_microusd}}},
    )


async def _cost(directory: Path) -> int:
    """The micro-dollars of one request, as the ledger books it."""
    async with running_system(directory, "chat", config=_config(1_000_000), ledgers=1) as system:
        client = await system.client(account="shop")
        await client.chat(PROMPT, role="chat", max_tokens=OUTPUT_TOKENS)
        await client.close()
        await nothing_held(system, "shop", 5)
        return (await budget_status(system, "account", "shop")).spent_this_month_microusd


@pytest.mark.timeout(120)
async def test_f1_two_hundred_clients_spend_a_budget_exactly_while_a_ledger_is_killed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "all").mkdir()
    cost = await _cost(tmp_path / "one")
    config = _config(AFFORDABLE * cost)
    async with running_system(tmp_path / "all", "chat", config=config, ledgers=3) as system:
        await system.sim("PUT", "speed", {"latency_ms": 100})
        await asyncio.gather(*(router.start() for router in (system.new_router(), system.new_router())))
        clients = [await system.client(account="shop") for _ in range(4)]
        answered: list[None] = []
        asking = [
            asyncio.create_task(_ask_until_decided(clients[number % len(clients)], answered))
            for number in range(CLIENTS)
        ]
        await _kill_owner(system, answered)
        codes = [code for code in await asyncio.gather(*asking) if code is not None]
        for client in clients:
            await client.close()

        assert set(codes) == {"budget_exceeded"}
        assert AFFORDABLE - 1 <= len(answered) <= AFFORDABLE
        await nothing_held(system, "shop", DEADLINE_S)
        status = await budget_status(system, "account", "shop")
        assert status.spent_this_month_microusd == len(answered) * cost <= AFFORDABLE * cost
        used = sum(each.prompt_tokens + each.completion_tokens for each in await provider_attempts(system))
        assert used == status.spent_this_month_microusd


async def _ask_until_decided(client: Client, answered: list[None]) -> str | None:
    """Ask again while holds of others are in the way or too many wait for the next ledger, as the refusal advises;
    returns the code of the final one.
    """
    while True:
        try:
            await client.chat(PROMPT, role="chat", max_tokens=OUTPUT_TOKENS, timeout_s=DEADLINE_S)
        except RequestFailed as failed:
            if failed.code not in ("rate_limited", "budget_unavailable"):
                return failed.code
            await asyncio.sleep(failed.retry_after_s or 1.0)
        else:
            answered.append(None)
            return None


async def _kill_owner(system: System, answered: list[None]) -> None:
    """Kill the ledger that owns the account, once a part of the budget is spent."""

    async def some_spent() -> bool:
        return len(answered) >= 20

    await until(some_spent, 30, every_s=0.02)
    owner = await owner_of(system, subjects.partition_of("shop"))
    owner.kill()
