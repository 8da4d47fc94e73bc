"""Submit a job: `POST /v1/jobs`, and background responses."""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.client.stream import Stream
from penstock.contract.reply import Failed
from services.edge.answers.failures import http_error_of_failure
from services.edge.requests.idempotency import IdempotencyKeys
from services.edge.requests.preparation import PreparedRequest

__all__ = ["submit_job"]

_ACCEPTED_S: Final = 5.0
"""How long a submission waits for the router, so that a rejection has a status of its own."""


async def submit_job(prepared: PreparedRequest, idempotency: IdempotencyKeys) -> None:
    """Returns once a router has accepted the job, or once it is stored while no router runs.

    Raises HttpError for a rejection, and as `Stream` does.
    """
    account, request = prepared.account, prepared.request
    if not prepared.is_repeated:
        await _accepted(Stream(prepared.to_submit()))
    elif not await idempotency.has_reply(account.name, request):
        await account.resubmit(request)


async def _accepted(stream: Stream) -> None:
    async with stream as events:
        try:
            async with asyncio.timeout(_ACCEPTED_S):
                event = await anext(aiter(events), None)
        except TimeoutError:
            return
        if isinstance(event, Failed):
            raise http_error_of_failure(event.error)
