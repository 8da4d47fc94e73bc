"""When a partition is saved: its snapshot, then the spend in it to the history, then the sums of the history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import nats.errors
from msgspec import Struct
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import cancel_and_wait
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.free_memory import return_free_memory
from services.ledger.partitions.partition_state import PartitionState, SnapshotContent
from services.ledger.partitions.server_time import ServerTime
from services.ledger.partitions.snapshots import SnapshotReplaced, SnapshotStore
from services.ledger.spend.history import SpendHistory

__all__ = ["Saving", "SnapshotPolicy", "Snapshotter"]

_log: Final = rate_limited_logger(__name__)
_COMPACTED_EVERY_S: Final = 600.0
_RETRY_S: Final = 5.0
_FAILURES: Final = (nats.errors.Error, APIError, NoStreamResponseError, TimeoutError, OSError)


class SnapshotPolicy(Struct, frozen=True):
    """A snapshot is taken after so many entries, and after so many seconds with any."""

    entries: int = 50_000
    every_s: float = 60.0


class Saving:
    """When the partitions of a process are saved, and that it is one at a time: encoding the state of 12,500 users
    takes up to half a second, in which nothing else runs.
    """

    def __init__(self, policy: SnapshotPolicy) -> None:
        self.policy = policy
        self.history = asyncio.Lock()
        """Held by the partition whose spend is written or summed: its rows are in memory then."""
        self._taken = False

    def take(self) -> bool:
        """False: another partition is being saved."""
        taken, self._taken = self._taken, True
        return not taken

    def give_back(self) -> None:
        self._taken = False


class Snapshotter:
    """Saves one partition in the background, while its writer goes on."""

    def __init__(
        self,
        state: PartitionState,
        store: SnapshotStore,
        history: SpendHistory,
        time: ServerTime,
        metrics: LedgerMetrics,
        saving: Saving,
    ) -> None:
        self._state = state
        self._store = store
        self._history = history
        self._time = time
        self._metrics = metrics
        self._saving = saving
        self._task: asyncio.Task[None] | None = None
        self._stored = 0
        """The journal sequence of the stored snapshot."""
        self._failed = False
        """The last snapshot could not be stored."""
        self._next_s = 0.0
        self._compact_s = 0.0

    def start(self, now_s: float, stored: int) -> None:
        """`stored`: the journal sequence of the stored snapshot, whose spend is written again."""
        self._next_s = now_s + self._saving.policy.every_s
        self._compact_s = now_s + _RETRY_S
        self._stored = stored
        self._run(self._write_history)

    def consider(self, now_s: float) -> None:
        """Begin a save if one is due. Not to be called while the budgets are ahead of the journal."""
        self._metrics.unsaved.labels(self._state.partition).set(self._state.changes)
        if self._task is not None and not self._task.done():
            return
        if self._is_due(now_s):
            if not self._saving.take():
                return
            self._next_s = now_s + self._saving.policy.every_s
            task = self._run(partial(self._save, self._state.snapshot()))
            task.add_done_callback(lambda _: self._saving.give_back())
        elif now_s >= self._compact_s:
            self._compact_s = now_s + _COMPACTED_EVERY_S
            self._run(self._compact)

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)

    def _is_due(self, now_s: float) -> bool:
        state = self._state
        if state.alerts or not (state.changes or self._failed):
            return False  # a restart publishes the alerts of the journal after the snapshot only
        return state.changes >= self._saving.policy.entries or now_s >= self._next_s

    def _run(self, action: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._reported(action), name="snapshot")
        self._task.add_done_callback(lambda _: return_free_memory())
        return self._task

    async def _reported(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except SnapshotReplaced:
            _log.warning(
                "partition %s has a snapshot of another process, which owns it now", self._state.partition
            )
        except _FAILURES as error:
            _log.warning(
                "partition %s cannot be saved now, and is saved later: %r", self._state.partition, error
            )

    async def _save(self, content: SnapshotContent) -> None:
        self._failed = True
        await self._store.store(content, self._time.unix_ms())
        self._failed = False
        self._stored = content.journal_sequence
        self._metrics.snapshot.labels(self._state.partition).set(self._time.unix_ms() / 1000)
        await self._write_history()
        await self._store.delete_other_parts(content)

    async def _write_history(self) -> None:
        """Write the spend that a stored snapshot contains; that of a snapshot that failed follows with the next."""
        async with self._saving.history:
            for delta in self._state.spend.deltas(self._stored):
                await self._history.write(delta)
                self._state.spend.confirm(delta.number)

    async def _compact(self) -> None:
        async with self._saving.history:
            await self._history.compact(self._state.spend.written, self._time.unix_ms() // 1000)
