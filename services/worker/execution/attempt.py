"""One attempt: its number taken, the body sent, the answer published, the usage recorded, all of it traced."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct, structs

from penstock.bus import trace_names as names
from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.freezes import frozen_s
from penstock.bus.tracing import Attributes, Span, Tracer
from penstock.contract.guard.policies import Direction
from penstock.contract.reply import Adapted, Degraded, GuardedContent
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.reply_publisher import AnnouncedAttempt
from services.worker.execution.attempt_usage import CANCELLED, AttemptUsage, CurrentAttempt
from services.worker.execution.delta_sink import DeltaSink
from services.worker.execution.guarding import check_failure
from services.worker.execution.next_attempt import why_no_other_attempt
from services.worker.execution.provider_call import Answer, Call, make_call
from services.worker.execution.request_bodies import Body, RequestBodies
from services.worker.execution.state import Execution, GaveUp
from services.worker.execution.time_limits import TimeLimits
from services.worker.guard.guard_checks import Refused
from services.worker.guard.guarded_sink import GuardedSink
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.provider import Provider
from services.worker.providers.rate_limit_headers import read_rate_limits
from services.worker.providers.size_limits import STREAM_BYTES
from services.worker.rate_limit.quota import Observation, QuotaKey
from services.worker.retrieval.answer_text import TEXT_CHARACTERS, answer_text

__all__ = ["AttemptNumbers", "Attempts", "Spent", "Success"]

_KEPT_BYTES: Final = 256 * 1024
"""Bytes of a streamed answer that are kept to count its tokens if it is cut; those of the rest follow by its length."""
_TAKEN: Final = "another worker has begun an attempt meanwhile, and may have sent text"


class Spent(Struct):
    """What an attempt used of its permit; until that is known, what was charged."""

    tokens: int = 0
    observations: tuple[Observation, ...] = ()
    """What the provider reported of its limits."""


class Success(Struct, frozen=True):
    model: str
    provider: str
    answer: Answer
    first_output_s: float | None
    """When the first output came, or was published where the guard held it back; on the loop's clock."""
    degraded: tuple[Degraded, ...] = ()
    adapted: tuple[Adapted, ...] = ()
    guarded: tuple[GuardedContent, ...] = ()
    unchecked: tuple[Direction, ...] = ()
    """Where a check of the guard was not made, and the content passed."""
    response: Raw | None = None
    """The body of a call that did not stream, as the application gets it."""
    text: str = ""
    """Text of choice 0 as the application gets it, if the execution needs it."""


class AttemptNumbers(Struct, frozen=True):
    """Takes numbers for attempts; of each number of a request only one attempt exists among all workers."""

    job_records: JobRecords
    clock: Clock
    instance: str

    async def take(
        self, execution: Execution, model: str, provider: str, body: Body, of_part: int | None = None
    ) -> int:
        """Take the next number, announced as `started`; `restarted` follows where earlier text may have been sent.

        `of_part`: estimated input tokens of an attempt at a part of the request.

        Raises GaveUp where another worker has begun an attempt meanwhile and the request forbids another one then, and
        Superseded where the server has delivered the message to it.
        """
        announced = AnnouncedAttempt(
            model=model,
            provider=provider,
            worker=self.instance,
            at_ms=self.clock.unix_ms(),
            degraded=body.degraded,
            adapted=body.adapted,
            estimated_tokens=of_part,
        )
        yields = execution.may_be_redelivered(loop_now_s())
        text_may_be_sent = await execution.reply.begin_attempt(announced, yields=yields)
        if text_may_be_sent:
            why = why_no_other_attempt(execution.work.rescue, begun=True, text_sent=True)
            if why is not None:
                raise GaveUp("provider_unavailable", f"{_TAKEN}; {why}")
        number, history = execution.reply.attempt, execution.history
        if execution.work.lane == "batch":
            last_failure = history.failed[-1] if history.failed else None
            await self.job_records.begin_attempt(
                execution.work, execution.message_seq, number, announced, last_failure
            )
        if history.output_sent or text_may_be_sent:
            failure = history.last_failure
            code = "provider_unavailable" if failure is None else failure.handling.code
            message = "the worker stopped responding" if failure is None else str(failure)
            await execution.reply.restarted(code, message)
            history.output_sent = False
        return number


class Attempts(Struct, frozen=True):
    """Makes attempts, one at a time for each request."""

    providers: Mapping[str, Provider]
    """The provider of each model."""
    numbers: AttemptNumbers
    bodies: RequestBodies
    time_limits: TimeLimits
    usage: AttemptUsage
    tracer: Tracer

    async def run(self, execution: Execution, key: QuotaKey, spent: Spent) -> Success:
        """Make one attempt with the model and the credential of `key`.

        Raises ProviderFailure, and GaveUp for a body that cannot be sent to any provider.
        """
        provider = self.providers[key.model]
        spent.tokens = 0  # until the call is made
        body = self.bodies.compose(execution, key.model)
        number = await self.numbers.take(execution, key.model, provider.name, body)
        current = CurrentAttempt(key, number, body, loop_now_s(), prices=execution.prices)
        span = self._start_span(execution, current, provider.name)
        published, sink = self._sinks(execution, key.model)
        limits = self.time_limits.limits(execution, key.model)
        try:
            call = Call(provider, key.credential, body.sent, limits, f"{execution.work.id}.{number}")
            answer = await self._answer(execution, current, call, sink)
            shown = await _shown(execution, answer, sink)
            current.outcome = "completed"
            if published is not None and execution.work.lane == "batch":
                execution.batch_output = tuple(published.kept)
            success = _success(current, provider.name, answer, sink, shown)
            return structs.replace(success, text=_text(execution, published, shown))
        except ProviderFailure as failure:
            current.outcome = failure.kind
            current.refused = failure.status is not None and current.progress.first_output_s is None
            silent = failure.kind in {"no_first_token", "too_slow"} and current.progress.headers is None
            cut_short = limits is not execution.role.timeouts
            execution.history.silent_model = key.model if silent and cut_short else ""
            await check_failure(execution, failure)
            raise
        except (asyncio.CancelledError, Refused):
            refused = None if execution.guard is None else execution.guard.permission.refused
            if refused is not None:
                current.outcome = refused.code
            raise
        finally:
            if sink is not None:
                sink.drop()
                current.progress.content_bytes = sink.content_bytes
                current.kept = sink.kept
                execution.history.output_sent = sink.bytes_out > 0
            current.frozen = frozen_s(current.began_s) > 0.0
            self._note_time(execution, current)
            spent.tokens = self.usage.record(execution, current)
            if current.progress.headers is not None:
                spent.observations = read_rate_limits(current.progress.headers, provider.rate_limit_headers)
            _end_span(span, current)

    def _sinks(
        self, execution: Execution, model: str
    ) -> tuple[DeltaSink | None, DeltaSink | GuardedSink | None]:
        """Where output is published, and where the provider's goes; None for a request that does not stream."""
        if not execution.work.stream:
            return None, None
        counted_bytes = _KEPT_BYTES if self.usage.may_count(execution.work, model) else 0
        batch = execution.work.lane == "batch"
        characters = TEXT_CHARACTERS if execution.retrieved.question else 0
        guard = execution.guard
        if guard is None:
            published = DeltaSink(
                execution.reply, STREAM_BYTES if batch else counted_bytes, text_characters=characters
            )
            return published, published
        published = DeltaSink(execution.reply, STREAM_BYTES if batch else 0, text_characters=characters)
        every = self.providers[model].stream_format.finish_reason == "every"
        return published, guard.sink(published, counted_bytes, finish_repeats=every)

    async def _answer(
        self, execution: Execution, current: CurrentAttempt, call: Call, sink: DeltaSink | GuardedSink | None
    ) -> Answer:
        model = current.key.model
        try:
            answer = current.answer = await make_call(call, sink, current.progress)
        except ProviderFailure as failure:
            final = self.bodies.refused(execution, model, failure, call.body)
            if final is not None:
                raise final from failure
            raise
        self.bodies.accepted(execution, model, call.body)
        return answer

    def _note_time(self, execution: Execution, current: CurrentAttempt) -> None:
        model, first_s = current.key.model, current.progress.first_output_s
        if current.frozen:
            return
        if current.answer is not None:
            output_s = first_s if execution.work.stream else current.progress.ended_s
            self.time_limits.note_answer(execution, model, current.began_s, output_s)
        elif current.outcome == CANCELLED and first_s is None:
            self.time_limits.note_interruption(execution, model, current.began_s)

    def _start_span(self, execution: Execution, current: CurrentAttempt, provider: str) -> Span:
        model = current.key.model
        attributes: Attributes = {
            names.OPERATION_NAME: names.CHAT,
            names.PROVIDER_NAME: provider,
            names.REQUEST_MODEL: model,
            names.REQUEST_STREAM: execution.work.stream,
            names.ATTEMPT: current.number,
        }
        return self.tracer.start(
            f"{names.CHAT} {model}", "client", parent=execution.span.traceparent, attributes=attributes
        )


class _Shown(Struct, frozen=True):
    """The body of a call that did not stream as the application gets it, and what the guard found."""

    response: Raw | None
    guarded: tuple[GuardedContent, ...] = ()


async def _shown(execution: Execution, answer: Answer, sink: DeltaSink | GuardedSink | None) -> _Shown:
    guard = execution.guard
    if guard is None:
        return _Shown(answer.response)
    if answer.response is None:
        output = sink.guarded() if isinstance(sink, GuardedSink) else ()
        return _Shown(None, (*guard.guarded(), *output))
    response, output = await guard.answer(answer.response)
    return _Shown(response, (*guard.guarded(), *output))


def _text(execution: Execution, published: DeltaSink | None, shown: _Shown) -> str:
    if not execution.retrieved.question:
        return ""
    if published is not None:
        return published.text
    return "" if shown.response is None else answer_text(shown.response)


def _success(
    current: CurrentAttempt,
    provider: str,
    answer: Answer,
    sink: DeltaSink | GuardedSink | None,
    shown: _Shown,
) -> Success:
    body = current.body
    first_s = sink.first_output_s if isinstance(sink, GuardedSink) else current.progress.first_output_s
    return Success(
        current.key.model,
        provider,
        answer,
        first_s,
        body.degraded,
        body.adapted,
        shown.guarded,
        response=shown.response,
    )


def _end_span(span: Span, current: CurrentAttempt) -> None:
    answer, body, first_s = current.answer, current.body, current.progress.first_output_s
    found: Attributes = {}
    if body.degraded:
        found[names.DEGRADED] = [f"{each.rule}: {each.why}" for each in body.degraded]
    if body.adapted:
        found[names.ADAPTED] = [f"{each.parameter}: {each.change}" for each in body.adapted]
    if answer is not None:
        found[names.FINISH_REASONS] = [answer.finish_reason]
        if answer.model is not None:
            found[names.RESPONSE_MODEL] = answer.model
        if answer.response_id is not None:
            found[names.RESPONSE_ID] = answer.response_id
        found[names.INPUT_TOKENS] = answer.usage.input_tokens
        found[names.OUTPUT_TOKENS] = answer.usage.output_tokens
    if first_s is not None:
        found[names.TIME_TO_FIRST_CHUNK] = first_s - current.began_s
    span.set_all(found)
    span.end(error=None if current.outcome == "completed" else current.outcome)
