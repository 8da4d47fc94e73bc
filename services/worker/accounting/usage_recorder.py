"""Stores one usage event per provider attempt, whatever its outcome (F2, F4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.bus.publish import store
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.events import UsageRecorded
from penstock.contract.names import DegradationRule
from penstock.contract.reply import Usage
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue, Model
from services.worker.metrics import WorkerMetrics
from services.worker.pending_events import PendingEvents
from services.worker.providers.usage import cost_microusd

__all__ = ["AttemptRecord", "UsageRecorder", "saved_by_routing_microusd"]

_MILLION: Final = 1_000_000


class AttemptRecord(Struct, kw_only=True):
    """A finished attempt."""

    number: int
    model: str
    credential: str
    outcome: str
    usage: Usage
    estimated: bool = False
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    degraded: tuple[DegradationRule, ...] = ()


class UsageRecorder:
    """Stores usage events in the background, while the next attempt of the request runs."""

    def __init__(
        self, events: PendingEvents, catalogue: Catalogue, metrics: WorkerMetrics, clock: Clock, instance: str
    ) -> None:
        self._events = events
        self._catalogue = catalogue
        self._metrics = metrics
        self._clock = clock
        self._instance = instance
        self._pending: dict[ReplyAddress, set[asyncio.Task[None]]] = {}
        """For each request that this worker has, the events being stored."""

    def record(self, work: ChatWork, record: AttemptRecord) -> int:
        """Start storing the event of an attempt; returns its cost in micro-dollars."""
        event = self._event(work, record)
        task = self._events.start(event, self._store(work, event))
        self._pending.setdefault(work.reply_to, set()).add(task)
        return event.cost_microusd

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

    async def _store(self, work: ChatWork, event: UsageRecorded) -> None:
        """Store the event and count it in the metrics, unless it was stored before."""
        is_new = await store(
            self._events.js,
            subjects.event("usage", event.account),
            encode(event),
            message_id=f"{work.account}.{work.client}.{work.id}.{event.attempt}",
        )
        if is_new:
            self._count(event)

    def _event(self, work: ChatWork, record: AttemptRecord) -> UsageRecorded:
        model = self._catalogue.models[record.model]
        usage = record.usage
        saved = saved_by_routing_microusd(
            self._catalogue.all_roles[work.role].chain,
            self._catalogue.models,
            record.model,
            usage.input_tokens,
            usage.output_tokens,
        )
        return UsageRecorded(
            id=work.id,
            attempt=record.number,
            account=work.account,
            user=work.user,
            role=work.role,
            lane=work.lane,
            complexity=work.complexity,
            provider=model.provider,
            model=record.model,
            credential=record.credential,
            outcome=record.outcome,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            estimated=record.estimated,
            cost_microusd=cost_microusd(usage, model.price),
            saved_by_routing_microusd=saved,
            first_token_ms=record.first_token_ms,
            duration_ms=record.duration_ms,
            at_ms=self._clock.unix_ms(),
            worker=self._instance,
            hold_id=work.hold_id,
            degraded=record.degraded,
        )

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


def saved_by_routing_microusd(
    chain: Iterable[str], models: Mapping[str, Model], chosen: str, input_tokens: int, output_tokens: int
) -> int:
    """The cost of these tokens on the most expensive model of the chain, minus their cost on the chosen one.

    Whole micro-dollars, rounded down, never negative (F4). Cached input is ignored.
    """

    def cost(key: str) -> int:
        price = models[key].price
        return price.input * input_tokens + price.output * output_tokens

    highest = max(map(cost, chain), default=0)
    return max(0, highest - cost(chosen)) // _MILLION
