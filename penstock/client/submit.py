"""Submit one request: JetStream's acknowledgement means that it is accepted."""

from __future__ import annotations

import nats.errors
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.bus.publish import StreamFull, store
from penstock.client.unavailable import cause
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.request import ChatRequest
from penstock.contract.streams import MAX_REQUEST_BYTES
from penstock.errors import ClientClosed, NotAccepted, RequestTooLarge

__all__ = ["encode_request", "submit"]


def encode_request(request: ChatRequest) -> bytes:
    """The payload of the request event. Raises RequestTooLarge."""
    payload = encode(request)
    if len(payload) > MAX_REQUEST_BYTES:
        raise RequestTooLarge(len(payload), MAX_REQUEST_BYTES)
    return payload


async def submit(  # noqa: PLR0913 - the message and how it is sent
    nc: Nats,
    account: str,
    request: ChatRequest,
    payload: bytes,
    *,
    timeout_s: float,
    traceparent: str | None = None,
    repeated: bool = False,
) -> None:
    """Publish until JetStream acknowledges, for at most `timeout_s`. `repeated`: another process may have sent it.

    Raises RequestTooLarge, NotAccepted and ClientClosed.
    """
    extra = {headers.CLIENT: request.client}
    if traceparent is not None:
        extra[headers.TRACEPARENT] = traceparent
    if repeated:
        extra[headers.REPEATED] = "1"
    subject = subjects.request(account, "chat")
    try:
        await store(
            nc.jetstream(),
            subject,
            payload,
            message_id=f"{account}.{request.client}.{request.id}",
            headers=extra,
            timeout_s=timeout_s,
        )
    except nats.errors.MaxPayloadError as error:
        raise RequestTooLarge(len(payload), nc.max_payload) from error
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except (APIError, StreamFull, TimeoutError, nats.errors.Error) as error:
        raise NotAccepted("JetStream did not accept the request", cause(nc, subject, error)) from error
