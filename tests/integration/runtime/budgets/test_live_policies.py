"""F3: a change of a budget applies in all processes within a second, is audited, and survives a restart of NATS."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.bucket import Record, RecordChanged, write_record
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.bus.direct_get import read_all
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec
from penstock.contract.events import BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy, PriceOverride, TokenPrices
from penstock.contract.streams import AUDIT, BUDGETS
from penstock.runtime.buckets.changes import Author
from penstock.runtime.budgets.changes import POLICY_EVENTS, PRICE_EVENTS, change_policy, change_price
from penstock.runtime.budgets.follower import BudgetFollower
from penstock.runtime.budgets.records import BudgetRecords, policy_key, price_key
from penstock.runtime.config.budgets.section import Budgets, ScopeBudget
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.ledger.policies.store import PolicyStore
from services.ledger.policies.table import PolicyTable
from tests.harness.suite.waiting import until

PROMISED_S = 1.0
ANN = Author("ann", 7)
SHOP = BudgetPolicy(scope="account", account="shop")


@pytest.fixture
async def admin(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    """A connection to a server that has the bucket."""
    nc = await connect(own_nats_server.url, name="test-admin")
    await ensure(nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    yield nc
    await close(nc)


@asynccontextmanager
async def ledger(url: str) -> AsyncIterator[PolicyTable]:
    events, table = ConnectionEvents(), PolicyTable(Budgets(every_account=ScopeBudget(concurrency=9)))
    nc = await connect(url, name="test-ledger", events=events)
    store = PolicyStore(nc, events, table)
    assert await store.start()
    try:
        yield table
    finally:
        await store.stop()
        events.closing = True
        await close(nc)


async def set_concurrency(nc: Nats, amount: int) -> BudgetPolicyChanged:
    def change(before: BudgetPolicy | None) -> BudgetPolicy:
        return replace(before or SHOP, limits=BudgetLimits(concurrency=amount))

    changed = await change_policy(nc.jetstream(), SHOP, change, ANN)
    assert changed is not None
    return changed


def concurrency(table: PolicyTable) -> int | None:
    return table.account("shop").limits.concurrency


async def test_f3_a_change_applies_in_every_process_within_a_second(
    admin: Nats, own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture
):
    await set_concurrency(admin, 1)
    caplog.set_level(logging.INFO)
    async with ledger(own_nats_server.url) as one, ledger(own_nats_server.url) as other:
        assert concurrency(one) == concurrency(other) == 1
        changed = await set_concurrency(admin, 2)
        await until(lambda: concurrency(one) == concurrency(other) == 2, PROMISED_S)
        assert changed.after is not None
        assert one.account("shop").version == changed.after.version == 2
        assert "budget of account shop changed by ann: concurrency 1 -> concurrency 2" in caplog.text
        await change_policy(admin.jetstream(), SHOP, lambda _: None, ANN)
        await until(lambda: concurrency(one) == concurrency(other) == 9, PROMISED_S)
        assert "budget of account shop removed; it was: concurrency 2" in caplog.text


async def test_f3_a_policy_whose_tier_does_not_exist_is_an_error_in_the_log(
    admin: Nats, own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture
):
    gone = replace(SHOP, tier="gold")
    await change_policy(admin.jetstream(), SHOP, lambda _: gone, ANN)
    async with ledger(own_nats_server.url):
        assert caplog.text.count("the tier gold of account shop does not exist") == 1


async def test_f3_every_change_is_audited(admin: Nats):
    first, second = await set_concurrency(admin, 1), await set_concurrency(admin, 2)
    removed = await change_policy(admin.jetstream(), SHOP, lambda _: None, ANN)
    nothing = await change_policy(admin.jetstream(), SHOP, lambda _: None, ANN)
    price = PriceOverride(model="m/x", prices=TokenPrices(input=5))
    priced = await change_price(admin.jetstream(), "m/x", lambda _: price, ANN)
    policies = [codec.EVENT.decode(msg.data) async for msg in read_all(admin, AUDIT.name, POLICY_EVENTS)]
    assert policies == [first, second, removed]
    assert (second.before, removed.before, removed.after) == (first.after, second.after, None)
    assert nothing is None
    prices = [codec.EVENT.decode(msg.data) async for msg in read_all(admin, AUDIT.name, PRICE_EVENTS)]
    assert prices == [priced]
    assert isinstance(priced, PriceChanged)
    assert priced.after == replace(price, version=1, changed_by="ann", changed_ms=7)


async def test_f3_of_two_changes_at_once_one_is_rejected(admin: Nats):
    await set_concurrency(admin, 5)
    as_if_first = Record(policy_key(SHOP), codec.encode(SHOP), 0)
    with pytest.raises(RecordChanged):
        await write_record(admin.jetstream(), BUDGETS, as_if_first)


async def test_f3_a_record_that_is_not_valid_leaves_the_last_policy_in_force(
    admin: Nats, own_nats_server: NatsServer
):
    await set_concurrency(admin, 1)
    async with ledger(own_nats_server.url) as table:
        await admin.jetstream().publish(f"$KV.{BUDGETS.name}.{policy_key(SHOP)}", b"{")
        other = BudgetPolicy(scope="system", limits=BudgetLimits(concurrency=3))
        await change_policy(admin.jetstream(), other, lambda _: other, ANN)
        await until(lambda: table.system().limits.concurrency == 3, PROMISED_S)
        assert concurrency(table) == 1
    async with ledger(own_nats_server.url) as table:
        assert concurrency(table) == 9
        await set_concurrency(admin, 4)  # a change repairs the record
        await until(lambda: concurrency(table) == 4, PROMISED_S)


async def test_f3_policies_stay_in_force_while_nats_is_away_and_follow_changes_afterwards(
    admin: Nats, own_nats_server: NatsServer
):
    await set_concurrency(admin, 1)
    async with ledger(own_nats_server.url) as table:
        own_nats_server.kill()
        assert concurrency(table) == 1
        await own_nats_server.start()
        await until(lambda: admin.is_connected)
        await set_concurrency(admin, 2)
        await until(lambda: concurrency(table) == 2)


async def test_f4_prices_follow_the_bucket_too(admin: Nats, own_nats_server: NatsServer):
    events, seen = ConnectionEvents(), list[BudgetRecords]()
    nc = await connect(own_nats_server.url, name="test-worker", events=events)
    follower = BudgetFollower(nc, events, seen.append)
    await follower.start()
    price = PriceOverride(model="m", prices=TokenPrices(input=5))
    await change_price(admin.jetstream(), "m", lambda _: price, ANN)
    await until(lambda: price_key("m") in seen[-1].prices, PROMISED_S)
    assert seen[-1].prices[price_key("m")].prices == TokenPrices(input=5)
    await change_price(admin.jetstream(), "m", lambda _: None, ANN)
    await until(lambda: not seen[-1].prices, PROMISED_S)
    await follower.stop()
    events.closing = True
    await close(nc)
