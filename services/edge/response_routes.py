"""A response by its id: read, streamed again, or cancelled."""

from __future__ import annotations

from msgspec import Raw

from penstock.contract.reply import Completed, Delta, Failed, Failure, ReplyEvent, Restarted
from services.edge.answers.answer import Answer
from services.edge.answers.respond import last_event
from services.edge.auth.authenticator import Authenticator
from services.edge.dialects.dialect import ChatCall, DialectRoute
from services.edge.dialects.responses import ResponsesDialect
from services.edge.handlers import ResumeHandler, is_known_answer, reply_of, requested_id
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.requests.accounts import Account, Accounts
from services.edge.requests.answer_id import AnswerId

__all__ = ["ResponseRoutes"]

_CANCELLED = "the application cancelled the response"


class ResponseRoutes:
    """The request is not stored: a response that is read again lacks the fields that repeat it."""

    def __init__(
        self,
        route: DialectRoute,
        dialect: ResponsesDialect,
        authenticator: Authenticator,
        accounts: Accounts,
        *,
        wait_s: float,
    ) -> None:
        """`wait_s`: as for GenerationHandler."""
        self._route = route
        self._dialect = dialect
        self._authenticator = authenticator
        self._accounts = accounts
        self._resume = ResumeHandler(route, authenticator, accounts, wait_s=wait_s)

    async def get(self, exchange: Exchange) -> None:
        """The response when it has ended; with `stream=true` its events, of which the client has `starting_after`."""
        identity = self._authenticator.authenticate(exchange)
        found = requested_id(exchange, self._route)
        if exchange.query().get("stream") == "true":
            if not found.streamed:
                message = "this response was not streamed: read it without stream=true"
                raise HttpError.of("invalid_request", message, param="stream")
            await self._resume.send(exchange, identity, found)
            return
        account = await self._accounts.get(identity.account)
        await is_known_answer(account, found)
        await self._respond(exchange, found, account)

    async def cancel(self, exchange: Exchange) -> None:
        """The response as it has ended: `cancelled`, unless it had ended before."""
        identity = self._authenticator.authenticate(exchange)
        found = requested_id(exchange, self._route)
        account = await self._accounts.get(identity.account)
        await is_known_answer(account, found)
        await account.client.cancel(found.request_id, _CANCELLED)
        await self._respond(exchange, found, account)

    async def _respond(self, exchange: Exchange, found: AnswerId, account: Account) -> None:
        answer, deltas = self._answer(found, ""), _Deltas()
        facts = answer.new_facts()
        last = await last_event(exchange, reply_of(found, account), facts, deltas.add)
        answer = self._answer(found, facts.model)
        if isinstance(last, Completed):
            await exchange.respond(200, self._completed(answer, deltas, last))
        elif isinstance(last, Failed):
            await exchange.respond(200, self._failed(answer, last.error))

    def _answer(self, found: AnswerId, model: str) -> Answer:
        return Answer(self._route, found, ChatCall(body=Raw(b"{}"), model=model, stream=found.streamed))

    def _completed(self, answer: Answer, deltas: _Deltas, completed: Completed) -> bytes:
        if not answer.id.streamed:
            return answer.whole(completed)
        text_id, created_s = answer.text_id, answer.id.created_s
        return self._dialect.assembled(text_id, created_s, answer.call, deltas.list, completed)

    def _failed(self, answer: Answer, failure: Failure) -> bytes:
        text_id, created_s = answer.text_id, answer.id.created_s
        if failure.code == "cancelled":
            return self._dialect.unfinished(text_id, created_s, answer.call, "cancelled")
        return self._dialect.unfinished(text_id, created_s, answer.call, "failed", failure)


class _Deltas:
    """The deltas of the last attempt."""

    def __init__(self) -> None:
        self.list: list[Delta] = []

    def add(self, event: ReplyEvent) -> None:
        if isinstance(event, Restarted):
            self.list.clear()
        elif isinstance(event, Delta):
            self.list.append(event)
