"""One time of owning a partition: load its state, take over, serve, and leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from penstock.bus.tracing import Tracer
from penstock.contract import subjects
from penstock.contract.ledger.journal import TookOver
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.service import Bus
from services.ledger.budget.policies import Policies
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.alerts import AlertPublisher
from services.ledger.partitions.answers import Answers
from services.ledger.partitions.asked import AskedHold
from services.ledger.partitions.free_memory import return_free_memory
from services.ledger.partitions.journal import Fenced, Journal, JournalDamaged, NotStored
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.snapshots import SnapshotDamaged, SnapshotReplaced, SnapshotStore
from services.ledger.partitions.snapshotter import Saving, Snapshotter
from services.ledger.partitions.system_limits import SystemLimits
from services.ledger.partitions.usage_feed import UsageFeed
from services.ledger.partitions.writer import OutOfContact, Times, Writer, WriterLinks
from services.ledger.spend.history import SpendHistory
from services.ledger.spend.nats_store import NatsHistory

__all__ = ["Handlers", "LedgerParts", "OwnedPartition"]

_TAKEOVERS: Final = 50
"""Attempts to take a partition from an owner that goes on writing."""
_APPLIED_AT_ONCE: Final = 500
"""Entries of the journal after which other tasks have a turn: about 5 ms."""
_PROBE_S: Final = 0.25
"""Seconds between two attempts to store anything while nothing can be stored."""
_REPORT_EVERY: Final = 8
"""Ticks between two sums over all holds for the metrics."""


class Handlers(Protocol):
    """The subscriptions of an owner."""

    async def start_holds(self) -> None: ...
    async def start_reports(self) -> None: ...
    async def stop(self) -> None: ...


class LedgerParts(Struct, frozen=True):
    """What the partitions of one process share."""

    instance: str
    bus: Bus
    policies: Policies
    times: Times
    tracer: Tracer
    metrics: LedgerMetrics
    saving: Saving
    handlers: Callable[[PartitionState, Writer], Handlers]
    loading: asyncio.Semaphore
    """Partitions are loaded one after the other: together they would delay their answers beyond the timeouts."""


class OwnedPartition:
    def __init__(self, partition: str, parts: LedgerParts) -> None:
        self._name = partition
        self._parts = parts
        self._journal = Journal(parts.bus, partition)
        self._store = SnapshotStore(parts.bus.js, partition)
        self._answers = Answers(parts.bus.nc, parts.tracer, parts.metrics)
        self._release = asyncio.Event()
        self._on_tick: Callable[[], None] | None = None
        """Set while it is served."""
        self._ticks = 0
        self.is_owner = False

    def release(self) -> None:
        self._release.set()

    def tick(self) -> None:
        """Look at what changes with time; called every `TICK_S`."""
        if self._on_tick is not None:
            self._on_tick()

    async def run(self) -> None:
        """Own the partition until released.

        Raises Fenced, OutOfContact, NotStored, JournalDamaged, SnapshotDamaged, SnapshotReplaced, and errors of NATS.
        """
        async with self._parts.loading:
            state, snapshot_sequence = await self._load()
        return_free_memory()
        parts = self._parts

        def on_events() -> None:
            writer.wake()

        now_ms = parts.times.server.unix_ms
        feed = UsageFeed(parts.bus, self._name, state.usage_sequence, parts.metrics, on_events, now_ms)
        links = WriterLinks(self._journal, feed, SystemLimits(parts.bus.nc, parts.policies), self._answers)
        alerts = AlertPublisher(parts.bus, state, parts.policies, parts.metrics)
        snapshotter = self._snapshotter(state)

        def on_round() -> None:
            alerts.wake()
            snapshotter.consider(parts.times.clock.monotonic_s())
            writer.close(snapshotter.problem)

        writer = Writer(state, parts.policies, links, parts.times, parts.metrics, on_round)
        handlers = parts.handlers(state, writer)
        self._on_tick = partial(self._look_at_time, state, writer)
        releasing = asyncio.create_task(self._end_when_released(handlers, writer), name="ledger release")
        try:
            await handlers.start_holds()
            if await self._take_over(state, writer):
                # The owner before can have saved since the load: the spend in its snapshot would be counted again.
                await self._store.check_unchanged()
                self._set_owner(owned=True)
                await handlers.start_reports()
                await feed.start()
                alerts.start()
                snapshotter.start(parts.times.clock.monotonic_s(), snapshot_sequence, writer.fail)
                await self._serve(writer, handlers)
        finally:
            self._set_owner(owned=False)
            await snapshotter.stop()
            self._on_tick = None
            await cancel_and_wait(releasing)
            await handlers.stop()
            await feed.stop()
            await alerts.stop()
            for asked in writer.take_unanswered():
                if isinstance(asked, AskedHold):
                    asked.span.end(error="no_answer")

    async def _serve(self, writer: Writer, handlers: Handlers) -> None:
        """Questions without an answer are left to the next owner, except where that could be wrong."""
        try:
            await writer.serve()
        except (Fenced, SnapshotReplaced):
            if self._parts.times.in_contact():
                await self._forward(writer, handlers)
            raise
        except NotStored as error:
            if error.certain:
                await writer.refuse_all(str(error))
            raise
        await self._forward(writer, handlers)

    async def _forward(self, writer: Writer, handlers: Handlers) -> None:
        await handlers.stop()
        subject = subjects.ledger_hold(self._name)
        for asked in writer.take_unanswered():
            await self._answers.forward(subject, asked.question)
            if isinstance(asked, AskedHold):
                asked.span.end(error="forwarded")

    async def _load(self) -> tuple[PartitionState, int]:
        """The state at the end of the journal, and the journal sequence of its snapshot."""
        snapshot = await self._store.load()
        if snapshot is None:
            state, stored = PartitionState(self._name), 0
        else:
            try:
                # In a thread: other partitions are served meanwhile.
                state = await asyncio.to_thread(PartitionState.restored, self._name, snapshot)
                stored = snapshot.journal_sequence
            except ValueError as error:
                raise SnapshotDamaged(
                    f"the snapshot of partition {self._name} cannot be read: {error}"
                ) from error
            state.journal_base = await self._journal.continue_after(stored, snapshot.journal_base)
        await self._read_on(state)
        return state, stored

    async def _read_on(self, state: PartitionState) -> None:
        applied = 0
        async for sequence, batch in self._journal.read_after(state.journal_sequence):
            if batch is None:
                self._parts.metrics.invalid_journal.inc()
                state.skip(sequence)
                continue
            if batch.previous > state.batch_sequence:
                raise JournalDamaged(
                    f"partition {self._name}: the journal has no batch {batch.previous}, nor has the snapshot, which "
                    f"ends at {state.batch_sequence}. Restore LLM_JOURNAL and LLM_SNAPSHOTS from a backup"
                )
            state.replay(batch, sequence)
            applied += len(batch.entries)
            if applied >= _APPLIED_AT_ONCE:
                applied = 0
                await asyncio.sleep(0)

    async def _take_over(self, state: PartitionState, writer: Writer) -> bool:
        """Write the first entry of this owner, which fences the one before; False: released before that.

        Where nothing can be stored, it is tried until it can, and every question is refused.
        """
        attempts = 0
        while not self._release.is_set():
            if not self._parts.times.in_contact():
                raise OutOfContact
            try:
                await self._append_takeover(state)
            except Fenced:
                attempts += 1
                if attempts == _TAKEOVERS:
                    raise
                await self._read_on(state)
            except NotStored as error:
                if not error.certain:
                    raise
                await writer.refuse_all(str(error))
                await asyncio.sleep(_PROBE_S)
            else:
                return True
        return False

    async def _append_takeover(self, state: PartitionState) -> None:
        last = await self._journal.last_sequence()
        if last > state.journal_sequence:
            raise Fenced(self._name)
        now_ms = max(self._parts.times.server.unix_ms(), state.budget.last_ms)
        entry = TookOver(instance=self._parts.instance, at_ms=now_ms)
        batch = state.next_batch([entry])
        # Not always the sequence of the state: what a snapshot includes may have expired.
        state.replay(batch, await self._journal.append(batch, last))

    async def _end_when_released(self, handlers: Handlers, writer: Writer) -> None:
        await self._release.wait()
        await handlers.stop()
        writer.release()

    def _look_at_time(self, state: PartitionState, writer: Writer) -> None:
        writer.tick()
        if not self.is_owner:
            return
        self._ticks += 1
        if self._ticks % _REPORT_EVERY == 0:
            metrics = self._parts.metrics
            metrics.open_holds.labels(self._name).set(state.budget.open_holds)
            metrics.held.labels(self._name).set(state.budget.held_picousd / 1_000_000)

    def _snapshotter(self, state: PartitionState) -> Snapshotter:
        parts = self._parts
        history = SpendHistory(NatsHistory(parts.bus.nc), self._name)
        return Snapshotter(state, self._store, history, parts.times.server, parts.metrics, parts.saving)

    def _set_owner(self, *, owned: bool) -> None:
        self.is_owner = owned
        self._parts.metrics.owned.labels(self._name).set(int(owned))
        if not owned:
            for gauge in (self._parts.metrics.open_holds, self._parts.metrics.held, self._parts.metrics.lag):
                with contextlib.suppress(KeyError):
                    gauge.remove(self._name)
