"""Ends orphaned jobs: past their deadline, with their work in no mailbox any more (purged or deleted)."""

from __future__ import annotations

from typing import Final

from penstock.bus.clock import Clock
from penstock.bus.direct_get import read_page, sequence_of
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.large_bodies import delete_body
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job
from penstock.contract.request import LONGEST_WAIT_S
from penstock.contract.streams import JOBS
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.service import Bus
from services.router.expiry.request_end import RequestEnder

__all__ = ["OrphanReaper", "is_overdue"]

_log: Final = rate_limited_logger(__name__)
_GRACE_MS: Final = 15_000
"""Milliseconds after its deadline within which the worker or the sweep ends a job."""
_EVERY_S: Final = 5.0
"""Seconds between two pages."""
_PAGE: Final = 1000
"""Records per page."""
_TIMEOUT_S: Final = 3.0
"""Seconds that ending one job may take; a failed one is tried again in the next pass."""
_MOST: Final = 100
"""Jobs ended per page; the rest is left to the next page."""


def is_overdue(job: Job, now_ms: float) -> bool:
    """Whether the job should have ended. One without a deadline lasts as long as any request may wait."""
    over_ms = job.submitted_ms + LONGEST_WAIT_S * 1000 if job.deadline_ms is None else job.deadline_ms
    return not job.ended and now_ms > over_ms + _GRACE_MS


class OrphanReaper:
    """Reads all records, a page every few seconds, and starts again after the last."""

    def __init__(self, bus: Bus, ender: RequestEnder, clock: Clock, every_s: float = _EVERY_S) -> None:
        self._bus = bus
        self._ender = ender
        self._jobs = JobStore(bus.js)
        self._clock = clock
        self._sequence = 1
        self._loop = PeriodicLoop("the search for orphaned jobs", every_s, self.reap)

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def reap(self) -> int:
        """Read the next page; returns how many jobs were ended.

        Raises nats errors or TimeoutError when JetStream does not answer.
        """
        page = await read_page(
            self._bus.nc, JOBS.name, subjects.JOB_ALL, sequence=self._sequence, batch=_PAGE
        )
        ended = 0
        for msg in page.messages:
            if ended >= _MOST:
                return ended
            self._sequence = sequence_of(msg) + 1
            ended += await self._end_if_orphaned(msg.data)
        if page.pending == 0:
            self._sequence = 1
        return ended

    async def _end_if_orphaned(self, data: bytes) -> bool:
        try:
            job = codec.JOB.decode(data)
        except codec.INVALID:
            return False  # reading such a record by its id logs the error
        if not is_overdue(job, self._clock.steady_ms(job.submitted_ms)) or await self._has_work(job):
            return False
        _log.warning("job %s is past its deadline, and its work is in no mailbox any more", job.id)
        failure = failure_of(
            "deadline_exceeded", "the deadline passed, and the work is in no mailbox any more"
        )
        async with AwakeTimeout(_TIMEOUT_S):
            await self._ender.end(job.reply_to, failure)
            await delete_body(self._bus.nc, job.reply_to)
        return True

    async def _has_work(self, job: Job) -> bool:
        """Whether the work is in a mailbox or held by a worker.

        The record of a job that never began has no work sequence. Its work, if there is any, is past its deadline, and
        a worker that receives it finds the recorded end.
        """
        return job.work_seq > 0 and await self._jobs.is_queued(job.work_seq, job.reply_to)
