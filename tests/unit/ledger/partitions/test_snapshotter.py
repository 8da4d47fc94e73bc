"""F1: when the partitions of a process are saved."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from penstock.contract.ledger.journal import JournalBatch
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.partition_state import PartitionState, SnapshotContent
from services.ledger.partitions.server_time import ServerTime
from services.ledger.partitions.snapshotter import Saving, SnapshotPolicy, Snapshotter
from services.ledger.spend.unwritten import Delta
from tests.harness.suite.waiting import until
from tests.unit.ledger.spend.settlements import settled


class Store:
    """Snapshots of one partition."""

    def __init__(self) -> None:
        self.stored: list[SnapshotContent] = []

    async def store(self, content: SnapshotContent, at_ms: int) -> None:
        assert at_ms
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
        time.observe(1_795_953_600_000_000_000, time.now_ns())
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
