"""The way of every model call, from top to bottom: counted → allowed → admitted → behaving → answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from services.simulator.behaviour.behaviours import Behaviour, ModelName
from services.simulator.control.counts import Attempt
from services.simulator.http.errors import ApiError
from services.simulator.http.exchange import HTML, ClientGoneError, Exchange
from services.simulator.http.headers import rate_limit_headers, refused
from services.simulator.http.replies import HTML_PAGE
from services.simulator.http.requests import ModelRequest, Prompt, fingerprint
from services.simulator.provider import Provider
from services.simulator.rate_limits.limits import Refusal

__all__ = ["Call", "Endpoint", "Ladder"]

_UNREADABLE = "(unreadable)"
"""The name under which requests are counted whose model could not be read."""

Request = TypeVar("Request", bound=ModelRequest)


class Call(Struct, frozen=True):
    """An admitted call, ready to be answered."""

    provider: Provider
    exchange: Exchange
    attempt: Attempt
    name: ModelName
    behaviour: Behaviour
    prompt: Prompt


class Endpoint(Protocol[Request]):
    """What tells chat, embeddings and moderations apart."""

    unsaid_answer_tokens: int
    """What admission reserves for an answer whose length the request does not limit."""

    def decode(self, body: bytes) -> Request:
        """Raises a 400 ApiError."""

    def subject(self, request: Request) -> object:
        """What the fingerprint is taken of."""

    def measure(self, request: Request) -> Prompt: ...

    async def respond(self, call: Call, request: Request) -> None:
        """Answer, and set the outcome of the attempt."""


class Ladder:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def climb(self, endpoint: Endpoint[Request], scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._provider.next_request_id())
        try:
            body = await exchange.body()
            request = endpoint.decode(body)
        except ClientGoneError:
            return  # it left before it had asked for anything
        except ApiError as error:
            async with self._counted(exchange, _UNREADABLE, b""):
                raise error from None
        else:
            self._provider.last_requests.keep(request.model, body)
            digest = fingerprint(endpoint.subject(request))
            async with self._counted(exchange, request.model, digest) as attempt:
                await self._allowed(endpoint, exchange, attempt, request)

    @asynccontextmanager
    async def _counted(self, exchange: Exchange, model: str, digest: bytes) -> AsyncIterator[Attempt]:
        """Count what happens inside; errors are answered here, and nowhere else."""
        provider = self._provider
        attempt = provider.counts.begin(model, exchange.request_id, digest.hex(), provider.wall_clock())
        provider.counts.label(exchange.label)
        try:
            try:
                yield attempt
            except ApiError as error:
                attempt.outcome = error.status
                await exchange.reply_error(error)
        except ClientGoneError:
            attempt.outcome = "cancelled"
        finally:
            attempt.status = exchange.status
            provider.counts.end(attempt)

    async def _allowed(
        self, endpoint: Endpoint[Request], exchange: Exchange, attempt: Attempt, request: Request
    ) -> None:
        """Past the key, the model's name and the length of its context."""
        provider = self._provider
        provider.counts.came_with(exchange.bearer)
        provider.authorise(exchange.bearer)
        name = provider.catalogue.find(request.model)
        prompt = endpoint.measure(request)
        provider.check_context(name, prompt)
        call = Call(provider, exchange, attempt, name, provider.catalogue.behaviour(name), prompt)
        await self._admitted(endpoint, call, request)

    async def _admitted(self, endpoint: Endpoint[Request], call: Call, request: Request) -> None:
        """Within the rate limits: charged what it may use, corrected to what it used."""
        provider, exchange, attempt = self._provider, call.exchange, call.attempt
        account = provider.admission.account(exchange.bearer, call.name)
        if account is None:
            provider.counts.admitted(attempt, provider.clock())
            await self._behaving(endpoint, call, request)
            return
        answer = call.prompt.answer_tokens
        reserved = endpoint.unsaid_answer_tokens if answer is None else answer
        now_s = provider.clock()
        decision = account.admit(call.prompt.estimated_tokens + reserved, now_s)
        exchange.headers += rate_limit_headers(account, provider.header_style, now_s)
        if isinstance(decision, Refusal):
            raise refused(decision, call.name.full, provider.header_style)
        provider.counts.admitted(attempt, now_s)
        try:
            await self._behaving(endpoint, call, request)
        finally:
            account.settle(decision, attempt.prompt_tokens + attempt.completion_tokens, provider.clock())

    async def _behaving(self, endpoint: Endpoint[Request], call: Call, request: Request) -> None:
        """Late, refusing, or breaking the connection, as the model's name has it; else it is answered."""
        provider, exchange, kind = self._provider, call.exchange, call.behaviour.kind
        wait_s = provider.speed.latency_ms / 1e3 + (call.behaviour.value if kind == "slow" else 0)
        if wait_s > 0:
            await exchange.pause(wait_s)
        refusal = provider.catalogue.refusal(call.name, provider.clock())
        if refusal is not None:
            raise refusal
        if kind == "silent":
            await exchange.silence()
        elif kind == "reset":
            await exchange.reset()
            call.attempt.outcome = "cut"
        elif kind == "html":
            await exchange.reply(200, HTML_PAGE, HTML)
            call.attempt.outcome = "cut"
        else:
            await endpoint.respond(call, request)
