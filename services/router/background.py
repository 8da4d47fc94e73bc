"""Jobs at the router: written down when they are accepted, before anybody can work on them."""

from __future__ import annotations

from penstock.clock import Clock
from penstock.job_ending import event_of, fail_job
from penstock.job_progress import next_record, queued_job
from penstock.job_store import JobStore
from penstock.service import Bus
from schemas.jobs import Job
from schemas.reply import Completed, Failed
from schemas.work import ChatWork

__all__ = ["Background"]


class Background:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def bind(self, bus: Bus) -> None:
        self._jobs = JobStore(bus.js)

    async def accept(self, work: ChatWork) -> Job:
        """Write it down as queued; returns what stands: a request may come a second time, hours later.

        Raises StreamFull where there is no room for one more.
        """
        queued = self.job_of(work)
        standing = await self._jobs.advance(work.reply_to, lambda stored: next_record(stored, queued))
        return standing.job or queued

    async def end_of(self, job: Job) -> Completed | Failed | None:
        """What is to be told of a job that has ended."""
        return await event_of(self._jobs, job)

    async def refuse(self, job: Job, event: Failed) -> Completed | Failed | None:
        """The end that is to be told."""
        known = await self._jobs.read(job.reply_to)
        return await fail_job(self._jobs, event, self._clock.unix_ms(), known=known, unless_known=job)

    def job_of(self, work: ChatWork) -> Job:
        return queued_job(work, self._clock.unix_ms())
