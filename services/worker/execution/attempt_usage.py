"""What one attempt used: tokens as the provider counted them, the rest counted here, recorded once it is over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct, field, structs

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.pricing import PriceTable
from penstock.runtime.tokens import OUTPUT_BYTES_PER_TOKEN
from services.worker.accounting.charge import charge_of
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.budget.hold_cover import attempt_tokens
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.estimates.output_rate import OutputRate
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.delta_sink import JoinedDelta
from services.worker.execution.missing_counts import (
    NOTHING_MISSING,
    Missing,
    MissingCounts,
    ProducedText,
    missing_of,
)
from services.worker.execution.provider_call import Answer, Progress
from services.worker.execution.request_bodies import Body
from services.worker.execution.state import Execution
from services.worker.providers.streams.chunks import ChunkDelta
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["CANCELLED", "AttemptUsage", "CurrentAttempt"]

CANCELLED: Final = "cancelled"


class CurrentAttempt(Struct):
    """One attempt under way, or just over."""

    key: QuotaKey
    number: int
    body: Body
    began_s: float
    progress: Progress = field(default_factory=Progress)
    answer: Answer | None = None
    outcome: str = CANCELLED
    """`completed`, a failure kind, or the error code with which the guard ended it; CANCELLED until it is known."""
    kept: Sequence[JoinedDelta | ChunkDelta] = ()
    """The streamed answer as the provider sent it, as far as it was kept."""
    refused: bool = False
    """The provider refused the request before it did any work."""
    prices: PriceTable | None = None
    """The prices when it began; None: they never change."""
    frozen: bool = False
    """This process was frozen during it, so that its duration says nothing of the model."""


class AttemptUsage:
    def __init__(
        self,
        catalogue: Catalogue,
        calibration: TokenCalibration,
        degradation: DegradationMonitor,
        recorder: UsageRecorder,
        counting: MissingCounts,
    ) -> None:
        self._models = catalogue.models
        self._calibration = calibration
        self._degradation = degradation
        self._recorder = recorder
        self._counting = counting
        self._output_rate = OutputRate()

    def may_count(self, work: ChatWork, model: str) -> bool:
        """Whether the produced text is needed if the provider sends no usage."""
        return self._counting.wanted(work, model)

    def record(self, execution: Execution, attempt: CurrentAttempt) -> int:
        """Record the attempt, which is over; returns the tokens to charge to the limits of the model.

        Tokens that the provider did not count are counted in the background; until then they are estimates.
        """
        ended_s = attempt.progress.ended_s
        took_s = (loop_now_s() if ended_s is None else ended_s) - attempt.began_s
        usage, estimated, missing = self._usage(execution, attempt, took_s)
        first_s, degraded = attempt.progress.first_output_s, attempt.body.degraded
        record = AttemptRecord(
            number=attempt.number,
            model=attempt.key.model,
            credential=attempt.key.credential,
            outcome=attempt.outcome,
            usage=usage,
            estimated=estimated,
            first_token_ms=None if first_s is None else round((first_s - attempt.began_s) * 1000, 3),
            duration_ms=round(took_s * 1000, 3),
            degraded=tuple(dict.fromkeys([each.rule for each in degraded])) if degraded else (),
            prices=attempt.prices,
        )
        if not attempt.frozen:
            self._degradation.observe(execution.work.role, record, loop_now_s())
        work, model, trace, count = execution.work, attempt.key.model, execution.span.traceparent, None
        if missing is not NOTHING_MISSING and self._counting.wanted(work, model):
            count = partial(self._counted, execution, attempt, record, missing)
            execution.counting += 1
        recorded = self._recorder.record(work, record, trace, count)
        tokens = usage.input_tokens + usage.output_tokens
        execution.charge(charge_of(recorded.cost_picousd, tokens, priced=recorded.priced))
        output_unknown = estimated and attempt.answer is None and not execution.work.stream
        return tokens + (self._margin(execution, model, took_s, usage) if output_unknown else 0)

    def _margin(self, execution: Execution, model: str, took_s: float, usage: Usage) -> int:
        """Output tokens above `usage` that a call without its answer may have used.

        The account pays for the usual output. Many calls cut at once by their deadlines would exceed a limit with it:
        when the machine or the network is slow, calls finish late, but the provider generates as fast as before.
        """
        most = execution.size.output_tokens
        upper = self._output_rate.upper_estimate(model, after_s=took_s, most=most)
        return max(0, upper - usage.output_tokens)

    async def _counted(
        self, execution: Execution, attempt: CurrentAttempt, record: AttemptRecord, missing: Missing
    ) -> AttemptRecord:
        """The record with the tokens that were missing, and the request charged for them."""
        model, before = record.model, record.usage
        answer = attempt.answer
        response = None if answer is None else answer.response
        text = ProducedText(attempt.kept, attempt.progress.content_bytes, response)
        usage = await self._counting.count(model, before, missing, attempt.body.sent, text)
        if usage == before:
            return record
        charged = self._counting.charge(model, before, record.prices)
        execution.charge(self._counting.charge(model, usage, record.prices).minus(charged))
        if answer is not None:
            answer.usage = usage
        return structs.replace(record, usage=usage)

    def _usage(
        self, execution: Execution, attempt: CurrentAttempt, took_s: float
    ) -> tuple[Usage, bool, Missing]:
        """The usage, whether any of it is an estimate, and which of its counts the provider did not send."""
        answer = attempt.answer
        if answer is None:
            return self._usage_of_failure(execution, attempt, took_s)
        model, estimated_tokens = attempt.key.model, execution.size.input_tokens
        counted, doubtful = answer.counted.without_implausible(self._models[model].context_tokens)
        sent_bytes = attempt.progress.content_bytes if answer.response is None else answer.message_bytes
        input_tokens = max(1, self._calibration.corrected(model, estimated_tokens))
        output_tokens = -(-sent_bytes // OUTPUT_BYTES_PER_TOKEN)
        answer.usage, estimated = counted.with_estimates(
            input_tokens=input_tokens, output_tokens=output_tokens
        )
        answer.estimated = estimated or doubtful
        if not attempt.frozen:
            first_s = attempt.progress.first_output_s if execution.work.stream else None
            first_s = None if first_s is None else first_s - attempt.began_s
            self._output_rate.observe(
                model, tokens=counted.output_tokens or 0, took_s=took_s, first_s=first_s
            )
        self._calibration.observe(
            model, estimated_tokens=estimated_tokens, true_tokens=counted.input_tokens or 0
        )
        return answer.usage, answer.estimated, missing_of(counted) if estimated else NOTHING_MISSING

    def _usage_of_failure(
        self, execution: Execution, attempt: CurrentAttempt, took_s: float
    ) -> tuple[Usage, bool, Missing]:
        """Of a stream that was cut after its usage, that is the usage; else it is what was produced."""
        progress, model = attempt.progress, attempt.key.model
        if attempt.refused or (attempt.outcome == "connection" and progress.headers is None):
            return Usage(), False, NOTHING_MISSING
        output_tokens = progress.content_bytes // OUTPUT_BYTES_PER_TOKEN
        if not execution.work.stream:
            made = self._output_rate.estimate(model, after_s=took_s, most=execution.size.output_tokens)
            output_tokens = _within_hold(execution, max(output_tokens, made))
        input_tokens = self._calibration.corrected(model, execution.size.input_tokens)
        chunks = progress.chunks
        if chunks is None or chunks.usage is None:
            usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
            return usage, True, Missing(input=True, output=execution.work.stream)
        counted, doubtful = chunks.usage.without_implausible(self._models[model].context_tokens)
        usage, estimated = counted.with_estimates(input_tokens=input_tokens, output_tokens=output_tokens)
        if chunks.finish_reasons:
            return usage, estimated or doubtful, missing_of(counted) if estimated else NOTHING_MISSING
        # Some providers send the usage so far with each chunk, or at the beginning.
        usage = structs.replace(usage, output_tokens=max(usage.output_tokens, output_tokens))
        least = counted.output_tokens or 0
        return usage, True, Missing(input=not counted.input_tokens, output=True, least_output=least)


def _within_hold(execution: Execution, output_tokens: int) -> int:
    """An estimate costs no more than what was reserved for the attempt (F1)."""
    if execution.work.hold_id is None:
        return output_tokens
    reserved = attempt_tokens(execution.work, execution.size.output_tokens)
    return min(output_tokens, reserved.output_tokens)
