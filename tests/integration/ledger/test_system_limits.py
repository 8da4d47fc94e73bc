"""C5, F3: limits of the whole system, which count the requests of all accounts, whoever owns their partitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from penstock.runtime.buckets.changes import Author
from penstock.runtime.budgets.changes import change_policy
from tests.harness.processes.ledgers import LedgerUser, running_ledger
from tests.harness.suite.waiting import until

BUDGETS = {
    "system": {"microusd_per_day": 10_000, "concurrency": 4},
    "accounts": {"small": {"concurrency": 1}},
}


@pytest.fixture
async def accounts(own_nats_server: NatsServer, own_nc: Nats) -> AsyncIterator[list[LedgerUser]]:
    """Accounts in different partitions of two ledgers."""
    async with running_ledger(own_nats_server.url, BUDGETS), running_ledger(own_nats_server.url, BUDGETS):
        yield [LedgerUser(own_nc, f"account{number}") for number in range(8)]


async def open_in_system(user: LedgerUser) -> int:
    return (await user.status("system")).open_holds


async def test_c5_the_limit_of_the_system_holds_over_all_accounts(accounts: list[LedgerUser]) -> None:
    answers = await asyncio.gather(*(each.hold("one") for each in accounts))
    refused = [each for each in answers if isinstance(each, HoldRefused)]
    assert len(refused) == 4
    assert {each.limit.scope for each in refused if each.limit is not None} == {"system"}
    assert await open_in_system(accounts[0]) == 4
    for each, answer in zip(accounts, answers, strict=True):
        if isinstance(answer, HoldGranted):
            await each.use("one", 100)
    await until(lambda: has_open(accounts[0], 0))
    assert (await accounts[0].status("system")).spent_today_microusd == 400


async def has_open(user: LedgerUser, holds: int) -> bool:
    return await open_in_system(user) == holds


async def test_c5_a_hold_waits_for_the_release_of_another_account(accounts: list[LedgerUser]) -> None:
    for each in accounts[:4]:
        assert isinstance(await each.hold("one"), HoldGranted)
    waiting = asyncio.create_task(accounts[5].hold("one", wait_s=10))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await accounts[0].release("one")
    assert isinstance(await waiting, HoldGranted)


async def test_c5_what_the_account_refuses_is_not_held_in_the_system(
    accounts: list[LedgerUser], own_nc: Nats
) -> None:
    small = LedgerUser(own_nc, "small")
    answers = await asyncio.gather(*(small.hold() for _ in range(4)))
    assert sum(isinstance(each, HoldGranted) for each in answers) == 1
    await until(lambda: has_open(small, 1))


async def test_c5_a_limit_of_the_system_counts_what_was_used_before_it_was_set(
    own_nats_server: NatsServer, own_nc: Nats
) -> None:
    """Usage is booked for the system about once a second while it has no limits."""
    user, js = LedgerUser(own_nc, "account"), own_nc.jetstream()
    limits = BudgetPolicy(scope="system", limits=BudgetLimits(microusd_per_day=5_000))
    async with running_ledger(own_nats_server.url, {}):
        for _ in range(3):
            assert isinstance(await user.hold(), HoldGranted)
            await asyncio.gather(*(user.use(new_id(), 30) for _ in range(300)))
            await change_policy(js, limits, lambda _: limits, Author("test", at_ms=0))
            await until(lambda: has_limits(user, 1), every_s=0.002)
            refused = await user.hold()
            assert isinstance(refused, HoldRefused)
            assert (refused.code, refused.limit and refused.limit.scope) == ("budget_exceeded", "system")
            await change_policy(js, limits, lambda _: None, Author("test", at_ms=0))
            await until(lambda: has_limits(user, 0))
        await until(lambda: has_spent(user, 27_000))


async def has_limits(user: LedgerUser, limits: int) -> bool:
    return len((await user.status("system")).limits) == limits


async def has_spent(user: LedgerUser, microusd: int) -> bool:
    return (await user.status("system")).spent_today_microusd == microusd


async def test_c5_a_raised_hold_is_raised_in_the_system_and_counts_once(accounts: list[LedgerUser]) -> None:
    first, other = accounts[0], accounts[1]
    for microusd in (1_000, 3_000, 3_000, 2_000):
        assert isinstance(await first.hold("one", picousd=microusd * 1_000_000), HoldGranted)
    status = await first.status("system")
    assert (status.open_holds, status.held_microusd) == (1, 3_000)

    assert isinstance(await other.hold("one", picousd=6_000 * 1_000_000), HoldGranted)
    refused = await first.hold("one", picousd=5_000 * 1_000_000)
    assert isinstance(refused, HoldRefused)
    assert refused.limit is not None
    assert refused.limit.scope == "system"
    assert [(await each.status()).held_microusd for each in (first, other)] == [3_000, 6_000]
    assert (await first.status("system")).held_microusd == 9_000

    waiting = asyncio.create_task(first.hold("one", picousd=5_000 * 1_000_000, wait_s=10))
    await other.use("one", 2_500)
    assert isinstance(await waiting, HoldGranted)
    await first.use("one", 4_000, ends=False)
    await first.use("one", 900, attempt=2)
    await until(lambda: has_open(first, 0))
    status = await first.status("system")
    assert (status.spent_today_microusd, status.held_microusd) == (7_400, 0)
