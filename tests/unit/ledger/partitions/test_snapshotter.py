"""F1: when the partitions of a process are saved."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from penstock.bus.clock import ServerTime
from penstock.bus.direct_get import StreamPosition
from penstock.contract.ledger.journal import Alerted, JournalBatch
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.partition_state import PartitionState, SnapshotContent
from services.ledger.partitions.snapshotter import Saving, SnapshotPolicy, Snapshotter
from services.ledger.spend.unwritten import Delta
from tests.harness.suite.waiting import until
from tests.unit.ledger.spend.settlements import settled


class Store:
    """Snapshots of one partition."""

    def __init__(self) -> None:
        self.stored: list[SnapshotContent] = []
        self.fails = False

    async def store(self, content: SnapshotContent, at_ms: int) -> None:
        assert at_ms
        if self.fails:
            raise TimeoutError
        self.stored.append(content)

    async def delete_older_parts(self, content: SnapshotContent) -> None:
        assert content in self.stored


class History:
    def __init__(self) -> None:
        self.written: list[int] = []
        self.fails = self.failed = False

    async def write(self, delta: Delta) -> None:
        if self.fails:
            self.failed = True
            raise TimeoutError
        self.written.append(delta.number)

    async def compact(self, through: int, now_s: int) -> int:
        assert (through, now_s) > (0, 0)
        return 0


class Scene:
    """One partition with a settlement."""

    def __init__(self, partition: str, saving: Saving) -> None:
        self.state, self.store, self.history = PartitionState(partition), Store(), History()
        time = ServerTime()
        time.observe(1_795_953_600_000_000_000, time.now_ns(), time.now_ns())
        metrics = LedgerMetrics(CollectorRegistry())
        self.snapshotter = Snapshotter(self.state, self.store, self.history, time, metrics, saving)
        self.now_s = 1
        self.book(1)

    def book(self, sequence: int) -> None:
        self.state.replay(JournalBatch(entries=(settled(sequence),)), sequence)

    def start(self) -> None:
        self.snapshotter.start(0, 0, self.replaced)

    def replaced(self, error: Exception) -> None:
        raise AssertionError from error

    async def saved(self) -> bool:
        self.snapshotter.consider(1)
        return bool(self.store.stored)

    async def wrote(self) -> bool:
        self.now_s += 1
        self.snapshotter.consider(self.now_s)
        return self.history.written == [1]


async def test_f1_partitions_are_saved_while_the_spend_of_another_one_is_summed():
    saving = Saving(SnapshotPolicy(entries=1))
    scenes = [Scene(each, saving) for each in "12"]
    async with saving.history:  # of another partition, for minutes
        for scene in scenes:
            scene.start()
        for scene in scenes:
            await until(scene.saved)
    for scene in scenes:
        await until(scene.wrote)
        await scene.snapshotter.stop()


async def test_f1_one_partition_is_saved_at_a_time():
    saving = Saving(SnapshotPolicy(entries=1))
    first, second = Scene("1", saving), Scene("2", saving)
    for scene in (first, second):
        scene.start()
        scene.snapshotter.consider(1)
    await until(lambda: bool(first.store.stored))
    assert not second.store.stored
    await until(second.saved)
    for scene in (first, second):
        await scene.snapshotter.stop()


async def test_f2_spend_that_cannot_be_written_is_written_later():
    scene = Scene("1", Saving(SnapshotPolicy(entries=1)))
    scene.start()
    scene.history.fails = True
    await until(scene.saved)
    await until(lambda: scene.history.failed)
    scene.history.fails = False
    await until(scene.wrote)
    await scene.snapshotter.stop()


async def test_f1_a_journal_that_is_nearly_full_is_saved_first_and_must_not_grow_if_that_fails():
    saving = Saving(SnapshotPolicy())
    scene = Scene("1", saving)
    scene.start()
    assert not await scene.saved()  # it is not due
    scene.store.fails = True
    saving.room.observe(StreamPosition(4, 0, first_sequence=1, bytes=80, max_bytes=100))
    assert scene.snapshotter.problem is None
    scene.snapshotter.consider(1)
    await until(lambda: scene.snapshotter.problem is not None)
    scene.store.fails = False
    scene.snapshotter.consider(2)
    assert scene.snapshotter.problem is not None
    scene.snapshotter.consider(10)
    await until(lambda: scene.snapshotter.problem is None)
    assert [each.journal_sequence for each in scene.store.stored] == [1]
    await scene.snapshotter.stop()


async def test_f4_a_partition_is_saved_with_the_alerts_that_are_not_published():
    scene = Scene("1", Saving(SnapshotPolicy(entries=1)))
    alert = Alerted(
        scope="user",
        account="a",
        name="u",
        limit="microusd_per_day",
        percent=80,
        period_start_s=0,
        spent=8,
        allowed=10,
        at_ms=1,
    )
    scene.state.replay(JournalBatch(entries=(alert,)), 2)
    scene.start()
    await until(scene.saved)
    assert PartitionState.restored("1", scene.store.stored[0]).alerts == [alert]
    await scene.snapshotter.stop()
