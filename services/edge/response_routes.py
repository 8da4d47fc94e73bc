"""The routes of OpenAI's Responses API: create, read, stream again, cancel."""

from __future__ import annotations

from penstock.contract.reply import TERMINAL, Completed, Failed
from services.edge.answers.answer import Answer
from services.edge.answers.attempt_deltas import AttemptDeltas
from services.edge.answers.respond import last_event
from services.edge.answers.stored_reply import (
    call_of,
    cancel_answer,
    check_user,
    is_known_answer,
    readable_reply_of,
    requested_id,
)
from services.edge.auth.authenticator import Authenticator
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import DialectRoute
from services.edge.dialects.responses import ResponsesDialect
from services.edge.handlers import GenerationHandler, ResumeHandler
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.jobs.background import BackgroundResponses, user_not_known
from services.edge.openapi import operations
from services.edge.requests.accounts import Account, Accounts
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.preparation import Preparation
from services.edge.requests.query import asks_for_stream, known_query

__all__ = ["CreateResponse", "ResponseRoutes"]


class CreateResponse:
    """`POST`: a response that is awaited, or one in the background."""

    def __init__(
        self,
        route: DialectRoute,
        preparation: Preparation,
        generation: GenerationHandler,
        background: BackgroundResponses,
    ) -> None:
        self._route = route
        self._preparation = preparation
        self._generation = generation
        self._background = background

    async def __call__(self, exchange: Exchange) -> None:
        prepared = await self._preparation.prepare(exchange, self._route)
        if prepared.call.background and not prepared.call.stream:
            await self._background.create(exchange, prepared)
        else:
            await self._generation.respond(exchange, prepared)


class ResponseRoutes:
    """The request is not stored: a response that is read again lacks the fields that repeat it."""

    def __init__(
        self,
        route: DialectRoute,
        dialect: ResponsesDialect,
        authenticator: Authenticator,
        accounts: Accounts,
        resume: ResumeHandler,
        background: BackgroundResponses,
    ) -> None:
        self._route = route
        self._dialect = dialect
        self._authenticator = authenticator
        self._accounts = accounts
        self._resume = resume
        self._background = background

    async def get(self, exchange: Exchange) -> None:
        """The response when it has ended, one in the background at once; with `stream=true` its events, of which the
        client has `starting_after`.
        """
        identity = self._authenticator.authenticate(exchange)
        known_query(exchange, operations.GET_RESPONSE.parameters)
        found = requested_id(exchange, self._route)
        account = await self._accounts.get(identity.account)
        is_streamed = asks_for_stream(exchange) is True
        if is_streamed and not found.streamed:
            message = "this response was not streamed: read it without stream=true"
            raise HttpError.of("invalid_request", message, param="stream")
        if found.background:
            if is_streamed:
                job = await self._background.find_recorded(identity, account, found)
                reply = self._background.reply_of(exchange, account, found, job)
                await self._resume.send(exchange, account, found, reply)
                return
            job = await self._background.find(identity, account, found)
            if job is None and not identity.user and await _has_ended(account, found):
                await self._respond(
                    exchange, identity, found, account
                )  # its record was deleted for newer ones
            else:
                await self._background.respond(exchange, account, found, job)
            return
        is_known = await is_known_answer(account, found)
        if is_streamed:
            reply = readable_reply_of(identity, found, account)
            await self._resume.send(exchange, account, found, reply, is_known=is_known)
        else:
            await self._respond(exchange, identity, found, account)

    async def cancel(self, exchange: Exchange) -> None:
        """The response as it has ended: `cancelled`, unless it had ended before."""
        identity = self._authenticator.authenticate(exchange)
        found = requested_id(exchange, self._route)
        account = await self._accounts.get(identity.account)
        if found.background:
            job = await self._background.find_recorded(identity, account, found)
            await self._background.cancel(exchange, account, found, job)
            return
        is_known = await is_known_answer(account, found)
        if identity.user:
            stored = await account.answers.stored_events(found)
            if not stored and not is_known:
                raise user_not_known()
            await check_user(identity, found, account, stored[0] if stored else None)
        await cancel_answer(account, found)
        await self._respond(exchange, identity, found, account)

    async def _respond(
        self, exchange: Exchange, identity: Identity, found: AnswerId, account: Account
    ) -> None:
        answer, deltas = Answer(self._route, found, call_of(found)), AttemptDeltas()
        facts = answer.new_facts(account.clock)
        reply = readable_reply_of(identity, found, account)
        last = await last_event(exchange, reply, facts, deltas.add)
        answer = Answer(self._route, found, call_of(found, facts.model))
        if isinstance(last, Completed):
            await exchange.respond(200, self._completed(answer, deltas, last))
        elif isinstance(last, Failed):
            body = self._dialect.failed(answer.text_id, found.created_s, answer.call, last.error)
            await exchange.respond(200, body)

    def _completed(self, answer: Answer, deltas: AttemptDeltas, completed: Completed) -> bytes:
        if not answer.id.streamed:
            return answer.whole(completed)
        text_id, created_s = answer.text_id, answer.id.created_s
        return self._dialect.assembled(text_id, created_s, answer.call, deltas.list, completed)


async def _has_ended(account: Account, found: AnswerId) -> bool:
    return any(isinstance(event, TERMINAL) for event in await account.answers.stored_events(found))
