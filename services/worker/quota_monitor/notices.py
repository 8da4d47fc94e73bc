"""Stores a quota warning once although several workers observe it: the last message of the subject is the current
state, written by compare-and-set (REQUIREMENTS C7).
"""

from __future__ import annotations

from typing import Final

import msgspec
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import WRONG_LAST_SEQUENCE, store
from penstock.bus.retry import read_from_leader
from penstock.contract.codec import EVENT, encode
from penstock.contract.events import Event, QuotaEased, QuotaWarned
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.streams import EVENTS

__all__ = ["store_notice"]

_log: Final = rate_limited_logger(__name__)


async def store_notice(
    js: JetStreamContext, subject: str, event: QuotaWarned | QuotaEased, *, patience_s: float
) -> bool:
    """Store `event` unless the subject's last message says the same; returns whether it was stored.

    Warnings and their ends alternate on the subject, whichever worker writes them, so a warning outlives its worker.
    Reading and writing share `patience_s`, because the caller does not report the crossing again. Raises the errors of
    `store` and `read_from_leader`.
    """
    give_up_s = loop_now_s() + patience_s
    while True:
        sequence, last = await _last(js, subject, give_up_s - loop_now_s())
        if isinstance(last, type(event)) or (last is None and isinstance(event, QuotaEased)):
            return False
        try:
            return await store(
                js,
                subject,
                encode(event),
                message_id=f"{subject}.{sequence}",
                headers={EXPECTED_LAST: str(sequence)},
                patience_s=give_up_s - loop_now_s(),
            )
        except APIError as error:
            if error.err_code != WRONG_LAST_SEQUENCE:
                raise


async def _last(js: JetStreamContext, subject: str, patience_s: float) -> tuple[int, Event | None]:
    """Sequence and content of the subject's last message, from the stream leader because a replica may lag; the content
    is None if it is not an event.
    """
    msg = await read_from_leader(
        lambda: js.get_last_msg(EVENTS.name, subject), subject, patience_s=patience_s
    )
    if msg is None:
        return 0, None
    try:
        return msg.seq or 0, EVENT.decode(msg.data or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("the last message of %s is not a valid event: %s", subject, error)
        return msg.seq or 0, None
