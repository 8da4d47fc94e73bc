"""One attempt as the application, the trace and the ledger see it: announced, traced, recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.tracing import Attributes, Span
from penstock.contract.reply import Adapted, Degraded, Usage
from penstock.runtime.config.catalogue import Timeouts
from services.worker.accounting.usage_recorder import AttemptRecord
from services.worker.degradation.monitor import passed_over
from services.worker.estimates.output_rate import OutputPace
from services.worker.execution.coalescer import Flush
from services.worker.execution.delta_sink import DeltaSink
from services.worker.execution.equipment import Equipment
from services.worker.execution.provider_call import Answer, Call, Progress, attempt
from services.worker.execution.rescue import why_no_other_attempt
from services.worker.execution.state import GaveUp, Job
from services.worker.execution.time_limits import AnswerTimes, shortened
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.parameters.compose import compose
from services.worker.providers.parameters.learned import LearntParameters
from services.worker.providers.parameters.request_changes import RequestChanges
from services.worker.providers.protocol import Provider
from services.worker.providers.ratelimit_headers import parse
from services.worker.rate_limit.quota import Observation, QuotaKey

__all__ = ["BYTES_PER_TOKEN", "Attempting", "Spent", "Success"]

_log: Final = logging.getLogger(__name__)

BYTES_PER_TOKEN: Final = 4
"""What a broken stream's output is estimated by."""
_READ: Final[tuple[FailureKind, ...]] = ("refused", "context_length", "content_filter", "random_refusal")
"""Failures of a request whose parameters the model has read."""
_TAKEN: Final = "another worker has begun an attempt meanwhile, and may have sent text"
_CANCELLED: Final = "cancelled"
_SILENT_S: Final = 1.0
"""A call that the deadline ends was silent for at least this long, or for twice as long as an answer takes, before it
counts as a failure."""
_PUNCTUAL_S: Final = 0.02
"""How exactly a deadline is kept."""


class Spent(Struct):
    """What an attempt used of its permit; as long as nothing is known, what was charged."""

    tokens: int
    observations: tuple[Observation, ...] = ()
    """The provider's word on its limits."""


class Success(Struct, frozen=True):
    """The answer, by which model, and when its first output came (on the loop's clock)."""

    model: str
    answer: Answer
    first_output_s: float | None
    degraded: tuple[Degraded, ...] = ()
    adapted: tuple[Adapted, ...] = ()


class _Body(Struct, frozen=True):
    """What is sent, and what of the request it is not."""

    sent: bytes
    degraded: tuple[Degraded, ...]
    adapted: tuple[Adapted, ...]


class _Course(Struct):
    """One attempt under way."""

    number: int
    began_s: float
    progress: Progress = field(default_factory=Progress)
    answer: Answer | None = None
    outcome: str = _CANCELLED
    """Until it is known: nobody waited for the end."""
    refused: bool = False
    """The provider said no before it did any work."""
    degraded: tuple[Degraded, ...] = ()
    adapted: tuple[Adapted, ...] = ()


class Attempting:
    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._pace = OutputPace()
        self._times = AnswerTimes()
        self._parameters = LearntParameters(equipment.catalogue)

    async def run(self, job: Job, key: QuotaKey, spent: Spent) -> Success:
        """Make one attempt with `key`'s model and credential.

        Raises ProviderFailure, and GaveUp for a body that no provider can be sent.
        """
        provider = self._equipment.providers[self._equipment.catalogue.models[key.model].provider]
        spent.tokens = 0  # until the call is made
        body = self._compose(job, key)
        number = await self._announce(job, key, body)
        course = _Course(number, loop_now_s(), degraded=body.degraded, adapted=body.adapted)
        span = self._start_span(job, key, course.number)
        kept: list[Flush] | None = [] if job.work.lane == "batch" else None
        sink = DeltaSink(job.reply, kept) if job.work.stream else None
        try:
            label = f"{job.work.id}.{course.number}"
            call = Call(provider, key.credential, body.sent, self._time_limits(job, key.model), label)
            course.answer = await self._answer(job, key.model, call, sink, course.progress)
            course.outcome = "completed"
            job.kept = tuple(kept or ())
            return Success(
                key.model, course.answer, course.progress.first_output_s, body.degraded, body.adapted
            )
        except ProviderFailure as failure:
            course.outcome = failure.kind
            course.refused = failure.status is not None and course.progress.first_output_s is None
            self._note_silence(job, key.model, call, failure, course.progress)
            raise
        finally:
            if sink is not None:
                sink.drop()
                course.progress.bytes_out = sink.bytes_out
                course.progress.content_bytes = sink.content_bytes
                job.output_sent = sink.bytes_out > 0
            self._note_time(job, key.model, course)
            self._record(job, key, course, spent, provider)
            self._end_span(span, course)

    def _time_limits(self, job: Job, model: str) -> Timeouts:
        """The role's, shorter where another model of the chain, another worker or a second call could still answer."""
        job.silent_until_deadline = False
        limits, now_s = job.role.timeouts, loop_now_s()
        usual_s = self._times.slowest_s(model, stream=job.work.stream)
        others = (each for each in job.chain if each != model and each not in job.excluded)
        if any(each not in job.not_before_s for each in others):
            return shortened(limits, job.deadline_s - now_s, usual_s)
        first = not job.failed_attempts and job.delivery == 1
        if first and (usual_s > 0 or self._equipment.handover.possible(job.work.role, now_s)):
            return shortened(limits, job.deadline_s - now_s, usual_s)
        return limits

    def _note_silence(
        self, job: Job, model: str, call: Call, failure: ProviderFailure, progress: Progress
    ) -> None:
        """Whether the attempt ended in its shortened time, and nothing was heard."""
        silent = failure.kind in {"no_first_token", "too_slow"} and progress.headers is None
        job.unheard = model if silent and call.timeouts is not job.role.timeouts else ""

    def _note_time(self, job: Job, model: str, course: _Course) -> None:
        """How long an answer took; or that the deadline ended a call of which nothing was heard for long enough."""
        now_s, first_s, stream = loop_now_s(), course.progress.first_output_s, job.work.stream
        if course.answer is not None:
            came_s = first_s if stream and first_s is not None else now_s
            self._times.add(model, came_s - course.began_s, stream=stream)
        elif course.outcome == _CANCELLED and now_s >= job.deadline_s - _PUNCTUAL_S:
            enough_s = max(_SILENT_S, 2 * self._times.slowest_s(model, stream=stream))
            job.silent_until_deadline = first_s is None and now_s - course.began_s >= enough_s

    def _compose(self, job: Job, key: QuotaKey) -> _Body:
        """The router has read the parts it needs; here every key is read, and with less stack left than there."""
        shortener = self._equipment.degrading.shortener(job, key.model, loop_now_s())
        rules, changes = self._parameters.adaptation(key.model, loop_now_s()), job.changes.get(key.model)
        try:
            sent, adapted = compose(
                job.work.body,
                model=self._equipment.catalogue.model_name(key.model),
                role=job.role,
                adaptation=rules if changes is None else changes.on(rules),
                stream=job.work.stream,
                shorten=shortener.apply,
            )
        except (ValueError, RecursionError) as error:
            raise GaveUp("invalid_request", f"the body cannot be read: {error}") from error
        return _Body(sent, (*passed_over(job), *shortener.degraded), adapted)

    async def _answer(
        self, job: Job, model: str, call: Call, sink: DeltaSink | None, progress: Progress
    ) -> Answer:
        """Make the call. A refused parameter that the request cannot do without is a refusal of the request."""
        try:
            answer = await attempt(call, sink, progress)
        except ProviderFailure as failure:
            if failure.kind == "parameter" and not self._changed(job, model, failure, call.body):
                raise _final(failure) from failure
            if job.changes and failure.kind in _READ:
                self._failed_otherwise(job, model, failure)
            raise
        changes = job.changes.get(model)
        if changes is not None or self._parameters.doubts(model):
            content = hash(bytes(job.work.body))
            self._log(model, self._parameters.answered(model, call.body, changes, content, loop_now_s()))
        return answer

    def _changed(self, job: Job, model: str, failure: ProviderFailure, sent: bytes) -> bool:
        """Whether the model can be sent the request in another way after it refused a parameter."""
        changes = job.changes.setdefault(model, RequestChanges())
        changed, lines = self._parameters.refused(model, failure.error, sent, changes, loop_now_s())
        self._log(model, lines)
        return changed

    def _failed_otherwise(self, job: Job, model: str, failure: ProviderFailure) -> None:
        changes = job.changes.get(model)
        if changes is not None:
            self._log(model, self._parameters.failed_otherwise(model, failure.error, changes, loop_now_s()))

    def _log(self, model: str, lines: Iterable[str]) -> None:
        for line in lines:
            _log.warning(
                "%s does not take a parameter as it was sent; it is sent otherwise for an hour, and this line of the"
                " catalogue spares each worker the refusal: %s",
                model,
                line,
            )

    async def _announce(self, job: Job, key: QuotaKey, body: _Body) -> int:
        """Take the attempt's number; `restarted` follows where text of another attempt is out, or may be.

        Raises GaveUp where another worker has begun an attempt meanwhile, and the request wants no other one then.
        """
        provider = self._equipment.catalogue.models[key.model].provider
        text_may_be_out = await job.reply.begin_attempt(
            model=key.model,
            provider=provider,
            worker=self._equipment.instance,
            at_ms=self._equipment.clock.unix_ms(),
            degraded=body.degraded,
            adapted=body.adapted,
        )
        if text_may_be_out:
            why = why_no_other_attempt(job.work.rescue, begun=True, text_sent=True)
            if why is not None:
                raise GaveUp("provider_unavailable", f"{_TAKEN}; {why}")
        await self._equipment.background.begin(job, model=key.model, provider=provider)
        if job.output_sent or text_may_be_out:
            failure = job.last_failure
            code = "provider_unavailable" if failure is None else failure.verdict.code
            words = "the worker that was answering is gone" if failure is None else str(failure)
            await job.reply.restarted(code, words)
            job.output_sent = False
        return job.reply.attempt

    def _record(self, job: Job, key: QuotaKey, course: _Course, spent: Spent, provider: Provider) -> None:
        usage, estimated = self._usage(job, key, course)
        spent.tokens = usage.input_tokens + usage.output_tokens
        if course.progress.headers is not None:
            spent.observations = parse(course.progress.headers, provider.rate_limit_headers)
        first_s = course.progress.first_output_s
        record = AttemptRecord(
            number=course.number,
            model=key.model,
            credential=key.credential,
            outcome=course.outcome,
            usage=usage,
            estimated=estimated,
            first_token_ms=None if first_s is None else round((first_s - course.began_s) * 1000, 3),
            duration_ms=round((loop_now_s() - course.began_s) * 1000, 3),
            degraded=tuple(dict.fromkeys(each.rule for each in course.degraded)),
        )
        self._equipment.degrading.observe(job.work.role, record, loop_now_s())
        job.cost_microusd += self._equipment.recorder.record(job.work, record)

    def _usage(self, job: Job, key: QuotaKey, course: _Course) -> tuple[Usage, bool]:
        """As the provider counted, with our estimates for what it did not; True if there is any of these."""
        answer = course.answer
        took_s = loop_now_s() - course.began_s
        asked = self._equipment.calibration.corrected(key.model, job.estimated_tokens)
        if answer is None:
            if course.refused or (course.outcome == "connection" and course.progress.headers is None):
                return Usage(), False
            output = course.progress.content_bytes // BYTES_PER_TOKEN
            if not job.work.stream:
                output = course.progress.bytes_out // BYTES_PER_TOKEN
                output = max(output, self._pace.made(key.model, after_s=took_s, most=job.output_tokens))
            return Usage(input_tokens=asked, output_tokens=output), True
        context_tokens = self._equipment.catalogue.models[key.model].context_tokens
        counted, doubtful = answer.counted.plausible(context_tokens)
        sent = course.progress.content_bytes if answer.response is None else answer.message_bytes
        answer.usage, estimated = counted.completed(
            input_tokens=max(1, asked), output_tokens=_tokens_in(sent)
        )
        answer.estimated = estimated or doubtful
        self._pace.observe(key.model, tokens=counted.output_tokens or 0, took_s=took_s)
        self._equipment.calibration.observe(
            key.model, estimated_tokens=job.estimated_tokens, true_tokens=counted.input_tokens or 0
        )
        return answer.usage, answer.estimated

    def _start_span(self, job: Job, key: QuotaKey, number: int) -> Span:
        attributes: Attributes = {
            names.OPERATION_NAME: names.CHAT,
            names.PROVIDER_NAME: self._equipment.catalogue.models[key.model].provider,
            names.REQUEST_MODEL: key.model,
            names.REQUEST_STREAM: job.work.stream,
            names.ATTEMPT: number,
        }
        return self._equipment.tracer.start(
            f"{names.CHAT} {key.model}", "client", parent=job.span.traceparent, attributes=attributes
        )

    def _end_span(self, span: Span, course: _Course) -> None:
        answer = course.answer
        if course.degraded:
            span.set(names.DEGRADED, [f"{each.rule}: {each.why}" for each in course.degraded])
        if course.adapted:
            span.set(names.ADAPTED, [f"{each.parameter}: {each.change}" for each in course.adapted])
        if answer is not None:
            span.set(names.FINISH_REASONS, [answer.finish_reason])
            if answer.model is not None:
                span.set(names.RESPONSE_MODEL, answer.model)
            if answer.response_id is not None:
                span.set(names.RESPONSE_ID, answer.response_id)
            span.set(names.INPUT_TOKENS, answer.usage.input_tokens)
            span.set(names.OUTPUT_TOKENS, answer.usage.output_tokens)
        if course.progress.first_output_s is not None:
            span.set(names.TIME_TO_FIRST_CHUNK, course.progress.first_output_s - course.began_s)
        span.end(error=None if answer is not None else course.outcome)


def _final(failure: ProviderFailure) -> ProviderFailure:
    """A refused parameter that the request cannot do without: the next model is asked."""
    return ProviderFailure(
        "refused",
        str(failure),
        status=failure.status,
        retry_after_s=failure.retry_after_s,
        error=failure.error,
    )


def _tokens_in(sent_bytes: int) -> int:
    return -(-sent_bytes // BYTES_PER_TOKEN)
