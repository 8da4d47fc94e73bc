"""Whether a request that comes again was let in before: its header, which anybody writes, does not say so."""

from __future__ import annotations

from penstock.history import settled_replies
from penstock.job_progress import is_promised
from penstock.job_store import JobStore
from penstock.service import Bus
from schemas.reply import Failed
from schemas.work import ChatWork

__all__ = ["was_accepted"]


async def was_accepted(bus: Bus, work: ChatWork) -> bool:
    """By its stored replies; of a job by its record, too, which is kept for longer.

    A refusal alone was no acceptance. Raises nats.errors.Error or TimeoutError when the stream does not answer.
    """
    events = await settled_replies(bus.nc, work.reply_to.subject)
    if any(not isinstance(event, Failed) for event in events):
        return True
    if work.lane != "batch":
        return False
    record = await JobStore(bus.js).read(work.reply_to)
    return record is not None and not is_promised(record)
