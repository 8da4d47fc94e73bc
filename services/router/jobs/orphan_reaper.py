"""Ends jobs that nobody else ends: past their deadline, with their work in no mailbox any more (purged, or deleted)."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from penstock.bus.clock import Clock
from penstock.bus.direct_get import read_page, sequence_of
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.deadlines import LONGEST_WAIT_S
from penstock.contract.jobs import Job
from penstock.contract.streams import JOBS
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.service import Bus
from services.router.termination import end_unless_ended, failure_of

__all__ = ["LostJobs", "is_overdue"]

_log: Final = rate_limited_logger(__name__)
_GRACE_MS: Final = 15_000
"""Who holds the work, or sweeps it, ends the job long before."""
_EVERY_S: Final = 5.0
_PAGE: Final = 1000
_PATIENCE_S: Final = 3.0
"""How long one job may hold the look; it has its turn again in the next."""
_MOST: Final = 100
"""Ended at a time; the next ones are left to the next look."""


def is_overdue(job: Job, now_ms: int, grace_ms: int = _GRACE_MS) -> bool:
    """It should have ended by now. Without a deadline it is over when nothing of it can wait any more."""
    over_ms = job.submitted_ms + LONGEST_WAIT_S * 1000 if job.deadline_ms is None else job.deadline_ms
    return not job.ended and now_ms > over_ms + grace_ms


class LostJobs:
    """Goes through the records, a page every few seconds, and begins again behind the last."""

    def __init__(self, clock: Clock, grace_ms: int = _GRACE_MS) -> None:
        self._clock = clock
        self._grace_ms = grace_ms
        self._sequence = 1
        self._look_again_s = float("-inf")

    def bind(self, bus: Bus) -> None:
        self._bus = bus
        self._jobs = JobStore(bus.js)

    async def look(self) -> int:
        """How many were ended. Raises nats errors or TimeoutError when JetStream does not answer."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_again_s:
            return 0
        self._look_again_s = now_s + _EVERY_S
        page = await read_page(
            self._bus.nc, JOBS.name, subjects.JOB_ALL, sequence=self._sequence, batch=_PAGE
        )
        ended = 0
        for msg in page.messages:
            if ended >= _MOST:
                return ended
            self._sequence = sequence_of(msg) + 1
            ended += await self._end_if_lost(msg.data)
        if page.pending == 0:
            self._sequence = 1
        return ended

    async def _end_if_lost(self, data: bytes) -> bool:
        try:
            job = codec.JOB.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False  # whoever is asked for it says so in the log
        if not is_overdue(job, self._clock.unix_ms(), self._grace_ms) or await self._is_held(job):
            return False
        _log.warning("job %s is past its deadline, and its work is in no mailbox any more", job.id)
        failure = failure_of(
            "deadline_exceeded", "the deadline passed, and the work is in no mailbox any more"
        )
        async with asyncio.timeout(_PATIENCE_S):
            await end_unless_ended(self._bus, job.reply_to, failure, self._clock.unix_ms())
        return True

    async def _is_held(self, job: Job) -> bool:
        """In a mailbox, or in a worker's hands.

        What nobody began has no number in its record; it is too late for it in any mailbox, and who finds it there
        finds the end.
        """
        return job.work_seq > 0 and await self._jobs.is_queued(job.work_seq, job.reply_to)
