"""Read the status and the answers of jobs."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all, stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import stored_result
from penstock.client.lost_request import until_taken
from penstock.client.reply import Reply, ReplyBuilder
from penstock.client.unavailable import reading
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job, JobResult, JobState
from penstock.contract.reply import Delta
from penstock.contract.streams import JOBS, REQUESTS, RESULTS
from penstock.errors import RequestFailed, ResultGone, UnknownJob

__all__ = ["JobReader"]

_log: Final = rate_limited_logger(__name__)
_PAGE: Final = 1000
_TAKEN_WITHIN_S: Final = 3.0
"""Longest wait for routers to take the requests that are queued; without a burst they do in milliseconds."""
_NOT_KEPT: Final = "it exceeded the message limit, or was only partly stored when its worker died"
_REMOVED: Final = "it was the oldest result when the store was full"


class JobReader:
    """Reads the records that router and workers write. Every method raises StoreUnavailable and ClientClosed."""

    def __init__(self, nc: Nats, account: str) -> None:
        self._nc = nc
        self._account = account

    async def get(self, request_id: str) -> Job:
        """The status of a job of any client of the account; the newest if two clients have used one id.

        A job that was submitted just now has none until a router takes it, which is waited for: at most 3 s.

        Raises UnknownJob.
        """
        subject, what = subjects.jobs_of(self._account, request_id), f"the status of job {request_id}"
        found = await self._read(subject, what)
        if not found:
            with reading(self._nc, what, REQUESTS.name):
                await until_taken(self._nc, _TAKEN_WITHIN_S)
            found = await self._read(subject, what)
        if not found:
            raise UnknownJob(request_id)
        return found[-1]

    async def list_all(self, state: JobState | None = None, user: str | None = None) -> list[Job]:
        """All jobs of the account, or those in `state` and of `user`; the least recently changed first."""
        found = await self._read(subjects.jobs_of(self._account), "the status of the jobs")
        return [job for job in found if state in {None, job.state} and user in {None, job.user}]

    async def result(self, job: Job) -> Reply | None:
        """The answer of `job`; None while it has not ended. Raises RequestFailed and ResultGone."""
        if job.error is not None:
            raise RequestFailed(job.id, job.error)
        if job.state != "completed":
            return None
        result = await self.stored(job)
        completed = result.completed
        builder = ReplyBuilder()
        builder.add(
            Delta(id=job.id, seq=0, attempt=completed.attempt, text=result.text, choices=result.choices)
        )
        reply = builder.add(completed)
        return None if reply is None else replace(reply, complexity=job.complexity, why=job.why)

    async def stored(self, job: Job) -> JobResult:
        """The answer of a completed job as it is stored. Raises ResultGone."""
        with reading(self._nc, f"the answer of job {job.id}", RESULTS.name):
            try:
                result = await stored_result(self._nc.jetstream(), job)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ResultGone(job.id, f"what is stored in its place is not a result ({error})") from error
            if result is None:
                await stream_position(self._nc, RESULTS.name)  # raises where there is no such stream
                raise ResultGone(job.id, _NOT_KEPT if job.result_bytes == 0 else _REMOVED)
        return result

    async def _read(self, subject: str, what: str) -> list[Job]:
        found: list[Job] = []
        with reading(self._nc, what, JOBS.name):
            async for msg in read_all(self._nc, JOBS.name, subject, batch=_PAGE):
                try:
                    found.append(codec.JOB.decode(msg.data))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    where = (msg.headers or {}).get("Nats-Subject", subject)
                    _log.warning("%s holds a payload that is not a job record: %s", where, error)
        return found
