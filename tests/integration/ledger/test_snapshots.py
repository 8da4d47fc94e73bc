"""F1: snapshots of an owner and of the one after it, which may both try to store: spend is counted once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import partial

import nats.errors
import pytest
from nats.aio.client import Client as Nats
from nats.js.client import JetStreamContext

from penstock.bus.connection import ConnectionEvents
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldGranted
from penstock.contract.ledger.spend import SpendQuery
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.ledger.partitions.journal import Journal
from services.ledger.partitions.partition_state import PartitionState, SnapshotContent
from services.ledger.partitions.snapshots import SnapshotReplaced, SnapshotStore
from services.ledger.partitions.snapshotter import SnapshotPolicy
from services.ledger.spend.history import SpendHistory
from services.ledger.spend.nats_store import NatsHistory
from tests.harness.processes.ledgers import LedgerUser, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}


@pytest.fixture
def bus(provisioned: Nats) -> Bus:
    return bus_of(provisioned)


@pytest.fixture
async def partition(bus: Bus, unique: str) -> AsyncIterator[str]:
    yield unique
    await bus.js.purge_stream("LLM_SNAPSHOTS", subject=subjects.snapshot(unique, "*"))


def bus_of(nc: Nats) -> Bus:
    return Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))


def content(sequence: int, data: bytes = b"state") -> SnapshotContent:
    return SnapshotContent(sequence, 0, data)


async def test_f1_an_owner_does_not_replace_a_snapshot_that_it_does_not_know(
    bus: Bus, partition: str
) -> None:
    before, after = SnapshotStore(bus.js, partition), SnapshotStore(bus.js, partition)
    await before.store(content(1), 1)
    await after.load()
    await before.store(content(2), 2)

    with pytest.raises(SnapshotReplaced):
        await after.check_unchanged()
    with pytest.raises(SnapshotReplaced):
        await after.store(content(3), 3)

    assert await after.load() == content(2)
    await after.check_unchanged()
    await after.store(content(3), 3)
    with pytest.raises(SnapshotReplaced):
        await before.store(content(4), 4)


async def test_f1_an_owner_goes_on_from_a_snapshot_whose_acknowledgement_was_lost(
    bus: Bus, partition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, publish = SnapshotStore(bus.js, partition), JetStreamContext.publish

    async def lost(js: JetStreamContext, subject: str, *args: object, **options: object) -> object:
        ack = await publish(js, subject, *args, **options)
        if subject.endswith(".head"):
            raise TimeoutError
        return ack

    with monkeypatch.context() as patch:
        patch.setattr(JetStreamContext, "publish", lost)
        with pytest.raises(TimeoutError):
            await store.store(content(1), 1)
    await store.store(content(2), 2)

    assert await SnapshotStore(bus.js, partition).load() == content(2)


async def test_f1_an_owner_that_was_frozen_after_saving_leaves_the_next_one_its_snapshot(
    bus: Bus, partition: str
) -> None:
    frozen, after = SnapshotStore(bus.js, partition), SnapshotStore(bus.js, partition)
    await frozen.store(content(1), 1)
    await frozen.store(content(2), 2)
    await after.load()
    await after.store(content(10, b"a later state"), 3)

    await frozen.delete_older_parts(content(2))

    assert await after.load() == content(10, b"a later state")
    assert await parts_of(bus, partition) == {"head", "2-0", "10-0"}


async def test_f1_snapshots_of_which_only_a_part_could_be_stored_do_not_fill_the_stream(
    bus: Bus, partition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, publish = SnapshotStore(bus.js, partition), JetStreamContext.publish
    await store.store(content(1), 1)

    async def only_the_first_part(
        js: JetStreamContext, subject: str, *args: object, **options: object
    ) -> object:
        if subject.endswith("-1"):
            raise TimeoutError
        return await publish(js, subject, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(JetStreamContext, "publish", only_the_first_part)
        for sequence in (2, 3, 4):
            with pytest.raises(TimeoutError):
                await store.store(content(sequence, b"x" * 600_000), 1)
    assert await parts_of(bus, partition) == {"head", "1-0", "4-0"}
    await store.store(content(5), 1)
    assert await parts_of(bus, partition) == {"head", "1-0", "5-0"}


async def parts_of(bus: Bus, partition: str) -> set[str]:
    wanted = subjects.snapshot(partition, "*")
    info = await bus.js.stream_info("LLM_SNAPSHOTS", subjects_filter=wanted)
    return {each.rpartition(".")[2] for each in info.state.subjects or {}}


async def test_f2_spend_that_the_owner_before_saved_during_a_takeover_is_counted_once(
    own_nats_server: NatsServer, own_nc: Nats
) -> None:
    user = LedgerUser(own_nc, "shop")

    async def holds(name: str) -> bool:
        try:
            return isinstance(await user.hold(name, timeout_s=1), HoldGranted)
        except nats.errors.Error:  # it loads the partition again
            return False

    async def spent(microusd: int) -> bool:
        try:
            return (await user.status()).spent_today_microusd == microusd
        except nats.errors.Error:
            return False

    policy = SnapshotPolicy(entries=8, every_s=600)
    async with running_ledger(own_nats_server.url, DAY, snapshots=policy) as ledger:
        await user.hold("a")
        await user.use("a", 300)
        await until(lambda: spent(300))
        await save_as_the_owner_before(bus_of(own_nc), user.partition)
        labels = {"partition": user.partition}
        for number in range(100):
            await until(partial(holds, f"b{number}"))
            await user.use(f"b{number}", 1)
            if ledger.metric("penstock_ledger_snapshot_timestamp_seconds", **labels):
                break
        microusd = 300 + number + 1
        await until(lambda: spent(microusd))
        await until(lambda: reported(own_nc, microusd))
        assert ledger.metric("penstock_ledger_fenced_writes_total") == 0


async def save_as_the_owner_before(bus: Bus, partition: str) -> None:
    """What an owner does that began to save before it was replaced."""
    state, store = PartitionState(partition), SnapshotStore(bus.js, partition)
    async for sequence, batch in Journal(bus, partition).read_after(0):
        assert batch is not None
        state.replay(batch, sequence)
    await store.store(state.snapshot(), 1)
    history = SpendHistory(NatsHistory(bus.nc), partition)
    for delta in state.spend.deltas(state.journal_sequence):
        await history.write(delta)


async def reported(nc: Nats, microusd: int) -> bool:
    now_s = int(time.time())
    query = SpendQuery(since_s=now_s - 7200, until_s=now_s + 7200, by=("account",))
    msg = await nc.request(subjects.LEDGER_SPEND, codec.encode(query), timeout=10)
    rows = codec.SPEND_REPORT.decode(msg.data).rows
    return [row.amounts.picousd for row in rows] == [microusd * 10**6]
