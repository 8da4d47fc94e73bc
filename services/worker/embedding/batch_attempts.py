"""A provider call is one attempt of each request that pays for texts in it: announced before, recorded after it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.tracing import Attributes, Span, Tracer
from penstock.contract.reply import Usage
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.tokens import with_margin
from services.worker.accounting.charge import charge_of
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.budget.hold_cover import AttemptTokens
from services.worker.embedding.request import OpenAttempt, Text, WaitingRequest
from services.worker.embedding.token_shares import divided
from services.worker.estimates.service_times import ServiceTimes
from services.worker.execution.attempt import AttemptNumbers
from services.worker.execution.attempt_usage import CANCELLED
from services.worker.execution.hold_raiser import HoldRaiser
from services.worker.execution.request_bodies import Body
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["BatchAttempts", "CallEnd", "Share", "end_of_failure"]

_BODY: Final = Body(b"", (), ())


class Share(Struct, frozen=True):
    """The part of a batch for which one request pays."""

    request: WaitingRequest
    texts: list[Text]
    attempt: OpenAttempt
    span: Span


class CallEnd(Struct, frozen=True):
    """How a call ended."""

    outcome: str
    """`completed`, or a failure kind."""
    tokens: int | None = 0
    """Of the whole batch; None: not known, so that the shares are estimates."""
    took_s: float = 0.0


class BatchAttempts(Struct, frozen=True):
    numbers: AttemptNumbers
    recorder: UsageRecorder
    service_times: ServiceTimes
    hold_raiser: HoldRaiser | None
    """None: there are no budgets."""
    tracer: Tracer

    async def announce(self, texts: Iterable[Text], key: QuotaKey, provider: str) -> list[Share]:
        """Announce one attempt for each request that pays for some of `texts`.

        A request that cannot be announced ends with the error; its texts are paid by the next request that waits for
        them, or left out.
        """
        shares: list[Share] = []
        waiting = [text for text in texts if text.requests]
        total = max(1, len(waiting))
        while waiting:
            by_payer: dict[int, tuple[WaitingRequest, list[Text]]] = {}
            for text in waiting:
                payer = text.requests[0]
                by_payer.setdefault(id(payer), (payer, []))[1].append(text)
            parts = list(by_payer.values())
            begun = await asyncio.gather(
                *(self._begin(request, part, (key, provider), len(part) / total) for request, part in parts),
                return_exceptions=True,
            )
            waiting = []
            for (request, part), result in zip(parts, begun, strict=True):
                if isinstance(result, OpenAttempt) and request.waits:
                    shares.append(Share(request, part, result, self._start_span(request, result, provider)))
                    continue
                if isinstance(result, Exception):
                    request.fail(result)
                elif isinstance(result, BaseException):
                    raise result
                request.leave()
                waiting += [text for text in part if text.requests]
        return shares

    def end(self, shares: Sequence[Share], end: CallEnd) -> None:
        """Record the usage of every share; one whose request was given up meanwhile is recorded already."""
        weights = [share.attempt.tokens for share in shares]
        counted = None if end.tokens is None else divided(end.tokens, weights)
        for at, share in enumerate(shares):
            tokens = share.attempt.tokens if counted is None else counted[at]
            self._record(share, end, tokens, estimated=counted is None)

    def give_up(self, request: WaitingRequest) -> None:
        """Record the attempts of a request that ends while its calls are in flight, at their estimates."""
        for attempt in tuple(request.open_attempts.values()):
            took_s = loop_now_s() - attempt.began_s
            self._store(request, attempt, CallEnd(CANCELLED, None, took_s), attempt.tokens, estimated=True)

    async def _begin(
        self, request: WaitingRequest, texts: list[Text], of: tuple[QuotaKey, str], share: float
    ) -> OpenAttempt:
        key, provider = of
        execution = request.execution
        tokens = sum([text.tokens for text in texts])
        async with request.announcing:
            if self.hold_raiser is not None:
                running = sum(each.tokens for each in request.open_attempts.values())
                most = AttemptTokens(with_margin(running + tokens), 0)
                await self.hold_raiser.cover(execution, key.model, most)
            number = await self.numbers.take(execution, key.model, provider, _BODY, tokens)
            attempt = OpenAttempt(number, key, tokens, loop_now_s(), execution.prices)
            if request.waits:
                request.open_attempts[number] = attempt
                self.service_times.record_call_start(execution.work.role, execution.calls, share)
            return attempt

    def _record(self, share: Share, end: CallEnd, tokens: int, *, estimated: bool) -> None:
        request, attempt = share.request, share.attempt
        share.span.set(names.INPUT_TOKENS, tokens)
        share.span.end(error=None if end.outcome == "completed" else end.outcome)
        if attempt.number not in request.open_attempts:
            return
        if end.outcome == "completed":
            counts = request.counts
            counts.tokens += tokens
            counts.embedded += len(share.texts)
            counts.estimated = counts.estimated or estimated
            request.model = attempt.key.model
        elif not request.open_attempts:
            self.service_times.record_call_failure(request.execution.work.role, request.execution.calls)
        self._store(request, attempt, end, tokens, estimated=estimated)

    def _store(
        self, request: WaitingRequest, attempt: OpenAttempt, end: CallEnd, tokens: int, *, estimated: bool
    ) -> None:
        del request.open_attempts[attempt.number]
        execution = request.execution
        ends = end.outcome == "completed" and request.is_complete and not request.open_attempts
        request.hold_ended = request.hold_ended or ends
        record = AttemptRecord(
            number=attempt.number,
            model=attempt.key.model,
            credential=attempt.key.credential,
            outcome=end.outcome,
            usage=Usage(input_tokens=tokens),
            estimated=estimated and tokens > 0,
            duration_ms=round(end.took_s * 1000, 3),
            prices=attempt.prices,
            ends=ends,
        )
        recorded = self.recorder.record(execution.work, record, execution.span.traceparent)
        execution.charge(charge_of(recorded.cost_picousd, tokens, priced=recorded.priced))

    def _start_span(self, request: WaitingRequest, attempt: OpenAttempt, provider: str) -> Span:
        model = attempt.key.model
        attributes: Attributes = {
            names.OPERATION_NAME: names.EMBEDDINGS,
            names.PROVIDER_NAME: provider,
            names.REQUEST_MODEL: model,
            names.ATTEMPT: attempt.number,
            names.EMBEDDING_DIMENSIONS: request.dimensions,
        }
        return self.tracer.start(
            f"{names.EMBEDDINGS} {model}",
            "client",
            parent=request.execution.span.traceparent,
            attributes=attributes,
        )


def end_of_failure(failure: ProviderFailure, *, answered: bool, took_s: float) -> CallEnd:
    """A provider that refused the call, or was not reached, charges nothing; otherwise it may have."""
    free = failure.status is not None or (failure.kind == "connection" and not answered)
    return CallEnd(failure.kind, 0 if free else None, took_s)
