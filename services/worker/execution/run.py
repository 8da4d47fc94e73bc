"""One request from its opening to the end that is stored and told."""

from __future__ import annotations

import logging
from typing import Final

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.tracing import Span
from penstock.contract import subjects
from penstock.contract.reply import Completed, Failed, Timings
from penstock.runtime.consumer.delivery import ACK, NO_VERDICT, Delivery, Retry, Verdict
from penstock.runtime.reply_publisher import Superseded
from penstock.runtime.service import Bus
from services.worker.execution.attempt import Success
from services.worker.execution.cancellation import Running
from services.worker.execution.equipment import Equipment
from services.worker.execution.finish import completed, failed, log_end
from services.worker.execution.ladder import Ladder
from services.worker.execution.start import open_job, start_spans
from services.worker.execution.state import GaveUp, HandBack, Job
from services.worker.intake.order import Order
from services.worker.redelivery.prior_attempts import Past

__all__ = ["Serving"]

_log: Final = logging.getLogger(__name__)
_CUT: Final = frozenset({"interrupted", "superseded", "cancelled", "deadline_exceeded", "handed_back"})
"""Requests that ended before they were done."""


class Serving:
    def __init__(self, bus: Bus, equipment: Equipment, ladder: Ladder, running: Running) -> None:
        self._bus = bus
        self._equipment = equipment
        self._ladder = ladder
        self._running = running

    async def serve(self, order: Order, past: Past, delivery: Delivery, began_s: float) -> Verdict:
        """The whole of it. `began_s`: when the message came into this worker's hands."""
        work = order.work
        span = start_spans(self._equipment, work, delivery)
        job = open_job(self._equipment, self._bus, order, past, span, delivery)
        outcome: str | None = "interrupted"
        try:
            event = await self._answer(job)
            if delivery.may_be_redelivered(loop_now_s()):
                await job.reply.confirm()
            await self._finish(job, event)
            outcome = event.error.code if isinstance(event, Failed) else None
        except Superseded:
            outcome = "superseded"
            await self._equipment.recorder.stored(work)
            return NO_VERDICT
        except HandBack as back:
            outcome = "handed_back"
            _log.info("request %s goes back into the queue: another worker can serve it now", work.id)
            await self._equipment.recorder.stored(work)
            self._equipment.handover.handed_back(work.role, loop_now_s(), pauses=back.pauses)
            return Retry(to_other_process=True)
        finally:
            self._equipment.recorder.forget(work)
            held_s = loop_now_s() - began_s
            self._equipment.pace.ended(work.role, job.calls, held_s, cut=outcome in _CUT)
            span.end(error=outcome)
        return ACK

    async def _answer(self, job: Job) -> Completed | Failed:
        """Climb the ladder; cancellable from outside until it returns."""
        queued_ms = self._since_ms(job)
        self._equipment.metrics.queue_wait.labels(job.work.role).observe(queued_ms / 1000)
        self._equipment.tiers.arrived(job, queued_ms / 1000, loop_now_s())
        try:
            with self._running.cancellable(job):
                success = await self._ladder.climb(job)
        except GaveUp as gave_up:
            return failed(job, gave_up, Timings(queued_ms=queued_ms, total_ms=self._since_ms(job)))
        provider = self._equipment.catalogue.models[success.model].provider
        return completed(job, success, provider, self._timings(job, success, queued_ms))

    async def _finish(self, job: Job, event: Completed | Failed) -> None:
        """The end, and what the attempts cost, are stored before the work is acknowledged."""
        span = self._start_reply_span(job, event)
        try:
            await self._equipment.recorder.stored(job.work)
            standing = await self._equipment.background.end(job, event)
            if standing is not None:
                await job.reply.finish(standing)
        finally:
            span.end()
        self._equipment.metrics.count_end(job.work.role, job.first_choice, event)
        log_end(job.work, event, self._equipment.clock)

    def _start_reply_span(self, job: Job, event: Completed | Failed) -> Span:
        return self._equipment.tracer.start(
            names.SPAN_REPLY,
            "producer",
            parent=job.span.traceparent,
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "send",
                names.DESTINATION_TEMPLATE: subjects.REPLY,
                names.OUTCOME: event.error.code if isinstance(event, Failed) else "completed",
            },
        )

    def _timings(self, job: Job, success: Success, queued_ms: float) -> Timings:
        total_ms = self._since_ms(job)
        first_s = success.first_output_s
        first_ms = None if first_s is None else round(total_ms - (loop_now_s() - first_s) * 1000, 3)
        return Timings(queued_ms=queued_ms, first_token_ms=first_ms, total_ms=total_ms)

    def _since_ms(self, job: Job) -> float:
        """Milliseconds since JetStream accepted the request; never negative, whatever the clocks say."""
        return round(max(0.0, self._equipment.clock.unix_s() * 1000 - job.work.accepted_ms), 3)
