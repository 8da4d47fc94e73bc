"""Follow a reply to its end and send the answer, whole or as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager

from penstock.contract.reply import Completed, Failed, ReplyEvent
from penstock.errors import PenstockError
from services.edge.answers.answer import Answer
from services.edge.answers.failures import http_error_of_failure, stream_error_of
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.stream_response import StreamResponse
from services.edge.http.errors import HttpError, ShuttingDown
from services.edge.http.exchange import Exchange

__all__ = ["Reply", "last_event", "respond_stream", "respond_whole"]

Reply = AbstractAsyncContextManager[AsyncIterable[ReplyEvent]]
"""The events of a reply, of which the last is `completed` or `failed`. Leaving it earlier may cancel the request."""


async def respond_whole(exchange: Exchange, answer: Answer, reply: Reply, facts: ReplyFacts) -> None:
    """Raises HttpError for a failed request."""
    last = await last_event(exchange, reply, facts)
    if isinstance(last, Failed):
        raise http_error_of_failure(last.error)
    if isinstance(last, Completed):
        body = answer.whole(last)
        del last  # so that the answer is kept once while a slow client reads it
        await exchange.respond(200, body)


async def last_event(
    exchange: Exchange,
    reply: Reply,
    facts: ReplyFacts,
    observe: Callable[[ReplyEvent], None] | None = None,
) -> ReplyEvent | None:
    """Read the reply to its end, and add what is known of it to the response headers."""
    last: ReplyEvent | None = None
    try:
        async with exchange.interruptible(), reply as events:
            async for event in events:
                facts.add(event)
                if observe is not None:
                    observe(event)
                last = event
    finally:
        exchange.headers += facts.headers()
    return last


async def respond_stream(
    exchange: Exchange,
    answer: Answer,
    reply: Reply,
    response: StreamResponse,
    detach: Callable[[], None] | None = None,
) -> None:
    """Raises HttpError for a request that failed before its status was sent.

    `detach` lets the request run on where this process stops and the client can read the rest from another one.
    """

    def before_shutdown() -> None:
        has_id = exchange.status is not None and answer.resume_path is not None
        if detach is not None and has_id:
            detach()

    async with response:
        try:
            async with exchange.interruptible(before_shutdown), reply as events:
                async for event in events:
                    if await response.add(event):
                        break
        except (PenstockError, ShuttingDown, HttpError) as error:
            if exchange.status is None:
                response.add_headers()
                raise
            await response.fail(stream_error_of(error, answer.resume_path))
        await response.end()
