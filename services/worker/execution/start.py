"""The start of an execution: reply position, size, deadline and trace of a delivered request."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.tracing import Attributes, Span
from penstock.contract import headers, subjects
from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.reply_publisher import Position, ReplyPublisher
from penstock.runtime.service import Bus
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS
from services.worker.accounting.usage_recorder import AttemptRecord, UsageRecorder
from services.worker.degradation.shorten import RequestSize
from services.worker.execution.attempt_usage import BYTES_PER_TOKEN
from services.worker.execution.state import AttemptHistory, Execution
from services.worker.intake.order import Order
from services.worker.metrics import Telemetry
from services.worker.models.backoff import for_lane
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.redelivery.prior_attempts import PriorAttempts

__all__ = ["Starter", "record_lost_attempts"]

_ATTEMPTS_LEFT: Final = 2
"""Attempts left to a redelivered request: the earlier ones may have been refused for quota or a parameter, or may not
have connected."""
_LOST: Final = "worker_lost"


class Starter(Struct, frozen=True):
    """Makes the execution of a delivered request."""

    catalogue: Catalogue
    bus: Bus
    quota_monitor: QuotaMonitor
    telemetry: Telemetry

    def start(self, order: Order, prior: PriorAttempts, delivery: Delivery) -> Execution:
        """An execution that continues where earlier workers, if any, stopped."""
        work = order.work
        role = self.catalogue.roles[work.role]
        now_s = loop_now_s()
        span = self._start_spans(work, delivery)
        execution = Execution(
            work=work,
            role=role,
            degradation=self.catalogue.degradation_of(work.role),
            size=RequestSize(work, work.estimated_tokens, _output_tokens(order, role)),
            message_seq=delivery.sequence,
            delivery=delivery.number,
            started_s=now_s,
            deadline_s=now_s + work.deadline_ms / 1000 - self.telemetry.clock.unix_s(),
            reply=self._reply(work, prior, span),
            span=span,
            task=cast("asyncio.Task[object]", asyncio.current_task()),
            queued_ms=self.telemetry.since_ms(work.accepted_ms),
            history=_history(work, role, prior),
        )
        self.telemetry.metrics.queue_wait.labels(work.role).observe(execution.queued_ms / 1000)
        self.quota_monitor.record_arrival(
            work.role, execution.missed_quotas, execution.queued_ms / 1000, now_s
        )
        return execution

    def _reply(self, work: ChatWork, prior: PriorAttempts, span: Span) -> ReplyPublisher:
        trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
        position = Position(attempt=prior.attempt, next_seq=prior.next_seq)
        return ReplyPublisher(
            self.bus.nc, self.bus.js, work.reply_to, position, trace, epochs=self.bus.epochs
        )

    def _start_spans(self, work: ChatWork, delivery: Delivery) -> Span:
        """Record the span of the wait in the queue, which is over, and start the span of the execution."""
        tracer = self.telemetry.tracer
        parent = delivery.headers.get(headers.TRACEPARENT)
        queue: Attributes = {
            names.MESSAGING_SYSTEM: names.NATS,
            names.MESSAGING_OPERATION_NAME: "wait",
            names.DESTINATION_TEMPLATE: subjects.WORK,
            names.ROLE: work.role,
            names.LANE: work.lane,
        }
        tracer.start(
            names.SPAN_QUEUE, "internal", parent=parent, attributes=queue, start_ns=delivery.stored_ns
        ).end()
        attributes: Attributes = {
            names.MESSAGING_SYSTEM: names.NATS,
            names.MESSAGING_OPERATION_NAME: "process",
            names.DESTINATION_TEMPLATE: subjects.WORK,
            names.CONSUMER_GROUP: f"{work.role}-{work.lane}",
            names.REQUEST_ID: work.id,
            names.ROLE: work.role,
            names.DELIVERY: delivery.number,
        }
        return tracer.start(names.SPAN_WORKER, "consumer", parent=parent, attributes=attributes)


def _history(work: ChatWork, role: RoleConfig, prior: PriorAttempts) -> AttemptHistory:
    earlier = max(len(prior.attempts), prior.tried)
    most = for_lane(role.retry, work.lane).max_attempts
    earlier_failures = min(earlier, max(0, most - _ATTEMPTS_LEFT))
    return AttemptHistory(
        earlier=earlier,
        earlier_failures=earlier_failures,
        failures=earlier_failures,
        output_sent=prior.output_sent,
        text_sent=prior.text_sent and work.stream,
    )


def _output_tokens(order: Order, role: RoleConfig) -> int:
    """The output limit of the body that will be sent: never above the role's ceiling."""
    asked = order.max_tokens or role.parameters.max_tokens or ASSUMED_OUTPUT_TOKENS
    ceiling = role.ceilings.max_tokens
    return asked if ceiling is None else min(asked, ceiling)


def record_lost_attempts(
    recorder: UsageRecorder, catalogue: Catalogue, work: ChatWork, prior: PriorAttempts
) -> None:
    """Record estimated usage for the attempts of workers that are gone; usage they recorded themselves stays (F2)."""
    for started in prior.attempts:
        if started.model not in catalogue.models:
            continue
        sent_bytes = prior.bytes_out.get(started.attempt, 0)
        usage = Usage(input_tokens=work.estimated_tokens, output_tokens=sent_bytes // BYTES_PER_TOKEN)
        record = AttemptRecord(
            number=started.attempt,
            model=started.model,
            credential="unknown",
            outcome=_LOST,
            usage=usage,
            estimated=True,
        )
        recorder.record(work, record)
