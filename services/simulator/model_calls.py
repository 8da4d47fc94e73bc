"""The path of every model call: count → validate → rate limits → behaviour → answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from services.simulator.answers.replies import HTML_PAGE
from services.simulator.answers.requests import (
    CompletionRequest,
    EmbeddingsRequest,
    ModerationsRequest,
    Prompt,
    decode,
    fingerprint,
)
from services.simulator.behaviour.model_names import Behaviour, ModelName
from services.simulator.control.counts import Attempt
from services.simulator.http.errors import ApiError
from services.simulator.http.exchange import HTML, ClientDisconnectedError, Exchange
from services.simulator.rate_limits.limiter import Rejection
from services.simulator.rate_limits.responses import rate_limit_error, rate_limit_headers
from services.simulator.state import SimulatorState

__all__ = ["Endpoint", "ModelCall", "ModelCalls"]

_UNREADABLE = "(unreadable)"
"""Model name under which requests with an unreadable body are counted."""

Request = TypeVar("Request", bound=CompletionRequest | EmbeddingsRequest | ModerationsRequest)


class ModelCall(Struct, frozen=True):
    """A validated call."""

    state: SimulatorState
    exchange: Exchange
    attempt: Attempt
    name: ModelName
    behaviour: Behaviour
    prompt: Prompt


class Endpoint(Protocol[Request]):
    """The parts in which chat, embeddings and moderations differ."""

    default_answer_tokens: int
    """Tokens that the rate limits reserve for an answer whose length the request does not limit."""

    decoder: msgspec.json.Decoder[Request]

    async def respond(self, call: ModelCall, request: Request) -> None:
        """Answer, and set the outcome of the attempt."""


class ModelCalls:
    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def handle(self, endpoint: Endpoint[Request], scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._state.next_request_id())
        try:
            body = await exchange.body()
            request = decode(endpoint.decoder, body)
        except ClientDisconnectedError:
            return  # the request was not complete, so there is no attempt to count
        except ApiError as error:
            async with self._counted(exchange, _UNREADABLE, b""):
                raise error from None
        else:
            self._state.last_requests.record(request.model, body)
            async with self._counted(exchange, request.model, fingerprint(request.content)) as attempt:
                call = self._validated(exchange, attempt, request)
                with self._within_rate_limits(endpoint, call):
                    await self._behave(endpoint, call, request)

    @asynccontextmanager
    async def _counted(self, exchange: Exchange, model: str, digest: bytes) -> AsyncIterator[Attempt]:
        """Count an attempt for the duration of the context; the only place that answers with errors."""
        state = self._state
        attempt = state.counts.begin(model, exchange.request_id, digest.hex(), state.wall_clock())
        state.counts.record_label(attempt, exchange.label)
        try:
            try:
                yield attempt
            except ApiError as error:
                attempt.outcome = error.status
                await exchange.reply_error(error)
        except ClientDisconnectedError:
            attempt.outcome = "cancelled"
        finally:
            attempt.status = exchange.status
            state.counts.end(attempt)

    def _validated(self, exchange: Exchange, attempt: Attempt, request: Request) -> ModelCall:
        """Check the key, the model name and the context length."""
        state = self._state
        state.counts.record_key(exchange.bearer_key)
        state.authorise(exchange.bearer_key)
        name = state.models.find(request.model)
        prompt = request.measure()
        state.check_context(name, prompt)
        return ModelCall(state, exchange, attempt, name, state.models.behaviour(name), prompt)

    @contextmanager
    def _within_rate_limits(self, endpoint: Endpoint[Request], call: ModelCall) -> Iterator[None]:
        """Charge the estimated tokens to the rate limits; correct the charge to the used tokens afterwards."""
        state, exchange, attempt = self._state, call.exchange, call.attempt
        limiter = state.rate_limiters.limiter(exchange.bearer_key, call.name)
        now_s = state.clock()
        if limiter is None:
            state.counts.record_admission(attempt, now_s)
            yield
            return
        answer = call.prompt.answer_tokens
        reserved = endpoint.default_answer_tokens if answer is None else answer
        decision = limiter.admit(call.prompt.estimated_tokens + reserved, now_s)
        exchange.headers += rate_limit_headers(limiter, state.header_style, now_s)
        if isinstance(decision, Rejection):
            raise rate_limit_error(decision, call.name.full, state.header_style)
        state.counts.record_admission(attempt, now_s)
        try:
            yield
        finally:
            limiter.settle(decision, attempt.prompt_tokens + attempt.completion_tokens, state.clock())

    async def _behave(self, endpoint: Endpoint[Request], call: ModelCall, request: Request) -> None:
        """Delay, fail or break the connection as the model's behaviour prescribes; otherwise answer."""
        state, exchange, kind = self._state, call.exchange, call.behaviour.kind
        wait_s = state.speed.latency_ms / 1e3 + (call.behaviour.value if kind == "slow" else 0)
        if wait_s > 0:
            await exchange.pause(wait_s)
        error = state.models.next_error(call.name, state.clock())
        if error is not None:
            raise error
        if kind == "silent":
            await exchange.silence()
        elif kind == "reset":
            await exchange.reset()
            call.attempt.outcome = "broken"
        elif kind == "html":
            await exchange.reply(200, HTML_PAGE, HTML)
            call.attempt.outcome = "broken"
        else:
            await endpoint.respond(call, request)
