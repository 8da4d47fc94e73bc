"""One request from its delivery to the stored terminal event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.tracing import Attributes, Span
from penstock.contract import headers, subjects
from penstock.contract.errors import ERRORS
from penstock.contract.jobs import JobResult
from penstock.contract.names import Kind
from penstock.contract.reply import NO_RESPONSE, Completed, Failed, Failure, Timings
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.consumer.delivery import ACK, NO_VERDICT, Delivery, Redeliver, Verdict
from penstock.runtime.output_limit import output_tokens
from penstock.runtime.pricing import microusd
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.reply_publisher import Position, ReplyPublisher, Superseded
from penstock.runtime.service import Bus
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.budget.hold_cover import NOTHING, Amount
from services.worker.budget.hold_releases import HoldReleases
from services.worker.degradation.shorten import RequestSize
from services.worker.estimates.service_times import ServiceTimes
from services.worker.execution.attempt import Success
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.retrieval_step import turn_of
from services.worker.execution.state import AttemptHistory, Execution, GaveUp, HandBack
from services.worker.guard.request_guard import RequestGuards
from services.worker.intake.checked_work import CheckedWork
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.metrics import WorkerTelemetry
from services.worker.models.backoff import for_lane
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.retrieval.memory import ConversationMemory

__all__ = ["Finisher", "Runner", "Starter", "failed"]

_log: Final = logging.getLogger(__name__)
_CUT_SHORT: Final = frozenset(
    {
        "interrupted",
        "superseded",
        "cancelled",
        "deadline_exceeded",
        "handed_back",
        "blocked",
        "guard_unavailable",
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
        self, checked: CheckedWork, prior: PriorAttempts, delivery: Delivery, spent: Amount = NOTHING
    ) -> Execution:
        """An execution that continues where earlier workers, if any, stopped; `spent`: by their attempts."""
        work = checked.work
        role = self.catalogue.all_roles[work.role]
        now_s = loop_now_s()
        span = self._start_spans(work, delivery)
        execution = Execution(
            work=work,
            role=role,
            degradation=self.catalogue.degradation_of(work.role),
            size=RequestSize(
                work,
                work.estimated_tokens,
                _output_tokens(checked, role),
            ),
            message_seq=delivery.sequence,
            delivery=delivery.number,
            started_s=now_s,
            deadline_s=now_s + work.deadline_ms / 1000 - self.telemetry.clock.unix_s(),
            reply=self._reply(work, prior, span),
            span=span,
            queued_ms=self.telemetry.since_ms(work.accepted_ms),
            history=_history(work, role, prior),
            spent=spent,
            held=Amount(work.hold_picousd, work.hold_tokens),
            guard=self.guards.of(work, span.traceparent) if self.guards and work.kind == "chat" else None,
        )
        self.telemetry.metrics.queue_wait.labels(work.role).observe(execution.queued_ms / 1000)
        self.quota_monitor.record_arrival(
            work.role, execution.throttled_quotas, execution.queued_ms / 1000, now_s
        )
        return execution

    def _reply(self, work: ChatWork, prior: PriorAttempts, span: Span) -> ReplyPublisher:
        trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
        position = Position(attempt=prior.attempt, next_seq=prior.next_seq)
        return ReplyPublisher(
            self.bus.nc, self.bus.js, work.reply_to, position, trace, epochs=self.bus.epochs
        )

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


def _output_tokens(checked: CheckedWork, role: RoleConfig) -> int:
    work = checked.work
    if work.kind == "embed":
        return 0
    return output_tokens(checked.max_tokens, role, work.assumed_output_tokens or ASSUMED_OUTPUT_TOKENS)


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

    async def run(
        self,
        checked: CheckedWork,
        prior: PriorAttempts,
        delivery: Delivery,
        began_s: float,
        spent: Amount = NOTHING,
    ) -> Verdict:
        """Execute the request; `began_s`: when its message reached this worker, `spent`: by earlier workers."""
        work = checked.work
        execution = self.starter.start(checked, prior, delivery, spent)
        outcome: str | None = "interrupted"
        try:
            event = await self._terminal_event(execution)
            if delivery.may_be_redelivered(loop_now_s()):
                await execution.reply.confirm()
            await self.finisher.finish(execution, event)
            outcome = event.error.code if isinstance(event, Failed) else None
        except Superseded:
            outcome = "superseded"
            await self.finisher.recorder.wait_stored(work)
            return NO_VERDICT
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
        return _completed(execution, success, self._timings(execution, success.first_output_s))

    def _timings(self, execution: Execution, first_output_s: float | None = None) -> Timings:
        total_ms = self.telemetry.since_ms(execution.work.accepted_ms)
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
            await self._end_and_remember(execution, event)
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
        _log_end(execution.work, event, self.telemetry.clock)

    async def _end_and_remember(self, execution: Execution, event: Completed | Failed) -> None:
        """What is remembered of the request is sent right before its end is stored, so that a crash between the two
        does not lose it; neither waits for the acknowledgement of the other.
        """
        turn = turn_of(execution, event)
        if turn is None:
            await self._end(execution, event)
            return
        remembered = self.memory.remember(execution.work, turn, execution.span.traceparent)
        await asyncio.gather(remembered, self._end(execution, event))

    async def _end(self, execution: Execution, event: Completed | Failed) -> None:
        end: Completed | Failed | None = event
        if execution.work.lane == "batch":
            result = _job_result(execution, event)
            end = await self.job_records.end(execution.work, execution.message_seq, event, result)
        if end is not None:
            await execution.reply.finish(end)

    def release(self, execution: Execution, held_s: float, outcome: str | None) -> None:
        """The request left this worker after `held_s`; `outcome`: None for a completed one."""
        self.recorder.release(execution.work)
        cut = outcome in _CUT_SHORT
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


def _completed(execution: Execution, success: Success, timings: Timings) -> Completed:
    request_id, seq, attempt = execution.reply.terminal_position()
    return Completed(
        id=request_id,
        seq=seq,
        attempt=attempt,
        role=execution.work.role,
        model=success.model,
        provider=success.provider,
        finish_reason=success.answer.finish_reason,
        usage=success.answer.usage,
        estimated=success.answer.estimated,
        cost_microusd=microusd(execution.cost_picousd),
        timings=timings,
        degraded=success.degraded,
        adapted=success.adapted,
        guarded=success.guarded,
        unchecked=success.unchecked if execution.guard is None else execution.guard.unchecked(),
        left_out=execution.retrieved.left_out,
        citations=execution.retrieved.cited(success.text),
        recalled=execution.retrieved.recalled,
        response=success.response or NO_RESPONSE,
    )


def failed(execution: Execution, gave_up: GaveUp, timings: Timings) -> Failed:
    """The `failed` event. Its error also carries the provider's own code and message: those of the last attempt, or of
    the latest attempt with an HTTP status.
    """
    request_id, seq, attempt = execution.reply.terminal_position()
    history = execution.history
    error = None if history.last_failure is None else history.last_failure.error
    if error is not None:
        code, message = error.code or error.type, error.message or None
    else:
        answered = (each for each in reversed(history.failed) if each.status is not None)
        code, message = next(((each.code, each.message) for each in answered), (None, None))
    failure = Failure(
        code=gave_up.code,
        message=str(gave_up),
        retry=ERRORS[gave_up.code].retry,
        retry_after_s=gave_up.retry_after_s,
        provider_code=code,
        provider_message=message,
        attempts=tuple(history.failed),
        limit=gave_up.limit,
        categories=gave_up.categories,
        param=gave_up.param,
    )
    return Failed(id=request_id, seq=seq, attempt=attempt, error=failure, timings=timings)


def _log_end(work: ChatWork, event: Completed | Failed, clock: Clock) -> None:
    """Write one log line per request, never with content (J4)."""
    code = event.error.code if isinstance(event, Failed) else None
    fields: dict[str, object] = {
        "request": work.id,
        "account": work.account,
        "user": work.user,
        "role": work.role,
        "attempt": event.attempt,
        "latency_ms": round(clock.unix_s() * 1000 - work.accepted_ms, 1),
        "error": code,
    }
    if isinstance(event, Completed):
        fields |= {
            "model": event.model,
            "tokens_in": event.usage.input_tokens,
            "tokens_out": event.usage.output_tokens,
            "cost_microusd": event.cost_microusd,
            **({"degraded": [each.rule for each in event.degraded]} if event.degraded else {}),
            **({"adapted": [each.parameter for each in event.adapted]} if event.adapted else {}),
        }
    level = logging.INFO if code is None else getattr(logging, ERRORS[code].level.upper())
    _log.log(level, "request ended", extra={"fields": fields})
