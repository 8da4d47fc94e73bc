"""Ends a request in place of the worker that should have; the record of a job decides how it ends."""

from __future__ import annotations

from penstock.bus.stored_replies import settled_replies
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.reply import TERMINAL, Failed, Failure
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.jobs.completion import end_from_events, fail_job
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.reply_publisher import publish_terminal
from penstock.runtime.service import Bus

__all__ = ["end_unless_ended", "failure_of"]


def failure_of(code: ErrorCode, message: str, retry_after_s: float | None = None) -> Failure:
    return Failure(code=code, message=message, retry=ERRORS[code].retry, retry_after_s=retry_after_s)


async def end_unless_ended(
    bus: Bus,
    address: ReplyAddress,
    failure: Failure,
    at_ms: int,
    *,
    work_seq: int | None = None,
) -> None:
    """Publish `failure` after all stored events of the reply, unless one of them is terminal.

    `work_seq`: the mailbox message that is given up; a job that runs under another message goes on.
    """
    events = await settled_replies(bus.nc, address.subject)
    jobs = JobStore(bus.js)
    known = await jobs.read(address)
    if any(isinstance(event, TERMINAL) for event in events):
        if known is not None and not known.ended:
            await end_from_events(bus, jobs, known, at_ms)
        return
    if known is not None and work_seq is not None and await jobs.is_held_elsewhere(known, work_seq):
        return
    last = max(events, key=lambda event: event.seq, default=None)
    event = Failed(
        id=address.id,
        seq=1 if last is None else last.seq + 1,
        attempt=0 if last is None else last.attempt,
        error=failure,
    )
    standing = await fail_job(jobs, event, at_ms, known=known)
    if standing is not None:
        await publish_terminal(bus.js, address.subject, standing)
