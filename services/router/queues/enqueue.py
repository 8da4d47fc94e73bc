"""Publish `accepted`, then store the work in its mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import nats.errors

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull, store_or_refuse
from penstock.bus.write_check import StreamNotWritable, not_writable, publish_checked, written_s
from penstock.contract import headers
from penstock.contract.codec import encode
from penstock.contract.errors import ErrorCode
from penstock.contract.streams import MAX_PAYLOAD_SETTING, REPLIES
from penstock.contract.work import ChatWork
from penstock.runtime.service import Bus
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from services.router.routing.outcome import Enqueued, Rejected, Routed

__all__ = ["enqueue"]

_log: Final = rate_limited_logger(__name__)
_UNCHECKED_S: Final = 0.25
"""Seconds after an acknowledgement of `LLM_REPLIES` in which `accepted` is published without one of its own."""
_ACK_S: Final = 2.0


async def enqueue(
    bus: Bus,
    routed: Routed,
    subject: str,
    trace: Mapping[str, str],
    *,
    repeated: bool,
    accepted_before: bool = False,
) -> Enqueued | Rejected:
    """Store the work on `subject`.

    Rejected where a stream is full or cannot be written, or the work is too large. `accepted` is published first, or
    the worker's first event could overtake it.
    """
    work = routed.work
    # A job has hours until the stream can be written again, and what was accepted before may run already.
    checks = work.lane == "interactive" and not accepted_before
    reply_subject = work.reply_to.subject
    try:
        await _publish_accepted(bus, routed, reply_subject, trace, checks=checks)
        stored = await store_or_refuse(
            bus.js,
            subject,
            encode(work),
            message_id=f"{work.account}.{work.client}.{work.id}",
            headers=_work_headers(work, reply_subject, trace, repeated=repeated),
        )
        return Enqueued(work, stored.new)
    except StreamFull:
        message = f"the mailbox of the role {work.role} is full"
        return _rejected(routed, "overloaded", message, OVERLOADED_RETRY_S)
    except StreamNotWritable as error:
        return _rejected(routed, "overloaded", f"{error}; send the request again", OVERLOADED_RETRY_S)
    except nats.errors.MaxPayloadError:
        message = (
            f"the request does not fit into one message of {bus.nc.max_payload:,} bytes; "
            f"Penstock expects {MAX_PAYLOAD_SETTING} at the NATS server"
        )
        return _rejected(routed, "request_too_large", message)


async def _publish_accepted(
    bus: Bus, routed: Routed, subject: str, trace: Mapping[str, str], *, checks: bool
) -> None:
    """With `checks`, raises StreamNotWritable where no reply can be stored: then no worker could begin the request."""
    payload = encode(routed.accepted)
    written = {**trace, headers.MESSAGE_ID: f"{subject}.0"}
    is_refused = checks and REPLIES.name in not_writable(bus.js)
    if is_refused or not checks or loop_now_s() - written_s(bus.js, REPLIES.name) < _UNCHECKED_S:
        await bus.nc.publish(subject, payload, headers=written)
        if is_refused:  # until the write probe of this process has stored a message
            raise StreamNotWritable(REPLIES.name)
        return
    try:
        await publish_checked(
            bus.js, subject, payload, stream=REPLIES.name, headers=written, timeout_s=_ACK_S
        )
    except StreamNotWritable:
        raise
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning("it is not known whether %s can be written: %r", REPLIES.name, error)


def _work_headers(
    work: ChatWork, reply_subject: str, trace: Mapping[str, str], *, repeated: bool
) -> dict[str, str]:
    written = {
        **trace,
        headers.DEADLINE_MS: str(work.deadline_ms),
        headers.REPLY_SUBJECT: reply_subject,
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
