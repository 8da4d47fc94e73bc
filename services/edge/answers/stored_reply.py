"""The reply to an earlier request, found by the id of its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from penstock.contract.reply import Accepted, Failed, ReplyEvent
from penstock.contract.request import LONGEST_WAIT_S
from penstock.contract.streams import REPLIES
from penstock.errors import UnknownJob, UnknownReply
from services.edge.answers.respond import Reply
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import ChatCall, DialectRoute
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.requests.accounts import Account
from services.edge.requests.answer_id import AnswerId, parse_answer_id

__all__ = [
    "RESUME_S",
    "call_of",
    "cancel_answer",
    "check_user",
    "is_known_answer",
    "readable_reply_of",
    "reply_of",
    "requested_id",
]

RESUME_S: Final = float(LONGEST_WAIT_S + REPLIES.max_age_s)
"""How long a resumed stream waits for the end of its reply, which comes at its deadline at the latest."""
_WHY_CANCELLED: Final = (
    "the request was cancelled, by its id or because its client hung up. With the header x-penstock-on-disconnect: "
    "continue, or with an Idempotency-Key, the answer is made also after the client has hung up"
)


def requested_id(exchange: Exchange, route: DialectRoute) -> AnswerId:
    """The id in the path. Raises HttpError (404)."""
    text = exchange.parameters["id"]
    found = parse_answer_id(text, route.prefix)
    if found is None:
        message = f"{text} is not the id of an answer of this gateway"
        raise HttpError.of("not_found", message, param="id")
    return found


def call_of(found: AnswerId, model: str = "") -> ChatCall:
    """What is known of a request whose answer is read again."""
    return ChatCall(
        body=Raw(b"{}"),
        model=model,
        stream=found.streamed,
        include_usage=found.include_usage,
        background=found.background,
    )


async def is_known_answer(account: Account, found: AnswerId) -> bool:
    """False: its request may be queued, and may not exist. Raises UnknownReply."""
    existence = await account.answers.find(found)
    if existence == "unknown":
        raise UnknownReply(found.request_id, found.client)
    return existence == "known"


def reply_of(found: AnswerId, account: Account) -> Reply:
    """The reply from its first event, as far as it is stored; then its live events."""
    events = _followed(found, account)
    return aclosing(events if found.background else _explained(events))


def readable_reply_of(identity: Identity, found: AnswerId, account: Account) -> Reply:
    """As `reply_of`; reading it raises UnknownReply where `check_user` does."""
    reply = reply_of(found, account)
    return aclosing(_checked(identity, found, account, reply)) if identity.user else reply


async def check_user(identity: Identity, found: AnswerId, account: Account, first: ReplyEvent | None) -> None:
    """Raises UnknownReply for the job of another user than that of the key, whatever the form in the id says: everyone
    can encode another form. A reply that is no job's belongs to the account.

    `first`: the first event of the reply. The record of a job is written before it, and may be deleted for newer ones.
    """
    if not identity.user or (isinstance(first, Accepted) and first.lane == "interactive"):
        return
    try:
        user = (await account.jobs.get(found.request_id)).user
    except UnknownJob:
        user = "" if isinstance(first, Accepted) else identity.user
    if user != identity.user:
        raise UnknownReply(found.request_id, found.client)


async def cancel_answer(account: Account, found: AnswerId) -> None:
    await account.client.cancel(found.request_id, "the application cancelled the response")


async def _followed(found: AnswerId, account: Account) -> AsyncGenerator[ReplyEvent, None]:
    """Raises UnknownReply only once the request cannot be on its way to NATS any more."""
    while True:
        try:
            events = account.client.resume(found.request_id, client=found.client, timeout_s=RESUME_S)
            async with aclosing(events):
                async for event in events:
                    yield event
        except UnknownReply:  # after some seconds without any event
            if not account.answers.may_be_unstored(found):
                raise
        else:
            return


async def _checked(
    identity: Identity, found: AnswerId, account: Account, reply: Reply
) -> AsyncGenerator[ReplyEvent, None]:
    is_first = True
    async with reply as events:
        async for event in events:
            if is_first:
                await check_user(identity, found, account, event)
                is_first = False
            yield event


async def _explained(events: AsyncGenerator[ReplyEvent, None]) -> AsyncGenerator[ReplyEvent, None]:
    """A cancelled request says what cancels: the client that reads again may not know that its hanging up did."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Failed) and event.error.code == "cancelled":
                yield replace(event, error=replace(event.error, message=_WHY_CANCELLED))
            else:
                yield event
