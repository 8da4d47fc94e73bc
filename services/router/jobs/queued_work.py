"""Whether the work of a job lies in some mailbox: waiting, or in a worker's hands."""

from __future__ import annotations

from typing import Final

from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_page
from penstock.contract import headers, subjects
from penstock.contract.jobs import Job
from penstock.contract.streams import WORK

__all__ = ["is_in_a_mailbox"]

_PAGE: Final = 100


async def is_in_a_mailbox(nc: Nats, job: Job) -> bool:
    """Looks through all that its user has in the mailboxes: for what is asked rarely.

    Raises nats.errors.Error or TimeoutError when the stream does not answer.
    """
    filters = subjects.work_of_flow(subjects.flow(job.account, job.user))
    sequence = 1
    while True:
        page = await read_page(nc, WORK.name, filters, sequence=sequence, batch=_PAGE)
        if any(
            (msg.headers or {}).get(headers.REPLY_SUBJECT) == job.reply_to.subject for msg in page.messages
        ):
            return True
        if not page.messages or page.pending == 0:
            return False
        sequence = page.next_sequence
