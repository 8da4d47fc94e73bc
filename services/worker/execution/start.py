"""A message becomes a job: where its reply stands, what it may cost, how long it has, its place in the trace."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.tracing import Attributes, Span
from penstock.contract import headers, subjects
from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import RoleConfig
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.reply_publisher import Position, ReplyPublisher
from penstock.runtime.service import Bus
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS
from services.worker.accounting.usage_recorder import AttemptRecord
from services.worker.execution.attempt import BYTES_PER_TOKEN
from services.worker.execution.equipment import Equipment
from services.worker.execution.state import Job
from services.worker.intake.order import Order
from services.worker.models.backoff import of_lane
from services.worker.redelivery.prior_attempts import Past

__all__ = ["open_job", "record_lost", "start_spans"]

_LOST: Final = "worker_lost"


def open_job(equipment: Equipment, bus: Bus, order: Order, past: Past, span: Span, delivery: Delivery) -> Job:
    """Continue where earlier workers, if any, left off."""
    work = order.work
    role = equipment.catalogue.roles[work.role]
    now_s = loop_now_s()
    carried = max(len(past.attempts), past.tried)
    # Two tries are left: what other workers began may have been refused for quota or a parameter, or not connected.
    counted_before = min(carried, max(0, of_lane(role.retry, work.lane).max_attempts - 2))
    trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
    position = Position(attempt=past.attempt, next_seq=past.next_seq)
    return Job(
        work=work,
        work_seq=delivery.sequence,
        delivery=delivery.number,
        role=role,
        reply=ReplyPublisher(bus.nc, bus.js, work.reply_to, position, trace, epochs=bus.epochs),
        span=span,
        task=cast("asyncio.Task[object]", asyncio.current_task()),
        opened_s=now_s,
        deadline_s=now_s + work.deadline_ms / 1000 - equipment.clock.unix_s(),
        estimated_tokens=work.estimated_tokens,
        output_tokens=_output_tokens(order, role),
        rules=equipment.catalogue.degradation_of(work.role),
        output_sent=past.output_sent,
        text_sent=past.text_sent and work.stream,
        failures=counted_before,
        counted_before=counted_before,
        carried=carried,
    )


def _output_tokens(order: Order, role: RoleConfig) -> int:
    """What the body that is sent asks for: never above the role's ceiling."""
    asked = order.max_tokens or role.parameters.max_tokens or ASSUMED_OUTPUT_TOKENS
    ceiling = role.ceilings.max_tokens
    return asked if ceiling is None else min(asked, ceiling)


def record_lost(equipment: Equipment, work: ChatWork, past: Past) -> None:
    """Attempts of workers that are gone: what they had recorded stays, the rest is estimated now (F2)."""
    for started in past.attempts:
        if started.model not in equipment.catalogue.models:
            continue
        sent = past.bytes_out.get(started.attempt, 0)
        usage = Usage(input_tokens=work.estimated_tokens, output_tokens=sent // BYTES_PER_TOKEN)
        record = AttemptRecord(
            number=started.attempt,
            model=started.model,
            credential="unknown",
            outcome=_LOST,
            usage=usage,
            estimated=True,
        )
        equipment.recorder.record(work, record)


def start_spans(equipment: Equipment, work: ChatWork, delivery: Delivery) -> Span:
    """The wait in the queue, which is over, and the work on it, which begins."""
    parent = delivery.headers.get(headers.TRACEPARENT)
    queue: Attributes = {
        names.MESSAGING_SYSTEM: names.NATS,
        names.MESSAGING_OPERATION_NAME: "wait",
        names.DESTINATION_TEMPLATE: subjects.WORK,
        names.ROLE: work.role,
        names.LANE: work.lane,
    }
    equipment.tracer.start(
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
    return equipment.tracer.start(names.SPAN_WORKER, "consumer", parent=parent, attributes=attributes)
