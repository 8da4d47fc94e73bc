"""Publish `accepted`, then store the work in its mailbox."""

from __future__ import annotations

from collections.abc import Mapping

import nats.errors

from penstock.bus.publish import StreamFull, store
from penstock.contract import headers
from penstock.contract.codec import encode
from penstock.contract.errors import ErrorCode
from penstock.contract.streams import MAX_PAYLOAD_SETTING
from penstock.contract.work import ChatWork
from penstock.runtime.service import Bus
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from services.router.routing.outcome import Enqueued, Rejected, Routed

__all__ = ["enqueue"]


async def enqueue(
    bus: Bus, routed: Routed, subject: str, trace: Mapping[str, str], *, repeated: bool
) -> Enqueued | Rejected:
    """Store the work on `subject`.

    Rejected where the stream is full or the work too large. `accepted` is published first, or the worker's first event
    could overtake it.
    """
    work = routed.work
    reply = work.reply_to.subject
    accepted_headers = {**trace, headers.MESSAGE_ID: f"{reply}.0"}
    await bus.nc.publish(reply, encode(routed.accepted), headers=accepted_headers)
    try:
        new = await store(
            bus.js,
            subject,
            encode(work),
            message_id=f"{work.account}.{work.client}.{work.id}",
            headers=_work_headers(work, trace, repeated=repeated),
        )
        return Enqueued(work, new)
    except StreamFull:
        message = f"the mailbox of the role {work.role} is full"
        return _rejected(routed, "overloaded", message, OVERLOADED_RETRY_S)
    except nats.errors.MaxPayloadError:
        message = (
            f"the request does not fit into one message of {bus.nc.max_payload:,} bytes; "
            f"Penstock expects {MAX_PAYLOAD_SETTING} at the NATS server"
        )
        return _rejected(routed, "request_too_large", message)


def _work_headers(work: ChatWork, trace: Mapping[str, str], *, repeated: bool) -> dict[str, str]:
    written = {
        **trace,
        headers.DEADLINE_MS: str(work.deadline_ms),
        headers.REPLY_SUBJECT: work.reply_to.subject,
    }
    if work.body_ref is not None:
        written[headers.BODY_BYTES] = str(work.body_ref.size)
    return written | {headers.REPEATED: "1"} if repeated else written


def _rejected(routed: Routed, code: ErrorCode, message: str, retry_after_s: float | None = None) -> Rejected:
    return Rejected(
        code=code,
        message=message,
        reply_to=routed.work.reply_to,
        retry_after_s=retry_after_s,
        seq=1,
        accepted=routed.accepted,
    )
