"""Answers to holds: sent once the journal has what they say, with their spans and metrics."""

from __future__ import annotations

import time
from typing import Final

from nats.aio.client import Client as Nats

from penstock.bus.trace_names import ACCOUNT, OUTCOME, SPAN_SETTLE
from penstock.bus.tracing import Tracer
from penstock.contract import codec
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import HoldAnswer, HoldBatchAnswer, HoldGranted
from penstock.contract.ledger.journal import Settled
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.asked import AskedHold, Question
from services.ledger.partitions.group_decider import Group
from services.ledger.partitions.usage_events import UsageEvent

__all__ = ["Answers"]

_GRANTED: Final = "granted"
_PICOUSD: Final = 1_000_000
"""Picodollars of a micro-dollar."""


class Answers:
    def __init__(self, nc: Nats, tracer: Tracer, metrics: LedgerMetrics) -> None:
        self._nc = nc
        self._tracer = tracer
        self._metrics = metrics

    async def send(self, asked: AskedHold, answer: HoldAnswer) -> None:
        await self._nc.publish(asked.question.reply, codec.encode(answer))
        granted = isinstance(answer, HoldGranted)
        outcome = _GRANTED if isinstance(answer, HoldGranted) else answer.code
        self._metrics.holds.labels(outcome).inc()
        self._metrics.duration.observe(time.monotonic() - asked.question.received_s)
        asked.span.set(OUTCOME, outcome)
        asked.span.end(error=None if granted else outcome)

    async def send_batch(self, question: Question, answer: HoldBatchAnswer) -> None:
        await self._nc.publish(question.reply, codec.encode(answer))

    async def forward(self, subject: str, question: Question) -> None:
        """Leave a question to the process that owns the partition now."""
        await self._nc.publish(subject, question.data, reply=question.reply, headers=dict(question.headers))

    def booked(self, group: Group) -> None:
        """The settlements of a group are stored."""
        if group.waited:
            self._metrics.waited.inc(group.waited)
        if group.overshoot_picousd:
            self._metrics.overshoot.inc(group.overshoot_picousd / _PICOUSD)
        for event, entry in group.settled:
            if isinstance(entry, Settled):
                self._metrics.spent.inc(entry.picousd / _PICOUSD)
            if event.traceparent is not None:
                self._trace(event)

    def _trace(self, event: UsageEvent) -> None:
        usage = event.event
        if usage is None:
            return
        span = self._tracer.start(
            SPAN_SETTLE, "consumer", parent=event.traceparent, attributes={ACCOUNT: usage.account}
        )
        span.set(OUTCOME, usage.outcome if isinstance(usage, UsageRecorded) else usage.why)
        span.end()
