"""K5: what an edge knows of the keys follows the bucket, within two seconds, whatever happens to NATS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js.api import KeyValueConfig

from penstock.bus.bucket import RecordChanged
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec
from penstock.contract.keys import ApiKey
from penstock.contract.streams import KEYS
from penstock.runtime.api_keys.bucket import read_keys, revoke_key, store_key
from penstock.runtime.api_keys.format import make_key
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.edge.auth.key_store import KeyStore
from services.edge.auth.known_keys import KnownKeys
from tests.harness.nats.partition import Partition
from tests.harness.suite.waiting import until
from tests.unit.edge.auth.key_requests import record_of

PROMISED_S = 2.0
STREAM = f"KV_{KEYS.name}"


def a_key() -> ApiKey:
    return record_of(make_key())


@pytest.fixture
async def admin(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    """A connection to a server that has the bucket."""
    nc = await connect(own_nats_server.url, name="test-admin")
    await ensure(nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    yield nc
    await close(nc)


@asynccontextmanager
async def following(url: str) -> AsyncIterator[KnownKeys]:
    events, known = ConnectionEvents(), KnownKeys()
    nc = await connect(url, name="test-edge", events=events)
    store = KeyStore(nc, events, known)
    await store.start()
    try:
        yield known
    finally:
        await store.stop()
        events.closing = True
        await close(nc)


async def until_valid(known: KnownKeys, key: ApiKey) -> None:
    await until(lambda: known.find(key.prefix) == key, PROMISED_S)


async def until_revoked(known: KnownKeys, key: ApiKey) -> None:
    def revoked() -> bool:
        found = known.find(key.prefix)
        return found is not None and found.revoked_ms is not None

    await until(revoked, PROMISED_S)


async def recreate_bucket(nc: Nats, *, announced: bool = True) -> None:
    js = nc.jetstream()
    await js.delete_stream(STREAM)
    if announced:
        await ensure(js, JetStreamPlan(ack_wait_s=10))
    else:
        await js.create_key_value(KeyValueConfig(bucket=KEYS.name, direct=True))


async def test_k5_a_start_knows_all_keys_and_follows_every_change(admin: Nats, own_nats_server: NatsServer):
    js, old, new = admin.jetstream(), a_key(), a_key()
    await store_key(js, old)
    async with following(own_nats_server.url) as known:
        assert known.find(old.prefix) == old
        assert known.are_required
        await store_key(js, new)
        await until_valid(known, new)
        assert await revoke_key(js, old.prefix, 7) == old
        await until_revoked(known, old)
        assert known.find(new.prefix) == new


async def test_k5_an_empty_bucket_is_read_too(admin: Nats, own_nats_server: NatsServer):
    async with following(own_nats_server.url) as known:
        assert known.are_read
        assert not known.are_required


async def test_k5_more_keys_than_a_page_holds_are_read(admin: Nats, own_nats_server: NatsServer):
    keys = [a_key() for _ in range(1_100)]
    for key in keys[:-1]:
        await admin.publish(f"$KV.{KEYS.name}.{key.prefix}", codec.encode(key))
    await store_key(admin.jetstream(), keys[-1])  # acknowledged once all are stored
    async with following(own_nats_server.url) as known:
        assert all(known.find(key.prefix) == key for key in keys)


async def test_k5_a_change_whose_announcement_is_lost_is_found(admin: Nats, own_nats_server: NatsServer):
    await recreate_bucket(admin, announced=False)
    js, key = admin.jetstream(), a_key()
    async with following(own_nats_server.url) as known:
        await store_key(js, key)
        await until_valid(known, key)
        await revoke_key(js, key.prefix, 7)
        await until_revoked(known, key)


async def test_k5_a_change_during_a_disconnection_is_known_soon_after_it(
    admin: Nats, own_nats_server: NatsServer
):
    js, revoked, kept = admin.jetstream(), a_key(), a_key()
    await store_key(js, revoked)
    await store_key(js, kept)
    async with (
        Partition.before(own_nats_server.url) as partition,
        following(partition.url) as known,
    ):
        partition.sever()
        await revoke_key(js, revoked.prefix, 7)
        await asyncio.sleep(1.5)  # a look at the bucket is waiting for its answer
        assert known.find(revoked.prefix) == revoked
        partition.heal()
        await until_revoked(known, revoked)
        assert known.find(kept.prefix) == kept


async def test_k5_the_keys_survive_a_restart_of_nats(admin: Nats, own_nats_server: NatsServer):
    key, later = a_key(), a_key()
    await store_key(admin.jetstream(), key)
    async with following(own_nats_server.url) as known:
        own_nats_server.kill()
        await asyncio.sleep(1)
        assert known.find(key.prefix) == key
        await own_nats_server.restart()
        await until(lambda: admin.is_connected)
        await store_key(admin.jetstream(), later)
        await until_valid(known, later)
        assert known.find(key.prefix) == key


async def test_k5_while_there_is_no_bucket_the_known_keys_stay(admin: Nats, own_nats_server: NatsServer):
    js, key = admin.jetstream(), a_key()
    await store_key(js, key)
    async with following(own_nats_server.url) as known:
        await js.delete_stream(STREAM)
        await asyncio.sleep(2)
        assert known.find(key.prefix) == key

        began_s = time.monotonic()
        async with following(own_nats_server.url) as fresh:
            assert time.monotonic() - began_s < 10
            assert not fresh.are_read
            await ensure(js, JetStreamPlan(ack_wait_s=10))
            await until(lambda: fresh.are_read, PROMISED_S)
            assert not fresh.are_required
            # The keys are lost. Nothing says that they were not revoked, so they end.
            await until(lambda: known.find(key.prefix) is None, PROMISED_S)
            assert known.are_required


async def test_k5_a_bucket_that_was_recreated_with_as_many_changes_is_read(
    admin: Nats, own_nats_server: NatsServer
):
    key, other = a_key(), a_key()
    await store_key(admin.jetstream(), key)
    async with following(own_nats_server.url) as known:
        await recreate_bucket(admin)
        await store_key(admin.jetstream(), other)
        await until_valid(known, other)
        assert known.find(key.prefix) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"{}",
        b'{"type":"api_key","prefix":"aaaaaaaa","sha256":"0","account":"a.b","created_ms":0}',
        b'{"type":"api_key","prefix":"aaaaaaaa","sha256":"0","account":"a\\n","created_ms":0}',
        b'{"type":"api_key","prefix":"bbbbbbbb","sha256":"0","account":"a","created_ms":0}',
    ],
)
async def test_k5_a_record_that_is_not_valid_does_not_hide_the_others(
    admin: Nats, own_nats_server: NatsServer, data: bytes
):
    await admin.jetstream().publish(f"$KV.{KEYS.name}.aaaaaaaa", data)
    key = a_key()
    await store_key(admin.jetstream(), key)
    async with following(own_nats_server.url) as known:
        assert known.find(key.prefix) == key
        assert known.find("aaaaaaaa") is None
        assert await revoke_key(admin.jetstream(), "aaaaaaaa", 7) is None
        assert known.find("bbbbbbbb") is None


async def test_k5_a_deleted_record_ends_its_key(admin: Nats, own_nats_server: NatsServer):
    key = a_key()
    await store_key(admin.jetstream(), key)
    async with following(own_nats_server.url) as known:
        await (await admin.jetstream().key_value(KEYS.name)).delete(key.prefix)
        await until(lambda: known.find(key.prefix) is None, PROMISED_S)
        assert await read_keys(admin) == []
        assert await revoke_key(admin.jetstream(), key.prefix, 7) is None


async def test_k5_no_command_overwrites_the_record_of_another(admin: Nats):
    js, key = admin.jetstream(), a_key()
    await store_key(js, key)
    with pytest.raises(RecordChanged):
        await store_key(js, replace(key, account="other"))
    assert await read_keys(admin) == [key]
    assert await revoke_key(js, key.prefix, 7) == key
    revoked = replace(key, revoked_ms=7)
    assert await revoke_key(js, key.prefix, 9) == revoked, "the time of the first revocation stays"
    assert await read_keys(admin) == [revoked]
    assert await revoke_key(js, make_key()[4:12], 7) is None
