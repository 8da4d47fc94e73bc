"""Stores one usage event per provider attempt, whatever its outcome (F2, F4).

An event that JetStream did not store is kept and stored again, also after its request went back to its mailbox. Until
it is stored, this worker records no estimate of the same attempt; another worker that receives the request meanwhile
does, and of the two events the one that is stored first counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from penstock.bus.clock import Clock
from penstock.bus.publish import LONGEST_STORING_S, NOT_STORED, store
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.events import UsageRecorded
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord, UsageEvents, usage_message_id
from services.worker.accounting.kept_usage import KeptUsage, UsageToStore
from services.worker.metrics import WorkerMetrics
from services.worker.pending_events import PendingEvents

__all__ = ["UsageRecorder"]

_AGAIN_S: Final = 2.0
"""Seconds for one further attempt to store an event that is kept."""


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
        self._pending: dict[tuple[str, str, str], set[asyncio.Task[None]]] = {}
        """For each request that this worker has, by account, client and id: the events being stored."""
        self._storing: dict[str, tuple[UsageRecorded, asyncio.Task[None]]] = {}
        """The same events, and those of requests that this worker gave back, by message id."""
        self._kept = KeptUsage(self._store_again, metrics)

    def record(
        self,
        work: ChatWork,
        record: AttemptRecord,
        traceparent: str | None = None,
        count: Callable[[], Awaitable[AttemptRecord]] | None = None,
    ) -> UsageRecorded:
        """Start storing the event of an attempt, and return it.

        An event of this attempt that this worker has not stored yet is stored in its place: what was recorded first is
        what the provider reported, and what comes later is an estimate.

        `traceparent`: the span of the request, in whose trace the event is settled. `count`: returns the record to
        store in place of `record`, whose tokens are estimates.
        """
        event = self._events.of(work, record, at_ms=self._clock.unix_ms(), worker=self._instance)
        message_id = usage_message_id(event)
        if (started := self._storing.get(message_id)) is not None:
            event, task = started
        else:
            if (kept := self._kept.take(message_id)) is not None:
                event, storing = kept.event, self._store(kept)
            elif count is None:
                storing = self._store(UsageToStore(event, traceparent))
            else:
                storing = self._store_counted(work, event.at_ms, traceparent, count)
            task = self._pending_events.start(event, storing)
            self._storing[message_id] = event, task
            task.add_done_callback(lambda _: self._storing.pop(message_id, None))
        self._pending.setdefault((work.account, work.client, work.id), set()).add(task)
        return event

    async def drain(self, within_s: float) -> None:
        """Try for so many seconds more to store what could not be stored."""
        await self._kept.drain(within_s)

    async def wait_stored(self, work: ChatWork) -> None:
        """Wait until every usage event of the request is stored; raises the errors of `store`.

        If the caller is cancelled meanwhile, the events are still stored: see `release`.
        """
        request = (work.account, work.client, work.id)
        pending = self._pending.get(request)
        if not pending:
            return
        tasks = frozenset(pending)
        await asyncio.wait(tasks)
        pending -= tasks
        if not pending:
            self._pending.pop(request, None)
        for task in tasks:
            task.result()

    def release(self, work: ChatWork) -> None:
        """Stop tracking a request that is returned to its mailbox; its events are still stored in the background."""
        self._pending.pop((work.account, work.client, work.id), None)

    async def _store_counted(
        self,
        work: ChatWork,
        at_ms: int,
        traceparent: str | None,
        count: Callable[[], Awaitable[AttemptRecord]],
    ) -> None:
        record = await count()
        event = self._events.of(work, record, at_ms=at_ms, worker=self._instance)
        await self._store(UsageToStore(event, traceparent))

    async def _store(self, usage: UsageToStore) -> None:
        """Store the event. If that fails, it is kept, and the error is raised in `wait_stored`."""
        try:
            if await self._store_once(usage, LONGEST_STORING_S):
                self._count(usage.event)
        except NOT_STORED:
            self._kept.keep(usage)
            raise

    async def _store_again(self, usage: UsageToStore) -> None:
        if await self._store_once(usage, _AGAIN_S):
            self._count(usage.event)

    def _store_once(self, usage: UsageToStore, timeout_s: float) -> Coroutine[Any, Any, bool]:
        """Store the event; returns whether it is new, and is to be counted in the metrics."""
        event, trace = usage.event, usage.traceparent
        return store(
            self._pending_events.js,
            subjects.usage(event.account),
            encode(event),
            message_id=usage_message_id(event),
            headers=None if trace is None else {headers.TRACEPARENT: trace},
            timeout_s=timeout_s,
        )

    def _count(self, event: UsageRecorded) -> None:
        metrics = self._metrics
        metrics.attempts_of(event.role, event.model, event.outcome).inc()
        metrics.tokens_of(event.role, event.model, "input").inc(event.input_tokens)
        metrics.tokens_of(event.role, event.model, "output").inc(event.output_tokens)
        metrics.cost_of(event.role, event.model).inc(event.cost_microusd)
        if event.first_token_ms is not None:
            metrics.first_token_of(event.role, event.model).observe(event.first_token_ms / 1000)
        for rule in event.degraded:
            metrics.degraded.labels(event.role, event.model, rule).inc()
        if event.attempt > 1:
            metrics.retries.labels(event.role).inc()
