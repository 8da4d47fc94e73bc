"""`penstock jobs`: what has become of the requests of the batch lane."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from penstock.bus.direct_get import NoSuchStream
from penstock.cli.connection import command_settings, open_client, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.render.answer import failure_text
from penstock.cli.render.jobs import job_text, jobs_text
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.client.client import Client
from penstock.client.jobs import Jobs
from penstock.contract.jobs import Job, JobState
from penstock.contract.streams import WORK, mailbox
from penstock.errors import PenstockError
from penstock.runtime.config.settings import Settings

__all__ = ["Listing", "cancel_job", "list_jobs", "print_result", "show_job"]

_NAME: Final = "penstock-jobs"
_CANCELLED_WITHIN_S: Final = 10.0
_AGAIN_S: Final = 0.2


class Listing(Struct, frozen=True, kw_only=True):
    """Which jobs."""

    state: JobState | None = None
    user: str | None = None

    def lists(self, job: Job) -> bool:
        return self.state in {None, job.state} and self.user in {None, job.user}


def list_jobs(listing: Listing, data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError, as all of these."""
    jobs = [job for job in asyncio.run(_every(command_settings(data))) if listing.lists(job)]
    print(as_ascii_json(jobs) if as_json else jobs_text(jobs))
    return 0


def show_job(request_id: str, data: Path, *, as_json: bool) -> int:
    """Exit code 1 for a job that failed. Raises UnknownJob too."""
    job, waiting = asyncio.run(_one(request_id, command_settings(data)))
    print(as_ascii_json(job) if as_json else job_text(job, time.time_ns() // 1_000_000, waiting))
    return int(job.state == "failed")


def print_result(request_id: str, data: Path, *, as_json: bool) -> int:
    """The answer to stdout; exit code 1 where there is none, or not yet."""
    return asyncio.run(_result(request_id, command_settings(data), as_json=as_json))


def cancel_job(request_id: str, data: Path) -> int:
    """Exit code 1 when it had ended before. Raises CommandError when nobody stops it in time."""
    return asyncio.run(_cancel(request_id, command_settings(data)))


async def _every(settings: Settings) -> list[Job]:
    async with open_connection(settings, _NAME) as nc:
        try:
            return await Jobs(nc, settings.account).every()
        except NoSuchStream as error:
            raise _never_ran() from error


async def _one(request_id: str, settings: Settings) -> tuple[Job, int | None]:
    async with open_connection(settings, _NAME) as nc:
        try:
            job = await Jobs(nc, settings.account).one(request_id)
        except NoSuchStream as error:
            raise _never_ran() from error
        return job, await _in_its_mailbox(nc, job) if job.state == "queued" else None


async def _in_its_mailbox(nc: Nats, job: Job) -> int | None:
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
        except PenstockError as error:
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
            print(f"job {job.id} is {job.state} already")
            return 1
        await client.cancel(request_id, "by the command line")
        job = await _ended(client, request_id)
    if job.error is not None and job.error.code == "cancelled":
        print(f"job {job.id} is cancelled")
        return 0
    print(f"job {job.id} is {job.state}: it ended before it could be cancelled")
    return 1


async def _ended(client: Client, request_id: str) -> Job:
    give_up_s = time.monotonic() + _CANCELLED_WITHIN_S
    while True:
        job = await client.job(request_id)
        if job.ended:
            return job
        if time.monotonic() > give_up_s:
            raise CommandError(
                f"job {request_id} is marked as cancelled, and still {job.state}: it ends when a router or its worker "
                "sees the mark (`penstock status`)"
            )
        await asyncio.sleep(_AGAIN_S)


def _never_ran() -> CommandError:
    return CommandError(
        "Penstock has never run on this NATS server; start it with `penstock up`, or set NATS_URL"
    )
