"""Whether a request that comes again was let in before: its header, which anybody writes, does not say so."""

from __future__ import annotations

from penstock.bus.stored_replies import settled_replies
from penstock.contract.reply import Failed
from penstock.contract.work import ChatWork
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.jobs.transitions import is_promised
from penstock.runtime.service import Bus

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
