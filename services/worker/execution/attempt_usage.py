"""What one attempt used: tokens as the provider counted them, estimates for the rest, recorded once it is over."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import Usage
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.tokens import OUTPUT_BYTES_PER_TOKEN
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.budget.hold_cover import Amount
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.estimates.output_rate import OutputRate
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.provider_call import Answer, Progress
from services.worker.execution.request_bodies import Body
from services.worker.execution.state import Execution
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
    """`completed` or a failure kind; an attempt that ends without either was interrupted."""
    refused: bool = False
    """The provider refused the request before it did any work."""


class AttemptUsage:
    def __init__(
        self,
        catalogue: Catalogue,
        calibration: TokenCalibration,
        degradation: DegradationMonitor,
        recorder: UsageRecorder,
    ) -> None:
        self._models = catalogue.models
        self._calibration = calibration
        self._degradation = degradation
        self._recorder = recorder
        self._output_rate = OutputRate()

    def record(self, execution: Execution, attempt: CurrentAttempt) -> int:
        """Record the attempt, which is over; returns the tokens it used."""
        took_s = loop_now_s() - attempt.began_s
        usage, estimated = self._usage(execution, attempt, took_s)
        first_s = attempt.progress.first_output_s
        record = AttemptRecord(
            number=attempt.number,
            model=attempt.key.model,
            credential=attempt.key.credential,
            outcome=attempt.outcome,
            usage=usage,
            estimated=estimated,
            first_token_ms=None if first_s is None else round((first_s - attempt.began_s) * 1000, 3),
            duration_ms=round(took_s * 1000, 3),
            degraded=tuple(dict.fromkeys(each.rule for each in attempt.body.degraded)),
        )
        self._degradation.observe(execution.work.role, record, loop_now_s())
        trace = execution.span.traceparent
        cost = self._recorder.record(execution.work, record, trace)
        tokens = usage.input_tokens + usage.output_tokens
        execution.cost_picousd += cost
        execution.spent = execution.spent.plus(Amount(cost, tokens))
        return tokens

    def _usage(self, execution: Execution, attempt: CurrentAttempt, took_s: float) -> tuple[Usage, bool]:
        """The usage, and whether any of it is an estimate."""
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
        self._output_rate.observe(model, tokens=counted.output_tokens or 0, took_s=took_s)
        self._calibration.observe(
            model, estimated_tokens=estimated_tokens, true_tokens=counted.input_tokens or 0
        )
        return answer.usage, answer.estimated

    def _usage_of_failure(
        self, execution: Execution, attempt: CurrentAttempt, took_s: float
    ) -> tuple[Usage, bool]:
        progress, model = attempt.progress, attempt.key.model
        if attempt.refused or (attempt.outcome == "connection" and progress.headers is None):
            return Usage(), False
        output_tokens = progress.content_bytes // OUTPUT_BYTES_PER_TOKEN
        if not execution.work.stream:
            made = self._output_rate.estimate(model, after_s=took_s, most=execution.size.output_tokens)
            output_tokens = max(progress.bytes_out // OUTPUT_BYTES_PER_TOKEN, made)
        input_tokens = self._calibration.corrected(model, execution.size.input_tokens)
        return Usage(input_tokens=input_tokens, output_tokens=output_tokens), True
