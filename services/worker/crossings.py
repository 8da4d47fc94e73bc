"""Telling once what several workers see: the last message of a subject says what holds, and is written by
compare-and-set (REQUIREMENTS C7).
"""

from __future__ import annotations

from typing import Final

from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from penstock.storing import store
from schemas.codec import EVENT, encode
from schemas.events import Event, QuotaEased, QuotaWarned
from schemas.headers import EXPECTED_LAST
from schemas.streams import EVENTS

__all__ = ["store_crossing"]

_WRONG_LAST_SEQUENCE: Final = 10071


async def store_crossing(
    js: JetStreamContext, subject: str, event: QuotaWarned | QuotaEased, *, patience_s: float
) -> bool:
    """Store `event` unless it is known already; returns whether it was new. Raises what `store` raises.

    Warnings and their ends alternate on the subject, whoever writes them: a warning outlives the worker that told it.
    """
    while True:
        sequence, last = await _last(js, subject)
        if isinstance(last, type(event)) or (last is None and isinstance(event, QuotaEased)):
            return False
        try:
            return await store(
                js,
                subject,
                encode(event),
                message_id=f"{subject}.{sequence}",
                headers={EXPECTED_LAST: str(sequence)},
                patience_s=patience_s,
            )
        except APIError as error:
            if error.err_code != _WRONG_LAST_SEQUENCE:
                raise


async def _last(js: JetStreamContext, subject: str) -> tuple[int, Event | None]:
    """Asked of the stream's leader: a replica may be behind."""
    try:
        msg = await js.get_last_msg(EVENTS.name, subject)
    except NotFoundError:
        return 0, None
    return msg.seq or 0, EVENT.decode(msg.data or b"")
