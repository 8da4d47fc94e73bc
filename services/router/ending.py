"""Ending a request in place of whoever should have."""

from __future__ import annotations

from penstock.history import settled_replies
from penstock.reply_publisher import publish_terminal
from penstock.service import Bus
from schemas.errors import ERRORS, ErrorCode
from schemas.reply import TERMINAL, Failed, Failure
from schemas.subjects import ReplyAddress

__all__ = ["end_unless_ended", "failure_of"]


def failure_of(code: ErrorCode, message: str, retry_after_s: float | None = None) -> Failure:
    return Failure(code=code, message=message, retry=ERRORS[code].retry, retry_after_s=retry_after_s)


async def end_unless_ended(bus: Bus, address: ReplyAddress, failure: Failure) -> None:
    """Behind whatever a worker that held it may have sent; one terminal event at most is stored."""
    events = await settled_replies(bus.nc, address.subject)
    if any(isinstance(event, TERMINAL) for event in events):
        return
    last = max(events, key=lambda event: event.seq, default=None)
    event = Failed(
        id=address.id,
        seq=1 if last is None else last.seq + 1,
        attempt=0 if last is None else last.attempt,
        error=failure,
    )
    await publish_terminal(bus.js, address.subject, event)
