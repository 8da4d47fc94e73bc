"""`penstock jobs`: the jobs of the batch lane, their status, results and cancellation."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from penstock.cli.connection import (
    check_provisioned,
    command_settings,
    open_client,
    open_connection,
    read_server_clock,
)
from penstock.cli.errors import CommandError
from penstock.cli.render.answer import failure_text
from penstock.cli.render.jobs import job_text, jobs_text
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.client.client import Client
from penstock.client.jobs import JobReader
from penstock.contract.jobs import Job, JobState
from penstock.contract.streams import WORK, mailbox
from penstock.errors import RequestFailed, ResultGone, StoreUnavailable, UnknownJob
from penstock.runtime.config.settings import Settings

__all__ = ["cancel_job", "list_jobs", "print_result", "show_job"]

_NAME: Final = "penstock-jobs"
_CANCEL_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.2


def list_jobs(data: Path, *, state: JobState | None, user: str | None, as_json: bool) -> int:
    """Print the jobs in `state` and of `user`; None: all.

    Raises BrokerUnreachable, ConfigurationRefused and CommandError.
    """
    jobs = asyncio.run(_jobs(command_settings(data), state, user))
    print(as_ascii_json(jobs) if as_json else jobs_text(jobs))
    return 0


def show_job(request_id: str, data: Path, *, as_json: bool) -> int:
    """Exit code 1 for a failed job. Raises as `list_jobs`, and UnknownJob."""
    job, waiting, now_ms = asyncio.run(_job_and_queue(request_id, command_settings(data)))
    print(as_ascii_json(job) if as_json else job_text(job, now_ms, waiting))
    return int(job.state == "failed")


def print_result(request_id: str, data: Path, *, as_json: bool) -> int:
    """Print the answer of a job; exit code 1 when it failed or has not ended."""
    return asyncio.run(_result(request_id, command_settings(data), as_json=as_json))


def cancel_job(request_id: str, data: Path) -> int:
    """Exit code 1 when the job had already ended. Raises CommandError when it does not end within 10 s."""
    return asyncio.run(_cancel(request_id, command_settings(data)))


async def _jobs(settings: Settings, state: JobState | None, user: str | None) -> list[Job]:
    async with open_connection(settings, _NAME) as nc:
        try:
            return await JobReader(nc, settings.account).list_all(state, user)
        except StoreUnavailable:
            await check_provisioned(nc, settings)
            raise


async def _job_and_queue(request_id: str, settings: Settings) -> tuple[Job, int | None, int]:
    """The job, the length of its queue, and the time of the server, Unix milliseconds."""
    async with open_connection(settings, _NAME) as nc:
        try:
            job = await JobReader(nc, settings.account).get(request_id)
        except StoreUnavailable:
            await check_provisioned(nc, settings)
            raise
        waiting = await _queue_length(nc, job) if job.state == "queued" else None
        return job, waiting, (await read_server_clock(nc)).unix_ms()


async def _queue_length(nc: Nats, job: Job) -> int | None:
    waiting = 0
    for consumer in mailbox(job.role, "batch"):
        try:
            info = await nc.jetstream().stream_info(WORK.name, subjects_filter=consumer.filter_subject)
        except NotFoundError:
            return None
        waiting += sum((info.state.subjects or {}).values())
    return waiting


async def _result(request_id: str, settings: Settings, *, as_json: bool) -> int:
    async with open_client(settings) as client:
        try:
            reply = await client.result(request_id)
        except (RequestFailed, ResultGone, UnknownJob) as error:
            print(f"penstock: {failure_text(error)}", file=sys.stderr)
            return 1
        if reply is None:
            state = (await client.job(request_id)).state
            print(f"penstock: job {request_id} is {state}: it has no answer yet", file=sys.stderr)
            return 1
    print(as_ascii_json(reply) if as_json else visible(reply.text, lines=True))
    return 0


async def _cancel(request_id: str, settings: Settings) -> int:
    async with open_client(settings) as client:
        job = await client.job(request_id)
        if job.ended:
            print(f"job {job.id} is already {job.state}")
            return 1
        await client.cancel(request_id, "from the command line")
        job = await _wait_for_end(client, request_id)
    if job.error is not None and job.error.code == "cancelled":
        print(f"job {job.id} is cancelled")
        return 0
    print(f"job {job.id} is {job.state}: it ended before it could be cancelled")
    return 1


async def _wait_for_end(client: Client, request_id: str) -> Job:
    give_up_s = time.monotonic() + _CANCEL_TIMEOUT_S
    while True:
        job = await client.job(request_id)
        if job.ended:
            return job
        if time.monotonic() > give_up_s:
            raise CommandError(
                f"the cancellation of job {request_id} is stored, and the job is still {job.state}: it ends when a "
                "router or its worker reads it (`penstock status`)"
            )
        await asyncio.sleep(_POLL_S)
