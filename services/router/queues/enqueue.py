"""Into the mailbox, and `accepted` before it: refused where there is no room, or where it is too large."""

from __future__ import annotations

from collections.abc import Mapping

import nats.errors

from penstock.bus.publish import StreamFull, store
from penstock.contract import headers
from penstock.contract.codec import encode
from penstock.contract.errors import ErrorCode
from penstock.contract.work import ChatWork
from penstock.runtime.service import Bus
from services.router.admission.gate import Place
from services.router.queues.byte_limits import OVERLOADED_RETRY_S
from services.router.routing.decide import Refused, Routed

__all__ = ["queue"]


async def queue(
    bus: Bus, routed: Routed, place: Place, sent: Mapping[str, str], *, repeated: bool
) -> Refused | bool:
    """`accepted` goes first, or the worker's first event could overtake it.

    True: it is in its mailbox; False: work of this id was there before.
    """
    work = routed.work
    subject = work.reply_to.subject
    accepted_headers = {**sent, headers.MESSAGE_ID: f"{subject}.0"}
    await bus.nc.publish(subject, encode(routed.accepted), headers=accepted_headers)
    try:
        new = await store(
            bus.js,
            place.subject,
            encode(work),
            message_id=f"{work.account}.{work.client}.{work.id}",
            headers=_work_headers(work, sent, repeated=repeated),
        )
    except StreamFull:
        message = f"the mailbox of the role {work.role} is full"
        return _refused(routed, "overloaded", message, OVERLOADED_RETRY_S)
    except nats.errors.MaxPayloadError:
        message = f"the request does not fit into one message of {bus.nc.max_payload:,} bytes"
        return _refused(routed, "request_too_large", message)
    place.stored()
    return new


def _work_headers(work: ChatWork, sent: Mapping[str, str], *, repeated: bool) -> dict[str, str]:
    written = {
        **sent,
        headers.DEADLINE_MS: str(work.deadline_ms),
        headers.REPLY_SUBJECT: work.reply_to.subject,
    }
    return written | {headers.REPEATED: "1"} if repeated else written


def _refused(routed: Routed, code: ErrorCode, message: str, retry_after_s: float | None = None) -> Refused:
    return Refused(
        code=code,
        message=message,
        reply_to=routed.work.reply_to,
        retry_after_s=retry_after_s,
        seq=1,
        sent=routed.accepted,
    )
