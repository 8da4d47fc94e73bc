"""G2: a change of a guard policy applies in all processes within a second, is audited, survives a restart of NATS."""

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
from penstock.contract.events import GuardPolicyChanged
from penstock.contract.guard.policies import EVERY, GUARD_ACCOUNT, GuardMode, GuardPolicy
from penstock.contract.streams import AUDIT, GUARD_POLICIES
from penstock.runtime.buckets.changes import Author
from penstock.runtime.config.guard import AccountGuard, Guard
from penstock.runtime.guard.changes import GUARD_POLICY_EVENTS, change_guard_policy
from penstock.runtime.guard.follower import GuardPolicies
from penstock.runtime.guard.records import policy_key
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.harness.suite.waiting import until

PROMISED_S = 1.0
ANN = Author("ann", 7)
CONFIG = Guard(mode="beside", accounts={"bank": AccountGuard(mode="before")})


@pytest.fixture
async def admin(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    """A connection to a server that has the bucket."""
    nc = await connect(own_nats_server.url, name="test-admin")
    await ensure(nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    yield nc
    await close(nc)


@asynccontextmanager
async def follower(url: str) -> AsyncIterator[GuardPolicies]:
    events = ConnectionEvents()
    nc = await connect(url, name="test-worker", events=events)
    policies = GuardPolicies(nc, events, CONFIG)
    assert await policies.start()
    try:
        yield policies
    finally:
        await policies.stop()
        events.closing = True
        await close(nc)


async def set_mode(nc: Nats, mode: GuardMode, account: str = "shop") -> GuardPolicyChanged:
    def change(before: GuardPolicy | None) -> GuardPolicy:
        return replace(before or GuardPolicy(account=account), mode=mode)

    changed = await change_guard_policy(nc.jetstream(), account, change, ANN)
    assert changed is not None
    return changed


async def test_g2_a_change_applies_in_every_process_within_a_second(
    admin: Nats, own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture
):
    await set_mode(admin, "off")
    caplog.set_level(logging.INFO)
    async with follower(own_nats_server.url) as one, follower(own_nats_server.url) as other:
        assert one.policy_of("shop").mode == other.policy_of("shop").mode == "off"
        assert one.policy_of("shop") is one.policy_of("shop")
        assert (one.policy_of("bank").mode, one.policy_of("else").mode) == ("before", "beside")
        changed = await set_mode(admin, "before")
        await until(
            lambda: one.policy_of("shop").mode == other.policy_of("shop").mode == "before", PROMISED_S
        )
        assert changed.after is not None
        assert one.policy_of("shop").version == changed.after.version == 2
        await until(lambda: "guard policy of account shop: version 2 by ann applies" in caplog.text)
        await set_mode(admin, "off", EVERY)
        await until(lambda: one.policy_of("else").mode == one.policy_of("bank").mode == "off", PROMISED_S)
        assert one.policy_of("shop").mode == "before"
        for account in ("shop", EVERY):
            await change_guard_policy(admin.jetstream(), account, lambda _: None, ANN)
        await until(
            lambda: (
                [one.policy_of(name).mode for name in ("shop", "bank", "else")]
                == ["beside", "before", "beside"]
            ),
            PROMISED_S,
        )


async def test_g4_the_requests_of_the_guard_itself_are_never_checked(
    admin: Nats, own_nats_server: NatsServer
):
    await set_mode(admin, "before", EVERY)
    async with follower(own_nats_server.url) as policies:
        assert policies.policy_of(GUARD_ACCOUNT).mode == "off"


async def test_g2_every_change_is_audited(admin: Nats):
    first, second = await set_mode(admin, "off"), await set_mode(admin, "before")
    removed = await change_guard_policy(admin.jetstream(), "shop", lambda _: None, ANN)
    assert await change_guard_policy(admin.jetstream(), "shop", lambda _: None, ANN) is None
    assert await change_guard_policy(admin.jetstream(), "shop", lambda before: before, ANN) is None
    stored = [codec.EVENT.decode(msg.data) async for msg in read_all(admin, AUDIT.name, GUARD_POLICY_EVENTS)]
    assert stored == [first, second, removed]
    assert removed is not None
    assert (second.before, removed.before, removed.after) == (first.after, second.after, None)
    assert second.after == GuardPolicy(
        account="shop", mode="before", version=2, changed_by="ann", changed_ms=7
    )


async def test_g2_of_two_changes_at_once_one_is_rejected(admin: Nats):
    await set_mode(admin, "off")
    as_if_first = Record(policy_key("shop"), codec.encode(GuardPolicy(account="shop")), 0)
    with pytest.raises(RecordChanged):
        await write_record(admin.jetstream(), GUARD_POLICIES, as_if_first)


async def test_g2_a_record_that_is_not_valid_leaves_the_last_policy_in_force(
    admin: Nats, own_nats_server: NatsServer
):
    await set_mode(admin, "off")
    async with follower(own_nats_server.url) as policies:
        await admin.jetstream().publish(f"$KV.{GUARD_POLICIES.name}.{policy_key('shop')}", b"{")
        await set_mode(admin, "before", "other")
        await until(lambda: policies.policy_of("other").mode == "before", PROMISED_S)
        assert policies.policy_of("shop").mode == "off"
        await set_mode(admin, "before")  # a change repairs the record
        await until(lambda: policies.policy_of("shop").mode == "before", PROMISED_S)


async def test_g2_policies_stay_in_force_while_nats_is_away_and_follow_changes_afterwards(
    admin: Nats, own_nats_server: NatsServer
):
    await set_mode(admin, "off")
    async with follower(own_nats_server.url) as policies:
        own_nats_server.kill()
        assert policies.policy_of("shop").mode == "off"
        await own_nats_server.start()
        await until(lambda: admin.is_connected)
        await set_mode(admin, "before")
        await until(lambda: policies.policy_of("shop").mode == "before")
