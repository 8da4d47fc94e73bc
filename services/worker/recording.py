"""One usage event per provider attempt, whatever became of it (REQUIREMENTS F2, F4)."""

from __future__ import annotations

import asyncio

from msgspec import Struct
from nats.js import JetStreamContext

from penstock.clock import Clock
from penstock.config.catalogue import Catalogue
from penstock.storing import store
from schemas import subjects
from schemas.codec import encode
from schemas.events import UsageRecorded
from schemas.reply import Usage
from schemas.work import ChatWork
from services.worker.chain import saved_by_routing_microusd
from services.worker.metrics import WorkerMetrics
from services.worker.usage import cost_microusd

__all__ = ["AttemptRecord", "Recorder"]


class AttemptRecord(Struct, kw_only=True):
    """What is known of one attempt when it is over."""

    number: int
    model: str
    credential: str
    outcome: str
    usage: Usage
    estimated: bool = False
    first_token_ms: float | None = None
    duration_ms: float = 0.0


class Recorder:
    """Stores usage events; several attempts of a request go out while the next one runs."""

    def __init__(self, catalogue: Catalogue, metrics: WorkerMetrics, clock: Clock, instance: str) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._clock = clock
        self._instance = instance
        self._pending: dict[tuple[str, str], list[asyncio.Task[bool]]] = {}

    def bind(self, js: JetStreamContext) -> None:
        self._js = js

    def record(self, work: ChatWork, record: AttemptRecord) -> int:
        """Begin to store it; returns the attempt's cost in micro-dollars."""
        event = self._event(work, record)
        self._count(event)
        task = asyncio.create_task(
            store(
                self._js,
                subjects.event("usage", work.account),
                encode(event),
                message_id=f"{work.account}.{work.id}.{record.number}",
            )
        )
        self._pending.setdefault((work.account, work.id), []).append(task)
        return event.cost_microusd

    async def stored(self, work: ChatWork) -> None:
        """Wait until every usage event of the request is stored. Raises what `store` raises."""
        tasks = self._pending.pop((work.account, work.id), [])
        if tasks:
            await asyncio.gather(*tasks)

    async def drain(self) -> None:
        """Wait for what requests given back have spent."""
        tasks = [task for pending in self._pending.values() for task in pending]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _event(self, work: ChatWork, record: AttemptRecord) -> UsageRecorded:
        model = self._catalogue.models[record.model]
        usage = record.usage
        saved = saved_by_routing_microusd(
            self._catalogue.roles[work.role].chain,
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
        )

    def _count(self, event: UsageRecorded) -> None:
        metrics = self._metrics
        metrics.attempts.labels(event.role, event.model, event.outcome).inc()
        metrics.tokens.labels(event.role, event.model, "input").inc(event.input_tokens)
        metrics.tokens.labels(event.role, event.model, "output").inc(event.output_tokens)
        metrics.cost.labels(event.role, event.model).inc(event.cost_microusd)
        if event.attempt > 1:
            metrics.retries.labels(event.role).inc()
