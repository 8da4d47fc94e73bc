"""One request from its delivery to the stored terminal event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import frozen_s
from penstock.bus.tracing import Attributes, Span
from penstock.contract import headers, subjects
from penstock.contract.jobs import JobResult
from penstock.contract.names import Kind
from penstock.contract.reply import Completed, Failed, Timings
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.consumer.delivery import ACK, Delivery, Redeliver, Verdict
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.superseded import verdict_on_superseded
from penstock.runtime.reply_publisher import Position, ReplyPublisher, Superseded
from penstock.runtime.service import Bus
from services.worker.accounting.charge import NO_CHARGE, Charge
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.budget.hold_cover import Amount
from services.worker.budget.hold_releases import HoldReleases
from services.worker.degradation.shorten import RequestSize
from services.worker.estimates.service_times import ServiceTimes
from services.worker.execution.attempt import Success
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.retrieval_step import turn_of
from services.worker.execution.state import AttemptHistory, Execution, GaveUp, HandBack
from services.worker.execution.terminal_event import completed, failed, log_end
from services.worker.guard.request_guard import RequestGuards
from services.worker.intake.checked_work import CheckedWork
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.metrics import WorkerTelemetry
from services.worker.models.backoff import for_lane
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.replies.room import ReplyRoom, ReplySpace
from services.worker.retrieval.memory import ConversationMemory, Turn

__all__ = ["Finisher", "Runner", "Starter"]

_log: Final = logging.getLogger(__name__)
_CUT_SHORT: Final = frozenset(
    {
        *("interrupted", "superseded", "cancelled", "handed_back"),
        *("deadline_exceeded", "overloaded", "blocked", "guard_unavailable"),
    }
)
"""Outcomes of requests that did not run to completion; their duration is not used as an estimate."""
_ATTEMPTS_LEFT: Final = 2
"""Attempts left to a redelivered request: the earlier ones may have been refused for quota or a parameter, or may not
have connected."""


class Starter(Struct, frozen=True):
    """Makes the execution of a delivered request."""

    catalogue: Catalogue
    bus: Bus
    quota_monitor: QuotaMonitor
    telemetry: WorkerTelemetry
    guards: RequestGuards | None
    """None: the catalogue has no guard."""

    def start(
        self,
        checked: CheckedWork,
        prior: PriorAttempts,
        delivery: Delivery,
        charged: Charge = NO_CHARGE,
        space: ReplySpace | None = None,
    ) -> Execution:
        """An execution that continues where earlier workers, if any, stopped; `charged`: for their attempts."""
        work = checked.work
        role = self.catalogue.all_roles[work.role]
        now_s, waited_ms = loop_now_s(), self.telemetry.clock.steady_ms(work.accepted_ms) - work.accepted_ms
        queued_ms = round(waited_ms, 3)
        span = self._start_spans(work, delivery)
        execution = Execution(
            work=work,
            role=role,
            degradation=self.catalogue.degradation_of(work.role),
            size=RequestSize(
                work,
                work.estimated_tokens,
                checked.output_tokens(role),
            ),
            message_seq=delivery.sequence,
            may_be_redelivered=delivery.may_be_redelivered,
            delivery=delivery.number,
            started_s=now_s,
            deadline_s=now_s + (work.deadline_ms - work.accepted_ms - waited_ms) / 1000,
            reply=self._reply(work, prior, span, space),
            span=span,
            queued_ms=queued_ms,
            history=_history(work, role, prior),
            charged=charged,
            held=Amount(work.hold_picousd, work.hold_tokens),
            guard=self.guards.of(work, span.traceparent) if self.guards and work.kind == "chat" else None,
        )
        self.telemetry.metrics.queue_wait_of(work.role).observe(queued_ms / 1000)
        self.quota_monitor.record_arrival(work.role, execution.throttled_quotas, queued_ms / 1000, now_s)
        return execution

    def _reply(
        self, work: ChatWork, prior: PriorAttempts, span: Span, space: ReplySpace | None
    ) -> ReplyPublisher:
        trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
        position = Position(attempt=prior.attempt, next_seq=prior.next_seq)
        return ReplyPublisher(self.bus, work.reply_to, position, trace, space=space)

    def _start_spans(self, work: ChatWork, delivery: Delivery) -> Span:
        """Record the span of the wait in the mailbox, which is over, and start the span of the execution."""
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


class _Executor(Protocol):
    """Has a request answered by a provider."""

    async def execute(self, execution: Execution) -> Success:
        """Raises GaveUp with the error for the application, and HandBack."""
        ...


class Runner(Struct, frozen=True):
    """Executes requests."""

    starter: Starter
    executors: Mapping[Kind, _Executor]
    finisher: Finisher
    cancellable: CancellableRequests
    hand_back: HandBackPolicy
    telemetry: WorkerTelemetry
    room: ReplyRoom

    async def run(
        self,
        checked: CheckedWork,
        prior: PriorAttempts,
        delivery: Delivery,
        began_s: float,
        charged: Charge = NO_CHARGE,
    ) -> Verdict:
        """Execute the request; `began_s`: when its message reached this worker, `charged`: for earlier attempts."""
        work = checked.work
        async with self.room.space(work.account) as space:
            execution = self.starter.start(checked, prior, delivery, charged, space)
            outcome: str | None = "interrupted"
            try:
                event = await self._terminal_event(execution)
                if delivery.may_be_redelivered(loop_now_s()):
                    await execution.reply.confirm()
                await self.finisher.finish(execution, event)
                outcome = event.error.code if isinstance(event, Failed) else None
            except Superseded as superseded:
                outcome = "superseded"
                await self.finisher.recorder.wait_stored(work)
                return await verdict_on_superseded(superseded, delivery, execution.reply)
            except HandBack as back:
                outcome = "handed_back"
                _log.info("request %s returns to its mailbox: another worker can serve it now", work.id)
                await self.finisher.recorder.wait_stored(work)
                self.hand_back.record_hand_back(work.role, loop_now_s(), pauses=back.pauses)
                return Redeliver(to_other_process=True)
            finally:
                self.finisher.release(execution, loop_now_s() - began_s, outcome)
                execution.span.end(error=outcome)
            return ACK

    async def _terminal_event(self, execution: Execution) -> Completed | Failed:
        """Execute the request on its chain; a cancel request ends it until this returns."""
        try:
            with self.cancellable.entered(execution.work):
                success = await self.executors[execution.work.kind].execute(execution)
        except GaveUp as gave_up:
            return failed(execution, gave_up, self._timings(execution))
        if execution.counting:  # so that the event states what is recorded
            await self.finisher.recorder.wait_stored(execution.work)
        execution.answer_text = success.text
        return completed(execution, success, self._timings(execution, success.first_output_s))

    def _timings(self, execution: Execution, first_output_s: float | None = None) -> Timings:
        # Not the server's time again: its estimate changes, and a part could then be longer than the whole.
        total_ms = round(execution.queued_ms + (loop_now_s() - execution.started_s) * 1000, 3)
        first_ms = None
        if first_output_s is not None:
            first_ms = round(total_ms - (loop_now_s() - first_output_s) * 1000, 3)
        return Timings(
            queued_ms=execution.queued_ms,
            waited_ms=round(execution.calls.waited_s * 1000, 3),
            first_token_ms=first_ms,
            total_ms=total_ms,
        )


class Finisher(Struct, frozen=True):
    """Stores what a request cost and how it ended, and deletes a body that was stored apart."""

    recorder: UsageRecorder
    job_records: JobRecords
    service_times: ServiceTimes
    bodies: LargeBodies
    telemetry: WorkerTelemetry
    releases: HoldReleases
    memory: ConversationMemory

    async def finish(self, execution: Execution, event: Completed | Failed) -> None:
        """Store the usage events, the job record, the terminal event and the release of the hold: all of them before
        the acknowledgement.
        """
        span = self._start_reply_span(execution, event)
        try:
            await self.recorder.wait_stored(execution.work)
            turn = turn_of(execution, event)
            if turn is None:
                await self._end(execution, event)
            else:
                await self._end_and_remember(execution, event, turn)
            outcome = event.error.code if isinstance(event, Failed) else "completed"
            if execution.work.hold_id is not None and (outcome != "completed" or execution.hold_is_open):
                await self.releases.release(execution.work.reply_to, outcome, execution.span.traceparent)
            await self.bodies.delete(execution.work)
        finally:
            span.end()
        self.telemetry.metrics.count_end(execution.work.role, execution.first_choice, event)
        if isinstance(event, Completed) and execution.retrieved.messages:
            cached = self.telemetry.metrics.retrieval.cached_tokens.labels(execution.retrieved.kind)
            cached.inc(event.usage.cached_input_tokens)
        log_end(execution.work, event, self.telemetry.clock)

    async def _end_and_remember(self, execution: Execution, event: Completed | Failed, turn: Turn) -> None:
        """What is remembered of the request is sent right before its end is stored, so that a crash between the two
        does not lose it; neither waits for the acknowledgement of the other.
        """
        remembered = self.memory.remember(execution.work, turn, execution.span.traceparent)
        await asyncio.gather(remembered, self._end(execution, event))

    def _end(self, execution: Execution, event: Completed | Failed) -> Coroutine[Any, Any, None]:
        if execution.work.lane == "batch":
            return self._end_job(execution, event)
        return execution.reply.finish(event)

    async def _end_job(self, execution: Execution, event: Completed | Failed) -> None:
        result = _job_result(execution, event)
        end = await self.job_records.end(execution.work, execution.message_seq, event, result)
        if end is not None:
            await execution.reply.finish(end)

    def release(self, execution: Execution, held_s: float, outcome: str | None) -> None:
        """The request left this worker after `held_s`; `outcome`: None for a completed one."""
        self.recorder.release(execution.work)
        cut = outcome in _CUT_SHORT
        held_s -= frozen_s(execution.started_s)
        self.service_times.record_end(execution.work.role, execution.calls, held_s, cut=cut)

    def _start_reply_span(self, execution: Execution, event: Completed | Failed) -> Span:
        return self.telemetry.tracer.start(
            names.SPAN_REPLY,
            "producer",
            parent=execution.span.traceparent,
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "send",
                names.DESTINATION_TEMPLATE: subjects.REPLY,
                names.OUTCOME: event.error.code if isinstance(event, Failed) else "completed",
            },
        )


def _job_result(execution: Execution, event: Completed | Failed) -> JobResult | None:
    if isinstance(event, Failed):
        return None
    text = "".join(delta.text for delta in execution.batch_output)
    choices = tuple(choice for delta in execution.batch_output for choice in delta.choices)
    return JobResult(completed=event, text=text, choices=choices)
