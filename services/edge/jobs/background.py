"""Background responses of OpenAI's Responses API. Each is a job: its status and answer come from the record of the job,
at any edge process, also when the reply events have expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import NO_RESPONSE, ReplyEvent, Restarted
from penstock.errors import ReplyIncomplete, ResultGone, UnknownJob, UnknownReply
from services.edge.answers.answer import Answer
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.respond import Reply
from services.edge.answers.resumed_stream import position
from services.edge.answers.stored_reply import call_of, cancel_answer, is_known_answer, reply_of
from services.edge.answers.stream_response import BEFORE_THE_FIRST
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import ChatCall, DialectRoute
from services.edge.dialects.responses import ResponsesDialect
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.jobs.stored_answer import deltas_of, events_of
from services.edge.jobs.submission import submit_job
from services.edge.requests.accounts import Account
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.idempotency import IdempotencyKeys
from services.edge.requests.preparation import PreparedRequest

__all__ = ["BackgroundResponses", "user_not_known"]

_CANCELLED_S: Final = 5.0
"""How long the answer to a cancellation waits for the end of the job."""
_POLL_S: Final = 0.1


class BackgroundResponses:
    def __init__(self, route: DialectRoute, dialect: ResponsesDialect, idempotency: IdempotencyKeys) -> None:
        self._route = route
        self._dialect = dialect
        self._idempotency = idempotency

    async def create(self, exchange: Exchange, prepared: PreparedRequest) -> None:
        """Submit the job and answer `queued`; the present state where it was submitted before."""
        await submit_job(prepared, self._idempotency)
        account = prepared.account
        job = await _stored_job(account, prepared.answer_id) if prepared.is_repeated else None
        await self._respond(exchange, account, prepared.answer_id, prepared.call, job)

    async def find(self, identity: Identity, account: Account, found: AnswerId) -> Job | None:
        """None: no router has read its request yet, or, for a key without a user, the record was deleted for newer
        ones.

        Raises UnknownReply, also for the job of another user.
        """
        job = await _stored_job(account, found)
        is_known = False
        if job is None:
            is_known = await is_known_answer(account, found)
            job = await _stored_job(account, found)
        if identity.user and (is_known if job is None else job.user != identity.user):
            raise UnknownReply(found.request_id, found.client)
        return job

    async def find_recorded(self, identity: Identity, account: Account, found: AnswerId) -> Job | None:
        """As `find`, for what a key with a user may do once the user of the job is known.

        Raises HttpError (409) before that.
        """
        job = await self.find(identity, account, found)
        if job is None and identity.user:
            raise user_not_known()
        return job

    async def respond(self, exchange: Exchange, account: Account, found: AnswerId, job: Job | None) -> None:
        """The response as it is now. Raises HttpError (410) where its answer is not stored."""
        model = "" if job is None else job.model or job.role
        await self._respond(exchange, account, found, call_of(found, model), job)

    async def cancel(self, exchange: Exchange, account: Account, found: AnswerId, job: Job | None) -> None:
        """The response as it is once the job has ended, or after some seconds."""
        if job is None or not job.ended:
            await cancel_answer(account, found)
            async with exchange.interruptible():
                job = await _ended(account, found)
        await self.respond(exchange, account, found, job)

    def reply_of(self, exchange: Exchange, account: Account, found: AnswerId, job: Job | None) -> Reply:
        """The reply events; those of the stored answer where they have expired."""
        return aclosing(_events(exchange, account, found, job))

    async def _respond(
        self, exchange: Exchange, account: Account, found: AnswerId, call: ChatCall, job: Job | None
    ) -> None:
        answer = Answer(self._route, found, call)
        facts = answer.new_facts(account.clock)
        body = await self._body(account, answer, facts, job)
        await exchange.respond(200, body, headers=facts.headers())

    async def _body(self, account: Account, answer: Answer, facts: ReplyFacts, job: Job | None) -> bytes:
        text_id, created_s, call = answer.text_id, answer.id.created_s, answer.call
        if job is None or job.state == "queued":
            return self._dialect.unfinished(text_id, created_s, call, "queued")
        if job.error is not None:
            return self._dialect.failed(text_id, created_s, call, job.error)
        if job.state == "running":
            return self._dialect.unfinished(text_id, created_s, call, "in_progress")
        result = await _result(account, job)
        facts.add(result.completed)
        if result.completed.response != NO_RESPONSE:
            return answer.whole(result.completed)
        return self._dialect.assembled(text_id, created_s, call, deltas_of(result), result.completed)


def user_not_known() -> HttpError:
    """A key with a user may not use a request before its user is known."""
    message = "no router has accepted this response yet, so its user is not known: send the request again"
    return HttpError.of("job_not_ended", message)


async def _stored_job(account: Account, found: AnswerId) -> Job | None:
    try:
        job = await account.jobs.get(found.request_id)
    except UnknownJob:
        return None
    return job if job.client == found.client else None


async def _result(account: Account, job: Job) -> JobResult:
    try:
        return await account.jobs.stored(job)
    except ResultGone as error:
        raise HttpError.of("result_gone", str(error)) from error


async def _ended(account: Account, found: AnswerId) -> Job | None:
    """The job when it has ended, or after some seconds."""
    give_up_s = asyncio.get_running_loop().time() + _CANCELLED_S
    while True:
        job = await _stored_job(account, found)
        if (job is not None and job.ended) or asyncio.get_running_loop().time() > give_up_s:
            return job
        await asyncio.sleep(_POLL_S)


async def _events(
    exchange: Exchange, account: Account, found: AnswerId, job: Job | None
) -> AsyncGenerator[ReplyEvent, None]:
    """Raises HttpError (409) where a position cannot be found, because the pieces of the answer have expired; also
    while the job goes on: an error event would say that it has failed.
    """
    is_resumed = position(exchange) != BEFORE_THE_FIRST
    if is_resumed and job is not None and not job.ended and not await account.answers.has_first_event(found):
        raise _expired()
    missing: Exception = UnknownReply(found.request_id, found.client)
    if job is None or not job.ended or await account.answers.find(found) != "unknown":
        try:
            async with reply_of(found, account) as events:
                async for event in events:
                    yield event
        except (ReplyIncomplete, UnknownReply) as error:
            missing = error
        else:
            return
        job = await _stored_job(account, found)
    if job is None or not job.ended:
        raise missing
    if is_resumed:
        raise _expired()
    yield Restarted(id=job.id, seq=0, code="internal", message="the pieces of the answer have expired")
    for event in events_of(job, await _result(account, job) if job.error is None else None):
        yield event


def _expired() -> HttpError:
    message = "the events up to this position are not stored any more: read the response without stream=true"
    return HttpError.of("restarted", message, param="starting_after")
