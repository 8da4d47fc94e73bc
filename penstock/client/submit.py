"""Submit one request: JetStream's acknowledgement means that it is accepted."""

from __future__ import annotations

import nats.errors
from msgspec import Raw, Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.bus.clock import loop_now_s
from penstock.bus.large_bodies import BodyUpload, reference_to
from penstock.bus.publish import StreamFull, store
from penstock.client.unavailable import cause
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.request import NO_BODY, ChatRequest
from penstock.contract.streams import BODIES, MAX_BODY_BYTES, largest_request
from penstock.contract.subjects import ReplyAddress
from penstock.errors import ClientClosed, NotAccepted, RequestTooLarge

__all__ = ["EncodedRequest", "encode_request", "submit"]


class EncodedRequest(Struct, frozen=True):
    id: str
    client: str
    payload: bytes
    """Of the request event."""
    large_body: Raw | None = None
    """The body, if the event only refers to it; stored before the event."""


async def encode_request(nc: Nats, request: ChatRequest) -> EncodedRequest:
    """The body stays in the event if the connected server accepts a message of that size. Raises RequestTooLarge."""
    limit, size = largest_request(nc.max_payload), memoryview(request.body).nbytes
    if size < limit:
        payload = encode(request)
        if len(payload) <= limit:
            return EncodedRequest(request.id, request.client, payload)
    if size > MAX_BODY_BYTES:
        raise RequestTooLarge(size, MAX_BODY_BYTES)
    payload = encode(replace(request, body=NO_BODY, body_ref=await reference_to(request.body)))
    if len(payload) > limit:
        raise RequestTooLarge(len(payload), limit)
    return EncodedRequest(request.id, request.client, payload, request.body)


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

    A large body is stored before, and deleted if the request is not accepted. Raises RequestTooLarge, NotAccepted and
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
    upload = BodyUpload(nc, ReplyAddress(account, request.client, request.id))
    give_up_s = loop_now_s() + timeout_s
    try:
        await _store_body(nc, upload, request.large_body, timeout_s)
        await _publish(nc, account, request, extra, max(0.0, give_up_s - loop_now_s()))
    except BaseException:
        if not repeated:  # the request may be queued, and needs its body
            await upload.undo()
        raise


async def _publish(
    nc: Nats, account: str, request: EncodedRequest, extra: dict[str, str], timeout_s: float
) -> None:
    subject = subjects.request(account, "chat")
    try:
        await store(
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


async def _store_body(nc: Nats, upload: BodyUpload, body: Raw, timeout_s: float) -> None:
    try:
        await upload.store(body, timeout_s=timeout_s)
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except StreamFull as error:
        await upload.undo()  # also of a repeated request: had its body been complete, it would fit
        full = f"the bodies of other requests fill {BODIES.name}."
        raise NotAccepted(
            "The body of the request is larger than a message and was not stored", full
        ) from error
    except (APIError, TimeoutError, nats.errors.Error) as error:
        raise NotAccepted("JetStream did not store the body", cause(nc, BODIES.name, error)) from error
