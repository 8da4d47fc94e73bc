"""The life of one generation request: authenticate, read, translate, submit, answer."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from penstock.client.stream import Stream, StreamedRequest
from penstock.contract.reply import Completed, Failed, ReplyEvent
from penstock.errors import PenstockError
from services.edge.answers.failures import failure_of, http_error_of_failure
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.answers.stream_response import StreamResponse
from services.edge.auth.identity import Authenticator
from services.edge.dialects.dialect import ChatCall, Dialect
from services.edge.http.errors import ShuttingDown
from services.edge.http.exchange import Exchange
from services.edge.metrics import EdgeMetrics
from services.edge.requests.accounts import Accounts
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.builder import build
from services.edge.requests.options import read_options

__all__ = ["GenerationHandler", "Surface"]


class Surface(Struct, frozen=True):
    """A dialect on its route."""

    dialect: Dialect
    prefix: str
    """How its ids begin."""
    path: str


class GenerationHandler:
    """`POST` of one dialect."""

    def __init__(
        self,
        surface: Surface,
        authenticator: Authenticator,
        accounts: Accounts,
        metrics: EdgeMetrics,
        *,
        wait_s: float,
    ) -> None:
        """`wait_s`: how long a streamed request may wait before its status is sent."""
        self._surface = surface
        self._authenticator = authenticator
        self._accounts = accounts
        self._metrics = metrics
        self._wait_s = wait_s

    async def __call__(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange.request_headers)
        options = read_options(exchange.request_headers)
        call = self._surface.dialect.read(await exchange.body())
        account = await self._accounts.get(identity.account)
        request = build(call, options, identity, self._accounts.client_name)
        answer = AnswerId(
            client=request.client,
            request_id=request.id,
            rescue=options.rescue,
            include_usage=call.include_usage,
        )
        streamed = account.stream(request, options.timeout_s, parent=exchange.header(b"traceparent") or None)
        streamed.cancel_on_exit = options.on_disconnect == "cancel"
        if call.stream:
            await self._stream(exchange, streamed, call, answer)
        else:
            await self._whole(exchange, streamed, call, answer)

    async def _whole(
        self, exchange: Exchange, streamed: StreamedRequest, call: ChatCall, answer: AnswerId
    ) -> None:
        facts = ReplyFacts(answer.request_id)
        last: ReplyEvent | None = None
        with exchange.interruptible():
            async with Stream(streamed) as reply:
                facts.traceparent = streamed.traceparent
                async for event in reply:
                    facts.add(event)
                    last = event
        if isinstance(last, Failed):
            exchange.headers += facts.headers()
            raise http_error_of_failure(last.error)
        if isinstance(last, Completed):
            text = answer.text(self._surface.prefix)
            body = self._surface.dialect.whole(text, answer.created_s, call, last)
            await exchange.respond(200, body, headers=facts.headers())

    async def _stream(
        self, exchange: Exchange, streamed: StreamedRequest, call: ChatCall, answer: AnswerId
    ) -> None:
        text, facts = answer.text(self._surface.prefix), ReplyFacts(answer.request_id)
        new_writer = partial(self._surface.dialect.stream, text, answer.created_s, call)
        stream = RescuedStream(new_writer, answer.rescue)
        response = StreamResponse(exchange, stream, facts, wait_s=self._wait_s)
        reply = Stream(streamed)

        def leave_running() -> None:
            if exchange.status is not None:
                reply.detach()  # the client can read the rest from another process

        async with response:
            try:
                with exchange.interruptible(leave_running):
                    async with reply:
                        facts.traceparent = streamed.traceparent
                        async for event in reply:
                            if await response.add(event):
                                break
            except (PenstockError, ShuttingDown) as error:
                if exchange.status is None:
                    exchange.headers += facts.headers()
                    raise
                await response.fail(failure_of(error, f"{self._surface.path}/{text}"))
        await exchange.end()
