"""One batch of texts on the models of its chain: retried as a whole, divided where its content is refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Raw, Struct
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.contract.errors import ErrorCode
from services.worker.degradation.shorten import BodyShape, RequestSize
from services.worker.embedding.answer import Vectors
from services.worker.embedding.batch_attempts import BatchAttempts, CallEnd, Share, end_of_failure
from services.worker.embedding.batch_deadline import BatchDeadline, CallLimit, timeout_when
from services.worker.embedding.bisection import Bisection, Owner
from services.worker.embedding.call import BatchCall, EmbeddingCalls
from services.worker.embedding.learned import RefusedSizes
from services.worker.embedding.metrics import EmbeddingMetrics
from services.worker.embedding.request import Text, WaitingRequest
from services.worker.embedding.text_queue import BatchSize
from services.worker.embedding.token_shares import most_tokens
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.model_chains import ModelChains
from services.worker.execution.next_attempt import NextAttempt
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.permitted_call import PermittedCall, ReportedOutcome
from services.worker.execution.provider_call import Progress
from services.worker.execution.selection import CallPermit, Selection
from services.worker.execution.state import CallState, GaveUp, HandBack
from services.worker.execution.time_limits import TimeLimits
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.rate_limit_headers import read_rate_limits

__all__ = ["BatchRunner"]

Done = Callable[[Text, bytes | None], None]
_Refusals = tuple[Bisection[Text], RefusedSizes]

_OF_CONTENT: Final[tuple[FailureKind, ...]] = (
    "refused",
    "unclear",
    "content_filter",
    "context_length",
    "too_large",
    "random_refusal",
)
"""Failures that one text of a batch, or their number, may have caused."""
_CODES: Final[Mapping[ErrorCode, ErrorCode]] = {"provider_refused": "invalid_request"}
"""The error code of a request whose text is refused alone."""
_SHAPE: Final = BodyShape(may_cut=False, kept_share=1.0)


class _Trial(Struct, frozen=True):
    """The texts of a batch that are tried now, and what they are to breaker, quota and retries."""

    texts: list[Text]
    state: CallState
    deadline: BatchDeadline


class BatchRunner(Struct, frozen=True):
    chains: ModelChains
    selection: Selection
    calls: EmbeddingCalls
    attempts: BatchAttempts
    outcomes: Outcomes
    next_attempt: NextAttempt
    time_limits: TimeLimits
    calibration: TokenCalibration
    metrics: EmbeddingMetrics
    random: Callable[[], float]

    async def run(self, texts: list[Text], done: Done) -> None:
        """Embed the texts, or end the requests that wait for them. `done` is called for each text before either, with
        its vector if there is one.
        """
        bisection = Bisection(texts, self.random, _owner)
        sizes = RefusedSizes(self.calls.learned)
        content = _content_of(texts)
        try:
            while part := bisection.next_part():
                wanted = [text for text in part if text.requests]
                if wanted:
                    await self._embed(wanted, content, (bisection, sizes), done)
                for text in bisection.given_up():
                    _give_up(text, done)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            for text in texts:
                if text.requests:
                    _fail(text, error, done)
            raise

    async def _embed(
        self,
        part: list[Text],
        content: bytes,
        refusals: _Refusals,
        done: Done,
    ) -> None:
        bisection, _ = refusals
        state = self._state_of(part, content)
        for text in part:
            text.batch = state
        trial = _Trial(part, state, BatchDeadline(state, part))
        try:
            accepted = await self._through_chain(trial, refusals, done)
        except TimeoutError:
            return  # each of the requests has ended at its own deadline
        except HandBack as back:
            for text in part:
                _fail(text, HandBack(pauses=back.pauses), done)
        except GaveUp as gave_up:
            failure = state.history.last_failure
            alone = len(part) == 1 and failure is not None and failure.kind in _OF_CONTENT
            if alone:
                bisection.refused(part)
            for text in part:
                _note_failures(text, state)
                _fail(text, gave_up, done, alone=alone)
        else:
            if accepted:
                bisection.accepted(part)
        finally:
            self.selection.stop_waiting(state)

    async def _through_chain(self, trial: _Trial, refusals: _Refusals, done: Done) -> bool:
        """Whether the texts were embedded; False: their halves are to be tried, or none is wanted any more.

        Raises TimeoutError once every request that waits for them has ended at its own deadline.
        """
        bisection, sizes = refusals
        part, state, deadline = trial.texts, trial.state, trial.deadline
        while deadline.is_wanted:
            async with timeout_when(deadline.latest_s):
                permit = await self.selection.next_call(state)
            try:
                async with timeout_when(deadline.of_call_s):
                    return await self._with_permit(trial, permit, sizes, done)
            except ProviderFailure as failure:
                if len(part) > 1 and failure.kind in _OF_CONTENT:
                    if failure.kind == "too_large":
                        size = BatchSize(len(part), state.size.input_tokens)
                        sizes.refused(permit.key.model, size, [text.key for text in part])
                    bisection.refused(part)
                    self.metrics.divided.labels(permit.key.model).inc()
                    return False
                self.next_attempt.after_failure(state, permit.key.model, failure)
                self._end_before_pause(trial, permit.key.model, failure)
        return False

    def _end_before_pause(self, trial: _Trial, model: str, failure: ProviderFailure) -> None:
        """End the requests whose deadlines come before a model may be called again after a 429."""
        pause_s = self.selection.retry_after_s(trial.state)
        if failure.kind != "rate_limited" or pause_s is None:
            return
        error = GaveUp(
            "rate_limited",
            f"{model}: {failure}; no model may be called within {pause_s:g} s, and the deadline is earlier",
            pause_s,
        )
        until_s = loop_now_s() + pause_s
        for text in trial.texts:
            _note_failures(text, trial.state)
            for request in tuple(text.requests):
                if request.execution.deadline_s < until_s:
                    request.fail(error)
                    request.leave()

    async def _with_permit(self, trial: _Trial, permit: CallPermit, sizes: RefusedSizes, done: Done) -> bool:
        state = trial.state
        with PermittedCall(self.selection, self.outcomes, permit) as call:
            key = permit.key
            provider = self.calls.providers[key.model]
            shares = await self.attempts.announce(trial.texts, key, provider.name)
            texts = [text for share in shares for text in share.texts]
            if not texts:
                return False
            call.spent.tokens = permit.quota.tokens
            with ReportedOutcome(call, state):
                vectors = await self._attempt(trial, shares, texts, call, permit)
        self.attempts.service_times.record_tokens(key.model, call.spent.tokens)
        self.next_attempt.after_success(state, key.model)
        sizes.accepted([text.key for text in texts], loop_now_s())
        _deliver(state, texts, vectors, done)
        return True

    async def _attempt(
        self,
        trial: _Trial,
        shares: Sequence[Share],
        texts: Sequence[Text],
        call: PermittedCall,
        permit: CallPermit,
    ) -> Vectors:
        state, key, progress, began_s = trial.state, permit.key, Progress(), loop_now_s()
        first = shares[0]
        limit = CallLimit(trial.deadline, state, self.time_limits, key.model)
        label = f"{first.request.execution.work.id}.{first.attempt.number}"
        batch = BatchCall(key, [text.content for text in texts], first.request.dimensions, limit, label)
        end = CallEnd("cancelled", None)
        self.metrics.batch_size.labels(key.model).observe(len(texts))
        try:
            vectors = await self.calls.make(batch, progress)
            self.time_limits.note_answer(state, key.model, began_s, progress.ended_s)
            tokens = self._tokens(key.model, texts, vectors)
            end = CallEnd("completed", tokens, loop_now_s() - began_s)
            for text, vector in zip(texts, vectors.vectors, strict=True):
                for request in text.requests:
                    request.found[text.key] = vector
        except ProviderFailure as failure:
            took_s = loop_now_s() - began_s
            end = end_of_failure(failure, answered=progress.headers is not None, took_s=took_s)
            raise
        finally:
            if progress.headers is not None:
                provider = self.calls.providers[key.model]
                call.spent.observations = read_rate_limits(progress.headers, provider.rate_limit_headers)
            self.attempts.end(shares, end)
            estimated = sum([text.tokens for text in texts])
            call.spent.tokens = estimated if end.tokens is None else end.tokens
        return vectors

    def _tokens(self, model: str, texts: Sequence[Text], vectors: Vectors) -> int | None:
        """The provider's count; None where it sent none, or an impossible one."""
        counted = vectors.counted.input_tokens or vectors.counted.total_tokens
        estimated = sum([text.tokens for text in texts])
        if not counted or counted > sum([most_tokens(text.content) for text in texts]):
            return None
        self.calibration.observe(model, estimated_tokens=estimated, true_tokens=counted)
        return counted

    def _state_of(self, part: Sequence[Text], content: bytes) -> CallState:
        """What the batch is to breaker, quota and retries: a request with the latest deadline of all in it."""
        executions = [request.execution for text in part for request in text.requests]
        first = executions[0]
        tokens = sum([text.tokens for text in part])
        work = replace(
            first.work,
            body=Raw(content),
            body_ref=None,
            estimated_tokens=tokens,
            rescue="restart",
            stream=False,
        )
        state = CallState(
            work=work,
            role=first.role,
            size=RequestSize(work, tokens, 0, _SHAPE),
            delivery=max([each.delivery for each in executions]),
            started_s=loop_now_s(),
            deadline_s=max([each.deadline_s for each in executions]),
        )
        state.chain = self.chains.for_batch(state)
        state.first_choice = state.chain[0]
        return state


def _deliver(state: CallState, texts: Sequence[Text], vectors: Vectors, done: Done) -> None:
    waiting: dict[int, WaitingRequest] = {}
    for text, vector in zip(texts, vectors.vectors, strict=True):
        done(text, vector)
        for request in text.requests:
            request.found[text.key] = vector  # also of one that has joined since
            waiting[id(request)] = request
    for request in waiting.values():
        request.execution.first_choice = state.first_choice
        request.finish_if_complete()


def _fail(text: Text, error: Exception, done: Done, *, alone: bool = False) -> None:
    """End every request that waits for `text`; `alone`: the content of this text is the cause."""
    done(text, None)
    for request in tuple(text.requests):
        if alone and isinstance(error, GaveUp):
            field = f"input[{request.index_of(text.key)}]"
            code = _CODES.get(error.code, error.code)
            request.fail(GaveUp(code, f"{field}: {error}", error.retry_after_s, param=field))
        else:
            request.fail(error)
        request.leave()


def _owner(text: Text) -> Owner:
    """Whose text it is: the one who pays for it."""
    if not text.requests:
        return Owner("", "")
    work = text.requests[0].execution.work
    return Owner(work.account, work.user)


def _give_up(text: Text, done: Done) -> None:
    """End the requests of the owner of a text that was not tried; those of others have it embedded anew."""
    owner = _owner(text)
    error = GaveUp(
        "provider_refused", "the provider refuses nearly every text of this user, whatever its content"
    )
    for request in tuple(text.requests):
        work = request.execution.work
        if owner == (work.account, work.user):
            request.fail(error)
            request.leave()
    if not text.requests:
        done(text, None)


def _note_failures(text: Text, state: CallState) -> None:
    for request in text.requests:
        history = request.execution.history
        history.last_failure = state.history.last_failure
        history.failed[:] = state.history.failed


def _content_of(texts: Sequence[Text]) -> bytes:
    """What stands for the content of a batch where failures of different content are counted; its parts are the same
    content.
    """
    digest = hashlib.sha256("".join([text.key for text in texts]).encode())
    return b'"%b"' % digest.hexdigest().encode()
