"""Where the events of a reply come from: a request that is sent now, or an earlier one with its idempotency key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from penstock.bus.ids import unix_ms_of
from penstock.client.stream import Stream, StreamedRequest
from penstock.client.submit import Request
from penstock.contract.reply import ReplyEvent
from penstock.errors import UnknownReply
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.stored_reply import RESUME_S
from services.edge.http.errors import HttpError
from services.edge.requests.accounts import Account
from services.edge.requests.idempotency import IdempotencyKeys
from services.edge.requests.submission_times import RESUBMITTED_S

__all__ = ["joined", "submitted"]


@asynccontextmanager
async def joined(
    account: Account, request: Request, idempotency: IdempotencyKeys
) -> AsyncIterator[AsyncIterator[ReplyEvent]]:
    """The reply to an earlier request with the same idempotency key. Leaving it cancels nothing.

    Where nothing of it is stored, the process of the earlier request may have died before it submitted it. Then it is
    submitted now, as long as NATS would drop the second one of two.
    """
    age_s = account.clock.unix_s() - unix_ms_of(request.id) / 1000
    if age_s < RESUBMITTED_S and not await idempotency.has_reply(account.name, request):
        await account.resubmit(request)
    async with aclosing(
        account.client.resume(request.id, client=request.client, timeout_s=RESUME_S)
    ) as events:
        try:
            yield events
        except UnknownReply as error:
            message = "the answer to the first request with this idempotency key is not stored any more"
            raise HttpError.of(
                "answer_gone", f"{message}: send a new key", param="idempotency-key"
            ) from error


@asynccontextmanager
async def submitted(stream: Stream, streamed: StreamedRequest, facts: ReplyFacts) -> AsyncIterator[Stream]:
    """The request, sent. Leaving it before its last event cancels it, unless it is detached."""
    async with stream as reply:
        facts.traceparent = streamed.traceparent
        yield reply
