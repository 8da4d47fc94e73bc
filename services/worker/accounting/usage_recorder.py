"""Stores one usage event per provider attempt, whatever its outcome (F2, F4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from penstock.bus.clock import Clock
from penstock.bus.publish import store
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.events import UsageRecorded
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord, UsageEvents, usage_message_id
from services.worker.metrics import WorkerMetrics
from services.worker.pending_events import PendingEvents

__all__ = ["UsageRecorder"]


class UsageRecorder:
    """Stores usage events in the background, while the next attempt of the request runs."""

    def __init__(
        self, pending: PendingEvents, events: UsageEvents, metrics: WorkerMetrics, clock: Clock, instance: str
    ) -> None:
        self._pending_events = pending
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._instance = instance
        self._pending: dict[ReplyAddress, set[asyncio.Task[None]]] = {}
        """For each request that this worker has, the events being stored."""

    def record(
        self,
        work: ChatWork,
        record: AttemptRecord,
        traceparent: str | None = None,
        count: Callable[[], Awaitable[AttemptRecord]] | None = None,
    ) -> int:
        """Start storing the event of an attempt; returns its cost in picodollars.

        `traceparent`: the span of the request, in whose trace the event is settled. `count`: returns the record to
        store in place of `record`, whose tokens are estimates.
        """
        event = self._events.of(work, record, at_ms=self._clock.unix_ms(), worker=self._instance)
        if count is None:
            storing = self._store(event, traceparent)
        else:
            storing = self._store_counted(work, event.at_ms, traceparent, count)
        task = self._pending_events.start(event, storing)
        self._pending.setdefault(work.reply_to, set()).add(task)
        return event.cost_picousd

    async def wait_stored(self, work: ChatWork) -> None:
        """Wait until every usage event of the request is stored; raises the errors of `store`.

        If the caller is cancelled meanwhile, the events are still stored: see `release`.
        """
        pending = self._pending.get(work.reply_to)
        if not pending:
            return
        tasks = frozenset(pending)
        await asyncio.wait(tasks)
        pending -= tasks
        if not pending:
            self._pending.pop(work.reply_to, None)
        for task in tasks:
            task.result()

    def release(self, work: ChatWork) -> None:
        """Stop tracking a request that is returned to its mailbox; its events are still stored in the background."""
        self._pending.pop(work.reply_to, None)

    async def _store_counted(
        self,
        work: ChatWork,
        at_ms: int,
        traceparent: str | None,
        count: Callable[[], Awaitable[AttemptRecord]],
    ) -> None:
        record = await count()
        await self._store(self._events.of(work, record, at_ms=at_ms, worker=self._instance), traceparent)

    async def _store(self, event: UsageRecorded, traceparent: str | None) -> None:
        """Store the event and count it in the metrics, unless it was stored before."""
        is_new = await store(
            self._pending_events.js,
            subjects.usage(event.account),
            encode(event),
            message_id=usage_message_id(event),
            headers=None if traceparent is None else {headers.TRACEPARENT: traceparent},
        )
        if is_new:
            self._count(event)

    def _count(self, event: UsageRecorded) -> None:
        metrics = self._metrics
        metrics.attempts.labels(event.role, event.model, event.outcome).inc()
        metrics.tokens.labels(event.role, event.model, "input").inc(event.input_tokens)
        metrics.tokens.labels(event.role, event.model, "output").inc(event.output_tokens)
        metrics.cost.labels(event.role, event.model).inc(event.cost_microusd)
        if event.first_token_ms is not None:
            metrics.first_token.labels(event.role, event.model).observe(event.first_token_ms / 1000)
        for rule in event.degraded:
            metrics.degraded.labels(event.role, event.model, rule).inc()
        if event.attempt > 1:
            metrics.retries.labels(event.role).inc()
