"""Jobs as an application sees them: the status of each by its id, and what it answered, hours later, anywhere."""

from __future__ import annotations

from typing import Final

import msgspec
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_page
from penstock.bus.job_store import JobStore
from penstock.bus.log_limits import rate_limited_logger
from penstock.client.reply import Reply, ReplyBuilder
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job
from penstock.contract.reply import Delta
from penstock.contract.streams import JOBS
from penstock.errors import RequestFailed, ResultGone, UnknownJob

__all__ = ["Jobs"]

_log: Final = rate_limited_logger(__name__)
_PAGE: Final = 1000


class Jobs:
    """Reads what router and workers have written down. Every method raises nats errors and TimeoutError."""

    def __init__(self, nc: Nats, account: str) -> None:
        self._nc = nc
        self._account = account

    async def one(self, request_id: str) -> Job:
        """The status of one job, whichever client of the account asked; the newest should two have used one id.

        Raises UnknownJob.
        """
        found = await self._read(subjects.jobs_of(self._account, request_id))
        if not found:
            raise UnknownJob(request_id)
        return found[-1]

    async def every(self) -> list[Job]:
        """All there are, the oldest change first."""
        return await self._read(subjects.jobs_of(self._account))

    async def result(self, job: Job) -> Reply | None:
        """What it answered; None while it has not ended. Raises RequestFailed and ResultGone."""
        if job.error is not None:
            raise RequestFailed(job.id, job.error)
        if job.state != "completed":
            return None
        result = await JobStore(self._nc.jetstream()).result(job)
        if result is None:
            raise ResultGone(job.id, never_kept=job.result_bytes == 0)
        builder = ReplyBuilder()
        completed = result.completed
        text = Delta(id=job.id, seq=0, attempt=completed.attempt, text=result.text, choices=result.choices)
        builder.add(text)
        return builder.add(completed)

    async def _read(self, subject: str) -> list[Job]:
        found: list[Job] = []
        sequence = 1
        while True:
            page = await read_page(self._nc, JOBS.name, subject, sequence=sequence, batch=_PAGE)
            for msg in page.messages:
                try:
                    found.append(codec.JOB.decode(msg.data))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # none of ours wrote it
                    where = (msg.headers or {}).get("Nats-Subject", subject)
                    _log.warning("%s holds what is no record of a job: %s", where, error)
            if not page.messages or page.pending == 0:
                return found
            sequence = page.next_sequence
