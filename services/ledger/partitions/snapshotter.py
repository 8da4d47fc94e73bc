"""When a partition is saved: its snapshot, then the spend in it to the history, then the sums of the history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import nats.errors
from msgspec import Struct
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.clock import ServerTime
from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import cancel_and_wait
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.free_memory import return_free_memory
from services.ledger.partitions.journal import JournalRoom
from services.ledger.partitions.partition_state import PartitionState, SnapshotContent
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


class _Turn:
    """Of one partition to be saved."""

    def __init__(self) -> None:
        self.ended = False

    def end(self) -> None:
        self.ended = True


class Saving:
    """When the partitions of a process are saved, and that it is one at a time: encoding the state of 12,500 users
    takes up to half a second, in which nothing else runs.
    """

    def __init__(self, policy: SnapshotPolicy) -> None:
        self.policy = policy
        self.room = JournalRoom()
        self.history = asyncio.Lock()
        """Held by the partition whose spend is written or summed: its rows are in memory then."""
        self._turn: _Turn | None = None

    def take_turn(self) -> _Turn | None:
        """None: another partition is being saved."""
        if self._turn is not None and not self._turn.ended:
            return None
        self._turn = _Turn()
        return self._turn


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
        self._save_task: asyncio.Task[None] | None = None
        self._history_task: asyncio.Task[None] | None = None
        """Of its own: snapshots do not wait while the history of another partition is summed, for minutes maybe."""
        self._stored = 0
        """The journal sequence of the stored snapshot."""
        self._failed = False
        """The last snapshot is not stored, or not yet."""
        self._failures = 0
        """Attempts in a row that failed."""
        self._unwritten = False
        """A stored snapshot may have spend that is not in the history."""
        self._next_s = 0.0
        self._retry_s = 0.0
        self._write_s = 0.0
        self._compact_s = 0.0

    def start(self, now_s: float, stored: int, on_replaced: Callable[[SnapshotReplaced], None]) -> None:
        """`stored`: the journal sequence of the stored snapshot, whose spend is written again. `on_replaced`: called
        when another process has stored a snapshot.
        """
        self._on_replaced = on_replaced
        self._next_s = now_s + self._saving.policy.every_s
        self._compact_s = now_s + _RETRY_S
        self._stored, self._unwritten = stored, True
        self._consider_history(now_s)

    def consider(self, now_s: float) -> None:
        """Begin what is due. Not to be called while the budgets are ahead of the journal."""
        self._metrics.unsaved.labels(self._state.partition).set(self._state.changes)
        self._consider_history(now_s)
        if _runs(self._save_task) or not self._is_due(now_s):
            return
        turn = self._saving.take_turn()
        if turn is None:
            return
        self._next_s = now_s + self._saving.policy.every_s
        self._retry_s = now_s + _RETRY_S
        self._save_task = self._run(partial(self._save, self._state.snapshot(), turn))
        self._save_task.add_done_callback(lambda _: turn.end())  # it may be cancelled before it begins

    async def stop(self) -> None:
        await cancel_and_wait(*filter(None, (self._save_task, self._history_task)))

    @property
    def problem(self) -> str | None:
        """Why the journal must not grow: it soon deletes what no snapshot has; None: it may grow."""
        if self._failures and self._is_endangered:
            return "no snapshot can be stored, and the journal is nearly full"
        return None

    @property
    def _is_endangered(self) -> bool:
        has_unsaved = self._state.changes or self._failed
        return bool(has_unsaved) and self._stored - self._state.journal_base < self._saving.room.endangered

    def _is_due(self, now_s: float) -> bool:
        if not (self._state.changes or self._failed):
            return False
        if self._is_endangered and now_s >= self._retry_s:
            return True
        return self._state.changes >= self._saving.policy.entries or now_s >= self._next_s

    def _consider_history(self, now_s: float) -> None:
        if _runs(self._history_task):
            return
        if self._unwritten and now_s >= self._write_s:
            self._write_s = now_s + _RETRY_S
            self._history_task = self._run(self._write_history)
        elif now_s >= self._compact_s:
            self._compact_s = now_s + _COMPACTED_EVERY_S
            self._history_task = self._run(self._compact)

    def _run(self, action: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._reported(action), name="snapshot")
        task.add_done_callback(lambda _: return_free_memory())
        return task

    async def _reported(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except SnapshotReplaced as error:
            self._on_replaced(error)
        except _FAILURES as error:
            _log.warning(
                "partition %s cannot be saved now, and is saved later: %r", self._state.partition, error
            )

    async def _save(self, content: SnapshotContent, turn: _Turn) -> None:
        self._failed = True
        try:
            await self._store.store(content, self._time.unix_ms())
        except _FAILURES:
            self._failures += 1
            raise
        turn.end()
        self._failed, self._failures = False, 0
        self._stored, self._unwritten, self._write_s = content.journal_sequence, True, 0.0
        self._metrics.snapshot.labels(self._state.partition).set(self._time.unix_ms() / 1000)
        await self._store.delete_older_parts(content)

    async def _write_history(self) -> None:
        """Write the spend that a stored snapshot contains; that of a snapshot that failed follows with the next."""
        async with self._saving.history:
            self._unwritten = False
            try:
                for delta in self._state.spend.deltas(self._stored):
                    await self._history.write(delta)
                    self._state.spend.confirm(delta.number)
            except BaseException:
                self._unwritten = True
                raise

    async def _compact(self) -> None:
        async with self._saving.history:
            await self._history.compact(self._state.spend.written, self._time.unix_ms() // 1000)


def _runs(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()
