"""The life of one generation request: authenticate, read, translate, submit, answer; and reading an answer again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.client.stream import Stream
from penstock.contract.reply import Completed, Delta, Failed
from services.edge.answers.answer import Answer
from services.edge.answers.attempt_deltas import AttemptDeltas
from services.edge.answers.failures import http_error_of_failure
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.reply_sources import joined, submitted
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.answers.respond import Reply, last_event, respond_stream, respond_whole
from services.edge.answers.resumed_stream import position, resumed_stream
from services.edge.answers.stored_reply import (
    call_of,
    is_known_answer,
    readable_reply_of,
    requested_id,
)
from services.edge.answers.stream_response import BEFORE_THE_FIRST, StreamResponse
from services.edge.auth.authenticator import Authenticator
from services.edge.dialects.dialect import DialectRoute
from services.edge.http.exchange import Exchange
from services.edge.openapi import operations
from services.edge.requests.accounts import Account, Accounts
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.idempotency import IdempotencyKeys
from services.edge.requests.preparation import Preparation, PreparedRequest
from services.edge.requests.query import asks_for_stream, known_query
from services.edge.requests.rescue import RescueChoice

__all__ = ["GenerationHandler", "ResumeHandler"]

Assemble = Callable[[str, int, list[Delta], Completed], bytes]
"""The body of a whole answer: from its id, when it was created (Unix seconds), its pieces and its end."""
_UNDECIDED_S: Final = 15.0
"""How long a resumed stream waits before its status is sent, where its request may be queued or may not exist."""


class GenerationHandler:
    """`POST` of one dialect."""

    def __init__(
        self, route: DialectRoute, preparation: Preparation, idempotency: IdempotencyKeys, *, wait_s: float
    ) -> None:
        """`wait_s`: how long a streamed request may wait before its status is sent."""
        self._route = route
        self._preparation = preparation
        self._idempotency = idempotency
        self._wait_s = wait_s

    async def __call__(self, exchange: Exchange) -> None:
        await self.respond(exchange, await self._preparation.prepare(exchange, self._route))

    async def respond(self, exchange: Exchange, prepared: PreparedRequest) -> None:
        """Submit the request, or join the earlier one, and answer it."""
        answer = Answer(self._route, prepared.answer_id, prepared.call)
        facts = answer.new_facts(prepared.account.clock)
        if prepared.is_repeated:
            await self._respond(
                exchange,
                answer,
                joined(prepared.account, prepared.request, self._idempotency),
                facts,
                prepared.rescue,
            )
            return
        streamed = prepared.to_submit()
        sent = Stream(streamed)
        await self._respond(
            exchange, answer, submitted(sent, streamed, facts), facts, prepared.rescue, sent.detach
        )

    async def _respond(
        self,
        exchange: Exchange,
        answer: Answer,
        reply: Reply,
        facts: ReplyFacts,
        rescue: RescueChoice,
        detach: Callable[[], None] | None = None,
    ) -> None:
        """`detach`: see `respond_stream`."""
        if not answer.call.stream:
            await respond_whole(exchange, answer, reply, facts)
            return
        stream = RescuedStream(answer.writer, rescue.kind, hold_s=rescue.hold_s)
        response = StreamResponse(exchange, stream, facts, wait_s=self._wait_s, ping=self._route.ping)
        await respond_stream(exchange, answer, reply, response, detach)


class ResumeHandler:
    """`GET` of an answer by its id, from any edge process: whole, or the stream after a position."""

    def __init__(
        self,
        route: DialectRoute,
        authenticator: Authenticator,
        accounts: Accounts,
        *,
        wait_s: float,
        assemble: Assemble | None = None,
    ) -> None:
        """`wait_s`: as for GenerationHandler. `assemble`: makes a whole answer of a streamed one."""
        self._assemble = assemble
        self._route = route
        self._authenticator = authenticator
        self._accounts = accounts
        self._wait_s = wait_s

    async def __call__(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange)
        known_query(exchange, operations.GET_CHAT_COMPLETION.parameters)
        wants_whole = _wants_whole(exchange)
        found = requested_id(exchange, self._route)
        account = await self._accounts.get(identity.account)
        is_known = await is_known_answer(account, found)
        reply = readable_reply_of(identity, found, account)
        if found.streamed and self._assemble is not None and wants_whole:
            await self._send_whole(exchange, account, found, reply, self._assemble)
        else:
            await self.send(exchange, account, found, reply, is_known=is_known)

    async def _send_whole(
        self, exchange: Exchange, account: Account, found: AnswerId, reply: Reply, assemble: Assemble
    ) -> None:
        """Raises HttpError for a failed request."""
        answer, deltas = Answer(self._route, found, call_of(found)), AttemptDeltas()
        last = await last_event(exchange, reply, answer.new_facts(account.clock), deltas.add)
        if isinstance(last, Failed):
            raise http_error_of_failure(last.error)
        if isinstance(last, Completed):
            body = assemble(answer.text_id, found.created_s, deltas.list, last)
            await exchange.respond(200, body)

    async def send(
        self, exchange: Exchange, account: Account, found: AnswerId, reply: Reply, *, is_known: bool = True
    ) -> None:
        """`is_known`: see `is_known_answer`."""
        after = position(exchange)
        answer = Answer(self._route, found, call_of(found))
        facts = answer.new_facts(account.clock)
        if not found.streamed:
            await respond_whole(exchange, answer, reply, facts)
            return
        stream = await resumed_stream(account, answer, after)
        wait_s = self._wait_s if is_known else _UNDECIDED_S
        response = StreamResponse(exchange, stream, facts, wait_s=wait_s, after=after)
        await respond_stream(exchange, answer, reply, response)


def _wants_whole(exchange: Exchange) -> bool:
    """`stream=false`, or what OpenAI's SDKs send to read a completion: they accept JSON and no events.

    Raises HttpError (400) for another value of `stream`.
    """
    asked = asks_for_stream(exchange)
    if asked is not None:
        return not asked
    accepted = exchange.header(b"accept")
    is_json_only = "application/json" in accepted and "text/event-stream" not in accepted
    return is_json_only and position(exchange) == BEFORE_THE_FIRST
