"""F2: the books after the stream of the journals was deleted and created again, whose sequences begin at 1."""

from __future__ import annotations

import time

from nats.aio.client import Client as Nats

from penstock.contract import codec, subjects
from penstock.contract.ledger.journal import JournalBatch
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.ledger.partitions.snapshotter import SnapshotPolicy
from services.ledger.verification.positions import PartitionPosition, read_position
from services.ledger.verification.verifier import verify_books
from tests.harness.processes.ledgers import LedgerUser, create_journal_anew, running_ledger
from tests.harness.suite.waiting import until

BUDGETS = {"every_account": {"microusd_per_day": 1_000_000}}
EACH_CHANGE = SnapshotPolicy(entries=1, every_s=0.1)
SELDOM = SnapshotPolicy(entries=1_000, every_s=3_600)


async def saved_and_lost(nc: Nats, url: str, user: LedgerUser) -> PartitionPosition:
    """The position of the partition before its journal was created anew."""
    await ensure(nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    async with running_ledger(url, BUDGETS, snapshots=EACH_CHANGE) as ledger:
        for number in range(5):
            await user.hold(f"r{number}")
            await user.use(f"r{number}", 100)
        await until(
            lambda: ledger.metric("penstock_ledger_entries_since_snapshot", partition=user.partition) == 0
        )
    before = await read_position(nc, user.partition)
    assert before.snapshot_sequence > subjects.LEDGER_PARTITIONS + 1
    await create_journal_anew(nc)
    return before


async def test_f2_status_and_verification_number_the_journal_alike(own_nc: Nats, own_nats_server) -> None:
    """The next snapshot is not made yet: the owner goes on after the last one."""
    user = LedgerUser(own_nc, "shop")
    before = await saved_and_lost(own_nc, own_nats_server.url, user)
    async with running_ledger(own_nats_server.url, BUDGETS, snapshots=SELDOM):
        await user.hold("after")
        position = await read_position(own_nc, user.partition)
        assert position.snapshot_sequence == before.snapshot_sequence
        assert position.journal_sequence > position.snapshot_sequence
        books = await verify_books(own_nc, int(time.time()))
        assert books.agrees, books


async def test_f2_a_number_that_another_partition_uses_now_is_not_called_deleted(
    own_nc: Nats, own_nats_server
) -> None:
    """The new stream had reached the last sequence of the partition before its owner wrote there again."""
    user = LedgerUser(own_nc, "shop")
    before = await saved_and_lost(own_nc, own_nats_server.url, user)
    empty = codec.encode(JournalBatch(entries=()))
    for _ in range(before.snapshot_sequence):
        await own_nc.jetstream().publish(subjects.journal("unused"), empty)
    async with running_ledger(own_nats_server.url, BUDGETS, snapshots=EACH_CHANGE):
        await user.hold("after")
        books = await verify_books(own_nc, int(time.time()))
        assert books.agrees, books
