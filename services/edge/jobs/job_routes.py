"""`/v1/jobs`: submit, status, result, cancel and list, for the jobs of one account."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from penstock.contract.jobs import Job, JobState
from penstock.contract.reply import NO_RESPONSE
from penstock.contract.request import ChatRequest
from penstock.contract.subjects import is_token
from penstock.errors import ResultGone, UnknownJob
from services.edge.answers.answer import Answer
from services.edge.answers.failures import http_error_of_failure
from services.edge.auth.authenticator import Authenticator
from services.edge.dialects.dialect import ChatCall, DialectRoute
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.jobs.job_view import job_page, job_view, submitted_view
from services.edge.jobs.submission import submit_job
from services.edge.openapi import operations
from services.edge.requests.accounts import Account, Accounts
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.idempotency import IdempotencyKeys
from services.edge.requests.preparation import Preparation
from services.edge.requests.query import known_query

__all__ = ["JobRoutes"]

_STATES: Final[tuple[str, ...]] = get_args(JobState)
_PAGE: Final = 20
_LARGEST_PAGE: Final = 100


class JobRoutes:
    def __init__(
        self,
        route: DialectRoute,
        preparation: Preparation,
        authenticator: Authenticator,
        accounts: Accounts,
        idempotency: IdempotencyKeys,
    ) -> None:
        """`route`: the dialect of bodies and results."""
        self._route = route
        self._preparation = preparation
        self._authenticator = authenticator
        self._accounts = accounts
        self._idempotency = idempotency

    async def submit(self, exchange: Exchange) -> None:
        """202 once a router has accepted the job, or once it is stored while no router runs."""
        prepared = await self._preparation.prepare(exchange, self._route)
        account, request = prepared.account, prepared.request
        await submit_job(prepared, self._idempotency)
        location = f"{self._route.path}/{request.id}".encode()
        submitted = await _submitted(account, request)
        await exchange.respond(202, _json(submitted), headers=((b"location", location),))

    async def get(self, exchange: Exchange) -> None:
        _, job = await self._job(exchange)
        await exchange.respond(200, _json(job_view(job)))

    async def result(self, exchange: Exchange) -> None:
        """The chat completion."""
        account, job = await self._job(exchange)
        if job.error is not None:
            raise http_error_of_failure(job.error)
        if job.state != "completed":
            message = f"the job is {job.state}: read its result when it has ended"
            raise HttpError.of("job_not_ended", message)
        try:
            completed = (await account.jobs.stored(job)).completed
        except ResultGone as error:
            raise HttpError.of("result_gone", str(error)) from error
        if completed.response == NO_RESPONSE:
            message = "the job was submitted as a stream: read its answer by the id of the answer, within 15 minutes"
            raise HttpError.of("result_gone", message)
        call = ChatCall(body=NO_RESPONSE, model=job.role)
        answer_id = AnswerId(client=job.client, request_id=job.id, streamed=False)
        await exchange.respond(200, Answer(self._route, answer_id, call).whole(completed))

    async def cancel(self, exchange: Exchange) -> None:
        """202: the job will end as failed, with the code `cancelled`; 200: it has ended already."""
        account, job = await self._job(exchange)
        if not job.ended:
            await account.client.cancel(job.id, "cancelled over HTTP")
        await exchange.respond(200 if job.ended else 202, _json(job_view(job)))

    async def list_all(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange)
        query = known_query(exchange, operations.LIST_JOBS.parameters)
        state, limit = _state(query), _limit(query)
        user = identity.user or query.get("user") or None
        account = await self._accounts.get(identity.account)
        page = job_page(
            await account.jobs.list_all(state, user), after=query.get("after") or None, limit=limit
        )
        if page is None:
            raise HttpError.of("invalid_request", "after is not the id of a listed job", param="after")
        await exchange.respond(200, _json(page))

    async def _job(self, exchange: Exchange) -> tuple[Account, Job]:
        """Raises HttpError (404), also for a job of another account, or of another user than that of the key."""
        identity = self._authenticator.authenticate(exchange)
        account = await self._accounts.get(identity.account)
        job_id = exchange.parameters["id"]
        if is_token(job_id):
            try:
                job = await account.jobs.get(job_id)
            except UnknownJob:
                pass
            else:
                if identity.user in {"", job.user}:
                    return account, job
        message = "there is no job of this id: a status is kept for 48 hours after its last change"
        raise HttpError.of("not_found", message, param="id")


async def _submitted(account: Account, request: ChatRequest) -> dict[str, Any]:
    try:
        return job_view(await account.jobs.get(request.id))
    except UnknownJob:
        return submitted_view(request.id)


def _state(query: dict[str, str]) -> JobState | None:
    text = query.get("state")
    found = next((state for state in get_args(JobState) if state == text), None)
    if text is not None and found is None:
        message = f"state is {text!r}: use one of {', '.join(_STATES)}"
        raise HttpError.of("invalid_request", message, param="state")
    return found


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", str(_PAGE))
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= _LARGEST_PAGE):
        message = f"limit is {text!r}: use a number from 1 to {_LARGEST_PAGE}"
        raise HttpError.of("invalid_request", message, param="limit")
    return int(text)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
