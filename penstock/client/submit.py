"""Submit one request: JetStream's acknowledgement means that it is accepted."""

from __future__ import annotations

from typing import Final

import nats.errors
from msgspec import Raw, Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.bus.clock import loop_now_s
from penstock.bus.large_bodies import BodyUpload, reference_to
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import Stored, StreamFull, store_reported
from penstock.bus.stored_replies import acknowledged_replies
from penstock.client.unavailable import cause
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.names import INDEX, Kind
from penstock.contract.reply import TERMINAL
from penstock.contract.request import NO_BODY, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.streams import BODIES, MAX_BODY_BYTES, largest_request
from penstock.contract.subjects import ReplyAddress
from penstock.errors import ClientClosed, NotAccepted, RequestTooLarge

__all__ = ["EncodedRequest", "Request", "encode_request", "kind_of", "operation_of", "role_of", "submit"]

_log: Final = rate_limited_logger(__name__)
_REJECTED: Final = (APIError, StreamFull, nats.errors.MaxPayloadError)
"""After these the message is certainly not stored."""
_READ_S: Final = 2.0
_OPERATIONS: Final[dict[Kind, str]] = {"chat": "chat", "embed": "embeddings", "index": "index"}
"""The operations of OpenTelemetry's conventions for generative AI; they have none for indexing."""

Request = ChatRequest | EmbedRequest | IndexRequest


def kind_of(request: Request) -> Kind:
    """The last token of its subject."""
    match request:
        case EmbedRequest():
            return "embed"
        case IndexRequest():
            return "index"
    return "chat"


def operation_of(request: Request) -> str:
    """The name of the operation for a span."""
    return _OPERATIONS[kind_of(request)]


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


async def encode_request(nc: Nats, request: Request) -> EncodedRequest:
    """The body stays in the event if the connected server accepts a message of that size. Raises RequestTooLarge."""
    kind = kind_of(request)
    limit, size = largest_request(nc.max_payload), memoryview(request.body).nbytes
    if size < limit:
        payload = encode(request)
        if len(payload) <= limit:
            return EncodedRequest(request.id, request.client, payload, kind=kind)
    if size > MAX_BODY_BYTES:
        raise RequestTooLarge(size, MAX_BODY_BYTES)
    payload = encode(replace(request, body=NO_BODY, body_ref=await reference_to(request.body)))
    if len(payload) > limit:
        raise RequestTooLarge(len(payload), limit)
    return EncodedRequest(request.id, request.client, payload, request.body, kind)


async def submit(
    nc: Nats,
    account: str,
    request: EncodedRequest,
    *,
    timeout_s: float,
    traceparent: str | None = None,
    repeated: bool = False,
) -> None:
    """Publish until JetStream acknowledges, for at most `timeout_s`. `repeated`: another process may have sent it.

    A large body is stored before, and deleted if the request does not need it. Raises RequestTooLarge, NotAccepted and
    ClientClosed.
    """
    extra = {headers.CLIENT: request.client}
    if traceparent is not None:
        extra[headers.TRACEPARENT] = traceparent
    if repeated:
        extra[headers.REPEATED] = "1"
    if request.large_body is None:
        await _publish(nc, account, request, extra, timeout_s)
        return
    address = ReplyAddress(account, request.client, request.id)
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
    except BaseException as error:
        if isinstance(error.__cause__, _REJECTED) or await _has_ended(nc, address):
            await upload.undo()
        raise
    if stored.by_another or (not stored.new and await _has_ended(nc, address)):
        await upload.undo()


async def _publish(
    nc: Nats, account: str, request: EncodedRequest, extra: dict[str, str], timeout_s: float
) -> Stored:
    subject = subjects.request(account, request.kind)
    try:
        return await store_reported(
            nc.jetstream(),
            subject,
            request.payload,
            message_id=f"{account}.{request.client}.{request.id}",
            headers=extra,
            timeout_s=timeout_s,
        )
    except nats.errors.MaxPayloadError as error:
        raise RequestTooLarge(len(request.payload), nc.max_payload) from error
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except (APIError, StreamFull, TimeoutError, nats.errors.Error) as error:
        raise NotAccepted("JetStream did not accept the request", cause(nc, subject, error)) from error


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
