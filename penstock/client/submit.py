"""Submit one request: JetStream's acknowledgement means that it is accepted."""

from __future__ import annotations

from typing import Final

import nats.errors
from msgspec import Raw, Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.bus.clock import loop_now_s
from penstock.bus.jetstream_errors import is_subject_full
from penstock.bus.large_bodies import BodyUpload, reference_to
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import Stored, StreamFull, store_or_refuse
from penstock.bus.stored_replies import acknowledged_replies
from penstock.bus.write_check import StreamNotWritable
from penstock.client.taken_id import is_id_taken
from penstock.client.unavailable import cause
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.errors import ErrorCode
from penstock.contract.names import INDEX, Kind, Lane
from penstock.contract.reply import TERMINAL
from penstock.contract.request import NO_BODY, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.streams import BODIES, JOBS, MAX_BODY_BYTES, REPLIES, largest_request
from penstock.contract.subjects import ReplyAddress
from penstock.errors import ClientClosed, IdTaken, NotAccepted, RequestTooLarge

__all__ = ["EncodedRequest", "Request", "encode_request", "kind_of", "operation_of", "role_of", "submit"]

_log: Final = rate_limited_logger(__name__)
_REJECTED: Final = (APIError, StreamFull, StreamNotWritable, nats.errors.MaxPayloadError)
"""After these the message is certainly not stored."""
_READ_S: Final = 2.0
_OPERATIONS: Final[dict[Kind, str]] = {"chat": "chat", "embed": "embeddings", "index": "index"}
"""The operations of OpenTelemetry's conventions for generative AI; they have none for indexing."""

Request = ChatRequest | EmbedRequest | IndexRequest


_KINDS: Final[dict[type[Request], Kind]] = {ChatRequest: "chat", EmbedRequest: "embed", IndexRequest: "index"}


def kind_of(request: Request) -> Kind:
    """The last token of its subject."""
    return _KINDS[type(request)]


def operation_of(request: Request) -> str:
    """The name of the operation for a span."""
    return _OPERATIONS[_KINDS[type(request)]]


def role_of(request: Request) -> str:
    """The role that the request names; an index request is one of the indexer's."""
    return INDEX if isinstance(request, IndexRequest) else request.role


class EncodedRequest(Struct, frozen=True):
    id: str
    client: str
    payload: bytes
    """Of the request event."""
    large_body: Raw | None = None
    """The body, if the event only refers to it; stored before the event."""
    kind: Kind = "chat"
    lane: Lane = "interactive"


async def encode_request(nc: Nats, request: Request) -> EncodedRequest:
    """The body stays in the event if the connected server accepts a message of that size. Raises RequestTooLarge."""
    kind = _KINDS[type(request)]
    limit, size = largest_request(nc.max_payload), memoryview(request.body).nbytes
    if size < limit:
        payload = encode(request)
        if len(payload) <= limit:
            return EncodedRequest(request.id, request.client, payload, kind=kind, lane=request.lane)
    if size > MAX_BODY_BYTES:
        raise RequestTooLarge(size, MAX_BODY_BYTES)
    payload = encode(replace(request, body=NO_BODY, body_ref=await reference_to(request.body)))
    if len(payload) > limit:
        raise RequestTooLarge(len(payload), limit)
    return EncodedRequest(request.id, request.client, payload, request.body, kind, request.lane)


async def submit(
    nc: Nats,
    account: str,
    request: EncodedRequest,
    *,
    timeout_s: float,
    traceparent: str | None = None,
    repeated: bool = False,
) -> None:
    """Publish until JetStream acknowledges, for at most `timeout_s`. `repeated`: another process may have sent it, so
    that a message with its id is its own.

    A large body is stored before, and deleted if the request does not need it. Raises RequestTooLarge, NotAccepted
    (IdTaken where the id is another's) and ClientClosed.
    """
    extra = {headers.CLIENT: request.client}
    if traceparent is not None:
        extra[headers.TRACEPARENT] = traceparent
    if repeated:
        extra[headers.REPEATED] = "1"
    address = ReplyAddress(account, request.client, request.id)
    if request.large_body is None:
        stored = await _publish(nc, account, request, extra, timeout_s)
        if not (stored.new or repeated):
            await _require_own(nc, address, request, stored)
        return
    upload = BodyUpload(nc, address)
    give_up_s = loop_now_s() + timeout_s
    try:
        await _store_body(nc, upload, request.large_body, timeout_s)
    except BaseException:
        await upload.undo()
        raise
    # Without an acknowledgement the event may be stored too, and need this body: the end of the request deletes it.
    try:
        stored = await _publish(nc, account, request, extra, max(0.0, give_up_s - loop_now_s()))
        if not (stored.new or repeated):
            await _require_own(nc, address, request, stored)
    except BaseException as error:
        is_rejected = isinstance(error, IdTaken) or isinstance(error.__cause__, _REJECTED)
        if is_rejected or await _has_ended(nc, address):
            await upload.undo()
        raise
    if stored.by_another or (not stored.new and await _has_ended(nc, address)):
        await upload.undo()


async def _publish(
    nc: Nats, account: str, request: EncodedRequest, extra: dict[str, str], timeout_s: float
) -> Stored:
    subject = subjects.request(account, request.kind, request.lane)
    try:
        return await store_or_refuse(
            nc.jetstream(),
            subject,
            request.payload,
            message_id=headers.request_message_id(account, request.client, request.id),
            headers=extra,
            timeout_s=timeout_s,
        )
    except nats.errors.MaxPayloadError as error:
        raise RequestTooLarge(len(request.payload), nc.max_payload) from error
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except (APIError, StreamFull, TimeoutError, nats.errors.Error) as error:
        what = "JetStream did not accept the request"
        raise NotAccepted(what, cause(nc, subject, error), _code_of(error)) from error


def _code_of(error: Exception) -> ErrorCode:
    refused = error.__cause__ if isinstance(error, StreamFull) else error
    return "overloaded" if isinstance(refused, APIError) and is_subject_full(refused) else "internal"


async def _require_own(nc: Nats, address: ReplyAddress, request: EncodedRequest, stored: Stored) -> None:
    """Raises IdTaken where JetStream holds a message with the id of this request on the subject of another one.

    `stored` is not new.
    """
    traces = {REPLIES.name: address.subject, JOBS.name: subjects.job(*address)}
    subject = subjects.request(address.account, request.kind, request.lane)
    if await is_id_taken(nc, stored.sequence, subject, traces):
        raise IdTaken(request.id)


async def _has_ended(nc: Nats, address: ReplyAddress) -> bool:
    """Whether the terminal event is stored. False, and a log line, where that cannot be read."""
    try:
        events = await acknowledged_replies(nc, address.subject, _READ_S)
        return any(isinstance(event, TERMINAL) for event in events)
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("it is not known whether request %s needs its body, which stays: %r", address.id, error)
        return False


async def _store_body(nc: Nats, upload: BodyUpload, body: Raw, timeout_s: float) -> None:
    try:
        await upload.store(body, timeout_s=timeout_s)
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except StreamFull as error:
        full = f"the bodies of other requests fill {BODIES.name}."
        raise NotAccepted(
            "The body of the request is larger than a message and was not stored", full
        ) from error
    except (APIError, TimeoutError, nats.errors.Error) as error:
        raise NotAccepted("JetStream did not store the body", cause(nc, BODIES.name, error)) from error
