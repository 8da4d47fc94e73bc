"""Jobs by their state, and requests that routers did not acknowledge."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from penstock.client.client import Client
from penstock.contract.jobs import Job
from penstock.contract.reply import Completed, first_seq
from penstock.contract.streams import REQUESTS
from penstock.errors import UnknownJob
from tests.harness.processes.system import System
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import WAIT_TIMEOUT_S

__all__ = ["completed_event", "fail_deliveries_then_restart_router", "job_in_state"]


async def job_in_state(client: Client, job_id: str, *states: str, timeout_s: float = WAIT_TIMEOUT_S) -> Job:
    """The job, as soon as it is in one of these states."""
    give_up_s = time.monotonic() + timeout_s
    while True:
        job = None
        with contextlib.suppress(UnknownJob):
            job = await client.job(job_id)
            if job.state in states:
                return job
        assert time.monotonic() < give_up_s, f"not {' or '.join(states)} within {timeout_s:g} s, but {job}"
        await asyncio.sleep(0.02)


async def fail_deliveries_then_restart_router(
    system: System, publisher: RawPublisher, deliveries: int
) -> None:
    """With the router killed, deliver the waiting request `deliveries` times without an ack; then start a router."""
    (durable,) = [info.name for info in await publisher.js.consumers_info(REQUESTS.name) if info.num_pending]
    puller = await publisher.js.pull_subscribe_bind(durable, REQUESTS.name)
    for _ in range(deliveries):
        (msg,) = await puller.fetch(1, timeout=20)
        await msg.nak()
    await puller.unsubscribe()
    system.router = system.new_router()
    await system.router.start()


def completed_event(job: Job, text: str) -> Completed:
    """The terminal event that the worker of the job would publish."""
    answer = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    return Completed(
        id=job.id,
        seq=first_seq(job.attempt) + 1,
        attempt=job.attempt,
        role=job.role,
        model=job.model,
        provider=job.provider,
        finish_reason="stop",
        response=msgspec.Raw(msgspec.json.encode(answer)),
    )
